r"""An MLP of what belongs to each unordered pair, the interactions of particle transformers.

H. Qu, C. Li and S. Qian, "Particle transformer for jet tagging", ICML 2022, arXiv:2202.03772.

Shapes: N constituents of all jets end to end, E unordered pairs, C channels of a layer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.taggers.edge_conv import batch_norm

__all__ = ["PairEmbedding"]

# Rows that go through all layers together, so that what they become stays in the L2 cache.
BLOCK = 2048


class PairEmbedding(nn.Module):
    r"""Batch normalisation, then layers: linear, batch normalisation, GELU.

    In evaluation the normalisations are folded into the linear maps; without gradients the layers
    are applied to one block of pairs after another, which stays in the cache.

    Args:
        inputs: features of a pair.
        channels: widths of the layers.
        last_activation: whether GELU follows also the last layer.
        normalise: whether there is a batch normalisation before the first layer.
    """

    def __init__(
        self,
        inputs: int,
        channels: Sequence[int],
        last_activation: bool = True,
        normalise: bool = True,
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.BatchNorm1d(inputs)] if normalise else []
        for before, after in zip([inputs, *channels[:-1]], channels, strict=True):
            layers += [nn.Linear(before, after), nn.BatchNorm1d(after), nn.GELU()]
        self.embed = nn.Sequential(*(layers if last_activation else layers[:-1]))

    def forward(self, features: Tensor) -> Tensor:
        """Interactions.

        Args:
            features: shape (E, inputs).

        Returns:
            Shape (E, C).
        """
        if not self.training:
            return self._folded(features)
        if torch.compiler.is_compiling():
            # The compiler cannot know how many pairs there are.
            torch._check(features.shape[0] > 1)  # type: ignore[no-untyped-call]
        x = features
        for layer in self.embed:
            x = batch_norm(layer, x) if isinstance(layer, nn.BatchNorm1d) else layer(x)
        return x

    def _folded(self, features: Tensor) -> Tensor:
        maps = self._maps()
        if torch.is_grad_enabled() or torch.compiler.is_compiling():
            return self._layers(features, maps)
        return torch.cat([self._layers(some, maps) for some in torch.split(features, BLOCK)])

    def _layers(self, x: Tensor, maps: list[tuple[Tensor, Tensor]]) -> Tensor:
        last = type(self.embed[-1]) is nn.GELU
        for number, (weight, shift) in enumerate(maps, start=1):
            x = torch.addmm(shift, x, weight)
            if last or number < len(maps):
                x = functional.gelu(x)
        return x

    def _maps(self) -> list[tuple[Tensor, Tensor]]:
        """Linear maps (C_in, C_out) and shifts (C_out,) that include the normalisations."""
        linears = [layer for layer in self.embed if isinstance(layer, nn.Linear)]
        norms = [layer for layer in self.embed if isinstance(layer, nn.BatchNorm1d)]
        before = _affine(norms.pop(0)) if len(norms) > len(linears) else None
        maps = []
        for linear, norm in zip(linears, norms, strict=True):
            weight: Tensor = linear.weight
            bias: Tensor = linear.bias
            if before is not None:
                scale, shift = before
                weight, bias = weight * scale, bias + weight @ shift
                before = None
            scale, shift = _affine(norm)
            maps.append(((weight * scale[:, None]).t().contiguous(), bias * scale + shift))
        return maps


def _affine(norm: nn.BatchNorm1d) -> tuple[Tensor, Tensor]:
    """Scale and shift of a batch normalisation in evaluation."""
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale
