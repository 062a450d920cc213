"""The network of a coupling: from what stays as it is, and the context, to parameters.

Shapes: B points, I inputs, C context, O outputs.
"""

from __future__ import annotations

import math
from typing import cast, final

import torch
from torch import Tensor, nn

from hepgen.flows.periodic import angle_features

__all__ = ["Conditioner"]


@final
class Conditioner(nn.Module):
    """Fully connected layers with ReLU whose last one begins at zero.

    Parameters of zero are the identity of each `hepgen.flows.Element`, so a flow begins as the
    identity.

    Args:
        inputs: I, dimensions that stay as they are; there may be none.
        outputs: O, numbers that are wanted.
        context: C, width of the context; 0 for none.
        hidden: width of the hidden layers.
        layers: how many of these.
        unit: inputs are of the unit cube, and shifted to be centred at 0.
        periodic: how many of the inputs, the last ones, are angles: of period 1 in the unit cube,
            of 2 pi else. The network sees their cosine and sine.

    Raises:
        ValueError: a width below 1, or more angles than inputs.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        *,
        context: int = 0,
        hidden: int = 64,
        layers: int = 2,
        unit: bool = False,
        periodic: int = 0,
    ) -> None:
        super().__init__()
        if hidden < 1 or layers < 0:
            raise ValueError(f"no network has {layers} layers of width {hidden}")
        if not 0 <= periodic <= inputs:
            raise ValueError(f"{periodic} of {inputs} inputs cannot be periodic")
        self.inputs, self.context, self.unit, self.periodic = inputs, context, unit, periodic
        # A network that has nothing to look at is told 0; its answer is its biases.
        width = max(inputs + periodic + context, 1)
        steps: list[nn.Module] = []
        for _ in range(layers):
            steps += [nn.Linear(width, hidden), nn.ReLU()]
            width = hidden
        last = nn.Linear(width, outputs)
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
        self.network = nn.Sequential(*steps, last)

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters.

        Args:
            x: dimensions that stay as they are, shape (B, I), angles last.
            context: shape (B, C).

        Returns:
            Shape (B, O).
        """
        return cast(Tensor, self.network(self._seen(x, context)))

    def _seen(self, x: Tensor, context: Tensor | None) -> Tensor:
        """What the network is shown, (B, I + angles + C)."""
        parts = []
        straight = self.inputs - self.periodic
        if straight:
            lines = x[:, :straight] if self.periodic else x
            parts.append(2 * lines - 1 if self.unit else lines)
        if self.periodic:
            parts.append(angle_features(x[:, straight:], 1.0 if self.unit else 2 * math.pi))
        if self.context and context is not None:
            parts.append(context)
        if not parts:
            return x.new_zeros(x.shape[0], 1)
        return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)
