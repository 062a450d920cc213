"""Scrambled Sobol nets: they are nets, unscrambled they are torch's, and scrambling is random."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from hepgen.integration.low_discrepancy import replicates, scrambled_sobol


@pytest.mark.parametrize("dimension", [1, 2, 5])
def test_every_net_puts_one_point_into_each_slice_of_each_axis(dimension: int) -> None:
    x = scrambled_sobol(dimension, 3, 1024, np.random.default_rng(1)).reshape(3, 1024, dimension)
    slices = np.sort((x * 1024).astype(int), axis=1)
    assert np.all(slices == np.arange(1024)[:, None])


def test_every_elementary_rectangle_of_two_axes_holds_its_share() -> None:
    x = scrambled_sobol(2, 1, 256, np.random.default_rng(2))
    for power in range(9):
        counts = np.histogram2d(x[:, 0], x[:, 1], (2**power, 2 ** (8 - power)), [(0, 1)] * 2)[0]
        assert np.all(counts == 1)


def test_scrambling_keeps_which_points_share_their_leading_digits_with_torchs() -> None:
    """A lower-triangular scrambling maps equal leading digits to equal ones, and no others."""
    ours = scrambled_sobol(20, 1, 512, np.random.default_rng(3))
    theirs = torch.quasirandom.SobolEngine(20).draw(512, dtype=torch.float64).numpy()
    for digits in (1, 3, 6):
        cells = [(x * 2**digits).astype(int) for x in (ours, theirs)]
        for d in range(20):
            pairs = {(a, b) for a, b in zip(cells[0][:, d], cells[1][:, d], strict=True)}
            assert len(pairs) == 2**digits


def test_points_are_uniform_over_scramblings() -> None:
    """Kolmogorov-Smirnov distance of the third points of 4000 nets; false alarm 1e-4."""
    x = scrambled_sobol(3, 4000, 4, np.random.default_rng(4))[2::4]
    for column in x.T:
        ranks = np.arange(1, 4001) / 4000
        assert np.abs(np.sort(column) - ranks).max() < math.sqrt(math.log(2 / 1e-4) / 2 / 4000)


def test_the_spread_of_nets_tells_the_error_of_a_smooth_integral() -> None:
    """Mean pull squared of 50 integrals from 16 nets, against Student's t: 4 sigma."""
    pulls = []
    for seed in range(50):
        x = scrambled_sobol(4, 16, 64, np.random.default_rng(seed))
        nets = np.exp(x.sum(1)).reshape(16, 64).mean(1)
        error = nets.std(ddof=1) / 4
        pulls.append((nets.mean() - (math.e - 1) ** 4) / error)
        assert error < 0.2 * np.exp(x.sum(1)).std() / 32
    # Student's t with 15 degrees of freedom: variance 15/13, variance of the square below 4.
    assert abs(np.mean(np.square(pulls)) - 15 / 13) < 4 * 2 / math.sqrt(50)


def test_a_seed_fixes_the_points() -> None:
    first, second = (scrambled_sobol(3, 2, 8, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    assert first.min() >= 0
    assert first.max() < 1


@given(st.integers(1, 10**9), st.integers(1, 64))
def test_nets_use_more_than_fifteen_sixteenths_of_the_calls(calls: int, least: int) -> None:
    number, size = replicates(calls, least)
    assert number * size <= calls
    assert number < 2 * least
    assert number >= min(least, calls)
    assert number * size > calls * (1 - 1 / (least + 1)) - 1


def test_bad_sizes_and_dimensions_are_named() -> None:
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match=r"power of two of points, up to 2\^30; got 100"):
        scrambled_sobol(2, 1, 100, rng)
    with pytest.raises(ValueError, match="for 21201 dimensions, wanted 30000"):
        scrambled_sobol(30_000, 1, 8, rng)
