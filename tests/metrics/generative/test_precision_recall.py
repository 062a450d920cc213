"""Precision, recall, density and coverage against scikit-learn's neighbours; nearest rows."""

from __future__ import annotations

import importlib.util
import json
import math
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import sklearn.metrics
import sklearn.neighbors

from hepgen.metrics import generative
from hepgen.metrics.generative import kernel_sums
from hepgen.metrics.generative.neighbours import distance_tiles, nearest, neighbour_radii

STORED = Path(__file__).parents[2] / "reference" / "generative" / "precision_recall.json"
NAMES = ("precision", "recall", "density", "coverage")


def definition(real, fake, k):
    """From whole matrices of distances, with scikit-learn's brute force."""

    def radii(table):
        model = sklearn.neighbors.NearestNeighbors(n_neighbors=k + 1, algorithm="brute")
        return model.fit(table).kneighbors(table)[0][:, -1]

    across = sklearn.metrics.pairwise_distances(real, fake)
    inside = across < radii(real)[:, None]
    return (
        inside.any(axis=0).mean(),
        (across < radii(fake)).any(axis=1).mean(),
        inside.sum(axis=0).mean() / k,
        (across.min(axis=1) < radii(real)).mean(),
    )


def test_the_four_numbers_are_those_of_the_package_of_the_challenge():
    spec = importlib.util.spec_from_file_location("prdc_script", STORED.with_suffix(".py"))
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    stored = json.loads(STORED.read_text(encoding="utf-8"))["values"]
    for (*case, k), wanted in zip(script.CASES, stored, strict=True):
        found = generative.precision_recall(*script.sample(*case), k=k, halves=0, splits=0)
        for name in NAMES:
            assert getattr(found, name).value == pytest.approx(wanted[name], abs=1e-12)


@pytest.mark.parametrize("features", [2, 30])
def test_the_four_numbers_are_those_of_the_definition(features, monkeypatch):
    # Blocks of 16 rows, so that their borders are crossed.
    monkeypatch.setattr(kernel_sums, "BLOCK", 64)
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(301, features)) + 5, 1.1 * rng.normal(size=(257, features)) + 5.2
    for k in (1, 5):
        found = generative.precision_recall(x, y, k=k)
        for name, wanted in zip(NAMES, definition(x, y, k), strict=True):
            assert getattr(found, name).value == pytest.approx(wanted, rel=1e-12)
            assert getattr(found, name).error > 0


def test_errors_are_those_of_halves_that_are_measured_apart():
    rng = np.random.default_rng(6)
    x, y = rng.normal(size=(83, 4)), 1.2 * rng.normal(size=(70, 4)) + 0.2
    found = generative.precision_recall(x, y, k=3, splits=0, halves=2, seed=5)
    deal, squares = np.random.default_rng([5, 9]), np.zeros(4)
    for _ in range(2):
        orders = [deal.permutation(len(table)) for table in (x, y)]
        halves = [
            [table[order[: len(table) // 2]], table[order[len(table) // 2 :]]]
            for table, order in zip((x, y), orders, strict=True)
        ]
        first, second = (definition(*pair, 3) for pair in zip(*halves, strict=True))
        squares += np.square(np.subtract(first, second))
    errors = [getattr(found, name).error for name in NAMES]
    np.testing.assert_allclose(errors, np.sqrt(squares / 2) / 2, rtol=1e-9)


def test_voxels_in_float32_are_not_copied_and_give_the_same(monkeypatch):
    monkeypatch.setattr(kernel_sums, "BLOCK", 1 << 12)
    rng = np.random.default_rng(7)
    x, y = rng.normal(size=(2, 600, 2000)).astype(np.float32)
    tracemalloc.start()
    found = generative.precision_recall(x, y, splits=0, halves=2)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # Less than one of both tables in float64.
    assert peak < 2 * x.nbytes
    same = generative.precision_recall(*(t.astype(np.float64) for t in (x, y)), splits=0, halves=2)
    assert found == same


def test_real_samples_have_a_density_of_one_and_the_known_coverage():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 1500, 3))
    found = generative.precision_recall(x, y)
    assert isinstance(found, generative.PrecisionRecall)
    # Naeem et al., section 3: of equal laws and sizes the density is 1 and the coverage 1 - 2^-k,
    # up to 1 / B.
    assert abs(found.density.value - 1) < 4 * found.density.error
    assert abs(found.coverage.value - (1 - 2**-5)) < 4 * found.coverage.error + 1e-3
    for name in NAMES:
        one = getattr(found, name)
        assert one.floor == pytest.approx(one.value, abs=0.05)


def test_a_generator_of_one_shower_is_precise_and_covers_nothing():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(500, 2))
    y = 1e-3 * rng.normal(size=(500, 2))
    found = generative.precision_recall(x, y, splits=0, halves=0)
    assert math.isnan(found.precision.error)
    assert found.precision.value == 1
    assert found.recall.value < 0.02
    assert found.coverage.value < 0.1
    assert found.precision.floor is None


@pytest.mark.slow
def test_errors_are_the_spread_of_experiments():
    """100 experiments: the spread of a share near 1 is known to 10 %, a halving's error to 7 %."""
    rng = np.random.default_rng(4)
    rows = []
    for _ in range(100):
        x, y = rng.normal(size=(300, 3)), 1.2 * rng.normal(size=(300, 3)) + 0.3
        found = generative.precision_recall(x, y, splits=0)
        rows.append([(getattr(found, n).value, getattr(found, n).error) for n in NAMES])
    for name, (value, error) in zip(NAMES, np.array(rows).transpose(1, 2, 0), strict=True):
        ratio = math.sqrt(np.square(error).mean()) / value.std(ddof=1)
        assert abs(ratio - 1) < 4 * math.hypot(0.10, 0.07), (name, ratio)


def test_nearest_rows_are_those_of_scikit_learn():
    rng = np.random.default_rng(5)
    points, queries = rng.normal(size=(700, 6)) + 100, rng.normal(size=(90, 6)) + 100
    queries[3] = points[10]
    model = sklearn.neighbors.NearestNeighbors(n_neighbors=4, algorithm="kd_tree").fit(points)
    distances, indices = nearest(queries, points, 4)
    wanted = model.kneighbors(queries)
    np.testing.assert_allclose(distances, wanted[0], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(indices, wanted[1])
    assert distances[3, 0] == 0
    distances, indices = nearest(points, points, 4, same=True)
    wanted = model.kneighbors()
    np.testing.assert_allclose(distances, wanted[0], rtol=1e-9)
    np.testing.assert_array_equal(indices, wanted[1])
    with pytest.raises(ValueError, match="5 neighbours are wanted of 4 rows"):
        nearest(points, points[:4], 5)


def test_radii_are_those_within_each_group(monkeypatch):
    monkeypatch.setattr(kernel_sums, "BLOCK", 64)
    rng = np.random.default_rng(8)
    table = rng.normal(size=(90, 3))
    groups = np.stack([np.zeros(90, np.int64), np.arange(90) % 2])
    found = neighbour_radii(table, groups, 4)
    for label, rows in ((0, slice(None)), (1, slice(0, 90, 2)), (1, slice(1, 90, 2))):
        distances = np.sort(sklearn.metrics.pairwise_distances(table[rows]), axis=1)
        np.testing.assert_allclose(found[label, rows], distances[:, 4], rtol=1e-9)
    with pytest.raises(ValueError, match="45 neighbours are wanted of 44 rows"):
        neighbour_radii(table, groups, 45)


def test_tiles_cover_all_pairs_once(monkeypatch):
    monkeypatch.setattr(kernel_sums, "BLOCK", 64)
    rng = np.random.default_rng(9)
    x, y = rng.normal(size=(50, 3)), rng.normal(size=(37, 3))
    seen = np.zeros((50, 37))
    for rows, columns, squares in distance_tiles(x, y, x.mean(axis=0)):
        seen[rows, columns] += squares
    wanted = np.square(sklearn.metrics.pairwise_distances(x, y))
    np.testing.assert_allclose(seen, wanted, rtol=1e-9)


def test_too_few_rows_are_named():
    x = np.zeros((5, 2))
    with pytest.raises(ValueError, match="at least 14 rows are needed; got 5"):
        generative.precision_recall(x, x)
    with pytest.raises(ValueError, match="at least one neighbour"):
        generative.precision_recall(x, x, k=0)
