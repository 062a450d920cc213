r"""MADE: one network that gives the parameters of all dimensions, each from those before it alone.

M. Germain, K. Gregor, I. Murray and H. Larochelle, "MADE: masked autoencoder for distribution
estimation", ICML 2015, arXiv:1502.03509.

Every unit has a degree k and sees the first k dimensions in a chosen order, and the context. Units
stand in the order of their degrees, so that a masked weight matrix is block triangular: when the
dimensions become known one after another, as in sampling, the units of degree k are computed when
k dimensions are known and never again. All D steps together then cost no more than one pass
through the network; the usual way costs D passes (`Recursion`).

Shapes: B batch, D dimensions, C context, M parameters of one dimension, H units of a layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Sequence
from difflib import get_close_matches
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hepgen.flows.periodic import angle_features

__all__ = ["MADE", "MaskedLinear", "Recursion"]

ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "elu": F.elu,
    "gelu": F.gelu,
    "leaky_relu": F.leaky_relu,
    "relu": torch.relu,
    "silu": F.silu,
    "tanh": torch.tanh,
}


class MaskedLinear(nn.Linear):
    """A linear layer in which each unit sees only inputs of its own degree or lower.

    Args:
        in_degrees: degrees of the inputs.
        out_degrees: degrees of the units.

    Attributes:
        factor: 1 where a weight counts and 0 elsewhere, a buffer of shape (units, inputs) of the
            type of the weights: as truth values it would have to be turned into numbers each time,
            which takes twice as long as the product.
    """

    factor: Tensor

    def __init__(self, in_degrees: Sequence[int], out_degrees: Sequence[int]) -> None:
        super().__init__(len(in_degrees), len(out_degrees))
        self.in_degrees, self.out_degrees = tuple(in_degrees), tuple(out_degrees)
        mask = torch.tensor(self.out_degrees)[:, None] >= torch.tensor(self.in_degrees)
        self.register_buffer("factor", mask.to(self.weight.dtype), persistent=False)

    @property
    def mask(self) -> Tensor:
        """True where a weight counts, shape (units, inputs)."""
        return self.factor > 0

    def forward(self, x: Tensor) -> Tensor:
        """Of inputs (B, inputs) the units (B, units)."""
        return F.linear(x, self.weight * self.factor, self.bias)


class MADE(nn.Module):
    r"""Parameters :math:`\theta_d(x_{<d}, c)` of all dimensions at once.

    Unlike in nflows the first dimension sees the context too: with a context some units have degree
    zero. All parameters begin at zero, where every `Element` is the identity.

    Args:
        dimension: D.
        num_parameters: M.
        context: C, width of the context; 0 for none.
        hidden: width of the hidden layers.
        layers: how many of these; where they are residual, blocks of two layers that are added to
            what comes in, but for the first.
        order: the dimensions from the first to the last, each once; None for 0, 1, ... D - 1.
        residual: whether there are such blocks.
        activation: one of elu, gelu, leaky_relu, relu, silu, tanh.
        unit: data are of the unit cube, and shifted to be centred at 0.
        periodic: dimensions that are angles, of period 1 in the unit cube, of 2 pi else. The
            network sees their cosine and sine.
        dropout: share of the units of each hidden layer but the first that are left out of a
            training step, in residual blocks of the first of their two layers.
        narrow: allow fewer units than dimensions. Their degrees are spread evenly, and a dimension
            no longer sees each one before it by itself.
        context_layer: let the context in through a layer of its own, whose activations are added to
            what enters the first one's, as in nflows.

    Raises:
        ValueError: the order is no permutation, an angle no dimension, the layers are too few or
            too narrow for the dimensions, or there is no such activation.
    """

    def __init__(
        self,
        dimension: int,
        num_parameters: int,
        *,
        context: int = 0,
        hidden: int = 64,
        layers: int = 2,
        order: Sequence[int] | None = None,
        residual: bool = False,
        activation: str = "relu",
        unit: bool = False,
        periodic: Collection[int] = (),
        dropout: float = 0.0,
        narrow: bool = False,
        context_layer: bool = False,
    ) -> None:
        super().__init__()
        self.dimension, self.num_parameters, self.context = dimension, num_parameters, context
        self.hidden, self.residual, self.activation = hidden, residual, activation
        self.order = tuple(range(dimension) if order is None else order)
        self.unit, self.periodic = unit, frozenset(periodic)
        # No unit can see less than one dimension, unless the context is there to be seen.
        lowest = 0 if context or dimension == 1 else 1
        count = max(dimension - lowest, 1)
        self._check(layers, 1 if narrow else count)
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout}: wanted a share from 0 up to, but not, 1")
        self.act, self.dropout = ACTIVATIONS[activation], dropout
        position = {d: p for p, d in enumerate(self.order)}
        self.beside = nn.Linear(context, hidden) if context and context_layer else None
        seen = [0] * (0 if self.beside else context)
        for d in range(dimension):
            seen += [position[d] + 1] * (2 if d in self.periodic else 1)
        degrees = sorted(lowest + unit % count for unit in range(hidden))
        if hidden < count:
            degrees = [lowest + unit * count // hidden for unit in range(hidden)]
        # Where the units of each degree begin, in all hidden layers alike.
        self.starts = [sum(degree < k for degree in degrees) for k in range(dimension + 1)]
        self.layers = nn.ModuleList([MaskedLinear(seen, degrees)])
        for _ in range((2 if residual else 1) * (layers - 1)):
            self.layers.append(MaskedLinear(degrees, degrees))
        outputs = [position[d] for d in range(dimension) for _ in range(num_parameters)]
        self.last = MaskedLinear(degrees, outputs)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def _check(self, layers: int, narrowest: int) -> None:
        if self.dimension < 1 or self.num_parameters < 1:
            raise ValueError(
                f"a network gives one parameter of one dimension at least, not "
                f"{self.num_parameters} of {self.dimension}"
            )
        if sorted(self.order) != list(range(self.dimension)):
            raise ValueError(
                f"order={list(self.order)} does not have each of the {self.dimension} dimensions "
                "once, counted from 0"
            )
        if not self.periodic <= set(self.order):
            raise ValueError(
                f"periodic={sorted(self.periodic)}: the dimensions are 0 to {self.dimension - 1}"
            )
        if layers < 1 or self.hidden < narrowest:
            raise ValueError(
                f"{layers} layers of width {self.hidden} cannot carry {self.dimension} dimensions"
                f"{' and a context' if self.context else ''}; wanted at least one layer, of width "
                f"{narrowest} at least"
            )
        if self.activation not in ACTIVATIONS:
            near = get_close_matches(self.activation, ACTIVATIONS, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"no activation {self.activation!r}; nearest: {near}; of {', '.join(ACTIVATIONS)}"
            )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Of data (B, D) and context (B, C) the parameters (B, D, M)."""
        seen = self.inputs(x, range(self.dimension))
        told = self.checked(context, x.shape[0])
        if told is not None and self.beside is None:
            seen = torch.cat([told, seen], dim=1)
        first, *rest = self.layers
        h = first(seen)  # (B, H)
        if told is not None and self.beside is not None:
            h = h + self.act(self.beside(told))
        if self.residual:
            for one, two in zip(rest[::2], rest[1::2], strict=True):
                h = h + two(self._dropped(self.act(one(self.act(h)))))
        else:
            h = self.act(h)
            for layer in rest:
                h = self._dropped(self.act(layer(h)))
        parameters: Tensor = self.last(h)  # (B, D M)
        return parameters.view(-1, self.dimension, self.num_parameters)

    def _dropped(self, h: Tensor) -> Tensor:
        return F.dropout(h, self.dropout, self.training) if self.dropout else h

    def inputs(self, x: Tensor, dimensions: Sequence[int]) -> Tensor:
        """What enters of some dimensions, whose columns are ``x``: angles as cosine and sine."""
        if not self.periodic:
            return 2 * x - 1 if self.unit else x
        period = 1.0 if self.unit else 2 * math.pi
        columns = []
        for i, d in enumerate(dimensions):
            column = x[:, i : i + 1]
            if d in self.periodic:
                columns.append(angle_features(column, period))
            else:
                columns.append(2 * column - 1 if self.unit else column)
        return torch.cat(columns, dim=1)

    def checked(self, context: Tensor | None, rows: int) -> Tensor | None:
        """The context, if it is as it should be.

        Raises:
            ValueError: it is missing, not expected, or not of shape (B, C).
        """
        if context is None and not self.context:
            return None
        if context is None or context.shape != (rows, self.context) or not self.context:
            got = "none" if context is None else f"one of shape {tuple(context.shape)}"
            want = f"a context of shape ({rows}, {self.context})" if self.context else "no context"
            raise ValueError(f"the network wants {want}, got {got}")
        return context

    def recursion(self, like: Tensor, context: Tensor | None = None) -> Recursion:
        """Begin to compute the parameters dimension by dimension.

        Args:
            like: any tensor (B, ...) of the rows, type and device of the data to come.
            context: shape (B, C).
        """
        return Recursion(self, like, context)


class Recursion:
    """The parameters of one dimension after another, each unit of the network computed once.

    Values are kept by unit, shape (H, B): the units known are then one block of memory. Without
    gradients they are written into place; with them, or when compiled, blocks are joined anew.

    Args:
        made: the network.
        like: any tensor (B, ...) of the rows, type and device of the data to come.
        context: shape (B, C).
    """

    def __init__(self, made: MADE, like: Tensor, context: Tensor | None = None) -> None:
        self.made, self.known = made, 0
        self.in_place = not torch.is_grad_enabled() and not torch.compiler.is_compiling()
        rows = like.shape[0]
        self.linears = [*cast(list[MaskedLinear], made.layers), made.last]
        first = self.linears[0]
        # In the order in which the inputs become known, which a later unit's columns are a part of.
        by_degree = sorted(range(first.in_features), key=first.in_degrees.__getitem__)
        weight = first.weight
        self.first = weight if by_degree == [*range(first.in_features)] else weight[:, by_degree]
        self.values = [
            _Values(layer.in_features, rows, like, self.in_place) for layer in self.linears
        ]
        told = made.checked(context, rows)
        self.beside: Tensor | None = None
        if told is not None and made.beside is not None:
            self.beside = made.act(made.beside(told)).t()  # (H, B)
        elif told is not None:
            self.values[0].append(told.t())

    def parameters(self) -> Tensor:
        """Parameters (B, M) of the next dimension in the order, from those appended so far."""
        made = self.made
        self._grow()
        start = made.order[self.known] * made.num_parameters
        rows = slice(start, start + made.num_parameters)
        seen = self.values[-1].known()
        width = len(seen)
        # Written this way round the units stand in rows, which is ten times as fast as in columns.
        return torch.addmm(made.last.bias[rows, None], made.last.weight[rows, :width], seen).t()

    def append(self, x: Tensor) -> None:
        """Tell what the next dimension in the order is, shape (B, 1)."""
        dimension = self.made.order[self.known]
        self.known += 1
        self.values[0].append(self.made.inputs(x, [dimension]).t())

    def _grow(self) -> None:
        """Compute the units whose degree is the number of dimensions known, layer by layer."""
        made, act = self.made, self.made.act
        if made.starts[self.known] == made.starts[self.known + 1]:
            return  # No unit has degree zero where there is no context.
        h = self._units(0)
        if made.residual:
            for layer in range(1, len(made.layers), 2):
                self.values[layer].append(act(h))
                self.values[layer + 1].append(act(self._units(layer)))
                h = h + self._units(layer + 1)
            self.values[-1].append(h)
            return
        self.values[1].append(act(h))
        for layer in range(1, len(made.layers)):
            self.values[layer + 1].append(act(self._units(layer)))

    def _units(self, layer: int) -> Tensor:
        """The units of a layer whose degree is the number of dimensions known, (units, B)."""
        linear = self.linears[layer]
        start, stop = self.made.starts[self.known : self.known + 2]
        seen = self.values[layer].known()
        weight = linear.weight if layer else self.first
        h = torch.addmm(linear.bias[start:stop, None], weight[start:stop, : len(seen)], seen)
        return h if layer or self.beside is None else h + self.beside[start:stop]


class _Values:
    """Values of units, appended block by block, (n, B)."""

    def __init__(self, size: int, rows: int, like: Tensor, in_place: bool) -> None:
        self.in_place, self.count = in_place, 0
        self.block = like.new_empty((size if in_place else 0, rows))

    def append(self, new: Tensor) -> None:
        if self.in_place:
            self.block[self.count : self.count + len(new)] = new
        else:
            self.block = torch.cat([self.block, new])
        self.count += len(new)

    def known(self) -> Tensor:
        return self.block[: self.count]
