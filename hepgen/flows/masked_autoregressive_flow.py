r"""Masked autoregressive flow: each dimension given all before it, density in one pass.

G. Papamakarios, T. Pavlakou and I. Murray, "Masked autoregressive flow for density estimation",
NIPS 2017, arXiv:1705.07057. With splines: C. Durkan, A. Bekasov, I. Murray and G. Papamakarios,
arXiv:1906.04032 and, cubic, arXiv:1906.02145. The paper's batch normalisation is left out: a
density should not depend on the other points of its batch.

Shapes: B points, D dimensions, C context.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, Literal, final

from nflows.transforms import CompositeTransform, Transform

from hepgen.flows.affine import Affine
from hepgen.flows.autoregressive import Autoregressive
from hepgen.flows.bases import Base, StandardNormal, UnitUniform
from hepgen.flows.cubic import CubicSpline
from hepgen.flows.element import Element
from hepgen.flows.flow import Flow
from hepgen.flows.made import MADE
from hepgen.flows.periodic import CircularShift
from hepgen.flows.spline import RationalQuadraticSpline
from hepgen.paper import Paper

__all__ = ["MaskedAutoregressiveFlow", "autoregressive_steps", "choose_base"]


@final
class MaskedAutoregressiveFlow(Flow):
    r"""Autoregressive transforms whose order of dimensions turns round from one to the next.

    A density costs one pass of each network; a sample too, in D steps (`Autoregressive`). With
    splines the unit cube is mapped onto itself and the base is uniform there, if wanted; on the
    real line splines end at ``tail_bound``, and data should be standardised.

    Args:
        dimension: D.
        context: width C of what the density is conditional on; 0 for none.
        num_transforms: how many transforms.
        hidden: width of the hidden layers of each of their networks, D at least.
        layers: how many hidden layers.
        element: how each dimension is mapped: "affine", "spline" (rational-quadratic) or "cubic".
        domain: "real", or "unit" for the unit cube.
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
        "G. Papamakarios, T. Pavlakou and I. Murray",
        "Masked autoregressive flow for density estimation",
        "NIPS 2017",
        "1705.07057",
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
        super().__init__(CompositeTransform(steps), base, context)
        self.num_transforms, self.hidden, self.layers = num_transforms, hidden, layers
        self.element, self.domain, self.num_bins = element, domain, num_bins
        self.tail_bound, self.periodic, self.residual = tail_bound, tuple(periodic), residual
        self.max_log_slope = max_log_slope


def choose_base(dimension: int, domain: str, periodic: Sequence[int]) -> Base:
    """Uniform on the unit cube; Gaussian, angles uniform, on the real line.

    Args:
        dimension: D.
        domain: "real" or "unit".
        periodic: dimensions that are angles.

    Raises:
        ValueError: there is no such domain, or an angle is no dimension.
    """
    if domain not in ("real", "unit"):
        raise ValueError(f"domain={domain!r}: the domains are 'real' and 'unit'")
    if domain == "real":
        return StandardNormal(dimension, tuple(periodic))
    base = UnitUniform(dimension)
    if not set(periodic) <= set(range(dimension)):
        raise ValueError(f"periodic={tuple(periodic)}: the dimensions are 0 to {dimension - 1}")
    return base


def autoregressive_steps(
    dimension: int,
    context: int,
    num_transforms: int,
    *,
    hidden: int,
    layers: int,
    element: str,
    domain: str,
    num_bins: int,
    tail_bound: float,
    periodic: Sequence[int],
    residual: bool,
    max_log_slope: float,
) -> list[Transform]:
    """The transforms of the flow, each in the order opposite to that before it.

    Args:
        dimension: as of `MaskedAutoregressiveFlow`, and so are all others.
        context: likewise.
        num_transforms: likewise.
        hidden: likewise.
        layers: likewise.
        element: likewise.
        domain: likewise.
        num_bins: likewise.
        tail_bound: likewise.
        periodic: likewise.
        residual: likewise.
        max_log_slope: likewise.

    Returns:
        For each transform a shift of the angles, if there are any, and the transform.

    Raises:
        ValueError: there is no such element, or it cannot map the unit cube onto itself.
    """
    unit, angles = domain == "unit", tuple(sorted(set(periodic)))
    line: Element
    if element == "affine" and not unit:
        line = Affine(max_log_slope)
    elif element == "spline":
        line = RationalQuadraticSpline(num_bins, None if unit else tail_bound)
    elif element == "cubic":
        line = CubicSpline(num_bins, None if unit else tail_bound)
    elif element == "affine":
        raise ValueError("element='affine' leaves the unit cube; wanted 'spline' or 'cubic' there")
    else:
        raise ValueError(f"element={element!r}: there are 'affine', 'spline' and 'cubic'")
    elements = [line] * dimension
    if angles:
        circle = RationalQuadraticSpline(num_bins, None if unit else math.pi, periodic=True)
        elements = [circle if d in angles else line for d in range(dimension)]
    steps: list[Transform] = []
    for i in range(num_transforms):
        order = list(range(dimension))
        made = MADE(
            dimension,
            max(one.num_parameters for one in elements),
            context=context,
            hidden=hidden,
            layers=layers,
            order=order[::-1] if i % 2 else order,
            residual=residual,
            unit=unit,
            periodic=angles,
        )
        if angles:
            ends = (0.0, 1.0) if unit else (-math.pi, math.pi)
            steps.append(CircularShift(dimension, angles, *ends))
        steps.append(Autoregressive(made, elements))
    return steps
