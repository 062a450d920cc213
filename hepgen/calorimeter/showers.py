"""Showers: what each voxel of a calorimeter got of some particles.

All energies are in GeV. Files of the field hold MeV; readers and writers convert, nothing else.

Shapes: B showers, L layers, V voxels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.errors import GeometryError, ShowerError
from hepgen.calorimeter.geometry import Geometry

__all__ = ["Showers"]


@dataclass(frozen=True, eq=False)
class Showers:
    """Some showers in one calorimeter.

    Attributes:
        geometry: where the voxels are.
        incident_energy: of the particles, in GeV, float64, shape (B,).
        voxels: energies in GeV, floating point, shape (B, V).
        conditions: what else is known of the particles before they shower, such as ``theta`` and
            ``phi`` in radians or ``pdg``, each of shape (B,).
        event: identifiers of the events that they belong to, int64, shape (B,); None for none.
        weight: of each shower, shape (B,); None for ones.

    Raises:
        GeometryError: the number of voxels is not that of the geometry; both are named.
        ShowerError: shapes that do not go together, NaN or infinite or negative voxels, incident
            energies that are not above 0, NaN or infinite conditions or weights.
    """

    geometry: Geometry
    incident_energy: NDArray[np.float64]
    voxels: NDArray[np.floating[Any]]
    conditions: Mapping[str, NDArray[Any]] = field(default_factory=dict)
    event: NDArray[np.int64] | None = None
    weight: NDArray[np.float64] | None = None

    def __post_init__(self) -> None:
        energy = np.asarray(self.incident_energy, dtype=np.float64)
        energy = energy[:, 0] if energy.ndim == 2 and energy.shape[1] == 1 else energy
        object.__setattr__(self, "incident_energy", energy)
        voxels = np.asarray(self.voxels)
        if voxels.dtype not in (np.float32, np.float64):
            voxels = voxels.astype(np.float32)
        object.__setattr__(self, "voxels", voxels)
        object.__setattr__(
            self, "conditions", {name: np.asarray(v) for name, v in self.conditions.items()}
        )
        self._check_shapes()
        self._check_values()

    def _check_shapes(self) -> None:
        voxels, wanted = self.voxels, self.geometry.num_voxels
        if voxels.ndim != 2 or voxels.shape[1] != wanted:
            got = voxels.shape[1] if voxels.ndim == 2 else f"shape {voxels.shape}"
            raise GeometryError(
                f"showers have {got} voxels, {self.geometry} has {wanted}: "
                "they are of another calorimeter, or need another geometry"
            )
        named = {"incident_energy": self.incident_energy, "event": self.event}
        named |= {"weight": self.weight, **self.conditions}
        for name, values in named.items():
            if values is not None and values.shape != (len(voxels),):
                raise ShowerError(
                    f"{name} has shape {values.shape}; there are {len(voxels)} showers"
                )

    def _check_values(self) -> None:
        energy = self.incident_energy
        wrong = np.flatnonzero(~(np.isfinite(energy) & (energy > 0)))
        if len(wrong):
            raise ShowerError(
                f"incident energies of {len(wrong)} of {len(energy)} showers are not above 0: "
                f"shower {wrong[0]} has {energy[wrong[0]]} GeV"
            )
        told = {"weight": self.weight, **self.conditions}
        for name, values in told.items():
            if values is not None and values.dtype.kind == "f" and not np.isfinite(values).all():
                row = int(np.flatnonzero(~np.isfinite(values))[0])
                raise ShowerError(f"{name} of shower {row} is {values[row]}: wanted a number")
        # Least and greatest tell of NaN as well, without a mask of the size of the sample.
        least = self.voxels.min(axis=1, initial=0.0)
        most = self.voxels.max(axis=1, initial=0.0)
        wrong = np.flatnonzero(~((least >= 0) & (most < np.inf)))
        if len(wrong):
            row = self.voxels[wrong[0]]
            voxel = int(np.flatnonzero(~((row >= 0) & (row < np.inf)))[0])
            raise ShowerError(
                f"negative, NaN or infinite voxels in {len(wrong)} of {len(energy)} showers; the "
                f"first is voxel {voxel} of shower {wrong[0]}: {row[voxel]} GeV"
            )

    def __len__(self) -> int:
        return len(self.voxels)

    def __getitem__(self, which: slice | NDArray[Any] | Sequence[int]) -> Showers:
        """Some of the showers.

        Args:
            which: a slice, numbers or a mask.

        Raises:
            IndexError: one number, as one shower is no sample; ``showers[3:4]`` is.
        """
        if isinstance(which, (int, np.integer)):
            raise IndexError(f"wanted a slice, numbers or a mask, such as [3:4]; got {which!r}")
        return replace(
            self,
            incident_energy=self.incident_energy[which],
            voxels=self.voxels[which],
            conditions={name: values[which] for name, values in self.conditions.items()},
            event=None if self.event is None else self.event[which],
            weight=None if self.weight is None else self.weight[which],
        )

    @property
    def layer_energies(self) -> NDArray[np.float64]:
        """Sums over the voxels of each layer, in GeV, float64, shape (B, L)."""
        starts = self.geometry.starts
        pairs = pairwise(starts)
        sums = [self.voxels[:, a:b].sum(axis=1, dtype=np.float64) for a, b in pairs]
        return np.stack(sums, axis=1)

    @property
    def total_energy(self) -> NDArray[np.float64]:
        """Sum over the voxels in GeV, float64, shape (B,)."""
        total: NDArray[np.float64] = self.voxels.sum(axis=1, dtype=np.float64)
        return total

    @property
    def response(self) -> NDArray[np.float64]:
        """Total energy over incident energy, shape (B,)."""
        return self.total_energy / self.incident_energy

    def above(self, threshold: float | None = None) -> Showers:
        """The same with voxels below a threshold emptied.

        Args:
            threshold: in GeV; that of the geometry if not given. Voxels less than 1e-6 of it below
                stay, as numbers of files are rounded.

        Raises:
            ShowerError: a threshold that is negative or no number.
        """
        cut = self.geometry.threshold if threshold is None else threshold
        if not 0 <= cut < math.inf:
            raise ShowerError(f"threshold={cut} GeV: wanted a number from 0 on")
        kept = np.where(self.voxels >= cut * (1 - 1e-6), self.voxels, self.voxels.dtype.type(0))
        return replace(self, voxels=kept)

    def merged(
        self, *, layers: int = 1, sectors: int = 1, rings: Sequence[int] | int = 1
    ) -> Showers:
        """The same in a coarser geometry.

        Args:
            layers: see `Geometry.merged`.
            sectors: likewise.
            rings: likewise.

        Raises:
            GeometryError: the geometry cannot be divided so.
        """
        coarse = self.geometry.merged(layers=layers, sectors=sectors, rings=rings)
        return self.into(coarse)

    def into(self, coarse: Geometry) -> Showers:
        """The same in a coarser geometry.

        Args:
            coarse: a geometry whose voxels are unions of those of this one.

        Raises:
            GeometryError: they are not.
        """
        if self.geometry.same_voxels(coarse):
            return replace(self, geometry=coarse)
        target = self.geometry.voxels_in(coarse)
        order = np.argsort(target, kind="stable")
        firsts = np.searchsorted(target[order], np.arange(coarse.num_voxels))
        sums = np.empty((len(self), coarse.num_voxels), dtype=self.voxels.dtype)
        for begin in range(0, len(self), 4096):
            piece = slice(begin, begin + 4096)
            taken = self.voxels[piece][:, order].astype(np.float64)
            sums[piece] = np.add.reduceat(taken, firsts, axis=1)
        return replace(self, geometry=coarse, voxels=sums)

    @staticmethod
    def joined(pieces: Sequence[Showers]) -> Showers:
        """Several samples end to end.

        Args:
            pieces: of one geometry, with the same conditions.

        Raises:
            ShowerError: there are none, or conditions, events or weights are in some only.
            GeometryError: the geometries differ.
        """
        if not pieces:
            raise ShowerError("no showers to join")
        first = pieces[0]
        for other in pieces[1:]:
            if not first.geometry.same_voxels(other.geometry):
                raise GeometryError(f"{first.geometry} and {other.geometry} cannot be joined")
            for name in ("event", "weight"):
                if (getattr(first, name) is None) != (getattr(other, name) is None):
                    raise ShowerError(f"{name} is known of some of the showers only")
            if set(first.conditions) != set(other.conditions):
                both = f"{sorted(first.conditions)} and {sorted(other.conditions)}"
                raise ShowerError(f"showers with conditions {both} cannot be joined")
        return Showers(
            first.geometry,
            np.concatenate([p.incident_energy for p in pieces]),
            np.concatenate([p.voxels for p in pieces]),
            {n: np.concatenate([p.conditions[n] for p in pieces]) for n in first.conditions},
            _end_to_end([p.event for p in pieces]),
            _end_to_end([p.weight for p in pieces]),
        )


def _end_to_end(arrays: Sequence[NDArray[Any] | None]) -> NDArray[Any] | None:
    present = [a for a in arrays if a is not None]
    return np.concatenate(present) if present else None
