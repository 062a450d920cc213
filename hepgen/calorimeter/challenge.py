"""HDF5 in the layout of the CaloChallenge.

Two datasets: ``incident_energies`` (N, 1) and ``showers`` (N, V), both in MeV, gzip. What else is
known of the showers stands in datasets of its own with N entries: conditions by their names
(``theta`` and ``phi`` in radians, ``pdg``), ``event`` and ``weight``. Files that hepgen writes
carry units, and the geometry as JSON, as attributes; readers of the challenge's files do not mind.

C. Krause et al., "CaloChallenge 2022", arXiv:2410.21611, section 2.

Shapes: N showers of a file, V voxels.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.binning import GeometryLike, geometry_of
from hepgen.calorimeter.challenge_geometries import GEOMETRY_NAMES, geometry_of_size, named_geometry
from hepgen.calorimeter.errors import GeometryError, ShowerError
from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.reading import Reading
from hepgen.calorimeter.showers import Showers
from hepgen.calorimeter.units import check_units, per_gev, unit_of
from hepgen.calorimeter.voxel_order import flat_order
from hepgen.io.errors import InputError, MissingName, NotReadable, WrongType
from hepgen.io.hdf5 import readable

__all__ = ["ChallengeFile", "size_mismatch"]

ENERGY, VOXELS, EVENT, WEIGHT = "incident_energy", "voxels", "event", "weight"
# Our name -> that of the challenge.
DATASETS = {ENERGY: "incident_energies", VOXELS: "showers"}
# What is a condition where nobody says so.
USUAL_CONDITIONS = ("theta", "phi", "eta", "pdg")
# Showers that are looked at for their units.
FIRST = 100
CACHE_BYTES = 32_000_000


class ChallengeFile:
    """The showers of a file in the layout of the CaloChallenge, read when they are asked for.

    Args:
        path: the file.
        geometry: a geometry, the name of one, or a file of one. If not given, it is what the file
            carries, else that of the CaloChallenge with as many voxels.
        reading: what the file does not tell. Its names are "voxels", "incident_energy", "event",
            "weight", or that of a condition.

    Attributes:
        path: of the file.
        geometry: of the voxels.

    Raises:
        MissingFile: there is no such file.
        NotReadable: it is not HDF5, is cut short or damaged.
        MissingName: a dataset is not there; the nearest are named.
        GeometryError: the geometry does not go with the showers, or is not known.
        ShowerError: datasets of different lengths, or energies in other units than MeV.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        geometry: GeometryLike | None = None,
        reading: Reading | None = None,
    ) -> None:
        reading = reading or Reading()
        unit = reading.unit
        self.path, self.dtype = Path(path), np.dtype(reading.dtype)
        self.names = {**DATASETS, **(reading.names or {})}
        with readable(str(path)), h5py.File(path, "r") as file:
            shapes = {ENERGY: self._dataset(file, ENERGY), VOXELS: self._dataset(file, VOXELS)}
            self._length = self._check_lengths(shapes)
            self._divisors = {
                name: per_gev(unit_of(name, unit, dataset.attrs.get("unit")))
                for name, dataset in shapes.items()
            }
            self._divisors[VOXELS] *= reading.sampling_fraction
            self._conditions = self._conditions_of(file, reading.conditions)
            self._has = {name: self._is_there(file, name) for name in (EVENT, WEIGHT)}
            self.chunk = (shapes[VOXELS].chunks or (FIRST,))[0]
            shape = shapes[VOXELS].shape[1:]
            self.geometry = self._geometry_of(geometry, file, shape)
            self._order = flat_order(shape, reading.axes, self.geometry, str(path))
            doubted = [n for n, d in shapes.items() if "unit" not in d.attrs]
        if doubted and not (isinstance(unit, str) or (unit and set(doubted) <= set(unit))):
            first = self.read(0, min(FIRST, len(self)))
            total, voxels = first.total_energy, first.voxels
            check_units(
                first.incident_energy, total, voxels, self.geometry.threshold, str(self.path)
            )

    def __len__(self) -> int:
        return self._length

    def read(self, start: int, stop: int) -> Showers:
        """Showers start <= i < stop, in GeV.

        Args:
            start: first row.
            stop: row after the last.

        Raises:
            NotReadable: the file is damaged there.
            ShowerError: negative or NaN voxels, or incident energies that are not above 0.
        """
        where = f"{self.path} (rows {start} to {stop})"
        with readable(where), h5py.File(self.path, "r", rdcc_nbytes=CACHE_BYTES) as file:
            voxels = self._voxels(file, start, stop)
            energy = self._column(file, ENERGY, start, stop) / self._divisors[ENERGY]
            conditions = {n: self._column(file, n, start, stop) for n in self._conditions}
            event, weight = (
                self._column(file, name, start, stop) if self._has[name] else None
                for name in (EVENT, WEIGHT)
            )
        try:
            return Showers(self.geometry, energy, voxels, conditions, event, weight)
        except (ShowerError, GeometryError) as error:
            raise type(error)(f"{where}: {error}") from error

    def _voxels(self, file: h5py.File, start: int, stop: int) -> NDArray[Any]:
        dataset = self._dataset(file, VOXELS)
        found = np.empty((stop - start, self.geometry.num_voxels), dtype=self.dtype)
        wider = np.result_type(dataset.dtype, self.dtype)
        row = self.chunk * self.geometry.num_voxels * wider.itemsize
        step = self.chunk * max(1, CACHE_BYTES // row)
        # In pieces that end where chunks do, so that nothing is unpacked twice.
        edges = [start, *range(start // step * step + step, stop, step), stop]
        for a, b in pairwise(edges):
            piece = dataset[a:b].reshape(b - a, found.shape[1]).astype(wider, copy=False)
            piece = piece if self._order is None else piece[:, self._order]
            # Casting only once it is divided: a float64 file is rounded once.
            found[a - start : b - start] = piece / wider.type(self._divisors[VOXELS])
        return found

    def _column(self, file: h5py.File, name: str, start: int, stop: int) -> NDArray[Any]:
        values: NDArray[Any] = self._dataset(file, name)[start:stop].reshape(stop - start)
        return values.astype(np.float64) if name in (ENERGY, WEIGHT) else values

    def _dataset(self, file: h5py.File, name: str) -> h5py.Dataset:
        called = self.names.get(name, name)
        found = file.get(called)
        if not isinstance(found, h5py.Dataset):
            there = []
            file.visititems(lambda n, d: there.append(n) if isinstance(d, h5py.Dataset) else None)
            raise MissingName.among(called, there, kind="dataset", where=str(self.path))
        return found

    def _is_there(self, file: h5py.File, name: str) -> bool:
        if name in self.names:
            self._check_column(self._dataset(file, name), name)
            return True
        found = file.get(name)
        return isinstance(found, h5py.Dataset) and found.shape in (
            (self._length,),
            (self._length, 1),
        )

    def _check_lengths(self, datasets: Mapping[str, h5py.Dataset]) -> int:
        energy, voxels = datasets[ENERGY], datasets[VOXELS]
        for name, dataset in datasets.items():
            if dataset.dtype.kind not in "fiu":
                called = self.names[name]
                raise WrongType(f"{called} of {self.path} holds {dataset.dtype}, wanted numbers")
        if voxels.ndim < 2:
            raise ShowerError(
                f"{self.names[VOXELS]} of {self.path} has shape {voxels.shape}, "
                "wanted a row for each shower"
            )
        if energy.shape not in ((len(voxels),), (len(voxels), 1)):
            raise ShowerError(
                f"{self.path} has {len(voxels)} showers, but {self.names[ENERGY]} has shape "
                f"{energy.shape}"
            )
        return len(voxels)

    def _check_column(self, dataset: h5py.Dataset, name: str) -> None:
        if dataset.shape not in ((self._length,), (self._length, 1)):
            raise ShowerError(
                f"{name} of {self.path} has shape {dataset.shape}; there are {self._length} showers"
            )

    def _conditions_of(self, file: h5py.File, wanted: Sequence[str] | None) -> tuple[str, ...]:
        if wanted is None:
            own = (ENERGY, VOXELS, EVENT, WEIGHT)
            declared = file.attrs.get("conditions")
            found = [n for n in USUAL_CONDITIONS if self._is_there(file, n)]
            if declared is not None:
                with readable(str(self.path)):
                    found = [str(name) for name in json.loads(declared)]
            wanted = list(dict.fromkeys([*found, *(n for n in self.names if n not in own)]))
        for name in wanted:
            self._check_column(self._dataset(file, name), name)
        return tuple(wanted)

    def _geometry_of(
        self, told: GeometryLike | None, file: h5py.File, shape: Sequence[int]
    ) -> Geometry:
        size = math.prod(shape)
        if told is not None:
            geometry = geometry_of(told)
            if geometry.num_voxels != size:
                raise size_mismatch(size, geometry, str(self.path))
            return geometry
        carried = file.attrs.get("geometry")
        if carried is not None:
            try:
                geometry = Geometry.from_dict(json.loads(carried))
            except (GeometryError, json.JSONDecodeError, TypeError) as error:
                raise NotReadable(
                    f"the attribute 'geometry' of {self.path} is none ({error}); "
                    "give the geometry yourself"
                ) from error
            if geometry.num_voxels != size:
                raise size_mismatch(size, geometry, str(self.path))
            return geometry
        found = geometry_of_size(size)
        if found is None:
            raise GeometryError(
                f"{self.path} has {size} voxels and tells no geometry, and none of "
                f"{', '.join(GEOMETRY_NAMES)} has as many; give a geometry"
            )
        return found


def size_mismatch(size: int, geometry: Geometry, where: str) -> InputError:
    """The error for showers that are not in a geometry, with those of the challenge that fit.

    Args:
        size: voxels of the showers.
        geometry: what was wanted.
        where: the file, for the message.
    """
    fitting = [n for n in GEOMETRY_NAMES if named_geometry(n).num_voxels == size]
    hint = f"{', '.join(fitting)} would fit" if fitting else "no geometry of the challenge fits"
    return GeometryError(f"{where} has {size} voxels, {geometry} has {geometry.num_voxels}; {hint}")
