r"""Solvers of ordinary differential equations for batches: fixed steps, and steps that adapt.

Each row of a batch is an initial value problem :math:`\dot y = f(t, y)` of its own. Fixed steps are
an unrolled loop of tensor operations, which torch.compile takes whole. Where steps adapt, each row
has its own time and step size, so that what comes back for it does not depend on the other rows.

E. Hairer, S. P. Norsett and G. Wanner, "Solving ordinary differential equations I", 2nd ed.,
Springer 1993: the classical Runge-Kutta methods (II.1), that of Dormand and Prince (table II.5.2)
and its control of steps (II.4). Gradients run through the accepted steps; step sizes count as
constants.

Shapes: B rows, S numbers of the state of a row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["METHODS", "NotSolved", "adaptive_steps", "fixed_steps"]

# f(t, y, *constants) -> slope (B, S); t has shape () with fixed steps, (B,) with adaptive ones.
Field = Callable[..., Tensor]

SAFETY, SHRINK, GROW = 0.9, 0.2, 10.0


class NotSolved(ArithmeticError):
    """The solution could not be followed to its end with the accuracy that was asked for."""


class Tableau(NamedTuple):
    """Coefficients of an explicit Runge-Kutta method: times, stages, weights of the sum."""

    times: tuple[float, ...]
    stages: tuple[tuple[float, ...], ...]
    weights: tuple[float, ...]


METHODS = {
    "midpoint": Tableau((0.0, 1 / 2), ((), (1 / 2,)), (0.0, 1.0)),
    "rk4": Tableau(
        (0.0, 1 / 2, 1 / 2, 1.0),
        ((), (1 / 2,), (0.0, 1 / 2), (0.0, 0.0, 1.0)),
        (1 / 6, 1 / 3, 1 / 3, 1 / 6),
    ),
}
DOPRI5 = Tableau(
    (0.0, 1 / 5, 3 / 10, 4 / 5, 8 / 9, 1.0, 1.0),
    (
        (),
        (1 / 5,),
        (3 / 40, 9 / 40),
        (44 / 45, -56 / 15, 32 / 9),
        (19372 / 6561, -25360 / 2187, 64448 / 6561, -212 / 729),
        (9017 / 3168, -355 / 33, 46732 / 5247, 49 / 176, -5103 / 18656),
        (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84),
    ),
    (35 / 384, 0.0, 500 / 1113, 125 / 192, -2187 / 6784, 11 / 84, 0.0),
)
# The fifth order minus the fourth.
DOPRI5_ERROR = (71 / 57600, 0.0, -71 / 16695, 71 / 1920, -17253 / 339200, 22 / 525, -1 / 40)


def fixed_steps(
    field: Field,
    y: Tensor,
    start: float,
    end: float,
    *,
    steps: int,
    method: str = "rk4",
    constants: Sequence[Tensor | None] = (),
) -> Tensor:
    """Follow solutions with steps of one size.

    The error falls with the second (midpoint) or fourth (rk4) power of the number of steps.

    Args:
        field: slope of ``(t, y, *constants)``, with t of shape ().
        y: where the solutions start, shape (B, S).
        start: time at the start.
        end: time at the end, before or after it.
        steps: number of steps, at least 1.
        method: "midpoint" (2 slopes a step) or "rk4" (4 slopes a step).
        constants: what else the field wants of each row.

    Returns:
        Where the solutions are at the end, shape (B, S).

    Raises:
        ValueError: there is no such method, or less than one step.
    """
    if method not in METHODS:
        near = get_close_matches(method, METHODS, n=1, cutoff=0.0)[0]
        raise ValueError(f"no method {method!r}; nearest: {near}; there are {', '.join(METHODS)}")
    if steps < 1:
        raise ValueError(f"steps={steps}: wanted at least 1")
    tableau, step = METHODS[method], (end - start) / steps
    for i in range(steps):
        slopes: list[Tensor] = []
        for time, stage in zip(tableau.times, tableau.stages, strict=True):
            t = y.new_full((), start + (i + time) * step)
            slopes.append(field(t, _move(y, slopes, stage, step), *constants))
        y = _move(y, slopes, tableau.weights, step)
    return y


def _move(
    y: Tensor, slopes: Sequence[Tensor], weights: Sequence[float], step: float | Tensor
) -> Tensor:
    """Go from y a step along a weighted sum of slopes."""
    weighted = [weight * slope for weight, slope in zip(weights, slopes, strict=True) if weight]
    return y + step * torch.stack(weighted).sum(0) if weighted else y


class _Rows(NamedTuple):
    """The rows that are still on their way.

    Attributes:
        number: of each row in the batch, (b,).
        t: (b,).
        y: (b, S).
        slope: at (t, y), (b, S).
        step: size of the next step, positive, (b,).
        refused: whether the last step was, (b,).
        constants: whatever else the field wants of these rows.
    """

    number: Tensor
    t: Tensor
    y: Tensor
    slope: Tensor
    step: Tensor
    refused: Tensor
    constants: tuple[Tensor | None, ...]

    def where(self, mask: Tensor) -> _Rows:
        constants = tuple(None if c is None else c[mask] for c in self.constants)
        number, t, y, slope, step, refused = (part[mask] for part in self[:6])
        return _Rows(number, t, y, slope, step, refused, constants)


def adaptive_steps(
    field: Field,
    y: Tensor,
    start: float,
    end: float,
    *,
    rtol: float = 1e-5,
    atol: float = 1e-5,
    max_steps: int = 1000,
    constants: Sequence[Tensor | None] = (),
) -> Tensor:
    r"""Follow solutions with the pair of Dormand and Prince, steps chosen for each row.

    The estimated error of a step stays below
    :math:`\mathrm{atol} + \mathrm{rtol} \max(|y_0|, |y_1|)`, as a root mean square over the row
    (Hairer et al., eqs. II.4.10, 4.11). That at the end is of the same order, not bounded by it.

    Args:
        field: slope of ``(t, y, *constants)``, with t of shape (b,): some rows of the batch.
        y: where the solutions start, shape (B, S).
        start: time at the start.
        end: time at the end, before or after it.
        rtol: relative tolerance.
        atol: absolute tolerance.
        max_steps: largest number of steps of a row, refused ones too.
        constants: tensors with B rows, or None: what else the field wants of each row.

    Returns:
        Where the solutions are at the end, shape (B, S).

    Raises:
        ValueError: a tolerance is not above 0.
        NotSolved: the slope is not finite somewhere, or ``max_steps`` were not enough.
    """
    if not (rtol > 0 and atol > 0):
        raise ValueError(f"rtol={rtol}, atol={atol}: wanted numbers above 0")
    if start == end or y.shape[0] == 0:
        return y
    sign = 1.0 if end > start else -1.0
    t = y.new_full((y.shape[0],), start)
    slope = field(t, y, *constants)
    first = _first_step(field, t, y, slope, sign, abs(end - start), rtol, atol, constants)
    numbers = torch.arange(y.shape[0], device=y.device)
    never = torch.zeros_like(numbers, dtype=torch.bool)
    rows = _Rows(numbers, t, y, slope, first, never, tuple(constants))
    done: list[_Rows] = []
    for _ in range(max_steps):
        rows, arrived = _try_step(field, rows, sign, end, rtol, atol)
        if bool(arrived.any()):
            done.append(rows.where(arrived))
            rows = rows.where(~arrived)
            if rows.number.numel() == 0:
                order = torch.cat([part.number for part in done]).argsort()
                return torch.cat([part.y for part in done])[order]
    worst = int(rows.step.argmin())
    raise NotSolved(
        f"{rows.number.numel()} of {y.shape[0]} rows have not come from t={start:g} to {end:g} in "
        f"{max_steps} steps at rtol={rtol:g}, atol={atol:g} ({y.dtype}); row "
        f"{int(rows.number[worst])} stands at t={float(rows.t[worst]):.4g} with steps of "
        f"{float(rows.step[worst]):.2g}: the field is too steep there, or the tolerance finer "
        "than rounding allows"
    )


def _try_step(
    field: Field, rows: _Rows, sign: float, end: float, rtol: float, atol: float
) -> tuple[_Rows, Tensor]:
    """One step of each row, taken where its error allows; and which rows have arrived."""
    left = (end - rows.t).abs()
    # A last step that would leave a sliver goes all the way.
    last = rows.step >= left * (1 - 1e-3)
    step = torch.where(last, left, rows.step)
    signed = (sign * step)[:, None]
    slopes, y = [rows.slope], rows.y
    for time, stage in zip(DOPRI5.times[1:], DOPRI5.stages[1:], strict=True):
        y = _move(rows.y, slopes, stage, signed)
        slopes.append(field(rows.t + time * signed[:, 0], y, *rows.constants))
    # The seventh slope is at the end of the step: y is the fifth-order solution already.
    difference = _move(torch.zeros_like(y), slopes, DOPRI5_ERROR, signed).detach()
    error = _norm(difference, rows.y, y, rtol, atol)
    if not bool(error.isfinite().all()):
        bad = int(rows.number[int((~error.isfinite()).nonzero()[0])])
        raise NotSolved(f"the slope of row {bad} is not finite near t={float(rows.t.mean()):.4g}")
    taken = error <= 1
    factor = (SAFETY * error.clamp_min(1e-10) ** -0.2).clamp(SHRINK, GROW)
    # After a refusal the step does not grow again at once.
    factor = torch.where(rows.refused, factor.clamp_max(1.0), factor)
    reached = torch.where(last, torch.full_like(left, end), rows.t + signed[:, 0])
    arrived = taken & last
    moved = rows._replace(
        t=torch.where(taken, reached, rows.t),
        y=torch.where(taken[:, None], y, rows.y),
        slope=torch.where(taken[:, None], slopes[-1], rows.slope),
        step=step * factor,
        refused=~taken,
    )
    return moved, arrived


def _norm(difference: Tensor, y0: Tensor, y1: Tensor, rtol: float, atol: float) -> Tensor:
    """Root mean square over a row in units of the tolerance, (b,)."""
    scale = atol + rtol * torch.maximum(y0.detach().abs(), y1.detach().abs())
    return (difference / scale).square().mean(1).sqrt()


@torch.no_grad()
def _first_step(
    field: Field,
    t: Tensor,
    y: Tensor,
    slope: Tensor,
    sign: float,
    whole: float,
    rtol: float,
    atol: float,
    constants: Sequence[Tensor | None],
) -> Tensor:
    """A size to begin with for each row (Hairer et al., II.4, "starting step size")."""
    zero = torch.zeros_like(y)
    size, speed = _norm(y, y, zero, rtol, atol), _norm(slope, y, zero, rtol, atol)
    usual = (size > 1e-5) & (speed > 1e-5)
    small = torch.where(usual, 0.01 * size / speed.clamp_min(1e-30), 1e-6).clamp_max(whole)
    ahead = field(t + sign * small, y + sign * small[:, None] * slope, *constants)
    bend = _norm(ahead - slope, y, zero, rtol, atol) / small
    steepest = torch.maximum(speed, bend)
    guess = torch.where(
        steepest <= 1e-15,
        (1e-3 * small).clamp_min(1e-6),
        (0.01 / steepest.clamp_min(1e-30)) ** 0.2,
    )
    return torch.minimum(100 * small, guess).clamp_max(whole)
