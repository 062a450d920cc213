"""Tables turned over, beside numpy."""

from __future__ import annotations

import numpy as np
import pytest

from hepgen.flows.transposition import turn_back, turn_over


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("columns", [1, 7, 8, 9, 16, 23, 25, 64])
@pytest.mark.parametrize("n", [0, 1, 7, 8, 13, 64])
def test_rows_are_turned_over_and_back(n: int, columns: int, dtype: type) -> None:
    table = np.random.default_rng(0).normal(size=(80, columns + 2)).astype(dtype)
    turned = np.full((columns, 64), np.nan, dtype)
    turn_over(table, 5, n, columns, turned)
    np.testing.assert_array_equal(turned[:, :n], table[5 : 5 + n, :columns].T)
    assert np.isnan(turned[:, n:]).all()
    back = np.full((80, columns), np.nan, dtype)
    turn_back(turned, back, 5, n)
    np.testing.assert_array_equal(back[5 : 5 + n], table[5 : 5 + n, :columns])
    assert np.isnan(back[:5]).all()
    assert np.isnan(back[5 + n :]).all()
