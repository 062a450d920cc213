r"""NICE: couplings that shift, and one scale for each dimension.

L. Dinh, D. Krueger and Y. Bengio, "NICE: non-linear independent components estimation", ICLR 2015
workshop, arXiv:1410.8516.

Shapes: B points, D dimensions, C context.
"""

from __future__ import annotations

from typing import ClassVar, final

from nflows.transforms import CompositeTransform

from hepgen.flows.affine import Additive
from hepgen.flows.bases import StandardNormal
from hepgen.flows.conditioner import Conditioner
from hepgen.flows.coupling import Coupling
from hepgen.flows.flow import Flow
from hepgen.flows.linear import ActNorm
from hepgen.flows.masks import alternating_masks
from hepgen.paper import Paper

__all__ = ["NICE"]


@final
class NICE(Flow):
    """Additive couplings that alternate between even and odd dimensions; a Gaussian base.

    The scales come first, and with a shift (`ActNorm`), so that they can begin from data; in the
    paper they come last.

    Args:
        dimension: D.
        context: width C of what the density is conditional on; 0 for none.
        num_transforms: how many couplings.
        hidden: width of the hidden layers of each of their networks.
        layers: how many hidden layers.
    """

    paper: ClassVar[Paper | None] = Paper(
        "L. Dinh, D. Krueger and Y. Bengio",
        "NICE: non-linear independent components estimation",
        "ICLR 2015 workshop",
        "1410.8516",
    )

    def __init__(
        self,
        dimension: int,
        context: int = 0,
        num_transforms: int = 4,
        hidden: int = 64,
        layers: int = 2,
    ) -> None:
        masks = alternating_masks(dimension)
        steps = [ActNorm(dimension)]
        for i in range(num_transforms):
            mask = masks[i % len(masks)]
            mapped = sum(mask)
            network = Conditioner(
                dimension - mapped, mapped, context=context, hidden=hidden, layers=layers
            )
            steps.append(Coupling(mask, Additive(), network))
        super().__init__(CompositeTransform(steps), StandardNormal(dimension), context)
        self.num_transforms, self.hidden, self.layers = num_transforms, hidden, layers
