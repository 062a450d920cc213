r"""A spline flow of what a network of the context has shifted and scaled before.

Resolutions fall as :math:`1/\sqrt{E}`: of the ratios of 1 and of 100 GeV those have a tenth of the
width of these. Splines of a fixed interval leave the narrow ones few bins; a shift and a scale
that depend on the energy leave them what is of the same width everywhere:

.. math:: \ln p(x | c) = \ln p_\mathrm{flow}\big((x - m(c)) e^{-s(c)} \,|\, c\big) - \sum_d s_d(c) .

Shapes: B points, D dimensions, C context.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from hepgen.flows import Conditioner, NeuralSplineFlow

__all__ = ["ScaledFlow"]

# Of logarithms of scales.
LARGEST = 6.0


class ScaledFlow(nn.Module):
    """The density, and points of noise.

    Args:
        dimension: D.
        context: C, one at least.
        hidden: width of the networks.
        num_transforms: couplings of splines; None for as few as have all dimensions see all.
    """

    def __init__(
        self, dimension: int, context: int, *, hidden: int, num_transforms: int | None
    ) -> None:
        super().__init__()
        self.dimension = dimension
        self.scale = Conditioner(0, 2 * dimension, context=context, hidden=hidden)
        self.flow = NeuralSplineFlow(
            dimension, context, num_transforms=num_transforms, hidden=hidden, domain="real"
        )

    def log_prob(self, x: Tensor, context: Tensor) -> Tensor:
        """Log-density, shape (B,).

        Args:
            x: shape (B, D).
            context: shape (B, C).
        """
        shift, scale = self._shift_and_scale(context)
        inside: Tensor = self.flow.log_prob((x - shift) * torch.exp(-scale), context)
        return inside - scale.sum(1)

    def forward(self, noise: Tensor, context: Tensor) -> Tensor:
        """Points, shape (B, D).

        Args:
            noise: standard normal, shape (B, D).
            context: shape (B, C).
        """
        shift, scale = self._shift_and_scale(context)
        inside: Tensor = self.flow.transform.inverse(noise, context)[0]
        return inside * torch.exp(scale) + shift

    def _shift_and_scale(self, context: Tensor) -> tuple[Tensor, Tensor]:
        shift, scale = self.scale(context[:, :0], context).chunk(2, dim=1)
        return shift, LARGEST * torch.tanh(scale / LARGEST)
