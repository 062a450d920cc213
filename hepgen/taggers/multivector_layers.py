r"""Layers of L-GATr that commute with Lorentz transformations, on packed tokens.

J. Spinner et al., "Lorentz-equivariant geometric algebra transformers for high-energy physics",
NeurIPS 2024, arXiv:2405.14806. Parameters are named as in the package lgatr.

Shapes: M tokens, C multivector channels, S scalar channels, H heads, D values of a head;
multivectors and scalars are `hepgen.taggers.geometric_algebra.Parts`.
"""

from __future__ import annotations

import math
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.taggers.equivariant_transformer import JetAttention
from hepgen.taggers.geometric_algebra import (
    SQUARES,
    Parts,
    geometric_product,
    pair_matrices,
    squared_norms,
)

__all__ = [
    "EquiLinear",
    "EquiNorm",
    "GeometricAttention",
    "GeometricBilinear",
    "gated",
    "normalised",
]


class EquiLinear(nn.Module):
    """The most general equivariant linear map of multivectors and scalars.

    Weights begin uniform, so that each output has about the variance of an input times a third of
    the square of ``scale``, half of it from multivectors and half from scalars where both enter.

    Args:
        mv_in: multivector channels that enter.
        mv_out: multivector channels that come out.
        s_in: scalar channels that enter, at least 1.
        s_out: scalar channels that come out.
        bias: whether scalars and scalar components get biases.
        scale: of the weights.
        shift: about which biases of scalar components begin.
        embeds: whether multivectors that enter have neither scalar nor pseudoscalar, so that no
            scalar comes from them.
    """

    def __init__(
        self,
        mv_in: int,
        mv_out: int,
        s_in: int,
        s_out: int,
        *,
        bias: bool = True,
        scale: float = 1.0,
        shift: float = 0.0,
        embeds: bool = False,
    ) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(mv_out, mv_in, 10))
        self.s2mvs = nn.Linear(s_in, 2 * mv_out, bias=bias)
        self.mvs2s = nn.Linear(2 * mv_in, s_out, bias=bias) if s_out and not embeds else None
        self.s2s = nn.Linear(s_in, s_out, bias=bias and embeds) if s_out else None
        bound = scale / math.sqrt(mv_in)
        nn.init.uniform_(self.weight, -bound, bound)
        for basis_map in (0, 9):  # to scalar components, which get from scalars too
            nn.init.uniform_(self.weight[..., basis_map], -bound / 2**0.5, bound / 2**0.5)
        bound = scale / math.sqrt(2 * s_in)
        nn.init.uniform_(self.s2mvs.weight, -bound, bound)
        if bias:
            bound = 1 / math.sqrt(s_in + mv_in)
            nn.init.uniform_(self.s2mvs.bias, shift - bound, shift + bound)
        to_scalars = [linear for linear in (self.s2s, self.mvs2s) if linear is not None]
        entering = sum(linear.in_features for linear in to_scalars)
        for linear in to_scalars:
            bound = scale / math.sqrt(linear.in_features * len(to_scalars))
            nn.init.uniform_(linear.weight, -bound, bound)
            if linear.bias is not None:
                nn.init.uniform_(linear.bias, -scale / entering**0.5, scale / entering**0.5)

    def forward(self, x: Parts) -> Parts:
        """Three matrix products: of the invariants, the vectors and the bivectors."""
        components, scalars, vectors, bivectors = self.matrices()
        return Parts(
            functional.linear(
                x.invariant, torch.cat([components.flatten(0, 1), scalars]), self.bias()
            ),
            functional.linear(x.vector, vectors.flatten(0, 1)),
            functional.linear(x.bivector, bivectors.flatten(0, 1)),
        )

    def matrices(self) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The map as matrices.

        Returns:
            To scalar components, (2, C_out, 2 C_in + S_in), to scalars, (S_out, 2 C_in + S_in), and
            of vectors and of bivectors, each (2, C_out, 2 C_in).
        """
        invariants, vectors, bivectors = pair_matrices(self.weight).flatten(3).unbind(0)
        # In lgatr's weights scalar and pseudoscalar alternate.
        rows = torch.unflatten(self.s2mvs.weight, 0, (-1, 2)).transpose(0, 1)  # (2, C_out, S_in)
        components = torch.cat([invariants, rows], dim=2)
        if self.s2s is None:
            return components, components.new_empty(0, components.shape[2]), vectors, bivectors
        own = self.s2s.weight
        if self.mvs2s is None:
            from_components = own.new_zeros(own.shape[0], invariants.shape[2])
        else:
            alternating = torch.unflatten(self.mvs2s.weight, 1, (-1, 2))
            from_components = alternating.transpose(1, 2).flatten(1)
        return components, torch.cat([from_components, own], dim=1), vectors, bivectors

    def bias(self) -> Tensor | None:
        """Biases of the invariants, shape (2 C_out + S_out,)."""
        linears = [linear for linear in (self.s2mvs, self.mvs2s, self.s2s) if linear is not None]
        biases = [cast(Tensor | None, linear.bias) for linear in linears]
        if biases[0] is None:
            return None
        components = torch.unflatten(biases[0], 0, (-1, 2)).t().flatten()
        return torch.cat([components, *(bias for bias in biases[1:] if bias is not None)])


class EquiNorm(nn.Module):
    """`normalised` parts, times a gain for each grade and channel.

    Args:
        mv_channels: C.
        s_channels: S.
    """

    def __init__(self, mv_channels: int, s_channels: int) -> None:
        super().__init__()
        self.weight_mv = nn.Parameter(torch.ones(mv_channels, 5))
        self.weight_s = nn.Parameter(torch.ones(s_channels))

    def forward(self, x: Parts) -> Parts:
        """Parts of the same shapes."""
        gains = self.weight_mv.t()
        x = normalised(x, gains.shape[1])
        return Parts(
            x.invariant * torch.cat([gains[0], gains[4], self.weight_s]),
            x.vector * torch.cat([gains[1], gains[3]]),
            x.bivector * torch.cat([gains[2], gains[2]]),
        )


class GeometricAttention(nn.Module):
    """Attention with queries, keys and values that are normalised for each head.

    Args:
        mv_channels: C.
        s_channels: S.
        heads: H.
        ratio: channels of all heads together, in units of C and S.
        head_scale: whether each head has a learned factor.
    """

    def __init__(
        self, mv_channels: int, s_channels: int, heads: int, ratio: int, head_scale: bool
    ) -> None:
        super().__init__()
        self.heads = heads
        self.mv = max(ratio * mv_channels // heads, 1)
        self.s = max(ratio * s_channels // heads, 4)
        mv, s = heads * self.mv, heads * self.s
        linear = EquiLinear(mv_channels, 3 * mv, s_channels, 3 * s, bias=False)
        self.qkv_module = nn.ModuleDict({"in_linear": linear})
        self.out_linear = EquiLinear(mv, mv_channels, s, s_channels, scale=0.1)
        self.head_scale = nn.Parameter(torch.ones(heads)) if head_scale else None
        pairs = torch.unflatten(torch.tensor(SQUARES, dtype=torch.float32), 0, (8, 2))
        squares = pairs.repeat_interleave(self.mv, dim=1)  # (8, 2 C / H)
        first = torch.cat([squares[0], torch.ones(self.s)])
        self.register_buffer("signs", torch.cat([first, squares[1:].flatten()]), persistent=False)

    def forward(self, x: Parts, attention: JetAttention) -> Parts:
        """What each token takes from all of its jet."""
        own = self._by_head(x)  # parts of 3 H heads
        width = 2 * self.mv
        columns = [own.invariant, *own.vector.unbind(0), *own.bivector.unbind(0)]
        qkv = torch.unflatten(torch.cat(columns, dim=2), 1, (3, self.heads))  # (M, 3, H, D)
        query = qkv[:, :1] * cast(Tensor, self.signs).to(qkv.dtype)
        mixed = attention(torch.cat([query, qkv[:, 1:]], dim=1))  # (M, H, D)
        widths = [width + self.s, 4 * width, 3 * width]
        invariant, vector, bivector = torch.split(mixed, widths, dim=2)
        return self._output(
            Parts(
                invariant.flatten(1),
                torch.unflatten(vector, 2, (4, width)).permute(2, 0, 1, 3).flatten(2),
                torch.unflatten(bivector, 2, (3, width)).permute(2, 0, 1, 3).flatten(2),
            )
        )

    def _in_linear(self) -> EquiLinear:
        return cast(EquiLinear, self.qkv_module["in_linear"])

    def _by_head(self, x: Parts) -> Parts:
        """Queries, keys and values of the heads, (..., 3 H, channels), normalised for each."""
        components, scalars, vectors, bivectors = self._in_linear().matrices()
        # In lgatr's weights heads run fastest; here channels do.
        shape = (3, self.mv, self.heads)
        components, vectors, bivectors = (
            torch.unflatten(m, 1, shape).permute(1, 3, 0, 2, 4).flatten(2, 3).flatten(0, 1)
            for m in (components, vectors, bivectors)
        )  # each (3 H, 2 C / H, columns)
        scalars = torch.unflatten(scalars, 0, (3, self.s, self.heads)).transpose(1, 2).flatten(0, 1)
        first = torch.cat([components, scalars], dim=1)
        matrices = (matrix.flatten(0, 1) for matrix in (first, vectors, bivectors))
        parts = map(functional.linear, x, matrices)
        by_head = (torch.unflatten(part, -1, (3 * self.heads, -1)) for part in parts)
        return normalised(Parts(*by_head), self.mv)

    def _output(self, x: Parts) -> Parts:
        """The last map, of parts whose channels are ordered by head and then as in `Parts`."""
        components, scalars, vectors, bivectors = self.out_linear.matrices()
        rows = torch.cat([components.flatten(0, 1), scalars])
        edge = 2 * self.mv * self.heads
        from_scalars = torch.unflatten(rows[:, edge:], 1, (self.heads, self.s))
        invariants = torch.cat([self._heads_first(rows[:, :edge]), from_scalars], dim=2)
        others = (self._heads_first(matrix.flatten(0, 1)) for matrix in (vectors, bivectors))
        matrices = [invariants, *others]  # each (rows, H, columns of a head)
        if self.head_scale is not None:
            matrices = [matrix * self.head_scale[:, None] for matrix in matrices]
        first, second, third = (matrix.flatten(1) for matrix in matrices)
        return Parts(
            functional.linear(x.invariant, first, self.out_linear.bias()),
            functional.linear(x.vector, second),
            functional.linear(x.bivector, third),
        )

    def _heads_first(self, matrix: Tensor) -> Tensor:
        """Columns (2, H, C / H) as (H, 2 C / H)."""
        by_half = torch.unflatten(matrix, 1, (2, self.heads, self.mv))
        return by_half.transpose(1, 2).flatten(2)


class GeometricBilinear(nn.Module):
    """Geometric products of two linear maps, mapped again and normalised.

    Args:
        mv_in: multivector channels that enter.
        mv_out: multivector channels that are multiplied and come out.
        s_in: scalar channels that enter.
        s_out: scalar channels that come out.
    """

    def __init__(self, mv_in: int, mv_out: int, s_in: int, s_out: int) -> None:
        super().__init__()
        self.channels = mv_out
        self.linear_left = EquiLinear(mv_in, mv_out, s_in, 0)
        self.linear_right = EquiLinear(mv_in, mv_out, s_in, 0, scale=0.5, shift=1.0)
        self.linear_out = EquiLinear(mv_out, mv_out, s_in, s_out)

    def forward(self, x: Parts) -> Parts:
        """Parts with other numbers of channels."""
        sides = (self.linear_left, self.linear_right)
        left, right = (side.matrices() for side in sides)
        first, _, second, third = (
            torch.cat([a.flatten(0, -2), b.flatten(0, -2)])
            for a, b in zip(left, right, strict=True)
        )
        biases = (side.bias() for side in sides)
        bias = torch.cat([one for one in biases if one is not None])
        factors = (
            functional.linear(x.invariant, first, bias),
            functional.linear(x.vector, second),
            functional.linear(x.bivector, third),
        )
        shape = (2, 2, self.channels)
        product = geometric_product(Parts(*(torch.unflatten(part, -1, shape) for part in factors)))
        scalars = x.invariant[:, x.vector.shape[2] :]
        invariant = torch.cat([product.invariant, scalars], dim=1)
        return normalised(self.linear_out(product._replace(invariant=invariant)), self.channels)


def normalised(x: Parts, channels: int) -> Parts:
    """Multivectors over the root of their mean absolute square, and scalars as by layer norm.

    Args:
        x: parts, where more axes may stand between the tokens and the channels.
        channels: C.

    Returns:
        Parts of the same shapes.
    """
    scalar, vector, bivector = (s.sum(-1, keepdim=True) for s in squared_norms(x, channels))
    squares = scalar + vector + bivector
    # Not plus but at least: the absolute square of a large multivector can be small.
    norm = (squares / channels).clamp(min=0.01).rsqrt()
    components, scalars = x.invariant.tensor_split([2 * channels], dim=-1)
    scalars = functional.layer_norm(scalars, scalars.shape[-1:])
    return Parts(
        torch.cat([components * norm, scalars], dim=-1), x.vector * norm, x.bivector * norm
    )


def gated(x: Parts, channels: int) -> Parts:
    """Multivectors times GELU of their scalar component, and GELU of scalars.

    Args:
        x: parts.
        channels: C.

    Returns:
        Parts of the same shapes.
    """
    scalar, pseudoscalar, scalars = x.invariant.tensor_split([channels, 2 * channels], dim=1)
    gate = functional.gelu(scalar, approximate="tanh")
    both = torch.cat([gate, gate], dim=1)
    scalars = functional.gelu(scalars, approximate="tanh")
    invariant = torch.cat([scalar * gate, pseudoscalar * gate, scalars], dim=1)
    return Parts(invariant, x.vector * both, x.bivector * both)
