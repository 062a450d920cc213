"""L-GATr-slim: the package's outputs with the same weights, its symmetry and its size."""

from __future__ import annotations

from typing import Any

import lgatr
import pytest
import torch

from hepgen.taggers.lgatr_slim import LGATrSlim, from_lgatr_state
from tests.taggers.jets import CLASSES
from tests.taggers.lgatr_nets import FEATURES, LgatrTagger, massive, randomise
from tests.taggers.lorentz_transformations import random_lorentz, transformed

SPURIONS = {
    (): lgatr.get_spurions(None, False, dtype=torch.float64),
    ("beams", "time"): lgatr.get_spurions("lightlike", True, dtype=torch.float64),
    ("massive_beams",): lgatr.get_spurions("timelike", False, dtype=torch.float64),
}
COUNTS = [0, 1, 2, 3, 7, 30, 64, 100, 200]


def pair(blocks: int = 2, **arguments: Any) -> tuple[LGATrSlim, LgatrTagger]:
    """Our tagger and lgatr's network with the same weights."""
    torch.manual_seed(1)
    ours = LGATrSlim(FEATURES, CLASSES, num_blocks=blocks, **arguments)
    token = ours.pooling == "global_token"
    net = lgatr.LGATrSlim(
        num_blocks=blocks,
        in_v_channels=1,
        out_v_channels=0,
        hidden_v_channels=ours.v_channels,
        in_s_channels=len(ours.scalars) + int(token or not ours.scalars),
        out_s_channels=2,
        hidden_s_channels=ours.s_channels,
        num_heads=ours.heads,
        mlp_ratio=ours.mlp_ratio,
        attn_ratio=ours.attn_ratio,
    )
    ours.load_state_dict(from_lgatr_state(randomise(net).state_dict()))
    columns = [FEATURES.names.index(name) for name in ours.scalars]
    return ours.eval(), LgatrTagger(net, columns, SPURIONS[ours.spurions], token)


@pytest.mark.parametrize("pooling", ["global_token", "mean"])
@pytest.mark.parametrize("scalars", [(), ("charge", "log_pt")])
@pytest.mark.parametrize("spurions", SPURIONS)
def test_logits_are_those_of_lgatr_with_the_same_weights(pooling, scalars, spurions) -> None:
    ours, theirs = pair(pooling=pooling, scalars=scalars, spurions=spurions)
    counts = COUNTS if pooling == "global_token" or spurions else COUNTS[1:]
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-9)):
        batch = massive(counts, dtype)
        with torch.no_grad():
            got = ours.to(dtype)(batch)
            for length in (None, 230):
                expected = theirs.to(dtype)(batch, length)
                torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_the_published_network_has_the_outputs_of_lgatr_and_2_0_million_parameters() -> None:
    ours, theirs = pair(blocks=12)
    batch = massive([1, 20, 50])
    with torch.no_grad():
        got, expected = ours.double()(batch), theirs.double()(batch)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    # lgatr freezes the weights that nobody sees; here there are none.
    trained = sum(p.numel() for p in theirs.parameters() if p.requires_grad)
    assert sum(p.numel() for p in ours.parameters()) == trained == 2_013_826


@pytest.mark.parametrize("variant", [{"attn_ratio": 2}, {"mlp_ratio": 2, "heads": 2}])
def test_variants_have_the_outputs_of_lgatr(variant) -> None:
    ours, theirs = pair(**({"v_channels": 6, "s_channels": 10, "heads": 2} | variant))
    batch = massive([3, 20])
    with torch.no_grad():
        got, expected = ours.double()(batch), theirs.double()(batch)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_gradients_are_those_of_lgatr() -> None:
    ours, theirs = pair()
    batch = massive([1, 9, 40])
    ours.double()(batch).square().sum().backward()
    theirs.double()(batch).square().sum().backward()
    expected = from_lgatr_state({n: p.grad for n, p in theirs.net.named_parameters()})
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(parameter.grad, expected[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("pooling", ["global_token", "mean"])
def test_without_spurions_scores_are_lorentz_invariant(pooling) -> None:
    ours, _ = pair(pooling=pooling, spurions=(), scalars=("charge",), mass_reg=0.0)
    batch = massive([1, 2, 5, 20, 40])
    with torch.no_grad():
        expected = ours.double()(batch)
        for seed in range(10):
            got = ours(transformed(batch, random_lorentz(seed)))
            assert (got - expected).abs().max() < 1e-10


def test_with_spurions_scores_know_the_beams() -> None:
    ours, _ = pair()
    batch = massive([5, 20, 40])
    turn = torch.eye(4, dtype=torch.float64)
    turn[1:3, 1:3] = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    with torch.no_grad():
        expected = ours.double()(batch)
        assert (ours(transformed(batch, turn)) - expected).abs().max() < 1e-10
        assert (ours(transformed(batch, random_lorentz(0))) - expected).abs().max() > 1e-4


def test_it_has_a_block_at_least() -> None:
    with pytest.raises(ValueError, match="num_blocks >= 1, not 0"):
        LGATrSlim(FEATURES, CLASSES, num_blocks=0)
