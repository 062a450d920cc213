r"""Layers of the Lorentz group network: products of representations, filters and mixing.

A. Bogatskiy et al., "Lorentz group equivariant neural network for particle physics", ICML 2020,
arXiv:2006.04780.

A state h holds for each irreducible representation a complex tensor of shape (N, C, 2, D), the real
and the imaginary part in the last axis but one.

Shapes: N nodes of all jets end to end, E ordered pairs of nodes of the same jet, C channels, D
components of a representation, R radial functions.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.taggers.lorentz_representations import (
    Irrep,
    decompose,
    dimension,
    multiply,
    projector,
)
from hepgen.taggers.pair_blocks import Pairs, over_pairs

__all__ = ["Invariants", "Level", "Mix", "ProductOf", "ScalarMLP"]

State = dict[Irrep, Tensor]
VECTOR: Irrep = (1, 1)


class ProductOf:
    """The Clebsch-Gordan product of two states, channel by channel.

    Args:
        first: representations of the first state.
        second: representations of the second state.
        largest: greatest k and n that are kept.

    Attributes:
        counts: how many parts of each representation come out.
    """

    def __init__(self, first: Sequence[Irrep], second: Sequence[Irrep], largest: int) -> None:
        self._terms = []
        self.counts: dict[Irrep, int] = {}
        for a in first:
            for b in second:
                parts = decompose(a, b, largest)
                self._terms.append((a, b, parts, torch.cat([projector(a, b, c) for c in parts])))
                for c in parts:
                    self.counts[c] = self.counts.get(c, 0) + 1

    def __call__(self, first: State, second: State) -> dict[Irrep, list[Tensor]]:
        """The parts of each representation.

        Args:
            first: shapes (N, C, 2, D).
            second: the same, or (N, 1, 2, D).
        """
        result: dict[Irrep, list[Tensor]] = {irrep: [] for irrep in self.counts}
        for a, b, parts, matrix in self._terms:
            product = multiply(first[a], second[b])  # (N, C, 2, D1 D2)
            product = functional.linear(product, matrix.to(product))
            sizes = [dimension(part) for part in parts]
            for part, values in zip(parts, torch.split(product, sizes, dim=-1), strict=True):
                result[part].append(values)
        return result


class Mix(nn.Module):
    """Complex linear maps among the channels of each representation.

    Args:
        channels: how many come in of each representation.
        out_channels: how many go out.
    """

    def __init__(self, channels: dict[Irrep, int], out_channels: int) -> None:
        super().__init__()
        self.irreps = list(channels)
        self.weights = nn.ParameterList()
        for irrep, count in channels.items():
            # The components of vectors are larger than scalars, those of tensors larger still.
            size = 10.0 ** irrep[0] if irrep[0] == irrep[1] else 1.0
            weight = torch.randn(2, out_channels, count) / (max(count, out_channels) * size)
            self.weights.append(nn.Parameter(weight))

    def forward(self, state: State) -> State:
        """Shapes (N, C_out, 2, D).

        Args:
            state: shapes (N, C, 2, D).
        """
        result = {}
        for irrep, (real, imaginary) in zip(self.irreps, self.weights, strict=True):
            h = state[irrep].flatten(-2)  # (N, C, 2 D)
            turned = torch.stack([-state[irrep][..., 1, :], state[irrep][..., 0, :]], dim=-2)
            mixed = real @ h + imaginary @ turned.flatten(-2)
            result[irrep] = mixed.unflatten(-1, (2, dimension(irrep)))
        return result


class ScalarMLP(nn.Module):
    """Layers with LeakyReLU on the real and imaginary parts of the scalars of each node.

    Args:
        channels: C.
        depth: number of hidden layers.
        width: of the hidden layers, in units of the 2 C inputs.
    """

    def __init__(self, channels: int, depth: int, width: int) -> None:
        super().__init__()
        ends = [2 * channels, *[2 * channels * width] * depth, 2 * channels]
        self.linear = nn.ModuleList(nn.Linear(i, o) for i, o in pairwise(ends))

    def forward(self, scalars: Tensor) -> Tensor:
        """Shape (N, C, 2, 1), as it came in."""
        x = scalars.flatten(1)
        for number, linear in enumerate(self.linear):
            x = linear(functional.leaky_relu(x) if number else x)
        return x.view(scalars.shape)


class Level(nn.Module):
    r"""One level: products with the other nodes and with itself, mixed, and an MLP on the scalars.

    .. math::
        h_i \leftarrow M\big(\textstyle\sum_j f(p_{ij}^2)\, Y(p_{ij}) \otimes h_j
        \oplus h_i \oplus h_i \otimes h_i\big)

    With :math:`p_{ij} = p_i - p_j`, Y holds the scalar 1 and the vector :math:`p_{ij}`, both with
    radial functions :math:`a_r + b_r / (1 + c_r^2 |p_{ij}^2|)` of their own mixing to C complex
    channels. For j = i only the constant of this mixing is left. As the product is linear in
    :math:`p_{ij}`, that with :math:`p_i` is taken behind the sum and that with :math:`p_j` before
    it, once for each node, and pairs meet numbers alone.

    Args:
        irreps: representations of the state.
        channels: C.
        out_channels: channels that go out.
        largest: greatest k and n of representations.
        radial: number R of radial functions.
        mlp_depth: hidden layers of the MLP.
        mlp_width: width of these, in units of its inputs.

    Attributes:
        irreps_out: representations of the state that goes out.
    """

    def __init__(
        self,
        irreps: Sequence[Irrep],
        channels: int,
        out_channels: int,
        largest: int,
        radial: int,
        mlp_depth: int,
        mlp_width: int,
    ) -> None:
        super().__init__()
        self.irreps, self.channels = list(irreps), channels
        self.bells = nn.Parameter(torch.randn(3, radial))
        self.filters = nn.ModuleList(nn.Linear(radial, 2 * channels) for _ in range(2))
        self._with_vector = ProductOf(self.irreps, [VECTOR], largest)
        self._with_itself = ProductOf(self.irreps, self.irreps, largest)
        counts: dict[Irrep, int] = {}
        once = dict.fromkeys(self.irreps, 1)
        for found in (once, self._with_vector.counts, once, self._with_itself.counts):
            for irrep, count in found.items():
                counts[irrep] = counts.get(irrep, 0) + count
        self.irreps_out = list(counts)
        self.mix = Mix({r: count * channels for r, count in counts.items()}, out_channels)
        self.mlp = ScalarMLP(out_channels, mlp_depth, mlp_width)

    def forward(self, pairs: Pairs, squares: Tensor, p: Tensor, h: State) -> State:
        """The next state.

        Args:
            pairs: without loops.
            squares: :math:`|p_{ij}^2|`, shape (E,).
            p: momenta in the representation (1, 1), shape (N, 1, 2, 4).
            h: shapes (N, C, 2, D).
        """
        vector = {VECTOR: p}
        own = torch.cat([h[irrep] for irrep in self.irreps], dim=-1)  # (N, C, 2, sum of D)
        pushed = self._with_vector(h, vector)
        pushed_by_j = torch.cat([part for parts in pushed.values() for part in parts], dim=-1)
        by_scalar, by_vector, by_vector_of_j = self._filtered(pairs, squares, own, pushed_by_j)
        sizes = [dimension(irrep) for irrep in self.irreps]
        found = {irrep: [part] for irrep, part in self._split(by_scalar, sizes).items()}
        ahead = self._with_vector(self._split(by_vector, sizes), vector)
        start = 0
        for irrep, parts in ahead.items():
            for part in parts:
                stop = start + dimension(irrep)
                found.setdefault(irrep, []).append(part - by_vector_of_j[..., start:stop])
                start = stop
        for irrep, parts in self._with_itself(h, h).items():
            before = [h[irrep]] if irrep in h else []
            found[irrep] = [*found.get(irrep, []), *before, *parts]
        state = self.mix({irrep: torch.cat(parts, dim=1) for irrep, parts in found.items()})
        return {**state, (0, 0): self.mlp(state[0, 0])}

    def _split(self, values: Tensor, sizes: list[int]) -> State:
        return dict(zip(self.irreps, torch.split(values, sizes, dim=-1), strict=True))

    def _filtered(
        self, pairs: Pairs, squares: Tensor, own: Tensor, pushed: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Sums over j: of h with the scalar filter, of h and of h with p_j with the vector's."""
        values = torch.cat([own, pushed], dim=-1)  # (N, C, 2, D1 + D2)
        one, two = (cast(nn.Linear, linear) for linear in self.filters)
        sums = over_pairs(
            _sums_of_filtered,
            pairs,
            ("pair", "node", "node", *("all",) * 5),
            ("node", "node"),
            *(squares, own.flatten(1), values.flatten(1), self.bells),
            *(one.weight, one.bias, two.weight, two.bias),
        )
        width = own.shape[-1]
        shape = (own.shape[0], self.channels, 2)
        by_scalar, by_vector = sums[0].view(own.shape), sums[1].view(*shape, values.shape[-1])
        by_scalar = by_scalar + multiply(own, one.bias.view(self.channels, 2, 1))
        return by_scalar, by_vector[..., :width], by_vector[..., width:]


def _sums_of_filtered(
    first: Tensor,
    second: Tensor,
    squares: Tensor,
    own: Tensor,
    values: Tensor,
    bells: Tensor,
    weight: Tensor,
    bias: Tensor,
    vector_weight: Tensor,
    vector_bias: Tensor,
) -> tuple[Tensor, Tensor]:
    """Sums over j of complex filters times values, (N, C 2 D) each."""
    a, b, c = bells
    radial = a + b / (1 + squares[:, None] * c.square())  # (E, R)
    results = []
    for v, w, constant in ((own, weight, bias), (values, vector_weight, vector_bias)):
        channels = w.shape[0] // 2
        f = functional.linear(radial, w, constant)
        f = f.view(first.shape[0], channels, 2, 1)
        at = v.index_select(0, second)
        at = at.view(first.shape[0], channels, 2, v.shape[1] // w.shape[0])
        product = multiply(at, f).flatten(1)
        results.append(torch.zeros_like(v).index_add(0, first, product))
    return results[0], results[1]


class Invariants:
    r"""The scalars, and the square of each vector and tensor under the Lorentz group's metric.

    The square of a four-vector is :math:`E^2 - |p|^2`; of complex components it is complex.

    Args:
        irreps: representations of the state.
    """

    def __init__(self, irreps: Sequence[Irrep]) -> None:
        self._metrics = {
            irrep: projector(irrep, irrep, (0, 0)) * dimension(irrep) ** 0.5
            for irrep in irreps
            if irrep != (0, 0)
        }

    def __call__(self, state: State) -> Tensor:
        """Shape (N, 2 C x number of representations), the real and imaginary part of each.

        Args:
            state: shapes (N, C, 2, D).
        """
        found = [state[0, 0]]
        for irrep, metric in self._metrics.items():
            h = state[irrep]
            found.append(functional.linear(multiply(h, h), metric.to(h)))
        return torch.cat(found, dim=1).flatten(1)
