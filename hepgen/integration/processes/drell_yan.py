r"""Lepton pairs from quarks and antiquarks of hadrons by a photon and a Z, at lowest order.

.. math:: d\sigma = \sum_q x_1 f_q(x_1)\, x_2 f_{\bar q}(x_2)\,
   \frac{\overline{|M|^2}}{32 \pi \hat s} \, \frac{d\hat s}{\hat s} \, dy \, d\cos\theta

S. D. Drell and T.-M. Yan, Phys. Rev. Lett. 25 (1970) 316. Shapes: B points, D = 3, K = 11 channels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.alpha_s import AlphaS, StrongCoupling
from hepgen.integration.beams import PARTONS, HadronBeams
from hepgen.integration.cuts import Cuts
from hepgen.integration.electroweak import ElectroweakCouplings, fermion_pairs
from hepgen.integration.pdf import PartonDensities
from hepgen.integration.phase_space import PB_PER_INVERSE_GEV2
from hepgen.integration.process import Events
from hepgen.integration.processes.hadronic_pair import HadronicPair, PairPoints
from hepgen.integration.scale import Scale
from hepgen.io.errors import InputError

__all__ = ["DrellYan"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_SQRT_S_HAT = Scale("sqrt_s_hat")
_ALPHA_S = AlphaS()
_COUPLINGS = ElectroweakCouplings()


class DrellYan(HadronicPair):
    r"""A pair of charged leptons of one flavour, massless, in a window of its mass.

    Events hold incoming quark and antiquark, the boson (PDG id 23, intermediate), lepton and
    antilepton.

    Args:
        pdf: densities of the proton, or the name or path of a grid of LHAPDF.
        mass_window: smallest and largest mass of the pair in GeV.
        energy: of the hadrons together in GeV.
        beams: "p" or "pbar", each.
        lepton: PDG id of the negative lepton: 11, 13 or 15.
        couplings: electromagnetic and weak couplings, mass and width of the Z.
        factorisation_scale: where the densities are taken.
        alpha_s: the strong coupling, which events quote; the cross section has none.
        cuts: on the momenta of lepton and antilepton.
        mass_map: how the mass is drawn: flat in its logarithm, or as the "breit_wigner" of the Z.
            None takes the latter where the Z lies in the window.

    Raises:
        InputError: a window that is empty or beyond the energy, or another argument without sense.
    """

    def __init__(
        self,
        pdf: PartonDensities | str,
        mass_window: tuple[float, float] = (60.0, 120.0),
        energy: float = 13000.0,
        beams: tuple[Literal["p", "pbar"], Literal["p", "pbar"]] = ("p", "p"),
        lepton: Literal[11, 13, 15] = 13,
        couplings: ElectroweakCouplings = _COUPLINGS,
        factorisation_scale: Scale = _SQRT_S_HAT,
        alpha_s: StrongCoupling = _ALPHA_S,
        cuts: Cuts | None = None,
        mass_map: Literal["log", "breit_wigner"] | None = None,
    ) -> None:
        low, high = mass_window
        if not 0 < low < high <= energy:
            raise InputError(
                f"wanted 0 < smallest < largest mass <= {energy} GeV, got {tuple(mass_window)}"
            )
        if lepton not in (11, 13, 15):
            raise InputError(f"wanted a lepton of PDG id 11, 13 or 15, got {lepton}")
        if mass_map not in (None, "log", "breit_wigner"):
            raise InputError(f"mass_map must be 'log' or 'breit_wigner', got {mass_map!r}")
        hadrons = HadronBeams(pdf, energy, beams)
        scale = factorisation_scale
        super().__init__(hadrons, 0.0, alpha_s, scale, scale, cuts)
        self.mass_window = (low, high)
        self.lepton = lepton
        self.couplings = couplings
        resonant = low < couplings.z_mass < high and couplings.z_width > 0
        self.mass_map = mass_map or ("breit_wigner" if resonant else "log")
        if self.mass_map == "breit_wigner" and not resonant:
            raise InputError(
                f"mass_map 'breit_wigner' wants a Z of some width within the window, got mass "
                f"{couplings.z_mass} GeV, width {couplings.z_width} GeV; take 'log'"
            )

    def _kinematics(self, u: Array) -> PairPoints:
        couplings = self.couplings
        resonance = self.mass_map == "breit_wigner"
        return PairPoints(
            *_resonance_kinematics(
                u,
                self.hadrons.energy**2,
                self.mass_window[0] ** 2,
                self.mass_window[1] ** 2,
                couplings.z_mass**2 if resonance else 0.0,
                couplings.z_mass * couplings.z_width if resonance else 0.0,
                self._limits.min_pt,
                self._limits.max_rapidity,
            )
        )

    def _flux(self, points: PairPoints) -> Array:
        result: Array = PB_PER_INVERSE_GEV2 / (32 * np.pi * points.s**2)
        return result

    def _channels(self, points: PairPoints) -> Array:
        q2 = self._q2(self.factorisation_scale, points)
        pairs = self.hadrons.conjugate_pairs(points.x1, points.x2, q2)
        flux = self._flux(points)
        u = -points.s - points.t
        for kind in (1, 2):  # down and up: the other flavours couple like one of them
            for sign, transfer in ((1, points.t), (-1, u)):
                squares = flux * fermion_pairs(
                    points.s, transfer, kind, self.lepton, self.couplings
                )
                for flavour in range(kind, 6, 2):
                    pairs[:, PARTONS.index(sign * flavour)] *= squares
        pairs[:, PARTONS.index(21)] = 0
        return pairs

    def _pids(self, channel: Integers) -> tuple[int, int]:
        return self.lepton, -self.lepton

    def _coupling_em(self) -> float:
        return self.couplings.alpha

    def _colours(self, points: PairPoints, channel: Integers, rng: np.random.Generator) -> Integers:
        colours = np.zeros((len(channel), 4, 2), np.int64)
        quark_first = np.array(PARTONS)[channel] > 0
        rows = np.arange(len(channel))
        colours[rows, np.where(quark_first, 0, 1), 0] = 501
        colours[rows, np.where(quark_first, 1, 0), 1] = 501
        return colours

    def _events(self, u: Array, rng: np.random.Generator) -> Events:
        pair = super()._events(u, rng)
        boson = pair.p4[:, :2].sum(1, keepdims=True)
        return Events(
            p4=np.concatenate([pair.p4[:, :2], boson, pair.p4[:, 2:]], 1),
            pid=np.insert(pair.pid, 2, 23, 1),
            status=np.array([-1, -1, 2, 1, 1]),
            mothers=np.array([[0, 0], [0, 0], [1, 2], [3, 3], [3, 3]]),
            colours=np.insert(pair.colours, 2, 0, 1),
            scale=pair.scale,
            alpha_s=pair.alpha_s,
            alpha_em=pair.alpha_em,
            x1=pair.x1,
            x2=pair.x2,
        )

    def observables(self, u: ArrayLike) -> Mapping[str, Array]:
        """Of the pair: mass, rapidity; of either lepton pt; rapidity_3 and rapidity_4 of the two.

        ``cos_theta`` is that of the negative lepton to the first beam in the rest frame of the
        pair, x1 and x2 are the momentum fractions.
        """
        known = dict(super().observables(u))
        known["cos_theta"] = np.tanh(known.pop("y_star"))
        return known


@njit(cache=True, nogil=True, error_model="numpy")
def _resonance_kinematics(
    u: Array,
    s: float,
    lowest: float,
    highest: float,
    peak: float,
    width: float,
    smallest: float,
    steepest: float,
) -> Array:
    """Kinematics from (mass, y, cos theta), as rows of `PairPoints`, shape (9, B).

    The square of the mass is drawn flat in its logarithm, or for a width above zero as
    1 / ((m^2 - peak)^2 + width^2), all in GeV^2; then y and cos theta are flat in what is left
    by the smallest transverse momentum, in GeV, and the largest rapidity of the leptons.
    """
    out = np.empty((9, len(u)))
    # A pair too light for the transverse momentum would have no angle at all.
    lowest = min(max(lowest, 4 * smallest * smallest), highest)
    if width > 0:
        begin = np.arctan((lowest - peak) / width)
        span = np.arctan((highest - peak) / width) - begin
    else:
        begin, span = np.log(lowest), np.log(highest / lowest)
    for row in range(len(u)):
        place = begin + span * u[row, 0]
        if width > 0:
            tangent = np.tan(place)
            s_hat = min(max(peak + width * tangent, lowest), highest)
            measure = span * width * (1 + tangent * tangent)
        else:
            s_hat = min(max(np.exp(place), lowest), highest)
            measure = span * s_hat
        tau = min(s_hat / s, 1.0)
        farthest = min(-0.5 * np.log(tau), steepest)
        y = farthest * (2 * u[row, 1] - 1)
        # Along the beam itself rapidities are infinite.
        widest = min(np.sqrt(max(1 - 4 * smallest * smallest / s_hat, 0.0)), 1 - 1e-15)
        widest = min(widest, np.tanh(steepest - abs(y)))
        cosine = widest * (2 * u[row, 2] - 1)
        y_star = np.arctanh(cosine)
        root, boost, mass = np.sqrt(tau), np.exp(y), np.sqrt(s_hat)
        pt = 0.5 * mass * np.sqrt((1 - cosine) * (1 + cosine))
        out[0, row] = min(root * boost, 1.0)
        out[1, row] = min(root / boost, 1.0)
        out[2, row] = s_hat
        out[3, row] = -0.5 * s_hat * (1 - cosine)
        out[4, row] = pt
        out[5, row] = pt
        out[6, row] = y + y_star
        out[7, row] = y - y_star
        out[8, row] = measure * (2 * farthest) * (2 * widest)
    return out
