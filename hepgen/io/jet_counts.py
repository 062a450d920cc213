"""How many jets each entry of a file has, from as few columns as tell it."""

from __future__ import annotations

import numpy as np

from hepgen.io.columns import Jagged, Offsets
from hepgen.io.schema import Schema, Source

__all__ = ["JetCounts"]

_PROBE = 10


class JetCounts:
    """The number of jets in the entries of an open file.

    Args:
        source: the file.
        schema: what it follows.
        collection: which jets; None for the usual ones of the schema.

    Attributes:
        collection: name of the collection, None where the schema has no names for them.
        one_per_entry: whether each entry is a jet.

    Raises:
        MissingName: there is no such collection.
    """

    def __init__(self, source: Source, schema: Schema, collection: str | None = None) -> None:
        self._source = source
        self._plan = schema.plan(source, collection=collection, fields=())
        self.collection = self._plan.collection
        self._columns = list(self._plan.columns)
        probe = self._build(0, min(_PROBE, source.num_entries))
        self.one_per_entry = probe is None
        if probe is not None:
            self._shorten(probe)

    def _build(self, start: int, stop: int) -> Offsets | None:
        columns = self._source.read(self._columns, start, stop)
        return self._plan.build(columns).per_entry

    def _shorten(self, probe: Offsets) -> None:
        """Finds one column of the jets themselves, so that constituents need not be read."""
        stop = min(_PROBE, self._source.num_entries)
        first = self._columns[0]
        column = self._source.read([first], 0, stop)[first]
        self._cheap = (
            first if isinstance(column, Jagged) and np.array_equal(column.offsets, probe) else None
        )

    def read(self, start: int, stop: int) -> Offsets:
        """Offsets of the jets of the entries start <= i < stop, shape (stop - start + 1,).

        Raises:
            NotReadable: the file is damaged.
        """
        if self.one_per_entry:
            return np.arange(stop - start + 1)
        if self._cheap is not None:
            column = self._source.read([self._cheap], start, stop)[self._cheap]
            assert isinstance(column, Jagged)
            return column.offsets
        offsets = self._build(start, stop)
        assert offsets is not None
        return offsets
