r"""Attention between constituents that each have a frame: vectors are turned on their way.

What a constituent sends to another are numbers and four-vectors in its own frame. Before they are
compared and added up all are taken to the frame of the jet, and what comes out to the frame of whom
it is for; with the metric in the product of queries and keys. The messages of LLoCa,
arXiv:2505.20280, section 3.

Shapes: B jets, N constituents of all jets end to end, P places of the largest jet, H heads,
D = S + 4 V channels of a head: S scalars, then V vectors (E, px, py, pz).
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.kinematics import mass_squared
from hepgen.taggers.dense import from_dense, to_dense
from hepgen.taggers.local_frames import Framed
from hepgen.taggers.lorentz_frames import apply_frame, invert_frame

__all__ = ["TensorAttention", "Ways"]


class Ways(NamedTuple):
    """How vectors get from constituents into the frame of the jet and back.

    Attributes:
        out: shape (N, 4, 4).
        back: shape (N, 4, 4).
    """

    out: Tensor
    back: Tensor

    @classmethod
    def of(cls, framed: Framed, dtype: torch.dtype, steady: bool = True) -> Ways:
        r"""The ways of some frames.

        Args:
            framed: jets with their frames.
            dtype: of what is to travel.
            steady: whether both ways are divided by the invariant
                :math:`\\gamma = E_\\mathrm{jet}/m_\\mathrm{jet}` in the local frame, without
                gradient, so that large boosts do not make large vectors. It is the default of
                lloca 2.0 ("preserve_variance").
        """
        out, back = invert_frame(framed.frame), framed.frame
        if steady:
            energy = apply_frame(framed.frame, framed.jet)[:, 0]
            # As there, 10 MeV more let a light-like jet have a finite factor.
            mass = (mass_squared(framed.jet).clamp(min=0) + 1e-4).sqrt()
            gamma = (energy / mass).detach()[:, None, None]
            out, back = out / gamma, back / gamma
        return cls(out.to(dtype), back.to(dtype))


class TensorAttention(nn.Module):
    """Multi-head attention with scalars and vectors.

    Args:
        width: channels of the constituents.
        heads: H.
        scalars: S of each head.
        vectors: V of each head.
        dropout: share of the weights that is dropped in training.

    Raises:
        ValueError: a head without channels.
    """

    def __init__(
        self, width: int, heads: int, scalars: int, vectors: int, dropout: float = 0.0
    ) -> None:
        super().__init__()
        if heads < 1 or scalars < 0 or vectors < 0 or scalars + vectors < 1:
            raise ValueError(
                f"attention needs heads with channels, not {heads=}, {scalars=}, {vectors=}"
            )
        self.heads, self.scalars, self.vectors = heads, scalars, vectors
        self.dropout = nn.Dropout(dropout)
        inner = heads * (scalars + 4 * vectors)
        self.in_proj = nn.Linear(width, 3 * inner)
        self.out_proj = nn.Linear(inner, width)
        # Keys have their indices down.
        signs = torch.tensor([1.0, -1.0, -1.0, -1.0])
        metric = torch.ones(3, 1, 1, 4)
        metric[1] = signs
        self.register_buffer("metric", metric, persistent=False)

    metric: Tensor

    def forward(self, x: Tensor, ways: Ways, rows: Tensor, ptr: Tensor, bias: Tensor) -> Tensor:
        """What each constituent takes from all of its jet.

        Args:
            x: shape (N, C).
            ways: of the frames of the constituents.
            rows: what `hepgen.taggers.dense.places` gives, shape (B, P).
            ptr: offsets of the jets in N, shape (B + 1,), int64.
            bias: added to the scores, shape (B, H or 1, P or 1, P), see
                `hepgen.taggers.attention.key_bias`.

        Returns:
            Shape (N, C).
        """
        each = self.scalars + 4 * self.vectors
        qkv = self.in_proj(x).view(-1, 3, self.heads, each)  # (N, 3, H, D)
        qkv = self._moved(qkv, ways.out, lower=True)
        dense = to_dense(qkv.flatten(1), rows).view(*rows.shape, 3, self.heads, each)
        query, key, value = dense.permute(2, 0, 3, 1, 4)  # (B, H, P, D)
        # Without memory; torch.export cannot tell that one row of it stands for all.
        bias = bias.to(query.dtype).expand(-1, self.heads, rows.shape[1], -1)
        dropped = self.dropout.p if self.dropout.training else 0.0
        mixed = functional.scaled_dot_product_attention(query, key, value, bias, dropped)
        packed = from_dense(mixed.transpose(1, 2), ptr, x.shape[0])  # (N, H, D)
        out: Tensor = self.out_proj(self._moved(packed, ways.back, lower=False).flatten(1))
        return out

    def _moved(self, values: Tensor, way: Tensor, *, lower: bool) -> Tensor:
        """Values (N, ..., D) with their vectors transformed."""
        scalars, vectors = torch.split(values, [self.scalars, 4 * self.vectors], dim=-1)
        shape = (*values.shape[:-1], self.vectors, 4)
        packed = vectors.reshape(shape).flatten(1, -2).to(way.dtype)  # (N, ... V, 4)
        with torch.autocast(values.device.type, enabled=False):
            moved = (packed @ way.mT).view(shape)
        if lower:
            moved = moved * self.metric
        moved = moved.flatten(-2)
        return torch.cat([scalars, moved.to(scalars.dtype)], dim=-1)
