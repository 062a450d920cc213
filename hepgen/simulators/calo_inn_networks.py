r"""What the couplings of CaloINN are made of: masks over voxels, and a network that knows layers.

The last layer of a coupling's network is nearly all of it: each of thousands of voxels needs a
spline of some twenty numbers, and a matrix from the whole hidden layer to all of them has more
multiplications than everything else together. Here each layer of the calorimeter has a few hidden
numbers, and a matrix from these to the splines of its own voxels.

Shapes: B showers, L layers, D dimensions, C context, H hidden, W hidden numbers of a layer, I kept
and O wanted numbers of a layer.
"""

from __future__ import annotations

import math
from typing import cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hepgen.calorimeter import Geometry

__all__ = ["LayerConditioner", "checkerboard", "halves", "halves_of_layers"]

Mask = NDArray[np.bool_]


def halves(dimension: int, number: int, seed: int) -> list[Mask]:
    """Masks of random halves, each drawn anew: random permutations between couplings.

    Args:
        dimension: D; of an odd one the smaller half is mapped.
        number: how many masks.
        seed: of the random numbers.

    Returns:
        ``number`` masks of shape (D,), True where a coupling maps.
    """
    rng = np.random.default_rng(seed)
    return [rng.random(dimension).argsort() < max(dimension // 2, 1) for _ in range(number)]


def halves_of_layers(layer_of: NDArray[np.int64], number: int, seed: int) -> list[Mask]:
    """Masks that take a random half of the voxels of each layer, the other half next.

    Args:
        layer_of: the layer of each of D voxels, rising.
        number: how many masks.
        seed: of the random numbers.

    Returns:
        ``number`` masks of shape (D,), True where a coupling maps.
    """
    rng = np.random.default_rng(seed)
    masks: list[Mask] = []
    while len(masks) < number:
        # Random numbers in rising order within each layer; of these every other.
        order = np.lexsort([rng.random(len(layer_of)), layer_of])
        mask = np.zeros(len(layer_of), dtype=np.bool_)
        mask[order[::2]] = True
        masks += [mask, ~mask] if len(layer_of) > 1 else [mask]
    return masks[:number]


def checkerboard(geometry: Geometry) -> Mask:
    """The black fields: voxels whose layer, sector and ring have an even sum.

    Args:
        geometry: of the voxels.

    Returns:
        Shape (V,).
    """
    found = []
    for i, layer in enumerate(geometry.layers):
        sector, ring = np.arange(layer.num_alpha), np.arange(layer.num_r)
        found.append(((i + sector[:, None] + ring) % 2 == 0).ravel())
    return np.concatenate(found)


@final
class LayerConditioner(nn.Module):
    r"""Parameters of a coupling whose dimensions are the voxels of layers that are divided alike.

    With :math:`x_l` the kept voxels of layer l and of its neighbours, and c the context,

    .. math:: h_l = A_l x_l, \qquad g = \mathrm{MLP}(\sigma(h_1), \ldots, \sigma(h_L), c), \qquad
       \theta_l = B_l\, \sigma(h_l + g_l)

    Parameters begin at zero, which is the identity of each `hepgen.flows.Element`.

    Args:
        layers: L.
        kept: I, voxels of each layer that stay; there may be none.
        outputs: O, numbers that are wanted of each layer.
        context: C.
        hidden: H, width of the network between layers.
        depth: how many hidden layers it has.
        width: W.
    """

    def __init__(
        self,
        layers: int,
        kept: int,
        outputs: int,
        *,
        context: int,
        hidden: int = 256,
        depth: int = 2,
        width: int = 64,
    ) -> None:
        super().__init__()
        self.layers, self.kept, self.width = layers, kept, width
        # Kept voxels of three layers, and what the context tells of this one.
        seen = 3 * kept + 1
        bound = 1 / math.sqrt(seen)
        self.into = nn.Parameter(torch.empty(layers, seen, width).uniform_(-bound, bound))
        self.shift = nn.Parameter(torch.zeros(layers, 1, width))
        steps: list[nn.Module] = []
        inputs = layers * width + context
        for _ in range(depth):
            steps += [nn.Linear(inputs, hidden), nn.ReLU()]
            inputs = hidden
        self.between = nn.Sequential(*steps, nn.Linear(inputs, layers * width))
        self.out = nn.Parameter(torch.zeros(layers, width, outputs))
        self.out_shift = nn.Parameter(torch.zeros(layers, 1, outputs))

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        """Parameters.

        Args:
            x: kept voxels, layer after layer, shape (B, L I).
            context: shape (B, C), of which the last L are of the layers.

        Returns:
            Shape (B, L O).
        """
        rows = len(x)
        seen = context[:, -self.layers :, None]
        if self.kept:
            voxels = x.view(rows, self.layers, self.kept)
            padded = functional.pad(voxels, (0, 0, 1, 1))
            seen = torch.cat(
                [padded[:, :-2], voxels, padded[:, 2:], seen], dim=2
            )  # (B, L, 3 I + 1)
        own = torch.baddbmm(self.shift, seen.transpose(0, 1), self.into)  # (L, B, W)
        between = cast(Tensor, self.between(torch.cat([_by_row(own.relu()), context], dim=1)))
        both = own + between.view(rows, self.layers, self.width).transpose(0, 1)
        return _by_row(torch.baddbmm(self.out_shift, both.relu(), self.out))


def _by_row(x: Tensor) -> Tensor:
    """(B, L F) of (L, B, F)."""
    return x.transpose(0, 1).reshape(x.shape[1], -1)
