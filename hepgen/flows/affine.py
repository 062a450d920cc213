r"""Affine and additive maps of each dimension.

L. Dinh, J. Sohl-Dickstein and S. Bengio, "Density estimation using Real NVP", arXiv:1605.08803,
eq. (7), and L. Dinh, D. Krueger and Y. Bengio, "NICE", arXiv:1410.8516, eq. (15).

Shapes: ... any axes in front, D dimensions, M parameters.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor
from torch.nn.functional import softsign

from hepgen.flows.element import Element

__all__ = ["Additive", "Affine"]


@final
class Affine(Element):
    r"""Shift and slope: :math:`y = e^{s(p)} x + t`, with :math:`s(p) = b\,p / (b + |p|)`.

    The logarithm of the slope stays within b whatever the network says, so that neither direction
    overflows, and it never saturates as fast as a hyperbolic tangent.

    Args:
        max_log_slope: b; slopes are within exp(-b) and exp(b).

    Attributes:
        num_parameters: 2, shift t and then p.

    Raises:
        ValueError: the bound is not above 0.
    """

    num_parameters = 2

    def __init__(self, max_log_slope: float = 3.0) -> None:
        if not max_log_slope > 0:
            raise ValueError(f"max_log_slope should be above 0, not {max_log_slope}")
        self.max_log_slope = max_log_slope

    def __call__(
        self, x: Tensor, parameters: Tensor, *, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Map each element, or map it back.

        Args:
            x: what to map, shape (..., D).
            parameters: any real numbers, shape (..., D, 2).
            inverse: map back.

        Returns:
            What it is mapped to, and the logarithm of the slope, both of shape (..., D).
        """
        shift, slope = parameters[..., 0], parameters[..., 1]
        log_slope = self.max_log_slope * softsign(slope / self.max_log_slope)
        if inverse:
            return (x - shift) * torch.exp(-log_slope), -log_slope
        return x * torch.exp(log_slope) + shift, log_slope


@final
class Additive(Element):
    """A shift, of slope one: y = x + t.

    Attributes:
        num_parameters: 1, the shift t.
    """

    num_parameters = 1

    def __call__(
        self, x: Tensor, parameters: Tensor, *, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Map each element, or map it back.

        Args:
            x: what to map, shape (..., D).
            parameters: any real numbers, shape (..., D, 1).
            inverse: map back.

        Returns:
            What it is mapped to, and the logarithm of the slope, zero, both of shape (..., D).
        """
        shift = parameters[..., 0]
        return (x - shift if inverse else x + shift), torch.zeros_like(x)
