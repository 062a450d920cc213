"""Cuts on final states: what a detector or a measurement sees of them, as plain numbers.

Compiled, with the conventions of `hepgen.kinematics`: its functions on whole arrays take ten times
as long as the momenta of an event take to generate.

Shapes: B events, n particles. Momenta are (E, px, py, pz) in GeV.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hepgen.io.errors import InputError

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
        events = np.ascontiguousarray(p4, np.float64)
        limits = np.array([getattr(self, name) for name in _LIMITS])
        return _passes(events, limits)


_LIMITS = (
    "min_pt",
    "max_pt",
    "max_eta",
    "max_rapidity",
    "min_mass",
    "max_mass",
    "min_pair_mass",
    "y_cut",
    "min_angle",
    "min_delta_r",
)


@njit(cache=True, nogil=True, error_model="numpy")
def _passes(p4: Array, limits: Array) -> NDArray[np.bool_]:
    """Which events pass the limits, in the order of `_LIMITS`, shape (B,)."""
    asks_for_pairs = limits[6:].max() > 0
    passed = np.empty(len(p4), np.bool_)
    for row in range(len(p4)):
        event = p4[row]
        # A sum is nan where one of its terms is, and so are infinities of both signs.
        passed[row] = (
            not math.isnan(event.sum())
            and _each_passes(event, limits)
            and _together_pass(event, limits)
            and (not asks_for_pairs or _pairs_pass(event, limits))
        )
    return passed


@njit(cache=True, nogil=True, error_model="numpy")
def _each_passes(event: Array, limits: Array) -> bool:
    for body in range(len(event)):
        energy, px, py, pz = event[body]
        transverse = px * px + py * py
        if not limits[0] ** 2 <= transverse <= limits[1] ** 2:
            return False
        if limits[2] < math.inf and not abs(pz) <= math.sqrt(transverse) * math.sinh(limits[2]):
            return False
        if limits[3] < math.inf:
            squared = max((energy - abs(pz)) * (energy + abs(pz)), transverse)
            if not abs(pz) <= math.sqrt(squared) * math.sinh(limits[3]):
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _mass_squared(energy: float, px: float, py: float, pz: float) -> float:
    momentum = math.sqrt(px * px + py * py + pz * pz)
    value: float = (energy - momentum) * (energy + momentum)
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _all_squared(event: Array) -> float:
    energy = px = py = pz = 0.0
    for body in range(len(event)):
        energy += event[body, 0]
        px += event[body, 1]
        py += event[body, 2]
        pz += event[body, 3]
    value: float = _mass_squared(energy, px, py, pz)
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _together_pass(event: Array, limits: Array) -> bool:
    if limits[4] == 0 and limits[5] == math.inf:
        return True
    squared = _all_squared(event)
    return bool(limits[4] ** 2 <= squared <= limits[5] ** 2)


@njit(cache=True, nogil=True, error_model="numpy")
def _pairs_pass(event: Array, limits: Array) -> bool:
    least = limits[6] ** 2
    if limits[7] > 0:
        least = max(least, limits[7] * _all_squared(event))
    largest_cosine = math.cos(min(limits[8], math.pi))
    for first in range(len(event)):
        energy, px, py, pz = event[first]
        for second in range(first):
            others, qx, qy, qz = event[second]
            if least > 0:
                together = _mass_squared(energy + others, px + qx, py + qy, pz + qz)
                if not together >= least:
                    return False
            if limits[8] > 0:
                length = math.sqrt((px**2 + py**2 + pz**2) * (qx**2 + qy**2 + qz**2))
                if not px * qx + py * qy + pz * qz <= largest_cosine * length:
                    return False
            if limits[9] > 0 and not _apart(event[first], event[second], limits[9]):
                return False
    return True


@njit(cache=True, nogil=True, error_model="numpy")
def _apart(first: Array, second: Array, least: float) -> bool:
    """Whether delta R is at least so much."""
    product = first[1] * second[1] + first[2] * second[2]
    transverse = (first[1] ** 2 + first[2] ** 2) * (second[1] ** 2 + second[2] ** 2)
    # Most pairs are far enough apart in azimuth, which takes no logarithm to see.
    if least < math.pi and transverse > 0 and product < math.cos(least) * math.sqrt(transverse):
        return True
    around = abs(math.atan2(first[1] * second[2] - first[2] * second[1], product))
    # Two momenta along the beam, infinity from infinity, are nan apart and fail.
    along = _eta(first[1], first[2], first[3]) - _eta(second[1], second[2], second[3])
    return bool(along**2 + around**2 >= least**2)


@njit(cache=True, nogil=True, error_model="numpy")
def _eta(px: float, py: float, pz: float) -> float:
    transverse = math.sqrt(px * px + py * py)
    if transverse == 0:
        return math.copysign(math.inf, pz) if pz != 0 else 0.0
    value: float = math.asinh(pz / transverse)
    return value
