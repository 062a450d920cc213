r"""Squared matrix elements at lowest order, averaged over initial and summed over final states.

None holds the 1/n! of identical particles of the final state: whoever integrates over all of phase
space divides by it. Quarks and leptons but the top are massless. Processes of two particles to two
take :math:`s = (p_1 + p_2)^2` and :math:`t = (p_1 - p_3)^2`, and give
:math:`d\sigma/dt = |M|^2 / 16\pi s^2` for massless beams.

Formulas: R. K. Ellis, W. J. Stirling and B. R. Webber, "QCD and collider physics" (1996), and as
named. Shapes: arguments broadcast to (B,); m gluons; momenta are (E, px, py, pz) in GeV.
"""

from __future__ import annotations

import math
from typing import Any

import numba
import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "electrons_to_muons",
    "electrons_to_quarks_and_gluon",
    "gluons_to_gluons",
    "gluons_to_tops",
    "many_gluons",
    "massless_partons",
    "quarks_to_tops",
]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

_vectorize: Any = numba.vectorize  # numba gives it no types


GLUON = 21
"""PDG identifier of the gluon."""


def electrons_to_muons(s: ArrayLike, t: ArrayLike, alpha: ArrayLike) -> Array:
    r"""Electron and positron by a photon to a pair of muons.

    :math:`2 e^4 (t^2 + u^2) / s^2`; with the Z boson see `hepgen.integration.electroweak`.

    Args:
        s: energy squared in GeV^2.
        t: momentum transfer from the electron to the negative muon in GeV^2, in -s < t < 0.
        alpha: electromagnetic coupling.

    Returns:
        Averaged squares without a unit, shape (B,).
    """
    result: Array = _electrons_to_muons(s, t, alpha)
    return result


def quarks_to_tops(s: ArrayLike, t: ArrayLike, mass: ArrayLike, alpha_s: ArrayLike) -> Array:
    r"""Quark and antiquark to a pair of tops.

    :math:`\frac49 g^4 \frac{(m^2-t)^2 + (m^2-u)^2 + 2m^2 s}{s^2}`;
    B. L. Combridge, Nucl. Phys. B151 (1979) 429.

    Args:
        s: energy squared in GeV^2, above 4 m^2.
        t: momentum transfer from the quark to the top in GeV^2.
        mass: of the top in GeV.
        alpha_s: strong coupling.

    Returns:
        Averaged squares without a unit, shape (B,).
    """
    result: Array = _quarks_to_tops(s, t, mass, alpha_s)
    return result


def gluons_to_tops(s: ArrayLike, t: ArrayLike, mass: ArrayLike, alpha_s: ArrayLike) -> Array:
    r"""Two gluons to a pair of tops.

    :math:`g^4 \big(\frac1{6\tau_1\tau_2} - \frac38\big)
    \big(\tau_1^2 + \tau_2^2 + \rho - \frac{\rho^2}{4\tau_1\tau_2}\big)`
    with :math:`\tau_1 = (m^2-t)/s`, :math:`\tau_2 = (m^2-u)/s` and :math:`\rho = 4m^2/s`.

    B. L. Combridge, Nucl. Phys. B151 (1979) 429; P. Nason, S. Dawson and R. K. Ellis, Nucl. Phys.
    B303 (1988) 607.

    Args:
        s: energy squared in GeV^2, above 4 m^2.
        t: momentum transfer from a gluon to the top in GeV^2.
        mass: of the top in GeV.
        alpha_s: strong coupling.

    Returns:
        Averaged squares without a unit, shape (B,).
    """
    result: Array = _gluons_to_tops(s, t, mass, alpha_s)
    return result


def gluons_to_gluons(s: ArrayLike, t: ArrayLike, alpha_s: ArrayLike) -> Array:
    r"""Two gluons to two gluons.

    :math:`\frac92 g^4 \big(3 - \frac{tu}{s^2} - \frac{su}{t^2} - \frac{st}{u^2}\big)`.

    Args:
        s: energy squared in GeV^2.
        t: momentum transfer in GeV^2, in -s < t < 0.
        alpha_s: strong coupling.

    Returns:
        Averaged squares without a unit and without the 1/2 of identical gluons, shape (B,).
    """
    result: Array = _gluons_to_gluons(s, t, alpha_s)
    return result


def massless_partons(
    incoming: tuple[int, int],
    outgoing: tuple[int, int],
    s: ArrayLike,
    t: ArrayLike,
    alpha_s: ArrayLike,
) -> Array:
    r"""Two massless partons to two, all of QCD: Ellis, Stirling and Webber, table 7.1.

    Args:
        incoming: PDG identifiers of two quarks, antiquarks or gluons (21).
        outgoing: those of the final state. Its order tells which of the two t leads to.
        s: energy squared in GeV^2.
        t: (p1 - p3)^2 in GeV^2, from the first incoming to the first outgoing, in -s < t < 0.
        alpha_s: strong coupling.

    Returns:
        Averaged squares without a unit and without the 1/2 of identical partons, shape (B,).

    Raises:
        ValueError: not partons, or nothing at this order leads from one pair to the other.
    """
    process, crossed = _parton_process(incoming, outgoing)
    s, t = np.asarray(s, np.float64), np.asarray(t, np.float64)
    result: Array = _massless_partons(process, s, -s - t if crossed else t, alpha_s)
    return result


def electrons_to_quarks_and_gluon(
    beams: Array, p4: Array, charge: float, alpha: float, alpha_s: float
) -> Array:
    r"""Electron and positron by a photon to quark, antiquark and gluon.

    .. math:: 8 e^4 g^2 Q^2 \frac{(p_1 k_1)^2 + (p_1 k_2)^2 + (p_2 k_1)^2 + (p_2 k_2)^2}
       {(p_1 p_2)(k_1 k_3)(k_2 k_3)}

    with N_c C_F = 4 in the factor 8. J. Ellis, M. K. Gaillard and G. G. Ross, Nucl. Phys. B111
    (1976) 253; integrated over all directions it is
    :math:`\frac{1}{\sigma_0} \frac{d\sigma}{dx_1 dx_2} = \frac{C_F \alpha_s}{2\pi}
    \frac{x_1^2 + x_2^2}{(1-x_1)(1-x_2)}`.

    Args:
        beams: electron and positron in GeV, shape (2, 4) for all points or (B, 2, 4).
        p4: quark, antiquark and gluon in GeV, shape (B, 3, 4).
        charge: Q of the quark.
        alpha: electromagnetic coupling.
        alpha_s: strong coupling.

    Returns:
        Averaged squares in GeV^-2, shape (B,).

    Raises:
        ValueError: not two beams and three momenta.
    """
    p4 = _momenta(p4, "final state")
    if p4.shape[1] != 3:
        raise ValueError(f"wanted momenta of shape (B, 3, 4), got {p4.shape}")
    beams = _beams(beams, len(p4))
    factor = 8 * (4 * math.pi * alpha) ** 2 * (4 * math.pi * alpha_s) * charge**2
    values: Array = factor * _radiation(beams, p4)
    return values


def many_gluons(beams: Array, p4: Array, alpha_s: ArrayLike) -> Array:
    r"""Two gluons to m - 2 gluons.

    From the amplitudes of S. J. Parke and T. R. Taylor, Phys. Rev. Lett. 56 (1986) 2459:

    .. math:: \frac{g^{2m-4} N^{m-2} (N^2-1)}{4 (N^2-1)^2} \sum_{i<j} s_{ij}^4
       \sum_{P} \frac{1}{s_{12} s_{23} \cdots s_{m1}}

    over the (m-1)! orders P that differ by more than a turn, :math:`s_{ij} = 2 p_i p_j`. Exact at
    tree level for two and three gluons in the final state. From four on only what is leading in
    colour, of amplitudes that violate helicity maximally: the rest is left out, and so it is
    smaller than the full result. The orders are summed by the recursion of M. Held and R. M. Karp
    for round trips, 48 products for three gluons in the final state and 480 for five.

    Args:
        beams: the two incoming gluons in GeV, shape (2, 4) for all points or (B, 2, 4).
        p4: outgoing gluons in GeV, shape (B, m - 2, 4).
        alpha_s: strong coupling, a number or shape (B,).

    Returns:
        Averaged squares in GeV^(8-2m) without the 1/(m-2)! of identical gluons, shape (B,).

    Raises:
        ValueError: momenta of another shape, or not two to six gluons in the final state.
    """
    p4 = _momenta(p4, "final state")
    if not 2 <= p4.shape[1] <= 6:
        raise ValueError(f"wanted 2 to 6 outgoing gluons, got {p4.shape[1]}")
    beams = _beams(beams, len(p4))
    count = p4.shape[1]
    coupling = 4 * math.pi * np.asarray(alpha_s, np.float64)
    # Both kinds of maximal violation are there: i and j are the two of one helicity, or of the
    # other. For four gluons these coincide, which the sum over i < j counts right by itself.
    colour = 3**count * 8 * (1.0 if count == 2 else 2.0) / (4 * 64)
    values: Array = coupling**count * colour * _parke_taylor(beams, p4)
    return values


def _beams(beams: Any, events: int) -> Array:
    """Beams (B, 2, 4), or (1, 2, 4) where all events have the same."""
    array = _momenta(beams, "beams")
    if len(array) not in (1, events):
        raise ValueError(f"got beams of {len(array)} events and final states of {events}")
    return array


def _momenta(p4: Any, what: str) -> Array:
    """Contiguous float64, with the axes checked."""
    array = np.ascontiguousarray(p4, np.float64)
    if array.ndim == 2:
        array = array[None]
    if array.ndim != 3 or array.shape[2] != 4 or (what == "beams" and array.shape[1] != 2):
        wanted = "(B, 2, 4)" if what == "beams" else "(B, n, 4)"
        raise ValueError(f"wanted momenta of the {what} of shape {wanted}, got {np.shape(p4)}")
    return array


# The rows of the table, in the order in which `_massless_partons` knows them.
_OTHER, _SAME, _ANNIHILATE, _ANTI, _TO_GLUONS, _TO_QUARKS, _COMPTON, _GLUONS = range(8)


def _parton_process(incoming: tuple[int, int], outgoing: tuple[int, int]) -> tuple[int, bool]:
    """The row of the table, and whether t and u change places in it."""
    for parton in (*incoming, *outgoing):
        if parton != GLUON and not 1 <= abs(parton) <= 5:
            raise ValueError(f"no massless parton of PDG identifier {parton}; there are +-1-5, 21")
    (first, second), (third, _) = incoming, outgoing
    # The first incoming parton, where it comes out again, is third for t and fourth for u.
    crossed = first != third
    gluons = (incoming.count(GLUON), outgoing.count(GLUON))
    pairs = (first == -second, outgoing[0] == -outgoing[1])
    if gluons == (2, 2):
        return _GLUONS, False
    if gluons == (0, 2) and pairs[0]:
        return _TO_GLUONS, False
    if gluons == (2, 0) and pairs[1]:
        return _TO_QUARKS, False
    if sorted(incoming) == sorted(outgoing):
        if gluons == (1, 1):
            return _COMPTON, crossed
        if pairs[0]:
            return _ANTI, crossed
        return (_SAME, False) if first == second else (_OTHER, crossed)
    if gluons == (0, 0) and pairs == (True, True):
        return _ANNIHILATE, False
    raise ValueError(f"partons {incoming} do not scatter into {outgoing} at lowest order")


@_vectorize(cache=True)
def _massless_partons(process: int, s: float, t: float, alpha_s: float) -> float:
    u = -s - t
    ss, tt, uu = s * s, t * t, u * u
    value = 0.0
    if process == _OTHER:
        value = 4 / 9 * (ss + uu) / tt
    elif process == _SAME:
        value = 4 / 9 * ((ss + uu) / tt + (ss + tt) / uu) - 8 / 27 * ss / (t * u)
    elif process == _ANNIHILATE:
        value = 4 / 9 * (tt + uu) / ss
    elif process == _ANTI:
        value = 4 / 9 * ((ss + uu) / tt + (tt + uu) / ss) - 8 / 27 * uu / (s * t)
    elif process == _TO_GLUONS:
        value = 32 / 27 * (tt + uu) / (t * u) - 8 / 3 * (tt + uu) / ss
    elif process == _TO_QUARKS:
        value = (tt + uu) / (6 * t * u) - 3 / 8 * (tt + uu) / ss
    elif process == _COMPTON:
        value = (ss + uu) / tt - 4 / 9 * (ss + uu) / (s * u)
    else:
        value = 4.5 * (3 - t * u / ss - s * u / tt - s * t / uu)
    return value * (4 * math.pi * alpha_s) ** 2


@_vectorize(cache=True)
def _electrons_to_muons(s: float, t: float, alpha: float) -> float:
    return 2 * (4 * math.pi * alpha) ** 2 * (t**2 + (s + t) ** 2) / s**2


@_vectorize(cache=True)
def _quarks_to_tops(s: float, t: float, mass: float, alpha_s: float) -> float:
    squared = mass * mass
    u = 2 * squared - s - t
    coupling = 4 * math.pi * alpha_s
    kinematic = ((squared - t) ** 2 + (squared - u) ** 2 + 2 * squared * s) / s**2
    return 4 / 9 * coupling**2 * kinematic


@_vectorize(cache=True)
def _gluons_to_tops(s: float, t: float, mass: float, alpha_s: float) -> float:
    first = (mass * mass - t) / s
    second = 1 - first
    rho = 4 * mass * mass / s
    coupling = 4 * math.pi * alpha_s
    colour = 1 / (6 * first * second) - 0.375
    kinematic = first**2 + second**2 + rho - rho**2 / (4 * first * second)
    value: float = coupling**2 * colour * kinematic
    return value


@_vectorize(cache=True)
def _gluons_to_gluons(s: float, t: float, alpha_s: float) -> float:
    u = -s - t
    coupling = 4 * math.pi * alpha_s
    value: float = 4.5 * coupling**2 * (3 - t * u / s**2 - s * u / t**2 - s * t / u**2)
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _dot(a: Array, b: Array) -> float:
    value: float = a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3]
    return value


@njit(cache=True, nogil=True, error_model="numpy")
def _radiation(beams: Array, p4: Array) -> Array:
    values = np.empty(len(p4))
    for row in range(len(p4)):
        pair = beams[row if len(beams) > 1 else 0]
        above = 0.0
        for beam in range(2):
            for quark in range(2):
                above += _dot(pair[beam], p4[row, quark]) ** 2
        below = _dot(pair[0], pair[1])
        below *= _dot(p4[row, 0], p4[row, 2]) * _dot(p4[row, 1], p4[row, 2])
        values[row] = above / below
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _trips(count: int) -> Indices:
    """Steps of the recursion: path that grows, path that it grows from, link between their ends.

    Paths are numbered by the set of gluons in them and the gluon at their end.
    """
    steps = np.empty((count * (count - 1) << count >> 2, 3), np.int64)
    row = 0
    for chosen in range(1, 1 << count):
        for end in range(count):
            before = chosen ^ (1 << end)
            if before > chosen or before == 0:
                continue
            for last in range(count):
                if before >> last & 1:
                    steps[row, 0] = chosen * count + end
                    steps[row, 1] = before * count + last
                    steps[row, 2] = last * (count + 1) + end
                    row += 1
    return steps


@njit(cache=True, nogil=True, error_model="numpy")
def _parke_taylor(beams: Array, p4: Array) -> Array:
    """Sum of s_ij^4 times that over orders. With all signs dropped: each gluon enters twice."""
    count = p4.shape[1] + 1  # all but the last gluon, where each round trip starts
    gluons = np.empty((count + 1, 4))
    inverse = np.empty((count + 1) * (count + 1))
    paths = np.empty(count << count)
    steps = _trips(count)
    full = ((1 << count) - 1) * count
    values = np.empty(len(p4))
    for row in range(len(p4)):
        gluons[:2] = beams[row if len(beams) > 1 else 0]
        gluons[2:] = p4[row]
        powers = 0.0
        for i in range(count + 1):
            for j in range(i):
                s_ij = abs(2 * _dot(gluons[i], gluons[j]))
                inverse[i * (count + 1) + j] = inverse[j * (count + 1) + i] = 1 / s_ij
                powers += s_ij**4
        paths[:] = 0.0
        for end in range(count):
            paths[(count << end) + end] = inverse[count * (count + 1) + end]
        for step in range(len(steps)):
            paths[steps[step, 0]] += paths[steps[step, 1]] * inverse[steps[step, 2]]
        trips = 0.0
        for end in range(count):
            trips += paths[full + end] * inverse[end * (count + 1) + count]
        values[row] = powers * trips
    return values
