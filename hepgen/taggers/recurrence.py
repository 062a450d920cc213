r"""A long short-term memory along the constituents of each jet, without work on padding.

S. Hochreiter and J. Schmidhuber, "Long short-term memory", Neural Comput. 9 (1997) 1735, in torch's
form: with gates i, f, g, o and hidden state h,

.. math::
    c_t = \sigma(f_t)\, c_{t-1} + \sigma(i_t) \tanh(g_t), \qquad h_t = \sigma(o_t) \tanh(c_t).

``torch.nn.LSTM`` breaks the graph of torch.compile; here forward and backward are an operator each,
``hepgen::lstm`` and ``hepgen::lstm_backward``. Jets are taken by length, so that those that have a
constituent at step t are the first n of them: a step is one product of matrices of n rows.

Shapes: B jets, N constituents of all jets end to end, H hidden; ``ptr`` has B + 1 entries.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

__all__ = ["lstm"]


def lstm(gates: Tensor, weight: Tensor, ptr: Tensor) -> Tensor:
    """Hidden states after each constituent; each jet begins with states of zero.

    Args:
        gates: the part of the gates i, f, g, o that comes from the inputs, shape (N, 4 H).
        weight: matrix from hidden states to gates, shape (4 H, H); gives the type of the result.
        ptr: offsets of the jets in N, shape (B + 1,), int64.

    Returns:
        Shape (N, H), in the order of ``gates``. Gradients have no gradients.
    """
    hidden: Tensor = _lstm(gates.to(weight.dtype), weight, ptr)[0]
    return hidden


@torch.library.custom_op("hepgen::lstm", mutates_args=())
def _lstm(gates: Tensor, weight: Tensor, ptr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Hidden states in the order of the gates; cells and activations of the gates step by step."""
    width = weight.shape[1]
    slot, steps = _steps(ptr, gates.shape[0])
    activations = torch.empty_like(gates).index_copy_(0, slot, gates)  # (N, 4 H)
    cells = gates.new_empty(gates.shape[0], width)  # (N, H)
    hidden = torch.empty_like(cells)
    back = weight.t()
    before = slice(0, 0)
    for step, now in enumerate(steps):
        gate, cell = activations[now], cells[now]
        if step:
            before = slice(before.start, before.start + cell.shape[0])
            gate.addmm_(hidden[before], back)
        gate[:, : 2 * width].sigmoid_()
        gate[:, 2 * width : 3 * width].tanh_()
        gate[:, 3 * width :].sigmoid_()
        write, keep, new, show = gate.chunk(4, dim=1)
        torch.mul(write, new, out=cell)
        if step:
            cell.addcmul_(keep, cells[before])
        torch.tanh(cell, out=hidden[now])
        hidden[now].mul_(show)
        before = now
    return hidden[slot], cells, activations


@_lstm.register_fake
def _(gates: Tensor, weight: Tensor, ptr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    hidden = gates.new_empty(gates.shape[0], weight.shape[1])
    return hidden, torch.empty_like(hidden), torch.empty_like(gates)


@torch.library.custom_op("hepgen::lstm_backward", mutates_args=())
def _lstm_backward(
    grad: Tensor, hidden: Tensor, cells: Tensor, activations: Tensor, weight: Tensor, ptr: Tensor
) -> tuple[Tensor, Tensor]:
    """Gradients of the gates and of the weight from that of the hidden states."""
    slot, steps = _steps(ptr, grad.shape[0])
    left = torch.empty_like(cells).index_copy_(0, slot, grad.to(cells.dtype))  # (N, H)
    of_cells = torch.zeros_like(cells)  # what the next step leaves to the cells of this one
    of_gates = torch.empty_like(activations)  # (N, 4 H)
    squashed = cells.tanh()
    first = steps[0] if steps else slice(0, 0)
    for step in range(len(steps) - 1, -1, -1):
        now = steps[step]
        write, keep, new, show = activations[now].chunk(4, dim=1)
        d_write, d_keep, d_new, d_show = of_gates[now].chunk(4, dim=1)
        upper, shown = left[now], squashed[now]
        cell = of_cells[now].addcmul_(upper * show, 1 - shown * shown)
        torch.mul(upper * shown, show * (1 - show), out=d_show)
        torch.mul(cell * new, write * (1 - write), out=d_write)
        torch.mul(cell * write, 1 - new * new, out=d_new)
        if step == 0:
            d_keep.zero_()
            break
        start = steps[step - 1].start
        before = slice(start, start + cell.shape[0])
        torch.mul(cell * cells[before], keep * (1 - keep), out=d_keep)
        torch.mul(cell, keep, out=of_cells[before])
        left[before].addmm_(of_gates[now], weight)
    hidden_by_step = torch.empty_like(cells).index_copy_(0, slot, hidden)
    earlier = [
        hidden_by_step[last.start : last.start + now.stop - now.start]
        for last, now in pairwise(steps)
    ]
    of_weight = torch.zeros_like(weight)
    if earlier:
        of_weight.addmm_(of_gates[first.stop :].t(), torch.cat(earlier))
    return of_gates[slot], of_weight


@_lstm_backward.register_fake
def _(
    grad: Tensor, hidden: Tensor, cells: Tensor, activations: Tensor, weight: Tensor, ptr: Tensor
) -> tuple[Tensor, Tensor]:
    return torch.empty_like(activations), torch.empty_like(weight)


def _steps(ptr: Tensor, size: int) -> tuple[Tensor, list[slice]]:
    """Where each constituent stands step by step, (N,), and the rows of each step."""
    counts = ptr.diff()
    most = int(counts.max()) if counts.numel() else 0
    rank = torch.empty_like(counts)
    place = torch.arange(max(size, counts.numel()), device=ptr.device)
    rank[counts.argsort(descending=True, stable=True)] = place[: counts.numel()]
    # Of the jets, those with more than t constituents are as many as step t has rows.
    rows = counts.numel() - torch.bincount(counts, minlength=most + 1).cumsum(0)[:most]
    stops = rows.cumsum(0)
    starts = stops - rows
    jet = torch.repeat_interleave(counts, output_size=size)
    slot = starts[place[:size] - ptr[jet]] + rank[jet]
    return slot, [slice(*ends) for ends in zip(starts.tolist(), stops.tolist(), strict=True)]


def _keep_for_backward(ctx: Any, inputs: tuple[Tensor, ...], output: tuple[Tensor, ...]) -> None:
    _, weight, ptr = inputs
    ctx.save_for_backward(*output, weight, ptr)
    ctx.mark_non_differentiable(*output[1:])
    ctx.set_materialize_grads(False)


def _backward(ctx: Any, grad: Tensor | None, *_: None) -> tuple[Tensor | None, Tensor | None, None]:
    if grad is None:
        return None, None, None
    return (*_lstm_backward(grad, *ctx.saved_tensors), None)


_lstm.register_autograd(_backward, setup_context=_keep_for_backward)
