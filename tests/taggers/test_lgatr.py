"""L-GATr: the package's outputs with the same weights, its symmetry and its size."""

from __future__ import annotations

from typing import Any

import lgatr
import pytest
import torch

from hepgen.taggers.lgatr import LGATr, from_lgatr_state
from tests.taggers.jets import CLASSES
from tests.taggers.lgatr_nets import FEATURES, LgatrTagger, massive, randomise
from tests.taggers.lorentz_transformations import random_lorentz, transformed

SPURIONS = {
    (): lgatr.get_spurions(None, False, dtype=torch.float64),
    ("beams", "time"): lgatr.get_spurions("lightlike", True, dtype=torch.float64),
    ("xy_plane", "time"): lgatr.get_spurions("xyplane", True, dtype=torch.float64),
    ("massive_beams",): lgatr.get_spurions("timelike", False, dtype=torch.float64),
}
COUNTS = [0, 1, 2, 3, 7, 30, 64, 100, 200]


def pair(blocks: int = 2, **arguments: Any) -> tuple[LGATr, LgatrTagger]:
    """Our tagger and lgatr's network with the same weights."""
    torch.manual_seed(1)
    ours = LGATr(FEATURES, CLASSES, num_blocks=blocks, **arguments)
    token = ours.pooling == "global_token"
    net = lgatr.LGATr(
        num_blocks=blocks,
        in_mv_channels=1,
        out_mv_channels=2,
        hidden_mv_channels=ours.mv_channels,
        in_s_channels=len(ours.scalars) + int(token or not ours.scalars),
        out_s_channels=0,
        hidden_s_channels=ours.s_channels,
        attention={
            "num_heads": ours.heads,
            "attn_ratio": ours.attn_ratio,
            "head_scale": ours.head_scale,
        },
        mlp={"mlp_ratio": ours.mlp_ratio},
    )
    ours.load_state_dict(from_lgatr_state(randomise(net).state_dict()))
    columns = [FEATURES.names.index(name) for name in ours.scalars]
    return ours.eval(), LgatrTagger(net, columns, SPURIONS[ours.spurions], token)


@pytest.mark.parametrize("pooling", ["global_token", "mean"])
@pytest.mark.parametrize("scalars", [(), ("charge", "log_pt")])
@pytest.mark.parametrize("spurions", SPURIONS)
def test_logits_are_those_of_lgatr_with_the_same_weights(pooling, scalars, spurions) -> None:
    arguments = {"pooling": pooling, "scalars": scalars, "spurions": spurions}
    ours, theirs = pair(**arguments, mv_channels=8, s_channels=16, heads=4)
    counts = COUNTS if pooling == "global_token" or spurions else COUNTS[1:]
    for dtype, tolerance in ((torch.float32, 1e-5), (torch.float64, 1e-9)):
        batch = massive(counts, dtype)
        with torch.no_grad():
            got = ours.to(dtype)(batch)
            for length in (None, 230):
                expected = theirs.to(dtype)(batch, length)
                torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


def test_the_published_network_has_the_outputs_of_lgatr_and_1_1_million_parameters() -> None:
    ours, theirs = pair(blocks=12)
    batch = massive([1, 20, 50])
    with torch.no_grad():
        got, expected = ours.double()(batch), theirs.double()(batch)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    count = sum(p.numel() for p in ours.parameters())
    assert count == 1_076_866
    # Of each class 8 basis maps that give no scalar, and what makes its pseudoscalar; and scalars
    # from scalar components that no token has at the beginning.
    unused = 2 * (8 * 16 + 32 + 1) + 2 * 32
    assert count == sum(p.numel() for p in theirs.parameters()) - unused


@pytest.mark.parametrize("variant", [{"head_scale": False}, {"attn_ratio": 1, "mlp_ratio": 4}])
def test_variants_have_the_outputs_of_lgatr(variant) -> None:
    ours, theirs = pair(mv_channels=6, s_channels=10, heads=2, **variant)
    batch = massive([3, 20])
    with torch.no_grad():
        got, expected = ours.double()(batch), theirs.double()(batch)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)


def test_gradients_are_those_of_lgatr() -> None:
    ours, theirs = pair()
    batch = massive([1, 9, 40])
    ours.double()(batch).square().sum().backward()
    theirs.double()(batch).square().sum().backward()
    gradients = {name: p.grad for name, p in theirs.net.named_parameters()}
    expected = from_lgatr_state(gradients)
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


@pytest.mark.parametrize("spurions", [("beams", "time"), ("xy_plane", "time")])
def test_with_spurions_scores_know_the_beams(spurions) -> None:
    ours, _ = pair(spurions=spurions)
    batch = massive([5, 20, 40])
    turn = torch.eye(4, dtype=torch.float64)
    turn[1:3, 1:3] = torch.tensor([[0.6, -0.8], [0.8, 0.6]], dtype=torch.float64)
    with torch.no_grad():
        expected = ours.double()(batch)
        assert (ours(transformed(batch, turn)) - expected).abs().max() < 1e-10
        assert (ours(transformed(batch, random_lorentz(0))) - expected).abs().max() > 1e-4


def test_it_has_a_block_at_least_and_known_spurions() -> None:
    with pytest.raises(ValueError, match="num_blocks >= 1, not 0"):
        LGATr(FEATURES, CLASSES, num_blocks=0)
    with pytest.raises(ValueError, match=r"no spurion 'xyplane'; nearest: xy_plane"):
        LGATr(FEATURES, CLASSES, spurions=["xyplane"])
