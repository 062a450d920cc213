"""Blocks of transformers, written out one constituent and head at a time."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.taggers.attention import key_bias
from hepgen.taggers.dense import places
from hepgen.taggers.transformer_blocks import ClassBlock, FeedForwardBlock, ParticleBlock

PTR = torch.tensor([0, 4, 6])


def randomised(block: nn.Module) -> nn.Module:
    torch.manual_seed(0)
    for parameter in block.parameters():
        nn.init.normal_(parameter, std=0.5)
    return block.double()


def finish(block: FeedForwardBlock, x: Tensor, outcome: Tensor) -> Tensor:
    """One constituent: scale of heads, norm, and the feed-forward layers."""
    heads = outcome.view(block.heads, -1)
    channels = [
        (head, channel) for head in range(heads.shape[0]) for channel in range(heads.shape[1])
    ]
    if block.head_transpose:
        channels = sorted(channels, key=lambda pair: (pair[1], pair[0]))
    scaled = torch.stack([block.c_attn[h] * heads[h, d] for h, d in channels])
    x = x + block.post_attn_norm(scaled)
    hidden = functional.gelu(block.fc1.weight @ block.pre_fc_norm(x) + block.fc1.bias)
    return block.w_resid * x + block.fc2.weight @ block.post_fc_norm(hidden) + block.fc2.bias


@pytest.mark.parametrize("transpose", [False, True])
def test_what_follows_attention_is_the_equation(transpose) -> None:
    block = randomised(FeedForwardBlock(6, 2, head_transpose=transpose))
    x, outcome = torch.randn(2, 5, 6, dtype=torch.float64)
    expected = torch.stack([finish(block, *pair) for pair in zip(x, outcome, strict=True)])
    torch.testing.assert_close(block.finish(x, outcome), expected)


def test_constituents_ask_one_another_and_a_token_all() -> None:
    particle, token_block = randomised(ParticleBlock(6, 2)), randomised(ClassBlock(6, 2))
    x, token = torch.randn(6, 6, dtype=torch.float64), torch.randn(2, 6, dtype=torch.float64)
    rows = places(PTR)
    normed = particle.pre_attn_norm(x)
    outcome = particle.attn(normed, rows, PTR, key_bias(rows, x.dtype))
    torch.testing.assert_close(
        particle(x, rows, PTR, key_bias(rows, x.dtype)), particle.finish(x, outcome)
    )
    everyone = token_block.pre_attn_norm(torch.cat([x, token]))
    outcome = token_block.attn.of_token(token, everyone, rows)
    torch.testing.assert_close(token_block(token, x, rows), token_block.finish(token, outcome))
