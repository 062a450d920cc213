"""Compiled loops of the VEGAS map, against nflows, scipy and numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from nflows.transforms.splines.rational_quadratic import rational_quadratic_spline
from scipy.stats import hmean

from hepgen.integration.vegas_kernels import (
    fill_points,
    gather_importance,
    invert_map,
    refine,
    slopes_of,
    through_map,
)


def made_edges(dimension: int, bins: int, seed: int) -> np.ndarray:
    widths = np.random.default_rng(seed).dirichlet(np.full(bins, 2.0), dimension)
    edges = np.concatenate([np.zeros((dimension, 1)), np.cumsum(widths, 1)], axis=1)
    edges[:, -1] = 1
    return edges


def test_inner_slopes_are_harmonic_means() -> None:
    edges = made_edges(2, 9, 1)
    widths = np.diff(edges, axis=1) * 9
    wanted = hmean(np.stack([widths[:, :-1], widths[:, 1:]]))
    np.testing.assert_allclose(slopes_of(edges)[:, 1:-1], wanted)


@pytest.mark.parametrize("inverse", [False, True])
def test_the_map_is_nflows_rational_quadratic_spline(inverse: bool) -> None:
    bins, points = 12, 500
    edges = made_edges(1, bins, 2)
    slopes = slopes_of(edges)
    given = np.random.default_rng(3).random((points, 1))
    found, jacobian = np.empty_like(given), np.empty(points)
    (invert_map if inverse else through_map)(edges, slopes, given, found, jacobian)

    def spread(values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).expand(points, 1, -1)

    wanted, log_slope = rational_quadratic_spline(
        torch.from_numpy(given),
        spread(np.zeros((1, bins))),
        spread(np.log(np.diff(edges))),
        spread(np.log(np.expm1(slopes))),
        inverse=inverse,
        min_bin_width=0.0,
        min_bin_height=0.0,
        min_derivative=0.0,
    )
    np.testing.assert_allclose(found, wanted.numpy(), atol=1e-12)
    sign = -1 if inverse else 1
    np.testing.assert_allclose(jacobian, np.exp(sign * log_slope.numpy()[:, 0]), rtol=1e-9)


def test_importance_is_a_weighted_histogram() -> None:
    rng = np.random.default_rng(4)
    y, (jacobian, measure, values) = rng.random((300, 2)), rng.random((3, 300))
    importance, effective = gather_importance(y, jacobian, measure, values, 2.0, 7)
    weights = measure * (values / 2) ** 2 * jacobian
    for d in range(2):
        np.testing.assert_allclose(
            importance[d], np.histogram(y[:, d], 7, (0, 1), weights=weights)[0]
        )
    assert effective == pytest.approx(weights.sum() ** 2 / (weights**2).sum())


def test_refining_spreads_importance_evenly_and_leaves_what_is_even() -> None:
    edges = made_edges(1, 50, 5)
    slopes = slopes_of(edges)
    np.testing.assert_allclose(refine(edges, slopes, np.ones((1, 50)), 1.0, 50), edges, atol=1e-12)
    uniform = np.linspace(0, 1, 51)[None]
    importance = np.exp(-((uniform[:, 1:] - 0.5) ** 2) / 0.02)
    finer = refine(uniform, slopes_of(uniform), importance, 1.5, 50)
    assert np.all(np.diff(finer) > 0)
    widths = np.diff(finer)[0]
    assert widths[25] < 0.02 / 2 < 0.02 * 2 < widths[0]


def test_points_are_what_the_inverse_map_gives() -> None:
    edges = made_edges(2, 6, 6)
    slopes = slopes_of(edges)
    rng = np.random.default_rng(7)
    x, (volume, values) = rng.random((40, 2)), rng.random((2, 40))
    points, y, jacobian = np.empty((40, 4), np.float32), np.empty((40, 2)), np.empty(40)
    fill_points(edges, slopes, x, volume, values, 3.0, points)
    invert_map(edges, slopes, x, y, jacobian)
    np.testing.assert_allclose(
        points, np.column_stack([y, volume / jacobian, values / 3 * jacobian])
    )
