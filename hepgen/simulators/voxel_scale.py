r"""Voxel energies on a logarithmic scale that reaches below the threshold.

With the threshold T a voxel of energy E becomes :math:`y = \ln(1 + E / 10 T)`, shifted and scaled
to mean 0 and standard deviation 1. Empty voxels get numbers of a bell below :math:`\ln 1.1`, where
voxels at the threshold are: one bump of empty voxels and one of filled ones, with little between
them, whatever the energy of the shower. The scale is nearly linear between the threshold and ten
times that, where few voxels are, and logarithmic above.

Shapes: B showers, L layers, V voxels.
"""

from __future__ import annotations

import math
from typing import final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.calorimeter import Geometry, ShowerError, Showers
from hepgen.simulators.symmetry import turns

__all__ = ["EDGE", "HIGHEST", "UNIT", "VoxelScale", "bell"]

# Thresholds that make the unit of the scale; centre and width of the bell of empty voxels.
UNIT = 10.0
CENTRE, WIDTH = -1.0, 0.5
EDGE = math.log(1 + 1 / UNIT)
# Share of the filled voxels that count as empty on the way back: those between the two bumps, where
# a network that has not learnt enough puts more than there are.
RARE = 0.005
# Far above any voxel: a network that errs shall not give infinite energies.
HIGHEST = 18.0
CHUNK, SEED = 1024, 20240516


@final
class VoxelScale(nn.Module):
    """Energies to numbers that a network learns, and back.

    Args:
        geometry: of the voxels. Without a threshold the least energy of the sample is one.

    Attributes:
        floor: the threshold in GeV.
        cut: numbers below it, before they are standardised, are empty voxels on the way back.
        mean: of the numbers before they are standardised, shape (V,).
        std: likewise.
    """

    floor: Tensor
    cut: Tensor
    mean: Tensor
    std: Tensor
    layer_of: Tensor

    def __init__(self, geometry: Geometry) -> None:
        super().__init__()
        self.geometry = geometry
        self.register_buffer("floor", torch.tensor(geometry.threshold or 1e-6))
        self.register_buffer("cut", torch.tensor(EDGE))
        self.register_buffer("mean", torch.zeros(geometry.num_voxels))
        self.register_buffer("std", torch.ones(geometry.num_voxels))
        self.sizes = [layer.num_voxels for layer in geometry.layers]
        self.register_buffer("layer_of", torch.from_numpy(geometry.layer_of), persistent=False)

    @torch.no_grad()
    def fit(self, showers: Showers) -> VoxelScale:
        """Take means and widths from showers, and from all their turns if these are as likely.

        Args:
            showers: of the same voxels.

        Returns:
            Itself.

        Raises:
            ShowerError: there are none.
        """
        if not len(showers):
            raise ShowerError("no showers to take means and widths of")
        if not self.geometry.threshold and (showers.voxels > 0).any():
            self.floor.fill_(float(showers.voxels[showers.voxels > 0].min()))
        self.mean.fill_(0)
        self.std.fill_(1)
        filled = showers.voxels[showers.voxels > 0]
        if len(filled):
            lowest = float(np.quantile(filled, RARE)) / (UNIT * float(self.floor))
            self.cut.fill_(max(EDGE, math.log1p(lowest)))
        generator = torch.Generator().manual_seed(SEED)
        sums = torch.zeros(2, self.geometry.num_voxels, dtype=torch.float64)
        for start in range(0, len(showers), CHUNK):
            voxels = torch.from_numpy(showers.voxels[start : start + CHUNK].astype(np.float32))
            y = self(voxels.to(self.mean), generator).double().cpu()
            sums += torch.stack([y.sum(0), y.square().sum(0)])
        first, second = (sums / len(showers))[:, torch.from_numpy(turns(self.geometry))].mean(1)
        std = (second - first.square()).clamp(min=0).sqrt()
        self.mean.copy_(first)
        # Voxels that are always empty have the width of the bell, never none.
        self.std.copy_(std.clamp(min=0.5 * WIDTH))
        return self

    def forward(self, voxels: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Towards the numbers that a network learns.

        Args:
            voxels: in GeV, shape (B, V).
            generator: of the numbers of empty voxels; torch's own if not given.

        Returns:
            Shape (B, V).
        """
        filled = torch.log1p(voxels / (UNIT * self.floor))
        y = torch.where(voxels > 0, filled, bell(voxels, generator))
        return (y - self.mean) / self.std

    def inverse(self, y: Tensor, layers: Tensor) -> Tensor:
        """Back to energies. The voxels of a layer get its energy, in proportion.

        Voxels that fall below the threshold are emptied; if none of a layer were to stay, its
        greatest does.

        Args:
            y: shape (B, V).
            layers: energies of the layers in GeV, 0 or at least the threshold, shape (B, L).

        Returns:
            In GeV, 0 or at least the threshold, shape (B, V).
        """
        y = (y * self.std + self.mean).clamp(max=HIGHEST)
        greatest = self._greatest(y)
        share = torch.expm1(y.clamp(min=EDGE)) * ((y >= self.cut) | greatest)
        tiny = torch.finfo(y.dtype).tiny
        # What others lose makes the rest greater: what stays now stays above the threshold.
        cut = self._spread(self._sums(share) * (self.floor / layers.clamp(min=tiny)))
        share = share * ((share >= cut) | greatest)
        voxels = share * self._spread(layers / self._sums(share).clamp(min=tiny))
        return torch.where(voxels > 0, torch.maximum(voxels, self.floor), voxels)

    def _sums(self, x: Tensor) -> Tensor:
        """Sums over layers, (B, L) of (B, V)."""
        return torch.stack([part.sum(1) for part in torch.split(x, self.sizes, 1)], 1)

    def _greatest(self, x: Tensor) -> Tensor:
        """Whether a number is the greatest of its layer, the first of equals, (B, V) of (B, V)."""
        parts = torch.split(x, self.sizes, 1)
        return torch.cat([functional.one_hot(p.argmax(1), p.shape[1]) for p in parts], 1).bool()

    def _spread(self, layers: Tensor) -> Tensor:
        """One number a layer, (B, L), for each of its voxels, (B, V)."""
        return layers.index_select(1, self.layer_of)


def bell(like: Tensor, generator: torch.Generator | None = None) -> Tensor:
    """Numbers below the edge, which stand for nothing.

    Args:
        like: of which shape and type are taken.
        generator: on the CPU; torch's own if not given.
    """
    if generator is None:
        noise = torch.randn_like(like)
    else:
        noise = torch.randn(like.shape, generator=generator).to(like)
    # What would lie above the edge is reflected at it.
    return EDGE - (EDGE - CENTRE - WIDTH * noise).abs()
