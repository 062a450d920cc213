"""Tables are checked and scaled once, for all metrics."""

from __future__ import annotations

import numpy as np
import pytest

from hepgen.metrics.generative.tables import Pair, paired, scaled


def test_weights_count_as_their_effective_number_of_rows():
    rng = np.random.default_rng(1)
    w = rng.exponential(size=50)
    pair = paired(np.ones((30, 2)), np.ones((50, 2)), w)
    assert isinstance(pair, Pair)
    assert pair.sizes == (30, pytest.approx(w.sum() ** 2 / (w**2).sum()))
    assert paired([1.0, 2.0], [3.0, 4.0, 5.0]).sizes == (2, 3)


def test_scales_are_those_of_the_reference():
    rng = np.random.default_rng(2)
    x, y = rng.normal(size=(2, 40, 3)) * [1, 10, 100]
    x[:, 0] = y[:, 0] = 0
    found = scaled(paired(x, y, other=y), "max")
    np.testing.assert_allclose(np.abs(found.reference).max(axis=0), [0, 1, 1])
    np.testing.assert_allclose(found.generated[:, 2], y[:, 2] / np.abs(x[:, 2]).max())
    np.testing.assert_array_equal(found.other, found.generated)
    found = scaled(paired(x, y), "std")
    np.testing.assert_allclose(found.reference.std(axis=0), [0, 1, 1])
    assert scaled(paired(x, y), None).reference is not found.reference


def test_float32_is_summed_in_float64():
    assert paired(np.ones((3, 1), np.float32), np.ones((3, 1), np.float32)).reference.dtype == (
        np.float64
    )
