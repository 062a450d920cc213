r"""Electron and positron to two muons by a photon and a Z, at lowest order.

.. math:: \frac{d\sigma}{d\cos\theta} = \frac{\overline{|M|^2}}{32 \pi s}

Shapes: B points, D = 1.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.beams import head_on
from hepgen.integration.electroweak import ElectroweakCouplings, fermion_pairs
from hepgen.integration.phase_space import PB_PER_INVERSE_GEV2
from hepgen.integration.process import Events, Process
from hepgen.io.errors import InputError

__all__ = ["ElectronPositronToMuons"]

Array = NDArray[np.float64]

_COUPLINGS = ElectroweakCouplings()


class ElectronPositronToMuons(Process):
    """A negative and a positive muon, massless, at a fixed energy without radiation.

    Events hold the beams, the boson (PDG id 23, intermediate) and the muons.

    Args:
        energy: of both beams together in GeV.
        couplings: electromagnetic and weak couplings, mass and width of the Z.
        cos_theta_max: largest abs(cos theta) of the muons to the beams.

    Raises:
        InputError: an energy that is not positive, or a ``cos_theta_max`` not in (0, 1].
    """

    dimension = 1
    beams = (11, -11)

    def __init__(
        self,
        energy: float = 91.1876,
        couplings: ElectroweakCouplings = _COUPLINGS,
        cos_theta_max: float = 1.0,
    ) -> None:
        if not 0 < energy < np.inf:
            raise InputError(f"wanted a positive energy in GeV, got {energy}")
        if not 0 < cos_theta_max <= 1:
            raise InputError(f"wanted cos_theta_max in (0, 1], got {cos_theta_max}")
        self.energy = float(energy)
        self.beam_energies = (self.energy / 2, self.energy / 2)
        self.couplings = couplings
        self.cos_theta_max = cos_theta_max

    def _cosine(self, u: Array) -> Array:
        result: Array = self.cos_theta_max * (2 * u[:, 0] - 1)
        return result

    def _cross_section(self, u: Array) -> Array:
        s = self.energy**2
        t = -0.5 * s * (1 - self._cosine(u))
        squares = fermion_pairs(s, t, 11, 13, self.couplings)
        factor = PB_PER_INVERSE_GEV2 * 2 * self.cos_theta_max / (32 * np.pi * s)
        result: Array = factor * squares
        return result

    def _events(self, u: Array, rng: np.random.Generator) -> Events:
        count = len(u)
        cosine, azimuth = self._cosine(u), 2 * np.pi * rng.random(count)
        sine = np.sqrt((1 - cosine) * (1 + cosine))
        direction = np.stack([sine * np.cos(azimuth), sine * np.sin(azimuth), cosine], 1)
        half = self.energy / 2
        p4 = np.empty((count, 5, 4))
        p4[:, :2] = head_on(self.energy)
        p4[:, 2] = self.energy, 0.0, 0.0, 0.0
        p4[:, 3:, 0] = half
        p4[:, 3, 1:], p4[:, 4, 1:] = half * direction, -half * direction
        return Events(
            p4=p4,
            pid=np.tile([11, -11, 23, 13, -13], (count, 1)),
            status=np.array([-1, -1, 2, 1, 1]),
            mothers=np.array([[0, 0], [0, 0], [1, 2], [3, 3], [3, 3]]),
            colours=np.zeros((count, 5, 2), np.int64),
            scale=np.full(count, self.energy),
            alpha_s=np.full(count, 0.118),
            alpha_em=np.full(count, self.couplings.alpha),
            x1=np.ones(count),
            x2=np.ones(count),
        )

    def observables(self, u: ArrayLike) -> Mapping[str, Array]:
        """``cos_theta`` of the negative muon to the electron, and its pt."""
        cosine = self._cosine(self._points(u))
        return {
            "cos_theta": cosine,
            "pt": 0.5 * self.energy * np.sqrt((1 - cosine) * (1 + cosine)),
        }
