r"""Samplers behind a map of the cube: what is learnt in y is drawn in x.

.. math:: q(x) = q_y(y(x)) \left|\frac{dy}{dx}\right|, \qquad f_y(y) = f(x(y))
   \left|\frac{dx}{dy}\right|

A map that follows the integrand axis by axis, as that of VEGAS, leaves correlations and no peaks at
the walls to the sampler behind it.

Shapes: B points, D dimensions, K bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, Self, final

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.vegas_map import VegasMap

__all__ = ["AxisMap", "CubeMap", "Mapped"]

Array = NDArray[np.float64]


class CubeMap(Protocol):
    """A smooth map of the unit cube onto itself, one to one."""

    def forward(self, y: Array) -> tuple[Array, Array]:
        """Points x (B, D) and the Jacobian dx/dy (B,)."""
        ...

    def inverse(self, x: Array) -> tuple[Array, Array]:
        """Points y (B, D) and the Jacobian dx/dy (B,) there."""
        ...


@final
class AxisMap:
    """A piecewise linear map of each axis, as VEGAS learns it.

    Args:
        edges: of the bins of each axis in x, from 0 to 1 and ascending, shape (D, K + 1); bins are
            of equal width in y.

    Raises:
        ValueError: edges of another shape, not from 0 to 1 or not ascending.
    """

    def __init__(self, edges: Array) -> None:
        edges = np.ascontiguousarray(edges, np.float64)
        if edges.ndim != 2 or edges.shape[1] < 2:
            raise ValueError(f"edges must have shape (D, K + 1), got {edges.shape}")
        ends = (edges[:, 0] == 0).all() and (edges[:, -1] == 1).all()
        if not ends or not (np.diff(edges) > 0).all():
            raise ValueError("edges must ascend from 0 to 1 along each axis")
        self.edges = edges
        self.dimension = len(edges)

    def forward(self, y: Array) -> tuple[Array, Array]:
        """Points x (B, D) and the Jacobian dx/dy (B,)."""
        bins = self.edges.shape[1] - 1
        scaled = y * bins
        place = np.clip(scaled.astype(np.int64), 0, bins - 1)
        axes = np.arange(self.dimension)
        low, high = self.edges[axes, place], self.edges[axes, place + 1]
        x = low + (scaled - place) * (high - low)
        return np.clip(x, 0, 1), np.prod((high - low) * bins, axis=1)

    def inverse(self, x: Array) -> tuple[Array, Array]:
        """Points y (B, D) and the Jacobian dx/dy (B,) there."""
        bins = self.edges.shape[1] - 1
        y, jacobian = np.empty_like(x), np.ones(len(x))
        for axis, edges in enumerate(self.edges):
            place = np.clip(np.searchsorted(edges, x[:, axis], side="right") - 1, 0, bins - 1)
            width = edges[place + 1] - edges[place]
            y[:, axis] = (place + (x[:, axis] - edges[place]) / width) / bins
            jacobian *= width * bins
        return np.clip(y, 0, 1), jacobian


@final
class Mapped(Sampler):
    """A sampler that works in the coordinates of a map.

    The map stays as it is; the sampler behind it learns.

    Args:
        sampler: draws y.
        cube_map: of y to x, such as the ``map`` of a `Vegas`.

    Raises:
        ValueError: an `AxisMap` of another dimension than the sampler.
    """

    def __init__(self, sampler: Sampler, cube_map: CubeMap) -> None:
        if isinstance(cube_map, AxisMap) and sampler.dimension != cube_map.dimension:
            raise ValueError(
                f"the sampler has dimension {sampler.dimension}, the map {cube_map.dimension}"
            )
        self.dimension = sampler.dimension
        self.sampler = sampler
        self.cube_map = cube_map

    def draw(self, calls: int, rng: np.random.Generator) -> Draw:
        """Draw y with the sampler and map it.

        Raises:
            ValueError: as the sampler.
        """
        drawn = self.sampler.draw(calls, rng)
        x, jacobian = self.cube_map.forward(drawn.x)
        return Draw(x, drawn.measure * jacobian, drawn.unit, drawn.stratum)

    def density(self, x: Array) -> Array:
        """Density in x, shape (B, D) to (B,)."""
        y, jacobian = self.cube_map.inverse(x)
        density: Array = self.sampler.density(y) / jacobian
        return density

    def adapt(self, draw: Draw, values: Array) -> None:
        """Teach the sampler what the integrand is in y.

        Raises:
            ValueError: as the sampler.
        """
        y, jacobian = self.cube_map.inverse(draw.x)
        behind = Draw(y, draw.measure / jacobian, draw.unit, draw.stratum)
        self.sampler.adapt(behind, values * jacobian)

    def state(self) -> Mapping[str, Any]:
        """State of the sampler and of the map, and their classes.

        Raises:
            TypeError: a map other than `AxisMap` and `VegasMap`.
        """
        if not isinstance(self.cube_map, AxisMap | VegasMap):
            raise TypeError(
                f"{type(self.cube_map).__name__} has no state; AxisMap and VegasMap have"
            )
        learnt = (
            self.cube_map.state()
            if isinstance(self.cube_map, VegasMap)
            else {"edges": self.cube_map.edges.copy()}
        )
        return {
            "class": type(self.sampler).__name__,
            "sampler": self.sampler.state(),
            "map": learnt,
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The sampler that gave a state.

        Raises:
            KeyError: the state is not of this class.
        """
        import hepgen.integration

        kind: type[Sampler] = getattr(hepgen.integration, state["class"])
        learnt = state["map"]
        cube_map: CubeMap = AxisMap(np.array(learnt["edges"]))
        if "slopes" in learnt:
            cube_map = VegasMap.from_state(learnt)
        return cls(kind.from_state(state["sampler"]), cube_map)
