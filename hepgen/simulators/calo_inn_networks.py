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
from nflows.transforms import Transform
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hepgen.calorimeter import Geometry
from hepgen.flows import Element

__all__ = ["LayerCoupling", "alike", "checkerboard", "halves", "halves_of_layers"]

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
class LayerCoupling(Transform):  # type: ignore[misc] # nflows has no annotations
    r"""A coupling of voxels of layers that are divided alike.

    With :math:`x_l` the voxels of layer l that stay and those of its neighbours, c the context, of
    which :math:`c_l` is of layer l, and ones for the biases,

    .. math:: h_l = A_l (x_l, c_l, 1), \qquad
       g = \mathrm{MLP}(\sigma(h_1), \ldots, \sigma(h_L), c), \qquad
       \theta_l = B_l (\sigma(h_l + g_l), 1)

    are the parameters of the other voxels. It begins as the identity. Parameters stay where the
    product of matrices leaves them, layers first, and voxels are brought there: moving the
    parameters would cost as much as the splines (of 6480 voxels, 30 MB for 100 showers).

    Args:
        geometry: of the voxels; all layers have the same number of them.
        mask: True where a voxel is mapped, as many in each layer; shape (V,).
        element: the map.
        context: C, L at least.
        hidden: H, width of the network between layers.
        depth: how many hidden layers it has.
        width: W.

    Raises:
        ValueError: layers differ in their number of voxels or of mapped ones, or none is mapped.
    """

    kept: Tensor
    mapped: Tensor

    def __init__(
        self,
        geometry: Geometry,
        mask: Mask,
        element: Element,
        *,
        context: int,
        hidden: int = 256,
        depth: int = 2,
        width: int = 64,
    ) -> None:
        super().__init__()
        if not alike(geometry, mask):
            raise ValueError(f"{geometry}: wanted as many mapped voxels, and one, in each layer")
        layers = geometry.num_layers
        self.layers, self.width, self.element = layers, width, element
        # Not kept in files: the geometry and the masks tell them.
        for name, some in (("kept", ~mask), ("mapped", mask)):
            numbers = torch.from_numpy(np.flatnonzero(some))
            self.register_buffer(name, numbers, persistent=False)
        # Voxels of three layers, what the context tells of this one, and one.
        seen = 3 * len(self.kept) // layers + 2
        into = torch.empty(layers, seen, width).uniform_(-1, 1) / math.sqrt(seen)
        self.into = nn.Parameter(into)
        steps: list[nn.Module] = []
        inputs = layers * width + context
        for _ in range(depth):
            steps += [nn.Linear(inputs, hidden), nn.ReLU()]
            inputs = hidden
        self.between = nn.Sequential(*steps, nn.Linear(inputs, layers * width))
        outputs = len(self.mapped) // layers * element.num_parameters
        self.out = nn.Parameter(torch.zeros(layers, width + 1, outputs))

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the latent space.

        Args:
            inputs: points, shape (B, V).
            context: shape (B, C), of which the last L are of the layers.

        Returns:
            Points (B, V) and the logarithm of the determinant of the Jacobian (B,).
        """
        return self._map(inputs, context, inverse=False)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Back to data; arguments and results as those of ``forward``."""
        return self._map(inputs, context, inverse=True)

    def _map(self, x: Tensor, context: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        parameters = self._of_kept(x.index_select(1, self.kept), context)
        chosen = self._layers_first(x.index_select(1, self.mapped)).contiguous()  # (L, B, T)
        parameters = parameters.view(*chosen.shape, self.element.num_parameters).to(x.dtype)
        y, log_slope = self.element(chosen, parameters, inverse=inverse)
        y = y.transpose(0, 1).reshape(x.shape[0], -1)
        return x.index_copy(1, self.mapped, y), log_slope.sum((0, 2))

    def _of_kept(self, kept: Tensor, context: Tensor) -> Tensor:
        """(L, B, T M) of the voxels that stay (B, L I)."""
        own = context[:, -self.layers :].T[:, :, None]  # (L, B, 1)
        parts = [own, torch.ones_like(own)]
        if len(self.kept):
            voxels = self._layers_first(kept)
            around = functional.pad(voxels, (0, 0, 0, 0, 1, 1))
            parts = [around[:-2], voxels, around[2:], *parts]
        first = torch.bmm(torch.cat(parts, dim=2), self.into)  # (L, B, W)
        told = first.relu().transpose(0, 1).reshape(kept.shape[0], -1)
        between = cast(Tensor, self.between(torch.cat([told, context], dim=1)))
        second = (first + self._layers_first(between)).relu()
        return torch.bmm(torch.cat([second, torch.ones_like(own)], dim=2), self.out)

    def _layers_first(self, x: Tensor) -> Tensor:
        """(L, B, F) of (B, L F)."""
        return x.view(x.shape[0], self.layers, -1).transpose(0, 1)


def alike(geometry: Geometry, mask: Mask) -> bool:
    """Whether all layers have as many voxels, and as many mapped ones, at least one.

    Args:
        geometry: of the voxels.
        mask: True where they are mapped, shape (V,).
    """
    mapped = np.bincount(geometry.layer_of, mask)
    return len(set(mapped)) == 1 == len(set(np.diff(geometry.starts))) and bool(mapped[0])
