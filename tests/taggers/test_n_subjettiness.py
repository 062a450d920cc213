"""The dense tagger of N-subjettiness: its size, its inputs and what it sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepgen.data import Features, make_batch, n_subjettiness
from hepgen.taggers import NSubjettiness
from tests.taggers.jets import CLASSES, make, make_packed


def test_it_has_the_published_number_of_parameters() -> None:
    tagger = NSubjettiness(Features(), CLASSES)
    own = sum(p.numel() for p in tagger.parameters()) - 2 * tagger.norm.num_features
    assert own == 57_502
    assert round(own, -3) == 58_000


def test_inputs_are_20_observables_mass_and_transverse_momentum() -> None:
    packed = make_packed([30, 50, 4])
    tagger, seen = NSubjettiness(Features(), CLASSES), []
    tagger.norm.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0].double()))
    tagger(packed.batch(slice(None)))
    taus = n_subjettiness(packed.p4, packed.offsets).reshape(3, 21)
    np.testing.assert_allclose(seen[0][:, :18], taus[:, :18], rtol=1e-6)
    np.testing.assert_allclose(seen[0][:, 18:20], taus[:, 19:], rtol=1e-6)
    e, px, py, pz = np.add.reduceat(packed.p4.astype(float), packed.offsets[:-1]).T
    np.testing.assert_allclose(seen[0][:, 20], np.sqrt(e**2 - px**2 - py**2 - pz**2), rtol=1e-6)
    np.testing.assert_allclose(seen[0][:, 21], np.hypot(px, py), rtol=1e-6)


def test_layers_are_those_of_a_plain_network() -> None:
    tagger = NSubjettiness(Features(), CLASSES, channels=(5, 4), dropout=(0, 0)).double()
    tagger(make([40] * 10, dtype=torch.float64))
    tagger.eval()
    jets, seen = make([30, 50], dtype=torch.float64), []
    tagger.hidden.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    got = tagger(jets).detach().numpy()
    x = seen[0].detach().numpy()
    weights = {name: p.detach().numpy() for name, p in tagger.named_parameters()}
    for layer in ("hidden.0", "hidden.3"):
        x = np.maximum(x @ weights[f"{layer}.weight"].T + weights[f"{layer}.bias"], 0)
    expected = x @ weights["out.weight"].T + weights["out.bias"]
    np.testing.assert_allclose(got, expected, rtol=1e-12)


def test_scores_are_infrared_and_collinear_safe() -> None:
    torch.manual_seed(0)
    tagger = NSubjettiness(Features(), CLASSES).double()
    tagger(make([40] * 30, dtype=torch.float64))
    p4 = make([30], dtype=torch.float64).p4
    soft, half = torch.tensor([[1e-12, 1e-12, 0, 0]]), p4[:1] / 2
    results = [
        tagger.eval()(make_batch(torch.zeros(len(x), 7), torch.tensor([0, len(x)]), p4=x))
        for x in (p4, torch.cat([p4, soft]), torch.cat([half, p4[1:], half]))
    ]
    for changed in results[1:]:
        torch.testing.assert_close(changed, results[0], rtol=1e-9, atol=1e-9)


def test_features_do_not_enter() -> None:
    tagger = NSubjettiness(Features(), CLASSES).eval()
    batch = make([20, 30])
    other = make_batch(batch.x + 1, batch.ptr, p4=batch.p4, y=batch.y)
    assert torch.equal(tagger(other), tagger(batch))


@pytest.mark.parametrize("arguments", [{"bodies": 1}, {"dropout": (0.1,)}])
def test_arguments_without_meaning_are_refused(arguments) -> None:
    with pytest.raises(ValueError, match="NSubjettiness needs bodies >= 2 and a share to drop"):
        NSubjettiness(Features(), CLASSES, **arguments)
