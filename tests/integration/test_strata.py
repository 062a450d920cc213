"""Strata: they fill the cube, their density is what they draw, and they follow the spread."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from hepgen.integration.sampler import Draw
from hepgen.integration.strata import Strata
from hepgen.integration.strata_kernels import fill_strata, grow, strata_density

Array = NDArray[np.float64]


def disc(y: Array) -> Array:
    """One inside the quarter of a disc of radius 0.8."""
    return np.asarray((y[:, 0] ** 2 + y[:, 1] ** 2 < 0.64).astype(float))


def learnt(function, dimension: int, calls: int = 20_000, seed: int = 1) -> Strata:
    y = np.random.default_rng(seed).random((calls, dimension))
    return Strata.grown(np.column_stack([y, np.ones(calls), function(y)]).astype(np.float32))


@given(st.integers(2, 3000), st.integers(1, 6), st.integers(0, 2**32))
def test_strata_hold_two_or_three_points_and_fill_the_cube(
    calls: int, dimension: int, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = np.column_stack([rng.random((500, dimension)), np.ones(500), rng.random(500) ** 9])
    y = rng.random((calls, dimension))
    measure, stratum = Strata.grown(points.astype(np.float32)).place(y)
    sizes = np.bincount(stratum)
    assert 2 <= sizes.min() <= sizes.max() <= 3
    assert measure.sum() == pytest.approx(1, rel=1e-12)
    assert y.min() >= 0
    assert y.max() < 1


@pytest.mark.parametrize("calls", [10, 1000, 50_000])
def test_the_density_is_one_over_what_a_point_measures(calls: int) -> None:
    strata = learnt(disc, 2)
    y = np.random.default_rng(2).random((calls, 2))
    measure, _ = strata.place(y)
    np.testing.assert_allclose(strata.density(y, calls) * measure * calls, 1, rtol=1e-12)


def test_the_density_integrates_to_one() -> None:
    strata = learnt(disc, 2)
    y = np.random.default_rng(3).random((100_000, 2))
    density = strata.density(y, 5000)
    assert abs(density.mean() - 1) < 4 * density.std() / math.sqrt(len(y))


def test_points_gather_at_an_edge_and_the_error_falls_faster_than_the_root_of_calls() -> None:
    """Half of the points within 0.05 of the edge; 20 times below random points."""
    strata = learnt(disc, 2)
    y = np.random.default_rng(4).random((50_000, 2))
    measure, stratum = strata.place(y)
    near = np.abs(np.hypot(y[:, 0], y[:, 1]) - 0.8) < 0.05
    assert near.mean() > 0.5
    exact = math.pi * 0.16
    estimate, covariance = Draw(y, measure, stratum=stratum).estimate(disc(y)[:, None])
    error = math.sqrt(covariance[0, 0])
    assert abs(estimate[0] - exact) < 4 * error
    assert error < math.sqrt(exact * (1 - exact) / len(y)) / 20


def test_cuts_go_across_the_axis_that_matters() -> None:
    strata = learnt(lambda y: y[:, 2] ** 4, 4)
    assert (strata.axis[strata.axis >= 0] == 2).mean() > 0.9


def test_without_anything_seen_the_cube_is_cut_regularly() -> None:
    points = np.random.default_rng(5).random((100, 5))
    points[:, 4] = 0
    empty = Strata.grown(points.astype(np.float32))
    y = np.random.default_rng(6).random((128, 3))
    empty.place(y)
    cells = (y * 4).astype(int) @ [1, 4, 16]
    np.testing.assert_array_equal(np.bincount(cells, minlength=64), 2)


def test_a_state_gives_the_same_strata_back() -> None:
    strata = learnt(disc, 2)
    again = Strata.from_state(strata.state())
    first, second = (np.random.default_rng(7).random((999, 2)) for _ in range(2))
    for one, other in zip(strata.place(first), again.place(second), strict=True):
        np.testing.assert_array_equal(one, other)


def test_inner_shares_are_sums_of_their_halves_and_halves_follow_each_other() -> None:
    rng = np.random.default_rng(8)
    y = rng.random((5000, 3))
    points = np.column_stack([y, np.ones(5000), y[:, 0] > y[:, 1]])
    axis, child, share = np.empty(5000, np.int64), np.empty(5000, np.int64), np.empty(5000)
    number = grow(points.astype(np.float32), 16, 1.0, 0.0, axis, child, share)
    inner = np.flatnonzero(axis[:number] >= 0)
    np.testing.assert_allclose(share[inner], share[child[inner]] + share[child[inner] + 1])
    assert sorted([0, *child[inner], *(child[inner] + 1)]) == list(range(number))
    # What the third coordinate is does not matter.
    assert np.isin(axis[inner], [0, 1]).mean() > 0.9


def test_points_in_strata_are_as_dense_as_the_density_says() -> None:
    """Chi2 of a 16 x 16 histogram of 200 draws; strata only lower it."""
    strata = learnt(disc, 2)
    tree = strata.axis, strata.child, strata.share
    rng = np.random.default_rng(9)
    seen = np.zeros((16, 16))
    for _ in range(200):
        y = rng.random((1000, 2))
        fill_strata(*tree, y, np.empty(1000), np.empty(1000, np.int64))
        seen += np.histogram2d(*y.T, 16, [(0, 1)] * 2)[0]
    fine = (np.stack(np.meshgrid(*[np.arange(256)] * 2, indexing="ij"), -1) + 0.5) / 256
    density = np.empty(256**2)
    strata_density(*tree, 1000, fine.reshape(-1, 2), density)
    wanted = density.reshape(16, 16, 16, 16).mean((1, 3)) / 256 * 200_000
    assert ((seen - wanted) ** 2 / wanted).sum() < 256 + 4 * math.sqrt(2 * 256)
