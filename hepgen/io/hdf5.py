"""HDF5: datasets as columns, and the tables that pandas writes through PyTables.

A column is a dataset by its path, a field of a compound dataset as ``dataset.field``, or a column
of a pandas table by its own name (``E_0``). Only the column names of pandas are pickled; they are
read by an unpickler that can make nothing but lists of strings.
"""

from __future__ import annotations

import contextlib
import io
import os
import pickle
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import h5py
import numpy as np

from hepgen.io.columns import Column, Values
from hepgen.io.errors import EmptyInput, InputError, MissingFile, MissingName, NotReadable
from hepgen.io.files import FileSpec
from hepgen.io.memory import number_of_bytes

__all__ = ["Hdf5Source", "readable"]


class _Place(NamedTuple):
    """Where a column is: a dataset, a field of it, a position along its second axis."""

    dataset: str
    field: str | None = None
    position: int | None = None


class Hdf5Source:
    """The columns of an HDF5 file that have one row an entry.

    Args:
        spec: the file.
        tree: name of a group that holds the columns; None for the whole file.

    Raises:
        NotReadable: it is not an HDF5 file, is cut short or damaged.
        MissingName: it has no such group.
        EmptyInput: it holds no dataset.
    """

    kind = "dataset"

    def __init__(self, spec: FileSpec, tree: str | None = None) -> None:
        self.spec = spec
        self.tree_name = tree or spec.tree
        self.where = f"group {self.tree_name!r} of {spec.name}" if self.tree_name else spec.name
        with readable(spec.path):
            self.file = h5py.File(spec.path, "r")
        try:
            with readable(spec.path):
                self._places, self.num_entries = self._find(self._group())
        except BaseException:
            self.file.close()
            raise

    def __enter__(self) -> Hdf5Source:
        return self

    def __exit__(self, *exception: object) -> None:
        self.file.close()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""
        return tuple(self._places)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """The values of some columns for rows start <= i < stop; see `RootSource.read`."""
        blocks: dict[tuple[str, str | None], Values] = {}
        columns: dict[str, Column] = {}
        with readable(f"{self.where} (entries {start} to {stop})"):
            for name in names:
                place = self._places[name]
                block = (place.dataset, place.field)
                if block not in blocks:
                    dataset = self.file[place.dataset]
                    source = dataset.fields(place.field) if place.field else dataset
                    blocks[block] = source[start:stop]
                values = blocks[block]
                columns[name] = values if place.position is None else values[:, place.position]
        return columns

    def steps(
        self, names: Sequence[str], step: str | int, start: int, stop: int
    ) -> Iterator[tuple[int, int]]:
        """Entry ranges of about one size; see `RootSource.steps`."""
        size = step
        if isinstance(size, str):
            row = sum(self._row_bytes(self._places[name]) for name in names)
            size = max(1, number_of_bytes(size) // max(row, 1))
        for begin in range(start, stop, size):
            yield begin, min(begin + size, stop)

    def _row_bytes(self, place: _Place) -> int:
        dataset = self.file[place.dataset]
        dtype = dataset.dtype[place.field] if place.field else dataset.dtype
        width = int(np.prod(dataset.shape[1:]))
        size = dtype.itemsize * width
        return int(size if place.position is None else dtype.base.itemsize)

    def _group(self) -> h5py.Group:
        if self.tree_name is None:
            return self.file
        if not isinstance(self.file.get(self.tree_name), h5py.Group):
            groups = [name for name, item in self.file.items() if isinstance(item, h5py.Group)]
            raise MissingName.among(self.tree_name, groups, kind="group", where=self.spec.path)
        return self.file[self.tree_name]

    def _find(self, top: h5py.Group) -> tuple[dict[str, _Place], int]:
        places: dict[str, _Place] = {}
        lengths: dict[str, int] = {}

        def visit(path: str, item: h5py.Group | h5py.Dataset) -> None:
            if not isinstance(item, h5py.Dataset) or not item.shape or "_i_table" in path:
                return
            full = item.name
            for name, place in _columns_of(item, path):
                places.setdefault(name, place)
                lengths.setdefault(name, self.file[full].shape[0])

        top.visititems(visit)
        if not places:
            raise EmptyInput(f"no dataset in {self.where}")
        # Datasets beside the columns, such as bin edges or axes, have other lengths.
        length = Counter(lengths.values()).most_common(1)[0][0]
        return {name: place for name, place in places.items() if lengths[name] == length}, length


def _columns_of(dataset: h5py.Dataset, path: str) -> Iterator[tuple[str, _Place]]:
    attributes = dataset.attrs
    last = path.rsplit("/", 1)[-1]
    if dataset.dtype.names is not None:
        for field in dataset.dtype.names:
            if f"{field}_kind" in attributes and field != "index":
                for index, name in enumerate(_strings(attributes[f"{field}_kind"])):
                    yield name, _Place(dataset.name, field, index)
            else:
                yield f"{path}.{field}", _Place(dataset.name, field)
    elif last.startswith("block") and last.endswith("_values"):
        items = dataset.parent[last.replace("_values", "_items")]
        for index, name in enumerate(items[:]):
            yield name.decode(), _Place(dataset.name, None, index)
    else:
        yield path, _Place(dataset.name)


class _StringsOnly(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is no column name")


def _strings(pickled: bytes) -> list[str]:
    names = _StringsOnly(io.BytesIO(bytes(pickled))).load()
    return [str(name) for name in names] if isinstance(names, (list, tuple)) else [str(names)]


@contextlib.contextmanager
def readable(where: str) -> Iterator[None]:
    """Turn what h5py raises on a missing, foreign, cut or damaged file into errors that say so.

    Args:
        where: what is being read, for the message.

    Raises:
        MissingFile: there is no such file.
        NotReadable: anything else that goes wrong inside.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise MissingFile(f"no file {where}") from error
    except (OSError, RuntimeError, KeyError, ValueError, pickle.UnpicklingError) as error:
        reason = " ".join(str(error).split())
        if "filter" in reason:
            hint = "it is compressed by a plugin: pip install hdf5plugin, and import it first"
            raise NotReadable(f"{where} cannot be read; {hint} ({reason})") from error
        if os.path.isfile(where) and os.path.getsize(where) == 0:
            raise NotReadable(f"{where} is cut short: it is empty") from error
        if "file signature not found" in reason:
            raise NotReadable(f"{where} is not an HDF5 file") from error
        if "truncated" in reason:
            raise NotReadable(f"{where} is cut short ({reason})") from error
        raise NotReadable(f"{where} cannot be read, it may be damaged ({reason})") from error
