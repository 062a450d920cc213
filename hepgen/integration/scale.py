"""The scale of a process: which combination of its momenta stands for Q."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from hepgen.io.errors import InputError, MissingName

__all__ = ["Scale"]

Array = NDArray[np.float64]
Choice = Literal["fixed", "sqrt_s_hat", "transverse_mass", "half_ht"]


@dataclass(frozen=True)
class Scale:
    r"""A renormalisation or factorisation scale.

    ==================  ========================================================================
    choice              Q
    ==================  ========================================================================
    "fixed"             ``value``
    "sqrt_s_hat"        the mass of the final state
    "transverse_mass"   the geometric mean of the final particles' :math:`\sqrt{m^2 + p_T^2}`
    "half_ht"           half the sum of the final particles' :math:`\sqrt{m^2 + p_T^2}`
    ==================  ========================================================================

    For two particles of equal mass the last two are the same. Pythia's renormScale2 = 2 is
    "transverse_mass", 4 is "sqrt_s_hat" and 5 is "fixed".

    Args:
        choice: one of the names above.
        value: in GeV, for "fixed" alone.
        factor: what Q is multiplied by, for the usual variations by 2 and 1/2.

    Raises:
        MissingName: no choice of that name.
        InputError: a value with a choice that takes none, none with "fixed", or one not positive.
    """

    choice: Choice = "transverse_mass"
    value: float | None = None
    factor: float = 1.0

    def __post_init__(self) -> None:
        if self.choice not in get_args(Choice):
            raise MissingName.among(self.choice, get_args(Choice), kind="scale", where="hepgen")
        if (self.choice == "fixed") != (self.value is not None):
            raise InputError(
                f"wanted a value in GeV with the scale 'fixed' and with no other, got value="
                f"{self.value} with {self.choice!r}"
            )
        for name in ("value", "factor"):
            number = getattr(self, name)
            if number is not None and not 0 < number < float("inf"):
                raise InputError(f"wanted a positive {name} of the scale, got {number}")

    def squared(self, s_hat: Array, transverse_masses: Array) -> Array:
        """Squares of the scale.

        Args:
            s_hat: squares of the mass of the final state in GeV^2, shape (B,).
            transverse_masses: of the n final particles in GeV, shape (B, n).

        Returns:
            Q^2 in GeV^2, shape (B,).
        """
        factor = self.factor**2
        if self.choice == "fixed":
            return np.full(len(s_hat), factor * (self.value or 0.0) ** 2)
        if self.choice == "sqrt_s_hat":
            return factor * s_hat
        count = transverse_masses.shape[1]
        if self.choice == "half_ht":
            result: Array = factor / 4 * transverse_masses.sum(1) ** 2
            return result
        if count == 2:
            return factor * transverse_masses[:, 0] * transverse_masses[:, 1]
        mean: Array = np.exp(np.log(transverse_masses).mean(1))
        return factor * mean**2
