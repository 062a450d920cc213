r"""RAMBO: momenta spread evenly over phase space, and the same on a diet of 3n - 4 numbers.

R. Kleiss, W. J. Stirling and S. D. Ellis, "A new Monte Carlo treatment of multiparticle phase space
at high energies", Comput. Phys. Commun. 40 (1986) 359; S. Plätzer, "RAMBO on diet",
arXiv:1308.2922. Massless momenta are flat in phase space: the weight is its volume. Massive momenta
are massless ones, scaled until their energies add up (section 4 of the first), with a weight that
stays bounded; the shift of masses that the second proposes leaves weights without a bound.

Shapes: B points, n particles, D numbers a point. Momenta are (E, px, py, pz) in GeV.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.phase_space import (
    PhaseSpaceMap,
    massless_volume,
    pair_product,
    to_lab,
    to_rest,
)

__all__ = ["Rambo", "RamboOnDiet"]

Array = NDArray[np.float64]


class RamboOnDiet(PhaseSpaceMap):
    r"""The unit cube of 3n - 4 dimensions one to one onto phase space, flat where massless.

    The system decays into one particle and the rest, and so on. For massless particles the density
    of :math:`v = M_i^2 / M_{i-1}^2` is :math:`k (k+1) v^{k-1} (1-v)` with k + 1 particles left
    after the step, so that u is :math:`(k+1) v^k - k v^{k+1}`; directions are even in the rest
    frame of what decays. The first n - 2 numbers give the masses, then come (1 + cos)/2 and
    azimuth / 2 pi of each step.

    Args:
        masses: of the n particles in GeV.
    """

    def __init__(self, masses: Sequence[float]) -> None:
        super().__init__(masses)
        self.dimension = 3 * len(self.masses) - 4

    def forward(self, u: Array, energy: ArrayLike) -> tuple[Array, Array]:
        """Momenta at points of the unit cube; see `PhaseSpaceMap.forward`."""
        u, energies = self.checked(u, energy)
        p4 = np.empty((len(u), len(self.masses), 4))
        _decay_in_turn(u, energies, p4)
        weight = massless_volume(len(self.masses), energies)
        if self.masses.any():
            weight *= _give_masses(p4, energies, self.masses)
        return p4, weight

    def inverse(self, p4: Array) -> tuple[Array, Array]:
        """Points of the unit cube of momenta; see `PhaseSpaceMap.inverse`."""
        p4 = self.checked_momenta(p4)
        energies = p4[:, :, 0].sum(1)
        weight = massless_volume(len(self.masses), energies)
        if self.masses.any():
            p4 = p4.copy()
            weight *= _take_masses(p4, energies, self.masses)
        return _recluster(p4), weight


class Rambo(PhaseSpaceMap):
    """The original: four random numbers a particle, no way back.

    Each particle takes (1 + cos)/2, azimuth / 2 pi and two numbers whose product gives its energy.

    Args:
        masses: of the n particles in GeV.
    """

    def __init__(self, masses: Sequence[float]) -> None:
        super().__init__(masses)
        self.dimension = 4 * len(self.masses)

    def forward(self, u: Array, energy: ArrayLike) -> tuple[Array, Array]:
        """Momenta at points of the unit cube; see `PhaseSpaceMap.forward`."""
        u, energies = self.checked(u, energy)
        p4 = np.empty((len(u), len(self.masses), 4))
        _conform(u, energies, p4)
        weight = massless_volume(len(self.masses), energies)
        if self.masses.any():
            weight *= _give_masses(p4, energies, self.masses)
        return p4, weight

    def inverse(self, p4: Array) -> tuple[Array, Array]:
        """There is none.

        Raises:
            TypeError: always.
        """
        raise TypeError("4n numbers make 3n - 4: Rambo has no inverse; RamboOnDiet has one")

    def density(self, p4: Array) -> Array:
        """One over the weight, which needs no inverse; see `PhaseSpaceMap.density`."""
        p4 = self.checked_momenta(p4)
        energies = p4[:, :, 0].sum(1)
        weight = massless_volume(len(self.masses), energies)
        if self.masses.any():
            weight *= _take_masses(p4.copy(), energies, self.masses)
        return 1 / weight


@njit(cache=True, nogil=True, error_model="numpy")
def _mass_ratio(u: float, k: int) -> float:
    """The v in (0, 1) with (k + 1) v^k - k v^(k+1) = u."""
    if k == 1:
        return u / (1 + math.sqrt(1 - u))  # 1 - sqrt(1 - u) without its cancellation
    low, high = 0.0, 1.0
    # Exact towards u = 1 and u = 0; a slope of zero at both ends makes a guess matter.
    gap = math.sqrt(2 * (1 - u) / (k * (k + 1)))
    v = 1 - gap if gap < 0.3 / k else (u / (k + 1)) ** (1 / k)
    for _ in range(100):
        power = v ** (k - 1)
        off = power * v * (k + 1 - k * v) - u
        if off > 0:
            high = v
        else:
            low = v
        slope = k * (k + 1) * power * (1 - v)
        better = v - off / slope if slope > 0 else 0.5 * (low + high)
        if not low <= better <= high:
            better = 0.5 * (low + high)
        if abs(better - v) <= 2e-16 * v:
            return better
        v = better
    return v


@njit(cache=True, nogil=True, error_model="numpy")
def _decay_in_turn(u: Array, energies: Array, p4: Array) -> None:
    count = p4.shape[1]
    parent, rest, child = np.empty(4), np.empty(4), np.empty(4)
    for row in range(len(u)):
        parent[:] = 0.0
        parent[0] = mass = energies[row]
        for step in range(count - 1):
            ratio = 0.0
            if step < count - 2:
                # At 0 the rest would be massless and have no rest frame to decay in.
                ratio = max(_mass_ratio(u[row, step], count - 2 - step), 1e-20)
            momentum = 0.5 * mass * (1 - ratio)
            place = count - 2 + 2 * step
            cosine = 2 * u[row, place] - 1
            transverse = 2 * momentum * math.sqrt(u[row, place] * (1 - u[row, place]))
            azimuth = 2 * math.pi * u[row, place + 1]
            rest[0] = momentum
            rest[1] = transverse * math.cos(azimuth)
            rest[2] = transverse * math.sin(azimuth)
            rest[3] = momentum * cosine
            to_lab(parent, mass, rest, p4[row, step])
            rest[0] = 0.5 * mass * (1 + ratio)
            for axis in range(1, 4):
                rest[axis] = -rest[axis]
            to_lab(parent, mass, rest, child)
            parent[:] = child
            mass *= math.sqrt(ratio)
        p4[row, count - 1] = parent


@njit(cache=True, nogil=True, error_model="numpy")
def _recluster(p4: Array) -> Array:
    """What `_decay_in_turn` was given."""
    count = p4.shape[1]
    u = np.empty((len(p4), 3 * count - 4))
    parent, rest = np.empty(4), np.empty(4)
    for row in range(len(p4)):
        parent[:] = p4[row, count - 1]
        below = 0.0  # mass squared of what comes after the step
        for step in range(count - 2, -1, -1):
            squared = below
            for later in range(step + 1, count):
                squared += 2 * pair_product(p4[row, step], p4[row, later], 0.0, 0.0)
            if step < count - 2:
                k = count - 2 - step
                v = below / squared
                u[row, step] = v**k * (k + 1 - k * v)
            parent += p4[row, step]
            to_rest(parent, math.sqrt(squared), p4[row, step], rest)
            place = count - 2 + 2 * step
            momentum = math.sqrt(rest[1] ** 2 + rest[2] ** 2 + rest[3] ** 2)
            cosine = rest[3] / momentum if momentum > 0 else 0.0
            u[row, place] = min(1.0, max(0.0, 0.5 * (1 + cosine)))
            u[row, place + 1] = math.atan2(rest[2], rest[1]) / (2 * math.pi) % 1.0
            below = squared
    return u


@njit(cache=True, nogil=True, error_model="numpy")
def _conform(u: Array, energies: Array, p4: Array) -> None:
    """Isotropic massless momenta, boosted and scaled to rest and energy."""
    count = p4.shape[1]
    total = np.empty(4)
    for row in range(len(u)):
        total[:] = 0.0
        for body in range(count):
            # A uniform number may be 0; the smallest one that is drawn otherwise is 2^-53.
            product = max(u[row, 4 * body + 2], 1e-17) * max(u[row, 4 * body + 3], 1e-17)
            energy = -math.log(product)
            share = u[row, 4 * body]
            transverse = 2 * energy * math.sqrt(share * (1 - share))
            azimuth = 2 * math.pi * u[row, 4 * body + 1]
            p4[row, body, 0] = energy
            p4[row, body, 1] = transverse * math.cos(azimuth)
            p4[row, body, 2] = transverse * math.sin(azimuth)
            p4[row, body, 3] = energy * (2 * share - 1)
            total += p4[row, body]
        squared = 0.0
        for body in range(count):
            for other in range(body):
                squared += 2 * pair_product(p4[row, body], p4[row, other], 0.0, 0.0)
        mass = math.sqrt(squared)
        scale = energies[row] / mass
        for body in range(count):
            to_rest(total, mass, p4[row, body].copy(), p4[row, body])
            for axis in range(1, 4):
                p4[row, body, axis] *= scale
            p4[row, body, 0] = math.sqrt(
                p4[row, body, 1] ** 2 + p4[row, body, 2] ** 2 + p4[row, body, 3] ** 2
            )


@njit(cache=True, nogil=True, error_model="numpy")
def _massive_weight(p4: Array, energy: float) -> float:
    """Phase space of momenta over that of the massless ones that they were scaled from."""
    total, product, curvature = 0.0, 1.0, 0.0
    for body in range(len(p4)):
        squared = p4[body, 1] ** 2 + p4[body, 2] ** 2 + p4[body, 3] ** 2
        momentum = math.sqrt(squared)
        total += momentum
        if p4[body, 0] == 0:  # massless and soft without end: p/E is one, p^2/E nothing
            continue
        product *= momentum / p4[body, 0]
        curvature += squared / p4[body, 0]
    share: float = (total / energy) ** (2 * len(p4) - 3) * product * energy / curvature
    return share


@njit(cache=True, nogil=True, error_model="numpy")
def _give_masses(p4: Array, energies: Array, masses: Array) -> Array:
    """Scale momenta in place until the energies with masses add up; give the factor of weights."""
    factors = np.empty(len(p4))
    for row in range(len(p4)):
        # The sum of energies is convex in the scale: from above, Newton comes down to the root.
        scale = 1.0
        for _ in range(100):
            total, slope = -energies[row], 0.0
            for body in range(len(masses)):
                energy = math.sqrt(masses[body] ** 2 + (scale * p4[row, body, 0]) ** 2)
                total += energy
                if energy > 0:
                    slope += scale * p4[row, body, 0] ** 2 / energy
            step = total / slope
            scale -= step
            if abs(step) <= 4e-16 * scale:
                break
        for body in range(len(masses)):
            momentum = scale * p4[row, body, 0]
            p4[row, body, 0] = math.sqrt(masses[body] ** 2 + momentum**2)
            for axis in range(1, 4):
                p4[row, body, axis] *= scale
        factors[row] = _massive_weight(p4[row], energies[row])
    return factors


@njit(cache=True, nogil=True, error_model="numpy")
def _take_masses(p4: Array, energies: Array, masses: Array) -> Array:
    """Back to massless momenta of the same total energy, in place; the factors of the way there."""
    factors = np.empty(len(p4))
    for row in range(len(p4)):
        factors[row] = _massive_weight(p4[row], energies[row])
        total = 0.0
        for body in range(len(masses)):
            squared = p4[row, body, 1] ** 2 + p4[row, body, 2] ** 2 + p4[row, body, 3] ** 2
            p4[row, body, 0] = math.sqrt(squared)
            total += p4[row, body, 0]
        for body in range(len(masses)):
            for axis in range(4):
                p4[row, body, axis] *= energies[row] / total
    return factors
