"""P-CNN against weaver's example network, by the logits it gave, and against numpy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hepgen.data import Batch, Features, make_batch
from hepgen.taggers import PCNN
from tests.reference.seeded_weights import seeded_weights
from tests.taggers.jets import CLASSES, make, shuffled

REFERENCE = Path(__file__).parents[1] / "reference" / "p_cnn.npz"


@pytest.fixture(scope="module")
def reference() -> dict[str, Any]:
    with np.load(REFERENCE) as stored:
        return dict(stored)


def stored_batch(reference: dict[str, Any], dtype: torch.dtype) -> Batch:
    x, p4 = (torch.from_numpy(reference[name]).to(dtype) for name in ("x", "p4"))
    return make_batch(x, torch.from_numpy(reference["ptr"]), p4=p4)


def weighted(places: int, dtype: torch.dtype) -> PCNN:
    tagger = PCNN(Features(), CLASSES, places=places).to(dtype)
    tagger.load_state_dict(seeded_weights(tagger))
    return tagger.eval()


@pytest.mark.parametrize(
    ("features", "classes", "parameters"),
    [
        ("kinematics", CLASSES, 349_456),
        ("kinematics+pid", CLASSES, 350_044),
        ("full", [f"class{i}" for i in range(10)], 354_540),
    ],
)
def test_it_has_as_many_parameters_as_weaver_s(features, classes, parameters) -> None:
    tagger = PCNN(Features(features), classes)
    assert sum(p.numel() for p in tagger.parameters()) == parameters


@pytest.mark.parametrize("places", [100, 128])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["f32", "f64"]
)
def test_logits_are_those_of_weaver_padded_to_as_many_places(
    reference, places, dtype, tolerance
) -> None:
    tagger = weighted(places, dtype)
    batch = stored_batch(reference, dtype)
    expected = torch.from_numpy(reference[f"logits_{places}"]).to(dtype)
    # The weights mean something: jets differ by a thousand times the tolerance.
    assert expected.std(dim=0).min() > 1e-2
    with torch.no_grad():
        torch.testing.assert_close(tagger(batch), expected, rtol=tolerance, atol=tolerance)
        got = tagger(shuffled_rows(batch))
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def shuffled_rows(batch: Batch) -> Batch:
    whole = make_batch(
        batch.x,
        batch.ptr,
        p4=batch.p4,
        pos=batch.x[:, -2:],
        y=torch.zeros(batch.num_graphs, dtype=torch.int64),
        weight=torch.ones(batch.num_graphs),
    )
    return shuffled(whole, 5)


def test_logits_do_not_depend_on_how_long_the_longest_jet_of_the_batch_is() -> None:
    tagger = weighted(100, torch.float64)
    alone, beside = make([20], dtype=torch.float64), make([20, 200], dtype=torch.float64)
    rows = slice(0, 20)
    beside.x[rows], beside.p4[rows], beside.pos[rows] = alone.x, alone.p4, alone.pos
    with torch.no_grad():
        torch.testing.assert_close(tagger(beside)[:1], tagger(alone), rtol=1e-12, atol=1e-12)


def test_constituents_beyond_the_last_place_are_left_out() -> None:
    tagger = weighted(100, torch.float64)
    batch = make([150], dtype=torch.float64)
    order = torch.hypot(batch.p4[:, 1], batch.p4[:, 2]).argsort(descending=True)[:100]
    first = make_batch(
        batch.x[order], torch.tensor([0, 100]), p4=batch.p4[order], pos=batch.pos[order]
    )
    with torch.no_grad():
        torch.testing.assert_close(tagger(first), tagger(batch), rtol=1e-12, atol=1e-12)


def test_its_logits_are_those_of_loops_over_places() -> None:
    tagger = PCNN(Features(), CLASSES, places=9, stem=4, stages=((4,), (6,)), fc_channels=(5,))
    tagger.double().load_state_dict(seeded_weights(tagger))
    tagger.eval()
    batch = make([6, 12], dtype=torch.float64)
    state = {name: tensor.numpy() for name, tensor in tagger.state_dict().items()}

    def norm(x, name):
        scale = state[f"{name}.weight"] / np.sqrt(state[f"{name}.running_var"] + 1e-5)
        return (x - state[f"{name}.running_mean"]) * scale + state[f"{name}.bias"]

    def conv(x, name, stride=1):
        weight = state[f"{name}.weight"]
        half = weight.shape[2] // 2
        out = []
        for centre in range(0, len(x), stride):
            taps = [(tap, centre + tap - half) for tap in range(weight.shape[2])]
            out.append(sum(weight[:, :, t] @ x[p] for t, p in taps if 0 <= p < len(x)))
        return np.stack(out) + state.get(f"{name}.bias", 0)

    expected = []
    momentum = np.hypot(*batch.p4[:, 1:3].numpy().T)
    for jet in range(2):
        rows = np.arange(int(batch.ptr[jet]), int(batch.ptr[jet + 1]))
        rows = rows[np.argsort(-momentum[rows])][:9]
        x = np.zeros((9, 7))
        x[: len(rows)] = batch.x.numpy()[rows]
        x = np.maximum(norm(conv(norm(x, "fts_conv.0"), "fts_conv.1"), "fts_conv.2"), 0)
        for i, stride in enumerate((1, 2)):
            unit = f"resnet_units.resnet_unit_{i}.0"
            h = np.maximum(norm(conv(x, f"{unit}.conv1", stride), f"{unit}.bn1"), 0)
            h = np.maximum(norm(conv(h, f"{unit}.conv2"), f"{unit}.bn2"), 0)
            x = h + (x if i == 0 else conv(x, f"{unit}.conv_sc", stride))
        h = np.maximum(state["fc.0.0.weight"] @ x.mean(axis=0) + state["fc.0.0.bias"], 0)
        expected.append(state["fc.1.weight"] @ h + state["fc.1.bias"])
    with torch.no_grad():
        np.testing.assert_allclose(tagger(batch), expected, rtol=1e-10)


@pytest.mark.parametrize("wrong", [{"places": 0}, {"stages": ()}, {"stages": ((4,), ())}])
def test_arrangements_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="needs places >= 1 and stages of units"):
        PCNN(Features(), CLASSES, **wrong)
