r"""What neighbours tell the light couplings of CaloINN: kernels of numba, and the same in torch.

One pass over each layer, whose numbers stay in the nearest memory, does what takes some forty
operations of torch, there and back. `hepgen.simulators.calo_inn_light` has the formula.

No fast arithmetic: the bits would depend on whether a kernel was compiled or taken from the cache.

Shapes: B showers, L layers, A sectors, R rings, N = A R voxels of a layer.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numba import njit
from numpy.typing import NDArray
from torch import Tensor
from torch.autograd.function import once_differentiable

from hepgen.flows.elementary import exp_negative

__all__ = ["add_neighbours", "neighbours", "neighbours_by_kernels", "undo_coupling"]

Floats = NDArray[np.float32]
Integers = NDArray[np.int64]

# Showers whose sums stay in the nearest memory.
LANES = 128

OPTIONS: dict[str, Any] = {"cache": True, "nogil": True, "error_model": "numpy"}

_ZERO, _ONE = np.float32(0), np.float32(1)
# Slopes are within exp(-3) and exp(3), as those of `hepgen.flows.Affine`.
_STEEPEST = np.float32(3)


@njit(**OPTIONS)
def _surrounded(x: Floats, rings: int, out: Floats) -> None:
    """Voxels of a layer with its last sector before and its first behind them, (N + 2 R,)."""
    n = len(x)
    for i in range(n):
        out[rings + i] = x[i]
    for i in range(rings):
        out[i] = x[n - rings + i]
        out[rings + n + i] = x[i]


@njit(**OPTIONS)
def _beyond(x: Floats, begin: Floats, out: Floats) -> None:
    """max(x - begin, 0)."""
    for i in range(len(out)):
        above = x[i] - begin[i]
        out[i] = above if above > _ZERO else _ZERO  # noqa: FURB136


@njit(**OPTIONS)
def _add(x: Floats, weight: Floats, out: Floats) -> None:
    for i in range(len(out)):
        out[i] += weight[i] * x[i]


@njit(**OPTIONS)
def _fold(wide: Floats, rings: int, out: Floats) -> None:
    """Add to each voxel what stands for it in numbers of ``_surrounded``."""
    n = len(out)
    for i in range(n):
        out[i] += wide[rings + i]
    for i in range(rings):
        out[n - rings + i] += wide[i]
        out[i] += wide[rings + n + i]


@njit(**OPTIONS)
def add_neighbours(
    x: Floats,
    near: Floats,
    begin: Floats,
    rings: int,
    layer: int,
    shift: Floats,
    slope: Floats,
    memory: Floats,
) -> None:
    """What the six neighbours add to shifts and slopes of a layer.

    Args:
        x: voxels of one shower, shape (L, N).
        near: see `undo_coupling`.
        begin: likewise.
        rings: R.
        layer: which.
        shift: shape (N,).
        slope: shape (N,).
        memory: shape (3, N + 2 R).
    """
    layers, n = x.shape
    wide, hits, others = memory[0], memory[1], memory[2, :n]
    for k in range(2):
        other = layer - 1 if k == 0 else layer + 1
        if 0 <= other < layers:
            _beyond(x[other], begin[other], others)
            _add(x[other], near[layer, k, 0], shift)
            _add(others, near[layer, k, 1], shift)
            _add(others, near[layer, k, 2], slope)
    _surrounded(x[layer], rings, wide)
    _beyond(x[layer], begin[layer], others)
    _surrounded(others, rings, hits)
    for k in range(2, 6):
        # On both sides, inside and outside.
        start = (0, 2 * rings, rings - 1, rings + 1)[k - 2]
        _add(wide[start : start + n], near[layer, k, 0], shift)
        _add(hits[start : start + n], near[layer, k, 1], shift)
        _add(hits[start : start + n], near[layer, k, 2], slope)


@njit(**OPTIONS)
def _sum_neighbours(x: Floats, near: Floats, begin: Floats, rings: int, sums: Floats) -> None:
    """Shifts and slopes of all voxels by their neighbours.

    Args:
        x: voxels, shape (B, L, N).
        near: see `undo_coupling`.
        begin: likewise.
        rings: R.
        sums: filled, shape (B, L, 2, N).
    """
    memory = np.zeros((3, x.shape[2] + 2 * rings), np.float32)
    for layer in range(x.shape[1]):
        for b in range(x.shape[0]):
            shift, slope = sums[b, layer, 0], sums[b, layer, 1]
            shift[:] = 0
            slope[:] = 0
            add_neighbours(x[b], near, begin, rings, layer, shift, slope, memory)


@njit(**OPTIONS)
def _neighbours_backward(
    x: Floats,
    near: Floats,
    begin: Floats,
    rings: int,
    grad: Floats,
    grad_x: Floats,
    grad_near: Floats,
    grad_begin: Floats,
) -> None:
    """Gradients of `_sum_neighbours`.

    Args:
        x: see there.
        near: likewise.
        begin: likewise.
        rings: likewise.
        grad: of the sums, shape (B, L, 2, N).
        grad_x: filled, shape (B, L, N).
        grad_near: zeros that are added to, shape (L, 6, 3, N).
        grad_begin: likewise, shape (L, N).
    """
    rows, layers, n = x.shape
    hit, grad_hit = np.empty((layers, n), np.float32), np.empty((layers, n), np.float32)
    wide, hits = np.empty(n + 2 * rings, np.float32), np.empty(n + 2 * rings, np.float32)
    of_wide, of_hits = np.empty(n + 2 * rings, np.float32), np.empty(n + 2 * rings, np.float32)
    for b in range(rows):
        grad_hit[:] = 0
        grad_x[b] = 0
        for layer in range(layers):
            _beyond(x[b, layer], begin[layer], hit[layer])
        for layer in range(layers):
            shift, slope = grad[b, layer, 0], grad[b, layer, 1]
            weight, to = near[layer], grad_near[layer]
            for k in range(2):
                other = layer - 1 if k == 0 else layer + 1
                if 0 <= other < layers:
                    _add(weight[k, 0], shift, grad_x[b, other])
                    _add(weight[k, 1], shift, grad_hit[other])
                    _add(weight[k, 2], slope, grad_hit[other])
                    _add(x[b, other], shift, to[k, 0])
                    _add(hit[other], shift, to[k, 1])
                    _add(hit[other], slope, to[k, 2])
            _surrounded(x[b, layer], rings, wide)
            _surrounded(hit[layer], rings, hits)
            of_wide[:] = 0
            of_hits[:] = 0
            for k in range(2, 6):
                start = (0, 2 * rings, rings - 1, rings + 1)[k - 2]
                _add(weight[k, 0], shift, of_wide[start : start + n])
                _add(weight[k, 1], shift, of_hits[start : start + n])
                _add(weight[k, 2], slope, of_hits[start : start + n])
                _add(wide[start : start + n], shift, to[k, 0])
                _add(hits[start : start + n], shift, to[k, 1])
                _add(hits[start : start + n], slope, to[k, 2])
            _fold(of_wide, rings, grad_x[b, layer])
            _fold(of_hits, rings, grad_hit[layer])
        for layer in range(layers):
            for i in range(n):
                passed = grad_hit[layer, i] if hit[layer, i] > _ZERO else _ZERO
                grad_x[b, layer, i] += passed
                grad_begin[layer, i] -= passed


@njit(**OPTIONS)
def _gather(x: Floats, n: int, begin: np.float32, weights: Floats, sums: Floats) -> None:
    """What one neighbour adds to shifts and slopes of some showers."""
    a, b, c = weights[0], weights[1], weights[2]
    for t in range(n):
        above = x[t] - begin
        hit = above if above > _ZERO else _ZERO  # noqa: FURB136
        sums[t] += a * x[t] + b * hit
        sums[LANES + t] += c * hit


@njit(**OPTIONS)
def _move(x: Floats, shift: Floats, slope: Floats, sums: Floats) -> None:
    """(x - shift) exp(-b(slope)) of one voxel of some showers."""
    for t in range(len(x)):
        small = (slope[t] + sums[LANES + t]) / _STEEPEST
        size = small if small > _ZERO else -small
        log_slope = _STEEPEST * (small / (_ONE + size))
        x[t] = (x[t] - (shift[t] + sums[t])) * exp_negative(-log_slope)


@njit(**OPTIONS)
def undo_coupling(
    x: Floats, terms: Floats, near: Floats, begin: Floats, places: Integers, rings: int
) -> None:
    """The inverse of a `NeighbourCoupling`, in place, many showers at a time.

    Args:
        x: voxels, shape (L, N, B).
        terms: shifts and slopes that the layers give, shape (L, 2 T, B).
        near: weights of the six neighbours, of x and of what is beyond ``begin`` for the shift,
            and of the latter for the slope, zero where there is no neighbour, shape (L, 6, 3, N).
        begin: shape (L, N).
        places: which voxels of a layer are mapped, N where there are fewer than T, shape (L, T).
        rings: R.
    """
    layers, n, rows = x.shape
    mapped = places.shape[1]
    sums, weights = np.zeros(2 * LANES, np.float32), np.zeros((6, 3), np.float32)
    for layer in range(layers):
        for j in range(mapped):
            i = places[layer, j]
            if i >= n:
                continue
            weights[:] = near[layer, :, :, i]
            for start in range(0, rows, LANES):
                end = min(start + LANES, rows)
                sums[:] = 0
                for k in range(6):
                    # Zero weights may be of places that there are not.
                    other = layer + (-1 if k == 0 else 1 if k == 1 else 0)
                    step = -rings if k == 2 else rings if k == 3 else -1 if k == 4 else 1
                    beside = i if k < 2 else (i + step) % n
                    if 0 <= other < layers:
                        row = x[other, beside, start:end]
                        _gather(row, end - start, begin[other, beside], weights[k], sums)
                _move(
                    x[layer, i, start:end],
                    terms[layer, j, start:end],
                    terms[layer, mapped + j, start:end],
                    sums,
                )


def neighbours_by_kernels(x: Tensor, near: Tensor, begin: Tensor, rings: int) -> Tensor:
    """`neighbours` with first derivatives, on a CPU and in float32.

    Args:
        x: see `neighbours`.
        near: likewise, zero where there is no neighbour.
        begin: likewise.
        rings: R.

    Returns:
        See `neighbours`.
    """
    sums: Tensor = _Neighbours.apply(x, near, begin, rings)  # type: ignore[no-untyped-call]
    return sums


class _Neighbours(torch.autograd.Function):
    """`neighbours` by kernels, with first derivatives."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, near: Tensor, begin: Tensor, rings: int) -> Tensor:
        x, near, begin = (t.detach().contiguous() for t in (x, near, begin))
        ctx.save_for_backward(x, near, begin)
        ctx.rings = rings
        sums = torch.empty(x.shape[0], x.shape[1], 2, x.shape[2])
        _sum_neighbours(x.numpy(), near.numpy(), begin.numpy(), rings, sums.numpy())
        return sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        given = ctx.saved_tensors
        found = tuple(torch.zeros_like(t) for t in given)
        _neighbours_backward(
            *(t.numpy() for t in given),
            ctx.rings,
            grads[0].contiguous().numpy(),
            *(t.numpy() for t in found),
        )
        return *found, None


def neighbours(x: Tensor, near: Tensor, begin: Tensor, grid: tuple[int, int, int]) -> Tensor:
    """What neighbours add to shifts and slopes, in operations of torch.

    Args:
        x: voxels, shape (B, L, A R).
        near: weights, see `undo_coupling`, shape (L, 6, 3, A R).
        begin: shape (L, A R).
        grid: L, A and R.

    Returns:
        Shape (B, L, 2, A R).
    """
    wide = x.view(-1, *grid)
    hit = (x - begin).relu().view(-1, *grid)
    shift, slope = torch.zeros_like(wide), torch.zeros_like(wide)
    for i in range(6):
        axis, step = (1, 2, 3)[i // 2], (1, -1)[i % 2]
        a, b, c = (near[:, i, j].view(grid) for j in range(3))
        beside, hits = _moved(wide, axis, step), _moved(hit, axis, step)
        shift = shift + a * beside + b * hits
        slope = slope + c * hits
    return torch.stack([shift.view(x.shape), slope.view(x.shape)], dim=2)


def _moved(x: Tensor, axis: int, step: int) -> Tensor:
    """Neighbours on one side (B, L, A, R); sectors close, beyond the other ends are zeros."""
    if axis == 2:
        return x.roll(step, axis)
    rest = x.narrow(axis, (1 - step) // 2, x.shape[axis] - 1)
    zero = torch.zeros_like(x.narrow(axis, 0, 1))
    return torch.cat([zero, rest] if step == 1 else [rest, zero], dim=axis)
