r"""A recursion over binary trees as one operator: all nodes of one level of all trees at a time.

With states h of the two children and the node's own u, stacked to :math:`c = [h_L, h_R, u]`, the
gated unit of G. Louppe et al., arXiv:1702.00748, is

.. math::
    r = \sigma(W_r c + b_r), \quad
    \tilde h = \mathrm{ReLU}\big(W_h (r \odot c) + b_h\big), \quad
    z = \operatorname{softmax}_4\big(W_z [\tilde h, c] + b_z\big), \quad
    h = \sum_4 z \odot [\tilde h, c]

where the softmax is taken over the four vectors, in each of their components, and the simple one
:math:`h = \mathrm{ReLU}(W_h c + b_h)`. After either, S. Macaluso and K. Cranmer's networks in
network apply :math:`h \leftarrow \mathrm{ReLU}(W h + b)` a few times.

How many levels there are depends on the jets; a loop over them can be neither compiled nor
exported. As an operator with a gradient written by hand it is one node of the graph, and sets up
nothing for autograd at each level.

Shapes: M nodes, H hidden, L networks in network, n nodes of a level.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["Unit", "recurse"]


class Unit(NamedTuple):
    """Weights of what joins two children.

    Attributes:
        w_h: shape (H, 3 H).
        b_h: shape (H,).
        w_r: shape (3 H, 3 H); (0, 0) for a simple unit.
        b_r: shape (3 H,); (0,) for a simple unit.
        w_z: shape (4 H, 4 H); (0, 0) for a simple unit.
        b_z: shape (4 H,); (0,) for a simple unit.
        w_n: of the networks in network, shape (L, H, H).
        b_n: shape (L, H).
    """

    w_h: Tensor
    b_h: Tensor
    w_r: Tensor
    b_r: Tensor
    w_z: Tensor
    b_z: Tensor
    w_n: Tensor
    b_n: Tensor


def recurse(u: Tensor, children: Tensor, levels: Tensor, unit: Unit) -> Tensor:
    """States of all nodes, from the leaves to the roots.

    One operator to torch.compile and torch.export, ``hepgen::recurse``, differentiable once.

    Args:
        u: what belongs to the nodes themselves, shape (M, H); those of the leaves are their states.
        children: rows of the two children of each node, shape (M, 2), int64; -1 for leaves.
        levels: 0 for leaves, otherwise 1 more than the higher of the children's, -1 for rows that
            are to be left alone, shape (M,), int64.
        unit: weights; the type of the result is theirs.

    Returns:
        Shape (M, H).
    """
    states, _ = _recurse(u.to(unit.w_h.dtype), children, levels, *unit)
    return cast(Tensor, states)


class _Plan:
    """Nodes in the order of their levels, so that each level is a slice."""

    def __init__(self, children: Tensor, levels: Tensor) -> None:
        self.order = levels.argsort(stable=True)
        self.place = torch.empty_like(self.order)
        self.place[self.order] = torch.arange(len(levels), device=levels.device)
        # The children of leaves are never looked at.
        self.children = self.place[children[self.order].clamp_(min=0)]
        # What is no node, and leaves, come first.
        ends = torch.bincount(levels + 1, minlength=2).cumsum(0).tolist()
        self.inner = [slice(a, b) for a, b in pairwise(ends[1:])]

    def joined(self, states: Tensor, u: Tensor, level: slice) -> Tensor:
        """States of the children of a level and its own u, shape (n, 3 H)."""
        first, second = self.children[level].unbind(1)
        return torch.cat([states[first], states[second], u[level]], dim=1)


def _columns(unit: Unit) -> list[int]:
    """Widths of what is kept for the gradient: r, z, the candidate, what networks get."""
    hidden, gates = unit.w_h.shape[0], unit.w_z.shape[0]
    return [unit.w_r.shape[0], gates, hidden if gates else 0, len(unit.w_n) * hidden]


@torch.library.custom_op("hepgen::recurse", mutates_args=())
def _recurse(
    u: Tensor,
    children: Tensor,
    levels: Tensor,
    w_h: Tensor,
    b_h: Tensor,
    w_r: Tensor,
    b_r: Tensor,
    w_z: Tensor,
    b_z: Tensor,
    w_n: Tensor,
    b_n: Tensor,
) -> tuple[Tensor, Tensor]:
    unit = Unit(w_h, b_h, w_r, b_r, w_z, b_z, w_n, b_n)
    plan = _Plan(children, levels)
    u = u[plan.order]
    states, kept = u.clone(), u.new_zeros((len(u), sum(_columns(unit))))
    parts = torch.split(kept, _columns(unit), dim=1)
    with torch.autocast(u.device.type, enabled=False):
        for level in plan.inner:
            c = plan.joined(states, u, level)
            h = _gated(c, unit, level, parts) if len(w_z) else _simple(c, unit)
            for number, (weight, bias) in enumerate(zip(w_n, b_n, strict=True)):
                parts[3][level, number * len(b_h) : (number + 1) * len(b_h)] = h
                h = torch.addmm(bias, h, weight.t()).relu_()
            states[level] = h
    return states[plan.place], kept


def _simple(c: Tensor, unit: Unit) -> Tensor:
    return torch.addmm(unit.b_h, c, unit.w_h.t()).relu_()


def _gated(c: Tensor, unit: Unit, level: slice, kept: Sequence[Tensor]) -> Tensor:
    """States of a level; the gates and the candidate are kept."""
    r = torch.addmm(unit.b_r, c, unit.w_r.t()).sigmoid_()
    candidate = torch.addmm(unit.b_h, r * c, unit.w_h.t()).relu_()
    four = torch.cat([candidate, c], dim=1)  # (n, 4 H)
    logits = torch.addmm(unit.b_z, four, unit.w_z.t())
    z = functional.softmax(_four(logits), dim=1)
    kept[0][level], kept[1][level], kept[2][level] = r, z.flatten(1), candidate
    return (z * _four(four)).sum(1)


def _four(values: Tensor) -> Tensor:
    return values.view(len(values), 4, -1)


@_recurse.register_fake
def _(
    u: Tensor, children: Tensor, levels: Tensor, w_h: Tensor, b_h: Tensor, *gates: Tensor
) -> tuple[Tensor, Tensor]:
    width = sum(_columns(Unit(w_h, b_h, *gates)))
    return torch.empty_like(u), u.new_empty((u.shape[0], width))


@torch.library.custom_op("hepgen::recurse_backward", mutates_args=())
def _recurse_backward(
    gradient: Tensor,
    states: Tensor,
    kept: Tensor,
    u: Tensor,
    children: Tensor,
    levels: Tensor,
    w_h: Tensor,
    b_h: Tensor,
    w_r: Tensor,
    b_r: Tensor,
    w_z: Tensor,
    b_z: Tensor,
    w_n: Tensor,
    b_n: Tensor,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor, Tensor]:
    unit = Unit(w_h, b_h, w_r, b_r, w_z, b_z, w_n, b_n)
    plan = _Plan(children, levels)
    gradient, states, u = gradient[plan.order], states[plan.order], u[plan.order]
    sums = Unit(*map(torch.zeros_like, unit))
    parts = torch.split(kept, _columns(unit), dim=1)
    hidden = len(b_h)
    with torch.autocast(u.device.type, enabled=False):
        for level in reversed(plan.inner):
            g, after = gradient[level], states[level]
            for number in reversed(range(len(w_n))):
                before = parts[3][level, number * hidden : (number + 1) * hidden]
                g = _linear_backward(g * (after > 0), before, w_n[number], sums, "n", number)
                after = before
            c = plan.joined(states, u, level)
            if len(w_z):
                g = _gated_backward(g, c, [part[level] for part in parts], unit, sums)
            else:
                g = _linear_backward(g * (after > 0), c, w_h, sums, "h")
            first, second = plan.children[level].unbind(1)
            to_first, to_second, gradient[level] = torch.split(g, hidden, dim=1)
            gradient.index_add_(0, first, to_first)
            gradient.index_add_(0, second, to_second)
    return gradient[plan.place], *sums


def _linear_backward(
    g: Tensor, x: Tensor, weight: Tensor, sums: Unit, name: str, number: int | None = None
) -> Tensor:
    """Adds the gradients of a linear layer's weight and bias; gives that of what it got."""
    w, b = getattr(sums, f"w_{name}"), getattr(sums, f"b_{name}")
    if number is not None:
        w, b = w[number], b[number]
    w.addmm_(g.t(), x)
    b.add_(g.sum(0))
    return g @ weight


def _gated_backward(g: Tensor, c: Tensor, kept: list[Tensor], unit: Unit, sums: Unit) -> Tensor:
    """Gradient of c, shape (n, 3 H), from that of the states of a level."""
    r, z, candidate, _ = kept
    four, share = torch.cat([candidate, c], dim=1), _four(z)
    of_share = g[:, None] * _four(four)
    of_four = (g[:, None] * share).flatten(1)
    of_logits = share * (of_share - (of_share * share).sum(1, keepdim=True))
    of_four += _linear_backward(of_logits.flatten(1), four, unit.w_z, sums, "z")
    hidden = candidate.shape[1]
    of_candidate, of_c = of_four[:, :hidden] * (candidate > 0), of_four[:, hidden:]
    of_product = _linear_backward(of_candidate, r * c, unit.w_h, sums, "h")
    of_r = _linear_backward(of_product * c * r * (1 - r), c, unit.w_r, sums, "r")
    return of_c + of_product * r + of_r


@_recurse_backward.register_fake
def _(
    gradient: Tensor,
    states: Tensor,
    kept: Tensor,
    u: Tensor,
    children: Tensor,
    levels: Tensor,
    *unit: Tensor,
) -> tuple[Tensor, ...]:
    return (torch.empty_like(u), *map(torch.empty_like, unit))


def _save(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, Tensor]) -> None:
    states, kept = output
    ctx.save_for_backward(states, kept, *inputs)
    ctx.mark_non_differentiable(kept)


def _backward(ctx: Any, gradient: Tensor, _: Tensor | None) -> tuple[Tensor | None, ...]:
    of_u, *of_unit = _recurse_backward(gradient, *ctx.saved_tensors)
    return (of_u, None, None, *of_unit)


torch.library.register_autograd("hepgen::recurse", _backward, setup_context=_save)
