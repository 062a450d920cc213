r"""A user's own schema, from YAML: which columns are which standard fields, and in which units.

Like this; all but one of ``jets`` and ``constituents`` may be left out::

    name: my ntuples
    tree: analysis
    units: {energy: MeV, length: mm}
    jets: {pt: jet_pt, eta: jet_eta, phi: jet_phi, energy: jet_e}
    constituents: {pt: c_pt, eta: c_eta, phi: c_phi, energy: c_e, charge: c_charge}
    labels: {top: truth == 6, qcd: truth != 6}
    weight: mc_weight

Momenta are given as (pt, eta, phi, mass), (pt, eta, phi, energy) or (px, py, pz, energy). An entry
is a jet where the columns of jets hold numbers, an event with several where they hold lists.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

import yaml

from hepgen.io.errors import InputError, MissingFile, MissingName, NotReadable, WrongType
from hepgen.io.flat import COMPONENTS, MappedSchema
from hepgen.io.schema import FIELDS

__all__ = ["from_mapping", "from_yaml"]

_KEYS = ("name", "tree", "units", "jets", "constituents", "labels", "weight")
_MOMENTA = tuple(dict.fromkeys(name for part in COMPONENTS for name in part))
_GEV = {"eV": 1e-9, "keV": 1e-6, "MeV": 1e-3, "GeV": 1.0, "TeV": 1e3}
_MM = {"um": 1e-3, "mm": 1.0, "cm": 10.0, "m": 1e3}


def from_yaml(path: str | os.PathLike[str]) -> MappedSchema:
    """The schema that a YAML file describes.

    Args:
        path: the file.

    Returns:
        The schema; without a ``name`` in the file it has that of the file.

    Raises:
        MissingFile: there is no such file.
        NotReadable: it is not YAML.
        InputError: as `from_mapping`.
    """
    try:
        with open(path, encoding="utf-8") as file:
            content = yaml.safe_load(file)
    except FileNotFoundError as error:
        raise MissingFile(f"no file {os.fspath(path)!r} with a schema") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise NotReadable(f"{os.fspath(path)} is not YAML: {error}") from error
    where = os.path.basename(path)
    return from_mapping(content, where=where)


def from_mapping(content: Mapping[str, Any], *, where: str = "the schema") -> MappedSchema:
    """The schema that a mapping describes.

    Args:
        content: the keys shown above.
        where: what it is called in messages, and where it gives no name.

    Returns:
        The schema.

    Raises:
        MissingName: a key, a standard field or a unit that does not exist.
        InputError: neither ``jets`` nor ``constituents`` is a full four-momentum.
        WrongType: a value of the wrong type.
    """
    _keys(content, _KEYS, kind="key", where=where)
    jets = _table(content, "jets", where)
    constituents = _table(content, "constituents", where)
    _keys(jets, _MOMENTA, kind="component of jets", where=where)
    _keys(constituents, (*_MOMENTA, *FIELDS), kind="field of constituents", where=where)
    for name, table in (("jets", jets), ("constituents", constituents)):
        if table and not any(all(part in table for part in parts) for parts in COMPONENTS):
            sets = " or ".join(f"({', '.join(parts)})" for parts in COMPONENTS)
            raise InputError(f"{name} of {where} give {', '.join(table)}; wanted {sets}")
    if not jets and not constituents:
        raise InputError(f"{where} gives neither jets nor constituents")
    energy, length = _units(content.get("units", "GeV"), where)
    return MappedSchema(
        name=str(content.get("name", where)),
        jets=jets,
        constituents=constituents,
        optional=False,
        classes=_table(content, "labels", where),
        weights=content.get("weight"),
        energy_unit=energy,
        length_unit=length,
        tree=content.get("tree"),
    )


def _keys(content: Any, known: tuple[str, ...], *, kind: str, where: str) -> None:
    if not isinstance(content, Mapping):
        raise WrongType(f"{where} is {content!r}, wanted a mapping with {', '.join(known)}")
    for key in content:
        if key not in known:
            raise MissingName.among(str(key), known, kind=kind, where=where)


def _table(content: Mapping[str, Any], key: str, where: str) -> dict[str, str]:
    table = content.get(key, {})
    if not isinstance(table, Mapping) or not all(isinstance(v, str) for v in table.values()):
        raise WrongType(f"{key} of {where} is {table!r}, wanted a mapping of names to columns")
    return {str(name): column for name, column in table.items()}


def _units(units: Any, where: str) -> tuple[float, float]:
    if isinstance(units, str):
        units = {"energy": units}
    _keys(units, ("energy", "length"), kind="unit", where=where)
    values = []
    for kind, usual, known in (("energy", "GeV", _GEV), ("length", "mm", _MM)):
        unit = str(units.get(kind, usual))
        if unit not in known:
            raise MissingName.among(unit, known, kind=f"unit of {kind}", where=where)
        values.append(known[unit])
    return values[0], values[1]
