"""weaver-core's ParticleTransformer on packed batches, for comparison."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from weaver.nn.model.ParticleTransformer import Block, ParticleTransformer

from hepgen.data import Batch


class WeaverTransformer(nn.Module):
    """The network of the JetClass paper; batches are padded inside."""

    def __init__(self, features: int, classes: int, **arguments: Any) -> None:
        super().__init__()
        arguments = {"use_pre_activation_pair": False, "trim": False, **arguments}
        self.mod = ParticleTransformer(features, classes, **arguments)

    def forward(self, batch: Batch, length: int = 0) -> Tensor:
        x, momenta, mask = padded(batch, length)
        logits: Tensor = self.mod(x, momenta, mask)
        return logits


def padded(batch: Batch, length: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Features (B, F, P), momenta (B, 4, P) as (px, py, pz, E), and mask (B, 1, P)."""
    counts = batch.ptr.diff()
    mask = torch.arange(max(length, int(counts.max()))) < counts[:, None]
    x, momenta = (t.new_zeros(*mask.shape, t.shape[1]) for t in (batch.x, batch.p4))
    x[mask], momenta[mask] = batch.x, batch.p4.roll(-1, dims=1)
    return x.mT, momenta.mT, mask[:, None]


class TransposedScale(nn.Module):
    """In place of the norm after attention: what weaver 0.4 did before it, and the norm.

    weaver 0.4 wrote ``einsum('tbhd,h->tbdh', x, c_attn)``, so that channels come out by channel of
    a head first and then by head. The scale stands in the block already.
    """

    def __init__(self, norm: nn.Module, heads: int) -> None:
        super().__init__()
        self.norm, self.heads = norm, heads

    def forward(self, x: Tensor) -> Tensor:
        ones = torch.ones(self.heads, dtype=x.dtype)
        split = x.view(*x.shape[:2], self.heads, -1)
        permuted = torch.einsum("bthd,h->btdh", split, ones)
        normed: Tensor = self.norm(permuted.reshape(x.shape))
        return normed


def as_in_0_4(model: nn.Module) -> nn.Module:
    """The model, its blocks as weaver 0.4 had them; names of parameters change."""
    for block in model.modules():
        if isinstance(block, Block):
            block.post_attn_norm = TransposedScale(block.post_attn_norm, block.num_heads)
    return model
