"""Cuts on final states: what a detector or a measurement sees of them, as plain numbers.

Shapes: B events, n particles. Momenta are (E, px, py, pz) in GeV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from hepgen.io.errors import InputError
from hepgen.kinematics import delta_r, eta, mass, mass_squared, phi, pt, rapidity

__all__ = ["Cuts"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Cuts:
    """Called with momenta (B, n, 4), tells which events pass, bool (B,).

    Every default lets everything pass. Values on an edge pass. A momentum along the beam has no
    finite rapidity and passes no cut on it; nan passes no cut at all.

    Attributes:
        min_pt: of each particle, in GeV.
        max_pt: of each particle, in GeV.
        max_eta: absolute pseudorapidity of each particle.
        max_rapidity: absolute rapidity of each particle.
        min_delta_r: sqrt(delta eta^2 + delta phi^2) of each pair.
        min_angle: of each pair, in radians.
        min_pair_mass: invariant mass of each pair, in GeV.
        y_cut: (p_i + p_j)^2 over that of all particles, of each pair.
        min_mass: invariant mass of all particles together, in GeV.
        max_mass: invariant mass of all particles together, in GeV.
        particles: places in the final state of those meant by all of this; None means all.

    Raises:
        InputError: a negative number, a minimum above its maximum, or a place named twice.
    """

    min_pt: float = 0.0
    max_pt: float = math.inf
    max_eta: float = math.inf
    max_rapidity: float = math.inf
    min_delta_r: float = 0.0
    min_angle: float = 0.0
    min_pair_mass: float = 0.0
    y_cut: float = 0.0
    min_mass: float = 0.0
    max_mass: float = math.inf
    particles: tuple[int, ...] | None = None

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if field.name != "particles" and not value >= 0:
                raise InputError(f"{field.name} must not be negative, got {value}")
        for name in ("pt", "mass"):
            low, high = getattr(self, f"min_{name}"), getattr(self, f"max_{name}")
            if low > high:
                raise InputError(f"min_{name} ({low} GeV) is above max_{name} ({high} GeV)")
        if self.particles is not None:
            # A list is what YAML gives.
            object.__setattr__(self, "particles", tuple(self.particles))
            if len(set(self.particles)) != len(self.particles) or not self.particles:
                raise InputError(f"wanted different places of particles, got {self.particles}")

    def __call__(self, p4: Array) -> NDArray[np.bool_]:
        """Which events pass.

        Args:
            p4: momenta of the final state in GeV, in the laboratory, shape (B, n, 4).

        Returns:
            True for those that pass, shape (B,).

        Raises:
            InputError: momenta of another shape, or without one of the places in ``particles``.
        """
        if p4.ndim != 3 or p4.shape[2] != 4:
            raise InputError(f"wanted momenta of shape (B, n, 4), got {p4.shape}")
        if self.particles is not None:
            if not all(0 <= place < p4.shape[1] for place in self.particles):
                raise InputError(f"no particles {self.particles} in a final state of {p4.shape[1]}")
            p4 = p4[:, list(self.particles)]
        passed = self._singles(p4)
        if self._asks_for_pairs and p4.shape[1] > 1:
            rows = np.flatnonzero(passed)
            passed[rows] = self._pairs(p4[rows])
        return passed

    @property
    def _asks_for_pairs(self) -> bool:
        return max(self.min_delta_r, self.min_angle, self.min_pair_mass, self.y_cut) > 0

    def _singles(self, p4: Array) -> NDArray[np.bool_]:
        """Cuts on each particle and on all together."""
        passed: NDArray[np.bool_] = np.asarray(~np.isnan(p4).any((1, 2)))
        if self.min_pt > 0 or self.max_pt < math.inf:
            transverse = pt(p4)
            passed &= ((transverse >= self.min_pt) & (transverse <= self.max_pt)).all(1)
        if self.max_eta < math.inf:
            passed &= (np.abs(eta(p4)) <= self.max_eta).all(1)
        if self.max_rapidity < math.inf:
            passed &= (np.abs(rapidity(p4)) <= self.max_rapidity).all(1)
        if self.min_mass > 0 or self.max_mass < math.inf:
            together = mass(p4.sum(1))
            passed &= (together >= self.min_mass) & (together <= self.max_mass)
        return passed

    def _pairs(self, p4: Array) -> NDArray[np.bool_]:
        """Cuts on each pair."""
        first, second = np.array(list(combinations(range(p4.shape[1]), 2))).T
        passed = np.ones(len(p4), np.bool_)
        if self.min_pair_mass > 0 or self.y_cut > 0:
            squared = mass_squared(p4[:, first] + p4[:, second])  # (B, pairs)
            passed &= (squared >= self.min_pair_mass**2).all(1)
            if self.y_cut > 0:
                passed &= (squared >= self.y_cut * mass_squared(p4.sum(1))[:, None]).all(1)
        if self.min_angle > 0:
            momentum = p4[..., 1:] / np.linalg.norm(p4[..., 1:], axis=2, keepdims=True)
            cosine = (momentum[:, first] * momentum[:, second]).sum(2)
            passed &= (cosine <= math.cos(min(self.min_angle, math.pi))).all(1)
        if self.min_delta_r > 0:
            height, azimuth = eta(p4), phi(p4)
            # Two momenta along the beam, infinity from infinity, are nan apart and do not pass.
            with np.errstate(invalid="ignore"):
                apart = delta_r(
                    height[:, first], azimuth[:, first], height[:, second], azimuth[:, second]
                )
            passed &= (apart >= self.min_delta_r).all(1)
        return passed
