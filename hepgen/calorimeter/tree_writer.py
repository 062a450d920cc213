"""Writing showers into ROOT files, piece by piece.

A shower is an entry. Lists of its cells that are not empty have their index, energy, layer and
position; the geometry and the unit stand beside the tree as texts, so that the file can be read
back without being told anything.

Shapes: B showers, N cells of all of them end to end.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np

from hepgen.calorimeter.description import described
from hepgen.calorimeter.errors import GeometryError, ShowerError
from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.hits import hits_of
from hepgen.calorimeter.reading import Float
from hepgen.calorimeter.showers import Showers
from hepgen.calorimeter.tree_names import OWN_BRANCHES
from hepgen.calorimeter.units import per_gev
from hepgen.io.columns import Jagged
from hepgen.io.errors import InputError
from hepgen.io.whole import WholeFile
from hepgen.io.write import Kind, TreeWriter

__all__ = ["ShowerTreeWriter"]

CELLS = ("index", "energy", "layer", "x", "y", "z")


class ShowerTreeWriter(WholeFile):
    """Writes showers as a TTree or RNTuple; use it in a ``with`` statement.

    Branches: ``incident_energy``, ``cell_index``, ``cell_energy``, ``cell_layer`` (its id),
    ``cell_x``, ``cell_y`` and ``cell_z`` in mm (``cell_z`` where depths are known), the conditions
    by their names, ``event`` and ``weight``.

    Args:
        path: the file.
        geometry: of the showers.
        overwrite: whether a file of that name may be replaced; it stays until the new one is whole.
        kind: "ttree" or "rntuple".
        tree: its name.
        unit: of energies in the file.
        dtype: of energies in the file.

    Attributes:
        num_showers: how many were given.

    Raises:
        OutputExists: the file exists and ``overwrite`` is false.
        MissingFile: there is no such folder.
        InputError: an unknown kind or type.
        ShowerError: an unknown unit.
        OSError: writing is not allowed there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        geometry: Geometry,
        *,
        overwrite: bool = False,
        kind: Kind = "ttree",
        tree: str = "showers",
        unit: str = "GeV",
        dtype: Float = "float32",
    ) -> None:
        if dtype not in ("float32", "float64"):
            raise InputError(f"dtype={dtype!r}: wanted 'float32' or 'float64'")
        self.path, self.geometry, self.num_showers = Path(path), geometry, 0
        self._factor, self._dtype = per_gev(unit), np.dtype(dtype)
        self._has_depth = bool(np.isfinite(geometry.z).all())
        self._ids = np.array([layer.id for layer in geometry.layers])[geometry.layer_of]
        self._writer = TreeWriter(
            path,
            tree=tree,
            kind=kind,
            overwrite=overwrite,
            counters={f"cell_{name}": "ncell" for name in CELLS},
            metadata={"energy_unit": unit, "geometry": json.dumps(described(geometry))},
        )

    def extend(self, showers: Showers) -> None:
        """Add showers.

        Args:
            showers: in this geometry; with the same conditions as those before, and likewise with
                or without events and weights.

        Raises:
            GeometryError: they are of another calorimeter.
            ShowerError: a condition that cannot have its name.
            MissingName: something is known of some of the showers only.
            OSError: the disk is full.
        """
        if not self.geometry.same_voxels(showers.geometry):
            raise GeometryError(f"{self.path} is for {self.geometry}, got {showers.geometry}")
        self._writer.extend(self._columns(showers))
        self.num_showers += len(showers)

    def close(self) -> None:
        """Give the file its name; doing so twice is doing so once.

        Raises:
            InputError: nothing was ever written.
            OSError: the disk is full.
        """
        self._writer.close()

    def discard(self) -> None:
        """Give up: nothing of the file stays, and one that was to be replaced stays as it was."""
        self._writer.discard()

    def _columns(self, showers: Showers) -> dict[str, Any]:
        hits, geometry = hits_of(showers), self.geometry
        energy = (hits.energy * showers.voxels.dtype.type(self._factor)).astype(self._dtype)
        cells: dict[str, Any] = {
            "index": hits.index,
            "energy": energy,
            "layer": self._ids[hits.index].astype(np.int32),
            "x": geometry.x[hits.index].astype(np.float32),
            "y": geometry.y[hits.index].astype(np.float32),
        }
        if self._has_depth:
            cells["z"] = geometry.z[hits.index].astype(np.float32)
        columns: dict[str, Any] = {
            "incident_energy": showers.incident_energy * self._factor,
            **{f"cell_{name}": Jagged(hits.offsets, values) for name, values in cells.items()},
        }
        for name, values in showers.conditions.items():
            if name in OWN_BRANCHES:
                raise ShowerError(f"a condition cannot be called {name!r} in a file of showers")
            columns[name] = values
        if showers.event is not None:
            columns["event"] = np.asarray(showers.event, dtype=np.int64)
        if showers.weight is not None:
            columns["weight"] = np.asarray(showers.weight, dtype=np.float64)
        return columns
