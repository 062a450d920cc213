"""Rational-quadratic splines as operators of torch, one for each device.

``hepgen::spline`` and ``hepgen::spline_backward`` are single operators to torch.compile and
torch.export. On a CPU they share the elements among ``torch.get_num_threads()`` threads, on a GPU
they are Triton kernels. Where neither is at hand, and for second derivatives, the same function
stands in `hepgen.flows.rational_quadratic`, in plain torch.

Shapes: any (..., D) elements, K bins, M parameters of an element.
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import astuple
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepgen.flows.rational_quadratic import Knots, bins_and_slopes, rational_quadratic
from hepgen.flows.spline_gradients import backward
from hepgen.flows.spline_kernels import LANES, forward, scratch

__all__ = ["has_operator", "spline"]

# Below so many elements another thread would start later than the work ends.
SERIAL = 8192


def has_operator(device: torch.device) -> bool:
    """Whether there are kernels for tensors of a device."""
    return device.type == "cpu" or (device.type == "cuda" and _has_triton())


@lru_cache(maxsize=1)
def _has_triton() -> bool:
    return find_spec("triton") is not None


def spline(x: Tensor, raw: Tensor, knots: Knots, inverse: bool) -> tuple[Tensor, Tensor]:
    """Values and log-slopes, with first derivatives by kernels and all others in plain torch.

    Args:
        x: what to map, shape (..., D), float32 or float64.
        raw: parameters, shape (..., D, M), of the same dtype.
        knots: the rest.
        inverse: map back.

    Returns:
        Values and log-slopes, shape (..., D).
    """
    # The call of an operator costs five times that of a function, as long as a small kernel.
    if torch.compiler.is_compiling() or type(x) is not Tensor:
        operator: Any = torch.ops.hepgen.spline
        y, log_slope = operator(x, raw, *astuple(knots), inverse)
    else:
        y, log_slope = _apply(_Spline, x, raw, knots, inverse)
    return y, log_slope


def _run(x: Tensor, raw: Tensor, knots: Knots, inverse: bool) -> tuple[Tensor, Tensor]:
    x, raw = x.detach().contiguous(), raw.detach().contiguous()
    y, log_slope = torch.empty_like(x), torch.empty_like(x)
    if x.is_cuda:
        from hepgen.flows import spline_triton

        spline_triton.forward(x, raw, y, log_slope, knots, inverse)
        return y, log_slope
    scale, slots = _constants(knots)
    given, rows, *filled = _flat(x), _rows(raw, knots), _flat(y), _flat(log_slope)

    def part(start: int, stop: int) -> None:
        memory = scratch(rows.shape[1], rows.dtype)
        parts = (array[start:stop] for array in (given, rows, *filled))
        forward(*parts, scale, slots, inverse, *memory)

    _share(part, len(given))
    return y, log_slope


def _run_backward(
    x: Tensor, raw: Tensor, grad_y: Tensor, grad_log: Tensor, knots: Knots, inverse: bool
) -> tuple[Tensor, Tensor]:
    x, raw = x.detach().contiguous(), raw.detach().contiguous()
    grad_y, grad_log = grad_y.detach().contiguous(), grad_log.detach().contiguous()
    grad_x, grad_raw = torch.empty_like(x), torch.empty_like(raw)
    if x.is_cuda:
        from hepgen.flows import spline_triton_gradients

        spline_triton_gradients.backward(x, raw, grad_y, grad_log, grad_x, grad_raw, knots, inverse)
        return grad_x, grad_raw
    scale, slots = _constants(knots)
    arrays = (
        _flat(x),
        _rows(raw, knots),
        _flat(grad_y),
        _flat(grad_log),
        _flat(grad_x),
        _rows(grad_raw, knots),
    )

    def part(start: int, stop: int) -> None:
        memory = scratch(arrays[1].shape[1], arrays[1].dtype)
        backward(*(array[start:stop] for array in arrays), scale, slots, inverse, *memory)

    _share(part, len(arrays[0]))
    return grad_x, grad_raw


@lru_cache(maxsize=64)
def _constants(knots: Knots) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """What the CPU's kernels call scale and slots."""
    scale = [knots.low, knots.high, knots.min_bin, knots.min_slope, knots.shift]
    return np.array(scale), np.array(knots.slots(), np.int64)


def _flat(tensor: Tensor) -> NDArray[Any]:
    flat: NDArray[Any] = tensor.view(-1).numpy()
    return flat


def _rows(tensor: Tensor, knots: Knots) -> NDArray[Any]:
    rows: NDArray[Any] = tensor.view(-1, knots.num_parameters).numpy()
    return rows


def _share(part: Callable[[int, int], None], count: int) -> None:
    """Work of elements start to stop, in as many threads as torch computes with."""
    threads = min(torch.get_num_threads(), count // SERIAL)
    if threads < 2:
        part(0, count)
        return
    # Each takes the next piece when it is done with one: a thread that other programs keep waiting,
    # or one of torch's that still spins on its core, delays a piece and not a half.
    size = -(-count // (4 * threads) // LANES) * LANES
    starts = iter(range(0, count, size))

    def work() -> None:
        for start in starts:
            part(start, min(start + size, count))

    others = [_pool(threads - 1, os.getpid()).submit(work) for _ in range(threads - 1)]
    work()
    for other in others:
        if not other.cancel():
            other.result()


@lru_cache(maxsize=4)
def _pool(threads: int, process: int) -> ThreadPoolExecutor:
    """A forked process gets its own, as threads do not survive a fork."""
    return ThreadPoolExecutor(threads, "hepgen-spline")


def _apply(function: type[torch.autograd.Function], *inputs: Any) -> tuple[Tensor, Tensor]:
    results: tuple[Tensor, Tensor] = function.apply(*inputs)  # type: ignore[no-untyped-call]
    return results


def _plain(x: Tensor, raw: Tensor, knots: Knots, inverse: bool) -> tuple[Tensor, Tensor]:
    shape = bins_and_slopes(raw, knots)
    return rational_quadratic(x, *shape, low=knots.low, high=knots.high, inverse=inverse)


def _second_derivatives(
    tensors: tuple[Tensor, ...],
    grads: tuple[Tensor, ...],
    knots: Knots,
    inverse: bool,
) -> tuple[Tensor, ...]:
    """Gradients of gradients, in plain torch, so that there may be a third."""

    def first(x: Tensor, raw: Tensor, *weights: Tensor) -> Any:
        return torch.func.vjp(lambda x, raw: _plain(x, raw, knots, inverse), x, raw)[1](weights)

    results: tuple[Tensor, ...] = torch.func.vjp(first, *tensors)[1](grads)
    return results


def _batched(
    in_dims: tuple[int | None, ...], tensors: tuple[Tensor, ...], size: int
) -> list[Tensor]:
    """For vmap: the axis that is mapped over in front, in all tensors."""
    return [
        tensor.expand(size, *tensor.shape) if axis is None else tensor.movedim(axis, 0)
        for tensor, axis in zip(tensors, in_dims, strict=True)
    ]


def _signed(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function with its signature at hand, which torch would inspect anew at each call."""
    function.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return function


class _Spline(torch.autograd.Function):
    """What torch calls when it does not compile."""

    @staticmethod
    @_signed
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        return _run(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        x, raw, ctx.knots, ctx.inverse = inputs
        ctx.save_for_backward(x, raw)
        ctx.save_for_forward(x, raw)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        grad_x, grad_raw = _apply(
            _SplineGradient, *ctx.saved_tensors, *grads, ctx.knots, ctx.inverse
        )
        return grad_x, grad_raw, None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> tuple[Tensor, Tensor]:
        primals: tuple[Tensor, Tensor] = ctx.saved_tensors
        changes = tuple(
            torch.zeros_like(primal) if tangent is None else tangent
            for primal, tangent in zip(primals, tangents[:2], strict=True)
        )

        def plain(x: Tensor, raw: Tensor) -> tuple[Tensor, Tensor]:
            return _plain(x, raw, ctx.knots, ctx.inverse)

        answer: Any = torch.func.jvp(plain, primals, changes)
        results: tuple[Tensor, Tensor] = answer[1]
        return results

    @staticmethod
    def vmap(info: Any, in_dims: Any, x: Tensor, raw: Tensor, knots: Knots, inverse: bool) -> Any:
        tensors = _batched(in_dims[:2], (x, raw), info.batch_size)
        return _apply(_Spline, *tensors, knots, inverse), (0, 0)


class _SplineGradient(torch.autograd.Function):
    @staticmethod
    @_signed
    def forward(*inputs: Any) -> tuple[Tensor, Tensor]:
        return _run_backward(*inputs)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
        *tensors, ctx.knots, ctx.inverse = inputs
        ctx.save_for_backward(*tensors)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        return *_second_derivatives(ctx.saved_tensors, grads, ctx.knots, ctx.inverse), None, None

    @staticmethod
    def vmap(info: Any, in_dims: Any, *inputs: Any) -> Any:
        tensors = _batched(in_dims[:4], inputs[:4], info.batch_size)
        return _apply(_SplineGradient, *tensors, *inputs[4:]), (0, 0)


@torch.library.custom_op("hepgen::spline", mutates_args=())
def _operator(
    x: Tensor,
    raw: Tensor,
    bins: int,
    ends: int,
    low: float,
    high: float,
    min_bin: float,
    min_slope: float,
    inverse: bool,
) -> tuple[Tensor, Tensor]:
    return _run(x, raw, Knots(bins, ends, low, high, min_bin, min_slope), inverse)


@torch.library.custom_op("hepgen::spline_backward", mutates_args=())
def _backward_operator(
    x: Tensor,
    raw: Tensor,
    grad_y: Tensor,
    grad_log: Tensor,
    bins: int,
    ends: int,
    low: float,
    high: float,
    min_bin: float,
    min_slope: float,
    inverse: bool,
) -> tuple[Tensor, Tensor]:
    knots = Knots(bins, ends, low, high, min_bin, min_slope)
    return _run_backward(x, raw, grad_y, grad_log, knots, inverse)


@_operator.register_fake
def _(x: Tensor, raw: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    kept = torch.contiguous_format
    return torch.empty_like(x, memory_format=kept), torch.empty_like(x, memory_format=kept)


@_backward_operator.register_fake
def _(x: Tensor, raw: Tensor, *rest: Any) -> tuple[Tensor, Tensor]:
    kept = torch.contiguous_format
    return torch.empty_like(x, memory_format=kept), torch.empty_like(raw, memory_format=kept)


def _keep(ctx: Any, inputs: tuple[Any, ...], output: Any) -> None:
    tensors = [one for one in inputs if isinstance(one, Tensor)]
    ctx.settings = inputs[len(tensors) :]
    ctx.save_for_backward(*tensors)


def _first(ctx: Any, grad_y: Tensor, grad_log: Tensor) -> tuple[Tensor | None, ...]:
    grads = _backward_operator(*ctx.saved_tensors, grad_y, grad_log, *ctx.settings)
    return *grads, *[None] * len(ctx.settings)


def _second(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
    *settings, inverse = ctx.settings
    grads = _second_derivatives(ctx.saved_tensors, grads, Knots(*settings), inverse)
    return *grads, *[None] * len(ctx.settings)


_operator.register_autograd(_first, setup_context=_keep)
_backward_operator.register_autograd(_second, setup_context=_keep)
