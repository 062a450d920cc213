r"""Fills voxels with parametrised showers, compiled by numba; it releases the GIL.

The formulas are those of G. Grindhammer and S. Peters, hep-ex/0001020, with the paper's names:
depth t in radiation lengths, radius r in Moliere radii, T the depth of the maximum, alpha and beta
of the gamma distribution, :math:`\tau` the depth in units of T.

Shapes: B showers, L layers, S steps in depth, V voxels.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hepgen.calorimeter.random_kernels import (
    draw_bits,
    draw_gamma,
    draw_normal,
    draw_poisson,
    draw_uniform,
    start_state,
)

__all__ = ["Parameters", "Voxels", "fill_showers", "longitudinal", "lower_gamma", "radial"]

Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

# Depth in radiation lengths that photons cross before they convert.
CONVERSION = 9.0 / 7.0
_U32, _LOW = np.uint64(32), np.uint64(0xFFFFFFFF)
# Odd, and no multiple of splitmix's own constant: keys of steps are apart from those of showers.
_APART = np.uint64(0xD6E8FEB86659FD93)
# A shower is over where less than this share of it is left.
_OVER = 1e-9


class Parameters(NamedTuple):
    """What the formulas need of a calorimeter, and by how much they are changed.

    Attributes:
        z: atomic number.
        critical_energy: in GeV.
        moliere_radius: in mm.
        sampling: whether there are layers.
        inverse_frequency: 1 / F_S; 0 if there are none.
        contrast: 1 - e_hat; 0 if there are none.
        variance: square of the sampling term, in GeV.
        spot_number: spots of a shower of 1 GeV.
        spot_power: power of the energy with which their number grows.
        response: what all energies are multiplied with.
        depth: factor of T.
        shape: added to the mean of alpha.
        depth_width: factor of the width of ln T.
        shape_width: factor of the width of ln alpha.
        core: factor of the radius of the core.
        tail: factor of the radius of the tail.
        core_weight: added to the weight of the core.
    """

    z: float
    critical_energy: float
    moliere_radius: float
    sampling: bool
    inverse_frequency: float
    contrast: float
    variance: float
    spot_number: float
    spot_power: float
    response: float
    depth: float
    shape: float
    depth_width: float
    shape_width: float
    core: float
    tail: float
    core_weight: float


class Voxels(NamedTuple):
    """A geometry as the kernel reads it.

    Attributes:
        steps: depths of the ends of the steps in radiation lengths, shape (S + 1,).
        first_step: of each layer, and S at the end, shape (L + 1,).
        starts: first voxel of each layer, and V at the end, shape (L + 1,).
        num_alpha: sectors of each layer, shape (L,).
        squares: squared radii in mm^2 of the edges of the rings of all layers, end to end.
        first_edge: of each layer, and their number at the end, shape (L + 1,).
        threshold: in GeV.
    """

    steps: Doubles
    first_step: Indices
    starts: Indices
    num_alpha: Indices
    squares: Doubles
    first_edge: Indices
    threshold: float


@njit(cache=True, nogil=True)
def lower_gamma(a: float, x: float, log_gamma: float) -> float:
    """The regularised incomplete gamma function P(a, x), to 1e-12.

    Args:
        a: above 0.
        x: any number; P is 0 up to 0.
        log_gamma: logarithm of Gamma(a).
    """
    if x <= 0.0:
        return 0.0
    factor = math.exp(a * math.log(x) - x - log_gamma)
    if x < a + 1.0:
        term = total = 1.0 / a
        n = a
        while term > 1e-13 * total:
            n += 1.0
            term *= x / n
            total += term
        return min(1.0, factor * total)
    # The continued fraction of Q from its beginning, as ratios of one convergent to the next.
    b = x + 1.0 - a
    c, d = 1e300, 1.0 / b
    fraction = d
    for i in range(1, 1000):
        an = i * (a - i)
        b += 2.0
        d = 1.0 / (an * d + b)
        c = b + an / c
        ratio = c * d
        fraction *= ratio
        if abs(ratio - 1.0) < 1e-13:
            break
    return max(0.0, 1.0 - factor * fraction)


@njit(cache=True, nogil=True)
def _bounded_inverse(x: float) -> float:
    """1 / x, at most 0.5."""
    return 1.0 / x if x > 2.0 else 0.5


@njit(cache=True, nogil=True)
def longitudinal(energy: float, p: Parameters) -> tuple[float, float, float, float, float]:
    """How T and alpha of showers of one energy are distributed.

    Args:
        energy: in GeV.
        p: of the calorimeter.

    Returns:
        Means of ln T and of ln alpha, their widths, and their correlation.
    """
    log_y = math.log(energy / p.critical_energy)
    depth = max(0.1, log_y - 0.812)
    shape = 0.81 + (0.458 + 2.26 / p.z) * log_y
    if p.sampling:
        depth -= 0.55 * p.inverse_frequency + 0.69 * p.contrast
        shape -= 0.476 * p.inverse_frequency
        depth_width = _bounded_inverse(-2.5 + 1.25 * log_y)
        shape_width = _bounded_inverse(-0.82 + 0.79 * log_y)
        rho = 0.784 - 0.023 * log_y
    else:
        depth_width = _bounded_inverse(-1.4 + 1.26 * log_y)
        shape_width = _bounded_inverse(-0.58 + 0.86 * log_y)
        rho = 0.705 - 0.023 * log_y
    return (
        math.log(max(0.1, depth) * p.depth),
        math.log(max(0.1, shape + p.shape)),
        depth_width * p.depth_width,
        shape_width * p.shape_width,
        min(1.0, max(-1.0, rho)),
    )


@njit(cache=True, nogil=True)
def radial(energy: float, tau: float, p: Parameters) -> tuple[float, float, float]:
    """The radial profile at some depth.

    Args:
        energy: in GeV.
        tau: depth in units of that of the maximum.
        p: of the calorimeter.

    Returns:
        Radii of core and tail in Moliere radii, and the share of the core in the energy.
    """
    log_e, z = math.log(energy), p.z
    core = 0.0251 + 0.00319 * log_e + (0.1162 - 0.000381 * z) * tau
    k4 = 0.3585 + 0.0421 * log_e
    tail = (0.659 - 0.00309 * z) * (
        math.exp(-2.59 * (tau - 0.645)) + math.exp(min(50.0, k4 * (tau - 0.645)))
    )
    x = (0.401 + 0.00187 * z - tau) / max(0.1, 1.313 - 0.0686 * log_e)
    weight = (2.632 - 0.00094 * z) * math.exp(x - math.exp(x))
    if p.sampling:
        early = p.inverse_frequency * math.exp(-tau)
        at_maximum = p.inverse_frequency * math.exp(-((tau - 1.0) ** 2))
        core += -0.0203 * p.contrast + 0.0397 * early
        tail -= 0.14 * p.contrast + 0.495 * early
        weight += p.contrast * (0.348 - 0.642 * at_maximum)
    return (
        max(1e-3, core * p.core),
        max(1e-3, tail * p.tail),
        min(1.0, max(0.0, weight + p.core_weight)),
    )


# Columns of a shower; a photon has two.
_ENERGY, _START, _ALPHA, _BETA, _LOG_GAMMA, _SPOT_ALPHA, _SPOT_BETA, _SPOT_LOG_GAMMA = range(8)
_SPOTS, _TAU, _DONE, _SPOTS_DONE = range(8, 12)


@njit(cache=True, nogil=True)
def _begin(
    energy: float,
    start: float,
    front: float,
    p: Parameters,
    state: NDArray[np.uint64],
    s: Doubles,
) -> None:
    """Draws the longitudinal profile of one shower, of which nothing before the front is seen."""
    log_t, log_alpha, depth_width, shape_width, rho = longitudinal(energy, p)
    one, other = draw_normal(state), draw_normal(state)
    plus, minus = math.sqrt(0.5 * (1.0 + rho)), math.sqrt(0.5 * (1.0 - rho))
    depth = max(1.0, math.exp(log_t + depth_width * (plus * one + minus * other)))
    alpha = max(1.1, math.exp(log_alpha + shape_width * (plus * one - minus * other)))
    beta = (alpha - 1.0) / depth
    if p.sampling:
        spot_depth = depth * (0.813 + 0.0019 * p.z)
        spot_alpha = alpha * (0.844 + 0.0026 * p.z)
    else:
        spot_depth = depth * (0.698 + 0.00212 * p.z)
        spot_alpha = alpha * (0.639 + 0.00334 * p.z)
    spot_alpha = max(1.1, spot_alpha)
    mean_alpha = max(1.1, math.exp(log_alpha))
    s[_ENERGY], s[_START], s[_ALPHA], s[_BETA] = energy, start, alpha, beta
    s[_LOG_GAMMA] = math.lgamma(alpha)
    s[_SPOT_ALPHA], s[_SPOT_BETA] = spot_alpha, (spot_alpha - 1.0) / spot_depth
    s[_SPOT_LOG_GAMMA] = math.lgamma(spot_alpha)
    s[_SPOTS] = p.spot_number * energy**p.spot_power
    # tau = t / <t>, times <alpha> / (<alpha> - 1).
    s[_TAU] = beta / alpha * mean_alpha / (mean_alpha - 1.0)
    before = front - start
    s[_DONE] = lower_gamma(alpha, beta * before, s[_LOG_GAMMA])
    s[_SPOTS_DONE] = lower_gamma(spot_alpha, s[_SPOT_BETA] * before, s[_SPOT_LOG_GAMMA])


@njit(cache=True, nogil=True)
def _step(
    s: Doubles,
    begin: float,
    end: float,
    p: Parameters,
    squares: Doubles,
    num_alpha: int,
    inside: Doubles,
    layer: Doubles,
    state: NDArray[np.uint64],
    key: Any,
    own: NDArray[np.uint64],
) -> None:
    """Adds to the voxels of a layer what one shower leaves between two depths."""
    if end <= s[_START] or s[_DONE] > 1.0 - _OVER:
        return
    depth = end - s[_START]
    done = lower_gamma(s[_ALPHA], s[_BETA] * depth, s[_LOG_GAMMA])
    spots_done = lower_gamma(s[_SPOT_ALPHA], s[_SPOT_BETA] * depth, s[_SPOT_LOG_GAMMA])
    energy = s[_ENERGY] * (done - s[_DONE])
    expected = s[_SPOTS] * (spots_done - s[_SPOTS_DONE])
    s[_DONE], s[_SPOTS_DONE] = done, spots_done
    if p.variance > 0.0 and energy > 0.0:
        # From a stream of its own, so that the energies of a shower, made a second time with
        # slightly other parameters, are slightly others.
        start_state(key, own)
        energy = p.variance * draw_gamma(energy / p.variance, own)
    if energy <= 0.0:
        return
    # Where there is energy there is a spot that has it, or energy would be lost.
    spots = max(1, draw_poisson(max(0.0, expected), state))
    each = p.response * energy / spots
    tau = s[_TAU] * (0.5 * (max(begin, s[_START]) + end) - s[_START])
    core, tail, weight = radial(s[_ENERGY], tau, p)
    core_square = (core * p.moliere_radius) ** 2
    tail_square = (tail * p.moliere_radius) ** 2
    rings = len(squares) - 1
    for i in range(rings + 1):
        square = squares[i]
        of_core, of_tail = square / (square + core_square), square / (square + tail_square)
        inside[i] = weight * of_core + (1.0 - weight) * of_tail
    sectors = np.uint64(num_alpha)
    for _ in range(spots):
        bits = draw_bits(state)
        u = float(bits >> _U32) * 2.0**-32
        if u < inside[0] or u >= inside[rings]:
            continue
        ring = 0
        while u >= inside[ring + 1]:
            ring += 1
        sector = int(((bits & _LOW) * sectors) >> _U32)
        layer[sector * rings + ring] += each


@njit(cache=True, nogil=True)
def fill_showers(
    keys: NDArray[np.uint64],
    incident_energy: Doubles,
    photon: NDArray[np.bool_],
    p: Parameters,
    voxels: Voxels,
    out: Floats,
) -> None:
    """Showers of some particles, each from random numbers of its own.

    Args:
        keys: seeds of the showers, shape (B,).
        incident_energy: in GeV, shape (B,).
        photon: which of the particles are photons, shape (B,).
        p: of the calorimeter.
        voxels: the geometry.
        out: energies in GeV, shape (B, V), written; 0 below the threshold.
    """
    state, own = np.empty(4, dtype=np.uint64), np.empty(4, dtype=np.uint64)
    showers = np.empty((2, 12))
    widest, inside, front = 0, 0, voxels.steps[0]
    for i in range(len(voxels.num_alpha)):
        widest = max(widest, voxels.starts[i + 1] - voxels.starts[i])
        inside = max(inside, voxels.first_edge[i + 1] - voxels.first_edge[i])
    energies, shares = np.empty(widest), np.empty(inside)
    for row in range(len(keys)):
        start_state(keys[row], state)
        number = 1
        if photon[row]:
            number = 2
            start = -CONVERSION * math.log(draw_uniform(state))
            share = draw_uniform(state)
            # Neither has less than a billionth, whose logarithm is still one.
            share = min(1.0 - 1e-9, max(1e-9, share))
            _begin(incident_energy[row] * share, start, front, p, state, showers[0])
            _begin(incident_energy[row] * (1.0 - share), start, front, p, state, showers[1])
        else:
            _begin(incident_energy[row], 0.0, front, p, state, showers[0])
        for i in range(len(voxels.num_alpha)):
            begin, end = voxels.starts[i], voxels.starts[i + 1]
            layer = energies[: end - begin]
            layer[:] = 0.0
            squares = voxels.squares[voxels.first_edge[i] : voxels.first_edge[i + 1]]
            for step in range(voxels.first_step[i], voxels.first_step[i + 1]):
                for k in range(number):
                    _step(
                        showers[k],
                        voxels.steps[step],
                        voxels.steps[step + 1],
                        p,
                        squares,
                        voxels.num_alpha[i],
                        shares,
                        layer,
                        state,
                        keys[row] + np.uint64(2 * step + k + 1) * _APART,
                        own,
                    )
            for j in range(end - begin):
                energy = layer[j]
                out[row, begin + j] = energy if energy >= voxels.threshold else 0.0
