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
class Coupling(Transform):  # type: ignore[misc]
    """Map the dimensions of a mask by an element, given the others.

    Args:
        mask: a truth value a dimension, D of them: True where it is mapped, T times.
        element: the map.
        conditioner: from the dimensions that stay (B, I), and the context, to (B, T M) numbers, M
            for each mapped dimension, end to end.
        periodic: dimensions that are angles. Conditioner and element see dimensions in ascending
            order, these last.

    Raises:
        ValueError: nothing is mapped, or an angle is no dimension.
    """

    kept: Tensor
    mapped: Tensor

    def __init__(
        self,
        mask: Sequence[bool],
        element: Element,
        conditioner: nn.Module,
        periodic: Collection[int] = (),
    ) -> None:
        super().__init__()
        dimension = len(mask)
        if not any(mask):
            raise ValueError(f"mask={tuple(mask)} maps nothing")
        if not set(periodic) <= set(range(dimension)):
            raise ValueError(f"periodic={periodic}: the dimensions are 0 to {dimension - 1}")
        order = sorted(range(dimension), key=lambda d: (d in periodic, d))
        self.dimension, self.count = dimension, sum(map(bool, mask))
        self.element, self.conditioner = element, conditioner
        # Not kept in files: the mask tells them.
        for name, wanted in (("kept", False), ("mapped", True)):
            places = torch.tensor([d for d in order if bool(mask[d]) == wanted], dtype=torch.long)
            self.register_buffer(name, places, persistent=False)

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
        numbers = self.conditioner(x.index_select(1, self.kept), context)  # (B, T M)
        parameters = numbers.to(x.dtype).view(
            x.shape[0], self.count, self.element.num_parameters
        )  # (B, T, M)
        y, log_slope = self.element(
            x.index_select(1, self.mapped), parameters, inverse=inverse
        )  # (B, T)
        return x.index_copy(1, self.mapped, y), log_slope.sum(1)
