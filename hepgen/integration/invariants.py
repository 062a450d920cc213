r"""Maps of the unit interval onto an invariant, as dense as a propagator is large.

Each has a density g(s) on [lower, upper], so that :math:`u = \int_{lower}^s g` and the Jacobian
ds/du is 1/g. Momentum transfers go in as |t|.

Shapes: u, s and both bounds broadcast to (B,).
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

__all__ = ["BreitWigner", "Flat", "InvariantMap", "Power"]

Array = NDArray[np.float64]

_FLAT, _POWER, _LOGARITHM, _BREIT_WIGNER = 0.0, 1.0, 2.0, 3.0


class InvariantMap(ABC):
    """A density on an interval, with its cumulative distribution and the inverse of that."""

    @property
    @abstractmethod
    def code(self) -> Array:
        """Kind and two parameters, for compiled code, shape (3,)."""

    def forward(self, u: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array]:
        """Map the unit interval.

        Args:
            u: in [0, 1].
            lower: end of the interval that 0 goes to, in GeV^2.
            upper: end that 1 goes to, in GeV^2.

        Returns:
            The invariants and ds/du in GeV^2, both (B,).

        Raises:
            ValueError: bounds in the wrong order, or of an infinite integral.
        """
        return self._apply(_forward_all, u, lower, upper)

    def inverse(self, s: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> tuple[Array, Array]:
        """Map back.

        Args:
            s: invariants between the bounds, in GeV^2.
            lower: as in `forward`.
            upper: as in `forward`.

        Returns:
            u and ds/du in GeV^2, both (B,).

        Raises:
            ValueError: as in `forward`.
        """
        return self._apply(_inverse_all, s, lower, upper)

    def density(self, s: ArrayLike, lower: ArrayLike, upper: ArrayLike) -> Array:
        """Density in GeV^-2, (B,): zero outside the bounds, infinite on a pole at one of them.

        Args:
            s: invariants in GeV^2.
            lower: as in `forward`.
            upper: as in `forward`.

        Raises:
            ValueError: as in `forward`.
        """
        inside = (np.asarray(s) >= lower) & (np.asarray(s) <= upper)
        _, jacobian = self.inverse(np.where(inside, s, lower), lower, upper)
        with np.errstate(divide="ignore"):
            return np.where(inside, 1 / jacobian, 0.0)

    def _apply(
        self, kernel: object, values: ArrayLike, lower: ArrayLike, upper: ArrayLike
    ) -> tuple[Array, Array]:
        given = [np.asarray(one, np.float64) for one in (values, lower, upper)]
        shape = np.broadcast_shapes(*(one.shape for one in given))
        # Copied where broadcast: views that may not be written to would be compiled for anew.
        first, low, high = (
            (one if one.shape == shape else np.array(np.broadcast_to(one, shape))).ravel()
            for one in given
        )
        if not np.all(low <= high):
            raise ValueError("the lower bound of an invariant is above the upper one")
        self.require_finite(float(low.min(initial=math.inf)))
        mapped, jacobian = kernel(self.code, first, low, high)  # type: ignore[operator]
        return mapped.reshape(shape), jacobian.reshape(shape)

    def require_finite(self, lower: float) -> None:
        """Check that the density can be normalised.

        Args:
            lower: where the interval begins, in GeV^2.

        Raises:
            ValueError: the integral from there is infinite.
        """
        del lower  # all but powers are finite everywhere


class Flat(InvariantMap):
    """The same density everywhere."""

    @property
    def code(self) -> Array:
        """See `InvariantMap.code`."""
        return np.array([_FLAT, 0.0, 0.0])


class Power(InvariantMap):
    r"""A density of :math:`1 / (s + m^2)^\nu`: 1/s of massless lines, :math:`1/(|t| + m^2)^\nu`.

    Args:
        exponent: nu; 1 makes the logarithm flat.
        offset: m^2 in GeV^2, negative where s stays above a pole; a cut on pT squared serves to
            keep the density of a massless t finite.

    Raises:
        ValueError: not finite.
    """

    def __init__(self, exponent: float, offset: float = 0.0) -> None:
        if not (math.isfinite(exponent) and math.isfinite(offset)):
            raise ValueError(f"wanted a finite power and offset, got {exponent} and {offset}")
        self.exponent = float(exponent)
        self.offset = float(offset)

    @property
    def code(self) -> Array:
        """See `InvariantMap.code`."""
        kind = _LOGARITHM if self.exponent == 1 else _POWER
        return np.array([kind, self.offset, 1 - self.exponent])

    def require_finite(self, lower: float) -> None:
        """See `InvariantMap.require_finite`."""
        lowest = lower + self.offset
        if lowest < 0 or (lowest == 0 and self.exponent >= 1):
            raise ValueError(
                f"1/(s + {self.offset:g})^{self.exponent:g} from s = {lower:g} GeV^2 has no finite "
                "integral; raise the offset or lower the power"
            )


class BreitWigner(InvariantMap):
    r"""A density of :math:`1 / [(s - M^2)^2 + M^2 \Gamma^2]`.

    Args:
        mass: M in GeV.
        width: Gamma in GeV.

    Raises:
        ValueError: not positive.
    """

    def __init__(self, mass: float, width: float) -> None:
        if not (mass > 0 and width > 0):
            raise ValueError(f"wanted a positive mass and width, got {mass} and {width} GeV")
        self.mass = float(mass)
        self.width = float(width)

    @property
    def code(self) -> Array:
        """See `InvariantMap.code`."""
        return np.array([_BREIT_WIGNER, self.mass**2, self.mass * self.width])


@njit(cache=True, nogil=True, error_model="numpy")
def invariant_forward(code: Array, u: float, lower: float, upper: float) -> tuple[float, float]:
    """The invariant and ds/du at one point."""
    if code[0] == _FLAT:
        return lower + u * (upper - lower), upper - lower
    if code[0] == _BREIT_WIGNER:
        low = math.atan((lower - code[1]) / code[2])
        high = math.atan((upper - code[1]) / code[2])
        tangent = math.tan(low + u * (high - low))
        s = min(max(code[1] + code[2] * tangent, lower), upper)
        return s, (high - low) * ((s - code[1]) ** 2 + code[2] ** 2) / code[2]
    low, high = lower + code[1], upper + code[1]
    if code[0] == _LOGARITHM:
        ratio = math.log(high / low)
        shifted = low * math.exp(u * ratio)
        return min(max(shifted - code[1], lower), upper), shifted * ratio
    first, last = low ** code[2], high ** code[2]
    shifted = (first + u * (last - first)) ** (1 / code[2])
    s = min(max(shifted - code[1], lower), upper)
    return s, shifted ** (1 - code[2]) * (last - first) / code[2]


@njit(cache=True, nogil=True, error_model="numpy")
def invariant_inverse(code: Array, s: float, lower: float, upper: float) -> tuple[float, float]:
    """Where in the unit interval an invariant lies, and ds/du there."""
    width = upper - lower
    if width == 0:
        return 0.5, 0.0
    if code[0] == _FLAT:
        return (s - lower) / width, width
    if code[0] == _BREIT_WIGNER:
        low = math.atan((lower - code[1]) / code[2])
        high = math.atan((upper - code[1]) / code[2])
        u = (math.atan((s - code[1]) / code[2]) - low) / (high - low)
        return u, (high - low) * ((s - code[1]) ** 2 + code[2] ** 2) / code[2]
    low, high, shifted = lower + code[1], upper + code[1], s + code[1]
    if code[0] == _LOGARITHM:
        ratio = math.log(high / low)
        return math.log(shifted / low) / ratio, shifted * ratio
    first, last = low ** code[2], high ** code[2]
    u = (shifted ** code[2] - first) / (last - first)
    return u, shifted ** (1 - code[2]) * (last - first) / code[2]


@njit(cache=True, nogil=True, error_model="numpy")
def _forward_all(code: Array, u: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    s, jacobian = np.empty(len(u)), np.empty(len(u))
    for row in range(len(u)):
        s[row], jacobian[row] = invariant_forward(code, u[row], lower[row], upper[row])
    return s, jacobian


@njit(cache=True, nogil=True, error_model="numpy")
def _inverse_all(code: Array, s: Array, lower: Array, upper: Array) -> tuple[Array, Array]:
    u, jacobian = np.empty(len(s)), np.empty(len(s))
    for row in range(len(s)):
        u[row], jacobian[row] = invariant_inverse(code, s[row], lower[row], upper[row])
    return u, jacobian
