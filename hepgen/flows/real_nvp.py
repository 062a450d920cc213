r"""RealNVP: couplings that shift and stretch.

L. Dinh, J. Sohl-Dickstein and S. Bengio, "Density estimation using Real NVP", ICLR 2017,
arXiv:1605.08803. The paper's batch normalisation is left out: a density should not depend on the
other points of its batch.

Shapes: B points, D dimensions, C context.
"""

from __future__ import annotations

from typing import ClassVar, final

from nflows.transforms import CompositeTransform

from hepgen.flows.affine import Affine
from hepgen.flows.bases import StandardNormal
from hepgen.flows.conditioner import Conditioner
from hepgen.flows.coupling import Coupling
from hepgen.flows.flow import Flow
from hepgen.flows.masks import alternating_masks
from hepgen.paper import Paper

__all__ = ["RealNVP"]


@final
class RealNVP(Flow):
    """Affine couplings that alternate between even and odd dimensions; a Gaussian base.

    Args:
        dimension: D.
        context: width C of what the density is conditional on; 0 for none.
        num_transforms: how many couplings.
        hidden: width of the hidden layers of each of their networks.
        layers: how many hidden layers.
        max_log_slope: largest logarithm of what a coupling may stretch by, see `Affine`.
    """

    paper: ClassVar[Paper | None] = Paper(
        "L. Dinh, J. Sohl-Dickstein and S. Bengio",
        "Density estimation using Real NVP",
        "ICLR 2017",
        "1605.08803",
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
        masks = alternating_masks(dimension)
        couplings = []
        for i in range(num_transforms):
            mask = masks[i % len(masks)]
            network = Conditioner(
                dimension - sum(mask),
                sum(mask) * element.num_parameters,
                context=context,
                hidden=hidden,
                layers=layers,
            )
            couplings.append(Coupling(mask, element, network))
        super().__init__(CompositeTransform(couplings), StandardNormal(dimension), context)
        self.num_transforms, self.hidden, self.layers = num_transforms, hidden, layers
        self.max_log_slope = max_log_slope
