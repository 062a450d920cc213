"""weaver-core's ParticleNet on packed batches, for comparison."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn
from weaver.nn.model.ParticleNet import ParticleNet

from hepgen.data import Batch


class WeaverParticleNet(nn.Module):
    """The arrangement of the paper; batches are padded inside."""

    def __init__(
        self,
        features: int,
        classes: int,
        k: int = 16,
        conv_channels: Sequence[Sequence[int]] = ((64,) * 3, (128,) * 3, (256,) * 3),
        fc: int = 256,
    ) -> None:
        super().__init__()
        self.mod = ParticleNet(
            features,
            classes,
            conv_params=[(k, tuple(channels)) for channels in conv_channels],
            fc_params=[(fc, 0.1)],
            use_fusion=False,
            trim=False,
        )
        self.k = k

    def forward(self, batch: Batch, length: int = 128) -> Tensor:
        counts = batch.ptr.diff()
        # At least so long that the missing neighbours of each constituent are padding.
        length = max(length, int(counts.max()) + self.k)
        mask = torch.arange(length) < counts[:, None]  # (B, P)
        points, features = (t.new_zeros(*mask.shape, t.shape[1]) for t in (batch.pos, batch.x))
        points[mask], features[mask] = batch.pos, batch.x
        logits: Tensor = self.mod(points.mT, features.mT, mask[:, None])
        return logits


def randomise(module: nn.Module, seed: int = 0) -> Mapping[str, Tensor]:
    """Weights and running statistics as after some training; returns the state."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in module.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    return module.state_dict()
