"""A three-dimensional residual network that tells samples of showers apart.

K. Hara, H. Kataoka and Y. Satoh, "Learning spatio-temporal features with 3D residual networks",
arXiv:1708.07632, with the widths of the CaloChallenge, arXiv:2410.21611, whose strongest classifier
it is.

Shapes: B showers, H channels, Z layers, A sectors, R rings.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor, cat, nn
from torch.nn import functional

from hepgen.simulators.discriminator import Discriminator, Select

__all__ = ["ResidualDiscriminator"]

# Voxels along each side of the first kernel.
WIDEST = 7


class _Block(nn.Module):
    """Two convolutions beside a shortcut."""

    def __init__(self, before: int, after: int, stride: int) -> None:
        super().__init__()
        self.first = nn.Conv3d(before, after, 3, stride, 1, bias=False)
        self.first_norm = nn.BatchNorm3d(after)
        self.second = nn.Conv3d(after, after, 3, 1, 1, bias=False)
        self.second_norm = nn.BatchNorm3d(after)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or before != after:
            self.shortcut = nn.Sequential(
                nn.Conv3d(before, after, 1, stride, bias=False), nn.BatchNorm3d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        inner = self.first_norm(self.first(x)).relu()
        total: Tensor = self.second_norm(self.second(inner)) + self.shortcut(x)
        return total.relu()


@final
class ResidualDiscriminator(Discriminator):
    """ResNet-18 over layers, sectors and rings.

    Args:
        num_features: 1 + Z A R: the logarithm of the incident energy, then the voxels.
        num_classes: M.
        shape: (Z, A, R), that of `Geometry.shape`.
        channels: of the four stages, each of two blocks.
        select: see `Discriminator`.

    Raises:
        ValueError: the features are not those of the shape.
    """

    def __init__(
        self,
        num_features: int,
        num_classes: int = 2,
        *,
        shape: Sequence[int],
        channels: Sequence[int] = (32, 64, 64, 128),
        select: Select = "loss",
    ) -> None:
        super().__init__(num_features, num_classes, select=select)
        self.shape, self.channels = tuple(shape), tuple(channels)
        z, a, r = self.shape
        if num_features != 1 + z * a * r:
            raise ValueError(f"{num_features} features are not 1 + {z} x {a} x {r} voxels")
        before = self.channels[0]
        self.first = nn.Sequential(
            nn.Conv3d(1, before, WIDEST, 2, bias=False),
            nn.BatchNorm3d(before),
            nn.ReLU(),
            nn.MaxPool3d(3, 2, 1),
        )
        blocks: list[nn.Module] = []
        for stage, after in enumerate(self.channels):
            blocks += [_Block(before, after, 1 if stage == 0 else 2), _Block(after, after, 1)]
            before = after
        self.blocks = nn.Sequential(*blocks)
        self.energy_norm = nn.BatchNorm1d(1)
        self.last = nn.Linear(before + 1, self.num_logits)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Args:
            x: features, shape (B, 1 + Z A R).
        """
        x = x.to(self.last.weight.dtype)
        energy = self.energy_norm(x[:, :1])
        picture = x[:, 1:].reshape(-1, 1, *self.shape)  # (B, 1, Z, A, R)
        # Not by the convolution: the gradient of oneDNN's (torch 2.13), where it adds the zeros
        # itself, writes beyond its memory for pictures of 5 layers and few sectors and rings.
        picture = functional.pad(picture, (WIDEST // 2,) * 6)
        seen = self.blocks(self.first(picture)).mean(dim=(2, 3, 4))  # (B, H)
        logits: Tensor = self.last(cat([seen, energy], dim=1))
        return logits
