r"""Radial flows: points are pulled towards a centre, or pushed away from it.

D. J. Rezende and S. Mohamed, "Variational inference with normalizing flows", ICML 2015,
arXiv:1505.05770, eqs. (13) and (14); the constraint on β after appendix A.2.

.. math:: z = x + \frac{\beta}{\alpha + r} (x - x_0), \quad r = |x - x_0|, \qquad
   \left| \det \frac{\partial z}{\partial x} \right| = \Big( 1 + \frac{\beta}{\alpha + r}
   \Big)^{D - 1} \Big( 1 + \frac{\alpha \beta}{(\alpha + r)^2} \Big)

with α > 0 and β > -α. As in nflows forward is from the data to the latent space. Both ways are in
closed form, for :math:`R = |z - x_0|` gives r as the positive root of
:math:`r^2 + (\alpha + \beta - R)\, r - \alpha R = 0`.

Shapes: B points, D dimensions, C context.
"""

from __future__ import annotations

import math
from typing import ClassVar, final

import torch
from nflows.transforms import CompositeTransform, Transform
from torch import Tensor, nn
from torch.nn import functional

from hepgen.flows.bases import StandardNormal
from hepgen.flows.conditioner import Conditioner
from hepgen.flows.flow import Flow
from hepgen.flows.planar import above_minus_one
from hepgen.paper import Paper

__all__ = ["Radial", "RadialFlow"]

LEAST_RADIUS = 1e-3


@final
class Radial(Transform):  # type: ignore[misc] # nflows has no annotations
    """One pull towards a centre, or push away from it.

    It begins as the identity, of a centre drawn at random.

    Args:
        dimension: D.
        context: width C of what centre, reach and strength also depend on; 0 for none.
        hidden: width of the hidden layers of the network that tells how.
        layers: how many of these.
    """

    def __init__(self, dimension: int, context: int = 0, hidden: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.dimension = dimension
        # The centre, then what becomes α, then what becomes β / α.
        self.numbers = nn.Parameter(torch.cat([torch.randn(dimension), torch.zeros(2)]))
        self.network: Conditioner | None = None
        if context:
            self.network = Conditioner(
                0, dimension + 2, context=context, hidden=hidden, layers=layers
            )

    def shape(self, like: Tensor, context: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        """Centre, reach and strength.

        Args:
            like: points, shape (B, D).
            context: shape (B, C).

        Returns:
            The centre, shape (B, D) or (1, D), α and β, shape (B,) or (1,).
        """
        numbers = self.numbers[None]  # (1, D + 2)
        if self.network is not None:
            numbers = numbers + self.network(like[:, :0], context)  # (B, D + 2)
        one = math.log(math.expm1(1 - LEAST_RADIUS))  # softplus^-1(1 - least)
        alpha = LEAST_RADIUS + functional.softplus(numbers[:, -2] + one)
        return numbers[:, :-2], alpha, alpha * above_minus_one(numbers[:, -1])

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Towards the latent space.

        Args:
            inputs: points, shape (B, D).
            context: shape (B, C).

        Returns:
            Points (B, D) and the logarithm of the determinant of the Jacobian (B,).
        """
        centre, alpha, beta = self.shape(inputs, context)
        off = inputs - centre
        radius = torch.linalg.vector_norm(off, dim=1)  # (B,)
        pull = beta / (alpha + radius)
        return inputs + pull[:, None] * off, self._logabsdet(radius, alpha, pull)

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Back to data; arguments and results as those of ``forward``."""
        centre, alpha, beta = self.shape(inputs, context)
        off = inputs - centre
        far = torch.linalg.vector_norm(off, dim=1)  # (B,)
        half = 0.5 * (far - alpha - beta)
        root = (half.square() + far * alpha).sqrt()
        # Of the two forms of the same root the one in which nothing cancels.
        sum_ = half.abs() + root
        radius = torch.where(half >= 0, sum_, far * alpha / sum_)
        pull = beta / (alpha + radius)
        return centre + off / (1 + pull)[:, None], -self._logabsdet(radius, alpha, pull)

    def _logabsdet(self, radius: Tensor, alpha: Tensor, pull: Tensor) -> Tensor:
        sideways = (self.dimension - 1) * torch.log1p(pull)
        return sideways + torch.log1p(pull * alpha / (alpha + radius))


@final
class RadialFlow(Flow):
    """Radial transforms, one after another; a Gaussian base.

    Args:
        dimension: D.
        context: width C of what the density is conditional on; 0 for none.
        num_transforms: how many pulls.
        hidden: width of the hidden layers of the networks that see the context.
        layers: how many hidden layers.
    """

    paper: ClassVar[Paper | None] = Paper(
        "D. J. Rezende and S. Mohamed",
        "Variational inference with normalizing flows",
        "ICML 2015",
        "1505.05770",
    )

    def __init__(
        self,
        dimension: int,
        context: int = 0,
        num_transforms: int = 16,
        hidden: int = 64,
        layers: int = 2,
    ) -> None:
        base = StandardNormal(dimension)
        steps = [Radial(dimension, context, hidden, layers) for _ in range(num_transforms)]
        super().__init__(CompositeTransform(steps), base, context)
        self.num_transforms, self.hidden, self.layers = num_transforms, hidden, layers
