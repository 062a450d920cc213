"""Sums over the voxels of each shower, in one pass; observables are formulas of them.

Shapes: B showers, L layers, V voxels, R radii.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.showers import Showers

__all__ = ["ShowerSums"]

Floats: TypeAlias = NDArray[np.float64]
# Sums over the voxels of a layer: of e, x e, y e, x^2 e, y^2 e, r e, r^2 e, 1.
ENERGY, X, Y, XX, YY, R, RR, HITS = range(8)


class ShowerSums:
    """Everything that is summed over voxels, in one pass; observables are formulas of it.

    Args:
        showers: voxels below the threshold of their geometry count as empty.

    Attributes:
        geometry: of the showers.
        incident_energy: in GeV, shape (B,).
        radii: outer radii of rings in mm, rising, shape (R,).
        innermost: least radius in mm.
        layers: sums of each layer, shape (B, L, 8).
        rings: energy in the rings that end at each radius, in GeV, shape (B, R).
        others: sum of squared energies, the largest, and the sum in the innermost rings, (B, 3).
        energies: of the layers in GeV, shape (B, L).
        total: in GeV, shape (B,).
    """

    def __init__(self, showers: Showers) -> None:
        geometry = showers.geometry
        self.geometry, self.incident_energy = geometry, showers.incident_energy
        outer = np.concatenate([np.tile(e.r_edges[1:], e.num_alpha) for e in geometry.layers])
        inner = np.concatenate([np.tile(e.r_edges[:-1], e.num_alpha) for e in geometry.layers])
        first = np.array([e.r_edges[0] for e in geometry.layers])[geometry.layer_of]
        self.radii, ring = np.unique(outer, return_inverse=True)
        self.innermost = float(inner.min())
        self.layers: Floats
        self.rings: Floats
        self.others: Floats
        self.layers, self.rings, self.others = _sum_voxels(
            np.ascontiguousarray(showers.voxels),
            geometry.starts,
            np.stack([geometry.x, geometry.y, geometry.r]),
            ring.astype(np.int64).reshape(-1),
            inner == first,
            _cut(geometry),
        )
        self.energies: Floats = self.layers[:, :, ENERGY]
        self.total: Floats = self.energies.sum(axis=1)

    def mean(self, layer: int | None, what: int) -> Floats:
        """Energy-weighted mean of a coordinate in a layer, or in all of them."""
        sums = self.layers.sum(axis=1) if layer is None else self.layers[:, layer]
        return ratio(sums[:, what], sums[:, ENERGY])

    def width(self, layer: int | None, what: int, square: int) -> Floats:
        """Square root of the variance of a coordinate."""
        return _spread(self.mean(layer, square), self.mean(layer, what))

    def depth(self, places: Floats) -> Floats:
        """Mean depth."""
        return ratio(self.energies @ places, self.total)

    def depth_spread(self, places: Floats) -> Floats:
        """Square root of the variance of the depth."""
        # About the middle of the calorimeter, as squares of large numbers cancel.
        centred = places - places.mean()
        return _spread(self.depth(centred**2), self.depth(centred))

    def radius(self, share: float) -> Floats:
        """Radius within which a share of the energy is, interpolated between edges of rings."""
        edges = np.concatenate([[self.innermost], self.radii])
        inside = np.cumsum(np.pad(self.rings, ((0, 0), (1, 0))), axis=1)
        wanted = share * inside[:, -1]
        at = np.argmax(inside >= wanted[:, None], axis=1).clip(1)
        rows = np.arange(len(inside))
        below, above = inside[rows, at - 1], inside[rows, at]
        part = ratio(wanted - below, above - below)
        radius: Floats = edges[at - 1] + part * (edges[at] - edges[at - 1])
        return np.where(self.total > 0, radius, 0.0)

    def sparsity(self, layer: int | None) -> Floats:
        """Share of empty voxels."""
        starts = self.geometry.starts
        voxels = starts[-1] if layer is None else starts[layer + 1] - starts[layer]
        hits = self.layers[:, :, HITS]
        filled: Floats = (hits.sum(axis=1) if layer is None else hits[:, layer]) / voxels
        return 1 - filled


def ratio(above: NDArray[Any], below: NDArray[Any]) -> Floats:
    """The ratio, 0 where there is nothing to divide by.

    Args:
        above: shape (...).
        below: of the same shape, 0 or more.
    """
    found: Floats = np.divide(above, below, out=np.zeros(np.shape(above)), where=below > 0)
    return found


def _cut(geometry: Geometry) -> float:
    """As `Showers.above` cuts: numbers of files are rounded."""
    return geometry.threshold * (1 - 1e-6)


def _spread(square: Floats, mean: Floats) -> Floats:
    """Square root of the variance."""
    variance = square - mean**2
    # What rounding leaves of a single voxel would look like a feature to a classifier.
    return np.sqrt(np.where(variance > 1e-13 * square, variance, 0.0))


@njit(cache=True, nogil=True)
def _sum_voxels(
    voxels: NDArray[np.floating[Any]],
    starts: NDArray[np.int64],
    places: Floats,
    ring: NDArray[np.int64],
    core: NDArray[np.bool_],
    cut: float,
) -> tuple[Floats, Floats, Floats]:
    """Sums of each layer (B, L, 8) and ring (B, R); sum e^2, largest e and sum in the core (B, 3).

    The coordinates are x, y, r, shape (3, V).
    """
    size, num_layers = len(voxels), len(starts) - 1
    layers = np.zeros((size, num_layers, 8))
    rings = np.zeros((size, ring.max() + 1))
    others = np.zeros((size, 3))
    for b in range(size):
        for layer in range(num_layers):
            sums = layers[b, layer]
            for v in range(starts[layer], starts[layer + 1]):
                e = np.float64(voxels[b, v])
                if e <= 0 or e < cut:
                    continue
                x, y, r = places[0, v], places[1, v], places[2, v]
                sums[0] += e
                sums[1] += x * e
                sums[2] += y * e
                sums[3] += x * x * e
                sums[4] += y * y * e
                sums[5] += r * e
                sums[6] += r * r * e
                sums[7] += 1
                rings[b, ring[v]] += e
                others[b, 0] += e * e
                others[b, 1] = max(others[b, 1], e)
                others[b, 2] += e if core[v] else 0.0
    return layers, rings, others
