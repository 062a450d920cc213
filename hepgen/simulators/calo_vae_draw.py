"""What the kernels that draw voxels need of a decoder, in the order in which they read it.

Shapes: B showers, L layers, M layers of one kind, N voxels of each, H hidden, G, K distributions.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepgen.simulators.calo_vae_kernels import draw_voxels, scratch
from hepgen.simulators.calo_vae_layers import Decoder, LayerLinear
from hepgen.simulators.calo_vae_voxels import VoxelMixture

__all__ = ["VoxelDraw"]


class VoxelDraw:
    """Voxels of what the layers know, by the kernels: on the CPU, in float32.

    Args:
        decoder: whose last maps are applied.
        voxels: of which the distribution is.
    """

    def __init__(self, decoder: Decoder, voxels: VoxelMixture) -> None:
        self.decoder, self.floor = decoder, np.float32(voxels.preprocessing.floor)
        usual = torch.stack([voxels.log_rate, voxels.location, voxels.width])
        self.usual: NDArray[np.float32] = usual.numpy()
        self.offsets: NDArray[np.float32] = voxels.offsets.view(-1).numpy()
        self.starts = voxels.preprocessing.geometry.starts[:-1]
        write, form, planes = decoder.write, decoder.form, 3 * decoder.components
        self.layers = [np.array(members, np.int64) for members in write.members]
        self.form = []
        for size, maps in zip(write.sizes, form.maps, strict=True):
            assert isinstance(maps, LayerLinear)
            weight, bias = maps.weight.detach(), maps.bias.detach()
            wide = weight.reshape(*weight.shape[:2], planes, size).contiguous().numpy()
            self.form.append((wide, bias.reshape(len(bias), planes, size).contiguous().numpy()))
        self.scratch = scratch(max(write.sizes), decoder.components)

    def __call__(
        self,
        hidden: Tensor,
        few: Tensor,
        keys: NDArray[np.uint64],
        energies: Tensor,
        out: NDArray[np.float32],
    ) -> None:
        """Draw.

        Args:
            hidden: of the layers, shape (L, B, H).
            few: likewise, shape (L, B, G).
            keys: of the showers' random numbers, shape (B,).
            energies: of the layers in GeV, shape (B, L).
            out: filled with voxels in GeV, shape (B, V).
        """
        of_layers = np.ascontiguousarray(energies.detach().numpy())
        write = self.decoder.write
        parts = zip(self.layers, self.form, write.maps, write.sizes, strict=True)
        for layers, form, maps, size in parts:
            own = hidden if write.single else hidden[layers]
            told = few if write.single else few[layers]
            rates = maps(own).detach().view(len(layers), len(keys), 2, size)
            draw_voxels(
                rates.numpy(),
                np.ascontiguousarray(told.detach().numpy()),
                *form,
                self.usual,
                self.offsets,
                layers,
                self.starts,
                keys,
                of_layers,
                self.floor,
                out,
                *self.scratch,
            )
