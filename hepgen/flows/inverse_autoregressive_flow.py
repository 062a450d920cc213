r"""Inverse autoregressive flow: as the masked autoregressive one, with the directions exchanged.

D. P. Kingma et al., "Improving variational inference with inverse autoregressive flow", NIPS 2016,
arXiv:1606.04934.

Shapes: B points, D dimensions, C context.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Literal, final

from nflows.transforms import CompositeTransform, InverseTransform

from hepgen.flows.flow import Flow
from hepgen.flows.masked_autoregressive_flow import autoregressive_steps, choose_base
from hepgen.paper import Paper

__all__ = ["InverseAutoregressiveFlow"]


@final
class InverseAutoregressiveFlow(Flow):
    r"""Each dimension of the data given the latent ones before it.

    A sample with its density costs one pass of each network in one step; the density of given data
    needs D steps, also in training by maximum likelihood, where the gradient goes through all of
    them. Meant for proposals that are drawn from more than they are asked about data, trained by
    distillation or on their own samples.

    Args:
        dimension: D.
        context: width C of what the density is conditional on; 0 for none.
        num_transforms: how many transforms.
        hidden: width of the hidden layers of each of their networks, D at least.
        layers: how many hidden layers.
        element: how each dimension is mapped: "affine", "spline" (rational-quadratic) or "cubic".
        domain: "real", or "unit" for the unit cube, which needs splines.
        num_bins: of each spline.
        tail_bound: where splines end on the real line.
        periodic: dimensions that are angles: of period 1 on the unit cube, in [-pi, pi] on the real
            line. They are mapped by rational-quadratic splines on the circle, whatever the element.
        residual: whether the networks have residual blocks.
        max_log_slope: largest logarithm of what an affine map may stretch by, see `Affine`.

    Raises:
        ValueError: there is no such element or domain, or not together, an angle is no dimension,
            or networks or splines refuse their arguments.
    """

    paper: ClassVar[Paper | None] = Paper(
        "D. P. Kingma, T. Salimans, R. Jozefowicz, X. Chen, I. Sutskever and M. Welling",
        "Improving variational inference with inverse autoregressive flow",
        "NIPS 2016",
        "1606.04934",
    )

    def __init__(
        self,
        dimension: int,
        context: int = 0,
        num_transforms: int = 5,
        hidden: int = 64,
        layers: int = 2,
        element: Literal["affine", "spline", "cubic"] = "affine",
        domain: Literal["real", "unit"] = "real",
        num_bins: int = 8,
        tail_bound: float = 5.0,
        periodic: Sequence[int] = (),
        residual: bool = False,
        max_log_slope: float = 3.0,
    ) -> None:
        base = choose_base(dimension, domain, periodic)
        steps = autoregressive_steps(
            dimension,
            context,
            num_transforms,
            hidden=hidden,
            layers=layers,
            element=element,
            domain=domain,
            num_bins=num_bins,
            tail_bound=tail_bound,
            periodic=periodic,
            residual=residual,
            max_log_slope=max_log_slope,
        )
        super().__init__(InverseTransform(CompositeTransform(steps)), base, context)
        self.num_transforms, self.hidden, self.layers = num_transforms, hidden, layers
        self.element, self.domain, self.num_bins = element, domain, num_bins
        self.tail_bound, self.periodic, self.residual = tail_bound, tuple(periodic), residual
        self.max_log_slope = max_log_slope
