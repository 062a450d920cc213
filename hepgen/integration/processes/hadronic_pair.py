r"""Two hadrons to two particles of equal mass: what the processes of this kind share.

.. math:: d\sigma = \sum_{ab} x_1 f_a(x_1) \, x_2 f_b(x_2) \,
   \frac{\overline{|M_{ab}|^2}}{16 \pi \hat s^2} \, dp_T^2 \, dy_3 \, dy_4

Shapes: B points, D = 3 dimensions, K = 11 channels: a flavour in the first beam and its antiflavour
in the second.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.alpha_s import StrongCoupling
from hepgen.integration.beams import PARTONS, HadronBeams
from hepgen.integration.cuts import Cuts
from hepgen.integration.phase_space import PB_PER_INVERSE_GEV2
from hepgen.integration.process import Events, Process, choose
from hepgen.integration.scale import Scale
from hepgen.io.errors import InputError

__all__ = ["HadronicPair", "PairPoints"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]


class PairPoints(NamedTuple):
    """Kinematics of two particles of equal mass; all of shape (B,), in GeV.

    Attributes:
        x1: momentum fraction of the first parton.
        x2: of the second.
        s: (p1 + p2)^2.
        t: (p1 - p3)^2.
        transverse_mass: of either particle.
        pt: transverse momentum of either particle.
        y3: rapidity of the first particle.
        y4: of the second.
        measure: the density of the variables of the cross section in u.
    """

    x1: Array
    x2: Array
    s: Array
    t: Array
    transverse_mass: Array
    pt: Array
    y3: Array
    y4: Array
    measure: Array


class Limits(NamedTuple):
    """What cuts leave of the kinematics of a pair, so that no points fall outside.

    Attributes:
        min_pt: in GeV.
        max_pt: in GeV.
        max_rapidity: of either particle; :math:`|y| + |y^*|` of the pair stays below.
    """

    min_pt: float = 0.0
    max_pt: float = math.inf
    max_rapidity: float = math.inf

    @classmethod
    def of(cls, cuts: Cuts | None, massless: bool) -> Limits:
        """Those that follow from cuts; the rest of the cuts stays to be applied."""
        if cuts is None:
            return cls()
        both = cuts.particles is None or len(cuts.particles) == 2
        # Transverse momenta are equal, and pseudorapidities of massless particles rapidities.
        rapidity = min(cuts.max_rapidity, cuts.max_eta if massless else math.inf)
        return cls(cuts.min_pt, cuts.max_pt, rapidity if both else math.inf)


class HadronicPair(Process):
    """A process of two partons, a flavour and its antiflavour, to two particles of equal mass.

    Subclasses give the squared matrix elements.

    Args:
        hadrons: the beams.
        mass: of the final particles in GeV.
        alpha_s: the strong coupling.
        renormalisation_scale: where it is taken.
        factorisation_scale: where the densities are taken.
        cuts: on the final momenta in the laboratory; None passes all.
    """

    dimension = 3

    def __init__(
        self,
        hadrons: HadronBeams,
        mass: float,
        alpha_s: StrongCoupling,
        renormalisation_scale: Scale,
        factorisation_scale: Scale,
        cuts: Cuts | None,
    ) -> None:
        self.hadrons = hadrons
        self.beams = hadrons.pdg
        self.beam_energies = (hadrons.energy / 2, hadrons.energy / 2)
        self.mass = mass
        self.alpha_s = alpha_s
        self.renormalisation_scale = renormalisation_scale
        self.factorisation_scale = factorisation_scale
        self.cuts = cuts
        self._limits = Limits.of(cuts, massless=mass == 0)
        if mass**2 + self._limits.min_pt**2 >= hadrons.energy**2 / 4:
            raise InputError(
                f"nothing passes the cuts: two particles of {mass} GeV with transverse momenta of "
                f"{self._limits.min_pt} GeV want more than the {hadrons.energy} GeV of the beams"
            )

    def _kinematics(self, u: Array) -> PairPoints:
        """What points of the cube mean: transverse momentum and rapidities."""
        limits = self._limits
        s = self.hadrons.energy**2
        return PairPoints(*transverse_kinematics(u, s, self.mass, *limits))

    @abstractmethod
    def _channels(self, points: PairPoints) -> Array:
        """Cross section by channel without the measure, in pb GeV^-2, shape (B, K)."""

    @abstractmethod
    def _pids(self, channel: Integers) -> tuple[int, int]:
        """PDG ids of the two final particles."""

    @abstractmethod
    def _colours(self, points: PairPoints, channel: Integers, rng: np.random.Generator) -> Integers:
        """Colour and anticolour of incoming and final particles, shape (B, 4, 2)."""

    def _total(self, points: PairPoints) -> Array:
        """Sum of the channels, shape (B,)."""
        total: Array = self._channels(points).sum(1)
        return total

    def _cross_section(self, u: Array) -> Array:
        points = self._kinematics(u)
        if self.cuts is None:
            whole: Array = self._total(points) * points.measure
            return whole
        kept = np.flatnonzero(self.cuts(self._momenta(points, np.zeros(len(u)))))
        passed = PairPoints(*(column[kept] for column in points))
        values = np.zeros(len(u))
        values[kept] = self._total(passed) * passed.measure
        return values

    def _q2(self, scale: Scale, points: PairPoints) -> Array:
        masses = np.broadcast_to(points.transverse_mass[:, None], (len(points.s), 2))
        return scale.squared(points.s, masses)

    def _flux(self, points: PairPoints) -> Array:
        """What turns squared matrix elements times densities into the cross section."""
        result: Array = PB_PER_INVERSE_GEV2 / (16 * np.pi * points.s**2)
        return result

    def _couplings(self, points: PairPoints) -> Array:
        return self.alpha_s(self._q2(self.renormalisation_scale, points))

    def _momenta(self, points: PairPoints, azimuth: Array) -> Array:
        """Final momenta in the laboratory, shape (B, 2, 4)."""
        p4 = np.empty((len(azimuth), 2, 4))
        for body, (y, sign) in enumerate(((points.y3, 1.0), (points.y4, -1.0))):
            p4[:, body, 0] = points.transverse_mass * np.cosh(y)
            p4[:, body, 1] = sign * points.pt * np.cos(azimuth)
            p4[:, body, 2] = sign * points.pt * np.sin(azimuth)
            p4[:, body, 3] = points.transverse_mass * np.sinh(y)
        return p4

    def _incoming(self, points: PairPoints) -> Array:
        """Momenta of the partons, shape (B, 2, 4)."""
        p4 = np.zeros((len(points.x1), 2, 4))
        for body, x in enumerate((points.x1, points.x2)):
            p4[:, body, 0] = x * self.beam_energies[body]
            p4[:, body, 3] = p4[:, body, 0] * (1 - 2 * body)
        return p4

    def _coupling_em(self) -> float:
        """The electromagnetic coupling that events quote."""
        return 1 / 127.95

    def _events(self, u: Array, rng: np.random.Generator) -> Events:
        points = self._kinematics(u)
        count = len(points.x1)
        channel = choose(self._channels(points), rng)
        flavours = np.array(PARTONS)
        first = flavours[channel]
        p4 = np.concatenate(
            [self._incoming(points), self._momenta(points, 2 * np.pi * rng.random(count))], 1
        )
        pid = np.empty((count, 4), np.int64)
        pid[:, 0], pid[:, 1] = first, np.where(first == 21, 21, -first)
        pid[:, 2:] = self._pids(channel)
        return Events(
            p4=p4,
            pid=pid,
            status=np.array([-1, -1, 1, 1]),
            mothers=np.array([[0, 0], [0, 0], [1, 2], [1, 2]]),
            colours=self._colours(points, channel, rng),
            scale=np.sqrt(self._q2(self.factorisation_scale, points)),
            alpha_s=self._couplings(points),
            alpha_em=np.full(count, self._coupling_em()),
            x1=points.x1,
            x2=points.x2,
        )

    def observables(self, u: ArrayLike) -> Mapping[str, Array]:
        """Of the pair: mass, rapidity, pt (of one of the two), y_star; rapidity_3, rapidity_4.

        ``y_star`` is half the difference of the rapidities of the first and the second particle.
        """
        points = self._kinematics(self._points(u))
        return {
            "mass": np.sqrt(points.s),
            "rapidity": 0.5 * (points.y3 + points.y4),
            "pt": points.pt,
            "y_star": 0.5 * (points.y3 - points.y4),
            "rapidity_3": points.y3,
            "rapidity_4": points.y4,
            "x1": points.x1,
            "x2": points.x2,
        }


@njit(cache=True, nogil=True, error_model="numpy")
def transverse_kinematics(
    u: Array, s: float, mass: float, smallest: float, largest: float, steepest: float
) -> Array:
    """Kinematics from (pT, y*, y), as rows of `PairPoints`, shape (9, B).

    The transverse mass squared m is drawn as m^-3, as the densities fall; y* and then y are flat
    in what energy and limits leave.

    Args:
        u: points in the cube, shape (B, 3).
        s: energy of the hadrons squared in GeV^2.
        mass: of the particles in GeV.
        smallest: transverse momentum in GeV.
        largest: transverse momentum in GeV.
        steepest: largest |rapidity| of the particles.
    """
    out = np.empty((9, len(u)))
    high = min(s / 4, mass * mass + largest * largest)
    # At high and at low transverse mass.
    begin, end = (mass * mass + smallest * smallest) ** -2.0, high**-2.0
    for row in range(len(u)):
        squared = 1 / np.sqrt(begin + u[row, 0] * (end - begin))
        measure = 0.5 * squared**3 * (begin - end)
        widest = min(np.arccosh(max(np.sqrt(s / 4 / squared), 1.0)), steepest)
        y_star = widest * (2 * u[row, 1] - 1)
        half = np.cosh(y_star)
        s_hat = 4 * squared * half * half
        # Rounding may take the partons beyond their hadrons by one part in 10^16.
        tau = min(s_hat / s, 1.0)
        farthest = min(-0.5 * np.log(tau), steepest - abs(y_star))
        y = farthest * (2 * u[row, 2] - 1)
        root, boost = np.sqrt(tau), np.exp(y)
        out[0, row] = min(root * boost, 1.0)
        out[1, row] = min(root / boost, 1.0)
        out[2, row] = s_hat
        out[3, row] = mass * mass - 2 * squared * half * np.exp(-y_star)
        out[4, row] = np.sqrt(squared)
        out[5, row] = np.sqrt(max(squared - mass * mass, 0.0))
        out[6, row] = y + y_star
        out[7, row] = y - y_star
        # dy3 dy4 = 2 dy* dy
        out[8, row] = measure * 2 * (2 * widest) * (2 * farthest)
    return out
