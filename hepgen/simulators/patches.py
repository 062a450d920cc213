"""Voxels in groups that a transformer takes for its tokens.

Shapes: B showers, V voxels, N tokens, P places of a token.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hepgen.calorimeter import Geometry, GeometryError

__all__ = ["Grouping", "Patches", "grouping_of"]

Grouping: TypeAlias = Literal["auto", "sectors", "layers"] | Sequence[int]


def grouping_of(geometry: Geometry) -> Literal["sectors", "layers"]:
    """How voxels are grouped if nothing is said.

    Args:
        geometry: of the voxels.

    Returns:
        "sectors" where all layers have the same number of them, more than one; else "layers".
    """
    sectors = {layer.num_alpha for layer in geometry.layers}
    return "sectors" if len(sectors) == 1 and sectors != {1} else "layers"


class Patches(nn.Module):
    """Groups of voxels, each voxel in one of them.

    Args:
        geometry: of the voxels.
        grouping: "sectors" for one token a sector, with the rings of all layers; "layers" for one
            token a layer, however it is divided; or numbers of layers, sectors and rings of a
            block, in a calorimeter whose layers are all divided alike; "auto" for `grouping_of`.

    Attributes:
        num_tokens: N.
        size: P, places of a token; some are empty where layers differ.
        alike: whether voxels of the same place mean the same in all tokens, but for their position.
        grid: numbers of blocks along depth, angle and radius.

    Raises:
        GeometryError: the calorimeter cannot be divided so.
    """

    order: Tensor
    back: Tensor

    def __init__(self, geometry: Geometry, grouping: Grouping = "auto") -> None:
        super().__init__()
        if grouping == "auto":
            grouping = grouping_of(geometry)
        if grouping == "layers":
            order = _by_layer(geometry)
            self.grid = (geometry.num_layers, 1, 1)
        elif grouping == "sectors":
            order = _by_sector(geometry)
            self.grid = (1, len(order), 1)
        else:
            order, self.grid = _by_block(geometry, grouping)
        self.num_tokens, self.size = order.shape
        self.alike = grouping != "layers"
        self.padded = bool((order == geometry.num_voxels).any())
        back = np.argsort(order.ravel(), kind="stable")[: geometry.num_voxels]
        self.register_buffer("order", torch.from_numpy(order.ravel()), persistent=False)
        self.register_buffer("back", torch.from_numpy(back), persistent=False)

    def split(self, x: Tensor) -> Tensor:
        """Voxels as tokens.

        Args:
            x: shape (B, V).

        Returns:
            Shape (B, N, P), 0 at empty places.
        """
        if self.padded:
            x = functional.pad(x, (0, 1))
        return x.index_select(1, self.order).view(-1, self.num_tokens, self.size)

    def join(self, tokens: Tensor) -> Tensor:
        """Tokens as voxels.

        Args:
            tokens: shape (B, N, P).

        Returns:
            Shape (B, V).
        """
        return tokens.flatten(1).index_select(1, self.back)


def _by_layer(geometry: Geometry) -> NDArray[np.int64]:
    """One row a layer, with V where a layer has no more voxels."""
    sizes = np.diff(geometry.starts)
    order = np.full((geometry.num_layers, sizes.max()), geometry.num_voxels)
    for row, start, size in zip(order, geometry.starts[:-1], sizes, strict=True):
        row[:size] = np.arange(start, start + size)
    return order


def _by_sector(geometry: Geometry) -> NDArray[np.int64]:
    """One row a sector."""
    sectors = {layer.num_alpha for layer in geometry.layers}
    if len(sectors) > 1:
        raise GeometryError(
            f"layers of {geometry} have {sorted(sectors)} sectors; a token a sector wants as many "
            "in each, take grouping='layers'"
        )
    pieces = [
        np.arange(a, b).reshape(layer.num_alpha, layer.num_r)
        for layer, a, b in zip(
            geometry.layers, geometry.starts[:-1], geometry.starts[1:], strict=True
        )
    ]
    return np.concatenate(pieces, axis=1)


def _by_block(
    geometry: Geometry, block: Sequence[int] | str
) -> tuple[NDArray[np.int64], tuple[int, int, int]]:
    """One row a block, layers outermost; and how many blocks there are along each axis."""
    shape = geometry.shape
    if isinstance(block, str) or len(block) != 3 or shape is None:
        raise GeometryError(
            f"grouping={block!r} of {geometry}: wanted 'sectors', 'layers', or layers, sectors "
            "and rings of a block where all layers are divided alike"
        )
    if min(block) < 1 or any(n % b for n, b in zip(shape, block, strict=True)):
        raise GeometryError(f"blocks of {list(block)} do not divide {geometry}")
    a, b, c = (n // size for n, size in zip(shape, block, strict=True))
    index = np.arange(geometry.num_voxels).reshape(a, block[0], b, block[1], c, block[2])
    return index.transpose(0, 2, 4, 1, 3, 5).reshape(a * b * c, -1), (a, b, c)
