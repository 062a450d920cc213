r"""Masked autoregressive transforms: each dimension is mapped with parameters from those before it.

G. Papamakarios, T. Pavlakou and I. Murray, "Masked autoregressive flow for density estimation",
NIPS 2017, arXiv:1705.07057.

Forward, :math:`z_d = f(x_d; \theta_d(x_{<d}, c))`, all parameters come from one pass. Back, each
dimension waits for those before it: D steps, which together compute each unit of the network once
(`hepgen.flows.made.Recursion`).

Shapes: B batch, D dimensions, C context, M parameters of one dimension.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from nflows.transforms import Transform
from torch import Tensor

from hepgen.flows.element import Element
from hepgen.flows.made import MADE

__all__ = ["Autoregressive"]


class Autoregressive(Transform):  # type: ignore[misc] # nflows has no annotations
    """An element-wise map whose parameters a MADE gives.

    Args:
        made: the network; what it gives beyond the parameters of an element is not used.
        element: the map of all dimensions, or a sequence of one for each, such as a spline on the
            circle for angles.

    Raises:
        ValueError: there are neither one element nor D, or the network gives too few parameters.
    """

    def __init__(self, made: MADE, element: Element | Sequence[Element]) -> None:
        super().__init__()
        one = isinstance(element, Element)
        self.elements = (element,) * made.dimension if isinstance(element, Element) else [*element]
        if len(self.elements) != made.dimension:
            raise ValueError(
                f"wanted one element or {made.dimension}, one for each dimension of the network, "
                f"got {len(self.elements)}"
            )
        need = max(each.num_parameters for each in self.elements)
        if made.num_parameters < need:
            raise ValueError(
                f"the network gives {made.num_parameters} parameters for each dimension, "
                f"the elements need {need}"
            )
        self.made = made
        # Each different element with its dimensions; None stands for all.
        self.groups: list[tuple[Element, list[int] | None]] = [(self.elements[0], None)]
        if not one and len({id(each) for each in self.elements}) > 1:
            by_element: dict[int, list[int]] = {}
            for d, each in enumerate(self.elements):
                by_element.setdefault(id(each), []).append(d)
            self.groups = [(self.elements[own[0]], own) for own in by_element.values()]
        together = [d for _, own in self.groups for d in own or range(made.dimension)]
        self.back_in_place = sorted(range(made.dimension), key=together.__getitem__)

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map data to the latent space, in one pass.

        Args:
            inputs: shape (B, D).
            context: shape (B, C).

        Returns:
            Latent points (B, D) and the logarithm of the determinant (B,).

        Raises:
            ValueError: data or context are of another shape.
        """
        self._check(inputs)
        parameters = self.made(inputs, context)  # (B, D, M)
        mapped, slopes = [], []
        for element, own in self.groups:
            x, given = inputs, parameters[..., : element.num_parameters]
            if own is not None:
                x, given = x[:, own], given[:, own]
            z, log_slope = element(x, given)
            mapped.append(z)
            slopes.append(log_slope)
        if len(mapped) == 1:
            return mapped[0], slopes[0].sum(1)
        return torch.cat(mapped, 1)[:, self.back_in_place], torch.cat(slopes, 1).sum(1)

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Map the latent space to data, in D steps of one pass together.

        Args:
            inputs: shape (B, D).
            context: shape (B, C).

        Returns:
            Data (B, D) and the logarithm of the determinant (B,).

        Raises:
            ValueError: latent points or context are of another shape.
        """
        self._check(inputs)
        recursion = self.made.recursion(inputs, context)
        columns: list[Tensor] = [inputs] * self.made.dimension
        slopes = []
        for dimension in self.made.order:
            element = self.elements[dimension]
            given = recursion.parameters()[:, None, : element.num_parameters]  # (B, 1, M)
            x, log_slope = element(inputs[:, dimension : dimension + 1], given, inverse=True)
            recursion.append(x)
            columns[dimension] = x
            slopes.append(log_slope)
        return torch.cat(columns, 1), torch.cat(slopes, 1).sum(1)

    def _check(self, x: Tensor) -> None:
        if x.ndim != 2 or x.shape[1] != self.made.dimension:
            raise ValueError(
                f"wanted points of shape (B, {self.made.dimension}), got {tuple(x.shape)}"
            )
