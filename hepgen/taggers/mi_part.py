r"""More-interaction particle transformer: some blocks attend by interactions alone.

Y. Wu, K. Wang, C. Li, H. Qu and J. Zhu, "Jet tagging with more-interaction particle transformer",
Chin. Phys. C 49 (2025) 013110, arXiv:2407.08682.

Shapes: B jets, N constituents of all jets end to end, P places of the largest jet, F features,
C channels, H heads, U interactions of a pair, E unordered pairs, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

import torch
from torch import Tensor, nn

from hepgen.data import Features
from hepgen.data.pairs import pair_places, unordered_pairs
from hepgen.heads import Head
from hepgen.taggers.attention import Attention, pair_bias
from hepgen.taggers.dense import from_dense, places, to_dense
from hepgen.taggers.dropout import Dropout
from hepgen.taggers.interaction_transformer import InteractionTransformer, from_weaver_state
from hepgen.taggers.pair_embedding import PairEmbedding
from hepgen.taggers.pair_features import pair_features
from hepgen.taggers.tagger import Paper
from hepgen.taggers.transformer_blocks import FeedForwardBlock, ParticleBlock

__all__ = ["MIParT", "MoreInteractionBlock", "from_mipart_state"]


@final
class MIParT(InteractionTransformer):
    r"""More-interaction blocks, then the blocks of a particle transformer, then class attention.

    An MLP of the four features of a pair gives its U = 64 interactions :math:`u_{ij}`, and one more
    layer H = 8 of them. A more-interaction block has U heads whose weights are
    :math:`\mathrm{softmax}_j\, u_{ij}`, the same in all these blocks and computed once; the H are
    the bias of attention in `hepgen.taggers.transformer_blocks.ParticleBlock`.

    On the top-tagging reference set: accuracy 0.942, AUC 0.9868, 1/eB at 30 % 2010 +- 97. With the
    settings of the authors' public program, which are the defaults, it has 657 014 parameters for 7
    features and two classes, as that program has; the paper says 0.72 M. MIParT-L,
    ``embed_channels=(128, 512, 128)``, has 2 292 470. Parameters are named as there, see
    `from_mipart_state`; ``head_transpose`` is True as in weaver 0.4, on which that program stands.

    Args:
        features: what enters of each constituent; it has F names.
        classes: names of the K classes, in the order of the logits; or a head.
        embed_channels: widths of the layers that embed a constituent; the last is C.
        pair_channels: widths of the layers that embed a pair; the last is U, a divisor of C.
        heads: H, a divisor of C.
        num_interaction_blocks: blocks that attend by interactions alone.
        num_blocks: blocks of a particle transformer.
        num_class_blocks: blocks of the class token.
        dropout: share that is dropped in training: of attention weights, of hidden channels and of
            what a block adds; nothing is in the blocks of the class token.
        use_pre_activation_pair: whether neither U nor H interactions have an activation.
        head_transpose: see `hepgen.taggers.transformer_blocks.FeedForwardBlock`; published is True.
        trim: least quantile of the multiplicities to which long jets are cut in training; 0.9 is
            weaver's, 1 cuts none.

    Raises:
        ValueError: C is no multiple of U or of the heads, or ``trim`` is not in (0, 1].
    """

    paper: ClassVar[Paper | None] = Paper(
        "Y. Wu, K. Wang, C. Li, H. Qu and J. Zhu",
        "Jet tagging with more-interaction particle transformer",
        "Chin. Phys. C 49 (2025) 013110",
        "2407.08682",
    )

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        embed_channels: Sequence[int] = (128, 512, 64),
        pair_channels: Sequence[int] = (64, 64, 64),
        heads: int = 8,
        num_interaction_blocks: int = 5,
        num_blocks: int = 5,
        num_class_blocks: int = 2,
        dropout: float = 0.1,
        use_pre_activation_pair: bool = False,
        head_transpose: bool = True,
        trim: float = 1.0,
    ) -> None:
        super().__init__(
            features, classes, embed_channels, num_class_blocks, heads, head_transpose, trim
        )
        self.pair_channels, self.dropout = tuple(pair_channels), dropout
        self.num_interaction_blocks, self.num_blocks = num_interaction_blocks, num_blocks
        self.use_pre_activation_pair = use_pre_activation_pair
        width, wide, active = self.latent_width, self.pair_channels[-1], not use_pre_activation_pair
        self.pair_embed = nn.ModuleDict(
            {
                "embed1": PairEmbedding(4, self.pair_channels, active),
                "embed2": PairEmbedding(wide, (heads,), active, normalise=False),
            }
        )
        self.blocks = nn.ModuleList(
            MoreInteractionBlock(width, wide, dropout, head_transpose)
            for _ in range(num_interaction_blocks)
        )
        self.blocks2 = nn.ModuleList(
            ParticleBlock(
                width,
                heads,
                dropout=dropout,
                attention_dropout=dropout,
                activation_dropout=dropout,
                head_transpose=head_transpose,
            )
            for _ in range(num_blocks)
        )
        for module in self.modules():
            if isinstance(module, Attention):
                nn.init.xavier_uniform_(module.in_proj.weight)
                nn.init.zeros_(module.in_proj.bias)
                nn.init.zeros_(module.out_proj.bias)

    def interactions(self, p4: Tensor, ptr: Tensor) -> Tensor:
        """The U and, after them, the H interactions of each pair, shape (E, U + H)."""
        many = self.pair_embed["embed1"](pair_features(p4, unordered_pairs(ptr)))  # (E, U)
        return torch.cat([many, self.pair_embed["embed2"](many)], dim=1)

    def transform(self, x: Tensor, interactions: Tensor, ptr: Tensor) -> Tensor:
        """The blocks between constituents (N, C), with interactions (E, U + H)."""
        rows = places(ptr)  # (B, P)
        pair_rows = pair_places(ptr, rows)  # (B, P, P)
        many, few = interactions.tensor_split([self.pair_channels[-1]], dim=1)
        weights = pair_bias(many, pair_rows).softmax(dim=-1)  # (B, U, P, P)
        for block in self.blocks:
            x = block(x, rows, ptr, weights)
        bias = pair_bias(few, pair_rows)  # (B, H, P, P)
        for block in self.blocks2:
            x = block(x, rows, ptr, bias)
        return x


class MoreInteractionAttention(nn.Module):
    """A mean of values with weights that are given, other ones for each head.

    Args:
        width: channels C.
        heads: U, a divisor of C.
        dropout: share of the weights that is dropped in training.

    Raises:
        ValueError: the width is no multiple of the number of heads.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"the width should be a multiple of {heads} interactions, not {width}")
        self.heads, self.dropout = heads, Dropout(dropout)
        self.vv = nn.Linear(width, width, bias=False)

    def forward(self, x: Tensor, rows: Tensor, ptr: Tensor, weights: Tensor) -> Tensor:
        """Shape (N, C), of constituents (N, C) and weights (B, U, P, P)."""
        value = to_dense(self.vv(x), rows)  # (B, P, C)
        split = value.view(*rows.shape, self.heads, x.shape[1] // self.heads).transpose(1, 2)
        mixed = self.dropout(weights).to(split.dtype) @ split  # (B, U, P, C / U)
        return from_dense(mixed.transpose(1, 2).flatten(2), ptr, x.shape[0])


class MoreInteractionBlock(FeedForwardBlock):
    """A block of a particle transformer without queries, keys and output map.

    Args:
        width: channels C.
        heads: U, a divisor of C.
        dropout: share that is dropped in training: of weights, of hidden channels and of what is
            added.
        head_transpose: see `hepgen.taggers.transformer_blocks.FeedForwardBlock`.

    Raises:
        ValueError: the width is no multiple of the number of heads.
    """

    def __init__(
        self, width: int, heads: int, dropout: float = 0.0, head_transpose: bool = True
    ) -> None:
        super().__init__(
            width,
            heads,
            dropout=dropout,
            activation_dropout=dropout,
            head_transpose=head_transpose,
        )
        self.attn = MoreInteractionAttention(width, heads, dropout)

    def forward(self, x: Tensor, rows: Tensor, ptr: Tensor, weights: Tensor) -> Tensor:
        """New latents of the constituents.

        Args:
            x: latents, shape (N, C).
            rows: what `hepgen.taggers.dense.places` gives, shape (B, P).
            ptr: offsets of the jets in N, shape (B + 1,), int64.
            weights: shape (B, U, P, P), of which the last axis sums to 1.

        Returns:
            Shape (N, C).
        """
        return self.finish(x, self.attn(self.pre_attn_norm(x), rows, ptr, weights))


def from_mipart_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of the authors' program (github.com/USST-HEP/MIParT) as `MIParT` has them.

    Args:
        state: what ``torch.load(path, weights_only=True)`` gives of a file of theirs.

    Returns:
        Name -> tensor.
    """
    return {
        name.replace("pair_embed.embed1.", "pair_embed.embed1.embed.").replace(
            "pair_embed.embed2.", "pair_embed.embed2.embed."
        ): tensor
        for name, tensor in from_weaver_state(state).items()
    }
