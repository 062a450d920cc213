r"""Layer energies on the scale of `VoxelScale`, and their sum.

With the response :math:`r = \sum_l E_l / E_\mathrm{inc}`, whose spread falls with the square root
of the energy in any sampling calorimeter, a shower becomes :math:`r \sqrt{E_\mathrm{inc}}` and
:math:`\ln(1 + E_l / 10 T)` of each layer, T the threshold, with a bell of numbers below
:math:`\ln 1.1` for empty layers: an empty layer is seen at once, whatever the others have. One
number is too many: on the way back the sum has the last word.

Shapes: B showers, L layers.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from hepgen.calorimeter import Geometry, ShowerError, Showers
from hepgen.simulators.voxel_scale import EDGE, HIGHEST, UNIT, bell

__all__ = ["LayerScale"]

SEED = 20240517


@final
class LayerScale(nn.Module):
    """Energies of layers to numbers that a flow learns, and back.

    Args:
        geometry: of the voxels. Without a threshold the least energy of the sample is one.

    Attributes:
        floor: the threshold in GeV.
        mean: of the numbers before they are standardised, shape (1 + L,).
        std: likewise.
    """

    floor: Tensor
    mean: Tensor
    std: Tensor
    response: Tensor

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.threshold = geometry.threshold
        self.register_buffer("floor", torch.tensor(geometry.threshold or 1e-6))
        self.register_buffer("response", torch.tensor(1.0))
        self.register_buffer("mean", torch.zeros(1 + geometry.num_layers))
        self.register_buffer("std", torch.ones(1 + geometry.num_layers))

    @torch.no_grad()
    def fit(self, showers: Showers) -> LayerScale:
        """Take means and widths.

        Args:
            showers: of the geometry.

        Returns:
            Itself.

        Raises:
            ShowerError: there are none.
        """
        if not len(showers):
            raise ShowerError("no showers to take means and widths of")
        if not self.threshold and (showers.voxels > 0).any():
            self.floor.fill_(float(showers.voxels[showers.voxels > 0].min()))
        self.response.fill_(float(np.mean(showers.response)))
        self.mean.fill_(0)
        self.std.fill_(1)
        layers = torch.from_numpy(showers.layer_energies).to(self.mean)
        energy = torch.from_numpy(showers.incident_energy).to(self.mean)
        w = self(layers, energy, torch.Generator().manual_seed(SEED)).double()
        std = w.std(0, correction=0)
        self.mean.copy_(w.mean(0))
        self.std.copy_(torch.where(std > 1e-6, std, 1.0))
        return self

    def forward(
        self, layers: Tensor, incident_energy: Tensor, generator: torch.Generator | None = None
    ) -> Tensor:
        """Towards the numbers that a flow learns.

        Args:
            layers: energies in GeV, shape (B, L).
            incident_energy: in GeV, shape (B,).
            generator: of the numbers of empty layers; torch's own if not given.

        Returns:
            Shape (B, 1 + L).
        """
        energy = incident_energy.to(layers.dtype)[:, None]
        total = (layers.sum(1, keepdim=True) / energy - self.response) * energy.sqrt()
        filled = torch.log1p(layers / (UNIT * self.floor))
        each = torch.where(layers > 0, filled, bell(layers, generator))
        return (torch.cat([total, each], 1) - self.mean) / self.std

    def inverse(self, w: Tensor, incident_energy: Tensor) -> Tensor:
        """Back to energies.

        Args:
            w: shape (B, 1 + L).
            incident_energy: in GeV, shape (B,).

        Returns:
            In GeV, 0 or at least the threshold, shape (B, L).
        """
        energy = incident_energy.to(w.dtype)[:, None]
        w = w * self.std + self.mean
        total = ((w[:, :1] / energy.sqrt() + self.response) * energy).clamp(min=0)
        y = w[:, 1:].clamp(max=HIGHEST)
        # If all came out empty, the greatest number is the layer's that has the sum.
        filled = (y >= EDGE) | (y >= y.amax(1, keepdim=True))
        layers = torch.where(filled, torch.expm1(y.clamp(min=EDGE)), 0)
        layers = layers * (total / layers.sum(1, keepdim=True))
        return torch.where(layers >= self.floor, layers, 0)
