"""Channels, compiled: momenta of points in the cube, and points of momenta.

Shapes: B points, n particles, D = 3n - 4. Momenta are (E, px, py, pz) in GeV.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hepgen.integration.invariants import invariant_forward, invariant_inverse
from hepgen.integration.phase_space import pair_product, to_lab, to_rest

__all__ = ["momenta_of", "points_of"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@njit(cache=True, nogil=True, error_model="numpy")
def momenta_of(
    u: Array, energies: Array, masses: Array, order: Indices, invariants: Array, exchanges: Array
) -> tuple[Array, Array]:
    """Momenta (B, n, 4) and weights dPhi/du (B,) at points of the cube.

    Args:
        u: points, shape (B, D).
        energies: centre-of-mass energies in GeV, shape (B,).
        masses: of the particles in GeV, shape (n,).
        order: places of the particles as they leave, shape (n,).
        invariants: codes of the maps of masses squared, shape (n - 2, 3).
        exchanges: codes of the maps of |t|, shape (n - 1, 3); a first entry of -1 is a decay.
    """
    count = len(masses)
    p4, weights = np.empty((len(u), count, 4)), np.empty(len(u))
    parent, beam, direction = np.empty(4), np.empty(4), np.empty(3)
    rest, child = np.empty(4), np.empty(4)
    frame = np.empty((3, 3))
    for row in range(len(u)):
        parent[:] = 0.0
        parent[0] = energy = energies[row]
        beam[:] = 0.0
        beam[0] = beam[3] = 0.5 * energy
        virtuality = 0.0
        weight = 1.0
        for step in range(count - 1):
            mass = masses[order[step]]
            lighter = masses[order[step + 1]]
            if step < count - 2:
                low, high = _mass_range(masses, order, step, energy)
                squared, jacobian = invariant_forward(invariants[step], u[row, step], low, high)
                weight *= jacobian / (2 * math.pi)
                lighter = math.sqrt(squared)
            momentum = _momentum(energy, mass, lighter)
            place = count - 2 + 2 * step
            azimuth = 2 * math.pi * u[row, place + 1]
            if exchanges[step, 0] < 0:
                _axes(frame)
                short = 2 * (1 - u[row, place])
                weight *= momentum / (4 * math.pi * energy)
            else:
                incoming = (energy - virtuality / energy) / 2
                nearest = _nearest(energy, virtuality, mass, lighter, momentum, incoming)
                span = 4 * incoming * momentum
                transfer, jacobian = invariant_forward(
                    exchanges[step], u[row, place], nearest, nearest + span
                )
                weight *= jacobian / (16 * math.pi * energy * incoming)
                short = 2 * (transfer - nearest) / span if span > 0 else 0.0
                to_rest(parent, energy, beam, rest)
                _frame(rest, frame)
                virtuality = -transfer
            _direction(frame, short, azimuth, direction)
            rest[0] = math.sqrt(momentum**2 + mass**2)
            rest[1:] = momentum * direction
            to_lab(parent, energy, rest, p4[row, order[step]])
            rest[0] = math.sqrt(momentum**2 + lighter**2)
            rest[1:] = -momentum * direction
            to_lab(parent, energy, rest, child)
            beam -= p4[row, order[step]]
            parent[:] = child
            energy = lighter
        p4[row, order[count - 1]] = parent
        weights[row] = weight
    return p4, weights


@njit(cache=True, nogil=True, error_model="numpy")
def points_of(
    p4: Array, masses: Array, order: Indices, invariants: Array, exchanges: Array
) -> tuple[Array, Array]:
    """Points of the cube (B, D) and weights dPhi/du (B,) of momenta; arguments as above."""
    count = len(masses)
    u, weights = np.empty((len(p4), 3 * count - 4)), np.empty(len(p4))
    parent, beam, rest = np.empty(4), np.empty(4), np.empty(4)
    frame = np.empty((3, 3))
    energies = np.empty(count)  # of the system at each step
    for row in range(len(p4)):
        _system_masses(p4[row], masses, order, energies)
        parent[:] = 0.0
        for body in range(count):
            parent += p4[row, body]
        beam[:] = 0.0
        beam[0] = beam[3] = 0.5 * energies[0]
        virtuality = 0.0
        weight = 1.0
        for step in range(count - 1):
            energy, lighter = energies[step], energies[step + 1]
            leaving = p4[row, order[step]]
            mass = masses[order[step]]
            if step < count - 2:
                low, high = _mass_range(masses, order, step, energy)
                squared = min(max(lighter**2, low), high)
                u[row, step], jacobian = invariant_inverse(invariants[step], squared, low, high)
                weight *= jacobian / (2 * math.pi)
            momentum = _momentum(energy, mass, lighter)
            place = count - 2 + 2 * step
            decay = exchanges[step, 0] < 0
            if decay:
                _axes(frame)
            else:
                to_rest(parent, energy, beam, rest)
                _frame(rest, frame)
            to_rest(parent, energy, leaving, rest)
            short, azimuth = _angles(frame, rest)
            u[row, place + 1] = azimuth / (2 * math.pi) % 1.0
            if decay:
                u[row, place] = 1 - short / 2
                weight *= momentum / (4 * math.pi * energy)
            else:
                incoming = (energy - virtuality / energy) / 2
                nearest = _nearest(energy, virtuality, mass, lighter, momentum, incoming)
                span = 4 * incoming * momentum
                transfer = nearest + span * short / 2
                u[row, place], jacobian = invariant_inverse(
                    exchanges[step], transfer, nearest, nearest + span
                )
                weight *= jacobian / (16 * math.pi * energy * incoming)
                virtuality = -transfer
            beam -= leaving
            parent -= leaving
        weights[row] = weight
    return u, weights


@njit(cache=True, nogil=True, error_model="numpy")
def _mass_range(masses: Array, order: Indices, step: int, energy: float) -> tuple[float, float]:
    """Least and largest mass squared of what is left after a step."""
    least = 0.0
    for later in order[step + 1 :]:
        least += masses[later]
    return least**2, max(energy - masses[order[step]], least) ** 2


@njit(cache=True, nogil=True, error_model="numpy")
def _system_masses(p4: Array, masses: Array, order: Indices, energies: Array) -> None:
    """Mass of the system before each step; the last entry is the mass of the last particle."""
    count = len(order)
    squared = masses[order[count - 1]] ** 2
    energies[count - 1] = masses[order[count - 1]]
    for step in range(count - 2, -1, -1):
        body = order[step]
        squared += masses[body] ** 2
        for other in order[step + 1 :]:
            squared += 2 * pair_product(p4[body], p4[other], masses[body], masses[other])
        energies[step] = math.sqrt(squared)


@njit(cache=True, nogil=True, error_model="numpy")
def _momentum(energy: float, mass: float, other: float) -> float:
    """Momentum of the products in the rest frame; 0 where rounding leaves less than threshold."""
    above = (energy - mass - other) * (energy + mass + other)
    square = above * (energy - mass + other) * (energy + mass - other)
    value: float = math.sqrt(max(square, 0.0)) / (2 * energy)
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _nearest(
    energy: float, virtuality: float, mass: float, other: float, momentum: float, incoming: float
) -> float:
    """|t| straight forward, for a beam line of p^2 = virtuality and a massless other beam."""
    line = (energy + virtuality / energy) / 2
    product = line * (energy + (mass - other) * (mass + other) / energy) / 2
    along = incoming * momentum
    if product > 0:
        # product - along without its cancellation
        gap = (virtuality * momentum**2 + (line * mass) ** 2) / (product + along)
    else:
        gap = product - along
    return max(2 * gap - virtuality - mass**2, 0.0)


@njit(cache=True, nogil=True, error_model="numpy")
def _axes(frame: Array) -> None:
    frame[:] = 0.0
    for axis in range(3):
        frame[axis, axis] = 1.0


@njit(cache=True, nogil=True, error_model="numpy")
def _frame(vector: Array, frame: Array) -> None:
    """Axes whose third points along a vector (4,): T. Duff et al., JCGT 6 (2017) 1."""
    length = math.sqrt(vector[1] ** 2 + vector[2] ** 2 + vector[3] ** 2)
    x, y, z = vector[1] / length, vector[2] / length, vector[3] / length
    sign = math.copysign(1.0, z)
    a = -1 / (sign + z)
    b = x * y * a
    frame[0, 0], frame[0, 1], frame[0, 2] = 1 + sign * x * x * a, sign * b, -sign * x
    frame[1, 0], frame[1, 1], frame[1, 2] = b, sign + y * y * a, -y
    frame[2, 0], frame[2, 1], frame[2, 2] = x, y, z


@njit(cache=True, nogil=True, error_model="numpy")
def _direction(frame: Array, short: float, azimuth: float, direction: Array) -> None:
    """Unit vector at 1 - cos = short and an azimuth around the third axis."""
    short = min(max(short, 0.0), 2.0)
    sine = math.sqrt(short * (2 - short))
    first, second = sine * math.cos(azimuth), sine * math.sin(azimuth)
    for axis in range(3):
        direction[axis] = (
            first * frame[0, axis] + second * frame[1, axis] + (1 - short) * frame[2, axis]
        )


@njit(cache=True, nogil=True, error_model="numpy")
def _angles(frame: Array, vector: Array) -> tuple[float, float]:
    """1 - cos and azimuth of a vector (4,): what `_direction` was given."""
    length = math.sqrt(vector[1] ** 2 + vector[2] ** 2 + vector[3] ** 2)
    if length == 0:
        return 1.0, 0.0
    first = second = distance = 0.0
    for axis in range(3):
        part = vector[axis + 1] / length
        first += part * frame[0, axis]
        second += part * frame[1, axis]
        distance += (part - frame[2, axis]) ** 2
    # Half the squared chord, which keeps its digits where the cosine is next to one.
    return min(0.5 * distance, 2.0), math.atan2(second, first)
