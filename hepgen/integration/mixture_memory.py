"""Points that a mixture has seen, weighted by the mean density of all draws.

Shapes: B points, D dimensions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.mixture_components import Components
from hepgen.integration.sampler import Draw

__all__ = ["Memory"]

Array = NDArray[np.float64]

# Points that are remembered, at most; the oldest are forgotten first.
REMEMBERED = 400_000


class Memory:
    """Points that were drawn, with the mean density of all draws.

    Points of another sampler, whose density is known at its own points only, form groups of their
    own, joined by their effective sizes.

    Args:
        dimension: D.
    """

    def __init__(self, dimension: int) -> None:
        self._x = np.empty((0, dimension))
        self._values = np.empty(0)
        self._mean = np.empty(0)  # sum over draws t of n_t q_t, at each point
        self._draws: list[tuple[int, Components]] = []
        self._foreign: list[tuple[Array, Array]] = []

    def add(self, draw: Draw, values: Array, drawn_from: Components) -> None:
        """Remember points and values; ``drawn_from`` is the mixture, if it drew them."""
        if not len(draw):
            return
        some = slice(0, None, max(len(draw) // 50, 1))
        claimed = 1 / (len(draw) * np.maximum(draw.measure[some], 1e-300))
        own = drawn_from.density(draw.x[some])
        if np.median(np.abs(np.log(claimed / own))) > 0.2:
            self._foreign.append((draw.x, values * draw.measure))
            return
        self._mean += len(draw) * drawn_from.density(self._x)
        self._draws.append((len(draw), drawn_from))
        mean = np.zeros(len(draw))
        for count, components in self._draws:
            mean += count * components.density(draw.x)
        self._x = np.concatenate([self._x, draw.x])
        self._values = np.concatenate([self._values, values])
        self._mean = np.concatenate([self._mean, mean])
        excess = len(self._x) - REMEMBERED
        if excess > 0:
            self._x, self._values = self._x[excess:], self._values[excess:]
            self._mean = self._mean[excess:]

    def weighted(self) -> tuple[Array, Array]:
        """All points and their weights."""
        groups = list(self._foreign)
        if len(self._x):
            groups.append((self._x, self._values / self._mean))
        groups = [(x, weights) for x, weights in groups if weights.any()]
        if not groups:
            return self._x, np.zeros(len(self._x))
        sizes = np.array([w.sum() ** 2 / (w**2).sum() for _, w in groups])
        shares = sizes / sizes.sum()
        x = np.concatenate([x for x, _ in groups])
        return x, np.concatenate([share * w for share, (_, w) in zip(shares, groups, strict=True)])
