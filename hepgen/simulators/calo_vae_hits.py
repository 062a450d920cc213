r"""Which layers of a shower get energy at all: discrete, so no matter for a flow.

With h_l 1 for a layer with energy and 0 for an empty one, layer after layer,

.. math:: P(h_l = 1 | h_{<l}, c) = \sigma\Big( f_l(c) + \sum_{j<l} A_{lj}(c) \, h_j \Big) ,

a logistic regression on the layers before whose coefficients a network of the context gives: the
fully visible network of B. J. Frey, "Graphical models for machine learning and digital
communication", MIT Press 1998, conditional on c.

Shapes: B showers, L layers, C context.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from hepgen.flows import Conditioner
from hepgen.simulators.calo_vae_kernels import draw_layers

__all__ = ["LayerHits"]


class LayerHits(nn.Module):
    """The probability of each pattern of layers with energy, and patterns of noise.

    Args:
        layers: L.
        context: C, one at least.
        hidden: width of the network.
    """

    usual: Tensor
    row: Tensor
    column: Tensor

    def __init__(self, layers: int, context: int, *, hidden: int) -> None:
        super().__init__()
        self.layers = layers
        row, column = torch.tril_indices(layers, layers, offset=-1)
        self.register_buffer("row", row, persistent=False)
        self.register_buffer("column", column, persistent=False)
        self.register_buffer("usual", torch.zeros(layers))
        self.network = Conditioner(0, layers + len(row), context=context, hidden=hidden)

    @torch.no_grad()
    def fit(self, hit: Tensor) -> None:
        """Take how often each layer has energy.

        Args:
            hit: 1 where a layer has energy, 0 where it has none, shape (B, L).
        """
        self.usual.copy_(torch.logit((hit.double().sum(0) + 0.5) / (len(hit) + 1)))

    def log_prob(self, hit: Tensor, context: Tensor) -> Tensor:
        """Logarithm of the probability of a pattern, shape (B,).

        Args:
            hit: 1 where a layer has energy, 0 where it has none, shape (B, L).
            context: shape (B, C).
        """
        alone, coefficients = self._logits(context)
        logits = alone + torch.einsum("blj,bj->bl", coefficients, hit)
        # The probability of what is: sigma(logit) of 1 and sigma(-logit) of 0.
        return nn.functional.logsigmoid(torch.where(hit > 0, logits, -logits)).sum(1)

    def draw(self, uniform: Tensor, context: Tensor) -> Tensor:
        """Patterns of noise, 1 and 0, shape (B, L).

        Args:
            uniform: numbers in (0, 1), shape (B, L).
            context: shape (B, C).
        """
        traced = torch.compiler.is_compiling() or torch.compiler.is_exporting()
        if uniform.device.type == "cpu" and not traced:
            alone, flat = self._numbers(context)
            if alone.dtype == uniform.dtype == torch.float32 and not alone.requires_grad:
                out = np.empty(tuple(uniform.shape), np.float32)
                draw_layers(alone.numpy(), flat.numpy(), uniform.numpy(), out)
                return torch.from_numpy(out)
        alone, coefficients = self._logits(context)
        columns: list[Tensor] = []
        logits = alone
        for layer in range(self.layers):
            hit = (uniform[:, layer] < torch.sigmoid(logits[:, layer])).to(alone.dtype)
            columns.append(hit)
            logits = logits + coefficients[:, :, layer] * hit[:, None]
        return torch.stack(columns, dim=1)

    def _logits(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """What layers have of the context, (B, L), and coefficients of those before, (B, L, L)."""
        alone, flat = self._numbers(context)
        square = flat.new_zeros(flat.shape[0], self.layers * self.layers)
        places = (self.row * self.layers + self.column).expand(flat.shape[0], -1)
        coefficients = square.scatter(1, places, flat)
        return alone, coefficients.view(-1, self.layers, self.layers)

    def _numbers(self, context: Tensor) -> tuple[Tensor, Tensor]:
        """The same, coefficients row by row, (B, L (L - 1) / 2)."""
        numbers = self.network(context[:, :0], context)
        alone, flat = torch.split(numbers, [self.layers, len(self.row)], dim=1)
        return alone + self.usual, flat
