"""Fully connected layers and how their weights begin."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hepgen.taggers.mlp import glorot_uniform, he_uniform, mlp


def test_it_is_linear_layers_and_relu_in_turn() -> None:
    layers = mlp(3, (5, 4))
    assert [type(layer) for layer in layers] == [nn.Linear, nn.ReLU, nn.Linear, nn.ReLU]
    assert layers(torch.randn(7, 3)).shape == (7, 4)
    assert [type(layer) for layer in mlp(3, (5,), 0.1)] == [nn.Linear, nn.ReLU, nn.Dropout]


def test_without_layers_it_changes_nothing() -> None:
    x = torch.randn(2, 3)
    torch.testing.assert_close(mlp(3, ())(x), x, rtol=0, atol=0)


def test_weights_of_he_keep_the_variance_through_layers_of_relu() -> None:
    torch.manual_seed(0)
    layers = mlp(2000, (2000,) * 4).apply(he_uniform)
    for layer in layers:
        if isinstance(layer, nn.Linear):
            assert (layer.bias == 0).all()
            assert float(layer.weight.detach().abs().max()) <= (6 / 2000) ** 0.5
    x = torch.randn(100, 2000)
    # The mean of squares is kept; 2000 channels and 100 rows determine it to a few per cent.
    assert float(layers(x).square().mean().detach()) == pytest.approx(1, rel=0.15)


def test_weights_of_glorot_have_the_variance_of_both_ends() -> None:
    torch.manual_seed(0)
    layer = nn.Linear(300, 700).apply(glorot_uniform)
    assert (layer.bias == 0).all()
    assert float(layer.weight.detach().var()) == pytest.approx(2 / 1000, rel=0.02)
