r"""Energies of layers as numbers that a network learns, and back.

With the energy :math:`E_l` of layer l, counted from 0, and :math:`R_l = \sum_{j \ge l} E_j`,

.. math:: u_0 = \frac{R_0}{E_\mathrm{inc}}, \qquad u_l = \frac{E_{l-1}}{R_{l-1}}

so that there are as many as layers, and the last layer has what the others leave. C. Krause and
D. Shih, "CaloFlow", arXiv:2106.05285, section 3.

A layer without energy is no density, but a probability, which noise makes one of. In the papers the
noise is below the threshold; where that ends depends on all other layers. Where empty layers are
kept *apart*, the logit of a layer's ratio is in a band of its own, below all others, if the layer
is empty, and in another above all others if what comes after it is empty. If nothing was left for
the layer its ratio does not matter, and is a Gaussian.

Shapes: B showers, L layers.
"""

from __future__ import annotations

from typing import final

import torch
from torch import Tensor, nn

__all__ = ["LayerRatios"]

# In units of the standard deviation of a ratio: what lies beyond the range seen is squeezed into
# SQUEEZE; then comes a gap, then the band of what is empty.
SQUEEZE, GAP, BAND = 0.5, 0.5, 1.0
# Fewer tell no range.
FEWEST = 3


@final
class LayerRatios(nn.Module):
    r"""The ratios u of L layers.

    Args:
        layers: L.
        total_scale: by which u_0 is divided.
        total_logit: whether u_0 is a logit.
        ratio_logit: whether the other u are.
        alpha: logits are of :math:`\alpha + (1 - 2\alpha) u`.
        apart: whether empty layers are kept apart, which needs logits.

    Raises:
        ValueError: empty layers are to be kept apart without logits.
    """

    low: Tensor
    high: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        layers: int,
        *,
        total_scale: float = 1.0,
        total_logit: bool = False,
        ratio_logit: bool = True,
        alpha: float = 1e-6,
        apart: bool = False,
    ) -> None:
        super().__init__()
        if apart and not ratio_logit:
            raise ValueError("empty layers are kept apart by logits: ratio_logit should be True")
        self.total_scale, self.total_logit = total_scale, total_logit
        self.ratio_logit, self.alpha, self.apart = ratio_logit, alpha, apart
        if apart:
            for name, value in (("low", -14.0), ("high", 14.0), ("centre", 0.0), ("scale", 1.0)):
                self.register_buffer(name, torch.full((layers - 1,), value))

    @torch.no_grad()
    def fit(self, layers: Tensor) -> None:
        """Learn in which range the ratios are, if empty layers are kept apart.

        Args:
            layers: energies in GeV, shape (B, L).
        """
        if not self.apart:
            return
        left, y = self._logits(layers.double())
        inside = (layers[:, :-1] > 0) & (left[:, 1:] > 0)
        for i in range(y.shape[1]):
            seen = y[inside[:, i], i]
            if len(seen) >= FEWEST:
                self.low[i], self.high[i], self.centre[i] = seen.min(), seen.max(), seen.mean()
                self.scale[i] = seen.std().clamp(min=0.1)

    def forward(self, layers: Tensor, incident: Tensor, noise: Tensor | None = None) -> Tensor:
        """Ratios.

        Args:
            layers: energies in GeV, shape (B, L).
            incident: incident energy in GeV, shape (B,).
            noise: numbers in [0, 1) of shape (B, L - 1), if empty layers are kept apart.

        Returns:
            Shape (B, L).
        """
        left, ratio = self._logits(layers)
        total = left[:, :1] / (incident[:, None] * self.total_scale)
        if self.total_logit:
            total = self._logit(total.clamp(0, 1), 1 - total.clamp(0, 1))
        if self.apart and noise is not None:
            ratio = self._bands(ratio, layers[:, :-1], left, noise)
        return torch.cat([total, ratio], dim=1)

    def inverse(self, u: Tensor, incident: Tensor) -> Tensor:
        """Energies of the layers.

        Args:
            u: ratios, shape (B, L).
            incident: incident energy in GeV, shape (B,).

        Returns:
            In GeV, shape (B, L).
        """
        total, y = u[:, :1], u[:, 1:]
        total = self._from_logit(total)[0] if self.total_logit else total.clamp(min=0)
        total = total * self.total_scale * incident[:, None]
        if self.apart:
            reach = (SQUEEZE + GAP / 2) * self.scale
            empty, last = y < self.low - reach, y > self.high + reach
            ratio, rest = self._from_logit(self._stretch(y))
            ratio = torch.where(empty, 0, torch.where(last, 1, ratio))
            rest = torch.where(last, 0, torch.where(empty, 1, rest))
        elif self.ratio_logit:
            ratio, rest = self._from_logit(y)
        else:
            ratio = y.clamp(0, 1)
            rest = 1 - ratio
        left = total * torch.cat([torch.ones_like(total), rest.cumprod(1)], dim=1)  # (B, L)
        return left * torch.cat([ratio, torch.ones_like(total)], dim=1)

    def _logits(self, layers: Tensor) -> tuple[Tensor, Tensor]:
        """What is left before each layer (B, L), and ratios (B, L - 1), logits or not."""
        left = layers.flip(1).cumsum(1).flip(1)
        whole = left[:, :-1].clamp(min=torch.finfo(left.dtype).tiny)
        ratio = layers[:, :-1] / whole
        # The rest is known better than one minus the ratio, which may be near one.
        return left, self._logit(ratio, left[:, 1:] / whole) if self.ratio_logit else ratio

    def _bands(self, y: Tensor, layers: Tensor, left: Tensor, noise: Tensor) -> Tensor:
        """Logits with what is empty put apart."""
        beyond = (SQUEEZE + GAP + BAND * noise) * self.scale
        squeezed = self._squeeze(y)
        squeezed = torch.where(left[:, 1:] > 0, squeezed, self.high + beyond)
        squeezed = torch.where(layers > 0, squeezed, self.low - beyond)
        # Of all numbers in [0, 1) a Gaussian, without its far ends.
        normal = 2**0.5 * torch.erfinv((2 * noise - 1).clamp(-0.999, 0.999))
        return torch.where(left[:, :-1] > 0, squeezed, self.centre + self.scale * normal)

    def _squeeze(self, y: Tensor) -> Tensor:
        """Logits beyond the range seen in training brought next to it."""
        width = SQUEEZE * self.scale
        under, over = (self.low - y).clamp(min=0), (y - self.high).clamp(min=0)
        inside = torch.minimum(torch.maximum(y, self.low), self.high)
        return inside - under * width / (under + width) + over * width / (over + width)

    def _stretch(self, y: Tensor) -> Tensor:
        """The inverse of ``_squeeze``."""
        width = SQUEEZE * self.scale
        # A little less than the width, as infinity is the ratio of an empty layer.
        under = torch.minimum((self.low - y).clamp(min=0), 0.999 * width)
        over = torch.minimum((y - self.high).clamp(min=0), 0.999 * width)
        inside = torch.minimum(torch.maximum(y, self.low), self.high)
        return inside - under * width / (width - under) + over * width / (width - over)

    def _logit(self, part: Tensor, rest: Tensor) -> Tensor:
        """Of a number and of one minus it."""
        a, b = self.alpha, 1 - 2 * self.alpha
        return torch.log(a + b * part) - torch.log(a + b * rest)

    def _from_logit(self, y: Tensor) -> tuple[Tensor, Tensor]:
        """A number in [0, 1], and one minus it."""
        a, b = self.alpha, 1 - 2 * self.alpha
        part, rest = torch.sigmoid(y), torch.sigmoid(-y)
        return ((part - a) / b).clamp(0, 1), ((rest - a) / b).clamp(0, 1)
