"""Writing HDF5 in the layout of the CaloChallenge, piece by piece.

What is written stands under a temporary name beside the file until it is complete.

Shapes: N showers, V voxels.
"""

from __future__ import annotations

import contextlib
import json
import os
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hepgen.atomic import replacing
from hepgen.calorimeter.challenge import DATASETS, ENERGY, EVENT, VOXELS, WEIGHT
from hepgen.calorimeter.description import described
from hepgen.calorimeter.errors import GeometryError, ShowerError
from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.reading import Float
from hepgen.calorimeter.showers import Showers
from hepgen.io.errors import InputError, MissingFile, OutputExists
from hepgen.io.whole import WholeFile

__all__ = ["ChallengeWriter"]

# Chunks of about this size unpack fast and fit the cache that h5py has by default.
CHUNK_BYTES = 500_000
CACHE_BYTES = 32_000_000
MEV = 1000.0


class ChallengeWriter(WholeFile):
    """Writes showers piece by piece; use it in a ``with`` statement, which closes or discards it.

    Args:
        path: the file.
        geometry: of the showers; kept in the file as JSON.
        overwrite: whether a file of that name may be replaced; it stays until the new one is whole.
        resume: whether to go on with what an interrupted run left, and to leave what there is if
            this one is interrupted.
        dtype: of energies in the file.
        level: of gzip, 0 to 9.

    Attributes:
        num_showers: how many are in the file, whole; where to go on after ``resume``.

    Raises:
        OutputExists: the file exists and ``overwrite`` is false.
        MissingFile: there is no such folder.
        GeometryError: what an interrupted run left is of another calorimeter.
        InputError: it is of another type.
        OSError: the file cannot be written.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        geometry: Geometry,
        *,
        overwrite: bool = False,
        resume: bool = False,
        dtype: Float = "float32",
        level: int = 4,
    ) -> None:
        self.path, self.geometry = Path(path), geometry
        if dtype not in ("float32", "float64") or not 0 <= level <= 9:
            raise InputError(f"dtype={dtype!r}, level={level}: wanted float32 or float64, 0 to 9")
        if not self.path.parent.is_dir():
            raise MissingFile(f"no folder {str(self.path.parent)!r} to write {self.path.name} to")
        if self.path.is_dir() or (self.path.exists() and not overwrite):
            raise OutputExists(f"{self.path} exists; overwrite=True (--overwrite) replaces it")
        self.partial = self.path.with_name(f".{self.path.name}.part")
        self._resume, self._dtype, self._level = resume, np.dtype(dtype), level
        left = self._left() if resume else None
        if left is None:
            self.num_showers = 0
            self._file = h5py.File(self.partial, "w", rdcc_nbytes=CACHE_BYTES)
            self._file.attrs["geometry"] = json.dumps(described(geometry))
            self._file.attrs["whole"] = 0
        else:
            self._file, self.num_showers = left

    def extend(self, showers: Showers) -> None:
        """Add showers; what is added is on the disk when this returns.

        Args:
            showers: in this geometry; with the same conditions as those before, and likewise with
                or without events and weights.

        Raises:
            GeometryError: they are of another calorimeter.
            ShowerError: something is known of some of the showers only.
            OSError: the disk is full.
        """
        if not self.geometry.same_voxels(showers.geometry):
            raise GeometryError(f"{self.path} is for {self.geometry}, got {showers.geometry}")
        columns = _columns(showers, self._dtype)
        if not self._datasets():
            self._create(columns, list(showers.conditions))
        elif set(columns) != self._datasets():
            missing = ", ".join(sorted(set(columns) ^ self._datasets()))
            raise ShowerError(f"{missing}: known of some of the showers of {self.path} only")
        begin, end = self.num_showers, self.num_showers + len(showers)
        for name, values in columns.items():
            dataset = self._file[name]
            dataset.resize(end, axis=0)
            dataset[begin:end] = values
        self._file.flush()
        self._file.attrs["whole"] = self.num_showers = end
        self._file.flush()

    def close(self) -> None:
        """Give the file its name; doing so twice is doing so once.

        Raises:
            InputError: nothing was ever written.
            OSError: the disk is full.
        """
        if not self._file:
            return
        if not self._datasets():
            self.discard()
            raise InputError(f"{self.path} was given no showers")
        del self._file.attrs["whole"]
        self._file.close()
        with replacing(self.path) as temporary:
            assert temporary == self.partial

    def discard(self) -> None:
        """Stop; nothing stays under the name of the file, and nothing at all without ``resume``."""
        with contextlib.suppress(OSError, RuntimeError):
            self._file.close()
        if not self._resume:
            self.partial.unlink(missing_ok=True)

    def _datasets(self) -> set[str]:
        return set(self._file.keys())

    def _create(self, columns: dict[str, NDArray[Any]], conditions: list[str]) -> None:
        self._file.attrs["conditions"] = json.dumps(conditions)
        for name, values in columns.items():
            row = values.dtype.itemsize * int(np.prod(values.shape[1:]))
            chunk = int(np.clip(CHUNK_BYTES // max(row, 1), 1, 4096))
            dataset = self._file.create_dataset(
                name,
                shape=(0, *values.shape[1:]),
                maxshape=(None, *values.shape[1:]),
                chunks=(chunk, *values.shape[1:]),
                dtype=values.dtype,
                compression="gzip",
                compression_opts=self._level,
            )
            if name in DATASETS.values():
                dataset.attrs["unit"] = "MeV"

    def _left(self) -> tuple[h5py.File, int] | None:
        """What an interrupted run left, cut to the showers that are whole; None for nothing."""
        if not self.partial.exists():
            return None
        try:
            file = h5py.File(self.partial, "r+", rdcc_nbytes=CACHE_BYTES)
        except (OSError, RuntimeError):
            # It was cut off in the middle of a write.
            return None
        try:
            return file, self._checked(file)
        except BaseException:
            file.close()
            raise

    def _checked(self, file: h5py.File) -> int:
        name = DATASETS[VOXELS]
        # The attribute is removed last of all.
        whole = int(file.attrs.get("whole", len(file[name]) if name in file else 0))
        kept = Geometry.from_dict(json.loads(file.attrs["geometry"]))
        if not self.geometry.same_voxels(kept):
            raise GeometryError(
                f"{self.partial} is left of a run in {kept}; this one is in {self.geometry}. "
                "Remove it, or write under another name"
            )
        if name in file and file[name].dtype != self._dtype:
            raise InputError(f"{self.partial} is left of a run in {file[name].dtype}; remove it")
        for dataset in file.values():
            dataset.resize(whole, axis=0)
        return whole


def _columns(showers: Showers, dtype: np.dtype[Any]) -> dict[str, NDArray[Any]]:
    """What goes into the file, in its units and types."""
    own = {*DATASETS, *DATASETS.values(), EVENT, WEIGHT}
    for name in showers.conditions:
        if name in own:
            raise ShowerError(f"a condition cannot be called {name!r} in a file of showers")
    voxels, wider = showers.voxels, np.result_type(showers.voxels.dtype, dtype)
    columns: dict[str, NDArray[Any]] = {
        DATASETS[ENERGY]: (showers.incident_energy[:, None] * MEV).astype(dtype),
        DATASETS[VOXELS]: (voxels.astype(wider, copy=False) * wider.type(MEV)).astype(
            dtype, copy=False
        ),
        **showers.conditions,
    }
    if showers.event is not None:
        columns[EVENT] = np.asarray(showers.event, dtype=np.int64)
    if showers.weight is not None:
        columns[WEIGHT] = np.asarray(showers.weight, dtype=np.float64)
    return columns
