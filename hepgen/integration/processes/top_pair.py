r"""Pairs of top quarks at hadron colliders, at lowest order.

:math:`q \bar q \to t \bar t` and :math:`g g \to t \bar t`; B. L. Combridge, Nucl. Phys. B151
(1979) 429. Shapes: B points, D = 3, K = 11 channels.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.alpha_s import AlphaS, StrongCoupling
from hepgen.integration.beams import PARTONS, HadronBeams
from hepgen.integration.cuts import Cuts
from hepgen.integration.matrix_elements import gluons_to_tops, quarks_to_tops
from hepgen.integration.pdf import PartonDensities
from hepgen.integration.process import choose
from hepgen.integration.processes.hadronic_pair import HadronicPair, PairPoints
from hepgen.integration.scale import Scale
from hepgen.io.errors import InputError

__all__ = ["TopPair"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_GLUONS = PARTONS.index(21)
_TRANSVERSE_MASS = Scale("transverse_mass")
_ALPHA_S = AlphaS()


class TopPair(HadronicPair):
    r"""Top and antitop, stable and on their mass shell.

    Events hold incoming partons, top and antitop. Of the two colour flows of gluons each has its
    share of the colour-ordered squares, :math:`(m^2-u)^2 : (m^2-t)^2`, the one with the top next to
    the first gluon first; these ratios are exact at tree level.

    Args:
        pdf: densities of the proton, or the name or path of a grid of LHAPDF.
        energy: of the hadrons together in GeV.
        beams: "p" or "pbar", each.
        mass: of the top in GeV.
        alpha_s: the strong coupling.
        renormalisation_scale: where it is taken.
        factorisation_scale: where the densities are taken.
        cuts: on the momenta of top and antitop.
        initial: which partons: all of them, or "quarks" or "gluons" alone.

    Raises:
        InputError: a mass that is not positive or too heavy for the energy, or another argument
            without sense.
    """

    def __init__(
        self,
        pdf: PartonDensities | str,
        energy: float = 13000.0,
        beams: tuple[Literal["p", "pbar"], Literal["p", "pbar"]] = ("p", "p"),
        mass: float = 172.5,
        alpha_s: StrongCoupling = _ALPHA_S,
        renormalisation_scale: Scale = _TRANSVERSE_MASS,
        factorisation_scale: Scale = _TRANSVERSE_MASS,
        cuts: Cuts | None = None,
        initial: Literal["all", "quarks", "gluons"] = "all",
    ) -> None:
        if not 0 < mass < energy / 2:
            raise InputError(
                f"wanted a mass above 0 and below half the energy ({energy / 2} GeV), got {mass}"
            )
        if initial not in ("all", "quarks", "gluons"):
            raise InputError(f"initial must be 'all', 'quarks' or 'gluons', got {initial!r}")
        hadrons = HadronBeams(pdf, energy, beams)
        super().__init__(hadrons, mass, alpha_s, renormalisation_scale, factorisation_scale, cuts)
        self.initial = initial

    def _channels(self, points: PairPoints) -> Array:
        q2 = self._q2(self.factorisation_scale, points)
        pairs = self.hadrons.conjugate_pairs(points.x1, points.x2, q2)
        arguments = points.s, points.t, self.mass, self._couplings(points)
        flux = self._flux(points)
        gluons = pairs[:, _GLUONS] * flux * gluons_to_tops(*arguments)
        # Symmetric in t and u: the same for a quark in either beam.
        pairs *= (flux * quarks_to_tops(*arguments))[:, None]
        pairs[:, _GLUONS] = gluons
        if self.initial == "gluons":
            pairs[:, np.arange(len(PARTONS)) != _GLUONS] = 0
        elif self.initial == "quarks":
            pairs[:, _GLUONS] = 0
        return pairs

    def _pids(self, channel: Integers) -> tuple[int, int]:
        return 6, -6

    def _colours(self, points: PairPoints, channel: Integers, rng: np.random.Generator) -> Integers:
        squared = self.mass**2
        u = 2 * squared - points.s - points.t
        shares = np.stack([(squared - u) ** 2, (squared - points.t) ** 2], 1)
        flow = choose(shares, rng)
        # Incoming two, top, antitop.
        gluons = np.array(
            [
                [[501, 502], [502, 503], [501, 0], [0, 503]],
                [[502, 503], [501, 502], [501, 0], [0, 503]],
            ]
        )
        quark = np.array([[501, 0], [0, 502], [501, 0], [0, 502]])
        antiquark = quark[[1, 0, 2, 3]]
        flavour = np.array(PARTONS)[channel][:, None, None]
        result: Integers = np.where(
            flavour == 21, gluons[flow], np.where(flavour > 0, quark, antiquark)
        )
        return result
