"""Where the voxels of a layered calorimeter are.

The shower axis is z. A layer is divided into rings by radii and into sectors by angles; voxels are
numbered as in the CaloChallenge: layers one after the other, in a layer sector after sector, and in
a sector from the axis outwards: index = start of the layer + i_alpha * number of rings + i_r.

C. Krause et al., "CaloChallenge 2022", arXiv:2410.21611, section 2.

Shapes: L layers, V voxels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.errors import GeometryError

__all__ = ["Geometry", "Layer"]


@dataclass(frozen=True)
class Layer:
    """One layer: rings between radii, each cut into equal sectors.

    Attributes:
        r_edges: radii in mm, from the inner edge of the first ring to the outer of the last.
        num_alpha: sectors, the first beginning at an angle of -pi.
        id: what the detector calls the layer.
        z: depth of its middle along the shower axis, in mm; None if it is not known.

    Raises:
        GeometryError: radii that are fewer than two, negative or do not grow; no sectors; a depth
            that is no number.
    """

    r_edges: tuple[float, ...]
    num_alpha: int = 1
    id: int = 0
    z: float | None = None

    def __post_init__(self) -> None:
        edges = tuple(map(float, self.r_edges))
        object.__setattr__(self, "r_edges", edges)
        told = f"layer {self.id}"
        if len(edges) < 2 or edges[0] < 0 or not all(map(math.isfinite, edges)):
            raise GeometryError(f"{told}: wanted two radii or more from 0 on, got {list(edges)}")
        if any(a >= b for a, b in pairwise(edges)):
            raise GeometryError(f"{told}: radii should grow, got {list(edges)}")
        if self.num_alpha < 1:
            raise GeometryError(f"{told}: wanted one sector at least, got {self.num_alpha}")
        if self.z is not None and not math.isfinite(self.z):
            raise GeometryError(f"{told}: wanted a depth in mm, or None, got {self.z}")

    @property
    def num_r(self) -> int:
        """Number of rings."""
        return len(self.r_edges) - 1

    @property
    def num_voxels(self) -> int:
        """Rings times sectors."""
        return self.num_r * self.num_alpha


@dataclass(frozen=True)
class Geometry:
    """The layers of a calorimeter, in the order of the voxels.

    Attributes:
        layers: those that have voxels.
        name: what to call it in messages.
        particle: what hits it, such as "electron"; None for anything.
        threshold: energy in GeV below which a voxel counts as empty.
        symmetric: whether turning a shower about the axis, or reflecting it, gives one that is as
            likely: the beam comes along the axis and nothing else singles out an angle.

    Raises:
        GeometryError: no layers, or a negative threshold.
    """

    layers: tuple[Layer, ...]
    name: str = "calorimeter"
    particle: str | None = None
    threshold: float = 0.0
    symmetric: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "layers", tuple(self.layers))
        if not self.layers:
            raise GeometryError(f"{self.name} has no layers with voxels")
        if not 0 <= self.threshold < math.inf:
            raise GeometryError(f"threshold={self.threshold} GeV: wanted a number from 0 on")

    @property
    def num_layers(self) -> int:
        """L."""
        return len(self.layers)

    @cached_property
    def num_voxels(self) -> int:
        """V."""
        return sum(layer.num_voxels for layer in self.layers)

    @cached_property
    def starts(self) -> NDArray[np.int64]:
        """The first voxel of each layer, and V at the end: shape (L + 1,)."""
        return np.cumsum([0, *(layer.num_voxels for layer in self.layers)], dtype=np.int64)

    @cached_property
    def layer_of(self) -> NDArray[np.int64]:
        """The layer of each voxel, from 0: shape (V,)."""
        return np.repeat(np.arange(self.num_layers), np.diff(self.starts))

    @cached_property
    def r(self) -> NDArray[np.float64]:
        """Radius half-way between the edges of each voxel's ring, in mm: shape (V,)."""
        middles = [(np.array(e.r_edges[:-1]) + e.r_edges[1:]) / 2 for e in self.layers]
        return np.concatenate(
            [np.tile(r, e.num_alpha) for r, e in zip(middles, self.layers, strict=True)]
        )

    @cached_property
    def alpha(self) -> NDArray[np.float64]:
        """Angle in the middle of each voxel's sector, in [-pi, pi): shape (V,)."""
        found = []
        for layer in self.layers:
            edges = np.linspace(-np.pi, np.pi, layer.num_alpha + 1)
            found.append(np.repeat((edges[:-1] + edges[1:]) / 2, layer.num_r))
        return np.concatenate(found)

    @cached_property
    def x(self) -> NDArray[np.float64]:
        """The coordinate r cos(alpha) in mm, which the CaloChallenge calls eta: shape (V,)."""
        return self.r * np.cos(self.alpha)

    @cached_property
    def y(self) -> NDArray[np.float64]:
        """The coordinate r sin(alpha) in mm, which the CaloChallenge calls phi: shape (V,)."""
        return self.r * np.sin(self.alpha)

    @cached_property
    def z(self) -> NDArray[np.float64]:
        """Depth of each voxel in mm, NaN where it is not known: shape (V,)."""
        depths = [math.nan if layer.z is None else layer.z for layer in self.layers]
        return np.array(depths, dtype=np.float64)[self.layer_of]

    @property
    def shape(self) -> tuple[int, int, int] | None:
        """(layers, sectors, rings) where all layers are divided alike, else None."""
        first = self.layers[0]
        alike = all((e.num_alpha, e.num_r) == (first.num_alpha, first.num_r) for e in self.layers)
        return (self.num_layers, first.num_alpha, first.num_r) if alike else None

    def __str__(self) -> str:
        if self.shape is None:
            sizes = ", ".join(f"{e.id}: {e.num_alpha}x{e.num_r}" for e in self.layers)
            return f"{self.name} ({self.num_voxels} voxels; sectors x rings of layers {sizes})"
        shape = " x ".join(map(str, self.shape))
        return f"{self.name} ({shape} = {self.num_voxels} voxels)"

    def same_voxels(self, other: Geometry) -> bool:
        """Whether voxel i is the same piece of detector in both, to 1e-6 of its size.

        Args:
            other: another geometry; names, depths and thresholds may differ.
        """
        if len(self.layers) != len(other.layers):
            return False
        return all(
            a.num_alpha == b.num_alpha
            and a.num_r == b.num_r
            and np.allclose(a.r_edges, b.r_edges, rtol=1e-6, atol=0)
            for a, b in zip(self.layers, other.layers, strict=True)
        )

    def merged(
        self, *, layers: int = 1, sectors: int = 1, rings: Sequence[int] | int = 1
    ) -> Geometry:
        """A coarser geometry, made by joining neighbours.

        Args:
            layers: how many consecutive layers become one; they should be divided alike.
            sectors: how many consecutive sectors become one.
            rings: how many rings become one; or how many each new ring takes, from the axis.

        Raises:
            GeometryError: the numbers do not divide those of the geometry, or layers that are to
                become one are divided differently.
        """
        joined = []
        if layers < 1 or self.num_layers % layers:
            raise GeometryError(f"{self.num_layers} layers cannot be joined by {layers}")
        for first in range(0, self.num_layers, layers):
            group = self.layers[first : first + layers]
            one = group[0]
            if any((e.r_edges, e.num_alpha) != (one.r_edges, one.num_alpha) for e in group):
                ids = ", ".join(str(e.id) for e in group)
                raise GeometryError(f"layers {ids} are divided differently; they cannot be joined")
            if sectors < 1 or one.num_alpha % sectors:
                raise GeometryError(f"{one.num_alpha} sectors cannot be joined by {sectors}")
            depths = [e.z for e in group if e.z is not None]
            joined.append(
                Layer(
                    r_edges=tuple(one.r_edges[i] for i in _ring_edges(one.num_r, rings)),
                    num_alpha=one.num_alpha // sectors,
                    id=one.id // layers,
                    z=sum(depths) / len(depths) if depths else None,
                )
            )
        return Geometry(
            tuple(joined), f"{self.name}, merged", self.particle, self.threshold, self.symmetric
        )

    def voxels_in(self, coarse: Geometry) -> NDArray[np.int64]:
        """The voxel of a coarser geometry that holds each voxel of this one.

        Args:
            coarse: what `merged` gave.

        Returns:
            Shape (V,).

        Raises:
            GeometryError: the voxels of this geometry are not pieces of those of the other.
        """
        if self.num_layers % coarse.num_layers:
            raise GeometryError(f"{self} is no finer division of {coarse}")
        step = self.num_layers // coarse.num_layers
        found = []
        for i, layer in enumerate(self.layers):
            into = coarse.layers[i // step]
            edges = np.array(into.r_edges)
            nearest = np.abs(edges[:, None] - np.array(layer.r_edges)).min(axis=1)
            if layer.num_alpha % into.num_alpha or nearest.max() > 1e-6 * edges[-1]:
                raise GeometryError(f"layer {layer.id} of {self} is no finer division of {coarse}")
            middles = (np.array(layer.r_edges[:-1]) + layer.r_edges[1:]) / 2
            ring = np.searchsorted(edges, middles) - 1
            if ring.min() < 0 or ring.max() >= into.num_r:
                raise GeometryError(f"layer {layer.id} of {self} reaches beyond {coarse}")
            sector = np.arange(layer.num_alpha) // (layer.num_alpha // into.num_alpha)
            index = coarse.starts[i // step] + sector[:, None] * into.num_r + ring
            found.append(index.ravel())
        return np.concatenate(found)

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON and YAML can hold."""
        layers = [
            {"id": e.id, "r_edges": list(e.r_edges), "num_alpha": e.num_alpha, "z": e.z}
            for e in self.layers
        ]
        return {
            "name": self.name,
            "particle": self.particle,
            "threshold": self.threshold,
            "symmetric": self.symmetric,
            "layers": layers,
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Geometry:
        """The geometry that `to_dict` gave.

        Args:
            content: name, particle, threshold in GeV, symmetric, and layers, each with ``r_edges``
                and, if not 1, ``num_alpha``; ``id`` and ``z`` if they are known. A layer with
                ``repeat: n`` stands for n alike, their ids counting on and their depths ``pitch``
                mm apart.

        Raises:
            GeometryError: a key that is not known, one that is missing, or a value that makes no
                sense.
        """
        from hepgen.calorimeter.description import layers_of, plain_fields

        fields = plain_fields(content)
        return cls(layers=layers_of(content), **fields)


def _ring_edges(num_r: int, rings: Sequence[int] | int) -> list[int]:
    """Which of the edges stay."""
    if isinstance(rings, int):
        if rings < 1 or num_r % rings:
            raise GeometryError(f"{num_r} rings cannot be joined by {rings}")
        return list(range(0, num_r + 1, rings))
    if sum(rings) != num_r or min(rings) < 1:
        raise GeometryError(f"{num_r} rings cannot become rings of {list(rings)} of them")
    return [0, *map(int, np.cumsum(rings))]
