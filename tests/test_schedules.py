"""The schedules are those of torch, where it has them, and else hold the papers' numbers."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.optim import lr_scheduler

from hepgen.training.schedules import (
    SCHEDULES,
    Schedule,
    constant,
    cosine,
    cosine_cycle,
    flat_decay,
    halving_triangles,
    one_cycle,
    schedule,
    warmup_cosine_restarts,
)


def of_torch(
    make: Callable[[torch.optim.Optimizer], lr_scheduler.LRScheduler], steps: int
) -> list[float]:
    """Learning rates at each step of a torch scheduler, for a peak of 1."""
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    scheduler, rates = make(optimizer), []
    for step in range(steps):
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        if step + 1 < steps:
            scheduler.step()
    return rates


def ours(function: Schedule, steps: int) -> list[float]:
    return [function(step, steps) for step in range(steps)]


@pytest.mark.parametrize("steps", [20, 100, 1237])
def test_one_cycle_is_that_of_torch(steps: int) -> None:
    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.OneCycleLR(
            optimizer,
            max_lr=1.0,
            total_steps=steps,
            three_phase=True,
            anneal_strategy="linear",
            pct_start=0.4,
            div_factor=10,
            final_div_factor=3e-4 / 5e-7,
        )

    assert ours(one_cycle, steps) == pytest.approx(of_torch(make, steps), abs=1e-9)


def test_one_cycle_holds_the_numbers_of_particle_net() -> None:
    # 20 epochs of 100 steps: 8 up from 3e-4 to 3e-3, 8 back, 4 down to 5e-7.
    rates = [3e-3 * factor for factor in ours(one_cycle, 2000)]
    assert rates[0] == pytest.approx(3e-4)
    assert rates[799] == pytest.approx(3e-3)
    assert max(rates) == rates[799]
    assert rates[1598] == pytest.approx(3e-4)
    assert rates[-1] == pytest.approx(5e-7)


@pytest.mark.parametrize("end", [0.0, 0.01])
def test_cosine_is_that_of_torch(end: float) -> None:
    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=90, eta_min=end)

    wanted = of_torch(make, 90)
    assert ours(lambda s, n: cosine(s, n, end=end), 90) == pytest.approx(wanted, abs=1e-9)


def test_cosine_after_a_warm_up_is_that_of_torch() -> None:
    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / 11, total_iters=10)
        fall = lr_scheduler.CosineAnnealingLR(optimizer, T_max=90)
        return lr_scheduler.SequentialLR(optimizer, [rise, fall], milestones=[10])

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # SequentialLR calls step(epoch) itself
        wanted = of_torch(make, 100)
    assert ours(lambda s, n: cosine(s, n, warmup=0.1), 100) == pytest.approx(wanted, abs=1e-9)


def test_flat_decay_meets_the_stairs_of_weaver() -> None:
    # weaver: 50 epochs, MultiStepLR at each of the last 15, by 0.01 ** (1 / 15).
    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        stairs = list(range(35, 50))
        return lr_scheduler.MultiStepLR(optimizer, stairs, gamma=0.01 ** (1 / 15))

    wanted = of_torch(make, 50)
    at_ends = [flat_decay(100 * (epoch + 1), 5000) for epoch in range(50)]
    assert at_ends == pytest.approx(wanted, rel=1e-9)


def test_restarts_are_those_of_torch_between_warm_up_and_halving() -> None:
    def make(optimizer: torch.optim.Optimizer) -> lr_scheduler.LRScheduler:
        return lr_scheduler.CosineAnnealingWarmRestarts(optimizer, T_0=4, T_mult=2)

    wanted = of_torch(make, 27)
    epochs = ours(warmup_cosine_restarts, 35)
    assert epochs[5:32] == pytest.approx(wanted, abs=1e-9)
    assert epochs[32:] == pytest.approx([epochs[31] / 2, epochs[31] / 4, epochs[31] / 8])
    assert epochs[:5] == pytest.approx([1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6])


def test_constant_is_constant() -> None:
    assert ours(constant, 5) == [1.0] * 5


@pytest.mark.parametrize("name", SCHEDULES)
@given(total=st.integers(1, 300))
def test_every_schedule_stays_between_0_and_1_and_reaches_near_1(name: str, total: int) -> None:
    # Its ways have a length of their own, whatever that of the run.
    options = {"up": max(1, total // 4)} if name == "halving_triangles" else {}
    factors = ours(schedule(name, options), total)
    assert all(0 <= factor <= 1 + 1e-12 for factor in factors)
    assert max(factors) > (0.7 if total > 40 else 0.0)


def test_an_unknown_name_or_option_names_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no schedule 'onecycle'; nearest: one_cycle; there are"):
        schedule("onecycle")
    with pytest.raises(ValueError, match="unexpected keyword argument 'warm_up'"):
        schedule("cosine", {"warm_up": 0.1})
    assert schedule("cosine", {"end": 1.0})(50, 100) == 1.0
    assert schedule(lambda step, total: 0.5)(3, 4) == 0.5


def test_the_cycles_of_calo_flow_are_those_of_torch() -> None:
    def rates(scheduler: Any, steps: int) -> list[float]:
        optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=1.0, momentum=0.9)
        made = scheduler(optimizer)
        found = []
        for _ in range(steps):
            found.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            made.step()
        return found

    expected = rates(
        lambda o: lr_scheduler.CyclicLR(o, 5e-5, 2e-3, step_size_up=850, mode="triangular2"), 4000
    )
    np.testing.assert_allclose(
        [2e-3 * halving_triangles(s, 9) for s in range(4000)], expected, rtol=1e-9
    )
    for total in (10, 101, 424):
        options: dict[str, Any] = {"pct_start": 0.4, "three_phase": True, "total_steps": total}
        expected = rates(
            lambda o, options=options: lr_scheduler.OneCycleLR(o, 1e-3, **options), total - 1
        )
        found = [1e-3 * cosine_cycle(s, total) for s in range(total - 1)]
        np.testing.assert_allclose(found, expected, rtol=1e-9)
