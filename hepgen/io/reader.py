"""Reading jets: `read` all at once, `iterate` in chunks for files larger than memory."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import awkward as ak

from hepgen.io.chunks import FileReader, Request
from hepgen.io.errors import EmptyInput, InputError, WrongType
from hepgen.io.files import Files, expand
from hepgen.io.jets import JetTable
from hepgen.io.mapping import from_mapping, from_yaml
from hepgen.io.memory import number_of_bytes
from hepgen.io.schema import Schema
from hepgen.io.sources import open_source

__all__ = ["iterate", "read"]

SchemaLike = Schema | str | os.PathLike[str] | Mapping[str, Any]
LabelsLike = Sequence[str] | Mapping[str, str]


def read(
    files: Files,
    *,
    schema: SchemaLike | None = None,
    tree: str | None = None,
    collection: str | None = None,
    labels: LabelsLike | None = None,
    where: str | None = None,
    keep: Sequence[str] = (),
    fields: Collection[str] | None = None,
    entry_start: int | None = None,
    entry_stop: int | None = None,
    progress: bool = False,
) -> ak.Array:
    """The jets of some files, with standard names and units.

    Args:
        files: a path, a glob, ``file.root:tree``, a URL, a list of them, ``class:`` before any of
            them, or a mapping of classes to them. ROOT (TTree, RNTuple), Parquet, HDF5 and npz.
        schema: which columns are which standard field: the name of one of `hepgen.io.SCHEMAS`, a
            YAML file or mapping (see `hepgen.io.mapping`); None recognises it by the columns.
        tree: name of the tree; None takes the only one, or one of a usual name.
        collection: which jets of the events, such as FatJet; None takes those with constituents, of
            several such collections FatJet, else one of AK8, else Jet.
        labels: classes, for which columns such as ``label_<class>`` are looked for, or an
            expression for each class; None takes what the files tell.
        where: selection, an expression of the momenta of the jets and of columns of the file.
        keep: further columns to keep under their own names, with one value a jet or an entry.
        fields: standard fields of the constituents that are needed besides their momenta; None
            takes all that the file has. Others are not read.
        entry_start: first entry, counted through all files; None for the first.
        entry_stop: entry after the last; None for the end.
        progress: whether to show a progress bar on stderr.

    Returns:
        An array of J records "Momentum4D" with ``pt``, ``mass`` (GeV), ``eta``, ``phi``;
        ``constituents``, lists of "Momentum4D" in the coordinates of the file, with those of the
        fields of `hepgen.io.FIELDS` (mm) that it has; ``label_<class>`` bool; ``weight`` where the
        schema knows it; ``entry``, the row of its tree that a jet comes from; ``jet_index``, its
        position in that row before the selection; ``file_index``; and what is kept. ``attrs`` has
        "schema", "files", "tree" and "collection". NaN and inf are passed on as they are.

    Raises:
        MissingFile: a path or glob that matches nothing.
        NotReadable: a file that is of another format, cut short or damaged.
        MissingName: a tree, collection, column, field or class that is not there.
        SchemaError: the columns follow no known schema, or files follow different ones.
        EmptyInput: no entries, or no jets after the selection.
        LabelError: jets in no class or in several of those asked for.
        WrongType: a column or an argument of the wrong type.
        InputError: columns of constituents with different lengths; different columns in files.
    """
    request = Request(schema=schema, collection=collection, labels=labels, where=where)
    request = replace(request, keep=tuple(keep), fields=fields)
    chunks = _Chunks(files, request, tree, None, (entry_start, entry_stop), progress)
    return chunks.awkward(JetTable.concatenate(list(chunks)))


def iterate(
    files: Files,
    *,
    step: str | int = "100 MB",
    schema: SchemaLike | None = None,
    tree: str | None = None,
    collection: str | None = None,
    labels: LabelsLike | None = None,
    where: str | None = None,
    keep: Sequence[str] = (),
    fields: Collection[str] | None = None,
    entry_start: int | None = None,
    entry_stop: int | None = None,
    progress: bool = False,
) -> Iterator[ak.Array]:
    """The jets of some files in chunks, in the order of the files.

    Args:
        files: as for `read`.
        step: memory of the columns of a chunk, such as "100 MB", or a number of entries. Chunks end
            where baskets or clusters of the file do, so that none is unpacked twice.
        schema: as for `read`.
        tree: as for `read`.
        collection: as for `read`.
        labels: as for `read`.
        where: as for `read`.
        keep: as for `read`.
        fields: as for `read`.
        entry_start: as for `read`.
        entry_stop: as for `read`.
        progress: as for `read`.

    Yields:
        Arrays as `read` gives them, each of one file, none empty.

    Raises:
        InputError: as for `read`; that there are no jets at all is known at the end.
    """
    if isinstance(step, bool) or not isinstance(step, (int, str)):
        raise WrongType(f'step should be a number of entries or a size as "100 MB", got {step!r}')
    if isinstance(step, int) and step < 1:
        raise InputError(f"step should be at least one entry, got {step}")
    if isinstance(step, str):
        number_of_bytes(step)
    request = Request(schema=schema, collection=collection, labels=labels, where=where)
    request = replace(request, keep=tuple(keep), fields=fields)
    chunks = _Chunks(files, request, tree, step, (entry_start, entry_stop), progress)
    return (chunks.awkward(table) for table in chunks)


class _Chunks:
    """The tables of all files, one after the other; to be iterated once."""

    def __init__(
        self,
        files: Files,
        request: Request,
        tree: str | None,
        step: str | int | None,
        entries: tuple[int | None, int | None],
        progress: bool,
    ) -> None:
        if isinstance(request.schema, Mapping):
            request = replace(request, schema=from_mapping(request.schema))
        elif isinstance(request.schema, (str, os.PathLike)):
            path = os.fspath(request.schema)
            if path.endswith((".yaml", ".yml")):
                request = replace(request, schema=from_yaml(path))
        self.specs = expand(files)
        classes = dict.fromkeys(spec.label for spec in self.specs if spec.label is not None)
        self.request = replace(request, file_classes=tuple(classes))
        self.tree = tree or getattr(request.schema, "tree", None)
        self.step = step
        self.start, self.stop = _entry_range(*entries)
        self.progress = progress
        self.first: FileReader | None = None

    def __iter__(self) -> Iterator[JetTable]:
        found = seen = entries = 0
        with _progress(self.progress, len(self.specs)) as show:
            for index, spec in enumerate(self.specs):
                if self.stop is not None and entries >= self.stop:
                    break
                with open_source(spec, self.tree) as source:
                    reader = FileReader(source, self.request, index, self.first)
                    self.first = self.first or reader
                    start, stop = self._range(entries, source.num_entries)
                    entries += source.num_entries
                    for table, before, end in reader.tables(start, stop, self.step):
                        seen += before
                        found += len(table)
                        if len(table):
                            yield table
                        show(index + end / source.num_entries)
                show(index + 1)
        if not found:
            raise EmptyInput(self._nothing(entries, seen))

    def _range(self, before: int, count: int) -> tuple[int, int]:
        """The entries of one file, of those asked for of all."""
        stop = count if self.stop is None else min(count, self.stop - before)
        return min(max(0, self.start - before), count), max(0, stop)

    def _nothing(self, entries: int, seen: int) -> str:
        names = ", ".join(spec.name for spec in self.specs[:3])
        more = f" and {len(self.specs) - 3} more" if len(self.specs) > 3 else ""
        if not entries:
            return f"no entries in {names}{more}"
        if self.start >= entries:
            return f"no entry {self.start} in {names}{more}, which hold {entries}"
        if not seen:
            chosen = self.first.plan.collection if self.first is not None else None
            return f"no jets{f' in {chosen}' if chosen else ''} in the entries of {names}{more}"
        return f"none of {seen} jets of {names}{more} is left after where={self.request.where!r}"

    def awkward(self, table: JetTable) -> ak.Array:
        """The array of a table, with the attributes of what is read."""
        if self.first is None:
            raise EmptyInput("no file was read")
        attrs = {
            "schema": self.first.schema.name,
            "files": [spec.path for spec in self.specs],
            "tree": self.first.source.tree_name,
            "collection": self.first.plan.collection,
        }
        return table.to_awkward(attrs)


@contextlib.contextmanager
def _progress(wanted: bool, files: int) -> Iterator[Callable[[float], None]]:
    """A function that shows how many files are done, as a bar on stderr."""
    if not wanted:
        yield lambda done: None
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task("reading", total=files)
        yield lambda done: bar.update(task, completed=done)


def _entry_range(start: int | None, stop: int | None) -> tuple[int, int | None]:
    for name, value in (("entry_start", start), ("entry_stop", stop)):
        if value is not None and value < 0:
            raise InputError(f"{name} should not be negative, got {value}")
    start = start or 0
    if stop is not None and stop <= start:
        raise EmptyInput(f"no entries from entry_start={start} to entry_stop={stop}")
    return start, stop
