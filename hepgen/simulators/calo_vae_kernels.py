r"""Voxels of a CaloVAE from the numbers of its last layers: kernels of numba, one thread.

`hepgen.simulators.calo_vae_voxels` and `hepgen.simulators.preprocessing` have the formulas, in
operations of torch; here they are one pass over each layer of each shower, whose numbers stay in
the nearest memory. Of voxels that are empty nothing but their rate is computed.

No fast arithmetic: the bits would depend on whether a kernel was compiled or taken from the cache.

Random numbers are counted: that of a voxel is a function of the shower's key and of the voxel's
number (splitmix64: G. L. Steele, D. Lea and C. H. Flood, OOPSLA 2014), so the order in which
voxels are computed does not matter.

Shapes: B showers, L layers, N voxels of a layer, V voxels, K distributions, G numbers of a layer.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hepgen.flows.elementary import exp_negative, log1p_fraction, log_positive

__all__ = ["draw_layers", "draw_voxels", "numbers_of", "scratch"]

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_U27, _U30, _U31, _U41 = (np.uint64(n) for n in (27, 30, 31, 41))
# 23 bits and a half, so that float32 holds each number and none is 0 or 1.
_HALF, _STEP = np.float32(0.5), np.float32(2.0**-23)
_ZERO, _ONE = np.float32(0), np.float32(1)
# As in the modules of torch, which a test compares.
_EDGE = np.float32(1e-7)
_OTHER_EDGE = np.float32(1) - _EDGE
_LOW_RATE, _HIGH_RATE = np.float32(-14.0), np.float32(4.5)
_HIGHEST = np.float32(math.exp(4.5))
_NARROWEST = np.float32(0.02)
_LN2, _LOW_SCALE, _HIGH_SCALE = np.float32(math.log(2)), np.float32(-6), np.float32(2)
_WIDEST = np.float32(math.exp(2))
_SMALLEST = np.float32(1e-30)
_KEPT = np.float32(1 - 2e-5)
_LOW_PLACE, _HIGH_PLACE = np.float32(-40), np.float32(20)
_FURTHEST = np.float32(math.exp(20))
_LEAST_ENERGY = np.float32(1e-9)
# Hits at a time, and where so many numbers of each kind begin in the memory of these: LLVM makes
# vectors of loops where it sees that arrays do not overlap, as places in one array.
LANES = 64
REST, SHIFT, PLACE, WIDTH, GREATEST = (i * LANES for i in range(5))
TOTAL, BEFORE, ODDS, SCALE, OFFSET = (i * LANES for i in range(5, 10))


def scratch(largest: int, components: int) -> tuple[Floats, Integers, Floats, Floats, Floats]:
    """Memory that a kernel uses.

    Args:
        largest: N of the layer that has most voxels.
        components: K.

    Returns:
        Random numbers and amounts (2, N), places of hits (N,), other parameters (3 K, N), those of
        some hits (3 K, LANES), and the rest of what is known of these.
    """
    planes = 3 * components
    return (
        np.zeros((2, largest), np.float32),
        np.zeros(largest, np.int64),
        np.zeros((planes, largest), np.float32),
        np.zeros((planes, LANES), np.float32),
        np.zeros(10 * LANES, np.float32),
    )


@njit(**OPTIONS)
def _uniform(key: np.uint64, first: int, out: Floats) -> None:
    """Numbers in (0, 1) of voxels that follow each other."""
    for v in range(len(out)):
        z = key + np.uint64(first + v + 1) * _GOLDEN
        z = (z ^ (z >> _U30)) * _FIRST
        z = (z ^ (z >> _U27)) * _SECOND
        z = z ^ (z >> _U31)
        out[v] = (np.float32(np.int32(z >> _U41)) + _HALF) * _STEP


@njit(**OPTIONS)
def numbers_of(keys: NDArray[np.uint64], out: Floats) -> None:
    """The uniform numbers that ``draw_voxels`` uses.

    Args:
        keys: of the showers, shape (B,).
        out: filled with numbers in (0, 1), shape (B, V).
    """
    for b in range(len(keys)):
        _uniform(keys[b], 0, out[b])


@njit(**OPTIONS)
def draw_layers(alone: Floats, coefficients: Floats, uniform: Floats, out: Floats) -> None:
    """Which layers have energy: `hepgen.simulators.calo_vae_hits`.

    Args:
        alone: logits without the other layers, shape (B, L).
        coefficients: of the layers before, row by row of a triangle, shape (B, L (L - 1) / 2).
        uniform: numbers in (0, 1), shape (B, L).
        out: filled with 1 and 0, shape (B, L).
    """
    showers, layers = alone.shape
    for b in range(showers):
        place = 0
        for layer in range(layers):
            logit = alone[b, layer]
            for j in range(layer):
                logit += coefficients[b, place + j] * out[b, j]
            place += layer
            out[b, layer] = _ONE if uniform[b, layer] * (_ONE + math.exp(-logit)) < _ONE else _ZERO


@njit(**OPTIONS)
def draw_voxels(
    rates: Floats,
    told: Floats,
    weight: Floats,
    bias: Floats,
    usual: Floats,
    offsets: Floats,
    layers: Integers,
    starts: Integers,
    keys: NDArray[np.uint64],
    energies: Floats,
    floor: np.float32,
    out: Floats,
    row: Floats,
    hit: Integers,
    form: Floats,
    g: Floats,
    f: Floats,
) -> None:
    """Voxels of M layers of N voxels each.

    Args:
        rates: rate and shift of each voxel, shape (M, B, 2, N).
        told: what the other parameters depend on, shape (M, B, G).
        weight: of that, shape (M, G, 3 K, N): logarithms of weights, offsets, scales.
        bias: likewise, shape (M, 3 K, N).
        usual: logarithm of the rate, location and width of each voxel, shape (3, V).
        offsets: of the distributions, shape (K,).
        layers: their numbers, shape (M,).
        starts: first voxel of all layers, shape (L,).
        keys: of the showers' random numbers, shape (B,).
        energies: of all layers in GeV, 0 or at least ``floor``, shape (B, L).
        floor: energy in GeV below which voxels are empty.
        out: filled in these layers, in GeV, shape (B, V).
        row: see `scratch`.
        hit: likewise.
        form: likewise.
        g: likewise.
        f: likewise.
    """
    count, showers, _, size = rates.shape
    for m in range(count):
        first = starts[layers[m]]
        end = first + size
        # One row at a time, which numba knows to be contiguous.
        rate, place, width = usual[0, first:end], usual[1, first:end], usual[2, first:end]
        for b in range(showers):
            energy = energies[b, layers[m]]
            voxels = out[b, first:end]
            voxels[:] = _ZERO
            if not energy > _ZERO:
                continue
            rest, amount = row[0, :size], row[1, :size]
            _uniform(keys[b], first, rest)
            hits = _hits(rates[m, b, 0], rate, math.log(max(energy, _LEAST_ENERGY)), rest, hit)
            _form(told[m, b], weight[m], bias[m], form)
            some = hit[:hits]
            _amounts(rest, rates[m, b, 1], place, width, offsets, some, form, g, f, amount)
            _energies(energy, floor, some, amount, voxels)


@njit(**OPTIONS)
def _hits(rate: Floats, usual: Floats, energy: np.float32, rest: Floats, hit: Integers) -> int:
    """Which voxels are hit, one at least; of random numbers, what the hit leaves is kept."""
    size = len(rate)
    for v in range(size):
        a = usual[v] + energy + rate[v]
        a = a if a > _LOW_RATE else _LOW_RATE  # noqa: FURB136
        a = a if a < _HIGH_RATE else _HIGH_RATE  # noqa: FURB136
        probability = _ONE - exp_negative(-_HIGHEST * exp_negative(a - _HIGH_RATE))
        probability = probability if probability > _EDGE else _EDGE  # noqa: FURB136
        rest[v] = rest[v] / probability
    hits = 0
    for v in range(size):
        hit[hits] = v
        hits += rest[v] <= _ONE
    if hits == 0:
        nearest = 0
        for v in range(1, size):
            if rest[v] < rest[nearest]:
                nearest = v
        hit[0] = nearest
        hits = 1
    return hits


@njit(**OPTIONS)
def _form(told: Floats, weight: Floats, bias: Floats, form: Floats) -> None:
    """The other parameters of all voxels of the layer."""
    planes, size = bias.shape
    for p in range(planes):
        row, own = form[p], bias[p]
        for v in range(size):
            row[v] = own[v]
        # Four at a time, so that the row is read and written once for all of them.
        whole = len(told) // 4 * 4
        for g in range(0, whole, 4):
            t0, t1, t2, t3 = told[g], told[g + 1], told[g + 2], told[g + 3]
            w0, w1, w2, w3 = weight[g, p], weight[g + 1, p], weight[g + 2, p], weight[g + 3, p]
            for v in range(size):
                row[v] += (t0 * w0[v] + t1 * w1[v]) + (t2 * w2[v] + t3 * w3[v])
        for g in range(whole, len(told)):
            t0, w0 = told[g], weight[g, p]
            for v in range(size):
                row[v] += t0 * w0[v]


@njit(**OPTIONS)
def _amounts(
    rest: Floats,
    shift: Floats,
    place: Floats,
    width: Floats,
    offsets: Floats,
    hit: Integers,
    form: Floats,
    g: Floats,
    f: Floats,
    amount: Floats,
) -> None:
    """Amounts of the voxels that are hit, one after the other, `LANES` at a time."""
    components = len(offsets)
    for start in range(0, len(hit), LANES):
        n = min(LANES, len(hit) - start)
        for j in range(n):
            v = hit[start + j]
            f[REST + j], f[SHIFT + j] = rest[v], shift[v]
            f[PLACE + j], f[WIDTH + j] = place[v], width[v]
        for p in range(3 * components):
            row, own = g[p], form[p]
            for j in range(n):
                row[j] = own[hit[start + j]]
        _choose(components, offsets, n, g, f)
        out = amount[start : start + n]
        for j in range(n):
            scale = min(max(f[SCALE + j] - _LN2, _LOW_SCALE), _HIGH_SCALE)
            scale = max(f[WIDTH + j] * (_WIDEST * exp_negative(scale - _HIGH_SCALE)), _NARROWEST)
            y = scale * log_positive(f[ODDS + j])
            m = f[PLACE + j] + f[WIDTH + j] * (f[SHIFT + j] + f[OFFSET + j])
            m = min(max(m, _LOW_PLACE), _HIGH_PLACE)
            # ln(1 + exp(y))
            softplus = max(y, _ZERO) + log1p_fraction(exp_negative(-abs(y)))
            out[j] = max(_FURTHEST * exp_negative(m - _HIGH_PLACE) * softplus, _SMALLEST)


@njit(**OPTIONS)
def _choose(components: int, offsets: Floats, n: int, g: Floats, f: Floats) -> None:
    """Which distribution each amount is of, and the odds of its quantile in that."""
    first = g[0]
    for j in range(n):
        f[REST + j] = min(max(f[REST + j], _EDGE), _OTHER_EDGE)
        f[GREATEST + j] = first[j]
        f[TOTAL + j], f[BEFORE + j] = _ZERO, _ZERO
    for k in range(1, components):
        row = g[k]
        for j in range(n):
            f[GREATEST + j] = max(f[GREATEST + j], row[j])
    for k in range(components):
        row = g[k]
        for j in range(n):
            row[j] = exp_negative(row[j] - f[GREATEST + j])
            f[TOTAL + j] += row[j]
    for k in range(components):
        row, shifted, widened = g[k], g[components + k], g[2 * components + k]
        own = offsets[k]
        for j in range(n):
            part = row[j] / f[TOTAL + j]
            quantile = (f[REST + j] - f[BEFORE + j]) / max(part, _EDGE)
            quantile = min(max(quantile, _EDGE), _OTHER_EDGE)
            here = f[REST + j] >= f[BEFORE + j]
            f[ODDS + j] = quantile / (_ONE - quantile) if here else f[ODDS + j]
            f[SCALE + j] = widened[j] if here else f[SCALE + j]
            f[OFFSET + j] = shifted[j] + own if here else f[OFFSET + j]
            f[BEFORE + j] += part


@njit(**OPTIONS)
def _energies(
    energy: np.float32, floor: np.float32, hit: Integers, amount: Floats, out: Floats
) -> None:
    """Energies of the hit voxels of their amounts, none of them below the threshold."""
    hits = len(hit)
    greatest, total = 0, _ZERO
    for j in range(hits):
        total += amount[j]
        if amount[j] > amount[greatest]:
            greatest = j
    cut = min(floor * _KEPT / energy * total, amount[greatest])
    kept = _ZERO
    for j in range(hits):
        amount[j] = amount[j] if amount[j] >= cut else _ZERO
        kept += amount[j]
    factor = energy / kept
    for j in range(hits):
        value = amount[j] * factor
        out[hit[j]] = max(value, floor) if value > _ZERO else _ZERO
