r"""What transformers have in common that know each pair of constituents and end in a class token.

H. Qu, C. Li and S. Qian, "Particle transformer for jet tagging", ICML 2022, arXiv:2202.03772.
Parameters are named as in weaver-core.

Shapes: B jets, N constituents of all jets end to end, P places of the largest jet, F features,
C channels, U channels of an interaction, E unordered pairs, K classes.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import ClassVar, cast

import torch
from torch import Tensor, nn

from hepgen.data import Batch, Features
from hepgen.heads import Head
from hepgen.taggers.dense import places
from hepgen.taggers.edge_conv import batch_norm
from hepgen.taggers.size_groups import SizeGroups, groups_apply
from hepgen.taggers.tagger import Tagger
from hepgen.taggers.transformer_blocks import ClassBlock
from hepgen.taggers.trimming import trimmed

__all__ = ["ConstituentEmbedding", "InteractionTransformer", "from_weaver_state"]


class ConstituentEmbedding(nn.Module):
    """Batch normalisation, then layers: layer normalisation, linear, GELU.

    Args:
        inputs: features F.
        channels: widths of the layers; the last is C.
    """

    def __init__(self, inputs: int, channels: Sequence[int]) -> None:
        super().__init__()
        self.input_bn = nn.BatchNorm1d(inputs)
        layers: list[nn.Module] = []
        for before, after in zip([inputs, *channels[:-1]], channels, strict=True):
            layers += [nn.LayerNorm(before), nn.Linear(before, after), nn.GELU()]
        self.embed = nn.Sequential(*layers)

    def forward(self, x: Tensor) -> Tensor:
        """Latents (N, C) of features (N, F)."""
        latents: Tensor = self.embed(batch_norm(self.input_bn, x))
        return latents


class InteractionTransformer(Tagger):
    """Constituents are embedded, transformed with interactions, and asked by a class token.

    On a CPU jets go through in groups of about the same size, which stay in the cache; under
    ``torch.compile`` and elsewhere all at once.

    Args:
        features: what enters of each constituent; it has F names.
        classes: names of the K classes, in the order of the logits; or a head.
        embed_channels: widths of the layers that embed a constituent; the last is C.
        num_class_blocks: blocks of the class token.
        heads: of attention to the constituents, a divisor of C.
        head_transpose: see `hepgen.taggers.transformer_blocks.FeedForwardBlock`.
        trim: see `hepgen.taggers.trimming.trimmed`.

    Attributes:
        latent_width: C.

    Raises:
        ValueError: C is no multiple of the heads, or nothing is left by trimming.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "p4")
    chunk: ClassVar[int] = 256
    # Constituents of a group of jets of about the same size.
    group_rows: ClassVar[int] = 1024

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        embed_channels: Sequence[int],
        num_class_blocks: int,
        heads: int,
        head_transpose: bool,
        trim: float,
    ) -> None:
        super().__init__(features, classes)
        if not 0 < trim <= 1:
            raise ValueError(f"trim should be in (0, 1], not {trim}")
        self.embed_channels, self.num_class_blocks = tuple(embed_channels), num_class_blocks
        self.heads, self.head_transpose, self.trim = heads, head_transpose, trim
        self.latent_width = width = self.embed_channels[-1]
        self.cls_token = nn.Parameter(nn.init.trunc_normal_(torch.zeros(1, 1, width), std=0.02))
        self.embed = ConstituentEmbedding(len(features), self.embed_channels)
        self.cls_blocks = nn.ModuleList(
            ClassBlock(width, heads, head_transpose=head_transpose) for _ in range(num_class_blocks)
        )
        self.norm = nn.LayerNorm(width)
        self.fc = nn.Sequential(nn.Linear(width, self.width))

    @abstractmethod
    def interactions(self, p4: Tensor, ptr: Tensor) -> Tensor:
        """What each two constituents have to do with each other.

        Args:
            p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
            ptr: offsets of the jets in N, shape (B + 1,), int64.

        Returns:
            Shape (E, U), in the order of `hepgen.data.pairs.unordered_pairs`.
        """

    @abstractmethod
    def transform(self, x: Tensor, interactions: Tensor, ptr: Tensor) -> Tensor:
        """The blocks between constituents; no jet knows of another.

        Args:
            x: embedded constituents, shape (N, C).
            interactions: shape (E, U).
            ptr: offsets of the jets in N, shape (B + 1,), int64.

        Returns:
            Shape (N, C).
        """

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        if self.training and self.trim < 1:
            jets = trimmed(jets, self.trim)
        return self.pooled(self.latents(jets), jets)

    def latents(self, jets: Batch) -> Tensor:
        """Latents of the constituents, shape (N, C)."""
        return self.encode(jets.x, jets.p4.to(jets.x.dtype), jets.ptr)

    def pooled(self, latents: Tensor, jets: Batch) -> Tensor:
        """Logits (B, K) from the latents of the constituents."""
        return self.classify(latents, jets.ptr)

    def encode(self, x: Tensor, p4: Tensor, ptr: Tensor) -> Tensor:
        """Latents of the constituents.

        Args:
            x: features, shape (N, F).
            p4: four-momenta (E, px, py, pz) in GeV from which the interactions are, shape (N, 4).
            ptr: offsets of the jets in N, shape (B + 1,), int64.

        Returns:
            Shape (N, C).
        """
        if not groups_apply(x):
            return self.transform(self.embed(x), self.interactions(p4, ptr), ptr)
        groups = SizeGroups(ptr, x.shape[0], self.group_rows)
        x, p4 = groups.sort(x), groups.sort(p4)
        if self.training or torch.is_grad_enabled():
            # Batch normalisation is of all jets together.
            latents, interactions = self.embed(x), self.interactions(p4, groups.ptr)
            rows, pairs = groups.rows(latents), groups.pairs(interactions)
            return groups.join_rows(groups.map_trained(self, self.transform, rows, pairs))

        def alone(x: Tensor, p4: Tensor, ptr: Tensor) -> Tensor:
            return self.transform(self.embed(x), self.interactions(p4, ptr), ptr)

        return groups.join_rows(groups.map(alone, groups.rows(x), groups.rows(p4)))

    def classify(self, x: Tensor, ptr: Tensor) -> Tensor:
        """Logits of the jets.

        Args:
            x: latents of the constituents, shape (N, C).
            ptr: offsets of the jets in N, shape (B + 1,), int64.

        Returns:
            Shape (B, K).
        """
        if not groups_apply(x):
            return self._classify(x, ptr)
        groups = SizeGroups(ptr, x.shape[0], self.group_rows)
        rows = groups.rows(groups.sort(x))
        return groups.join_jets(groups.map_trained(self, self._classify, rows))

    def _classify(self, x: Tensor, ptr: Tensor) -> Tensor:
        rows = places(ptr)  # (B, P)
        token = self.cls_token[0].expand(rows.shape[0], -1)  # (B, C)
        for block in self.cls_blocks:
            token = block(token, x, rows)
        logits: Tensor = self.fc(self.norm(token))  # (B, K)
        return logits

    def _begin(self, blocks: Sequence[nn.Module]) -> None:
        """Weights as published: Glorot's, and smaller the later the block stands."""
        for name, module in self.named_modules():
            if isinstance(module, nn.Linear) and not name.startswith("pair_embed"):
                if name.endswith("in_proj"):
                    bound = math.sqrt(6 / (module.weight.shape[0] // 3 + module.weight.shape[1]))
                    nn.init.uniform_(module.weight, -bound, bound)
                else:
                    nn.init.xavier_uniform_(module.weight)
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        with torch.no_grad():
            for number, block in enumerate(blocks, start=1):
                for name in ("attn.out_proj", "fc2"):
                    cast(Tensor, block.get_submodule(name).weight).div_(math.sqrt(2 * number))


def from_weaver_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of weaver's ParticleTransformer as `hepgen.taggers.ParticleTransformer` has them.

    Args:
        state: what ``torch.load(path, weights_only=True)`` gives of a file that weaver wrote, or
            ``state_dict()`` of its model.

    Returns:
        Name -> tensor; kernels of 1 x 1 convolutions have become matrices, and what weaver before
        0.5 called ``in_proj_weight`` has the later name.
    """
    return {
        name.removeprefix("module.")
        .removeprefix("mod.")
        .replace("in_proj_", "in_proj."): tensor.flatten(1)
        if name.endswith("weight") and tensor.ndim == 3
        else tensor
        for name, tensor in state.items()
    }
