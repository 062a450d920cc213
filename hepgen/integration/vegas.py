r"""VEGAS: a map of each axis and hypercubes, both learnt from the integrand.

G. P. Lepage, J. Comput. Phys. 27 (1978) 192, and "Adaptive multidimensional integration: VEGAS
enhanced", arXiv:2009.05112 (VEGAS+).

Shapes: B points, D dimensions, K bins, H hypercubes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.strata import allocate, divide, transfer
from hepgen.integration.vegas_kernels import (
    invert_map,
    learn,
    place_in_hypercubes,
    refine,
    through_map,
)

__all__ = ["Vegas"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Calls for each bin of an axis, and for each hypercube, of a draw.
CALLS_PER_BIN = 10
CALLS_PER_HYPERCUBE = 8


class Vegas(Sampler):
    r"""Importance sampling by a product of one-dimensional maps, stratified in its own space.

    Each axis has a piecewise constant density, :math:`x = x_d(y_d)`; points are drawn in
    hypercubes of the y cube, more of them where :math:`f\,dx/dy` varies. `adapt` refines both;
    leave it out and they stay as they are.

    Args:
        dimension: D.
        num_bins: bins of each axis at most; fewer where calls are few.
        alpha: how fast the map follows the integrand, 0 not at all.
        beta: how strongly points gather where the integrand varies: in proportion to
            :math:`\sigma_h^\beta`; 0 not at all, 1 is best once the spread is known well.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self, dimension: int, num_bins: int = 1000, alpha: float = 0.5, beta: float = 0.75
    ) -> None:
        if dimension < 1:
            raise ValueError(f"dimension must be 1 or more, got {dimension}")
        if num_bins < 1:
            raise ValueError(f"num_bins must be 1 or more, got {num_bins}")
        if not (alpha >= 0 and beta >= 0):
            raise ValueError(f"alpha and beta must not be negative, got {alpha} and {beta}")
        self.dimension = dimension
        self.num_bins = num_bins
        self.alpha = float(alpha)
        self.beta = float(beta)
        self._edges = np.tile(np.array([0.0, 1.0]), (dimension, 1))
        self._divisions = np.ones(dimension, np.int64)
        self._spread = np.ones(1)
        self._counts = np.ones(1, np.int64)
        # The last draw and its y, which adapt would else have to find again.
        self._last: tuple[Draw, Array] | None = None

    @property
    def edges(self) -> Array:
        """Edges of the bins of each axis, shape (D, K + 1)."""
        return self._edges.copy()

    def draw(self, calls: int, rng: np.random.Generator) -> Draw:
        """Draw points in hypercubes, at least two in each.

        Args:
            calls: how many, all of which are used; 2 or more.
            rng: where all random numbers come from.

        Raises:
            ValueError: fewer than two calls.
        """
        if calls < 2:
            raise ValueError(f"a draw of vegas needs 2 calls or more, got {calls}")
        if self._edges.shape[1] == 2:
            self._edges = np.tile(np.linspace(0, 1, self._bins(calls) + 1), (self.dimension, 1))
        divisions = divide(self.dimension, max(calls / CALLS_PER_HYPERCUBE, 1))
        if not np.array_equal(divisions, self._divisions):
            self._spread = transfer(self._spread, self._divisions, divisions)
            self._divisions = divisions
        self._counts = allocate(self._spread**self.beta, calls)
        y = rng.random((calls, self.dimension))
        x = np.empty_like(y)
        measure = np.empty(calls)
        stratum = np.empty(calls, np.int64)
        place_in_hypercubes(self._counts, divisions, y, measure, stratum)
        through_map(self._edges, y, x, measure)
        drawn = Draw(x, measure, stratum=stratum)
        self._last = drawn, y
        return drawn

    def density(self, x: Array) -> Array:
        """Density of a point picked at random from the last draw; of the map before any.

        Args:
            x: points, shape (B, D).

        Returns:
            Densities, shape (B,).

        Raises:
            ValueError: points of another dimension.
        """
        y, jacobian = self._invert(x)
        h = np.zeros(len(y), np.int64)
        for column, parts in zip(y.T, self._divisions, strict=True):
            h = h * parts + np.minimum((column * parts).astype(np.int64), parts - 1)
        share = self._counts[h] * (len(self._counts) / self._counts.sum())
        density: Array = share / jacobian
        return density

    def adapt(self, draw: Draw, values: Array) -> None:
        """Refine map and hypercubes.

        Args:
            draw: the points; quickest if they are of this sampler's own last draw.
            values: |f| at the points, shape (B,).

        Raises:
            ValueError: values of another shape, negative or not finite.
        """
        values = np.ascontiguousarray(values, np.float64)
        if values.shape != (len(draw),):
            raise ValueError(f"{len(draw)} points need as many values, got shape {values.shape}")
        largest = values.max(initial=0.0)
        if not (np.isfinite(largest) and values.min(initial=0.0) >= 0):
            raise ValueError("values to adapt to must be finite and not negative")
        if largest == 0:
            return
        y = self._last[1] if self._last and self._last[0] is draw else self._invert(draw.x)[0]
        importance = np.zeros((self.dimension, self._edges.shape[1] - 1))
        moments = np.zeros((len(self._spread), 3))
        # Scaled, as squares of the smallest and largest numbers are none.
        learn(self._edges, y, draw.measure, values / largest, importance, self._divisions, moments)
        number = np.maximum(moments[:, 0], 1)
        variance = moments[:, 2] / number - (moments[:, 1] / number) ** 2
        self._spread = np.sqrt(np.maximum(variance, 0))
        self._edges = refine(self._edges, importance, self.alpha, self._bins(len(draw)))
        self._last = None

    def state(self) -> Mapping[str, Any]:
        """Arguments, map and hypercubes."""
        return {
            "dimension": self.dimension,
            "num_bins": self.num_bins,
            "alpha": self.alpha,
            "beta": self.beta,
            "edges": self._edges.copy(),
            "divisions": self._divisions.copy(),
            "spread": self._spread.copy(),
            "counts": self._counts.copy(),
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The sampler that gave a state.

        Raises:
            KeyError: the state is not of this class.
        """
        sampler = cls(*(state[name] for name in ("dimension", "num_bins", "alpha", "beta")))
        for name in ("edges", "divisions", "spread", "counts"):
            setattr(sampler, f"_{name}", np.array(state[name]))
        return sampler

    def _bins(self, calls: int) -> int:
        return max(min(self.num_bins, calls // CALLS_PER_BIN), 2)

    def _invert(self, x: Array) -> tuple[Array, Array]:
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise ValueError(f"points must have shape (B, {self.dimension}), got {x.shape}")
        y, jacobian = np.empty_like(x), np.empty(len(x))
        invert_map(self._edges, np.ascontiguousarray(x), y, jacobian)
        return y, jacobian
