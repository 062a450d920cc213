"""One file read by entry ranges: momenta by the schema, then labels, selection and what is kept."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.io import expressions
from hepgen.io.columns import Column, Jagged, describe
from hepgen.io.errors import InputError, MissingName, WrongType
from hepgen.io.jets import JetTable
from hepgen.io.labels import choose_labels
from hepgen.io.schema import Plan, Schema, Source
from hepgen.io.schemas import find

__all__ = ["FileReader", "Request"]

# With one of these beside (pt, eta, phi, mass) vector would not know which coordinates to take.
_COORDINATES = frozenset(
    ("x", "y", "z", "t", "px", "py", "pz", "E", "e", "energy", "M", "m", "mass", "tau", "rho", "pt")
) | {"phi", "theta", "eta"}
_OF_JETS = ("pt", "eta", "phi", "mass", "num_constituents", "entry", "jet_index")


@dataclass(frozen=True)
class Request:
    """What is asked for of all files; see `hepgen.io.read`.

    Args:
        schema: as for `read`.
        collection: as for `read`.
        labels: as for `read`.
        where: as for `read`.
        keep: as for `read`.
        fields: as for `read`.
        file_classes: the classes that files are given for, in order.
    """

    schema: Any = None
    collection: str | None = None
    labels: Sequence[str] | Mapping[str, str] | None = None
    where: str | None = None
    keep: tuple[str, ...] = ()
    fields: Collection[str] | None = None
    file_classes: tuple[str, ...] = ()


class FileReader:
    """The jets of one open file.

    Args:
        source: the file.
        request: what is asked for.
        index: number of the file.
        first: the reader of the first file, whose schema and columns this one has to have too.

    Raises:
        SchemaError: the file is of no known schema, or of another than the first.
        MissingName: a column, collection, field or class that it does not have.
        InputError: it has other columns than the first file.
    """

    def __init__(
        self, source: Source, request: Request, index: int, first: FileReader | None
    ) -> None:
        self.source = source
        self.request = request
        self.index = index
        asked = request.schema if first is None else first.schema
        self.schema: Schema = find(asked, source.names, where=source.where)
        collection = request.collection if first is None else first.plan.collection
        self.plan: Plan = self.schema.plan(source, collection=collection, fields=request.fields)
        self.labels = choose_labels(request.labels, request.file_classes, self.schema, source)
        self.weight = self.schema.weight(source.names)
        self.columns = self._columns()
        if first is not None:
            self._same_as(first)

    def _columns(self) -> dict[str, str]:
        """The column of each name that is used besides momenta."""
        names = [*self.labels.names, *self.request.keep, *([self.weight] if self.weight else [])]
        if self.request.where is not None:
            names += expressions.names(self.request.where)
        known = dict.fromkeys(self.source.names)
        columns: dict[str, str] = {}
        for name in dict.fromkeys(names):
            choice = self.schema.jet_column(name, self.plan.collection)
            found = [column for column in choice if column in known]
            if found:
                columns[name] = found[0]
            elif name not in _OF_JETS:
                kind, where = self.source.kind, self.source.where
                raise MissingName.among(name, [*known, *_OF_JETS], kind=kind, where=where)
        return columns

    def _same_as(self, first: FileReader) -> None:
        mine = {*self.plan.columns, *self.columns.values()}
        others = {*first.plan.columns, *first.columns.values()}
        for lacking, has, one in ((self, first, others - mine), (first, self, mine - others)):
            if one:
                raise InputError(
                    f"{lacking.source.where} ({lacking.source.spec.path}) has no "
                    f"{lacking.source.kind} {min(one)!r}, which {has.source.where} "
                    f"({has.source.spec.path}) has; files that are read together need the same "
                    "ones (fields= chooses)"
                )

    def tables(
        self, start: int, stop: int, step: str | int | None
    ) -> Iterator[tuple[JetTable, int, int]]:
        """The jets of some entries.

        Args:
            start: first entry.
            stop: entry after the last.
            step: size of a range, as for `iterate`; None for one range.

        Yields:
            The selected jets of each range, how many there were before, and where the range ends.
        """
        names = list(dict.fromkeys([*self.plan.columns, *self.columns.values()]))
        if start >= stop:
            return
        ranges = [(start, stop)] if step is None else self.source.steps(names, step, start, stop)
        for begin, end in ranges:
            values = self.source.read(names, begin, end)
            table = self.plan.build(values)
            yield self._finish(table, values, begin), len(table), end

    def _finish(self, table: JetTable, values: Mapping[str, Column], begin: int) -> JetTable:
        """The table with labels and kept columns, without the jets that are not selected."""
        column = _PerJet(table, values, self.columns, self.source)
        table.entry = table.entry + begin
        kept = {name: column(name) for name in self.request.keep}
        for name in (*kept, *(["weight"] if self.weight else [])):
            if name in table.jets or name in _COORDINATES:
                raise InputError(f"{name!r} cannot be kept: jets have a coordinate of that name")
        table.jets.update(kept)
        if self.weight is not None:
            table.jets["weight"] = column(self.weight)
        mask = None
        if self.request.where is not None:
            mask = self._mask(self.request.where, column, len(table))
        chosen: Callable[[str], Any] = column
        if mask is not None:
            chosen = column.selected(mask)
            table = table.select(mask)
        labels = self.labels.evaluate(chosen, table.entry, self.source.where)
        table.jets.update(labels)
        table.jets["file_index"] = np.full(len(table), self.index, dtype=np.int32)
        return table

    def _mask(self, where: str, column: _PerJet, count: int) -> NDArray[np.bool_]:
        values = expressions.evaluate(where, {n: column(n) for n in expressions.names(where)})
        if isinstance(values, ak.Array) and values.ndim == 1:
            values = ak.to_numpy(values)
        if not isinstance(values, np.ndarray) or values.shape != (count,):
            raise WrongType(
                f"where={where!r} gives no single value for a jet of {self.source.where}"
            )
        # NaN compares unequal to 0, and selects nothing.
        return np.asarray(values.astype(np.bool_) & (values == values))


class _PerJet:
    """Values (J,) of names: momenta of the jets, or columns of the file brought to the jets."""

    def __init__(
        self,
        table: JetTable,
        values: Mapping[str, Column],
        columns: Mapping[str, str],
        source: Source,
    ) -> None:
        self.table = table
        self.row = table.entry
        self.values = values
        self.columns = columns
        self.source = source

    def __call__(self, name: str) -> Any:
        if name in self.columns:
            return self._brought(self.columns[name])
        table = self.table
        if name == "num_constituents" and table.offsets is not None:
            return np.diff(table.offsets)
        if name in ("entry", "jet_index"):
            return getattr(table, name)
        if name not in table.jets:
            raise MissingName.among(name, table.jets, kind="field of jets", where=self.source.where)
        return table.jets[name]

    def selected(self, mask: NDArray[np.bool_]) -> Callable[[str], Any]:
        """The same for the selected jets only."""
        return lambda name: self(name)[mask]

    def _brought(self, column_name: str) -> Any:
        column = self.values[column_name]
        table = self.table
        if table.per_entry is None:
            return _as_awkward(column) if isinstance(column, Jagged) else column
        if isinstance(column, np.ndarray):
            return column[self.row]
        counts = np.diff(table.per_entry)
        if isinstance(column, Jagged):
            if np.array_equal(column.offsets, table.per_entry):
                return column.values
        elif column.ndim > 1 and np.array_equal(np.asarray(ak.num(column)), counts):
            return ak.flatten(column, axis=1)
        elif column.ndim == 1:
            return column[self.row]
        raise WrongType(
            f"{self.source.kind} {column_name!r} of {self.source.where} holds {describe(column)}, "
            "which is neither one value an event nor one a jet"
        )


def _as_awkward(column: Jagged) -> ak.Array:
    content = ak.contents.NumpyArray(column.values)
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(column.offsets), content))
