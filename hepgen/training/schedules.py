r"""Learning-rate schedules of the papers, as pure functions.

Each gives the factor on the peak learning rate at optimiser step ``step`` (0 to ``total`` - 1) of a
run of ``total`` steps. As nothing is carried from step to step, a resumed run needs only the number
of the step. Recipes written in epochs are stretched to the length of the run.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any

__all__ = [
    "SCHEDULES",
    "Schedule",
    "constant",
    "cosine",
    "cosine_cycle",
    "flat_decay",
    "halving_triangles",
    "one_cycle",
    "schedule",
    "warmup_cosine_restarts",
]

Schedule = Callable[[int, int], float]


def constant(step: int, total: int) -> float:
    """Always 1.

    Args:
        step: optimiser steps done.
        total: optimiser steps of the run.

    Returns:
        The factor on the peak learning rate.
    """
    return 1.0


def one_cycle(
    step: int,
    total: int,
    *,
    start: float = 0.1,
    end: float = 5e-7 / 3e-3,
    up: float = 0.4,
    down: float = 0.4,
) -> float:
    """Linear up to the peak, linear down again, and a last slow fall.

    The defaults are ParticleNet's (Qu and Gouskos, arXiv:1902.08570): of 20 epochs 8 from 3e-4 to
    3e-3, 8 back, 4 to 5e-7; with ``lr=3e-3`` these are its very numbers. The turning points are
    those of ``torch.optim.lr_scheduler.OneCycleLR(three_phase=True, anneal_strategy="linear")``.

    Args:
        step: optimiser steps done.
        total: optimiser steps of the run.
        start: factor at the first step and at the end of the way down.
        end: factor at the last step.
        up: share of the run that goes up.
        down: share of the run that goes down.

    Returns:
        The factor on the peak learning rate.
    """
    top = max(up * total - 1, 0.0)
    bottom = max((up + down) * total - 2, top)
    if step <= top:
        return _line(step, 0.0, top, start, 1.0)
    if step <= bottom:
        return _line(step, top, bottom, 1.0, start)
    return _line(step, bottom, max(total - 1.0, bottom), start, end)


def cosine(step: int, total: int, *, warmup: float = 0.0, end: float = 0.0) -> float:
    """Half a cosine from 1 down to ``end``, after a linear warm-up.

    Args:
        step: optimiser steps done.
        total: optimiser steps of the run.
        warmup: share of the run that goes up linearly.
        end: factor that the cosine reaches after the last step.

    Returns:
        The factor on the peak learning rate.
    """
    rising = warmup * total
    if step < rising:
        return (step + 1) / (math.floor(rising) + 1)
    return end + (1 - end) * _half_cosine((step - rising) / (total - rising))


def flat_decay(step: int, total: int, *, flat: float = 0.7, end: float = 0.01) -> float:
    """1 for the first part of the run, then exponentially down to ``end``.

    The recipe of Particle Transformer on JetClass (Qu, Li and Qian, arXiv:2202.03772). weaver, its
    trainer, goes down in one stair an epoch; this function passes through the stairs' values at the
    ends of the epochs.

    Args:
        step: optimiser steps done.
        total: optimiser steps of the run.
        flat: share of the run at the peak.
        end: factor reached after the last step.

    Returns:
        The factor on the peak learning rate.
    """
    return float(end ** max(0.0, (step / total - flat) / (1 - flat)))


def warmup_cosine_restarts(
    step: int,
    total: int,
    *,
    epochs: float = 35,
    warmup: float = 5,
    period: float = 4,
    growth: float = 2,
    halve_from: float = 31,
) -> float:
    """Linear warm-up, cosines that start anew and grow longer, and halving at the end.

    The defaults are LorentzNet's (Gong et al., arXiv:2201.08187, and its released trainer): of 35
    epochs 5 of warm-up, cosines of 4, 8 and 16 epochs, and from epoch 31 on the rate reached there,
    halved with every further epoch. ``warmup``, ``period`` and ``halve_from`` are counted in the
    epochs of a recipe of ``epochs`` epochs, which is stretched to the run.

    Args:
        step: optimiser steps done.
        total: optimiser steps of the run.
        epochs: length of the recipe.
        warmup: length of the linear rise.
        period: length of the first cosine.
        growth: each cosine is this many times longer than the one before.
        halve_from: where the halving begins.

    Returns:
        The factor on the peak learning rate.
    """
    epoch = step / total * epochs
    if epoch < warmup:
        return (step + 1) / (math.floor(warmup * total / epochs) + 1)
    since = min(epoch, halve_from) - warmup
    while since >= period:
        since -= period
        period *= growth
    return float(_half_cosine(since / period) * 0.5 ** max(0, math.floor(epoch - halve_from)))


def halving_triangles(step: int, total: int, *, low: float = 0.025, up: int = 850) -> float:
    """Up and down in straight lines, each time half as high.

    These are the rates of ``torch.optim.lr_scheduler.CyclicLR(mode="triangular2")``; the defaults
    are those of CaloFlow's teacher (arXiv:2210.14245) with a peak of 2e-3.

    Args:
        step: optimiser steps done.
        total: optimiser steps of the run; it does not matter.
        low: the lowest rate, as a factor on the peak.
        up: steps of a way up, and of a way down.

    Returns:
        The factor on the peak learning rate.
    """
    cycle = step // (2 * up)
    height = 1 - abs(step / up - 2 * cycle - 1)
    return float(low + (1 - low) * height * 0.5**cycle)


def cosine_cycle(
    step: int, total: int, *, start: float = 1 / 25, end: float = 1 / 25e4, way: float = 0.4
) -> float:
    """Up to the peak, down and out, half a cosine each.

    These are the rates of ``torch.optim.lr_scheduler.OneCycleLR(three_phase=True)``, with the
    factors that it has by default; CaloFlow's other networks (arXiv:2210.14245) were trained so.

    Args:
        step: optimiser steps done.
        total: optimiser steps of the run.
        start: first rate, as a factor on the peak.
        end: last rate, likewise.
        way: share of the run that each of the ways up and down takes.

    Returns:
        The factor on the peak learning rate.
    """
    top = way * total - 1
    bottom = 2 * way * total - 2
    if step <= top:
        return start + (1 - start) * (1 - _half_cosine(step / top))
    if step <= bottom:
        return start + (1 - start) * _half_cosine((step - top) / (bottom - top))
    return end + (start - end) * _half_cosine((step - bottom) / max(total - 1 - bottom, 1))


def _line(x: float, x0: float, x1: float, y0: float, y1: float) -> float:
    return y1 if x1 <= x0 else y0 + (y1 - y0) * (x - x0) / (x1 - x0)


def _half_cosine(t: float) -> float:
    return (1 + math.cos(math.pi * t)) / 2


SCHEDULES: dict[str, Callable[..., float]] = {
    "constant": constant,
    "cosine": cosine,
    "cosine_cycle": cosine_cycle,
    "flat_decay": flat_decay,
    "halving_triangles": halving_triangles,
    "one_cycle": one_cycle,
    "warmup_cosine_restarts": warmup_cosine_restarts,
}


def schedule(which: str | Schedule, options: Mapping[str, Any] | None = None) -> Schedule:
    """The schedule of a name, with its options filled in.

    Args:
        which: a name of ``SCHEDULES``, or a function (step, total) -> factor.
        options: keyword arguments of the schedule.

    Returns:
        A function (step, total) -> factor on the peak learning rate.

    Raises:
        ValueError: no schedule has this name, or it has no such option.
    """
    if isinstance(which, str) and which not in SCHEDULES:
        near = get_close_matches(which, SCHEDULES, n=1, cutoff=0.0)[0]
        raise ValueError(
            f"no schedule {which!r}; nearest: {near}; there are {', '.join(SCHEDULES)}"
        )
    chosen = partial(SCHEDULES[which] if isinstance(which, str) else which, **dict(options or {}))
    try:
        chosen(0, 1)
    except TypeError as error:
        raise ValueError(f"schedule {which!r} with options {options}: {error}") from error
    return chosen
