r"""ResNeXt-50 on images of jets.

S. Xie et al., "Aggregated residual transformations for deep neural networks", arXiv:1611.05431,
made narrower for jets by H. Qu and L. Gouskos, "Jet tagging via particle clouds", Phys. Rev. D 101
(2020) 056019, arXiv:1902.08570.

Shapes: B jets, N constituents of all jets end to end, C channels, h x w pixels, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.data import Batch, Features
from hepgen.data.images import jet_images
from hepgen.heads import Head
from hepgen.taggers.edge_conv import batch_norm
from hepgen.taggers.jet_plane import along_axis, centred, pt_shares
from hepgen.taggers.ordering import by_content
from hepgen.taggers.tagger import Paper, Tagger

__all__ = ["ResNeXt50"]


@final
class ResNeXt50(Tagger):
    r"""Bottlenecks of grouped convolutions in four stages, the mean over pixels, and one layer.

    The image holds shares of the transverse momentum of all constituents, within 0.8 of the
    axis weighted by it in :math:`\Delta\eta` and :math:`\Delta\phi`, turned so that the principal
    axis is upright (`hepgen.taggers.jet_plane`); constituents outside of it are left out. In
    training each image is mirrored at random in either direction. Features do not enter: the batch
    has them and ``forward`` only orders sums by them.

    The network is ResNeXt-50 (32x4d) with all channels but those of the first convolution divided
    by 4: with the published settings and two classes it has 1 457 314 parameters. They are
    named as in torchvision, whose network of one input channel this is with ``group_width=4`` and
    ``channels=256``. On the top-tagging reference set (arXiv:1902.08570): accuracy 0.936, AUC
    0.9837, 1/eB 1147 +- 58 at a signal efficiency of 30 %, 1.46M parameters. Recipe, from memory:
    Adam, learning rate 1e-2, divided by 10 after 10 and 20 of 30 epochs, batches of 256.

    Args:
        features: kept with the model; none of them enters.
        classes: names of the K classes, in the order of the logits; or a head.
        blocks: bottlenecks of each stage; each stage after the first halves the image and doubles
            the channels.
        stem: channels of the first convolution.
        groups: groups of the convolutions inside bottlenecks.
        group_width: channels of such a group in the first stage.
        channels: channels that come out of the first stage.
        dropout: share of the last channels that is dropped in training.
        flip: chance in training that an image is mirrored, for each direction.
        pixels: number of pixels along each side.
        half_width: the image reaches from minus this to this.
        upright: whether images are turned to the principal axis.

    Raises:
        ValueError: no stage, or a stage without bottlenecks.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "pos", "p4")
    paper: ClassVar[Paper | None] = Paper(
        "H. Qu and L. Gouskos",
        "Jet tagging via particle clouds",
        "Phys. Rev. D 101 (2020) 056019",
        "1902.08570",
    )
    chunk: ClassVar[int] = 32

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        blocks: Sequence[int] = (3, 4, 6, 3),
        stem: int = 64,
        groups: int = 32,
        group_width: int = 1,
        channels: int = 64,
        dropout: float = 0.5,
        flip: float = 0.5,
        pixels: int = 64,
        half_width: float = 0.8,
        upright: bool = True,
    ) -> None:
        super().__init__(features, classes)
        if not blocks or min(blocks) < 1:
            raise ValueError(f"ResNeXt50 needs one block in each stage at least, not {blocks=}")
        self.blocks, self.stem, self.groups = tuple(blocks), stem, groups
        self.group_width, self.channels = group_width, channels
        self.dropout, self.flip = dropout, flip
        self.pixels, self.half_width, self.upright = pixels, half_width, upright
        self.conv1 = nn.Conv2d(1, stem, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(stem)
        before = stem
        for i, count in enumerate(self.blocks):
            inner, after = groups * group_width * 2**i, channels * 2**i
            stage = []
            for j in range(count):
                stride = 2 if i > 0 and j == 0 else 1
                # The paper's number of parameters tells that the first shortcut has weights too.
                stage.append(_Bottleneck(before, inner, after, groups, stride, project=j == 0))
                before = after
            self.add_module(f"layer{i + 1}", nn.Sequential(*stage))
        self.drop = nn.Dropout(dropout)
        self.fc = nn.Linear(before, self.width)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        images = self.images(jets)
        if self.training and self.flip > 0:
            for side in (1, 2):
                mirrored = torch.rand(images.shape[0], 1, 1, device=images.device) < self.flip
                images = torch.where(mirrored, images.flip(side), images)
        return self.score(images)

    def images(self, jets: Batch) -> Tensor:
        """Images (B, h, w) of jets, in the type of their features."""
        # In this order sums have the same bits, whatever the order of the file; and in float64 no
        # rounding puts a constituent into another pixel. Devices of Apple have no float64.
        exact = torch.float32 if jets.pos.device.type == "mps" else torch.float64
        order = by_content(jets)
        pos, p4 = jets.pos[order].to(exact), jets.p4[order].to(exact)
        shares = pt_shares(p4, jets.ptr)  # (N, 1)
        angles = centred(pos, shares, jets.ptr)  # (N, 2)
        if self.upright:
            angles = along_axis(angles, shares, jets.ptr)
        images = jet_images(angles, shares[:, 0], jets.ptr, self.pixels, self.half_width)
        return images.to(jets.x.dtype)

    def score(self, images: Tensor) -> Tensor:
        """Logits (B, K) of images (B, h, w)."""
        # With its channels side by side in memory the rest takes a CPU a fifth less time.
        x = self.conv1(images[:, None]).contiguous(memory_format=torch.channels_last)
        x = functional.relu(batch_norm(self.bn1, x))  # (B, C, h/2, w/2)
        x = functional.max_pool2d(x, 3, stride=2, padding=1)
        for i in range(len(self.blocks)):
            x = cast(nn.Module, getattr(self, f"layer{i + 1}"))(x)
        logits: Tensor = self.fc(self.drop(x.mean(dim=(2, 3))))  # (B, K)
        return logits


class _Bottleneck(nn.Module):
    """1x1, grouped 3x3 and 1x1 convolutions with normalisation, and a shortcut."""

    def __init__(
        self, before: int, inner: int, after: int, groups: int, stride: int, *, project: bool
    ) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(before, inner, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(inner)
        self.conv2 = nn.Conv2d(inner, inner, 3, stride, padding=1, groups=groups, bias=False)
        self.bn2 = nn.BatchNorm2d(inner)
        self.conv3 = nn.Conv2d(inner, after, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(after)
        self.downsample: nn.Sequential | None = None
        if project:
            self.downsample = nn.Sequential(
                nn.Conv2d(before, after, 1, stride, bias=False), nn.BatchNorm2d(after)
            )

    def forward(self, x: Tensor) -> Tensor:
        """From (B, C, h, w) to (B, C', h / stride, w / stride)."""
        h = functional.relu(batch_norm(self.bn1, self.conv1(x)))
        h = functional.relu(batch_norm(self.bn2, self.conv2(h)))
        h = batch_norm(self.bn3, self.conv3(h))
        if self.downsample is not None:
            conv, norm = self.downsample
            x = batch_norm(norm, conv(x))
        return functional.relu(h + x)
