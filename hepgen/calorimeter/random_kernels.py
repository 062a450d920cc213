"""Random numbers inside kernels of numba: one small generator a shower, seeded by one number.

xoshiro256++ (D. Blackman and S. Vigna, ACM Trans. Math. Softw. 47 (2021) 36), its state filled by
splitmix64. numba's own generators are one a thread, so that what a shower is would depend on which
thread made it.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["draw_bits", "draw_gamma", "draw_normal", "draw_poisson", "draw_uniform", "keys_of"]
__all__ += ["start_state"]

State = NDArray[np.uint64]

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_U11, _U17, _U19, _U23 = np.uint64(11), np.uint64(17), np.uint64(19), np.uint64(23)
_U27, _U30, _U31, _U41, _U45 = (np.uint64(n) for n in (27, 30, 31, 41, 45))


def _mixed(numbers: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The finaliser of splitmix64, which is one to one."""
    z = (numbers ^ (numbers >> _U30)) * _FIRST
    z = (z ^ (z >> _U27)) * _SECOND
    return z ^ (z >> _U31)


def keys_of(seed: int, first: int, number: int) -> NDArray[np.uint64]:
    """Seeds of some showers of a sample.

    Args:
        seed: of the sample; any whole number, of which the last 64 bits count.
        first: number of the first shower.
        number: how many, B.

    Returns:
        Shape (B,); no two showers of a sample have the same.
    """
    start = _mixed(np.array([seed % 2**64], dtype=np.uint64))
    counted = np.arange(first, first + number, dtype=np.uint64)
    return _mixed(start + counted * _GOLDEN)


@njit(cache=True, nogil=True)
def start_state(key: Any, state: State) -> None:
    """Fills the state of a generator.

    Args:
        key: uint64.
        state: (4,), written.
    """
    for i in range(4):
        key += _GOLDEN
        z = (key ^ (key >> _U30)) * _FIRST
        z = (z ^ (z >> _U27)) * _SECOND
        state[i] = z ^ (z >> _U31)


@njit(cache=True, nogil=True, inline="always")
def draw_bits(state: State) -> Any:
    """64 random bits, as uint64.

    Args:
        state: (4,), moved on.
    """
    s0, s1, s2, s3 = state[0], state[1], state[2], state[3]
    total = s0 + s3
    found = ((total << _U23) | (total >> _U41)) + s0
    moved = s1 << _U17
    s2 ^= s0
    s3 ^= s1
    s1 ^= s2
    s0 ^= s3
    s2 ^= moved
    s3 = (s3 << _U45) | (s3 >> _U19)
    state[0], state[1], state[2], state[3] = s0, s1, s2, s3
    return found


@njit(cache=True, nogil=True)
def draw_uniform(state: State) -> float:
    """A number in (0, 1], whose logarithm is finite.

    Args:
        state: (4,), moved on.
    """
    return float((draw_bits(state) >> _U11) + np.uint64(1)) * 2.0**-53


@njit(cache=True, nogil=True)
def draw_normal(state: State) -> float:
    """A standard normal number, by the polar method of Marsaglia.

    Args:
        state: (4,), moved on.
    """
    while True:
        x = 2.0 * draw_uniform(state) - 1.0
        y = 2.0 * draw_uniform(state) - 1.0
        square = x * x + y * y
        if 0.0 < square < 1.0:
            return x * math.sqrt(-2.0 * math.log(square) / square)


@njit(cache=True, nogil=True)
def draw_gamma(shape: float, state: State) -> float:
    """A number of the gamma distribution of scale 1.

    G. Marsaglia and W. W. Tsang, ACM Trans. Math. Softw. 26 (2000) 363.

    Args:
        shape: above 0.
        state: (4,), moved on.
    """
    factor = 1.0
    if shape < 1.0:
        factor = draw_uniform(state) ** (1.0 / shape)
        shape += 1.0
    d = shape - 1.0 / 3.0
    c = 1.0 / math.sqrt(9.0 * d)
    while True:
        x = draw_normal(state)
        v = 1.0 + c * x
        if v <= 0.0:
            continue
        v = v * v * v
        u = draw_uniform(state)
        if math.log(u) < 0.5 * x * x + d * (1.0 - v + math.log(v)):
            return factor * d * v


@njit(cache=True, nogil=True)
def draw_poisson(mean: float, state: State) -> int:
    """A number of the Poisson distribution.

    By counting for small means, else by transformed rejection: W. Hormann, Insur. Math. Econ. 12
    (1993) 39, algorithm PTRS.

    Args:
        mean: from 0 on.
        state: (4,), moved on.
    """
    if mean < 10.0:
        limit, product, count = math.exp(-mean), draw_uniform(state), 0
        while product > limit:
            product *= draw_uniform(state)
            count += 1
        return count
    root, log_mean = math.sqrt(mean), math.log(mean)
    b = 0.931 + 2.53 * root
    a = -0.059 + 0.02483 * b
    inverse = 1.1239 + 1.1328 / (b - 3.4)
    fast = 0.9277 - 3.6224 / (b - 2.0)
    while True:
        u = draw_uniform(state) - 0.5
        v = draw_uniform(state)
        us = 0.5 - abs(u)
        if us <= 0.0:
            continue
        k = math.floor((2.0 * a / us + b) * u + mean + 0.43)
        if us >= 0.07 and v <= fast:
            return k
        if k < 0 or (us < 0.013 and v > us):
            continue
        accepted = math.log(v * inverse / (a / (us * us) + b))
        if accepted <= k * log_mean - mean - math.lgamma(k + 1.0):
            return k
