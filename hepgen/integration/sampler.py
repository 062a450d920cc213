r"""What every sampler is: points in the unit cube, and how an integral is estimated from them.

Points drawn one by one, in strata, or as low-discrepancy sets differ in how much each point counts
and in which of them are independent. A `Draw` tells both, so that one estimate serves all:

.. math:: I = \sum_i m_i f(x_i), \qquad
   \sigma^2 = \sum_s \frac{n_s}{n_s - 1} \sum_{u \in s} (T_u - \bar T_s)^2, \quad
   T_u = \sum_{i \in u} m_i f(x_i)

with points i, units u (a point, or a whole set of points that depend on each other) and strata s
of n_s equally distributed, independent units.

Shapes: B points, D dimensions, M values of a vector integrand, U units.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["Draw", "Sampler"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@dataclass(frozen=True)
class Draw:
    """Points and what they stand for.

    Attributes:
        x: points in the unit cube, float64, shape (B, D).
        measure: how much each point counts, m_i, shape (B,): 1 / (B q(x_i)) for B independent
            points of density q.
        unit: which unit each point belongs to, 0 to U - 1, shape (B,); None where each point is
            one of its own.
        stratum: which stratum each unit belongs to, shape (U,); None where all are of one. Strata
            of a single unit have no error and are not allowed.
    """

    x: Array
    measure: Array
    unit: Indices | None = None
    stratum: Indices | None = None

    def __len__(self) -> int:
        return len(self.x)

    @property
    def units(self) -> int:
        """U, those that no point belongs to included where strata tell of them."""
        if self.stratum is not None:
            return len(self.stratum)
        return len(self) if self.unit is None else int(self.unit.max(initial=-1)) + 1

    def estimate(self, values: Array) -> tuple[Array, Array]:
        """Integral and its covariance.

        Args:
            values: of the integrand at the points, shape (B, M).

        Returns:
            The integrals (M,) and their covariance (M, M).
        """
        integral, off = self._spread(values)
        return integral, off.T @ off

    def freedom(self, values: Array) -> tuple[Array, Array, Array]:
        r"""Integral, its covariance, and how many degrees of freedom its errors have.

        The more unequal the units, the fewer: a variance :math:`V = \sum_h V_h` over strata of
        :math:`n_h` units has about :math:`V^2 / \sum_h V_h^2 / (n_h - 1)` (F. E. Satterthwaite,
        Biometrics Bull. 2 (1946) 110), where the sum is taken from the fourth powers of what the
        units deviate by, which tells of heavy tails within a stratum too.

        Args:
            values: of the integrand at the points, shape (B, M).

        Returns:
            The integrals (M,), their covariance (M, M), and degrees of freedom (M,): infinite for
            an error of zero, at most units less strata else.
        """
        integral, off = self._spread(values)
        if self.stratum is None:
            size = np.full(len(off), float(len(off)))
        else:
            size = np.bincount(self.stratum)[self.stratum].astype(float)
        largest = np.abs(off).max(0)
        # Fourth powers of small numbers would be none.
        squares = (off / np.where(largest > 0, largest, 1)) ** 2
        # Of normal numbers the sum of fourth powers is 3 (n - 1) / n times V^2 / (n - 1).
        fourth = (size / (3 * (size - 1))) @ squares**2
        strata = (1 / size).sum()
        found = squares.sum(0) ** 2 / np.where(largest > 0, fourth, 1)
        found = np.where(largest > 0, np.minimum(found, len(off) - strata), np.inf)
        return integral, off.T @ off, found

    def _spread(self, values: Array) -> tuple[Array, Array]:
        """Integral (M,), and by how much each unit is off the mean of its stratum, (U, M)."""
        totals = values * self.measure[:, None]  # (B, M)
        if self.unit is not None:
            count = self.units
            totals = np.stack(
                [np.bincount(self.unit, column, count) for column in totals.T], axis=1
            )  # (U, M)
        integral: Array = totals.sum(0)
        if self.stratum is None:
            number = len(totals)
            return integral, (totals - totals.mean(0)) * np.sqrt(number / (number - 1))
        return integral, _deviations(totals, self.stratum)


@njit(cache=True, nogil=True, error_model="numpy")
def _deviations(totals: Array, stratum: Indices) -> Array:
    """Totals (U, M), less the mean of their stratum, times sqrt(n / (n - 1)); in place."""
    strata, columns = stratum.max() + 1, totals.shape[1]
    size, mean = np.zeros(strata), np.zeros((strata, columns))
    for unit in range(len(totals)):
        s = stratum[unit]
        size[s] += 1.0
        for column in range(columns):
            mean[s, column] += totals[unit, column]
    for unit in range(len(totals)):
        s = stratum[unit]
        number = size[s]
        scale = np.sqrt(number / (number - 1.0))
        for column in range(columns):
            totals[unit, column] = (totals[unit, column] - mean[s, column] / number) * scale
    return totals


class Sampler(ABC):
    """A density on the unit cube that can be drawn from, evaluated and taught.

    A draw never depends on values of the integrand at its own points, so an estimate from it is
    unbiased whatever the sampler has learnt before.

    Attributes:
        dimension: D.
        remembers: whether `adapt` also uses points of earlier calls, which `state` does not keep.
    """

    dimension: int
    remembers: ClassVar[bool] = False

    @abstractmethod
    def draw(self, calls: int, rng: np.random.Generator) -> Draw:
        """Draw points.

        Args:
            calls: how many, at most; as many as the sampler's structure allows.
            rng: where all random numbers come from.

        Raises:
            ValueError: too few calls for this sampler; the message says how many it needs.
        """

    @abstractmethod
    def density(self, x: Array) -> Array:
        """Density at any points, shape (B, D) to (B,), integrating to one over the cube.

        That of a point picked at random from a draw, whatever the strata.
        """

    @abstractmethod
    def adapt(self, draw: Draw, values: Array) -> None:
        """Learn from what the integrand is at points that this sampler (or another) drew.

        Args:
            draw: the points.
            values: absolute values of the integrand (of the norm of a vector), shape (B,).
        """

    @abstractmethod
    def state(self) -> Mapping[str, Any]:
        """All that the sampler has learnt: JSON-able settings and numpy arrays by name."""

    @classmethod
    @abstractmethod
    def from_state(cls, state: Mapping[str, Any]) -> Sampler:
        """The sampler that gave a state."""
