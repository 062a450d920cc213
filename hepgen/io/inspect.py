"""What is in a file, quickly: sizes from the headers, jets and NaN from a bounded sample."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Any

import awkward as ak
import numpy as np
import uproot

from hepgen.io.columns import Column, Jagged
from hepgen.io.errors import EmptyInput, InputError, MissingFile, MissingName, NotReadable
from hepgen.io.files import FileSpec, PathLike, expand
from hepgen.io.friend_layout import with_tree
from hepgen.io.inspection import Inspection, JetSummary, NonFinite, TreeSummary
from hepgen.io.root import RootSource, readable, tree_names
from hepgen.io.schema import Schema, Source
from hepgen.io.schemas import find
from hepgen.io.sources import open_source
from hepgen.io.storage import StoredColumn, rntuple_fields, stored_columns, ttree_branches

__all__ = ["inspect"]

_SAMPLE_BYTES = 50_000_000
_AT_ONCE = 200
_KINDS = {"hdf5": "HDF5", "parquet": "Parquet", "npz": "npz"}


def inspect(
    path: PathLike,
    *,
    tree: str | None = None,
    schema: str | None = None,
    collection: str | None = None,
    sample: int = 10_000,
) -> Inspection:
    """What is in a file: trees, columns, sizes, schema, jets, constituents, NaN and inf.

    Args:
        path: one file: ROOT (TTree, RNTuple), HDF5, Parquet or npz; ``file.root:tree`` too.
        tree: the tree to look at closely; None takes the one that jets would be read from.
        schema: name of a schema, or a YAML file with one; None recognises it.
        collection: which jets to count; None for the usual ones.
        sample: how many entries to read at most, the first of the tree; fewer where these would
            unpack to more than 50 MB. All figures from the sample are marked as such.

    Returns:
        The findings; print them with rich, or take ``to_dict()``.

    Raises:
        MissingFile: there is no such file.
        NotReadable: it is of no known format, cut short or damaged.
        MissingName: no tree of that name.
        InputError: several files, or a sample of less than one entry.
    """
    if sample < 1:
        raise InputError(f"a sample has at least one entry, got sample={sample}")
    specs = expand(path)
    if len(specs) > 1:
        raise InputError(f"one file is inspected at a time, but {path} is {len(specs)} files")
    spec = replace(specs[0], tree=tree) if tree else with_tree(specs[0], None, schema)
    size = None if spec.is_url else os.path.getsize(spec.path)
    if spec.format != "root":
        with open_source(spec) as source:
            found = _look(source, _KINDS[spec.format], schema, collection, sample)
        return Inspection(spec.path, spec.format, size, (found,), {})
    with _main_tree(spec) as source:
        if source is None:
            return Inspection(spec.path, "root", size, (), _objects(spec)[1])
        kind = "RNTuple" if source.is_rntuple else "TTree"
        found = _look(source, kind, schema, collection, sample)
    others, objects = _objects(spec, besides=found.name)
    return Inspection(spec.path, "root", size, (found, *others), objects)


@contextlib.contextmanager
def _main_tree(spec: FileSpec) -> Iterator[RootSource | None]:
    """The tree that a reader would take; where it would ask, the one with the most entries."""
    try:
        source = RootSource(spec)
    except EmptyInput:
        yield None
        return
    except (MissingFile, MissingName, NotReadable):
        raise
    except InputError:
        trees = _objects(spec)[0]
        source = RootSource(spec, max(trees, key=lambda tree: tree.entries).name)
    with source:
        yield source


def _objects(
    spec: FileSpec, besides: str | None = None
) -> tuple[list[TreeSummary], dict[str, str]]:
    """The other trees by their headers alone, and the class of all that is no tree."""
    with readable(spec.path), uproot.open({spec.path: None}) as file:
        names = tree_names(file)
        classes = file.classnames(recursive=False, cycle=False)
        objects = {name: kind for name, kind in classes.items() if name not in names}
        summaries = []
        for name in names:
            if name != besides:
                tree = file[name]
                ntuple = tree.classname == "ROOT::RNTuple"
                columns = rntuple_fields(tree) if ntuple else ttree_branches(tree)
                kind = "RNTuple" if ntuple else "TTree"
                summaries.append(_summary(name, kind, int(tree.num_entries), columns))
    return summaries, objects


def _summary(name: str | None, kind: str, entries: int, columns: list[StoredColumn]) -> TreeSummary:
    return TreeSummary(
        name,
        kind,
        entries,
        tuple(columns),
        sum(column.compressed or 0 for column in columns),
        sum(column.uncompressed or 0 for column in columns),
    )


def _look(
    source: Source, kind: str, schema: str | None, collection: str | None, sample: int
) -> TreeSummary:
    """One tree closely: what its headers say, and what a sample of it shows."""
    columns = stored_columns(source)
    summary = _summary(source.tree_name, kind, source.num_entries, columns)
    row = max(1.0, summary.uncompressed / max(1, source.num_entries))
    rows = min(source.num_entries, sample, max(1, int(_SAMPLE_BYTES / row)))
    unreadable: dict[str, str] = {}
    non_finite = dict(_non_finite(source, columns, rows, unreadable))
    summary = replace(summary, sampled=rows, non_finite=non_finite, unreadable=unreadable)
    try:
        followed = find(schema, source.names, where=source.where)
    except InputError as error:
        if schema is not None:
            raise
        # Why no schema fits takes a line for each of them; that none does is enough here.
        return replace(summary, problem=str(error).split(";", 1)[0])
    summary = replace(
        summary, schema=followed.name, collections=tuple(followed.collections(source.names))
    )
    try:
        return replace(summary, jets=_jets(source, followed, collection, rows))
    except InputError as error:
        if collection is not None:
            raise
        return replace(summary, problem=f"jets cannot be read: {error}")


def _jets(source: Source, schema: Schema, collection: str | None, rows: int) -> JetSummary:
    plan = schema.plan(source, collection=collection, fields=())
    table = plan.build(source.read(plan.columns, 0, rows))
    found = JetSummary(plan.collection, rows, len(table))
    if table.offsets is None or len(table) == 0:
        return found
    counts = np.diff(table.offsets)
    return replace(
        found,
        mean_constituents=float(counts.mean()),
        min_constituents=int(counts.min()),
        max_constituents=int(counts.max()),
    )


def _non_finite(
    source: Source, columns: list[StoredColumn], rows: int, unreadable: dict[str, str]
) -> Iterator[tuple[str, NonFinite]]:
    names = iter([column.name for column in columns if column.is_float])
    while batch := list(islice(names, _AT_ONCE)):
        for name, values in _read_what_can_be(source, batch, rows, unreadable):
            parts = list(_floats(values))
            yield (
                name,
                NonFinite(
                    sum(part.size for part in parts),
                    sum(int(np.isnan(part).sum()) for part in parts),
                    sum(int(np.isinf(part).sum()) for part in parts),
                ),
            )


def _read_what_can_be(
    source: Source, names: list[str], rows: int, unreadable: dict[str, str]
) -> Iterator[tuple[str, Column]]:
    """Columns together; where that fails one by one, to tell which of them cannot be read."""
    try:
        yield from source.read(names, 0, rows).items()
    except NotReadable as error:
        if len(names) == 1:
            unreadable[names[0]] = str(error)
            return
        for name in names:
            yield from _read_what_can_be(source, [name], rows, unreadable)


def _floats(column: Column) -> Iterator[Any]:
    if isinstance(column, ak.Array):
        yield from _leaves(ak.to_packed(column).layout)
        return
    values = column.values if isinstance(column, Jagged) else column
    if values.dtype.kind == "f":
        yield values


def _leaves(layout: Any) -> Iterator[Any]:
    if layout.is_numpy:
        if layout.dtype.kind == "f":
            yield layout.data
    elif layout.is_record or layout.is_union:
        for content in layout.contents:
            yield from _leaves(content)
    elif hasattr(layout, "content"):
        yield from _leaves(layout.content)
