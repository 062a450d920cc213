"""Reading and writing showers, whatever the format, in memory or as a stream.

Shapes: B showers.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.binning import GeometryLike
from hepgen.calorimeter.challenge import ChallengeFile
from hepgen.calorimeter.challenge_writer import ChallengeWriter
from hepgen.calorimeter.errors import GeometryError, ShowerError
from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.reading import Float, Reading
from hepgen.calorimeter.showers import Showers
from hepgen.calorimeter.tree_writer import ShowerTreeWriter
from hepgen.calorimeter.trees import TreeFile
from hepgen.calorimeter.units import Unit
from hepgen.io.errors import InputError, NotReadable
from hepgen.io.files import Files, FileSpec, expand

__all__ = ["ShowerFiles", "iterate", "read", "write"]

HDF5 = (".hdf5", ".h5", ".hdf")
# Arguments of writers that are none of the user's options.
NO_OPTIONS = ("path", "geometry", "overwrite", "resume")


class ShowerFiles:
    """Showers in files, read when they are asked for: samples larger than memory.

    Files are one after the other, as given. What is asked for is read piece by piece in the order
    of the file, so that neighbours cost little; showers far apart cost a chunk of the file each.

    Args:
        files: a path, a glob, or several; ``*.hdf5`` in the layout of the CaloChallenge (see
            `ChallengeFile`), ``*.root`` with a tree of cells or hits (see `TreeFile`), where
            ``file.root:tree`` names the tree.
        geometry: a geometry, the name of one ("ds2") or a file of one. If not given, it is what the
            files carry, else that of the CaloChallenge with as many voxels.
        names: this and what follows as in `Reading`.
        unit: of the energies, where the file is not in MeV and does not say so.
        conditions: names of the conditions that are wanted.
        sampling_fraction: share of the energy that the file holds; voxels are divided by it.
        axes: of the voxels of HDF5 files, where they are not layer, sector, ring.
        dtype: of the voxels in memory.

    Attributes:
        geometry: of the voxels.

    Raises:
        InputError: as `ChallengeFile` and `TreeFile`, or files of different calorimeters.
    """

    def __init__(
        self,
        files: Files,
        geometry: GeometryLike | None = None,
        *,
        names: Mapping[str, str] | None = None,
        unit: Unit | None = None,
        conditions: Sequence[str] | None = None,
        sampling_fraction: float = 1.0,
        axes: str | None = None,
        dtype: Float = "float32",
    ) -> None:
        reading = Reading(
            names=names,
            unit=unit,
            conditions=conditions,
            sampling_fraction=sampling_fraction,
            axes=axes,
            dtype=dtype,
        )
        self._files = [_opened(spec, geometry, reading) for spec in expand(files)]
        self.geometry: Geometry = self._files[0].geometry
        for other in self._files[1:]:
            if not self.geometry.same_voxels(other.geometry):
                raise GeometryError(
                    f"{self._files[0].path} is in {self.geometry}, {other.path} in {other.geometry}"
                )
        self._starts = np.cumsum([0, *map(len, self._files)])

    def __len__(self) -> int:
        return int(self._starts[-1])

    def __getitem__(self, which: slice | NDArray[np.integer[Any]] | Sequence[int]) -> Showers:
        """Some of the showers, in memory.

        Args:
            which: a slice with a positive step, numbers that rise, or a mask.

        Raises:
            IndexError: a number that is not there, or numbers that do not rise.
            InputError: a file cannot be read there, or holds what is no shower.
        """
        rows = self._rows(which)
        pieces = [self._piece(begin, rows[a:b]) for begin, a, b in self._groups(rows)]
        return Showers.joined(pieces)

    def _rows(self, which: Any) -> NDArray[np.int64]:
        if isinstance(which, slice):
            rows = np.arange(len(self))[which]
        else:
            rows = np.asarray(which)
            if rows.dtype == bool:
                if rows.shape != (len(self),):
                    raise IndexError(f"mask of shape {rows.shape}; there are {len(self)} showers")
                rows = np.flatnonzero(rows)
            elif rows.size == 0:
                rows = rows.astype(np.int64)
        if rows.ndim != 1 or rows.dtype.kind not in "iu":
            raise IndexError(f"wanted a slice, rising numbers or a mask of showers, got {which!r}")
        if len(rows) and (rows[0] < 0 or rows[-1] >= len(self) or np.any(np.diff(rows) < 0)):
            raise IndexError(f"wanted rising numbers from 0 to {len(self) - 1} of showers in files")
        found: NDArray[np.int64] = rows.astype(np.int64)
        return found

    def _groups(self, rows: NDArray[np.int64]) -> Iterator[tuple[int, int, int]]:
        """(file, begin, end) of rows that are of one file."""
        if not len(rows):
            yield 0, 0, 0
        edges = np.searchsorted(rows, self._starts)
        for number, (a, b) in enumerate(pairwise(edges)):
            if a < b:
                yield number, int(a), int(b)

    def _piece(self, number: int, rows: NDArray[np.int64]) -> Showers:
        file = self._files[number]
        local = rows - self._starts[number]
        if not len(local):
            return file.read(0, 0)
        # A gap of more than a chunk is worth a jump.
        jumps = np.flatnonzero(np.diff(local) > file.chunk) + 1
        spans = np.split(local, jumps)
        found = []
        for span in spans:
            start, stop = int(span[0]), int(span[-1]) + 1
            read = file.read(start, stop)
            found.append(read if len(span) == stop - start else read[span - start])
        return found[0] if len(found) == 1 else Showers.joined(found)


def read(
    files: Files,
    geometry: GeometryLike | None = None,
    *,
    start: int | None = None,
    stop: int | None = None,
    **options: Any,
) -> Showers:
    """Showers of files, in memory.

    Args:
        files: see `ShowerFiles`.
        geometry: likewise.
        start: first shower, counted over all files.
        stop: shower after the last.
        **options: ``names``, ``unit``, ``conditions``, ``sampling_fraction``, ``axes`` and
            ``dtype``, as of `ShowerFiles`.

    Raises:
        InputError: see `ShowerFiles`.
        TypeError: there is no such option.
    """
    return ShowerFiles(files, geometry, **options)[start:stop]


def iterate(
    files: Files, geometry: GeometryLike | None = None, *, size: int = 1000, **options: Any
) -> Iterator[Showers]:
    """Showers of files, piece by piece.

    Args:
        files: see `ShowerFiles`.
        geometry: likewise.
        size: showers of a piece; the last has what is left.
        **options: as of `read`.

    Yields:
        Showers, in order.

    Raises:
        InputError: see `ShowerFiles`.
        TypeError: there is no such option.
    """
    if size < 1:
        raise ShowerError(f"size={size}: wanted 1 at least")
    found = ShowerFiles(files, geometry, **options)
    for start in range(0, len(found), size):
        yield found[start : start + size]


def write(
    path: str | os.PathLike[str],
    showers: Showers | Iterable[Showers],
    *,
    overwrite: bool = False,
    **options: Any,
) -> Path:
    """Write showers, whole or not at all.

    Args:
        path: ``*.hdf5`` for the layout of the CaloChallenge (see `ChallengeWriter`), ``*.root`` for
            a tree of cells (see `ShowerTreeWriter`).
        showers: what to write, at once or in pieces.
        overwrite: whether a file of that name may be replaced.
        **options: of the writer: ``dtype`` and ``level``; or ``dtype``, ``unit``, ``tree`` and
            ``kind``, which is "ttree" or "rntuple".

    Returns:
        The path.

    Raises:
        OutputExists: the file exists and ``overwrite`` is false.
        MissingFile: there is no such folder.
        NotReadable: a suffix of no format that hepgen writes.
        ShowerError: no showers at all.
        OSError: the file cannot be written.
        InputError: the writer has no such option.
    """
    writer = writer_of(path, options)
    pieces = iter([showers] if isinstance(showers, Showers) else showers)
    first = next(pieces, None)
    if first is None:
        raise ShowerError(f"no showers to write to {path}")
    with writer(path, first.geometry, overwrite=overwrite, **options) as file:
        file.extend(first)
        for piece in pieces:
            file.extend(piece)
    return Path(path)


def writer_of(
    path: str | os.PathLike[str], options: Iterable[str] = ()
) -> type[ChallengeWriter] | type[ShowerTreeWriter]:
    """What writes a file of a name.

    Args:
        path: see `write`.
        options: names of those that the writer will be given.

    Raises:
        NotReadable: a suffix of no format that hepgen writes.
        InputError: the writer has no such option.
    """
    writer: type[ChallengeWriter] | type[ShowerTreeWriter]
    suffix = Path(path).suffix.lower()
    if suffix in HDF5:
        writer = ChallengeWriter
    elif suffix == ".root":
        writer = ShowerTreeWriter
    else:
        known = ", ".join([*HDF5, ".root"])
        raise NotReadable(f"{path}: wanted the name of a file that ends in {known}")
    has = [name for name in inspect.signature(writer).parameters if name not in NO_OPTIONS]
    for name in options:
        if name not in has:
            raise InputError(
                f"{path}: files of this kind have no option {name!r}; they have {', '.join(has)}"
            )
    return writer


def _opened(
    spec: FileSpec, geometry: GeometryLike | None, reading: Reading
) -> ChallengeFile | TreeFile:
    if spec.format == "hdf5":
        return ChallengeFile(spec.path, geometry, reading)
    if spec.format == "root":
        return TreeFile(spec, geometry, reading)
    known = ", ".join([*HDF5, ".root"])
    raise NotReadable(f"{spec.path} is {spec.format}; showers are read from {known}")
