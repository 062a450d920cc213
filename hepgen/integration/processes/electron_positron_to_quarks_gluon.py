r"""Electron and positron by a photon to quark, antiquark and gluon, at lowest order.

J. Ellis, M. K. Gaillard and G. G. Ross, Nucl. Phys. B111 (1976) 253. Shapes: B points, D = 5.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.beams import head_on
from hepgen.integration.cuts import Cuts
from hepgen.integration.matrix_elements import electrons_to_quarks_and_gluon
from hepgen.integration.phase_space import PB_PER_INVERSE_GEV2
from hepgen.integration.process import Events, Process, choose
from hepgen.integration.rambo import RamboOnDiet
from hepgen.io.errors import InputError
from hepgen.kinematics import mass_squared

__all__ = ["ElectronPositronToQuarksGluon"]

Array = NDArray[np.float64]

_SQUARED_CHARGES = {1: 1 / 9, 2: 4 / 9, 3: 1 / 9, 4: 4 / 9, 5: 1 / 9}


class ElectronPositronToQuarksGluon(Process):
    r"""Three partons, massless, that are apart from each other: :math:`s_{ij} > y_{cut} s`.

    By the photon alone, so far below the mass of the Z or for comparisons. Events hold the beams,
    the photon (PDG id 22, intermediate), quark, antiquark and gluon; the quark is chosen by the
    square of its charge.

    Args:
        energy: of both beams together in GeV.
        y_cut: smallest mass squared of two partons over the energy squared, below 1/3.
        quarks: how many flavours, 1 to 5: down, up, strange, charm, bottom.
        alpha: electromagnetic coupling.
        alpha_s: strong coupling at this energy.
        cuts: further ones, on the momenta of quark, antiquark and gluon.

    Raises:
        InputError: an argument without sense.
    """

    dimension = 5
    beams = (11, -11)

    def __init__(
        self,
        energy: float = 40.0,
        y_cut: float = 0.05,
        quarks: int = 5,
        alpha: float = 1 / 137.035999,
        alpha_s: float = 0.118,
        cuts: Cuts | None = None,
    ) -> None:
        if not 0 < energy < np.inf:
            raise InputError(f"wanted a positive energy in GeV, got {energy}")
        if not 0 < y_cut < 1 / 3:
            raise InputError(f"wanted y_cut above 0 and below 1/3, got {y_cut}")
        if not 1 <= quarks <= 5:
            raise InputError(f"wanted 1 to 5 quarks, got {quarks}")
        for name, value in (("alpha", alpha), ("alpha_s", alpha_s)):
            if not value > 0:
                raise InputError(f"wanted a positive {name}, got {value}")
        self.energy = float(energy)
        self.beam_energies = (self.energy / 2, self.energy / 2)
        self.y_cut = y_cut
        self.quarks = quarks
        self.alpha = alpha
        self.alpha_s = alpha_s
        self.cuts = cuts
        self._map = RamboOnDiet([0.0, 0.0, 0.0])
        self._charge = float(np.sqrt(sum(_SQUARED_CHARGES[q] for q in range(1, quarks + 1))))

    def _cross_section(self, u: Array) -> Array:
        p4, weight = self._map.forward(u, self.energy)
        apart = np.min(self._pair_masses(p4), 0) > self.y_cut
        if self.cuts is not None:
            apart &= self.cuts(p4)
        squares = electrons_to_quarks_and_gluon(
            head_on(self.energy), p4, self._charge, self.alpha, self.alpha_s
        )
        factor = PB_PER_INVERSE_GEV2 / (2 * self.energy**2)
        result: Array = np.where(apart, factor * weight * squares, 0.0)
        return result

    def _pair_masses(self, p4: Array) -> Array:
        """Masses squared of qg, antiquark and gluon, quark and antiquark, over s: (3, B)."""
        pairs = ((0, 2), (1, 2), (0, 1))
        return np.stack([mass_squared(p4[:, i] + p4[:, j]) for i, j in pairs]) / self.energy**2

    def _events(self, u: Array, rng: np.random.Generator) -> Events:
        count = len(u)
        final, _ = self._map.forward(u, self.energy)
        charges = [_SQUARED_CHARGES[q] for q in range(1, self.quarks + 1)]
        quark = 1 + choose(np.broadcast_to(np.array(charges), (count, self.quarks)), rng)
        p4 = np.empty((count, 6, 4))
        p4[:, :2] = head_on(self.energy)
        p4[:, 2] = self.energy, 0.0, 0.0, 0.0
        p4[:, 3:] = final
        pid = np.tile([11, -11, 22, 0, 0, 21], (count, 1))
        pid[:, 3], pid[:, 4] = quark, -quark
        colours = np.array([[0, 0], [0, 0], [0, 0], [501, 0], [0, 502], [502, 501]])
        return Events(
            p4=p4,
            pid=pid,
            status=np.array([-1, -1, 2, 1, 1, 1]),
            mothers=np.array([[0, 0], [0, 0], [1, 2], [3, 3], [3, 3], [3, 3]]),
            colours=np.tile(colours, (count, 1, 1)),
            scale=np.full(count, self.energy),
            alpha_s=np.full(count, self.alpha_s),
            alpha_em=np.full(count, self.alpha),
            x1=np.ones(count),
            x2=np.ones(count),
        )

    def observables(self, u: ArrayLike) -> Mapping[str, Array]:
        """Energy fractions x_q, x_qbar, x_g = 2E / sqrt(s), thrust, y_min of all pairs' s_ij / s.

        The thrust of three massless partons is the largest energy fraction.
        """
        p4, _ = self._map.forward(self._points(u), self.energy)
        fractions = 2 * p4[:, :, 0] / self.energy
        return {
            "x_q": fractions[:, 0],
            "x_qbar": fractions[:, 1],
            "x_g": fractions[:, 2],
            "thrust": fractions.max(1),
            "y_min": np.min(self._pair_masses(p4), 0),
        }
