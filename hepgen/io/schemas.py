"""The schemas that hepgen knows, and which of them a file follows."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping
from typing import Any

from hepgen.io.delphes import DELPHES
from hepgen.io.edm4hep import EDM4HEP
from hepgen.io.errors import MissingName, SchemaError
from hepgen.io.flat import JET_CLASS, JET_CLASS_II
from hepgen.io.jets_only import PHYSLITE, TREE_MAKER
from hepgen.io.mapping import from_mapping, from_yaml
from hepgen.io.nanoaod import NANO_AOD, NANO_AOD_PF_CAND, PF_NANO
from hepgen.io.padded import JET_NET, QUARK_GLUON, TOP_TAGGING
from hepgen.io.schema import Schema

__all__ = ["SCHEMAS", "find", "recognise"]

SCHEMAS: Mapping[str, Schema] = {
    schema.name: schema
    for schema in (
        JET_CLASS,
        JET_CLASS_II,
        TOP_TAGGING,
        QUARK_GLUON,
        JET_NET,
        PF_NANO,
        NANO_AOD_PF_CAND,
        NANO_AOD,
        DELPHES,
        EDM4HEP,
        PHYSLITE,
        TREE_MAKER,
    )
}
"""All schemas by name."""


def recognise(names: Collection[str], *, where: str = "the file") -> Schema:
    """The schema that a file with these columns follows.

    Args:
        names: names of the columns.
        where: the file, for the message.

    Returns:
        The one of `SCHEMAS` that lacks nothing.

    Raises:
        SchemaError: none fits; the message tells for each what is missing, the nearest fit first.
    """
    names = dict.fromkeys(names)
    missing = [(schema, schema.missing(names.keys())) for schema in SCHEMAS.values()]
    for schema, lacking in missing:
        if not lacking:
            return schema
    ranked = sorted(missing, key=lambda item: len(item[1]))
    lines = [f"  {schema.name}: {_short(lacking)}" for schema, lacking in ranked]
    raise SchemaError(
        f"the columns of {where} follow no schema that hepgen knows; what each misses:\n"
        + "\n".join(lines)
        + "\nDescribe the file with schema=, a YAML file or a mapping of standard names to columns"
    )


def _short(names: list[str], count: int = 4) -> str:
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(names[:count]) + more


def find(
    schema: Schema | str | os.PathLike[str] | Mapping[str, Any] | None,
    names: Collection[str],
    *,
    where: str,
) -> Schema:
    """The schema to read a file with.

    Args:
        schema: what the user says: a schema, the name of one, the path of a YAML file with a
            mapping, or such a mapping; None recognises it.
        names: names of the columns of the file.
        where: the file, for messages.

    Returns:
        A schema of which the file lacks nothing.

    Raises:
        SchemaError: the file does not follow it.
        MissingName: there is no schema of that name.
    """
    if schema is None:
        return recognise(names, where=where)
    if isinstance(schema, Mapping):
        schema = from_mapping(schema)
    elif not isinstance(schema, Schema):
        text = os.fspath(schema)
        if text.endswith((".yaml", ".yml")):
            schema = from_yaml(text)
        elif text in SCHEMAS:
            schema = SCHEMAS[text]
        else:
            raise MissingName.among(text, SCHEMAS, kind="schema", where="hepgen")
    lacking = schema.missing(dict.fromkeys(names).keys())
    if lacking and lacking[0] not in names and not lacking[0].startswith("("):
        nearest = MissingName.among(lacking[0], names, kind="column", where=where)
        raise SchemaError(f"{where} is not {schema.name}: it misses {_short(lacking)} ({nearest})")
    if lacking:
        raise SchemaError(f"{where} is not {schema.name}: {_short(lacking)}")
    return schema
