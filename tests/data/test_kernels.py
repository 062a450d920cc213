"""Compiled loops against numpy."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepgen.data import kernels
from hepgen.data.neighbours import nearest

sizes = st.lists(st.integers(0, 30), min_size=1, max_size=8)


def offsets_of(counts: list[int]) -> np.ndarray:
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


@given(sizes)
def test_sums_are_those_of_numpy(counts: list[int]) -> None:
    offsets = offsets_of(counts)
    values = np.random.default_rng(1).normal(size=offsets[-1]).astype(np.float32)
    expected = [values[a:b].astype(float).sum() for a, b in itertools.pairwise(offsets)]
    np.testing.assert_allclose(kernels.segment_sum(values, offsets), expected, atol=1e-12)


@given(sizes, st.integers(1, 40))
def test_the_hardest_are_those_of_a_stable_sort(counts: list[int], most: int) -> None:
    offsets = offsets_of(counts)
    pt = np.random.default_rng(1).integers(0, 9, offsets[-1]).astype(np.float32)
    rows, kept = kernels.hardest(pt, offsets, most)
    expected = [
        sorted(range(a, b), key=lambda i: (-pt[i], i))[:most]
        for a, b in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
    ]
    assert rows.tolist() == [i for jet in expected for i in sorted(jet)]
    assert np.diff(kept).tolist() == [len(jet) for jet in expected]


def test_the_hardest_hide_no_nan() -> None:
    rows, _ = kernels.hardest(np.array([3, np.nan, 2, 9], np.float32), offsets_of([4]), 2)
    assert rows.tolist() == [1, 3]


def test_standardised_columns_are_those_of_numpy() -> None:
    columns = np.random.default_rng(1).normal(size=(5, 40)).astype(np.float32) * 9
    centre, scale, low, high = np.random.default_rng(2).normal(size=(4, 5)).astype(np.float32)
    low, high = np.minimum(low, high), np.maximum(low, high)
    low[2], high[2] = -np.inf, np.inf
    centre[4], scale[4], low[4], high[4] = 0, 1, -np.inf, np.inf
    expected = np.clip((columns.T - centre) * scale, low, high).T
    kernels.standardise(columns[:, :33], centre, scale, low, high)
    np.testing.assert_allclose(columns[:, :33], expected[:, :33], rtol=1e-6)


def test_scattered_jets_stand_where_they_should() -> None:
    columns = np.random.default_rng(1).normal(size=(3, 20)).astype(np.float32)
    offsets = offsets_of([2, 0, 4, 3])
    rows = np.zeros((8, 3), np.float32)
    kernels.scatter(columns[:, :9], offsets, np.array([6, 2, 1, -1]), rows)
    assert np.array_equal(rows[6:8], columns.T[0:2])
    assert np.array_equal(rows[1:5], columns.T[2:6])
    assert not rows[[0, 5]].any()


@pytest.mark.parametrize("width", [1, 4, 17])
def test_gathered_rows_are_those_of_numpy(width: int) -> None:
    offsets = offsets_of([3, 0, 5, 2])
    values = np.random.default_rng(1).normal(size=(10, width)).astype(np.float32)
    jets = np.array([2, 1, 0, 2])
    out_offsets = offsets_of([5, 0, 3, 5]) + 1
    out = np.full((14, width), -1, np.float32)
    kernels.gather(values, offsets, jets, out, out_offsets)
    expected = np.concatenate([values[3:8], values[0:3], values[3:8]])
    assert np.array_equal(out[1:], expected)
    assert (out[0] == -1).all()


def test_the_compiled_loops_can_be_called_from_python() -> None:
    assert kernels.all_pairs(offsets_of([2, 1])).tolist() == [[0, 1], [1, 0]]
    line = np.array([[0], [1], [3]], np.float32)
    assert nearest(line, offsets_of([3]), 2).tolist() == [[1, 2], [0, 2], [1, 0]]
