"""Random numbers of kernels against scipy's distributions."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats
from numba import njit

from hepgen.calorimeter.random_kernels import (
    draw_bits,
    draw_gamma,
    draw_normal,
    draw_poisson,
    draw_uniform,
    keys_of,
    start_state,
)

# Every p-value here is of a fixed seed; 1e-4 is what a right program would fail by chance.
CHANCE = 1e-4


@njit
def _drawn(kind, parameter, number, key):
    state = np.empty(4, dtype=np.uint64)
    start_state(key, state)
    out = np.empty(number)
    for i in range(number):
        if kind == 0:
            out[i] = draw_uniform(state)
        elif kind == 1:
            out[i] = draw_normal(state)
        elif kind == 2:
            out[i] = draw_gamma(parameter, state)
        else:
            out[i] = draw_poisson(parameter, state)
    return out


@njit
def _bits(key, number):
    state = np.empty(4, dtype=np.uint64)
    start_state(key, state)
    out = np.empty(number, dtype=np.uint64)
    for i in range(number):
        out[i] = draw_bits(state)
    return out


def xoshiro(state: list[int]) -> int:
    """xoshiro256++ in Python's integers, from its description."""
    mask = 2**64 - 1

    def rotated(x: int, k: int) -> int:
        return ((x << k) | (x >> (64 - k))) & mask

    result = (rotated((state[0] + state[3]) & mask, 23) + state[0]) & mask
    t = (state[1] << 17) & mask
    state[2] ^= state[0]
    state[3] ^= state[1]
    state[1] ^= state[2]
    state[0] ^= state[3]
    state[2] ^= t
    state[3] = rotated(state[3], 45)
    return result


def splitmix(number: int) -> int:
    mask = 2**64 - 1
    z = ((number ^ (number >> 30)) * 0xBF58476D1CE4E5B9) & mask
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
    return z ^ (z >> 31)


def test_bits_are_those_of_xoshiro_after_splitmix():
    seed, golden, mask = 12345, 0x9E3779B97F4A7C15, 2**64 - 1
    state = [splitmix((seed + (i + 1) * golden) & mask) for i in range(4)]
    # The first output of splitmix64 from 1234567, as its author's program prints it.
    assert splitmix((1234567 + golden) & mask) == 6457827717110365317
    expected = [xoshiro(state) for _ in range(50)]
    assert _bits(np.uint64(seed), 50).tolist() == expected


@pytest.mark.parametrize(
    ("kind", "parameter", "distribution"),
    [
        (0, 0.0, scipy.stats.uniform()),
        (1, 0.0, scipy.stats.norm()),
        *((2, a, scipy.stats.gamma(a)) for a in (0.03, 0.5, 1.0, 2.7, 400.0)),
    ],
)
def test_numbers_have_their_distribution(kind, parameter, distribution):
    found = _drawn(kind, parameter, 100_000, np.uint64(7))
    assert scipy.stats.kstest(found, distribution.cdf).pvalue > CHANCE


@pytest.mark.parametrize("mean", [0.0, 0.2, 3.0, 9.99, 10.0, 42.0, 700.0])
def test_counts_have_the_distribution_of_poisson(mean):
    found = _drawn(3, mean, 100_000, np.uint64(8))
    if mean == 0:
        assert not found.any()
        return
    expected = scipy.stats.poisson(mean)
    low, high = int(expected.ppf(1e-3)), int(expected.ppf(1 - 1e-3))
    inner = np.arange(low, high + 1)
    counts = np.array([(found <= low).sum(), *((found == k).sum() for k in inner[1:-1])])
    counts = np.append(counts, len(found) - counts.sum())
    shares = np.array([expected.cdf(low), *expected.pmf(inner[1:-1])])
    shares = np.append(shares, 1 - shares.sum())
    assert scipy.stats.chisquare(counts, shares * len(found)).pvalue > CHANCE


def test_keys_of_a_sample_are_all_different_and_its_pieces_agree():
    keys = keys_of(3, 0, 100_000)
    assert len(np.unique(keys)) == len(keys)
    np.testing.assert_array_equal(keys_of(3, 70_000, 100), keys[70_000:70_100])
    assert not np.isin(keys_of(4, 0, 100_000), keys).any()
    assert keys_of(-1, 0, 3).dtype == np.uint64
