"""Chunks of files, to be read on their own: which entries of which file, and how many jets."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.data.labels import class_index, class_sums, jet_weights
from hepgen.io import expand, iterate
from hepgen.io.chunks import FileReader, Request
from hepgen.io.errors import InputError
from hepgen.io.files import Files
from hepgen.io.mapping import from_mapping, from_yaml
from hepgen.io.reader import SchemaLike
from hepgen.io.sources import open_source

__all__ = ["Chunk", "ChunkReader", "Scan", "scan"]

_OPEN_FILES = 16


@dataclass(frozen=True)
class Chunk:
    """Some entries of one file.

    Attributes:
        file: which of the files.
        start: first entry.
        stop: entry after the last.
        num_jets: number of selected jets in these entries.
    """

    file: int
    start: int
    stop: int
    num_jets: int


@dataclass(frozen=True)
class Scan:
    """What one look at all jets tells.

    Attributes:
        chunks: all chunks, in the order of the files.
        counts: (K,) jets of each class; (1,) without classes.
        sums: (K,) sum of absolute weights of each class; (1,) without classes.
    """

    chunks: tuple[Chunk, ...]
    counts: NDArray[np.int64]
    sums: NDArray[np.float64]


def scan(
    files: Files, classes: Sequence[str] | None, *, step: int, options: Mapping[str, Any]
) -> Scan:
    """Looks at the momenta, labels and weights of all jets once.

    Args:
        files: as for `hepgen.io.read`.
        classes: names of the K classes; None without labels.
        step: entries of a chunk.
        options: further arguments of `hepgen.io.iterate`.

    Raises:
        InputError: as `hepgen.io.iterate`; jets in no class or several; weights not finite.
    """
    chunks = []
    counts = np.zeros(len(classes or "1"), np.int64)
    sums = np.zeros(len(counts))
    for jets in iterate(files, step=step, fields=(), **options):
        entry = ak.to_numpy(jets["entry"])
        chunks.append(
            Chunk(int(jets["file_index"][0]), int(entry[0]), int(entry[-1]) + 1, len(jets))
        )
        index = np.zeros(len(jets), np.int64) if classes is None else class_index(jets, classes)
        more, weights = class_sums(jet_weights(jets), index, len(counts))
        counts += more
        sums += weights
    return Scan(tuple(chunks), counts, sums)


class ChunkReader:
    """Reads chunks in any order. The last files stay open, for opening one takes a while.

    Args:
        files: as for `hepgen.io.read`.
        tree: name of the tree, as for `hepgen.io.read`.
        schema: as for `hepgen.io.read`.
        options: collection, labels, where, keep and fields, as for `hepgen.io.read`.
    """

    def __init__(
        self,
        files: Files,
        *,
        tree: str | None = None,
        schema: SchemaLike | None = None,
        **options: Any,
    ) -> None:
        self.specs = expand(files)
        if isinstance(schema, Mapping):
            schema = from_mapping(schema)
        elif schema is not None and str(schema).endswith((".yaml", ".yml")):
            schema = from_yaml(str(schema))
        classes = dict.fromkeys(spec.label for spec in self.specs if spec.label is not None)
        self._tree = tree or getattr(schema, "tree", None)
        self._request = Request(schema=schema, file_classes=tuple(classes), **options)
        self._open: OrderedDict[int, FileReader] = OrderedDict()

    def read(self, chunk: Chunk) -> ak.Array:
        """The jets of a chunk, as `hepgen.io.read` gives them.

        Raises:
            InputError: the file cannot be read, or has changed since it was scanned.
        """
        reader = self._reader(chunk.file)
        ((table, _, _),) = reader.tables(chunk.start, chunk.stop, None)
        if len(table) != chunk.num_jets:
            raise InputError(
                f"{reader.source.where} has changed: entries {chunk.start} to {chunk.stop} had"
                f" {chunk.num_jets} jets and now have {len(table)}"
            )
        return table.to_awkward({"files": [spec.path for spec in self.specs]})

    def close(self) -> None:
        """Closes the files."""
        while self._open:
            self._open.popitem()[1].source.__exit__(None, None, None)

    def _reader(self, file: int) -> FileReader:
        if file in self._open:
            self._open.move_to_end(file)
            return self._open[file]
        if len(self._open) == _OPEN_FILES:
            self._open.popitem(last=False)[1].source.__exit__(None, None, None)
        source = open_source(self.specs[file], self._tree).__enter__()
        self._open[file] = FileReader(source, self._request, file, None)
        return self._open[file]
