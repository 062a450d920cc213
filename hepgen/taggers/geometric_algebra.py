r"""The geometric algebra G(1,3) of space-time: products, norms and maps that keep Lorentz symmetry.

A multivector is a sum of 16 blades, products of the four directions e_0 to e_3 with
:math:`e_0^2 = 1, e_i^2 = -1` (D. Hestenes, "Space-Time Algebra", 1966). Right multiplication by the
pseudoscalar :math:`I = e_0 e_1 e_2 e_3` commutes with all proper Lorentz transformations and
squares to -1, so that blades come in pairs (e, eI): 1 and I, four vectors and four axial vectors,
three electric and three magnetic bivectors. The most general equivariant linear map of channels
acts within such pairs, with the same weights for all pairs of one kind: three matrix products, one
for each kind. For this the parts of multivectors are kept apart, channels last.

Shapes: N multivectors of C channels. `Parts` have ``invariant`` (N, 2 C + S), that is 1, I and S
scalars of other kinds, ``vector`` (4, N, 2 C) and ``bivector`` (3, N, 2 C), each with C channels
of e and then C of eI.
"""

from __future__ import annotations

from itertools import combinations
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from hepgen.data import blades
from hepgen.taggers.threads import map_in_threads

__all__ = [
    "BLADES",
    "SIGNS",
    "SQUARES",
    "TARGETS",
    "Parts",
    "blade_product",
    "from_parts",
    "geometric_product",
    "pair_matrices",
    "plain_product",
    "squared_norms",
    "to_parts",
]

METRIC = (1, -1, -1, -1)
BLADES: tuple[tuple[int, ...], ...] = tuple(
    directions for grade in range(5) for directions in combinations(range(4), grade)
)
"""The blades by grade and then by direction: 1, e0, ..., e3, e01, ..., e23, e012, ..., e0123."""


class Parts(NamedTuple):
    """Multivectors by kind, see the module's shapes."""

    invariant: Tensor
    vector: Tensor
    bivector: Tensor


def blade_product(a: tuple[int, ...], b: tuple[int, ...]) -> tuple[int, tuple[int, ...]]:
    """The product of two blades.

    Args:
        a: ascending directions, of 0 to 3.
        b: likewise.

    Returns:
        Sign and blade.
    """
    sign, directions = 1, list(a)
    for direction in b:
        # Past every greater direction, and then perhaps onto itself.
        sign *= (-1) ** sum(other > direction for other in directions)
        if direction in directions:
            sign *= METRIC[direction]
            directions.remove(direction)
        else:
            directions = sorted([*directions, direction])
    return sign, tuple(directions)


def _slots() -> list[tuple[int, tuple[int, ...]]]:
    """Sign and blade of e and eI, row by row."""
    rows: list[tuple[int, ...]] = [(), (0,), (1,), (2,), (3,), (0, 1), (0, 2), (0, 3)]
    return [slot for row in rows for slot in ((1, row), blade_product(row, (0, 1, 2, 3)))]


def _tables() -> tuple[np.ndarray, np.ndarray]:
    """Sign and slot of the product of two slots, each (16, 16) int8."""
    slots = _slots()
    place = {blade: (slot, sign) for slot, (sign, blade) in enumerate(slots)}
    signs, targets = np.empty((2, 16, 16), np.int8)
    for i, (sign_i, a) in enumerate(slots):
        for j, (sign_j, b) in enumerate(slots):
            sign, blade = blade_product(a, b)
            slot, of_slot = place[blade]
            signs[i, j], targets[i, j] = sign_i * sign_j * sign * of_slot, slot
    return signs, targets


def _squares() -> list[int]:
    """The inner product of each slot with itself, scalar part of its reverse times itself."""
    reversals = (1, 1, -1, -1, 1)
    return [reversals[len(blade)] * blade_product(blade, blade)[0] for _, blade in _slots()]


SIGNS, TARGETS = _tables()
"""Sign and slot of the product of two slots, 2 row + half, each (16, 16)."""
ORDER = [BLADES.index(blade) for _, blade in _slots()]
ORDER_SIGNS = [float(sign) for sign, _ in _slots()]
SQUARES = _squares()
"""Inner product of each slot with itself."""


def to_parts(multivectors: Tensor) -> Parts:
    """Multivectors by kind.

    Args:
        multivectors: shape (N, C, 16), in the order of ``BLADES``.

    Returns:
        Parts without further scalars.
    """
    signs = multivectors.new_tensor(ORDER_SIGNS)
    slots = multivectors[..., ORDER] * signs  # (N, C, 16)
    rows = torch.unflatten(slots, -1, (8, 2)).permute(2, 0, 3, 1).flatten(2)  # (8, N, 2 C)
    return Parts(rows[0], rows[1:5], rows[5:])


def from_parts(parts: Parts) -> Tensor:
    """What `to_parts` undoes.

    Args:
        parts: without further scalars.

    Returns:
        Shape (N, C, 16), in the order of ``BLADES``.
    """
    rows = torch.cat([parts.invariant[None], parts.vector, parts.bivector])  # (8, N, 2 C)
    slots = torch.unflatten(rows, 2, (2, -1)).permute(1, 3, 0, 2).flatten(2)  # (N, C, 16)
    signs = slots.new_tensor(ORDER_SIGNS)
    return (slots * signs)[..., [ORDER.index(blade) for blade in range(16)]]


def pair_matrices(weight: Tensor) -> Tensor:
    r"""The matrices of the most general map that all proper Lorentz transformations commute with.

    The map is :math:`\sum_g w_g \langle x \rangle_g + w_{5+g} \langle x \rangle_g I` for grades g.

    Args:
        weight: w for pairs of channels, shape (C_out, C_in, 10).

    Returns:
        Shape (3, 2, C_out, 2, C_in): for invariants, vectors and bivectors, what e and eI of the
        output get from e and eI of the input.
    """
    # From eI one gets e with the sign of I I = -1. The grade of eI is 4 less that of e.
    which = [[[g, 9 - g], [5 + g, 4 - g]] for g in range(3)]
    signs = weight.new_tensor([[1.0, -1.0], [1.0, 1.0]])
    return (weight[..., which] * signs).permute(2, 3, 0, 4, 1)


def squared_norms(parts: Parts, channels: int) -> tuple[Tensor, Tensor, Tensor]:
    r"""Absolute squares :math:`|\langle\langle x\rangle_g, \langle x\rangle_g\rangle|` of grades.

    Args:
        parts: multivectors, where more axes may stand between N and the channels.
        channels: C.

    Returns:
        For grades 0 and 4, for grades 1 and 3, each (N, ..., 2 C), and for grade 2, (N, ..., C).
    """
    scalar = parts.invariant[..., : 2 * channels].square()
    time, x, y, z = parts.vector.unbind(0)
    vector = time.square() - x.square() - y.square() - z.square()
    first, second, third = parts.bivector.unbind(0)
    bivector = first.square() + second.square() + third.square()
    electric, magnetic = bivector[..., :channels], bivector[..., channels:]
    return scalar, vector.abs(), (magnetic - electric).abs()


def geometric_product(factors: Parts) -> Parts:
    """Products of left and right factors.

    On a CPU one operator, ``hepgen::geometric_product``, of a kernel in numba; elsewhere, and in
    what torch.export writes, operators of torch.

    Args:
        factors: C channels of left and of right factors: ``invariant`` (N, 2 sides, 2 halves, C)
            without further scalars, ``vector`` (4, N, 2, 2, C), ``bivector`` (3, N, 2, 2, C).

    Returns:
        The products; their gradient has no gradient of its own on a CPU.
    """
    if factors.invariant.device.type != "cpu" or torch.compiler.is_exporting():
        return plain_product(factors)
    first, middle, last = _product(*factors)
    return Parts(first.flatten(1), middle.flatten(2), last.flatten(2))


def plain_product(factors: Parts) -> Parts:
    """What `geometric_product` gives, by operators of torch on any device.

    Args:
        factors: as there.

    Returns:
        The products.
    """
    slots = torch.cat([factors.invariant[None], factors.vector, factors.bivector])
    left, right = slots.unbind(2)  # (8, N, 2, C)
    left, right = (side.transpose(1, 2).flatten(0, 1) for side in (left, right))  # (16, N, C)
    total = torch.zeros_like(left)
    for a in range(16):
        # The right slots in the order of the slots that they give with this left one.
        order = np.argsort(TARGETS[a])
        signs = right.new_tensor(SIGNS[a][order].tolist())[:, None, None]
        total = total + left[a] * (right[order.tolist()] * signs)
    rows = torch.unflatten(total, 0, (8, 2)).transpose(1, 2).flatten(2)  # (8, N, 2 C)
    return Parts(rows[0], rows[1:5], rows[5:])


# Multivectors that a thread multiplies at a time.
STEP = 4096


@torch.library.custom_op("hepgen::geometric_product", mutates_args=())
def _product(first: Tensor, middle: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    factors = [part.contiguous() for part in (first, middle, last)]
    out = [part.new_empty(_without_side(part)) for part in factors]

    def work(start: int) -> None:
        first, middle, last = _cut(factors, start)
        blades.multiply(first, middle, last, SIGNS, TARGETS, *_cut(out, start))

    map_in_threads(work, range(0, len(first), STEP))
    return out[0], out[1], out[2]


@_product.register_fake
def _(first: Tensor, middle: Tensor, last: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    out = [part.new_empty(_without_side(part)) for part in (first, middle, last)]
    return out[0], out[1], out[2]


@torch.library.custom_op("hepgen::geometric_product_backward", mutates_args=())
def _product_backward(
    first: Tensor,
    middle: Tensor,
    last: Tensor,
    by_first: Tensor,
    by_middle: Tensor,
    by_last: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    factors = [part.contiguous() for part in (first, middle, last)]
    given = [part.contiguous() for part in (by_first, by_middle, by_last)]
    into = [torch.empty_like(part) for part in factors]

    def work(start: int) -> None:
        first, middle, last = _cut(factors, start)
        others = (*_cut(given, start), *_cut(into, start))
        blades.multiply_backward(first, middle, last, SIGNS, TARGETS, *others)

    map_in_threads(work, range(0, len(first), STEP))
    return into[0], into[1], into[2]


@_product_backward.register_fake
def _(
    first: Tensor,
    middle: Tensor,
    last: Tensor,
    by_first: Tensor,
    by_middle: Tensor,
    by_last: Tensor,
) -> tuple[Tensor, Tensor, Tensor]:
    return torch.empty_like(first), torch.empty_like(middle), torch.empty_like(last)


def _without_side(part: Tensor) -> list[int]:
    """Shape of products: that of the factors less the axis of left and right."""
    return [*part.shape[:-3], *part.shape[-2:]]


def _cut(parts: list[Tensor], start: int) -> list[np.ndarray]:
    """Some multivectors of parts, as numpy arrays."""
    some, stop = parts[0].detach(), start + STEP
    return [some[start:stop].numpy(), *(p.detach()[:, start:stop].numpy() for p in parts[1:])]


def _keep(ctx, inputs, output) -> None:  # type: ignore[no-untyped-def]
    ctx.save_for_backward(*inputs)


def _give_back(ctx, *given):  # type: ignore[no-untyped-def]
    return _product_backward(*ctx.saved_tensors, *given)


_product.register_autograd(_give_back, setup_context=_keep)
