r"""Two gluons of hadrons to two gluons, at lowest order. Shapes: B points, D = 3."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.alpha_s import AlphaS, StrongCoupling
from hepgen.integration.beams import PARTONS, HadronBeams
from hepgen.integration.colour_flow import colours_of_order
from hepgen.integration.cuts import Cuts
from hepgen.integration.matrix_elements import gluons_to_gluons
from hepgen.integration.pdf import PartonDensities
from hepgen.integration.process import choose
from hepgen.integration.processes.hadronic_pair import HadronicPair, PairPoints
from hepgen.integration.scale import Scale
from hepgen.io.errors import InputError

__all__ = ["GluonScattering"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_GLUONS = PARTONS.index(21)
_TRANSVERSE_MASS = Scale("transverse_mass")
_ALPHA_S = AlphaS()
# The orders of four gluons that differ by more than turns and reflection, incoming 0 and 1.
_ORDERS = np.array([[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3]])


class GluonScattering(HadronicPair):
    r"""Two gluons to two gluons above a transverse momentum.

    Events choose the order of colours by the colour-ordered squares: for incoming 1, 2 and
    outgoing 3, 4 the orders 1234 : 1243 : 1324 have the weights :math:`1/(s u)^2 : 1/(s t)^2 :
    1/(t u)^2`, each read in either direction; the ratios are exact at tree level.

    Args:
        pdf: densities of the proton, or the name or path of a grid of LHAPDF.
        pt_min: smallest transverse momentum of the outgoing gluons in GeV.
        energy: of the hadrons together in GeV.
        beams: "p" or "pbar", each.
        alpha_s: the strong coupling.
        renormalisation_scale: where it is taken.
        factorisation_scale: where the densities are taken.
        cuts: further ones, on the momenta of the two outgoing gluons.

    Raises:
        InputError: a ``pt_min`` that is not positive or beyond the energy, or another argument
            without sense.
    """

    def __init__(
        self,
        pdf: PartonDensities | str,
        pt_min: float,
        energy: float = 13000.0,
        beams: tuple[Literal["p", "pbar"], Literal["p", "pbar"]] = ("p", "p"),
        alpha_s: StrongCoupling = _ALPHA_S,
        renormalisation_scale: Scale = _TRANSVERSE_MASS,
        factorisation_scale: Scale = _TRANSVERSE_MASS,
        cuts: Cuts | None = None,
    ) -> None:
        if not 0 < pt_min < energy / 2:
            raise InputError(
                f"wanted pt_min above 0 and below half the energy ({energy / 2} GeV), got {pt_min}"
            )
        hadrons = HadronBeams(pdf, energy, beams)
        super().__init__(hadrons, 0.0, alpha_s, renormalisation_scale, factorisation_scale, cuts)
        if pt_min >= self._limits.max_pt:
            raise InputError(
                f"nothing passes the cuts: pt_min is {pt_min} GeV, max_pt {self._limits.max_pt} GeV"
            )
        self.pt_min = pt_min
        self._limits = self._limits._replace(min_pt=max(pt_min, self._limits.min_pt))

    def _total(self, points: PairPoints) -> Array:
        q2 = self._q2(self.factorisation_scale, points)
        gluons = self.hadrons.gluons(points.x1, points.x2, q2)
        squares = gluons_to_gluons(points.s, points.t, self._couplings(points))
        # Half of phase space for identical gluons.
        result: Array = 0.5 * gluons * self._flux(points) * squares
        return result

    def _channels(self, points: PairPoints) -> Array:
        channels = np.zeros((len(points.s), len(PARTONS)))
        channels[:, _GLUONS] = self._total(points)
        return channels

    def _pids(self, channel: Integers) -> tuple[int, int]:
        return 21, 21

    def _colours(self, points: PairPoints, channel: Integers, rng: np.random.Generator) -> Integers:
        s, t = points.s, points.t
        u = -s - t
        # In the order 1234 s_12 s_23 s_34 s_41 = (s u)^2, as u = (p2 - p3)^2 = (p1 - p4)^2.
        shares = np.stack([t**2, u**2, s**2], 1)
        return colours_of_order(_ORDERS[choose(shares, rng)], rng)
