r"""A velocity of voxels: a transformer over groups of them, told time and conditions in each block.

The blocks are those of W. Peebles and S. Xie, "Scalable diffusion models with transformers",
arXiv:2212.09748 (adaLN-zero), as L. Favaro et al., "CaloDREAM", arXiv:2405.09629, take them for
showers. With time t, conditions c and :math:`(s_i, b_i, g_i) = W\, \mathrm{silu}(e(t) + e(c))`,

.. math:: x \leftarrow x + g_1\, \mathrm{attention}((1 + s_1) \mathrm{norm}(x) + b_1), \quad
   x \leftarrow x + g_2\, \mathrm{mlp}((1 + s_2) \mathrm{norm}(x) + b_2)

where W begins as zero, so that blocks begin as the identity.

Shapes: B showers, V voxels, C conditions, N tokens, P voxels of a token, D width, H heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.simulators.patches import Patches

__all__ = ["ShowerTransformer"]

# Sines and cosines that tell a time, of frequencies from 1 to 1000.
WAVES = 256
FASTEST = 1000.0


class ShowerTransformer(nn.Module):
    r"""Velocities of voxels, zero for a network that has not learnt.

    A token a sector (`Patches`) shares its weights with all sectors, and attention sees only how
    far apart two of them are: turning and reflecting the showers turns and reflects what comes out.
    Unless the calorimeter is symmetric, sectors get positions besides, as all other tokens do.

    With ``precondition`` the network learns what a linear map does not know. For data and noise of
    unit variance, :math:`\sigma^2 = t^2 + (1 - t)^2` is the variance of a place on a path, and

    .. math:: v(t, x) = \frac{2 t - 1}{\sigma^2}\, x + \frac{1}{\sigma}\, f(t, x / \sigma)

    has an f whose target has unit variance at any time (T. Karras et al., arXiv:2206.00364,
    section 5, for this path).

    Args:
        patches: how voxels become tokens.
        condition: C.
        width: D.
        depth: number of blocks.
        heads: H.
        ratio: width of a block's network over D.
        positions: "learned", "waves" for sines and cosines of depth and of the place in the layer,
            or "none".
        relative: whether attention gets a bias for each distance along the angle; only where
            tokens are sectors.
        precondition: see above.
        spans: whether a step size is told besides the time, see `hepgen.simulators.few_steps`.

    Raises:
        ValueError: heads do not divide the width, or positions are not known.
    """

    frequencies: Tensor
    position: Tensor | None

    def __init__(
        self,
        patches: Patches,
        condition: int,
        *,
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        ratio: float = 4.0,
        positions: str = "learned",
        relative: bool = False,
        precondition: bool = True,
        spans: bool = False,
    ) -> None:
        super().__init__()
        if width % heads:
            raise ValueError(f"width={width} is not divided by heads={heads}")
        self.patches, self.precondition = patches, precondition
        tokens, size = patches.num_tokens, patches.size
        self.enter = TokenMaps(tokens, size, width, shared=patches.alike)
        self.leave = TokenMaps(tokens, width, size, shared=patches.alike)
        self.time = nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))
        self.span = (
            nn.Sequential(nn.Linear(WAVES, width), nn.SiLU(), nn.Linear(width, width))
            if spans
            else None
        )
        self.condition = nn.Sequential(
            nn.Linear(condition, width), nn.SiLU(), nn.Linear(width, width)
        )
        if positions == "learned":
            self.position = nn.Parameter(0.3 * torch.randn(tokens, width))
        elif positions == "waves":
            waves = _waves_of_places(patches.grid, width)
            self.register_buffer("position", waves, persistent=False)
        elif positions == "none":
            self.position = None
        else:
            raise ValueError(f"positions={positions!r}: there are 'learned', 'waves' and 'none'")
        distances = patches.grid[1] if relative else 0
        self.blocks = nn.ModuleList(Block(width, heads, ratio, distances) for _ in range(depth))
        self.modulation = nn.Linear(width, 2 * width)
        self.register_buffer("frequencies", _frequencies(), persistent=False)
        self._begin()

    def _begin(self) -> None:
        """Maps that begin as zero."""
        zero: list[nn.Module] = [self.modulation, self.leave]
        zero += [block.modulation for block in self.blocks if isinstance(block, Block)]
        zero += [self.span[2]] if self.span is not None else []
        for module in zero:
            for parameter in module.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self, t: Tensor, x: Tensor, condition: Tensor, span: Tensor | None = None
    ) -> Tensor:
        """Velocities.

        Args:
            t: times from 0 (noise) to 1 (showers), shape () or (B,).
            x: places, shape (B, V).
            condition: shape (B, C).
            span: size of the step that the velocity is for, shape () or (B,); 0 if not given.

        Returns:
            Shape (B, V).
        """
        t = t.to(x.dtype).expand(x.shape[0])
        told = self.time(self._waves(t)) + self.condition(condition)  # (B, D)
        if self.span is not None and span is not None:
            told = told + self.span(self._waves(span.to(x.dtype).expand(x.shape[0])))
        told = functional.silu(told)
        variance = (t.square() + (1 - t).square())[:, None]  # (B, 1)
        scaled = x * variance.rsqrt() if self.precondition else x
        h = self.enter(self.patches.split(scaled))  # (B, N, D)
        if self.position is not None:
            h = h + self.position
        for block in self.blocks:
            h = block(h, told)
        shift, scale = self.modulation(told)[:, None].chunk(2, 2)
        h = functional.layer_norm(h, h.shape[-1:]) * (1 + scale) + shift
        out = self.patches.join(self.leave(h))  # (B, V)
        if self.precondition:
            out = out * variance.rsqrt() + x * ((2 * t - 1)[:, None] / variance)
        return out

    def _waves(self, t: Tensor) -> Tensor:
        """(B, WAVES) of (B,)."""
        angles = t[:, None] * self.frequencies.to(t.dtype)
        return torch.cat([angles.sin(), angles.cos()], 1)


class TokenMaps(nn.Module):
    """A linear map of each token: one for all, or one for each.

    Args:
        tokens: N.
        inputs: numbers of a token that come in.
        outputs: numbers of a token that leave.
        shared: whether there is one for all.
    """

    def __init__(self, tokens: int, inputs: int, outputs: int, *, shared: bool) -> None:
        super().__init__()
        shape = (inputs, outputs) if shared else (tokens, inputs, outputs)
        self.weight = nn.Parameter(torch.empty(shape))
        self.bias = nn.Parameter(torch.zeros(outputs if shared else (tokens, outputs)))
        nn.init.uniform_(self.weight, -math.sqrt(3 / inputs), math.sqrt(3 / inputs))

    def forward(self, x: Tensor) -> Tensor:
        """Map tokens.

        Args:
            x: shape (B, N, inputs).

        Returns:
            Shape (B, N, outputs).
        """
        if self.weight.ndim == 2:
            return x @ self.weight + self.bias
        return (x.transpose(0, 1) @ self.weight).transpose(0, 1) + self.bias


class Block(nn.Module):
    """Attention and a network, each told the conditions.

    Args:
        width: D.
        heads: H.
        ratio: width of the network over D.
        sectors: how many tokens there are around the axis, for a bias of the attention by their
            distance; 0 for none.
    """

    apart: Tensor

    def __init__(self, width: int, heads: int, ratio: float, sectors: int = 0) -> None:
        super().__init__()
        self.heads = heads
        hidden = int(ratio * width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, hidden), nn.GELU(approximate="tanh"), nn.Linear(hidden, width)
        )
        self.modulation = nn.Linear(width, 6 * width)
        self.bias: nn.Parameter | None = None
        if sectors:
            self.bias = nn.Parameter(torch.zeros(heads, sectors // 2 + 1))
            apart = torch.arange(sectors)
            apart = (apart[:, None] - apart).abs()
            apart = torch.minimum(apart, sectors - apart)
            self.register_buffer("apart", apart, persistent=False)

    def forward(self, x: Tensor, told: Tensor) -> Tensor:
        """One step of all tokens.

        Args:
            x: shape (B, N, D).
            told: time and conditions, shape (B, D).

        Returns:
            Shape (B, N, D).
        """
        size, tokens, width = x.shape
        b1, s1, g1, b2, s2, g2 = self.modulation(told)[:, None].chunk(6, 2)  # (B, 1, D) each
        h = functional.layer_norm(x, (width,)) * (1 + s1) + b1
        split = self.qkv(h).view(size, tokens, 3, self.heads, width // self.heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, H, N, D / H)
        bias = None if self.bias is None else self.bias[:, self.apart]  # (H, N, N)
        mixed = functional.scaled_dot_product_attention(query, key, value, bias)
        x = x + g1 * self.out(mixed.transpose(1, 2).reshape(size, tokens, width))
        h = functional.layer_norm(x, (width,)) * (1 + s2) + b2
        moved: Tensor = x + g2 * self.mlp(h)
        return moved


def _frequencies() -> Tensor:
    """Of the waves of a time, (WAVES / 2,)."""
    return torch.exp(torch.linspace(0, math.log(FASTEST), WAVES // 2))


def _waves_of_places(grid: tuple[int, int, int], width: int) -> Tensor:
    """Sines and cosines of depth and of the place across, (N, D); numbers that are left are 0."""
    depth, angle, radius = torch.meshgrid(
        *(torch.arange(n, dtype=torch.float32) / n for n in grid), indexing="ij"
    )
    turn = 2 * math.pi * angle
    count = max(1, width // 6)
    frequencies = torch.logspace(0, 2, count)
    waves = []
    radius = radius + 0.5 / grid[2]
    for place in (depth, radius * turn.cos(), radius * turn.sin()):
        angles = place.reshape(-1, 1) * frequencies  # (N, D / 6)
        waves += [angles.sin(), angles.cos()]
    return functional.pad(torch.cat(waves, 1), (0, width - 6 * count))
