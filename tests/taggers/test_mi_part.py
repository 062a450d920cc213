"""MIParT against its equations written out jet by jet and head by head."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from hepgen.data import Features
from hepgen.taggers.mi_part import MIParT, MoreInteractionBlock, from_mipart_state
from hepgen.taggers.pair_features import pair_features
from tests.taggers.jets import CLASSES, make

SIZES: dict[str, Any] = {
    "embed_channels": (12, 16),
    "pair_channels": (6, 8),
    "heads": 4,
    "num_interaction_blocks": 2,
    "num_blocks": 2,
    "num_class_blocks": 1,
}


def build(**arguments: Any) -> MIParT:
    torch.manual_seed(0)
    tagger = MIParT(Features(), CLASSES, **(SIZES | arguments)).double()
    for name, tensor in tagger.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape) + 0.5)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.add_(0.3 * torch.randn(tensor.shape))
    return tagger.eval()


def normalised(norm: Any, x: Tensor) -> Tensor:
    """Batch normalisation in evaluation."""
    return norm.weight * (x - norm.running_mean) / (norm.running_var + norm.eps).sqrt() + norm.bias


def one_head(weights: Tensor, value: Tensor) -> Tensor:
    """(P, P) and (P, D): a weighted mean for each constituent."""
    return torch.stack(
        [sum(w * v for w, v in zip(row, value, strict=True)) for row in weights.softmax(dim=1)]
    )


def finish(block: Any, x: Tensor, heads: list[Tensor]) -> Tensor:
    """What follows attention, the outcome of which comes head by head."""
    scaled = torch.stack([c * head for c, head in zip(block.c_attn, heads, strict=True)], dim=2)
    if not block.head_transpose:
        scaled = scaled.transpose(1, 2)  # (P, D, H) -> (P, H, D)
    x = x + block.post_attn_norm(scaled.flatten(1))
    hidden = block.post_fc_norm(functional.gelu(block.fc1(block.pre_fc_norm(x))))
    return x * block.w_resid + block.fc2(hidden)


def split(linear_weight: Tensor, bias: Tensor | None, x: Tensor, heads: int) -> list[Tensor]:
    rows = linear_weight.chunk(heads)
    shifts = [0.0] * heads if bias is None else bias.chunk(heads)
    return [x @ w.T + b for w, b in zip(rows, shifts, strict=True)]


def attend(attention: Any, query: Tensor, keys: Tensor, bias: Tensor) -> list[Tensor]:
    """Outcome (P, C) of torch-like attention, cut into heads."""
    weights, biases = attention.in_proj.weight.chunk(3), attention.in_proj.bias.chunk(3)
    number = attention.heads
    q, k, v = (
        split(w, b, x, number) for w, b, x in zip(weights, biases, (query, keys, keys), strict=True)
    )
    heads = [
        one_head(a @ b.T / a.shape[1] ** 0.5 + u, c)
        for a, b, c, u in zip(q, k, v, bias, strict=True)
    ]
    out = attention.out_proj(torch.cat(heads, dim=1))
    return list(out.chunk(number, dim=1))


def slow(tagger: MIParT, x: Tensor, p4: Tensor) -> Tensor:
    """Logits (K,) of one jet with a full square of pairs."""
    count = len(x)
    grid = torch.cartesian_prod(torch.arange(count), torch.arange(count)).T.reshape(2, -1)
    u = pair_features(p4, grid)
    first, second = tagger.pair_embed["embed1"].embed, tagger.pair_embed["embed2"].embed
    u = normalised(first[0], u)
    for i in range(1, len(first), 3):
        u = functional.gelu(normalised(first[i + 1], first[i](u)))
    few = functional.gelu(normalised(second[1], second[0](u)))
    many, few = (t.view(count, count, -1).permute(2, 0, 1) for t in (u, few))
    x = tagger.embed.embed(normalised(tagger.embed.input_bn, x))
    for block in tagger.blocks:
        values = split(block.attn.vv.weight, None, block.pre_attn_norm(x), block.heads)
        x = finish(block, x, [one_head(w, v) for w, v in zip(many, values, strict=True)])
    for block in tagger.blocks2:
        normed = block.pre_attn_norm(x)
        x = finish(block, x, attend(block.attn, normed, normed, few))
    token = tagger.cls_token[0]
    for block in tagger.cls_blocks:
        keys = block.pre_attn_norm(torch.cat([token, x]))
        nothing = torch.zeros(block.heads, 1, count + 1, dtype=x.dtype)
        token = finish(block, token, attend(block.attn, token, keys, nothing))
    return tagger.fc(tagger.norm(token))[0]


@pytest.mark.parametrize("transpose", [True, False])
def test_logits_are_those_of_the_equations(transpose) -> None:
    tagger = build(head_transpose=transpose)
    batch = make([1, 7, 2, 15], dtype=torch.float64)
    with torch.no_grad():
        got = tagger(batch)
        for jet in range(4):
            rows = slice(int(batch.ptr[jet]), int(batch.ptr[jet + 1]))
            expected = slow(tagger, batch.x[rows], batch.p4[rows])
            torch.testing.assert_close(got[jet], expected, rtol=1e-10, atol=1e-10)


def test_it_has_as_many_parameters_as_the_public_program() -> None:
    # Counted by hand from its layers; the paper says 0.72 M for the smaller.
    def count(**arguments: Any) -> int:
        return sum(p.numel() for p in MIParT(Features(), CLASSES, **arguments).parameters())

    embedding = 14 + 14 + 1024 + 256 + 66_048 + 1024 + 32_832
    pairs = 8 + (320 + 128) + 2 * (4160 + 128) + (520 + 16)
    interaction_block = 4096 + 3 * 128 + 16_640 + 512 + 16_448 + 64 + 64
    block = 12_480 + 4160 + 3 * 128 + 16_640 + 512 + 16_448 + 8 + 64
    rest = 64 + 128 + 130
    assert count() == embedding + pairs + 5 * interaction_block + 7 * block + rest == 657_014
    assert count(embed_channels=(128, 512, 128)) == 2_292_470


def test_weights_of_the_public_program_find_their_places() -> None:
    names = {
        "mod.pair_embed.embed1.1.weight": "pair_embed.embed1.embed.1.weight",
        "mod.pair_embed.embed2.0.weight": "pair_embed.embed2.embed.0.weight",
        "mod.blocks.4.attn.vv.weight": "blocks.4.attn.vv.weight",
        "mod.blocks2.0.attn.in_proj_weight": "blocks2.0.attn.in_proj.weight",
        "mod.cls_blocks.1.attn.out_proj.bias": "cls_blocks.1.attn.out_proj.bias",
        "mod.embed.embed.1.bias": "embed.embed.1.bias",
    }
    state = MIParT(Features(), CLASSES).state_dict()
    assert set(from_mipart_state(dict.fromkeys(names, torch.zeros(2)))) == set(names.values())
    assert set(names.values()) <= set(state)


def test_values_are_shared_among_interactions() -> None:
    with pytest.raises(ValueError, match="multiple of 5 interactions, not 12"):
        MoreInteractionBlock(12, 5)


def test_gradients_reach_both_kinds_of_interactions() -> None:
    tagger = build().train()
    tagger(make([3, 9, 20], dtype=torch.float64)).square().sum().backward()
    for part in ("embed1", "embed2"):
        gradient = tagger.pair_embed[part].embed[-3].weight.grad
        assert gradient.isfinite().all()
        assert (gradient != 0).any()
