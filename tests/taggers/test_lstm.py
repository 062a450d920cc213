"""The LSTM tagger against torch.nn.LSTM on single jets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hepgen.data import Features
from hepgen.taggers import LSTM
from tests.taggers.jets import CLASSES, make, one

COUNTS = [1, 2, 0, 17, 100, 200]


def test_it_has_as_many_parameters_as_torch_s_layers() -> None:
    tagger = LSTM(Features(), CLASSES)
    layers = [nn.LSTM(7, 128), nn.Linear(128, 64), nn.Linear(64, 2)]
    expected = sum(p.numel() for layer in layers for p in layer.parameters())
    assert sum(p.numel() for p in tagger.parameters()) == expected == 78_530


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["f32", "f64"]
)
def test_logits_are_those_of_torch_on_each_jet_alone(dtype, tolerance) -> None:
    torch.manual_seed(0)
    tagger = LSTM(Features(), CLASSES).to(dtype)
    theirs = nn.LSTM(7, 128).to(dtype)
    theirs.load_state_dict({f"{name}_l0": t for name, t in tagger.cell.state_dict().items()})
    batch = make(COUNTS, dtype=dtype)
    expected = []
    for jet in range(len(COUNTS)):
        alone = one(batch, jet)
        hardest_first = torch.hypot(alone.p4[:, 1], alone.p4[:, 2]).argsort(descending=True)
        state = torch.zeros(128, dtype=dtype)
        if COUNTS[jet]:
            state = theirs(alone.x[hardest_first])[1][0][0]
        expected.append(tagger.out(tagger.fc[0](state).relu()))
    with torch.no_grad():
        torch.testing.assert_close(
            tagger(batch), torch.stack(expected), rtol=tolerance, atol=tolerance
        )


def test_latent_vectors_stand_in_the_order_of_the_batch() -> None:
    tagger = LSTM(Features(), CLASSES).double()
    batch = make([9], dtype=torch.float64)
    states = tagger.latents(batch)
    assert states.shape == (9, tagger.latent_width)
    order = torch.hypot(batch.p4[:, 1], batch.p4[:, 2]).argsort(descending=True)
    # That of the hardest constituent comes from it alone.
    first, _ = tagger.cell(batch.x[order[0]])
    torch.testing.assert_close(states[order[0]], first)
    last = tagger.out(tagger.fc(states[order[-1]]))
    torch.testing.assert_close(tagger(batch)[0], last)


def test_without_a_hidden_state_it_is_refused() -> None:
    with pytest.raises(ValueError, match="needs hidden >= 1"):
        LSTM(Features(), CLASSES, hidden=0)
