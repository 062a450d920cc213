"""Orders of constituents against numpy's."""

from __future__ import annotations

import numpy as np
import torch

from hepgen.taggers.ordering import by_content, by_pt
from tests.taggers.jets import make, shuffled


def test_the_hardest_constituent_of_each_jet_comes_first() -> None:
    batch = make([5, 0, 1, 30])
    pt = np.hypot(batch.p4[:, 1].numpy(), batch.p4[:, 2].numpy())
    expected = np.lexsort([-pt, batch.batch.numpy()])
    np.testing.assert_array_equal(by_pt(batch).numpy(), expected)


def test_orders_do_not_depend_on_the_file() -> None:
    batch = make([5, 0, 1, 30])
    # Equal momenta, told apart by their angles.
    batch.p4[:] = batch.p4[0].clone()
    for order in (by_content, by_pt):
        for seed in range(3):
            other = shuffled(batch, seed)
            torch.testing.assert_close(other.pos[order(other)], batch.pos[order(batch)])
