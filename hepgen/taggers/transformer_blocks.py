r"""The blocks of the particle transformer: between constituents, and from them to a class token.

H. Qu, C. Li and S. Qian, "Particle transformer for jet tagging", ICML 2022, arXiv:2202.03772.
Parameters are named as in weaver-core.

Shapes: B jets, N constituents of all jets end to end, P places of the largest jet, C channels,
H heads.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.taggers.attention import Attention
from hepgen.taggers.dropout import Dropout

__all__ = ["ClassBlock", "FeedForwardBlock", "ParticleBlock"]


class FeedForwardBlock(nn.Module):
    r"""What all blocks do with the outcome of their attention.

    .. math::
        x &\leftarrow x + \mathrm{LN}(c_h \cdot a) \\
        x &\leftarrow w \cdot x + W_2\,\mathrm{LN}(\mathrm{GELU}(W_1\,\mathrm{LN}(x)))

    with a scale c for each head h of the outcome a, and a scale w for each channel.

    Args:
        width: channels C.
        heads: H, a divisor of C.
        expansion: hidden channels of the feed-forward layers, in units of C.
        dropout: share that is dropped of what is added to x.
        activation_dropout: share that is dropped of the hidden channels.
        head_transpose: whether channels of the outcome, ordered by head and then by channel of a
            head, go on ordered by channel and then by head.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        expansion: int = 4,
        dropout: float = 0.0,
        activation_dropout: float = 0.0,
        head_transpose: bool = False,
    ) -> None:
        super().__init__()
        self.heads, self.head_transpose = heads, head_transpose
        self.pre_attn_norm = nn.LayerNorm(width)
        self.post_attn_norm = nn.LayerNorm(width)
        self.dropout = Dropout(dropout)
        self.pre_fc_norm = nn.LayerNorm(width)
        self.fc1 = nn.Linear(width, expansion * width)
        self.act_dropout = Dropout(activation_dropout)
        self.post_fc_norm = nn.LayerNorm(expansion * width)
        self.fc2 = nn.Linear(expansion * width, width)
        self.c_attn = nn.Parameter(torch.ones(heads))
        self.w_resid = nn.Parameter(torch.ones(width))

    def finish(self, x: Tensor, outcome: Tensor) -> Tensor:
        """All that comes after the attention.

        Args:
            x: what the block was given, shape (N, C).
            outcome: of the attention, shape (N, C).

        Returns:
            Shape (N, C).
        """
        split = outcome.view(x.shape[0], self.heads, x.shape[1] // self.heads)
        scaled = split * self.c_attn[:, None]  # (N, H, D)
        if self.head_transpose:
            scaled = scaled.transpose(1, 2)  # (N, D, H)
        x = x + self.dropout(self.post_attn_norm(scaled.flatten(1)))
        hidden = self.act_dropout(functional.gelu(self.fc1(self.pre_fc_norm(x))))  # (N, 4 C)
        added = self.dropout(self.fc2(self.post_fc_norm(hidden)))
        return torch.addcmul(added, x, self.w_resid)


class ParticleBlock(FeedForwardBlock):
    """Attention between the constituents of a jet, with a bias for each pair and head.

    Args:
        width: channels C.
        heads: H, a divisor of C.
        expansion: hidden channels of the feed-forward layers, in units of C.
        dropout: share that is dropped of what is added to x.
        attention_dropout: share that is dropped of the attention weights.
        activation_dropout: share that is dropped of the hidden channels.
        head_transpose: see `FeedForwardBlock`.

    Raises:
        ValueError: the width is no multiple of the number of heads.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        expansion: int = 4,
        dropout: float = 0.0,
        attention_dropout: float = 0.0,
        activation_dropout: float = 0.0,
        head_transpose: bool = False,
    ) -> None:
        super().__init__(width, heads, expansion, dropout, activation_dropout, head_transpose)
        self.attn = Attention(width, heads, attention_dropout)

    def forward(self, x: Tensor, rows: Tensor, ptr: Tensor, bias: Tensor) -> Tensor:
        """New latents of the constituents.

        Args:
            x: latents, shape (N, C).
            rows: what `hepgen.taggers.dense.places` gives, shape (B, P).
            ptr: offsets of the jets in N, shape (B + 1,), int64.
            bias: what `hepgen.taggers.attention.pair_bias` gives, shape (B, H, P, P).

        Returns:
            Shape (N, C).
        """
        return self.finish(x, self.attn(self.pre_attn_norm(x), rows, ptr, bias))


class ClassBlock(ParticleBlock):
    """Attention of a class token to itself and all constituents of its jet.

    The query is the token as it is; keys and values are normalised.
    """

    def forward(  # type: ignore[override]
        self, token: Tensor, x: Tensor, rows: Tensor
    ) -> Tensor:
        """New class tokens.

        Args:
            token: shape (B, C).
            x: latents of the constituents, shape (N, C).
            rows: what `hepgen.taggers.dense.places` gives, shape (B, P).

        Returns:
            Shape (B, C).
        """
        everyone = self.pre_attn_norm(torch.cat([x, token]))  # (N + B, C)
        return self.finish(token, self.attn.of_token(token, everyone, rows))
