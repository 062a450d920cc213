r"""How the energy of a shower is shared among the layers: densities of the ratios u.

Two of them, with the same interface: `SplineRatios`, a masked autoregressive flow, and
`MatchedRatios`, the transformer of CaloDREAM whose numbers steer a small flow matched for one ratio
after the other. Both turn a fixed number of Gaussian numbers into ratios.

Shapes: B showers, L ratios, C context, D width.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.flows import MaskedAutoregressiveFlow
from hepgen.flows.flow_matching import spread_times
from hepgen.flows.solvers import fixed_steps

__all__ = ["MatchedRatios", "RatioNetwork", "SplineRatios"]

# Waves of the time of the small flow, and their spread, as CaloDREAM has them.
WAVES, SPREAD = 64, 30.0
STEPS = 20


class RatioNetwork(nn.Module):
    """What both have."""

    def losses(self, u: Tensor, context: Tensor) -> Tensor:
        """What training makes small, one number a shower.

        Args:
            u: ratios, mapped and standardised, shape (B, L).
            context: shape (B, C).

        Returns:
            Shape (B,).
        """
        raise NotImplementedError

    def draw(self, noise: Tensor, context: Tensor) -> Tensor:
        """Ratios.

        Args:
            noise: Gaussian numbers, shape (B, L).
            context: shape (B, C).

        Returns:
            Shape (B, L).
        """
        raise NotImplementedError


class SplineRatios(RatioNetwork):
    """A masked autoregressive flow of rational-quadratic splines: exact likelihood, no steps.

    Args:
        ratios: L.
        context: C.
        num_transforms: of the flow.
        hidden: width of its networks, L at least.
    """

    def __init__(
        self, ratios: int, context: int, *, num_transforms: int = 2, hidden: int = 128
    ) -> None:
        super().__init__()
        self.flow = MaskedAutoregressiveFlow(
            ratios,
            context,
            num_transforms=num_transforms,
            hidden=max(hidden, ratios),
            element="spline",
            num_bins=10,
            tail_bound=6.0,
        )

    def losses(self, u: Tensor, context: Tensor) -> Tensor:
        """Minus the log density, see `RatioNetwork.losses`.

        Args:
            u: shape (B, L).
            context: shape (B, C).
        """
        return -self.flow.log_prob(u, context)

    def draw(self, noise: Tensor, context: Tensor) -> Tensor:
        """See `RatioNetwork.draw`.

        Args:
            noise: shape (B, L).
            context: shape (B, C).
        """
        drawn: Tensor = self.flow.transform.inverse(noise, context)[0]
        return drawn


class MatchedRatios(RatioNetwork):
    """A transformer reads context and earlier ratios; a small flow is matched for the next one.

    L. Favaro et al., "CaloDREAM", arXiv:2405.09629, section 3.1, there called Transfusion. A number
    enters the transformer as itself, beside ones and zeros that tell its place.

    Args:
        ratios: L.
        context: C.
        width: D, of the transformer, L + 2 at least.
        heads: of its attention.
        depth: blocks of its encoder, and of its decoder.
        feedforward: width of their networks.
        hidden: width of the small flow's network.
        layers: how many linear maps that has.

    Raises:
        ValueError: the width does not hold so many ratios.
    """

    def __init__(
        self,
        ratios: int,
        context: int,
        *,
        width: int = 64,
        heads: int = 4,
        depth: int = 4,
        feedforward: int = 512,
        hidden: int = 512,
        layers: int = 8,
    ) -> None:
        super().__init__()
        if width < max(ratios, context) + 2:
            raise ValueError(f"width={width}: wanted {max(ratios, context) + 2} at least")
        self.ratios, self.width = ratios, width
        self.transformer = nn.Transformer(
            width, heads, depth, depth, feedforward, dropout=0.0, batch_first=True
        )
        self.time = nn.Linear(WAVES, WAVES)
        widths = [width + WAVES + 1, *[hidden] * (layers - 1)]
        maps: list[nn.Module] = []
        for a, b in pairwise(widths):
            maps += [nn.Linear(a, b), nn.SiLU()]
        self.velocity = nn.Sequential(*maps, nn.Linear(hidden, 1))
        self.register_buffer("frequencies", SPREAD * torch.randn(WAVES // 2))
        causal = torch.full((ratios, ratios), -math.inf).triu(1)
        self.register_buffer("causal", causal, persistent=False)

    frequencies: Tensor
    causal: Tensor

    def losses(self, u: Tensor, context: Tensor) -> Tensor:
        """Square errors of the velocities, see `RatioNetwork.losses`.

        Args:
            u: shape (B, L).
            context: shape (B, C).
        """
        told = self._read(u[:, :-1], context)  # (B, L, D)
        t, z = spread_times(u)[:, None], torch.randn_like(u)
        velocity = self._velocity(t.expand_as(u), (1 - t) * z + t * u, told)
        return (velocity - (u - z)).square().mean(1)

    def draw(self, noise: Tensor, context: Tensor) -> Tensor:
        """See `RatioNetwork.draw`.

        Args:
            noise: shape (B, L).
            context: shape (B, C).
        """
        u = noise[:, :0]
        for i in range(self.ratios):
            told = self._read(u, context)[:, -1]  # (B, D)

            def slope(t: Tensor, x: Tensor, told: Tensor) -> Tensor:
                return self._velocity(t.expand(x.shape), x, told[:, None])

            start = noise[:, i : i + 1]
            following = fixed_steps(
                slope, start, 0.0, 1.0, steps=STEPS, method="midpoint", constants=(told,)
            )
            u = torch.cat([u, following], 1)
        return u

    def _read(self, u: Tensor, context: Tensor) -> Tensor:
        """What is known before each ratio, of those that are given, and the next: (B, i + 1, D)."""
        before = functional.pad(u, (1, 0))
        size = before.shape[1]
        read: Tensor = self.transformer(
            self._embed(context), self._embed(before), tgt_mask=self.causal[:size, :size]
        )
        return read

    def _embed(self, values: Tensor) -> Tensor:
        """(B, i, D) of (B, i): values, their places, and zeros."""
        size, count = values.shape
        places = torch.eye(count, self.width - 1, dtype=values.dtype, device=values.device)
        return torch.cat([values[:, :, None], places.expand(size, -1, -1)], 2)

    def _velocity(self, t: Tensor, x: Tensor, told: Tensor) -> Tensor:
        """Of times (B, i), places (B, i), and what is known (B, i, D)."""
        angles = 2 * math.pi * t[:, :, None] * self.frequencies
        waves = self.time(torch.cat([angles.sin(), angles.cos()], 2))
        velocity: Tensor = self.velocity(torch.cat([told, waves, x[:, :, None]], 2))
        return velocity[:, :, 0]
