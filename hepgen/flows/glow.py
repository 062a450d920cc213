r"""Glow: steps of a scale, an invertible matrix and an affine coupling.

D. P. Kingma and P. Dhariwal, "Glow: generative flow with invertible 1x1 convolutions", NeurIPS
2018, arXiv:1807.03039.

Shapes: B points, D dimensions, C context.
"""

from __future__ import annotations

from typing import ClassVar, final

from nflows.transforms import CompositeTransform, Transform

from hepgen.flows.affine import Affine
from hepgen.flows.bases import StandardNormal
from hepgen.flows.conditioner import Conditioner
from hepgen.flows.coupling import Coupling
from hepgen.flows.flow import Flow
from hepgen.flows.linear import ActNorm, LULinear
from hepgen.flows.masks import halves_masks
from hepgen.paper import Paper

__all__ = ["Glow"]


@final
class Glow(Flow):
    """Steps of `ActNorm`, `LULinear` and an affine coupling; a Gaussian base.

    Matrices begin as the identity, not as random rotations, and the halves take turns instead.

    Args:
        dimension: D.
        context: width C of what the density is conditional on; 0 for none.
        num_transforms: how many steps.
        hidden: width of the hidden layers of the network of each coupling.
        layers: how many hidden layers.
        max_log_slope: largest logarithm of what a coupling may stretch by, see `Affine`.
    """

    paper: ClassVar[Paper | None] = Paper(
        "D. P. Kingma and P. Dhariwal",
        "Glow: generative flow with invertible 1x1 convolutions",
        "NeurIPS 2018",
        "1807.03039",
    )

    def __init__(
        self,
        dimension: int,
        context: int = 0,
        num_transforms: int = 8,
        hidden: int = 64,
        layers: int = 2,
        max_log_slope: float = 3.0,
    ) -> None:
        element = Affine(max_log_slope)
        masks = halves_masks(dimension)
        steps: list[Transform] = []
        for i in range(num_transforms):
            mask = masks[i % len(masks)]
            network = Conditioner(
                dimension - sum(mask),
                sum(mask) * element.num_parameters,
                context=context,
                hidden=hidden,
                layers=layers,
            )
            steps += [ActNorm(dimension), LULinear(dimension), Coupling(mask, element, network)]
        super().__init__(CompositeTransform(steps), StandardNormal(dimension), context)
        self.num_transforms, self.hidden, self.layers = num_transforms, hidden, layers
        self.max_log_slope = max_log_slope
