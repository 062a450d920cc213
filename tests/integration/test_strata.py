"""Numbers of points in strata."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepgen.integration.strata import allocate, divide, transfer


@given(st.integers(1, 100), st.floats(1, 1e9))
def test_divisions_stay_below_the_number_wanted_and_differ_by_one(
    dimension: int, wanted: float
) -> None:
    parts = divide(dimension, wanted)
    assert np.prod(parts.astype(float)) <= wanted
    assert parts.max() - parts.min() <= 1


@given(st.lists(st.floats(0, 1e12), min_size=1, max_size=50), st.integers(0, 10_000))
def test_points_add_up_and_every_stratum_has_two(shares: list[float], spare: int) -> None:
    calls = 2 * len(shares) + spare
    counts = allocate(np.array(shares), calls)
    assert counts.sum() == calls
    assert counts.min() >= 2


def test_points_follow_shares_to_a_point() -> None:
    shares = np.random.default_rng(1).random(1000)
    counts = allocate(shares, 100_000)
    assert np.abs(counts - 2 - shares / shares.sum() * 98_000).max() < 1


def test_shares_of_a_finer_division_are_those_of_the_hypercube_around() -> None:
    shares = np.arange(6.0)
    finer = transfer(shares, np.array([2, 3]), np.array([4, 3]))
    np.testing.assert_array_equal(finer.reshape(4, 3), np.repeat(shares.reshape(2, 3), 2, 0))


@pytest.mark.parametrize("dimension", [1, 5, 96])
def test_one_hypercube_is_always_possible(dimension: int) -> None:
    assert divide(dimension, 1).prod() == 1
