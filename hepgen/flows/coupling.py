r"""Coupling: some dimensions are mapped one by one, as a network that sees the others tells.

L. Dinh, D. Krueger and Y. Bengio, "NICE", arXiv:1410.8516, section 3.2:

.. math:: y_A = x_A, \qquad y_B = g\big(x_B; \theta(x_A, c)\big)

so that the Jacobian is triangular and the inverse needs one pass of the network, too.

Shapes: B points, D dimensions, C context, I of them that stay, T that are mapped, M parameters.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import final

import torch
from nflows.transforms import Transform
from torch import Tensor, nn

from hepgen.flows.element import Element

__all__ = ["Coupling"]


@final
class Coupling(Transform):  # type: ignore[misc] # nflows has no annotations
    """Map the dimensions of a mask by an element, given the others.

    Args:
        mask: a truth value a dimension, D of them: True where it is mapped, T times.
        element: the map; or a sequence of one for each of the D dimensions, such as a spline on
            the circle for angles.
        conditioner: from the dimensions that stay (B, I), and the context, to numbers (B, O): the M
            parameters of each mapped dimension, end to end. Dimensions stand in ascending order,
            but angles come last among those that stay, and those of equal elements together among
            those that are mapped.
        periodic: dimensions that are angles.

    Raises:
        ValueError: nothing is mapped, there are neither one element nor D, or an angle is no
            dimension.
    """

    kept: Tensor
    mapped: Tensor

    def __init__(
        self,
        mask: Sequence[bool],
        element: Element | Sequence[Element],
        conditioner: nn.Module,
        periodic: Collection[int] = (),
    ) -> None:
        super().__init__()
        dimension = len(mask)
        elements = [element] * dimension if isinstance(element, Element) else [*element]
        if not any(mask):
            raise ValueError(f"mask={tuple(mask)} maps nothing")
        if len(elements) != dimension:
            raise ValueError(f"{len(elements)} elements for {dimension} dimensions")
        if not set(periodic) <= set(range(dimension)):
            raise ValueError(f"periodic={periodic}: the dimensions are 0 to {dimension - 1}")
        self.dimension, self.conditioner = dimension, conditioner
        kept = sorted(
            (d for d in range(dimension) if not mask[d]), key=lambda d: (d in periodic, d)
        )
        together: dict[int, list[int]] = {}
        for d in range(dimension):
            if mask[d]:
                together.setdefault(id(elements[d]), []).append(d)
        # Each different element, and how many dimensions it maps.
        self.groups = [(elements[own[0]], len(own)) for own in together.values()]
        # Not kept in files: the mask tells them.
        self.register_buffer("kept", torch.tensor(kept, dtype=torch.long), persistent=False)
        mapped = torch.tensor([d for own in together.values() for d in own])
        self.register_buffer("mapped", mapped, persistent=False)

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Towards the latent space.

        Args:
            inputs: points, shape (B, D).
            context: shape (B, C).

        Returns:
            Points (B, D) and the logarithm of the determinant of the Jacobian (B,).
        """
        return self._map(inputs, context, inverse=False)

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Back to data; arguments and results as those of ``forward``."""
        return self._map(inputs, context, inverse=True)

    def _map(self, x: Tensor, context: Tensor | None, inverse: bool) -> tuple[Tensor, Tensor]:
        numbers = self.conditioner(x.index_select(1, self.kept), context).to(x.dtype)  # (B, O)
        chosen = x.index_select(1, self.mapped)  # (B, T)
        results = []
        first = at = 0
        for element, count in self.groups:
            size = count * element.num_parameters
            parameters = numbers[:, at : at + size].view(x.shape[0], count, element.num_parameters)
            results.append(element(chosen[:, first : first + count], parameters, inverse=inverse))
            first, at = first + count, at + size
        mapped, log_slopes = zip(*results, strict=True)
        y = mapped[0] if len(mapped) == 1 else torch.cat(mapped, dim=1)
        log_slope = log_slopes[0] if len(mapped) == 1 else torch.cat(log_slopes, dim=1)
        return x.index_copy(1, self.mapped, y), log_slope.sum(1)
