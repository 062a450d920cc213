r"""From the unit cube to where an integrand lives: finite, half-infinite, infinite, discrete.

==================  =======================================  ===========================
bounds              map                                      Jacobian
==================  =======================================  ===========================
(a, b)              :math:`a + (b - a) u`                    :math:`b - a`
(a, inf)            :math:`a + s u / (1 - u)`                :math:`s / (1 - u)^2`
(-inf, b)           :math:`b - s (1 - u) / u`                :math:`s / u^2`
(-inf, inf)         :math:`s \tan \pi(u - 1/2)`              :math:`\pi (s + x^2 / s)`
Discrete of n       value number :math:`\lfloor n u\rfloor`  :math:`n`
==================  =======================================  ===========================

Infinite intervals fall as 1 / x^2, so that any integrable power can be reached; the samplers learn
the rest. A sum over a discrete variable is the integral over the steps of its map.

Shapes: B points, D dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Discrete", "Domain"]

Array = NDArray[np.float64]

# The cube without its faces, where infinite intervals have no finite points.
EDGE = 2.0**-54


@dataclass(frozen=True)
class Discrete:
    """A dimension that is summed over.

    Args:
        values: the numbers that the integrand gets, such as a channel or a helicity; or how many,
            which stands for 0 to n - 1.

    Raises:
        ValueError: no values, the same twice, or one that is no finite number.
    """

    values: int | Sequence[float]

    def __post_init__(self) -> None:
        try:
            numbers = self.numbers
        except (TypeError, ValueError):
            raise ValueError(
                f"Discrete wants how many values, or numbers, got {self.values!r}"
            ) from None
        if not len(numbers) or not np.isfinite(numbers).all():
            raise ValueError(f"Discrete wants one finite value at least, got {self.values!r}")
        if len(np.unique(numbers)) != len(numbers):
            raise ValueError(f"Discrete wants different values, got {self.values!r}")

    @property
    def numbers(self) -> Array:
        """The values, ascending or not, as given."""
        if isinstance(self.values, (int, np.integer)):
            return np.arange(self.values, dtype=np.float64)
        return np.asarray(list(self.values), np.float64)

    def __len__(self) -> int:
        return len(self.numbers)


class Domain:
    """The map from the unit cube to the integrand's variables.

    Args:
        bounds: for each dimension (low, high), either of which may be infinite, or a `Discrete`.
        scale: typical size of what happens in each infinite dimension, one number or one each; half
            of a half-infinite interval's points lie within it.

    Raises:
        ValueError: no dimensions, bounds reversed, equal or NaN, a scale that is not positive; the
            message names the dimension.
    """

    def __init__(
        self,
        bounds: Sequence[tuple[float, float] | Sequence[float] | Discrete],
        scale: float | Sequence[float] = 1.0,
    ) -> None:
        if not isinstance(bounds, Iterable):
            raise ValueError(f"bounds: wanted [(low, high), ...], got {bounds!r}")
        self.bounds = tuple(_interval(number, each) for number, each in enumerate(bounds))
        if not self.bounds:
            raise ValueError("bounds of no dimension; wanted [(low, high), ...]")
        self.dimension = len(self.bounds)
        scales = np.asarray(scale)
        if scales.dtype.kind not in "fiu" or scales.shape not in ((), (1,), (self.dimension,)):
            raise ValueError(f"scale wants one number, or {self.dimension}, got {scale!r}")
        scales = np.broadcast_to(scales.astype(np.float64), (self.dimension,))
        if not (np.isfinite(scales) & (scales > 0)).all():
            raise ValueError(f"scale wants positive numbers, got {scale}")
        self.scale = tuple(map(float, scales))
        self._plain = [i for i, each in enumerate(self.bounds) if _is_finite(each)]
        self._low = np.array([self.bounds[i][0] for i in self._plain], np.float64)  # type: ignore[index]
        high = np.array([self.bounds[i][1] for i in self._plain], np.float64)  # type: ignore[index]
        self._width = high - self._low
        self.is_unit_cube = all(each == (0.0, 1.0) for each in self.bounds)

    @property
    def sizes(self) -> tuple[int, ...]:
        """Number of values of each discrete dimension, 0 for continuous ones."""
        return tuple(len(each) if isinstance(each, Discrete) else 0 for each in self.bounds)

    def forward(self, u: Array) -> tuple[Array, Array]:
        """Points of the integrand's variables.

        Args:
            u: points in the unit cube, shape (B, D).

        Returns:
            The points, shape (B, D), and the Jacobian dx/du of each, shape (B,).
        """
        if self.is_unit_cube:
            return u, np.ones(len(u))
        x = np.empty_like(u)
        jacobian = np.full(len(u), float(np.prod(self._width)))
        x[:, self._plain] = self._low + u[:, self._plain] * self._width
        for i, each in enumerate(self.bounds):
            if i not in self._plain:
                x[:, i], slope = _unbounded(u[:, i], each, self.scale[i])
                jacobian *= slope
        return x, jacobian

    def inverse(self, x: Array) -> tuple[Array, Array]:
        """Where points of the integrand's variables lie in the unit cube.

        Args:
            x: points, shape (B, D); a discrete value becomes the middle of its step.

        Returns:
            Points in the unit cube, shape (B, D), and dx/du there, shape (B,).

        Raises:
            ValueError: points outside the bounds, or of another shape.
        """
        x = np.asarray(x, np.float64)
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise ValueError(f"wanted points of shape (B, {self.dimension}), got {x.shape}")
        u = np.empty_like(x)
        for i, each in enumerate(self.bounds):
            u[:, i] = _back(x[:, i], each, self.scale[i])
            outside = ~((u[:, i] >= 0) & (u[:, i] <= 1))
            if outside.any():
                raise ValueError(
                    f"{int(outside.sum())} of {len(x)} points lie outside dimension {i}, "
                    f"{each}; first {x[outside][0, i]:g}"
                )
        return u, self.forward(u)[1]

    def to_list(self) -> list[Any]:
        """The bounds as JSON takes them: pairs, infinities as strings, values of discrete ones."""
        return [
            {"values": each.numbers.tolist()}
            if isinstance(each, Discrete)
            else [b if math.isfinite(b) else str(b) for b in each]
            for each in self.bounds
        ]


def _interval(number: int, bound: Any) -> tuple[float, float] | Discrete:
    if isinstance(bound, Discrete):
        return bound
    try:
        low, high = map(float, bound)
    except (TypeError, ValueError):
        raise ValueError(
            f"bounds of dimension {number}: wanted (low, high) or Discrete(...), got {bound!r}"
        ) from None
    if math.isnan(low) or math.isnan(high):
        raise ValueError(f"bounds of dimension {number} are NaN: ({low}, {high})")
    if not low < high:
        hint = f"; did you mean ({high:g}, {low:g})?" if high < low else ""
        raise ValueError(
            f"bounds of dimension {number} are {'reversed' if high < low else 'equal'}: "
            f"({low:g}, {high:g}){hint}"
        )
    if math.isfinite(low) and math.isfinite(high) and math.isinf(high - low):
        raise ValueError(f"bounds of dimension {number} are too far apart: ({low:g}, {high:g})")
    return low, high


def _is_finite(bound: tuple[float, float] | Discrete) -> bool:
    return not isinstance(bound, Discrete) and math.isfinite(bound[0]) and math.isfinite(bound[1])


def _unbounded(
    u: Array, bound: tuple[float, float] | Discrete, scale: float
) -> tuple[Array, Array | float]:
    if isinstance(bound, Discrete):
        numbers = bound.numbers
        step = np.minimum((u * len(numbers)).astype(np.int64), len(numbers) - 1)
        return numbers[step], float(len(numbers))
    u = np.clip(u, EDGE, 1 - 2 * EDGE)
    low, high = bound
    if math.isfinite(low):
        return low + scale * u / (1 - u), scale / np.square(1 - u)
    if math.isfinite(high):
        return high - scale * (1 - u) / u, scale / np.square(u)
    x = scale * np.tan(math.pi * (u - 0.5))
    return x, math.pi * (scale + np.square(x) / scale)


def _back(x: Array, bound: tuple[float, float] | Discrete, scale: float) -> Array:
    if isinstance(bound, Discrete):
        numbers = bound.numbers
        order = np.argsort(numbers)
        place = np.minimum(np.searchsorted(numbers[order], x), len(numbers) - 1)
        found = numbers[order][place] == x
        return np.where(found, (order[place] + 0.5) / len(numbers), np.nan)
    low, high = bound
    if math.isfinite(low) and math.isfinite(high):
        return (x - low) / (high - low)
    if math.isfinite(low):
        return (x - low) / (x - low + scale)
    if math.isfinite(high):
        return scale / (high - x + scale)
    u: Array = 0.5 + np.arctan(x / scale) / math.pi
    return u
