r"""Attention between the constituents of a jet, packed outside and padded inside.

A. Vaswani et al., "Attention is all you need", NeurIPS 2017, arXiv:1706.03762. Parameters are named
as in weaver-core.

Shapes: B jets, N constituents of all jets end to end, P places of the largest jet, C channels,
H heads, D = C / H channels of a head, E unordered pairs.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.taggers.dense import from_dense, to_dense
from hepgen.taggers.dropout import Dropout, drop

__all__ = ["Attention", "attend", "key_bias", "pair_bias"]


# Its exponential is 0 in every type; where a jet has no constituent at all, softmax stays finite.
ABSENT = -3e4


class Attention(nn.Module):
    """Multi-head attention: query, key and value of each constituent, and what comes of them.

    The three steps are methods, so that something may be done to queries, keys and values on their
    way (as local frames do): ``output(attend(projected(x), ...))``.

    Args:
        width: channels C.
        heads: H, a divisor of C.
        dropout: share of the weights that is dropped in training.

    Raises:
        ValueError: the width is no multiple of the number of heads.
    """

    def __init__(self, width: int, heads: int, dropout: float = 0.0) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"the width should be a multiple of {heads} heads, not {width}")
        self.heads, self.dropout = heads, Dropout(dropout)
        self.in_proj = nn.Linear(width, 3 * width)
        self.out_proj = nn.Linear(width, width)

    def forward(self, x: Tensor, rows: Tensor, ptr: Tensor, bias: Tensor) -> Tensor:
        """What each constituent takes from all of its jet.

        Args:
            x: shape (N, C).
            rows: what `hepgen.taggers.dense.places` gives, shape (B, P).
            ptr: offsets of the jets in N, shape (B + 1,), int64.
            bias: added to the scores, shape (B, H or 1, P or 1, P), see `pair_bias`, `key_bias`.

        Returns:
            Shape (N, C).
        """
        width = x.shape[1]
        qkv = to_dense(self.in_proj(x), rows)  # (B, P, 3 C)
        split = qkv.view(*rows.shape, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, H, P, D)
        mixed = attend(query, key, value, bias, self.dropout.share)
        packed = from_dense(mixed.transpose(1, 2).flatten(2), ptr, x.shape[0])  # (N, C)
        out: Tensor = self.out_proj(packed)
        return out

    def of_token(self, token: Tensor, x: Tensor, rows: Tensor) -> Tensor:
        """What a token of each jet takes from itself and all constituents.

        Args:
            token: queries, before any normalisation, shape (B, C).
            x: keys and values, shape (N + B, C); those of the tokens come last.
            rows: what `hepgen.taggers.dense.places` gives, shape (B, P).

        Returns:
            Shape (B, C).
        """
        jets, width = token.shape
        query = functional.linear(token, self.in_proj.weight[:width], self.in_proj.bias[:width])
        pair = functional.linear(x, self.in_proj.weight[width:], self.in_proj.bias[width:])
        last = x.shape[0] - jets + torch.arange(jets, device=x.device)
        rows = torch.cat([last[:, None], rows], dim=1)  # (B, 1 + P)
        dense = to_dense(pair, rows).view(*rows.shape, 2, self.heads, width // self.heads)
        key, value = dense.permute(2, 0, 3, 1, 4)  # (B, H, 1 + P, D)
        query = query.view(jets, self.heads, 1, width // self.heads)  # (B, H, 1, D)
        bias = key_bias(rows, query.dtype)
        mixed = attend(query, key, value, bias, self.dropout.share)
        out: Tensor = self.out_proj(mixed.flatten(1))
        return out


def attend(query: Tensor, key: Tensor, value: Tensor, bias: Tensor, dropout: float = 0.0) -> Tensor:
    r"""Values, weighted with :math:`\mathrm{softmax}(q k^\top / \sqrt D + b)`.

    Args:
        query: shape (B, H, Q, D).
        key: shape (B, H, P, D).
        value: shape (B, H, P, D).
        bias: b, broadcast to (B, H, Q, P).
        dropout: share of the weights that is dropped.

    Returns:
        Shape (B, H, Q, D).
    """
    # Autocast may have left it wider; and the compiler does not know P, so that it shall not ask.
    bias = bias.to(query.dtype).expand(*query.shape[:3], key.shape[2])
    if query.device.type == "cpu" and (dropout > 0 or bias.requires_grad):
        # Where torch's kernels would fall back on single steps too, and on more of them.
        scores = torch.matmul(query * query.shape[3] ** -0.5, key.transpose(2, 3)) + bias
        return torch.matmul(drop(scores.softmax(dim=-1), dropout), value)
    return functional.scaled_dot_product_attention(query, key, value, bias, dropout)


def key_bias(rows: Tensor, dtype: torch.dtype) -> Tensor:
    """A bias that lets nobody look at empty places.

    Args:
        rows: what `hepgen.taggers.dense.places` gives, shape (B, P).
        dtype: of the bias.

    Returns:
        Shape (B, 1, 1, P): 0, and -30 000 where there is no constituent.
    """
    bias = torch.zeros(rows.shape, dtype=dtype, device=rows.device)
    return bias.masked_fill(rows < 0, ABSENT)[:, None, None, :]


def pair_bias(values: Tensor, pair_rows: Tensor) -> Tensor:
    """Values of unordered pairs as a bias for both orders, and none at empty places.

    Args:
        values: shape (E, H).
        pair_rows: what `hepgen.data.pairs.pair_places` gives, shape (B, P, P).

    Returns:
        Shape (B, H, P, P), contiguous; where a place is empty, as in `key_bias`.
    """
    padded = functional.pad(values, (0, 0, 0, 1), value=ABSENT)  # (E + 1, H)
    rows = torch.where(pair_rows < 0, values.shape[0], pair_rows)
    mirrored = padded.index_select(0, rows.flatten()).view(*rows.shape, values.shape[1])
    return mirrored.permute(0, 3, 1, 2).contiguous()
