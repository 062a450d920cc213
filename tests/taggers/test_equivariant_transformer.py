"""What L-GATr and L-GATr-slim share: tokens, groups of jets, attention, masses."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import vector
from torch.nn import functional

from hepgen.data import make_batch
from hepgen.taggers.equivariant_transformer import (
    EquivariantTransformer,
    JetAttention,
    regulated,
)
from hepgen.taggers.lgatr import LGATr
from hepgen.taggers.lgatr_slim import LGATrSlim
from tests.taggers.jets import CLASSES
from tests.taggers.lgatr_nets import FEATURES, massive, randomise

COUNTS = [0, 40, 3, 1, 0, 25, 60, 2]


@pytest.fixture(params=[LGATr, LGATrSlim])
def tagger(request: pytest.FixtureRequest) -> EquivariantTransformer:
    torch.manual_seed(0)
    return randomise(request.param(FEATURES, CLASSES, num_blocks=2)).double()


def test_attention_is_that_of_each_jet_alone() -> None:
    ptr = torch.tensor([0, 3, 3, 4, 12])
    qkv = torch.randn(12, 3, 2, 5, dtype=torch.float64)
    got = JetAttention(ptr, qkv.dtype)(qkv)
    assert got.shape == (12, 2, 5)
    for start, stop in ((0, 3), (3, 4), (4, 12)):
        query, key, value = qkv[start:stop].permute(1, 2, 0, 3)
        weights = functional.softmax(query @ key.mT / 5**0.5, dim=-1)
        expected = (weights @ value).transpose(0, 1)
        torch.testing.assert_close(got[start:stop], expected, rtol=1e-12, atol=1e-12)


def test_regulated_momenta_have_the_mass_at_least_and_keep_their_direction() -> None:
    batch = massive([50], torch.float32)
    p4 = batch.p4.clone()
    p4[:20, 0] = p4[:20, 1:].norm(dim=1)
    got = regulated(p4, 0.5)
    assert got.dtype == torch.float64
    columns = dict(zip(("E", "px", "py", "pz"), got.numpy().T, strict=True))
    masses = vector.array(columns).mass
    before = vector.array(dict(zip(columns, p4.double().numpy().T, strict=True))).mass
    np.testing.assert_allclose(masses, np.maximum(before, 0.5), rtol=1e-6)
    torch.testing.assert_close(got[:, 1:], p4[:, 1:].double(), rtol=0, atol=0)
    torch.testing.assert_close(regulated(p4, 0.0), p4.double(), rtol=0, atol=0)


def test_logits_do_not_depend_on_the_groups(tagger, monkeypatch) -> None:
    batch = massive(COUNTS)
    expected = tagger(batch).detach()
    gradients = []
    for rows in (1, 50, 10_000):
        monkeypatch.setattr(type(tagger), "group_rows", rows)
        tagger.zero_grad()
        got = tagger(batch)
        torch.testing.assert_close(got, expected, rtol=1e-11, atol=1e-11)
        got.square().sum().backward()
        gradients.append(torch.cat([p.grad.flatten() for p in tagger.parameters()]))
    torch.testing.assert_close(gradients[1], gradients[0], rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(gradients[2], gradients[0], rtol=1e-9, atol=1e-9)


def test_features_that_are_not_called_scalars_do_not_enter(tagger) -> None:
    batch = massive(COUNTS)
    with torch.no_grad():
        expected = tagger(batch)
        batch.x += 1
        torch.testing.assert_close(tagger(batch), expected, rtol=0, atol=0)
        named = randomise(type(tagger)(FEATURES, CLASSES, scalars=["charge"], num_blocks=1))
        before = named.double()(batch)
        batch.x[:, 1] += 1
        assert (named(batch) - before).abs().max() > 1e-4


def test_float32_scores_of_energetic_jets_are_near_those_of_float64(tagger) -> None:
    batch = massive([30, 60, 100])  # three times as hard: constituents of up to 600 GeV
    exact = make_batch(batch.x, batch.ptr, p4=3 * batch.p4, y=batch.y)
    single = make_batch(batch.x.float(), batch.ptr, p4=exact.p4.float(), y=batch.y)
    with torch.no_grad():
        expected = tagger(exact)
        got = tagger.float()(single)
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-4)


def test_more_than_one_block_of_jets_without_constituents_has_logits(tagger) -> None:
    with torch.no_grad():
        logits = tagger(massive([0, 0, 0]))
    torch.testing.assert_close(logits, logits[:1].expand(3, -1), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("kind", [LGATr, LGATrSlim])
def test_errors_name_what_is_nearest(kind) -> None:
    with pytest.raises(ValueError, match=r"no scalar 'chrage'; nearest: charge; there are"):
        kind(FEATURES, CLASSES, scalars=["chrage"])
    with pytest.raises(ValueError, match="no spurion 'beam'; nearest: beams"):
        kind(FEATURES, CLASSES, spurions=["beam"])
    with pytest.raises(ValueError, match="no pooling 'meen'; nearest: mean"):
        kind(FEATURES, CLASSES, pooling="meen")
    with pytest.raises(ValueError, match=r"spurions should be a sequence .* \['time'\]"):
        kind(FEATURES, CLASSES, spurions="time")
    with pytest.raises(ValueError, match="mass_reg=-1"):
        kind(FEATURES, CLASSES, mass_reg=-1)
