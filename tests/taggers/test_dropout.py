"""Dropout against the binomial distribution."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hepgen.taggers.dropout import Dropout, drop, seeded


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_each_value_goes_with_the_same_chance_and_the_mean_stays(share) -> None:
    torch.manual_seed(0)
    size = 1_000_003
    dropped = Dropout(share)(torch.ones(size))
    kept = dropped[dropped != 0]
    assert (kept - 1 / (1 - share)).abs().max() < 1e-3
    # 5 sigma: a false alarm in 2 million.
    sigma = (share * (1 - share) / size) ** 0.5
    assert abs(1 - len(kept) / size - share) < 5 * sigma + 1e-5
    # Each of the four numbers in 64 random bits.
    for start in range(4):
        part = (dropped[start::4] == 0).double().mean()
        assert abs(float(part) - share) < 10 * sigma + 1e-5
    # Neighbours know nothing of each other.
    both = ((dropped[1:] == 0) & (dropped[:-1] == 0)).double().mean()
    assert abs(float(both) - share**2) < 5 * sigma + 2e-5


def test_gradients_go_where_values_went() -> None:
    x = torch.randn(40, 30, requires_grad=True)
    dropped = Dropout(0.3)(x)
    dropped.sum().backward()
    torch.testing.assert_close(x.grad * x, dropped)
    assert 0.5 < float((x.grad != 0).double().mean()) < 0.9


def test_it_does_nothing_in_evaluation_and_all_where_all_goes() -> None:
    x = torch.randn(5, 7)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x
    assert (Dropout(1.0)(x) == 0).all()
    assert isinstance(Dropout(0.5), nn.Dropout)
    assert (Dropout(0.5).share, Dropout(0.5).eval().share) == (0.5, 0.0)
    assert drop(x, 0.0) is x


def test_the_seed_decides() -> None:
    results = []
    for _ in range(2):
        torch.manual_seed(4)
        results.append(Dropout(0.5)(torch.ones(1000)))
    assert (results[0] == results[1]).all()
    assert not (Dropout(0.5)(torch.ones(1000)) == results[0]).all()


def test_a_seed_of_its_own_leaves_that_of_torch_alone() -> None:
    torch.manual_seed(4)
    expected = torch.rand(3)
    torch.manual_seed(4)
    results = []
    for _ in range(2):
        with seeded(7):
            results.append(drop(torch.ones(1000), 0.5))
    assert (results[0] == results[1]).all()
    assert (torch.rand(3) == expected).all()
