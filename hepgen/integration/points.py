"""The weighted points of a run, or as many of them as are to be kept.

Shapes: N kept points, D dimensions, M values of a vector integrand.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Points"]

Array = NDArray[np.float64]

# Fewer tell nothing of the weights.
FEWEST_KEPT = 500


class Points:
    """Collects points with weights; drops each with the same probability once there are too many.

    Args:
        most: points kept at most.
        rng: decides which are dropped.

    Raises:
        ValueError: too few for the figures that are made of them.
    """

    def __init__(self, most: int, rng: np.random.Generator) -> None:
        if most < FEWEST_KEPT:
            raise ValueError(f"keep: wanted {FEWEST_KEPT} points at least, got {most}")
        self.most, self.rng = most, rng
        self.share = 1.0
        self._columns: dict[str, list[Array]] = {}

    def add(self, x: Array, weights: Array, observables: Mapping[str, Array]) -> None:
        """Add a batch.

        Args:
            x: points, shape (B, D).
            weights: shape (B, M).
            observables: by name, each (B,).
        """
        given = {"x": x, "weights": weights} | {f"o:{k}": v for k, v in observables.items()}
        if self.share < 1:
            chosen = self.rng.random(len(x)) < self.share
            given = {name: column[chosen] for name, column in given.items()}
        for name, column in given.items():
            self._columns.setdefault(name, []).append(column)
        while sum(map(len, self._columns["x"])) > self.most:
            self._halve()

    def arrays(self) -> tuple[Array, Array, dict[str, Array]]:
        """Points (N, D), weights (N, M), observables by name."""
        for name, pieces in self._columns.items():
            self._columns[name] = [np.concatenate(pieces)]
        whole = {name: pieces[0] for name, pieces in self._columns.items()}
        x, weights = whole.pop("x", np.zeros((0, 0))), whole.pop("weights", np.zeros((0, 1)))
        return x, weights, {name.removeprefix("o:"): column for name, column in whole.items()}

    def state(self) -> dict[str, Any]:
        """Everything, for `restore`."""
        self.arrays()
        columns = {name: pieces[0] for name, pieces in self._columns.items()}
        return {"share": self.share, "rng": self.rng.bit_generator.state, "columns": columns}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""
        self.share = state["share"]
        self.rng.bit_generator.state = state["rng"]
        self._columns = {name: [column] for name, column in state["columns"].items()}

    def _halve(self) -> None:
        self.share /= 2
        pieces = [self.rng.random(len(piece)) < 0.5 for piece in self._columns["x"]]
        for name, columns in self._columns.items():
            kept = zip(columns, pieces, strict=True)
            self._columns[name] = [column[chosen] for column, chosen in kept]
