r"""ParticleNet: edge convolutions on the nearest constituents, found anew before each block.

H. Qu and L. Gouskos, "Jet tagging via particle clouds", Phys. Rev. D 101 (2020) 056019,
arXiv:1902.08570.

Shapes: B jets, N constituents of all jets end to end, F features, C channels, k neighbours,
K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

from torch import Tensor, nn

from hepgen.data import Batch, Features, knn
from hepgen.heads import Head
from hepgen.taggers.edge_conv import EdgeConv, batch_norm
from hepgen.taggers.ordering import by_content
from hepgen.taggers.segments import segment_mean
from hepgen.taggers.tagger import Paper, Tagger

__all__ = ["ParticleNet", "ParticleNetLite", "from_weaver_state"]


class ParticleNet(Tagger):
    r"""Three edge convolutions, the mean over constituents, and a fully connected layer.

    Neighbours are nearest in :math:`(\Delta\eta, \Delta\phi)` for the first block, in the features
    that the block before gave for the others. A jet with k constituents or fewer has null nodes for
    the missing neighbours, with features 0: what weaver does where its padding is long enough, so
    that weights trained there give the same logits here at every multiplicity. For a jet without
    constituents the mean is 0.

    With the published settings, 7 features and two classes it has 366 160 parameters. Parameters
    are named as in weaver-core, see `from_weaver_state`.

    Args:
        features: what enters of each constituent; it has F names.
        classes: names of the K classes, in the order of the logits; or a head.
        k: neighbours of each constituent.
        conv_channels: widths of the three layers of each block.
        fc_channels: widths of the fully connected layers before the last.
        dropout: share of these that is dropped in training.

    Raises:
        ValueError: k < 1, or a block without layers.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "pos")
    paper: ClassVar[Paper | None] = Paper(
        "H. Qu and L. Gouskos",
        "Jet tagging via particle clouds",
        "Phys. Rev. D 101 (2020) 056019",
        "1902.08570",
    )
    chunk: ClassVar[int] = 64

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        k: int = 16,
        conv_channels: Sequence[Sequence[int]] = ((64, 64, 64), (128, 128, 128), (256, 256, 256)),
        fc_channels: Sequence[int] = (256,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__(features, classes)
        if k < 1 or not conv_channels or not all(conv_channels):
            raise ValueError(
                f"ParticleNet needs k >= 1 and blocks of layers, not {k=}, {conv_channels=}"
            )
        self.k, self.dropout = k, dropout
        self.conv_channels = tuple(map(tuple, conv_channels))
        self.fc_channels = tuple(fc_channels)
        self.bn_fts = nn.BatchNorm1d(len(features))
        widths = [len(features), *(block[-1] for block in self.conv_channels)]
        self.edge_convs = nn.ModuleList(map(EdgeConv, widths, self.conv_channels))
        layers: list[nn.Module] = []
        ends = [widths[-1], *self.fc_channels]
        for before, after in zip(ends, self.fc_channels, strict=False):
            layers.append(nn.Sequential(nn.Linear(before, after), nn.ReLU(), nn.Dropout(dropout)))
        self.fc = nn.Sequential(*layers, nn.Linear(ends[-1], self.width))

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        order = by_content(jets)
        x, points = batch_norm(self.bn_fts, jets.x[order]), jets.pos[order]  # (N, F), (N, 2)
        for block in self.edge_convs:
            neighbours = knn(points, jets.ptr, self.k)  # (N, k)
            null_node = x.shape[0]
            x = points = block(x, neighbours.masked_fill(neighbours < 0, null_node))  # (N, C)
        logits: Tensor = self.fc(segment_mean(x, jets.ptr))  # (B, K)
        return logits


class ParticleNetLite(ParticleNet):
    """ParticleNet with two narrow blocks and 7 neighbours: 26 416 parameters for 7 features.

    Args:
        features: what enters of each constituent; it has F names.
        classes: names of the K classes, in the order of the logits; or a head.
        k: neighbours of each constituent.
        conv_channels: widths of the three layers of each block.
        fc_channels: widths of the fully connected layers before the last.
        dropout: share of these that is dropped in training.

    Raises:
        ValueError: k < 1, or a block without layers.
    """

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        k: int = 7,
        conv_channels: Sequence[Sequence[int]] = ((32, 32, 32), (64, 64, 64)),
        fc_channels: Sequence[int] = (128,),
        dropout: float = 0.1,
    ) -> None:
        super().__init__(features, classes, k, conv_channels, fc_channels, dropout)


def from_weaver_state(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights of weaver's ParticleNet as `ParticleNet` has them.

    The same arrangement without fusion block, as in the paper and in the weights of the JetClass
    paper: ``ParticleNet(features, classes).load_state_dict(from_weaver_state(state))``.

    Args:
        state: what ``torch.load(path, weights_only=True)`` gives of a file that weaver wrote, or
            ``state_dict()`` of its model.

    Returns:
        Name -> tensor; kernels of 1 x 1 convolutions have become matrices.
    """
    return {
        name.removeprefix("module.").removeprefix("mod."): (
            tensor.flatten(1) if tensor.ndim > 2 else tensor
        )
        for name, tensor in state.items()
    }
