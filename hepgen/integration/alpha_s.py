r"""The strong coupling at a scale: fixed, running from its value at the Z mass, or tabulated.

With n_f flavours and :math:`L = \ln(Q^2 / \Lambda_{n_f}^2)`

.. math:: \alpha_s = \frac{12\pi}{(33 - 2 n_f) L} \Big(1 - \frac{6 (153 - 19 n_f)}{(33 - 2 n_f)^2}
   \frac{\ln L}{L}\Big),

the second term at second order only, continuous where a flavour begins. Particle Data Group, Phys.
Lett. B667 (2008) 1, eq. (9.5); Pythia's coupling (SigmaProcess:alphaSorder) is the same.

Shapes: B points, N knots.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.pdf import PDF
from hepgen.integration.pdf_kernels import axis
from hepgen.io.errors import InputError

__all__ = ["AlphaS", "StrongCoupling", "TabulatedAlphaS"]

Array = NDArray[np.float64]


class StrongCoupling(ABC):
    """The strong coupling as a function of the renormalisation scale."""

    @abstractmethod
    def __call__(self, q2: ArrayLike) -> Array:
        """Couplings.

        Args:
            q2: squares of the renormalisation scale in GeV^2, shape (B,) or a number.

        Returns:
            alpha_s without a unit, of the shape of ``q2``.

        Raises:
            ValueError: a scale at which the coupling is not known.
        """


class AlphaS(StrongCoupling):
    """A coupling known at one scale, fixed or running at one or two loops.

    Args:
        value: alpha_s at ``scale``.
        order: 0 fixed, 1 or 2 loops.
        scale: in GeV, where five flavours are active; the mass of the Z.
        thresholds: masses of charm, bottom and top in GeV, from which on each runs along.
        max_flavours: how many flavours run at most, 3 to 6.

    Raises:
        InputError: an argument makes no sense.
    """

    def __init__(
        self,
        value: float = 0.118,
        order: Literal[0, 1, 2] = 1,
        scale: float = 91.188,
        thresholds: tuple[float, float, float] = (1.5, 4.8, 171.0),
        max_flavours: int = 6,
    ) -> None:
        if not 0 < value < 1:
            raise InputError(f"wanted alpha_s between 0 and 1, got {value}")
        if order not in (0, 1, 2):
            raise InputError(f"wanted order 0 (fixed), 1 or 2, got {order}")
        if not 3 <= max_flavours <= 6:
            raise InputError(f"wanted max_flavours from 3 to 6, got {max_flavours}")
        charm, bottom, top = thresholds
        if order and not 0 < charm < bottom < scale < top:
            raise InputError(
                f"wanted charm < bottom < scale < top in GeV, got thresholds {tuple(thresholds)} "
                f"and scale {scale}"
            )
        self.value = value
        self.order = order
        self.scale = scale
        self.thresholds = (charm, bottom, top)
        self.max_flavours = max_flavours
        if order:
            self._run()

    def __repr__(self) -> str:
        return f"AlphaS({self.value}, order={self.order})"

    def _run(self) -> None:
        """Set ln Lambda^2 for 3, 4, ... flavours, and ln Q^2 where each but the first begins."""
        charm, bottom, top = (2 * math.log(mass) for mass in self.thresholds)
        flavours = min(5, self.max_flavours)
        log_lambda = {flavours: 2 * math.log(self.scale) - self._log(self.value, flavours)}
        at = {3: charm, 4: bottom, 5: top}  # where the next flavour begins
        for number in range(flavours - 1, 2, -1):
            value = self._coupling(np.array(at[number] - log_lambda[number + 1]), number + 1)
            log_lambda[number] = at[number] - self._log(float(value), number)
        if self.max_flavours == 6:
            value = self._coupling(np.array(top - log_lambda[5]), 5)
            log_lambda[6] = top - self._log(float(value), 6)
        numbers = range(3, self.max_flavours + 1)
        self._log_lambda = np.array([log_lambda[number] for number in numbers])
        self._begins = np.array([at[number] for number in numbers[:-1]])

    def _coupling(self, log: Array, flavours: ArrayLike) -> Array:
        """The formula, from L and n_f."""
        b0 = 33 - 2 * np.asarray(flavours, np.float64)
        value = 12 * math.pi / (b0 * log)
        if self.order == 2:
            value = value * (1 - 6 * (153 - 19 * np.asarray(flavours)) / b0**2 * np.log(log) / log)
        result: Array = value
        return result

    def _log(self, value: float, flavours: int) -> float:
        """The L that has a given coupling: it falls with L, so the middle of a bracket finds it."""
        low, high = 1e-2, 12 * math.pi / (7 * value) * 2
        for _ in range(200):
            middle = 0.5 * (low + high)
            if float(self._coupling(np.array(middle), flavours)) > value:
                low = middle
            else:
                high = middle
        return 0.5 * (low + high)

    def __call__(self, q2: ArrayLike) -> Array:
        """Couplings at squares of the scale in GeV^2, of their shape.

        Raises:
            ValueError: a scale near or below Lambda, where the formula means nothing.
        """
        q2 = np.asarray(q2, np.float64)
        if self.order == 0:
            return np.full(q2.shape, self.value)
        # Where Pythia stops too: 1.07 or 1.33 times Lambda.
        lowest = math.exp(self._log_lambda[0]) * (1.07 if self.order == 1 else 1.33) ** 2
        if q2.size and not q2.min() > lowest:
            raise ValueError(
                f"wanted scales above {math.sqrt(lowest):.4g} GeV, where {self} is perturbative, "
                f"got Q^2 = {float(q2.min())} GeV^2"
            )
        log_q2 = np.log(q2)
        region = np.searchsorted(self._begins, log_q2, "right")
        return self._coupling(log_q2 - self._log_lambda[region], region + 3)


class TabulatedAlphaS(StrongCoupling):
    """The coupling that a set of parton densities brings, AlphaS_Qs and AlphaS_Vals in its .info.

    Cubics in ln Q^2 with mean slopes, as LHAPDF6's type "ipol" (arXiv:1412.7420, section 3.5); a
    scale that stands twice is a threshold that they do not look across.

    Args:
        q: scales in GeV, rising but for thresholds, shape (N,) with N at least 4.
        values: alpha_s there, shape (N,).

    Raises:
        InputError: the two do not fit each other, or the scales do not rise.
    """

    def __init__(self, q: Sequence[float], values: Sequence[float]) -> None:
        self.q = tuple(map(float, q))
        self.values = tuple(map(float, values))
        if len(self.q) != len(self.values) or len(self.q) < 4:
            raise InputError(
                f"wanted at least 4 scales and as many values, got {len(self.q)} and "
                f"{len(self.values)}"
            )
        if not (np.diff(self.q) >= 0).all() or not self.q[0] > 0:
            raise InputError("wanted positive, rising scales")
        self._axis = axis(2 * np.log(self.q))

    @classmethod
    def of(cls, pdf: PDF) -> TabulatedAlphaS:
        """The coupling of a set of densities.

        Raises:
            InputError: the set has no .info beside its grid, or no table in it.
        """
        try:
            return cls(pdf.info["AlphaS_Qs"], pdf.info["AlphaS_Vals"])
        except KeyError as error:
            raise InputError(
                f"no {error.args[0]} with {pdf.file}: this needs the .info of the set beside its "
                "grid; AlphaS(value, order) runs from a value at the mass of the Z instead"
            ) from None

    def __repr__(self) -> str:
        return f"TabulatedAlphaS({self.q[0]:g} to {self.q[-1]:g} GeV)"

    def __call__(self, q2: ArrayLike) -> Array:
        """Couplings at squares of the scale in GeV^2, of their shape.

        Raises:
            ValueError: a scale outside the table.
        """
        q2 = np.asarray(q2, np.float64)
        flat = q2.ravel()
        low, high = self.q[0] ** 2, self.q[-1] ** 2
        slack = 1e-12  # of rounding in a square
        if flat.size and not (flat.min() >= low * (1 - slack) and flat.max() <= high * (1 + slack)):
            wrong = flat[~((flat >= low * (1 - slack)) & (flat <= high * (1 + slack)))][0]
            raise ValueError(
                f"wanted scales from {self.q[0]:g} to {self.q[-1]:g} GeV, where alpha_s is "
                f"tabulated, got Q^2 = {wrong} GeV^2"
            )
        knots = self._axis.knots
        log_q2 = np.log(flat)
        cell = np.clip(np.searchsorted(knots, log_q2, "right") - 1, 0, len(knots) - 2)
        t = (log_q2 - knots[cell]) / (knots[cell + 1] - knots[cell])
        powers = np.stack([np.ones_like(t), t, t**2, t**3], 1)  # (B, 4)
        weights = np.einsum("bkp,bp->bk", self._axis.coefficients[cell], powers)
        near = np.asarray(self.values)[self._axis.first[cell][:, None] + np.arange(4)]
        result: Array = (weights * near).sum(1).reshape(q2.shape)
        return result
