"""Showers in ROOT files: a TTree or RNTuple with the cells or hits of each shower as lists.

Shapes: N showers of a file, V voxels.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import uproot
from numpy.typing import NDArray

from hepgen.calorimeter.binning import GeometryLike, geometry_of
from hepgen.calorimeter.challenge import FIRST
from hepgen.calorimeter.errors import GeometryError, ShowerError
from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.hits import place_names, voxels_of
from hepgen.calorimeter.par04 import par04_geometry
from hepgen.calorimeter.reading import Reading
from hepgen.calorimeter.showers import Showers
from hepgen.calorimeter.tree_names import OWN_BRANCHES, PAR04_TREES, tree_names_of
from hepgen.calorimeter.units import check_units, per_gev, unit_of
from hepgen.io.columns import Column, Jagged, describe, flat_columns
from hepgen.io.errors import InputError, NotReadable, WrongType
from hepgen.io.files import FileSpec
from hepgen.io.root import RootSource, readable, tree_names

__all__ = ["TreeFile"]

# Showers of which dense voxels are made at a time.
BLOCK = 1000
# Texts beside the tree.
TEXTS = ("energy_unit", "geometry")


class TreeFile:
    """The showers of a ROOT file, read when they are asked for.

    Hits that lie in no voxel are left out; their energy is missing from the sums, as what leaves
    the calorimeter is.

    Args:
        spec: the file, and the tree if it holds several.
        geometry: a geometry, the name of one, or a file of one. If not given, it is what the file
            carries; of Par04 files that of ds3 (18 x 50 x 45 cells in r, phi, z) or ds2 (9 x 16 x
            45), whichever holds the cells.
        reading: what the file does not tell. Its names are "incident_energy", "cell_energy";
            "cell_index", or what tells it: "cell_layer" (its id) or "cell_z", and "cell_sector" and
            "cell_ring", or "cell_x" and "cell_y", or "cell_r" and "cell_phi"; "event", "weight", or
            a condition. Lengths are in mm, angles in radians.

    Attributes:
        path: of the file.
        geometry: of the voxels.
        chunk: gaps of more showers than this are worth a jump.

    Raises:
        MissingFile: there is no such file.
        NotReadable: it is no ROOT file, is cut short or damaged.
        MissingName: a branch is not there; the nearest are named.
        GeometryError: the geometry is not known, or the branches do not tell voxels of it.
        ShowerError: energies in other units than they were read in.
    """

    chunk = BLOCK

    def __init__(
        self,
        spec: FileSpec,
        geometry: GeometryLike | None = None,
        reading: Reading | None = None,
    ) -> None:
        reading = reading or Reading()
        if reading.axes is not None:
            raise GeometryError(f"{spec.path}: axes are of HDF5 files; cells of trees have names")
        self.path, self.dtype = spec.path, np.dtype(reading.dtype)
        texts, trees = _beside(spec)
        self._specs = _specs(spec, trees)
        with _Sources(self._specs) as sources:
            self.where = sources.where
            self._length = sources.num_entries
            ours = set(TEXTS) <= set(texts)
            declared = [n for n in sources.names if ours and n not in OWN_BRANCHES]
            self.names = tree_names_of(
                sources.names, reading.names or {}, reading.conditions, declared, self.where
            )
        self._divisors = {
            name: per_gev(unit_of(name, reading.unit, texts.get("energy_unit")))
            for name in ("incident_energy", "voxels")
        }
        self._divisors["voxels"] *= reading.sampling_fraction
        self.geometry = self._geometry_of(geometry, texts.get("geometry"))
        self._places = place_names(list(self.names.places), self.geometry)
        if reading.unit is None and "energy_unit" not in texts:
            self._check_units()

    def __len__(self) -> int:
        return self._length

    def read(self, start: int, stop: int) -> Showers:
        """Showers start <= i < stop, in GeV.

        Args:
            start: first entry.
            stop: entry after the last.

        Raises:
            NotReadable: the file is damaged there.
            ShowerError: negative or NaN energies, incident energies that are not above 0, or no hit
                at all in a voxel.
        """
        where = f"{self.where}, entries {start} to {stop}"
        columns = self._columns(start, stop)
        names = self.names
        lists = [names.cell_energy, *(names.places[name] for name in self._places)]
        offsets, flat = flat_columns(
            {name: columns[name] for name in lists}, kind="branch", where=self.where
        )
        places = {name: flat[names.places[name]] for name in self._places}
        voxels = self._voxels(offsets, flat[names.cell_energy], places, where)
        event, weight = (
            None if name is None else self._single(columns, name)
            for name in (names.event, names.weight)
        )
        try:
            return Showers(
                self.geometry,
                self._single(columns, names.energy) / self._divisors["incident_energy"],
                voxels,
                {ours: self._single(columns, name) for ours, name in names.conditions.items()},
                None if event is None else event.astype(np.int64),
                None if weight is None else weight.astype(np.float64),
            )
        except (ShowerError, GeometryError) as error:
            raise type(error)(f"{where}: {error}") from error

    def _columns(self, start: int, stop: int) -> dict[str, Column]:
        with _Sources(self._specs) as sources:
            return sources.read(self.names.branches, start, stop)

    def _voxels(
        self,
        offsets: NDArray[np.int64],
        energy: NDArray[Any],
        places: Mapping[str, NDArray[Any]],
        where: str,
    ) -> NDArray[Any]:
        number = len(offsets) - 1
        found = np.empty((number, self.geometry.num_voxels), dtype=self.dtype)
        inside = 0.0
        for begin in range(0, number, BLOCK):
            end = min(begin + BLOCK, number)
            some = slice(offsets[begin], offsets[end])
            part = {name: values[some] for name, values in places.items()}
            try:
                sums, _ = voxels_of(
                    offsets[begin : end + 1] - offsets[begin], energy[some], part, self.geometry
                )
            except InputError as error:
                raise type(error)(f"{where}: {error}") from error
            inside += float(sums.sum())
            found[begin:end] = sums / self._divisors["voxels"]
        if inside == 0 and np.any(energy > 0):
            raise ShowerError(
                f"{where}: none of {len(energy)} hits lies in a voxel of {self.geometry}; wanted "
                "places in mm and radians from where the particle enters, along its direction, and "
                "numbers from 0"
            )
        return found

    def _single(self, columns: Mapping[str, Column], name: str) -> NDArray[Any]:
        """One number for each shower, which may stand in a list of one."""
        values = columns[name]
        if isinstance(values, Jagged) and np.all(np.diff(values.offsets) == 1):
            values = values.values
        if isinstance(values, np.ndarray) and values.shape[1:] == (1,):
            values = values[:, 0]
        if not isinstance(values, np.ndarray) or values.ndim != 1:
            raise WrongType(
                f"branch {name!r} of {self.where} holds {describe(values)}, "
                "wanted one number an entry"
            )
        return values.astype(np.float64) if name == self.names.energy else values

    def _geometry_of(self, told: GeometryLike | None, carried: str | None) -> Geometry:
        if told is not None:
            return geometry_of(told)
        if carried is not None:
            try:
                return Geometry.from_dict(json.loads(carried))
            except (GeometryError, json.JSONDecodeError, TypeError) as error:
                raise NotReadable(
                    f"the text 'geometry' in {self.path} is none ({error}); "
                    "give the geometry yourself"
                ) from error
        if self.names.par04:
            columns = self._columns(0, min(FIRST, len(self)))
            cells = {}
            for ours in ("ring", "sector", "layer"):
                column = columns[self.names.places[ours]]
                assert isinstance(column, Jagged)
                cells[ours] = column.values
            return par04_geometry(cells, self.where)
        raise GeometryError(f"{self.where} tells no geometry; give one")

    def _check_units(self) -> None:
        first = self.read(0, min(FIRST, len(self)))
        check_units(
            first.incident_energy,
            first.total_energy,
            first.voxels,
            self.geometry.threshold,
            self.where,
        )


class _Sources:
    """The tree of a file, or two whose entries belong together."""

    def __init__(self, specs: Sequence[FileSpec]) -> None:
        self.sources: list[RootSource] = []
        try:
            for spec in specs:
                self.sources.append(RootSource(spec))
            first = self.sources[0]
            for other in self.sources[1:]:
                if other.num_entries != first.num_entries:
                    raise ShowerError(
                        f"{first.where} has {first.num_entries} entries, {other.where} has "
                        f"{other.num_entries}"
                    )
        except BaseException:
            self.__exit__()
            raise
        self.where, self.num_entries = first.where, first.num_entries
        self.names = [name for source in self.sources for name in source.names]

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        found: dict[str, Column] = {}
        for source in self.sources:
            mine = [name for name in names if name in source.names and name not in found]
            found |= source.read(mine, start, stop) if mine else {}
        return found

    def __enter__(self) -> _Sources:
        return self

    def __exit__(self, *exception: object) -> None:
        for source in self.sources:
            source.__exit__()


def _beside(spec: FileSpec) -> tuple[dict[str, str], list[str]]:
    """The texts beside the tree that hepgen writes, and the names of the trees."""
    with readable(spec.path), uproot.open({spec.path: None}, array_cache=None) as file:
        classes = file.classnames(recursive=False, cycle=False)
        texts = {n: str(file[n]) for n in TEXTS if classes.get(n) == "TObjString"}
        return texts, tree_names(file)


def _specs(spec: FileSpec, trees: Sequence[str]) -> list[FileSpec]:
    """The trees to read: those of Par04 go together."""
    if spec.tree is None and set(PAR04_TREES) <= set(trees):
        return [FileSpec(spec.path, tree) for tree in PAR04_TREES]
    return [spec]
