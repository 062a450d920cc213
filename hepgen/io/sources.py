"""Opening a file of any format as columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hepgen.io.files import FileSpec
from hepgen.io.hdf5 import Hdf5Source
from hepgen.io.npz import NpzSource
from hepgen.io.parquet import ParquetSource
from hepgen.io.root import RootSource
from hepgen.io.schema import Source

__all__ = ["FORMATS", "open_source"]

FORMATS: Mapping[str, Callable[[FileSpec, str | None], Source]] = {
    "root": RootSource,
    "parquet": ParquetSource,
    "hdf5": Hdf5Source,
    "npz": NpzSource,
}
"""What opens a file of each format; `FileSpec.format` tells which one a file has."""


def open_source(spec: FileSpec, tree: str | None = None) -> Source:
    """An open file; use it as a context manager.

    Args:
        spec: the file.
        tree: name of the tree, or of the group of an HDF5 file.

    Returns:
        Its columns.

    Raises:
        InputError: it is missing, damaged, or of no known format.
    """
    return FORMATS[spec.format](spec, tree)
