r"""LLoCa transformer: constituents in frames of their own that exchange scalars and vectors.

J. Spinner, L. Favaro, P. Lippmann, S. Pitz, G. Gerhartz, T. Plehn and F. A. Hamprecht, "Lorentz
local canonicalization: how to make any network Lorentz-equivariant", arXiv:2505.20280; L. Favaro et
al., "Lorentz-equivariance without limitations", arXiv:2508.14898.

Shapes: B jets, N constituents of all jets end to end, F features, C channels, H heads, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, final

from torch import Tensor, nn
from torch.nn import functional

from hepgen.data import Batch, Features
from hepgen.heads import Head
from hepgen.taggers.attention import key_bias
from hepgen.taggers.dense import places
from hepgen.taggers.local_features import check_scalars, in_local_frames
from hepgen.taggers.local_frames import LocalFrames
from hepgen.taggers.segments import segment_mean
from hepgen.taggers.tagger import Paper, Tagger
from hepgen.taggers.tensor_attention import TensorAttention, Ways

__all__ = ["LLoCaTransformer", "from_lloca_state"]


@final
class LLoCaTransformer(Tagger):
    r"""Blocks of attention and feed-forward layers on invariants, then the mean over constituents.

    Each constituent enters with its features in its frame (`LocalFrames`, `in_local_frames`). All
    numbers after that are invariants; those that are components of vectors are taken from frame to
    frame where constituents meet, in the attention (`TensorAttention`). A block is

    .. math::
        x &\leftarrow x + \mathrm{Attention}(\mathrm{LN}(x)) \\
        x &\leftarrow x + W_2\,\mathrm{GELU}(W_1\,\mathrm{LN}(x))

    without weights in the normalisations.

    Published for the top-tagging reference set: accuracy 0.9416, AUC 0.9866, 1/eB = 492 +- 15 at
    50 % and 2150 +- 130 at 30 % signal efficiency with 2.0 million parameters, with beams and time
    as spurions. With the defaults, 7 features and two classes it has 1 997 826 parameters; 18 944
    of them predict the frames. The authors' program for the top set has 12 blocks, 12 scalars and
    one vector a head, and an expansion of 2; the paper's number of parameters is that of these
    defaults.

    Without spurions scores are invariant under all proper Lorentz transformations, with them under
    those that leave the spurions as they are, see `LocalFrames`. Besides momenta the features in
    ``scalars`` enter, and tell whatever they tell.

    Args:
        features: what enters of each constituent; it has F names.
        classes: names of the K classes, in the order of the logits, or a head.
        scalars: names of features that no transformation changes; None for charge, type and
            displacement. The others should be in `hepgen.taggers.local_features.LOCAL`.
        spurions: what the frames may know of the detector, names of
            `hepgen.taggers.spurions.SPURIONS`.
        blocks: number of blocks.
        heads: H.
        head_scalars: scalar channels of each head.
        head_vectors: four-vectors of each head, of four channels; C is the number of all channels.
        expansion: hidden channels of the feed-forward layers, in units of C.
        dropout: share that is dropped of attention weights and of what feed-forward layers add.
        steady: whether messages are divided by the boosts that they go through, see `Ways`.
        frame_hidden: width of the layers that predict frames.
        frame_layers: number of these.

    Raises:
        ValueError: no block or head, no such spurion, or a feature that is neither a scalar nor
            known in local frames.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "p4")
    paper: ClassVar[Paper | None] = Paper(
        "J. Spinner, L. Favaro, P. Lippmann, S. Pitz, G. Gerhartz, T. Plehn and F. A. Hamprecht",
        "Lorentz local canonicalization: how to make any network Lorentz-equivariant",
        "NeurIPS 2025",
        "2505.20280",
    )
    chunk: ClassVar[int] = 8

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        scalars: Sequence[str] | None = None,
        spurions: Sequence[str] = ("beams", "time"),
        blocks: int = 10,
        heads: int = 8,
        head_scalars: int = 8,
        head_vectors: int = 2,
        expansion: int = 4,
        dropout: float = 0.0,
        steady: bool = True,
        frame_hidden: int = 128,
        frame_layers: int = 2,
    ) -> None:
        super().__init__(features, classes)
        if blocks < 1 or heads < 1:
            raise ValueError(
                f"LLoCaTransformer needs blocks and heads >= 1, not {blocks=}, {heads=}"
            )
        self.scalars = check_scalars(scalars, features)
        self.blocks, self.heads, self.expansion = blocks, heads, expansion
        self.head_scalars, self.head_vectors = head_scalars, head_vectors
        self.dropout, self.steady = dropout, steady
        self.frame_hidden, self.frame_layers = frame_hidden, frame_layers
        self._columns = [features.names.index(name) for name in self.scalars]
        self.frames = LocalFrames(len(self.scalars), spurions, frame_hidden, frame_layers)
        self.spurions = self.frames.spurions
        self.latent_width = heads * (head_scalars + 4 * head_vectors)
        self.linear_in = nn.Linear(len(features), self.latent_width)
        self.layers = nn.ModuleList(
            _Block(heads, head_scalars, head_vectors, expansion, dropout) for _ in range(blocks)
        )
        self.linear_out = nn.Linear(self.latent_width, self.width)

    def latents(self, jets: Batch) -> Tensor:
        """Invariants (N, C) of the constituents, after all blocks."""
        framed = self.frames(jets.p4, jets.x[:, self._columns], jets.ptr)
        local = in_local_frames(jets, framed, self.features, self.scalars)
        ways = Ways.of(framed, jets.x.dtype, self.steady)
        rows = places(jets.ptr)
        bias = key_bias(rows, jets.x.dtype)
        x: Tensor = self.linear_in(local.x)
        for layer in self.layers:
            x = layer(x, ways, rows, jets.ptr, bias)
        return x

    def pooled(self, latents: Tensor, jets: Batch) -> Tensor:
        """Logits (B, K) of latents (N, C)."""
        mean = segment_mean(latents, jets.ptr).to(latents.dtype)
        logits: Tensor = self.linear_out(mean)
        return logits

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        return self.pooled(self.latents(jets), jets)


class _Block(nn.Module):
    """Attention and feed-forward layers, each with what was before added."""

    def __init__(
        self, heads: int, scalars: int, vectors: int, expansion: int, dropout: float
    ) -> None:
        super().__init__()
        width = heads * (scalars + 4 * vectors)
        self.attention = TensorAttention(width, heads, scalars, vectors, dropout)
        self.mlp = nn.Sequential(
            nn.Linear(width, expansion * width),
            nn.GELU(),
            nn.Linear(expansion * width, width),
            nn.Dropout(dropout),
        )

    def forward(self, x: Tensor, ways: Ways, rows: Tensor, ptr: Tensor, bias: Tensor) -> Tensor:
        """Invariants (N, C) from those before."""
        x = x + self.attention(functional.layer_norm(x, x.shape[1:]), ways, rows, ptr, bias)
        changed: Tensor = x + self.mlp(functional.layer_norm(x, x.shape[1:]))
        return changed


def from_lloca_state(
    network: Mapping[str, Tensor], frames: Mapping[str, Tensor], heads: int
) -> dict[str, Tensor]:
    """Weights of the package lloca as `LLoCaTransformer` has them.

    ``LLoCaTransformer(...).load_state_dict(from_lloca_state(...))`` gives the same network, if
    inputs are made in the same way.

    Args:
        network: ``state_dict()`` of ``lloca.backbone.transformer.Transformer`` with multi-head
            attention.
        frames: ``state_dict()`` of ``lloca.framesnet.equi_frames.LearnedPDFrames`` with
            ``MLPVectors``.
        heads: number of heads, which the weights do not tell.

    Returns:
        Name -> tensor.
    """
    state = {}
    for name, tensor in network.items():
        if "parity_odd" in name:
            continue
        name = name.replace("blocks.", "layers.").replace("out_linear", "out_proj")
        name = name.replace("mlp.3.", "mlp.2.")  # there is a place for dropout before
        if "qkv_linear.linear" in name:
            name = name.replace("qkv_linear.linear", "in_proj")
            # There heads are counted last, here before the channels of each head.
            apart = tensor.view(3, -1, heads, *tensor.shape[1:])
            tensor = apart.transpose(1, 2).flatten(0, 2)
        name = name.replace("mlp.4.", "mlp.3.")
        state[name] = tensor
    return state | _frames_state(frames)


def _frames_state(frames: Mapping[str, Tensor]) -> dict[str, Tensor]:
    block = "equivectors.block."
    names = {"edge_mean": "mean", "edge_std": "deviation", "edge_inited": "seen"}
    state = {f"frames.vectors.{new}": frames[block + old] for old, new in names.items()}
    layers = sorted({int(key.split(".")[-2]) for key in frames if ".mlp.mlp." in key})
    last = len(layers) - 1
    for number, layer in enumerate(layers):
        if number == 0:
            name = "first"
        elif number == last:
            name = f"rest.{number}"
        else:
            name = f"rest.{number - 1}.1"
        for kind in ("weight", "bias"):
            # The bias of the last layer is the same for all terms of a softmax: not kept here.
            if number < last or kind == "weight":
                state[f"frames.vectors.{name}.{kind}"] = frames[f"{block}mlp.mlp.{layer}.{kind}"]
    return state
