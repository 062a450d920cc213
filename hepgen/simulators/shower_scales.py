"""Showers as the networks of CaloMatching see them: energies first, then voxels given those.

Two ways with one interface: `LogScales`, energies in thresholds on a logarithmic scale, and
`ShareScales`, ratios and shares as CaloDREAM has them.

Shapes: B showers, L layers, V voxels, K numbers of the energies, C context.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hepgen.calorimeter import Geometry, Showers
from hepgen.simulators.batches import ShowerBatch
from hepgen.simulators.layer_scale import LayerScale
from hepgen.simulators.preprocessing import RECIPES, Preprocessing
from hepgen.simulators.voxel_scale import VoxelScale

__all__ = ["LogScales", "ShareScales", "ShowerScales"]


class ShowerScales(nn.Module):
    """What both have.

    Args:
        geometry: of the voxels.

    Attributes:
        num_energies: K.
        num_conditions: numbers that voxels depend on besides the context.
    """

    num_energies: int
    num_conditions: int

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry

    def fit(self, showers: Showers) -> None:
        """Take means and widths.

        Args:
            showers: the training sample.
        """
        raise NotImplementedError

    def energies(self, batch: ShowerBatch) -> Tensor:
        """What tells the energies of the layers.

        Args:
            batch: showers.

        Returns:
            Shape (B, K).
        """
        raise NotImplementedError

    def forward(self, batch: ShowerBatch) -> tuple[Tensor, Tensor]:
        """Voxels, and what they depend on.

        Args:
            batch: showers.

        Returns:
            Shape (B, V), and what ``condition`` gives.
        """
        raise NotImplementedError

    def condition(self, energies: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor:
        """What voxels depend on.

        Args:
            energies: shape (B, K).
            incident_energy: in GeV, shape (B,).
            context: shape (B, C).

        Returns:
            Shape (B, C + num_conditions).
        """
        raise NotImplementedError

    def inverse(self, energies: Tensor, x: Tensor, incident_energy: Tensor) -> Tensor:
        """Back to voxels.

        Args:
            energies: shape (B, K).
            x: voxels, shape (B, V).
            incident_energy: in GeV, shape (B,).

        Returns:
            In GeV, 0 or at least the threshold, shape (B, V).
        """
        raise NotImplementedError


class LogScales(ShowerScales):
    """`LayerScale` and `VoxelScale`; see `ShowerScales`.

    Args:
        geometry: of the voxels.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        self.layers, self.voxels = LayerScale(geometry), VoxelScale(geometry)
        self.num_energies, self.num_conditions = 1 + geometry.num_layers, 2 * geometry.num_layers

    def fit(self, showers: Showers) -> None:
        """Take means and widths.

        Args:
            showers: the training sample.
        """
        self.layers.fit(showers)
        self.voxels.fit(showers)

    def energies(self, batch: ShowerBatch) -> Tensor:
        """See `ShowerScales.energies`.

        Args:
            batch: showers.
        """
        found: Tensor = self.layers(self._sums(batch.voxels), batch.incident_energy)
        return found

    def forward(self, batch: ShowerBatch) -> tuple[Tensor, Tensor]:
        """See `ShowerScales.forward`.

        Args:
            batch: showers.
        """
        told = self._told(self._sums(batch.voxels), batch.incident_energy, batch.context)
        return self.voxels(batch.voxels), told

    def condition(self, energies: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor:
        """See `ShowerScales.condition`.

        Args:
            energies: shape (B, K).
            incident_energy: in GeV, shape (B,).
            context: shape (B, C).
        """
        layers = self.layers.inverse(energies, incident_energy)
        return self._told(layers, incident_energy, context)

    def inverse(self, energies: Tensor, x: Tensor, incident_energy: Tensor) -> Tensor:
        """See `ShowerScales.inverse`.

        Args:
            energies: shape (B, K).
            x: shape (B, V).
            incident_energy: in GeV, shape (B,).
        """
        return self.voxels.inverse(x, self.layers.inverse(energies, incident_energy))

    def _told(self, layers: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor:
        # In thresholds, and in parts of the incident energy; both of order one.
        absolute = torch.log1p(layers / self.layers.floor) / 5 - 1
        part = layers / incident_energy.to(layers.dtype)[:, None]
        return torch.cat([context, absolute, torch.log10(part + 1e-5) / 1.5 + 1.5], 1)

    def _sums(self, voxels: Tensor) -> Tensor:
        return torch.stack([part.sum(1) for part in torch.split(voxels, self.voxels.sizes, 1)], 1)


class ShareScales(ShowerScales):
    """`Preprocessing` with the arguments of CaloDREAM; see `ShowerScales`.

    Args:
        geometry: of the voxels.
    """

    def __init__(self, geometry: Geometry) -> None:
        super().__init__(geometry)
        self.shares = Preprocessing(geometry, **RECIPES["CaloDREAM"])
        self.num_energies = self.num_conditions = geometry.num_layers

    def fit(self, showers: Showers) -> None:
        """Take means and widths.

        Args:
            showers: the training sample.
        """
        self.shares.fit(showers)

    def energies(self, batch: ShowerBatch) -> Tensor:
        """See `ShowerScales.energies`.

        Args:
            batch: showers.
        """
        return self.shares.ratios(batch.voxels, batch.incident_energy)

    def forward(self, batch: ShowerBatch) -> tuple[Tensor, Tensor]:
        """See `ShowerScales.forward`.

        Args:
            batch: showers.
        """
        u, x = self.shares(batch.voxels, batch.incident_energy)
        return x, torch.cat([batch.context, u], 1)

    def condition(self, energies: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor:
        """See `ShowerScales.condition`.

        Args:
            energies: shape (B, K).
            incident_energy: in GeV, shape (B,).
            context: shape (B, C).
        """
        return torch.cat([context, energies], 1)

    def inverse(self, energies: Tensor, x: Tensor, incident_energy: Tensor) -> Tensor:
        """See `ShowerScales.inverse`.

        Args:
            energies: shape (B, K).
            x: shape (B, V).
            incident_energy: in GeV, shape (B,).
        """
        return self.shares.inverse(energies, x, incident_energy)
