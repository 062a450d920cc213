"""The flows of CaloFlow: autoregressive splines in orders that keep the layers one after another.

C. Krause, I. Pang and D. Shih, "CaloFlow for CaloChallenge dataset 1", arXiv:2210.14245, section 3,
and their program.

Shapes: B showers, D dimensions, M parameters of one dimension, C context, K transforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate, pairwise
from random import Random

from nflows.transforms import CompositeTransform, InverseTransform, Transform
from torch import Tensor

from hepgen.flows import (
    MADE,
    Affine,
    Autoregressive,
    Conditioner,
    Coupling,
    Element,
    Flow,
    RationalQuadraticSpline,
    StandardNormal,
)

__all__ = ["Backwards", "autoregressive_flow", "marginal_flow", "orders", "steps_of"]


class Backwards(Element):
    """An element whose map and inverse change places.

    So the parameters of a student's spline mean the same as those of its teacher: the map from
    data to the latent space, though they are found from the other side.

    Args:
        element: which.
    """

    def __init__(self, element: Element) -> None:
        self.element, self.num_parameters = element, element.num_parameters

    def __call__(
        self, x: Tensor, parameters: Tensor, *, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Map each element back, or map it.

        Args:
            x: shape (..., D).
            parameters: shape (..., D, M).
            inverse: map as the element itself does.

        Returns:
            What it is mapped to and the logarithm of the slope, both (..., D).
        """
        return self.element(x, parameters, inverse=not inverse)


def orders(
    groups: Sequence[int],
    count: int,
    *,
    seed: int = 0,
    reverse: bool = False,
    to_and_fro: bool = False,
) -> list[list[int]]:
    """In which order each of several transforms takes the dimensions.

    The groups, layers of voxels, follow one another in all of them, and within each group the
    order changes from transform to transform.

    Args:
        groups: sizes of the groups; their sum is D.
        count: K.
        seed: of the random orders, which no version of anything changes.
        reverse: the change is a reversal and a random one in turns, as between the voxels of a
            layer in the papers; else it is always random.
        to_and_fro: every other order begins with the last group and is reversed as a whole. What
            comes first is told by few units of a network, and comes last in the next one then.

    Returns:
        K permutations of 0, 1, ... D - 1.
    """
    random = Random(seed)
    ends = [0, *accumulate(groups)]
    order, found = list(range(ends[-1])), []
    for step in range(count):
        found.append(order[::-1] if to_and_fro and step % 2 else order)
        changed: list[int] = []
        for start, end in pairwise(ends):
            group = order[start:end]
            if reverse and step % 2 == 0:
                changed += group[::-1]
            else:
                changed += [d for _, d in sorted((random.random(), d) for d in group)]
        order = changed
    return found


def autoregressive_flow(
    orders: Sequence[Sequence[int]],
    context: int,
    *,
    hidden: int,
    layers: int,
    num_bins: int,
    tail_bound: float,
    min_bin: float,
    dropout: float = 0.0,
    inverse: bool = False,
    scale_hidden: int = 0,
) -> Flow:
    """Splines one after the other, each with a masked network of its own.

    Args:
        orders: of the dimensions in each transform.
        context: C.
        hidden: width of the hidden layers; fewer than D are allowed.
        layers: how many hidden layers.
        num_bins: of each spline.
        tail_bound: where splines end.
        min_bin: least width and height of their bins, as a share of the interval.
        dropout: see `hepgen.flows.MADE`.
        inverse: each dimension of the data is told by latent ones, not by data: fast to draw.
        scale_hidden: each dimension is shifted and scaled first, given the context, by a network of
            this width; 0 for none.

    Returns:
        The flow, from the standard normal distribution.

    Raises:
        ValueError: networks or splines refuse their arguments.
    """
    spline = RationalQuadraticSpline(num_bins, tail_bound, min_bin=min_bin, min_slope=1e-6)
    element = Backwards(spline) if inverse else spline
    steps = [
        Autoregressive(
            MADE(
                len(order),
                spline.num_parameters,
                context=context,
                hidden=hidden,
                layers=layers,
                order=order,
                dropout=dropout,
                narrow=True,
                context_layer=True,
            ),
            element,
        )
        for order in orders
    ]
    turned: list[Transform] = [InverseTransform(one) for one in steps] if inverse else [*steps]
    dimension = len(orders[0])
    if scale_hidden:
        affine = Affine()
        outputs = dimension * affine.num_parameters
        network = Conditioner(0, outputs, context=context, hidden=scale_hidden)
        turned = [Coupling([True] * dimension, affine, network), *turned]
    return Flow(CompositeTransform(turned), StandardNormal(dimension), context)


def marginal_flow(
    dimension: int, context: int, *, hidden: int, num_bins: int, tail_bound: float
) -> Flow:
    """A spline of each dimension given the context alone, as if the others did not matter.

    Both ways cost one pass, so that a teacher and its student can share it.

    Args:
        dimension: D.
        context: C.
        hidden: width of the two hidden layers of its network.
        num_bins: of each spline.
        tail_bound: where splines end.

    Returns:
        The flow, from the standard normal distribution.
    """
    spline = RationalQuadraticSpline(num_bins, tail_bound)
    network = Conditioner(0, dimension * spline.num_parameters, context=context, hidden=hidden)
    step = Coupling([True] * dimension, spline, network)
    return Flow(CompositeTransform([step]), StandardNormal(dimension), context)


def steps_of(flow: Flow) -> list[Autoregressive]:
    """The transforms of a flow, from data to the latent space.

    Args:
        flow: what `autoregressive_flow` gave.

    Returns:
        K transforms; those of an inverse flow take latent points to data.
    """
    return [
        step._transform if isinstance(step, InverseTransform) else step
        for step in flow.transform._transforms
    ]
