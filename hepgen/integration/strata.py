r"""Strata: boxes of the unit cube, smallest where the integrand varies most.

A tree of boxes, each cut in half across the axis that leaves the least spread (as W. H. Press and
G. R. Farrar do, Comput. Phys. 4 (1990) 190, and S. Jadach, physics/0203033), is grown on the points
seen so far. Calls are handed down it in proportion to :math:`V \sigma^\beta`, as VEGAS+ does with
its hypercubes (G. P. Lepage, arXiv:2009.05112), until two or three are left for a box: that is a
stratum. More calls make more strata, fewer make fewer, of the same tree.

Shapes: B points, D dimensions, S nodes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.strata_kernels import fill_strata, grow, strata_density

__all__ = ["Strata"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Points of a box that is cut, and how far below the integral its spread may be taken to be.
LEAST = 16
FLOOR = 1e-4


class Strata:
    r"""A tree of boxes, and how points are shared out between them.

    Args:
        axis: across which axis a box is cut, -1 for none, shape (S,).
        child: its lower half, which the upper one follows, shape (S,).
        share: of the points, shape (S,).
    """

    def __init__(self, axis: Indices, child: Indices, share: Array) -> None:
        self.axis, self.child, self.share = axis, child, share

    @classmethod
    def whole(cls) -> Self:
        """One box; its strata are cut regularly."""
        return cls(np.array([-1]), np.array([-1]), np.ones(1))

    @classmethod
    def grown(cls, points: NDArray[np.float32], beta: float = 1.0) -> Self:
        r"""The tree that points suggest.

        Args:
            points: coordinates, volume that each stands for, and value there, not negative;
                float32, reordered on return; shape (B, D + 2).
            beta: shares are :math:`V \sigma^\beta`; 0 gives all volumes the same.
        """
        nodes, volume, value = len(points), points[:, -2], points[:, -1]
        if not value.max(initial=0.0) > 0:
            return cls.whole()
        axis, child, share = np.empty(nodes, np.int64), np.empty(nodes, np.int64), np.empty(nodes)
        floor = (FLOOR * (volume @ value) / volume.sum()) ** 2
        number = grow(points, LEAST, beta, floor, axis, child, share)
        return cls(axis[:number].copy(), child[:number].copy(), share[:number].copy())

    def place(self, y: Array) -> tuple[Array, Indices]:
        """Move uniform numbers into strata, two or three in each.

        Args:
            y: uniform numbers, changed in place, shape (B, D), B at least 2.

        Returns:
            How much each counts and its stratum, both (B,).
        """
        measure, stratum = np.empty(len(y)), np.empty(len(y), np.int64)
        fill_strata(self.axis, self.child, self.share, y, measure, stratum)
        return measure, stratum

    def density(self, y: Array, calls: int) -> Array:
        """Density (B,) at y (B, D) of a point picked at random from ``calls`` placed ones."""
        density = np.empty(len(y))
        strata_density(self.axis, self.child, self.share, calls, y, density)
        return density

    def state(self) -> dict[str, Any]:
        """The three arrays."""
        return {"axis": self.axis.copy(), "child": self.child.copy(), "share": self.share.copy()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The strata that gave a state."""
        return cls(*(np.array(state[name]) for name in ("axis", "child", "share")))
