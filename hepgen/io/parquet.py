"""Parquet, through pyarrow, which is an extra: ``pip install hepgen[parquet]``."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from typing import Any

import awkward as ak
import numpy as np

from hepgen.io.columns import Column, as_column
from hepgen.io.errors import InputError, MissingFile, MissingPackage, NotReadable
from hepgen.io.files import FileSpec
from hepgen.io.memory import number_of_bytes

__all__ = ["ParquetSource"]


class ParquetSource:
    """The columns of a Parquet file.

    Args:
        spec: the file.
        tree: not used; other formats have trees.

    Raises:
        MissingPackage: pyarrow is not installed.
        NotReadable: it is not a Parquet file, is cut short or damaged.
    """

    kind = "column"
    tree_name = None

    def __init__(self, spec: FileSpec, tree: str | None = None) -> None:
        del tree
        self.spec = spec
        self.where = spec.name
        try:
            import pyarrow.parquet
        except ImportError as error:
            raise MissingPackage(
                f"reading {spec.path} needs pyarrow: pip install hepgen[parquet]"
            ) from error
        with _readable(spec.path):
            self.file: Any = pyarrow.parquet.ParquetFile(spec.path)
        self.num_entries: int = self.file.metadata.num_rows
        groups = range(self.file.num_row_groups)
        rows = [self.file.metadata.row_group(group).num_rows for group in groups]
        self._edges = np.concatenate([[0], np.cumsum(rows, dtype=np.int64)])

    def __enter__(self) -> ParquetSource:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(self.file.schema_arrow.names)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """The values of some columns for rows start <= i < stop; see `RootSource.read`."""
        first = int(np.searchsorted(self._edges, start, side="right")) - 1
        last = int(np.searchsorted(self._edges, stop, side="left"))
        groups = list(range(max(first, 0), min(last, self.file.num_row_groups)))
        with _readable(f"{self.where} (entries {start} to {stop})"):
            table = self.file.read_row_groups(groups, columns=list(names))
            skip = start - int(self._edges[groups[0]]) if groups else 0
            table = table.slice(skip, stop - start)
            return {name: as_column(ak.from_arrow(table[name])) for name in names}

    def steps(
        self, names: Sequence[str], step: str | int, start: int, stop: int
    ) -> Iterator[tuple[int, int]]:
        """Entry ranges of about one size that end where row groups do; see `RootSource.steps`."""
        size = step
        if isinstance(size, str):
            size = max(1, number_of_bytes(size) * self.num_entries // max(self._bytes(names), 1))
        while start < stop:
            end = min(start + size, stop)
            edges = self._edges[(self._edges > start) & (self._edges <= end)]
            if end < stop and len(edges):
                end = int(edges[-1])
            yield start, end
            start = end

    def _bytes(self, names: Sequence[str]) -> int:
        """Uncompressed size of some columns."""
        total = 0
        for group in range(self.file.num_row_groups):
            row_group = self.file.metadata.row_group(group)
            for index in range(row_group.num_columns):
                column = row_group.column(index)
                if column.path_in_schema.split(".")[0] in names:
                    total += column.total_uncompressed_size
        return total


@contextlib.contextmanager
def _readable(where: str) -> Iterator[None]:
    try:
        yield
    except (InputError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise MissingFile(f"no file {where}") from error
    except (OSError, ValueError) as error:  # pyarrow's errors are one or the other
        reason = " ".join(str(error).split())[:300]
        raise NotReadable(f"{where} cannot be read as Parquet ({reason})") from error
