"""The VEGAS map: against its own derivative, and a density that it must find."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepgen.integration.vegas_map import VegasMap


def rough_map(dimension: int, bins: int, seed: int, roughness: float = 3) -> VegasMap:
    widths = np.random.default_rng(seed).exponential(1, (dimension, bins)) ** roughness + 1e-9
    edges = np.zeros((dimension, bins + 1))
    edges[:, 1:] = np.cumsum(widths, 1) / widths.sum(1, keepdims=True)
    edges[:, -1] = 1
    return VegasMap(edges)


@given(st.integers(1, 4), st.integers(2, 300), st.integers(0, 2**32))
def test_the_inverse_undoes_the_map_and_knows_its_slope(
    dimension: int, bins: int, seed: int
) -> None:
    made = rough_map(dimension, bins, seed)
    y = np.random.default_rng(seed).random((200, dimension))
    x, jacobian = made.forward(y)
    back, slope = made.inverse(x)
    assert 0 <= x.min() <= x.max() < 1
    assert np.all(jacobian > 0)
    # Where the map is flat, rounding of x is amplified by 1 / slope.
    again, _ = made.forward(back)
    np.testing.assert_allclose(again, x, atol=1e-14)
    well = jacobian > 1e-6
    np.testing.assert_allclose(slope[well], jacobian[well], rtol=1e-6)


def test_the_jacobian_is_the_derivative() -> None:
    made = rough_map(1, 20, 1, roughness=0.5)
    # Away from the ends of bins, where the second derivative jumps.
    y = (np.arange(2000)[:, None] + 0.37) / 2000
    step = 1e-7
    _, jacobian = made.forward(y)
    difference = (made.forward(y + step)[0] - made.forward(y - step)[0])[:, 0] / (2 * step)
    np.testing.assert_allclose(jacobian, difference, rtol=1e-6)


def test_the_jacobian_is_continuous() -> None:
    made = rough_map(1, 50, 2, roughness=0.5)
    y = np.arange(1, 50)[:, None] / 50
    before, after = (made.forward(y + s * 1e-12)[1] for s in (-1, 1))
    np.testing.assert_allclose(before, after, rtol=1e-6)


def test_the_map_finds_the_density_that_makes_a_product_flat() -> None:
    """f = exp(2 x + 2 y), of relative spread 0.7: f dx/dy becomes flat to 5 % rms."""
    rng = np.random.default_rng(3)
    made = VegasMap.identity(2)
    for _ in range(8):
        y = rng.random((20_000, 2))
        x, jacobian = made.forward(y)
        values = np.exp(2 * x.sum(1))
        made = made.refined(y, jacobian, jacobian / len(y), values, 1.0, 32)
    x, jacobian = made.forward(rng.random((20_000, 2)))
    flat = np.exp(2 * x.sum(1)) * jacobian
    assert flat.std() / flat.mean() < 0.05


def test_edges_stay_where_they_are_wanted() -> None:
    made = rough_map(2, 40, 8)
    y = np.repeat(np.arange(40)[:, None] / 40, 2, axis=1)
    np.testing.assert_allclose(made.forward(y)[0], made.edges[:, :-1].T, rtol=1e-9)


def test_a_state_gives_the_same_map_back() -> None:
    made = rough_map(3, 10, 4)
    again = VegasMap.from_state(made.state())
    y = np.random.default_rng(5).random((100, 3))
    for one, other in zip(made.forward(y), again.forward(y), strict=True):
        np.testing.assert_array_equal(one, other)


def test_points_of_several_draws_come_in_one_array() -> None:
    made = rough_map(2, 10, 6)
    rng = np.random.default_rng(7)
    rounds = [(rng.random((n, 2)), rng.random(n), rng.random(n)) for n in (5, 8)]
    points = made.points(rounds)
    x, volume, values = (np.concatenate(parts) for parts in zip(*rounds, strict=True))
    y, jacobian = made.inverse(x)
    np.testing.assert_allclose(points[:, :2], y, rtol=2e-7)
    np.testing.assert_allclose(points[:, 2], volume / jacobian, rtol=2e-7)
    np.testing.assert_allclose(points[:, 3], values / values.max() * jacobian, rtol=2e-7)


@pytest.mark.parametrize("bins", [2, 3, 1000])
def test_the_identity_stays_itself_where_all_is_flat(bins: int) -> None:
    y = (np.arange(12_000) + 0.5)[:, None] / 12_000
    made = VegasMap.identity(1).refined(
        y, np.ones(12_000), np.ones(12_000), np.ones(12_000), 1.0, bins
    )
    np.testing.assert_allclose(made.forward(y)[0], y, atol=1e-3 / bins)
