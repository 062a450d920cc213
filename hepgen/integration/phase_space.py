r"""Phase space: its volume, two-body decays and boosts.

The measure is that of the Particle Data Group,

.. math:: d\Phi_n = (2\pi)^{4-3n} \, \delta^4\Big(P - \sum_i p_i\Big) \prod_i
   \frac{d^3 p_i}{2 E_i},

so that a cross section is :math:`\int |M|^2 d\Phi_n` over the flux (2s for massless beams), times
`PB_PER_INVERSE_GEV2` in pb. Weights of all maps onto phase space are densities of this measure.

Shapes: B points, n particles. Momenta are (E, px, py, pz) in GeV.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hepgen.kinematics import mass

__all__ = [
    "PB_PER_INVERSE_GEV2",
    "PhaseSpaceMap",
    "boost_along_beam",
    "decay_momentum",
    "kallen",
    "massless_volume",
    "two_body_decay",
]

Array = NDArray[np.float64]

PB_PER_INVERSE_GEV2 = 3.893793721e8
"""(hbar c)^2 in pb GeV^2, CODATA 2018."""


class PhaseSpaceMap(ABC):
    """A map of the unit cube onto the momenta of n particles, seen from their centre of mass.

    Args:
        masses: of the n particles in GeV.

    Attributes:
        masses: the same, as an array.
        dimension: D of the cube.

    Raises:
        ValueError: fewer than two particles, or a mass that is negative or not finite.
    """

    dimension: int

    def __init__(self, masses: Sequence[float]) -> None:
        self.masses = np.array(masses, np.float64)
        if self.masses.ndim != 1 or len(self.masses) < 2:
            raise ValueError(
                f"phase space needs the masses of two particles at least, not {masses}"
            )
        if not np.all((self.masses >= 0) & np.isfinite(self.masses)):
            raise ValueError(f"masses must be finite and not negative, got {list(masses)} GeV")

    @abstractmethod
    def forward(self, u: Array, energy: ArrayLike) -> tuple[Array, Array]:
        """Momenta at points of the unit cube.

        Args:
            u: points, shape (B, D).
            energy: centre-of-mass energy in GeV, a number or shape (B,).

        Returns:
            Momenta in GeV of total (energy, 0, 0, 0), shape (B, n, 4), and the weight
            dPhi / du in GeV^(2n-4), shape (B,).

        Raises:
            ValueError: points of another shape, or an energy below the sum of masses.
        """

    @abstractmethod
    def inverse(self, p4: Array) -> tuple[Array, Array]:
        """Points of the unit cube that momenta come from.

        Args:
            p4: momenta in GeV, seen from their centre of mass, shape (B, n, 4).

        Returns:
            Points (B, D) and the weight that `forward` gives there, shape (B,).

        Raises:
            ValueError: momenta of another shape.
        """

    def density(self, p4: Array) -> Array:
        """Density du / dPhi at which evenly spread points of the cube reach momenta.

        Args:
            p4: momenta in GeV, seen from their centre of mass, shape (B, n, 4).

        Returns:
            Densities in GeV^(4-2n), shape (B,); their integral over phase space is one. Infinite
            where a propagator that the map follows is.

        Raises:
            ValueError: momenta of another shape.
        """
        with np.errstate(divide="ignore"):
            return 1 / self.inverse(p4)[1]

    def checked(self, u: Array, energy: ArrayLike) -> tuple[Array, Array]:
        """Points (B, D) and energies (B,) as contiguous float64; errors as in `forward`."""
        u = np.ascontiguousarray(u, np.float64)
        if u.ndim != 2 or u.shape[1] != self.dimension:
            raise ValueError(
                f"wanted points of shape (B, {self.dimension}) for {len(self.masses)} particles, "
                f"got {u.shape}"
            )
        energies = np.empty(len(u))
        energies[:] = energy
        threshold = float(self.masses.sum())
        if len(u) and not float(energies.min()) > threshold:
            raise ValueError(
                f"an energy of {float(energies.min()):.6g} GeV is not above the sum of masses, "
                f"{threshold:.6g} GeV"
            )
        return u, energies

    def checked_momenta(self, p4: Array) -> Array:
        """Momenta (B, n, 4) as contiguous float64; errors as in `inverse`."""
        p4 = np.ascontiguousarray(p4, np.float64)
        if p4.shape[1:] != (len(self.masses), 4):
            raise ValueError(f"wanted momenta of shape (B, {len(self.masses)}, 4), got {p4.shape}")
        return p4


def kallen(a: ArrayLike, b: ArrayLike, c: ArrayLike) -> Array:
    r"""Källén function :math:`\lambda(a, b, c) = a^2 + b^2 + c^2 - 2ab - 2bc - 2ca`.

    Evaluated as :math:`(a - b - c)^2 - 4bc`, which keeps its digits where b and c are small.

    Args:
        a: mass squared of the decaying system in GeV^2, of any shape.
        b: mass squared of one product in GeV^2.
        c: mass squared of the other in GeV^2.

    Returns:
        Values in GeV^4, of the broadcast shape; negative below threshold.
    """
    a, b, c = (np.asarray(one, np.float64) for one in (a, b, c))
    result: Array = (a - b - c) ** 2 - 4 * b * c
    return result


def decay_momentum(energy: ArrayLike, first: ArrayLike, second: ArrayLike) -> Array:
    r"""Momentum of two particles in the rest frame of their sum.

    :math:`\sqrt{\lambda(M^2, m_1^2, m_2^2)} / 2M`, evaluated as a product of the four linear
    factors, which keeps its digits at threshold.

    Args:
        energy: mass M of the system in GeV, of any shape.
        first: mass of one product in GeV.
        second: mass of the other in GeV.

    Returns:
        Momenta in GeV, of the broadcast shape; nan below threshold.
    """
    energy, first, second = (np.asarray(one, np.float64) for one in (energy, first, second))
    above = (energy - first - second) * (energy + first + second)
    with np.errstate(invalid="ignore"):
        result: Array = (
            np.sqrt(above * (energy - first + second) * (energy + first - second)) / 2 / energy
        )
    return result


def massless_volume(count: int, energy: ArrayLike) -> Array:
    r"""Volume of massless phase space.

    :math:`(2\pi)^{4-3n} (\pi/2)^{n-1} s^{n-2} / (n-1)! (n-2)!`.

    R. Kleiss, W. J. Stirling and S. D. Ellis, Comput. Phys. Commun. 40 (1986) 359, eq. (2.14).

    Args:
        count: number n of particles.
        energy: centre-of-mass energy in GeV, of any shape.

    Returns:
        Volumes in GeV^(2n-4), of the shape of ``energy``.

    Raises:
        ValueError: fewer than two particles.
    """
    if count < 2:
        raise ValueError(f"phase space needs two particles at least, not {count}")
    constant = (2 * math.pi) ** (4 - 3 * count) * (math.pi / 2) ** (count - 1)
    constant /= math.factorial(count - 1) * math.factorial(count - 2)
    result: Array = constant * np.asarray(energy, np.float64) ** (2 * count - 4)
    return result


def two_body_decay(
    parent: Array, masses: tuple[float, float], cosine: Array, azimuth: Array
) -> tuple[Array, Array]:
    r"""Decay four-momenta into two, at given angles in their rest frame.

    The rest frame is reached by a boost without rotation, so its axes are those of the lab.

    Args:
        parent: decaying four-momenta in GeV, shape (B, 4).
        masses: of the two products in GeV.
        cosine: of the polar angle of the first product, shape (B,).
        azimuth: of the first product in radians, shape (B,).

    Returns:
        Momenta of the two in GeV, shape (B, 2, 4), and the density of phase space
        :math:`d\Phi_2 / d\cos\theta\, d\phi = |p| / 16 \pi^2 M`, shape (B,).

    Raises:
        ValueError: a parent is lighter than its products.
    """
    parent = np.ascontiguousarray(parent, np.float64)
    energy = mass(parent)
    if len(energy) and float(energy.min()) < sum(masses):
        raise ValueError(
            f"a system of mass {float(energy.min()):.6g} GeV cannot decay into masses "
            f"{masses[0]:.6g} and {masses[1]:.6g} GeV"
        )
    momentum = decay_momentum(energy, *masses)
    p4 = np.empty((len(parent), 2, 4))
    _decay(parent, energy, momentum, cosine, azimuth, np.asarray(masses, np.float64), p4)
    density: Array = momentum / (16 * math.pi**2 * energy)
    return p4, density


def boost_along_beam(p4: Array, beta: Array) -> Array:
    """Boost events along z: from the partons' frame to the laboratory.

    Args:
        p4: four-momenta of events in GeV, shape (B, n, 4).
        beta: velocity of each event's frame along z, shape (B,):
            (x1 - x2) / (x1 + x2) for partons that carry these fractions of equal beams.

    Returns:
        Boosted four-momenta in GeV, shape (B, n, 4).

    Raises:
        ValueError: a velocity is not below that of light.
    """
    fastest = float(np.abs(beta).max(initial=0.0))
    if not fastest < 1:
        raise ValueError(f"wanted velocities below 1 (that of light), got up to {fastest}")
    boosted = np.array(p4, np.float64)
    _boost_along_beam(boosted, np.ascontiguousarray(beta, np.float64))
    return boosted


@njit(cache=True, nogil=True, error_model="numpy")
def to_lab(parent: Array, energy: float, rest: Array, out: Array) -> None:
    """Boost one vector (4,) from the rest frame of a parent of mass ``energy`` to the lab."""
    along = parent[1] * rest[1] + parent[2] * rest[2] + parent[3] * rest[3]
    share = (along / (parent[0] + energy) + rest[0]) / energy
    out[0] = (parent[0] * rest[0] + along) / energy
    for axis in range(1, 4):
        out[axis] = rest[axis] + parent[axis] * share


@njit(cache=True, nogil=True, error_model="numpy")
def to_rest(parent: Array, energy: float, lab: Array, out: Array) -> None:
    """Boost one vector (4,) from the lab to the rest frame of a parent of mass ``energy``."""
    along = parent[1] * lab[1] + parent[2] * lab[2] + parent[3] * lab[3]
    share = (along / (parent[0] + energy) - lab[0]) / energy
    out[0] = (parent[0] * lab[0] - along) / energy
    for axis in range(1, 4):
        out[axis] = lab[axis] + parent[axis] * share


@njit(cache=True, nogil=True, error_model="numpy")
def pair_product(first: Array, second: Array, mass: float, other: float) -> float:
    """Product of two vectors (4,) of given masses, accurate also where they are collinear."""
    along = first[1] * second[1] + first[2] * second[2] + first[3] * second[3]
    energies = first[0] * second[0]
    if along <= 0:
        apart: float = energies - along
        return apart
    # (E E')^2 - (p p')^2 over the sum: all that is left after the cancellation is positive.
    cross = (
        (first[2] * second[3] - first[3] * second[2]) ** 2
        + (first[3] * second[1] - first[1] * second[3]) ** 2
        + (first[1] * second[2] - first[2] * second[1]) ** 2
    )
    squares = mass**2 * (second[0] ** 2 - other**2) + other**2 * first[0] ** 2
    product: float = (cross + squares) / (energies + along)
    return product


@njit(cache=True, nogil=True, error_model="numpy")
def _decay(
    parent: Array,
    energy: Array,
    momentum: Array,
    cosine: Array,
    azimuth: Array,
    masses: Array,
    p4: Array,
) -> None:
    rest = np.empty(4)
    for row in range(len(parent)):
        sine = math.sqrt(max(0.0, (1 - cosine[row]) * (1 + cosine[row])))
        sign = momentum[row]
        for body in range(2):
            rest[0] = math.sqrt(momentum[row] ** 2 + masses[body] ** 2)
            rest[1] = sign * sine * math.cos(azimuth[row])
            rest[2] = sign * sine * math.sin(azimuth[row])
            rest[3] = sign * cosine[row]
            to_lab(parent[row], energy[row], rest, p4[row, body])
            sign = -sign


@njit(cache=True, nogil=True, error_model="numpy")
def _boost_along_beam(p4: Array, beta: Array) -> None:
    for row in range(len(p4)):
        gamma = 1 / math.sqrt((1 - beta[row]) * (1 + beta[row]))
        for body in range(p4.shape[1]):
            energy, pz = p4[row, body, 0], p4[row, body, 3]
            p4[row, body, 0] = gamma * (energy + beta[row] * pz)
            p4[row, body, 3] = gamma * (pz + beta[row] * energy)
