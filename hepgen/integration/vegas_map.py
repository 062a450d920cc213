r"""The VEGAS map: a density along each axis, learnt from the integrand.

G. P. Lepage, J. Comput. Phys. 27 (1978) 192, with slopes that are continuous (see
`hepgen.integration.vegas_kernels`).

Shapes: B points, D dimensions, K bins an axis.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.vegas_kernels import (
    fill_points,
    gather_importance,
    invert_map,
    refine,
    slopes_of,
    through_map,
)

__all__ = ["VegasMap"]

Array = NDArray[np.float64]


class VegasMap:
    """A map of the unit cube onto itself, axis by axis.

    Args:
        edges: images of K + 1 equally spaced y on each axis, ascending from 0 to 1, shape
            (D, K + 1).
        slopes: dx/dy there, shape (D, K + 1); None to take them from the edges.
    """

    def __init__(self, edges: Array, slopes: Array | None = None) -> None:
        self.edges = edges
        self.slopes = slopes_of(edges) if slopes is None else slopes

    @classmethod
    def identity(cls, dimension: int) -> Self:
        """The map that changes nothing."""
        return cls(np.tile(np.linspace(0, 1, 3), (dimension, 1)))

    def forward(self, y: Array) -> tuple[Array, Array]:
        """Images (B, D) of points y (B, D), and the Jacobian dx/dy (B,)."""
        x, jacobian = np.empty_like(y), np.empty(len(y))
        through_map(self.edges, self.slopes, y, x, jacobian)
        return x, jacobian

    def inverse(self, x: Array) -> tuple[Array, Array]:
        """The points y (B, D) whose images are x (B, D), and the Jacobian dx/dy (B,) there."""
        y, jacobian = np.empty_like(x), np.empty(len(x))
        invert_map(self.edges, self.slopes, np.ascontiguousarray(x), y, jacobian)
        return y, jacobian

    def refined(
        self, y: Array, jacobian: Array, measure: Array, values: Array, alpha: float, bins: int
    ) -> Self:
        r"""The map that spreads :math:`\int f^2\,dx/dy\,dx` evenly over its bins.

        Args:
            y: points, shape (B, D).
            jacobian: dx/dy there, shape (B,).
            measure: how much each counts, shape (B,).
            values: f there, not negative, not all zero, shape (B,).
            alpha: how far to go, 0 not at all; half as far as long as a few points weigh most.
            bins: K of the new map.
        """
        gathered, effective = gather_importance(y, jacobian, measure, values, values.max(), bins)
        trust = 0.5 + 0.5 * effective / (effective + bins)
        return type(self)(refine(self.edges, self.slopes, gathered, alpha * trust, bins))

    def points(self, rounds: Sequence[tuple[Array, Array, Array]]) -> NDArray[np.float32]:
        """Points of several draws in one array, as `hepgen.integration.strata.Strata` takes them.

        Args:
            rounds: of each draw the points (B, D), the volume that each stands for and f (B,).

        Returns:
            y, the volume of the y cube and f dx/dy, up to a common factor, shape (B, D + 2), in
            float32: they tell where to cut, not what the integral is.
        """
        scale = max(values.max() for _, _, values in rounds) or 1.0
        points = np.empty((sum(len(x) for x, _, _ in rounds), len(self.edges) + 2), np.float32)
        at = 0
        for x, volume, values in rounds:
            part = points[at : at + len(x)]
            fill_points(self.edges, self.slopes, x, volume, values, scale, part)
            at += len(x)
        return points

    def state(self) -> dict[str, Any]:
        """Edges and slopes."""
        return {"edges": self.edges.copy(), "slopes": self.slopes.copy()}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The map that gave a state."""
        return cls(np.array(state["edges"]), np.array(state["slopes"]))
