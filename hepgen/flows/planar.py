r"""Planar flows: points are pushed along a direction, by how far they are from a plane.

D. J. Rezende and S. Mohamed, "Variational inference with normalizing flows", ICML 2015,
arXiv:1505.05770, eqs. (10) to (12); the constraint on u after appendix A.1.

.. math:: z = x + \hat u \tanh a, \quad a = w \cdot x + b, \qquad
   \left| \det \frac{\partial z}{\partial x} \right| = 1 + c\, (1 - \tanh^2 a), \quad
   c = w \cdot \hat u > -1

The paper maps the base to the data this way. Here, as in nflows, forward is from the data to the
latent space and in closed form: densities, and so training, cost no search. The way back needs one
root, of :math:`a + c \tanh a = w \cdot z + b`, whatever the number of dimensions.

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
from hepgen.paper import Paper

__all__ = ["Planar", "PlanarFlow", "above_minus_one", "root_of_planar"]

LEAST_SLOPE = 1e-3
# Of Newton's method; 10 are enough for all c from -0.999 to 1e4.
STEPS = 14


def above_minus_one(free: Tensor) -> Tensor:
    """Any number, increasing, to one above -1 + 1e-3; zero to zero."""
    share = 1 - LEAST_SLOPE
    return share * (functional.softplus(free + math.log(math.expm1(1))) - 1)


def root_of_planar(r: Tensor, c: Tensor) -> Tensor:
    r"""The only a with :math:`a + c \tanh a = r`, to rounding, and differentiable.

    The function is odd, and for a > 0 concave where c > 0 and convex where c < 0. Begun on the
    right side of the root Newton's method comes nearer with each step and cannot cross it, so that
    a fixed number of steps needs no bracket: from below, at the greater of r - c and r / (1 + c),
    where c > 0, from above, at the smaller one, else.

    Args:
        r: any real numbers.
        c: above -1, shape of ``r``.

    Returns:
        The roots, shape of ``r``. Derivatives are those of the implicit function.
    """
    with torch.no_grad():
        size = r.abs()
        far, near = size - c, size / (1 + c)
        a = torch.where(c > 0, torch.maximum(far, near), torch.minimum(far, near))
        for _ in range(STEPS):
            a = _newton(a, size, c)
        a = torch.copysign(a, r)
    return _newton(a, r, c)


def _newton(a: Tensor, r: Tensor, c: Tensor) -> Tensor:
    bend = torch.tanh(a)
    return a - (a + c * bend - r) / (1 + c * (1 - bend.square()))


@final
class Planar(Transform):  # type: ignore[misc] # nflows has no annotations
    """One push along a direction.

    It begins as the identity, of a plane drawn at random.

    Args:
        dimension: D.
        context: width C of what direction, plane and offset also depend on; 0 for none.
        hidden: width of the hidden layers of the network that tells how.
        layers: how many of these.
    """

    def __init__(self, dimension: int, context: int = 0, hidden: int = 64, layers: int = 2) -> None:
        super().__init__()
        self.dimension = dimension
        # w, then u, then b.
        numbers = torch.zeros(2 * dimension + 1)
        numbers[:dimension] = torch.randn(dimension) / math.sqrt(dimension)
        self.numbers = nn.Parameter(numbers)
        self.network: Conditioner | None = None
        if context:
            self.network = Conditioner(
                0, 2 * dimension + 1, context=context, hidden=hidden, layers=layers
            )

    def shape(self, like: Tensor, context: Tensor | None) -> tuple[Tensor, ...]:
        """Plane, direction, offset and bend.

        Args:
            like: points, shape (B, D).
            context: shape (B, C).

        Returns:
            w and û, shape (B, D) or (1, D), b and c = w · û, shape (B,) or (1,).
        """
        numbers = self.numbers[None]  # (1, 2 D + 1)
        if self.network is not None:
            numbers = numbers + self.network(like[:, :0], context)  # (B, 2 D + 1)
        w, u = numbers[:, : self.dimension], numbers[:, self.dimension : -1]
        along = (w * u).sum(1)
        c = above_minus_one(along)
        square = w.square().sum(1) + torch.finfo(w.dtype).tiny
        return w, u + ((c - along) / square)[:, None] * w, numbers[:, -1], c

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Towards the latent space, in closed form.

        Args:
            inputs: points, shape (B, D).
            context: shape (B, C).

        Returns:
            Points (B, D) and the logarithm of the determinant of the Jacobian (B,).
        """
        w, u, b, c = self.shape(inputs, context)
        bend = torch.tanh((inputs * w).sum(1) + b)  # (B,)
        return inputs + u * bend[:, None], torch.log1p(c * (1 - bend.square()))

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Back to data, by a search for one number; arguments and results as of ``forward``."""
        w, u, b, c = self.shape(inputs, context)
        r = (inputs * w).sum(1) + b
        bend = torch.tanh(root_of_planar(r, c.expand_as(r)))  # (B,)
        return inputs - u * bend[:, None], -torch.log1p(c * (1 - bend.square()))


@final
class PlanarFlow(Flow):
    """Planar transforms, one after another; a Gaussian base.

    Args:
        dimension: D.
        context: width C of what the density is conditional on; 0 for none.
        num_transforms: how many pushes.
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
        steps = [Planar(dimension, context, hidden, layers) for _ in range(num_transforms)]
        super().__init__(CompositeTransform(steps), base, context)
        self.num_transforms, self.hidden, self.layers = num_transforms, hidden, layers
