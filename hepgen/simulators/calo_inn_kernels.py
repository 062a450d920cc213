r"""Voxels of CaloINN from Gaussian numbers that depend on each other no more: a kernel of numba.

`hepgen.simulators.calo_inn_light` and `hepgen.simulators.preprocessing` have the formulas, in
operations of torch. Here splines are computed where they are needed. A spline rises, so that a
voxel is empty if its Gaussian number is below that to which the spline maps the threshold: one
comparison for each voxel, and splines for those that are hit, a tenth of 6480.

No fast arithmetic: the bits would depend on whether a kernel was compiled or taken from the cache.

Shapes: B showers, L layers, A sectors, R rings, N = A R voxels of a layer, K bins, M parameters of
a spline, S sectors with splines of their own, 1 or A.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hepgen.flows.elementary import exp_negative, log1p_fraction

__all__ = ["draw_voxels"]

Floats = NDArray[np.float32]
Scale = NDArray[np.float32]

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

_ZERO, _ONE = np.float32(0), np.float32(1)
# No voxel has as much as exp(31) GeV, see `Preprocessing`.
_HIGHEST = np.float32(31)


@njit(**OPTIONS)
def _exponentials(x: Floats) -> None:
    """exp(x), in place."""
    for i in range(len(x)):
        x[i] = exp_negative(x[i])


@njit(**OPTIONS)
def _slopes(x: Floats, least: np.float32) -> None:
    """Softplus and the least slope, in place."""
    for i in range(len(x)):
        size = x[i] if x[i] > _ZERO else -x[i]
        positive = x[i] if x[i] > _ZERO else _ZERO  # noqa: FURB136
        x[i] = least + (log1p_fraction(exp_negative(-size)) + positive)


@njit(**OPTIONS)
def _fill_knots(raw: Floats, scale: Scale, parts: Floats, slopes: Floats, knots: Floats) -> None:
    """Knots of x and of the latent number, and slopes at them, of some splines.

    Args:
        raw: parameters, shape (S R, M).
        scale: ends of the interval, least bin, least slope, softplus^-1(1 - least slope).
        parts: memory, shape (S R, 2 K).
        slopes: likewise, shape (S R, K - 1).
        knots: filled, shape (S R, 3, K + 1).
    """
    low, high, bins = scale[0], scale[1], knots.shape[2] - 1
    step = (high - low) * scale[2]
    rest = (high - low) - np.float32(bins) * step
    for s in range(len(raw)):
        for first in (0, bins):
            most = raw[s, first]
            for k in range(first + 1, first + bins):
                most = max(most, raw[s, k])
            for k in range(first, first + bins):
                parts[s, k] = raw[s, k] - most
        for k in range(bins - 1):
            slopes[s, k] = raw[s, 2 * bins + k] + scale[4]
    _exponentials(parts.reshape(-1))
    _slopes(slopes.reshape(-1), scale[3])
    for s in range(len(raw)):
        for part in range(2):
            first, total = part * bins, _ZERO
            for k in range(bins):
                total += parts[s, first + k]
            factor, so_far = rest / total, _ZERO
            knots[s, part, 0], knots[s, part, bins] = low, high
            for k in range(bins - 1):
                so_far += parts[s, first + k]
                knots[s, part, k + 1] = low + np.float32(k + 1) * step + so_far * factor
        knots[s, 2, 0] = knots[s, 2, bins] = _ONE
        for k in range(bins - 1):
            knots[s, 2, k + 1] = slopes[s, k]


@njit(**OPTIONS)
def _find(knots: Floats, x: np.float32) -> int:
    """The last bin that begins at x or below."""
    place = 0
    for k in range(1, len(knots) - 1):
        if x >= knots[k]:
            place = k
    return place


@njit(**OPTIONS)
def _onwards(knots: Floats, x: np.float32) -> Any:
    """What a spline maps x to."""
    if x <= knots[0, 0] or x >= knots[0, -1]:
        return x
    k = _find(knots[0], x)
    width, height = knots[0, k + 1] - knots[0, k], knots[1, k + 1] - knots[1, k]
    steep = height / width
    theta, phi = (x - knots[0, k]) / width, (knots[0, k + 1] - x) / width
    first, last = knots[2, k], knots[2, k + 1]
    both = theta * phi
    below = steep * (theta * theta + phi * phi) + (first + last) * both
    return knots[1, k] + height * (theta * (steep * theta + first * phi) / below)


@njit(**OPTIONS)
def _back(knots: Floats, y: np.float32) -> Any:
    """What a spline maps to y."""
    if not (y > knots[1, 0] and y < knots[1, -1]):
        return y
    k = _find(knots[1], y)
    width, height = knots[0, k + 1] - knots[0, k], knots[1, k + 1] - knots[1, k]
    steep = height / width
    u, v = (y - knots[1, k]) / height, (knots[1, k + 1] - y) / height
    mixed = knots[2, k] * v - knots[2, k + 1] * u
    double = steep + steep
    product = (double * u) * (double * v)
    total = abs(mixed) + np.float32(math.sqrt(mixed * mixed + product))
    rest = product / total if mixed < _ZERO else total
    whole = rest + double * u
    theta, phi = double * u / whole, rest / whole
    if theta < phi:
        return knots[0, k] + width * theta
    return knots[0, k + 1] - width * phi


@njit(**OPTIONS)
def draw_voxels(
    z: Floats,
    raw: Floats,
    energies: Floats,
    floor: Floats,
    scale: Scale,
    mean: Floats,
    std: Floats,
    out: Floats,
) -> None:
    """Voxels of Gaussian numbers: the inverse of a `LayerMap` and of its `Preprocessing`.

    Args:
        z: Gaussian numbers, shape (B, L, N).
        raw: parameters of the splines, shape (L, B, S, R, M).
        energies: of the layers in GeV, shape (B, L).
        floor: energy in GeV below which a voxel is empty, what still counts as that much, and the
            logarithm of the latter.
        scale: ends of the splines' interval, least bin, least slope, softplus^-1(1 - least slope).
        mean: of the logarithms of energies, shape (L, N).
        std: their width, shape (L, N).
        out: filled with energies in GeV, shape (B, L, N).
    """
    rows, layers, n = z.shape
    own, rings, parameters = raw.shape[2:]
    bins = (parameters + 1) // 3
    parts = np.zeros((own * rings, 2 * bins), np.float32)
    slopes = np.zeros((own * rings, bins - 1), np.float32)
    knots = np.zeros((own * rings, 3, bins + 1), np.float32)
    least, found = np.zeros(n, np.float32), np.zeros(n, np.float32)
    hit = np.zeros(n, np.int64)
    for i_l in range(layers):
        for b in range(rows):
            voxels, energy = out[b, i_l], energies[b, i_l]
            voxels[:] = 0
            if energy == 0:
                continue
            _fill_knots(raw[i_l, b].reshape(own * rings, parameters), scale, parts, slopes, knots)
            for s in range(own * rings):
                least[s] = _onwards(knots[s], (floor[2] - mean[i_l, s]) / std[i_l, s])
            for i in range(own * rings, n):
                least[i] = least[i - rings]
            number = 0
            for i in range(n):
                hit[number] = i
                number += 1 if z[b, i_l, i] >= least[i] else 0
            count, total, greatest, most = 0, _ZERO, -1, -_HIGHEST
            for j in range(number):
                i = hit[j]
                x = _back(knots[i % (own * rings)], z[b, i_l, i]) * std[i_l, i] + mean[i_l, i]
                value = exp_negative(min(x, _HIGHEST))
                if value >= floor[1]:
                    hit[count], found[count] = i, value
                    if greatest < 0 or x > most:
                        greatest, most = i, x
                    count += 1
                    total += value
            if count == 0:
                for i in range(n):
                    x = _back(knots[i % (own * rings)], z[b, i_l, i]) * std[i_l, i] + mean[i_l, i]
                    if greatest < 0 or x > most:
                        greatest, most = i, x
                voxels[greatest] = max(energy, floor[0])
                continue
            # Where they have more than the layer, all get less, and some of them too little.
            factor = energy / total if total > energy else _ONE
            total = _ZERO
            for j in range(count):
                value = found[j] * factor
                found[j] = value if value >= floor[1] or hit[j] == greatest else _ZERO
                total += found[j]
            factor = energy / total
            for j in range(count):
                value = found[j] * factor
                voxels[hit[j]] = max(value, floor[0]) if value > _ZERO else _ZERO
