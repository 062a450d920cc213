r"""Few steps instead of many: a network that jumps where the velocity would be followed.

The network is told the size h of the step besides the time, and learns the mean velocity over it,
:math:`s(t, h, x_t) = (x_{t+h} - x_t) / h` along the solution of the teacher. A jump over h is two
jumps over h/2,

.. math:: s(t, h, x) = \tfrac{1}{2} s(t, \tfrac{h}{2}, x)
   + \tfrac{1}{2} s(t + \tfrac{h}{2}, \tfrac{h}{2}, x + \tfrac{h}{2} s(t, \tfrac{h}{2}, x)),

which is what larger steps are taught (K. Frans, D. Hafner, S. Levine and P. Abbeel, "One step
diffusion via shortcut models", arXiv:2410.12557, eq. 4), with the right side held fixed. The
smallest step is taught by the teacher, followed with a midpoint, not by data as there: its target
has no noise.

Shapes: B showers, V voxels, C conditions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hepgen.simulators.shower_transformer import ShowerTransformer

__all__ = ["SIZES", "jumps", "learn_from", "shortcut_losses"]

# The steps that are learnt: one, two, four and eight to the whole way.
SIZES = (1, 2, 4, 8)


def jumps(network: ShowerTransformer, x: Tensor, condition: Tensor, steps: int) -> Tensor:
    """Follow a velocity in steps of one size, each along the velocity at its beginning.

    For a network that knows steps these are its jumps, for any other Euler's method.

    Args:
        network: of the velocity.
        x: noise, shape (B, V).
        condition: shape (B, C).
        steps: how many.

    Returns:
        Shape (B, V).
    """
    size = x.new_full((), 1 / steps)
    for i in range(steps):
        x = x + network(x.new_full((), i / steps), x, condition, size) / steps
    return x


def learn_from(student: ShowerTransformer, teacher: ShowerTransformer) -> None:
    """Begin as the teacher, which knows no steps.

    Args:
        student: gets the weights.
        teacher: of the same architecture.
    """
    student.load_state_dict(teacher.state_dict(), strict=False)


def shortcut_losses(
    student: ShowerTransformer, teacher: ShowerTransformer, x: Tensor, condition: Tensor
) -> Tensor:
    """Square errors of jumps, each shower with a step of its own size.

    Random numbers are torch's own.

    Args:
        student: that learns steps.
        teacher: that knows the velocity.
        x: showers as the networks know them, shape (B, V), in random order.
        condition: shape (B, C).

    Returns:
        Shape (B,).
    """
    number = len(x)
    # Sizes in equal parts; the order of a batch is random already.
    part = torch.arange(number, device=x.device) * len(SIZES) // max(1, number)
    counts = torch.tensor(SIZES, device=x.device)[part]  # (B,)
    size = (1 / counts).to(x.dtype)
    t = (torch.rand(number, device=x.device) * counts).floor().to(x.dtype) * size
    noise = torch.randn_like(x)
    start = (1 - t)[:, None] * noise + t[:, None] * x
    first = number - number // len(SIZES)
    with torch.no_grad():
        half = size / 2
        halves = []
        for rows, network in ((slice(0, first), student), (slice(first, None), teacher)):
            place, about, h = start[rows], condition[rows], half[rows]
            slope = network(t[rows], place, about, h)
            second = network(t[rows] + h, place + h[:, None] * slope, about, h)
            # A midpoint step has the slope half-way, two jumps the mean of both.
            halves.append(second if network is teacher else (slope + second) / 2)
        target = torch.cat(halves)
    wrong: Tensor = student(t, start, condition, size) - target
    return wrong.square().mean(1)
