"""Networks that have weights of their own for each layer of a calorimeter, of whatever division.

Layers are the first axis, so that one product of a batch of matrices does them all; only where
voxels come in or go out are layers of different numbers of voxels apart.

Shapes: L layers, B showers, V voxels, N voxels of a layer, H hidden, F features of a voxel,
C context, D latent numbers, P parameters of a voxel.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn

from hepgen.calorimeter import Geometry

__all__ = ["Decoder", "Encoder", "FromVoxels", "LayerBlock", "LayerLinear", "ToVoxels"]

# Numbers that tell the energy of a layer.
TOLD = 2
# Of ln of variances, which would be 0 or infinite in float32 beyond.
LOG_VARIANCES = (-12.0, 6.0)
# Before anything is learnt. Latent numbers that begin as noise are what a decoder learns to ignore
# first, and then nothing brings them back; these begin as numbers that tell of the shower.
USUAL_LOG_VARIANCE = -4.0


class LayerLinear(nn.Module):
    """A linear map for each layer: (L, B, inputs) to (L, B, outputs).

    Args:
        layers: L.
        inputs: width of what comes in.
        outputs: width of what goes out.
    """

    def __init__(self, layers: int, inputs: int, outputs: int) -> None:
        super().__init__()
        bound = 1 / math.sqrt(inputs)
        self.weight = nn.Parameter(torch.empty(layers, inputs, outputs).uniform_(-bound, bound))
        self.bias = nn.Parameter(torch.zeros(layers, 1, outputs))

    def forward(self, x: Tensor) -> Tensor:
        """The map.

        Args:
            x: shape (L, B, inputs).
        """
        return torch.baddbmm(self.bias, x, self.weight)


class LayerBlock(nn.Module):
    """What a layer makes of itself, of its neighbours and of its energy, added to what it was.

    Args:
        layers: L.
        width: H.
        extra: width of what each layer is told besides.
        neighbours: how many layers on each side a layer sees.
    """

    def __init__(self, layers: int, width: int, extra: int, neighbours: int) -> None:
        super().__init__()
        self.layers, self.neighbours = layers, neighbours
        self.linear = LayerLinear(layers, (2 * neighbours + 1) * width + extra, width)
        self.last = LayerLinear(layers, width, width)

    def forward(self, x: Tensor, extra: Tensor) -> Tensor:
        """Of all layers.

        Args:
            x: shape (L, B, H).
            extra: shape (L, B, extra).
        """
        reach = self.neighbours
        # Beyond the first and the last layer there is nothing.
        padded = nn.functional.pad(x, (0, 0, 0, 0, reach, reach))
        seen = [padded[i : i + self.layers] for i in range(2 * reach + 1)]
        hidden = self.linear(torch.cat([*seen, extra], dim=2))
        return cast(Tensor, x + self.last(nn.functional.silu(hidden)))


class _Groups(nn.Module):
    """Layers of equal numbers of voxels together."""

    layer_order: Tensor
    voxel_order: Tensor

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        sizes = [layer.num_voxels for layer in geometry.layers]
        kinds = sorted(set(sizes))
        self.members = [[i for i, n in enumerate(sizes) if n == kind] for kind in kinds]
        self.sizes = kinds
        layers = [i for group in self.members for i in group]
        voxels = [v for i in layers for v in range(geometry.starts[i], geometry.starts[i + 1])]
        self.single = len(kinds) == 1
        # Not kept in files: the geometry tells them.
        self.register_buffer("layer_order", torch.tensor(layers), persistent=False)
        self.register_buffer("voxel_order", torch.tensor(voxels), persistent=False)


class FromVoxels(_Groups):
    """Each layer's voxels to H numbers of the layer: (F, B, V) to (L, B, H).

    Args:
        geometry: of the voxels.
        features: F.
        width: H.
    """

    def __init__(self, geometry: Geometry, features: int, width: int) -> None:
        super().__init__(geometry)
        self.maps = nn.ModuleList(
            LayerLinear(len(group), features * size, width)
            for group, size in zip(self.members, self.sizes, strict=True)
        )
        self.register_buffer("back", torch.argsort(self.layer_order), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The numbers of the layers.

        Args:
            x: shape (F, B, V).
        """
        if self.single:
            return self._group(0, x)
        x = x.index_select(2, self.voxel_order)
        counts = [len(g) * n for g, n in zip(self.members, self.sizes, strict=True)]
        parts = [self._group(i, part) for i, part in enumerate(torch.split(x, counts, dim=2))]
        return torch.cat(parts).index_select(0, cast(Tensor, self.back))

    def _group(self, number: int, x: Tensor) -> Tensor:
        features, showers, _ = x.shape
        layers, size = len(self.members[number]), self.sizes[number]
        by_layer = x.view(features, showers, layers, size).permute(2, 1, 0, 3)
        return cast(Tensor, self.maps[number](by_layer.reshape(layers, showers, -1)))


class ToVoxels(_Groups):
    """H numbers of each layer to F of each of its voxels: (L, B, H) to (F, B, V).

    Args:
        geometry: of the voxels.
        width: H.
        features: F.
    """

    def __init__(self, geometry: Geometry, width: int, features: int) -> None:
        super().__init__(geometry)
        self.features = features
        self.maps = nn.ModuleList(
            LayerLinear(len(group), width, features * size)
            for group, size in zip(self.members, self.sizes, strict=True)
        )
        self.register_buffer("back", torch.argsort(self.voxel_order), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """The numbers of the voxels.

        Args:
            x: shape (L, B, H).
        """
        if self.single:
            return self._group(0, x)
        x = x.index_select(0, self.layer_order)
        counts = [len(group) for group in self.members]
        parts = [self._group(i, part) for i, part in enumerate(torch.split(x, counts))]
        return torch.cat(parts, dim=2).index_select(2, cast(Tensor, self.back))

    def _group(self, number: int, x: Tensor) -> Tensor:
        layers, showers, _ = x.shape
        size = self.sizes[number]
        found = self.maps[number](x).view(layers, showers, self.features, size)
        return cast(Tensor, found.permute(2, 1, 0, 3).reshape(self.features, showers, -1))


class Encoder(nn.Module):
    """Means and logarithms of the variances of q(z | x, u, c), and of the layers' totals.

    Args:
        geometry: of the voxels.
        context: C.
        latent: D.
        width: H.
        trunk: width of the network of all layers.
        neighbours: how many layers on each side a layer sees.
    """

    def __init__(
        self, geometry: Geometry, context: int, latent: int, width: int, trunk: int, neighbours: int
    ) -> None:
        super().__init__()
        layers = geometry.num_layers
        self.read = FromVoxels(geometry, 2, width)
        self.block = LayerBlock(layers, width, TOLD + context, neighbours)
        self.narrow = LayerLinear(layers, width, max(1, width // 4))
        self.totals = LayerLinear(layers, width, 2)
        self.trunk = nn.Sequential(
            nn.Linear(layers * max(1, width // 4) + context + latent, trunk),
            nn.SiLU(),
            nn.Linear(trunk, trunk),
            nn.SiLU(),
            nn.Linear(trunk, 2 * latent),
        )
        self.gain = nn.Parameter(torch.ones(latent))

    def forward(
        self, features: Tensor, modes: Tensor, told: Tensor, context: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Of a batch.

        Args:
            features: of the voxels, shape (2, B, V).
            modes: of all layers, which the latent numbers begin as, shape (B, D).
            told: of the layers' energies, shape (L, B, 2).
            context: shape (B, C).

        Returns:
            Of z, (B, D) twice; of the logarithms of the totals, (B, L) twice.
        """
        extra = torch.cat([told, context.expand(len(told), -1, -1)], dim=2)
        hidden = self.block(self.read(features), extra)  # (L, B, H)
        active = nn.functional.silu(hidden)
        flat = self.narrow(active).transpose(0, 1).flatten(1)
        known = torch.cat([flat, context, modes], dim=1)
        mean, log_variance = self.trunk(known).chunk(2, dim=1)
        mean = mean + self.gain * modes
        total, spread = self.totals(active).permute(2, 1, 0)  # (B, L)
        widths = [(x + USUAL_LOG_VARIANCE).clamp(*LOG_VARIANCES) for x in (log_variance, spread)]
        return mean, widths[0], total, widths[1]


class Decoder(nn.Module):
    """Parameters of p(x | z, u, c).

    The rate of each voxel, and the shift of its locations, depend on all that its layer knows, its
    other parameters on a few numbers of it: of products, two sevenths of what all would take.

    Args:
        geometry: of the voxels.
        context: C.
        latent: D.
        width: H.
        trunk: width of the network of all layers.
        form: G.
        components: K.
    """

    def __init__(
        self,
        geometry: Geometry,
        context: int,
        latent: int,
        width: int,
        trunk: int,
        form: int,
        components: int,
    ) -> None:
        super().__init__()
        self.layers, self.width, self.components = geometry.num_layers, width, components
        self.trunk = nn.Sequential(
            nn.Linear(latent + context + TOLD * self.layers, trunk),
            nn.SiLU(),
            nn.Linear(trunk, trunk),
            nn.SiLU(),
            nn.Linear(trunk, self.layers * width),
        )
        # The trunk has told each layer of the others already.
        self.block = LayerBlock(self.layers, width, TOLD + context, 0)
        self.narrow = LayerLinear(self.layers, width, form)
        self.write = ToVoxels(geometry, width, 2)
        self.form = ToVoxels(geometry, form, 3 * components)

    def forward(self, z: Tensor, told: Tensor, context: Tensor) -> Tensor:
        """Of a batch.

        Args:
            z: latent numbers, shape (B, D).
            told: of the layers' energies, shape (L, B, 2).
            context: shape (B, C).

        Returns:
            Shape (P, B, V).
        """
        hidden, few = self.hidden(z, told, context)
        rate, shift = self.write(hidden)
        weights, places, scales = self.form(few).chunk(3)  # (K, B, V)
        return torch.cat([rate[None], weights, places + shift, scales])

    def hidden(self, z: Tensor, told: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """What the layers know (L, B, H), and the few numbers of it (L, B, G).

        Args:
            z: see ``forward``.
            told: likewise.
            context: likewise.
        """
        flat = torch.cat([z, context, told.transpose(0, 1).flatten(1)], dim=1)
        hidden = self.trunk(flat).view(-1, self.layers, self.width).transpose(0, 1)  # (L, B, H)
        extra = torch.cat([told, context.expand(self.layers, -1, -1)], dim=2)
        active = nn.functional.silu(self.block(hidden, extra))
        return active, torch.tanh(self.narrow(active))
