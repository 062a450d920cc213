r"""Neural spline flow: couplings of rational-quadratic splines, on the unit cube or the real line.

C. Durkan, A. Bekasov, I. Murray and G. Papamakarios, "Neural spline flows", NeurIPS 2019,
arXiv:1906.04032; with the masks of C. Gao, J. Isaacson and C. Krause, "i-flow", arXiv:2001.05486.
Angles: D. J. Rezende et al., "Normalizing flows on tori and spheres", arXiv:2002.02428.

Shapes: B points, D dimensions, C context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, final

from nflows.transforms import CompositeTransform, Transform

from hepgen.flows.bases import Base, StandardNormal, UnitUniform
from hepgen.flows.conditioner import Conditioner
from hepgen.flows.coupling import Coupling
from hepgen.flows.flow import Flow
from hepgen.flows.masks import log2_masks
from hepgen.flows.periodic import CircularShift
from hepgen.flows.spline import RationalQuadraticSpline
from hepgen.paper import Paper

__all__ = ["NeuralSplineFlow"]


@final
class NeuralSplineFlow(Flow):
    r"""Spline couplings with as few masks as let each dimension depend on each other.

    On the unit cube splines map it onto itself and the base is uniform: a density of zero outside.
    On the real line splines end at ``tail_bound``, beyond which they are the identity, and the base
    is Gaussian: data should be standardised.

    Args:
        dimension: D.
        context: width C of what the density is conditional on; 0 for none.
        num_transforms: how many couplings; None for one a mask, :math:`2\lceil\log_2 D\rceil`.
        num_bins: of each spline.
        hidden: width of the hidden layers of the network of each coupling.
        layers: how many hidden layers.
        domain: "unit" or "real".
        tail_bound: where splines end on the real line.
        periodic: dimensions that are angles: of period 1 on the unit cube, in [-pi, pi] on the real
            line. The density is the same at both ends, and with all its derivatives along the other
            dimensions, and the network of a coupling sees their sine and cosine.

    Raises:
        ValueError: the domain is another, an angle is no dimension, or the splines refuse their
            arguments.
    """

    paper: ClassVar[Paper | None] = Paper(
        "C. Durkan, A. Bekasov, I. Murray and G. Papamakarios",
        "Neural spline flows",
        "NeurIPS 2019",
        "1906.04032",
    )

    def __init__(
        self,
        dimension: int,
        context: int = 0,
        num_transforms: int | None = None,
        num_bins: int = 8,
        hidden: int = 64,
        layers: int = 2,
        domain: Literal["unit", "real"] = "unit",
        tail_bound: float = 5.0,
        periodic: Sequence[int] = (),
    ) -> None:
        if domain not in ("unit", "real"):
            raise ValueError(f"domain={domain!r}: the domains are 'unit' and 'real'")
        unit, angles = domain == "unit", tuple(sorted(set(periodic)))
        line = RationalQuadraticSpline(num_bins, None if unit else tail_bound)
        circle = RationalQuadraticSpline(num_bins, None if unit else math.pi, periodic=True)
        elements = [circle if d in angles else line for d in range(dimension)]
        masks = log2_masks(dimension)
        steps: list[Transform] = []
        for i in range(len(masks) if num_transforms is None else num_transforms):
            mask = masks[i % len(masks)]
            kept = [d for d in range(dimension) if not mask[d]]
            network = Conditioner(
                len(kept),
                sum(elements[d].num_parameters for d in range(dimension) if mask[d]),
                context=context,
                hidden=hidden,
                layers=layers,
                unit=unit,
                periodic=len(set(kept) & set(angles)),
            )
            if angles:
                ends = (0.0, 1.0) if unit else (-math.pi, math.pi)
                steps.append(CircularShift(dimension, angles, *ends))
            steps.append(Coupling(mask, elements, network, angles))
        base: Base = UnitUniform(dimension) if unit else StandardNormal(dimension, angles)
        super().__init__(CompositeTransform(steps), base, context)
        self.num_transforms, self.num_bins, self.hidden = num_transforms, num_bins, hidden
        self.layers, self.domain, self.tail_bound = layers, domain, tail_bound
        self.periodic = tuple(periodic)
