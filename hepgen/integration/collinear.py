r"""Momentum fractions of two partons, drawn by the mass and the rapidity of what they make.

:math:`\hat s = x_1 x_2 s` and :math:`y = \frac12 \ln (x_1 / x_2)`, of which
:math:`dx_1 dx_2 = d\hat s\, dy / s` and :math:`|y| \le \frac12 \ln (s / \hat s)`.

Shapes: B points. Both cubes have two dimensions.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.invariants import InvariantMap, Power

__all__ = ["MomentumFractions"]

Array = NDArray[np.float64]


class MomentumFractions:
    """The unit square onto fractions (x1, x2), as dense in mass as a map says and even in rapidity.

    Args:
        energy: of both hadrons together in GeV.
        lower: least mass squared of what the partons make, in GeV^2.
        upper: largest; None is all of the energy.
        invariant: how the mass squared is drawn: `Power(1.0)` is even in its logarithm, other
            powers fall as cross sections do, `BreitWigner` follows a resonance.

    Attributes:
        dimension: two.

    Raises:
        ValueError: not 0 < lower < upper <= energy^2.
    """

    dimension = 2

    def __init__(
        self,
        energy: float,
        lower: float,
        upper: float | None = None,
        invariant: InvariantMap | None = None,
    ) -> None:
        self.squared = float(energy) ** 2
        self.lower = float(lower)
        self.upper = self.squared if upper is None else float(upper)
        self.invariant = Power(1.0) if invariant is None else invariant
        if not 0 < self.lower < self.upper <= self.squared:
            raise ValueError(
                f"wanted masses squared with 0 < lower < upper <= {self.squared:g} GeV^2, "
                f"got {self.lower:g} and {self.upper:g}"
            )
        self.invariant.require_finite(self.lower)

    def forward(self, u: Array) -> tuple[Array, Array]:
        """Fractions at points of the square.

        Args:
            u: points (mass, rapidity) in the unit square, shape (B, 2).

        Returns:
            (x1, x2), shape (B, 2), and dx1 dx2 / du, shape (B,).

        Raises:
            ValueError: points of another shape.
        """
        u = _pairs(u)
        s, jacobian = self.invariant.forward(u[:, 0], self.lower, self.upper)
        length = np.log(self.squared / s)  # of the range of rapidities
        y = (u[:, 1] - 0.5) * length
        root = np.sqrt(s / self.squared)
        x = np.stack([root * np.exp(y), root * np.exp(-y)], axis=1)
        # Rounding may take a parton beyond its hadron by one part in 10^16.
        return np.minimum(x, 1.0), jacobian * length / self.squared

    def inverse(self, x: Array) -> tuple[Array, Array]:
        """Points of the square that fractions come from.

        Args:
            x: (x1, x2), shape (B, 2), of a mass between the bounds.

        Returns:
            Points (B, 2) and dx1 dx2 / du, shape (B,).

        Raises:
            ValueError: fractions of another shape.
        """
        x = _pairs(x)
        s = np.clip(x[:, 0] * x[:, 1] * self.squared, self.lower, self.upper)
        first, jacobian = self.invariant.inverse(s, self.lower, self.upper)
        length = np.log(self.squared / s)
        y = 0.5 * np.log(x[:, 0] / x[:, 1])
        second = np.where(length > 0, y / np.where(length > 0, length, 1.0) + 0.5, 0.5)
        return np.stack([first, np.clip(second, 0, 1)], axis=1), jacobian * length / self.squared

    def density(self, x: Array) -> Array:
        """Density in the square of fractions, (B, 2) to (B,): zero outside the bounds.

        Raises:
            ValueError: fractions of another shape.
        """
        x = _pairs(x)
        s = x[:, 0] * x[:, 1] * self.squared
        inside = (s >= self.lower) & (s <= self.upper)
        density = np.zeros(len(x))
        with np.errstate(divide="ignore"):
            density[inside] = 1 / self.inverse(x[inside])[1]
        return density


def _pairs(x: Array) -> Array:
    x = np.asarray(x, np.float64)
    if x.ndim != 2 or x.shape[1] != 2:
        raise ValueError(f"wanted points of shape (B, 2), got {x.shape}")
    return x
