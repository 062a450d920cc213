"""Plain Monte Carlo, what every other sampler has to beat."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.sampler import Draw, Sampler

__all__ = ["Uniform"]

Array = NDArray[np.float64]


class Uniform(Sampler):
    """Plain Monte Carlo: points anywhere in the cube, nothing learnt.

    Args:
        dimension: D.
    """

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension

    def draw(self, calls: int, rng: np.random.Generator) -> Draw:
        """Independent points; two at least, for an error.

        Raises:
            ValueError: fewer than two calls.
        """
        if calls < 2:
            raise ValueError(f"an error needs 2 calls or more, got {calls}")
        return Draw(rng.random((calls, self.dimension)), np.full(calls, 1 / calls))

    def density(self, x: Array) -> Array:
        """One everywhere."""
        return np.ones(len(x))

    def adapt(self, draw: Draw, values: Array) -> None:
        """Learn nothing."""

    def state(self) -> Mapping[str, Any]:
        """The dimension."""
        return {"dimension": self.dimension}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Uniform:
        """The sampler of that dimension."""
        return cls(state["dimension"])
