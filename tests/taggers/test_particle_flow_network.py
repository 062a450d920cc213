"""The particle flow network against its description in the paper."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepgen.data import Features
from hepgen.taggers import ParticleFlowNetwork
from tests.taggers.jets import CLASSES, make


@pytest.mark.parametrize(
    ("features", "parameters"),
    [(["log_pt", "delta_eta", "delta_phi"], 82_458), ("kinematics", 82_858)],
)
def test_it_has_as_many_parameters_as_published(features, parameters) -> None:
    tagger = ParticleFlowNetwork(Features(features), CLASSES)
    assert sum(p.numel() for p in tagger.parameters()) == parameters


def test_its_logits_are_those_of_matrix_products_in_numpy() -> None:
    tagger = ParticleFlowNetwork(Features(), CLASSES, (8, 6), (5,)).double()
    batch = make([3, 0, 7], dtype=torch.float64)
    state = {name: tensor.numpy() for name, tensor in tagger.state_dict().items()}

    def layer(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    expected = []
    for jet in np.split(batch.x.numpy(), batch.ptr[1:-1]):
        phi = np.maximum(layer(np.maximum(layer(jet, "phi.0"), 0), "phi.2"), 0)
        f = np.maximum(layer(phi.sum(axis=0), "f.0"), 0)
        expected.append(layer(f, "out"))
    with torch.no_grad():
        np.testing.assert_allclose(tagger(batch), expected, rtol=1e-12)


def test_the_loss_begins_near_that_of_a_guess() -> None:
    torch.manual_seed(0)
    loss = ParticleFlowNetwork(Features(), CLASSES).loss(make([50] * 100))
    assert abs(float(loss.detach()) - np.log(2)) < 0.2


def test_without_hidden_layers_behind_the_sum_it_is_linear_in_it() -> None:
    tagger = ParticleFlowNetwork(Features(), CLASSES, (4,), ())
    assert tagger(make([5, 6])).shape == (2, 2)
