r"""Images of jets: constituents counted in square pixels of the plane of a jet.

Shapes: B jets, N constituents of all jets end to end; ``ptr`` and offsets have B + 1 entries.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["fill_images", "jet_images"]

# Edges of pixels lie lower by this share of a pixel. A constituent that is by construction on an
# edge, such as the only one of a centred jet, is then in the pixel above, whatever rounding does.
_SHIFT = 1e-9


def jet_images(
    pos: Tensor, weight: Tensor, ptr: Tensor, pixels: int = 64, half_width: float = 0.8
) -> Tensor:
    """Sums of weights in the pixels of each jet.

    What `numpy.histogram2d` gives for each jet, but that an edge belongs to the pixel above it, the
    last edge to none. On a CPU numba computes it. No gradient flows through. One operator to
    torch.compile and torch.export, ``hepgen::jet_images``.

    Args:
        pos: (delta_eta, delta_phi), shape (N, 2).
        weight: of the constituents, such as shares of transverse momentum, shape (N,).
        ptr: offsets of the jets in N, shape (B + 1,), int64.
        pixels: number of pixels along each side.
        half_width: the image reaches from minus this to this, in both directions; constituents
            outside of it are left out.

    Returns:
        Shape (B, pixels, pixels), of the type of ``weight``; rows go with delta_eta, columns with
        delta_phi.

    Raises:
        ValueError: pixels < 1, or half_width <= 0.
    """
    if pixels < 1 or half_width <= 0:
        raise ValueError(
            f"images need pixels >= 1 and half_width > 0, not {pixels=}, {half_width=}"
        )
    images: Tensor = _jet_images(pos.detach(), weight.detach(), ptr, pixels, half_width)
    return images


@njit(cache=True, nogil=True)
def fill_images(
    pos: NDArray[Any],
    weight: NDArray[Any],
    offsets: NDArray[np.int64],
    half_width: float,
    images: NDArray[Any],
) -> None:
    """Adds weights to the pixels of each jet, in the order of the constituents.

    Args:
        pos: (N, 2) angles.
        weight: (N,) what is added.
        offsets: (B + 1,) jets in N.
        half_width: images reach from minus this to this.
        images: (B, p, p), added to.
    """
    pixels = images.shape[1]
    scale = pixels / (2 * half_width)
    for jet in range(len(offsets) - 1):
        image = images[jet]
        for i in range(offsets[jet], offsets[jet + 1]):
            row = np.floor((pos[i, 0] + half_width) * scale + _SHIFT)
            column = np.floor((pos[i, 1] + half_width) * scale + _SHIFT)
            if 0 <= row < pixels and 0 <= column < pixels:
                image[int(row), int(column)] += weight[i]


@torch.library.custom_op("hepgen::jet_images", mutates_args=())
def _jet_images(pos: Tensor, weight: Tensor, ptr: Tensor, pixels: int, half_width: float) -> Tensor:
    if pos.device.type != "cpu":
        return _images_by_index(pos, weight, ptr, pixels, half_width)
    # Half precision has neither numpy's bfloat16 nor digits enough for a pixel.
    exact = torch.promote_types(pos.dtype, torch.float32)
    total = torch.promote_types(weight.dtype, torch.float32)
    images = torch.zeros(ptr.shape[0] - 1, pixels, pixels, dtype=total)
    points, weights = pos.to(exact).contiguous(), weight.to(total).contiguous()
    fill_images(points.numpy(), weights.numpy(), ptr.numpy(), half_width, images.numpy())
    return images.to(weight.dtype)


@_jet_images.register_fake
def _(pos: Tensor, weight: Tensor, ptr: Tensor, pixels: int, half_width: float) -> Tensor:
    return weight.new_empty(ptr.shape[0] - 1, pixels, pixels)


def _images_by_index(
    pos: Tensor, weight: Tensor, ptr: Tensor, pixels: int, half_width: float
) -> Tensor:
    """The same with operators of torch, on any device."""
    scale = pixels / (2 * half_width)
    # Devices of Apple have no float64.
    pos = pos.to(torch.float32 if pos.device.type == "mps" else torch.float64)
    cell = torch.floor((pos + half_width) * scale + _SHIFT)  # (N, 2)
    inside = ((cell >= 0) & (cell < pixels)).all(dim=1)
    row, column = torch.where(inside[:, None], cell, 0).long().unbind(dim=1)
    jets = ptr.shape[0] - 1
    jet = torch.repeat_interleave(ptr.diff(), output_size=pos.shape[0])
    flat = (jet * pixels + row) * pixels + column
    images = weight.new_zeros(jets * pixels * pixels)
    images = images.index_add(0, flat, torch.where(inside, weight, 0))
    return images.view(jets, pixels, pixels)
