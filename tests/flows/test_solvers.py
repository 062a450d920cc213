"""Solvers of differential equations, held to scipy's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.integrate import solve_ivp
from torch import Tensor

from hepgen.flows.solvers import METHODS, NotSolved, adaptive_steps, fixed_steps

DOUBLE = torch.float64
START = torch.tensor([[1.0, 0.0], [0.5, -1.5], [2.0, 2.0], [0.0, 0.0]], dtype=DOUBLE)


def van_der_pol(t: Tensor, y: Tensor) -> Tensor:
    """An oscillator with a force that depends on time."""
    position, speed = y[:, 0], y[:, 1]
    force = torch.cos(3 * t)
    return torch.stack([speed, 2 * (1 - position**2) * speed - position + force], 1)


def by_scipy(start: float, end: float) -> Tensor:
    def slope(t: float, y: np.ndarray) -> np.ndarray:
        return van_der_pol(torch.tensor(t, dtype=DOUBLE), torch.from_numpy(y)[None])[0].numpy()

    solved = [
        solve_ivp(slope, (start, end), y, method="DOP853", rtol=1e-12, atol=1e-13).y[:, -1]
        for y in START.numpy()
    ]
    return torch.from_numpy(np.stack(solved))


@pytest.mark.parametrize(("start", "end"), [(0.0, 3.0), (1.0, 0.4)], ids=["forth", "back"])
@pytest.mark.parametrize("tolerance", [1e-4, 1e-7, 1e-10])
def test_adaptive_steps_end_where_scipy_ends(start: float, end: float, tolerance: float) -> None:
    ours = adaptive_steps(van_der_pol, START, start, end, rtol=tolerance, atol=tolerance)
    # The tolerance is that of a step; the oscillator magnifies it.
    assert (ours - by_scipy(start, end)).abs().max() < 50 * tolerance


def test_steps_are_those_of_scipys_pair_of_the_same_name() -> None:
    calls = []

    def slope(t: float, y: np.ndarray) -> np.ndarray:
        return van_der_pol(torch.tensor(t, dtype=DOUBLE), torch.from_numpy(y)[None])[0].numpy()

    def counted(t: Tensor, y: Tensor) -> Tensor:
        calls.append(t)
        return van_der_pol(t, y)

    peer = solve_ivp(slope, (0.0, 3.0), START[2].numpy(), method="RK45", rtol=1e-5, atol=1e-5)
    ours = adaptive_steps(counted, START[2:3], 0.0, 3.0, rtol=1e-5, atol=1e-5)
    assert len(calls) == peer.nfev
    torch.testing.assert_close(ours[0], torch.from_numpy(peer.y[:, -1]), rtol=0, atol=1e-12)


@pytest.mark.parametrize(("method", "order"), [("midpoint", 2), ("rk4", 4)])
def test_fixed_steps_approach_scipy_with_the_order_of_the_method(method: str, order: int) -> None:
    exact = by_scipy(0.0, 2.0)
    errors = [
        (fixed_steps(van_der_pol, START, 0.0, 2.0, steps=n, method=method) - exact).abs().max()
        for n in (80, 160)
    ]
    assert math.log2(errors[0] / errors[1]) == pytest.approx(order, abs=0.2)
    assert set(METHODS) == {"midpoint", "rk4"}


def test_the_steps_of_a_row_do_not_depend_on_the_other_rows() -> None:
    together = adaptive_steps(van_der_pol, START, 0.0, 2.0)
    alone = torch.cat([adaptive_steps(van_der_pol, y[None], 0.0, 2.0) for y in START])
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-14)


def test_constants_stay_with_their_rows() -> None:
    # Rows of other speeds arrive at other times; the first has none.
    rates = torch.tensor([0.0, -30.0, 1.0, 3.0], dtype=DOUBLE)
    y = torch.ones(4, 1, dtype=DOUBLE)

    def slope(t: Tensor, y: Tensor, rate: Tensor, nothing: None) -> Tensor:
        assert nothing is None
        return rate[:, None] * y

    grown = adaptive_steps(slope, y, 0.0, 1.0, rtol=1e-9, atol=1e-9, constants=(rates, None))
    torch.testing.assert_close(grown[:, 0], rates.exp(), rtol=1e-7, atol=1e-8)
    grown = fixed_steps(slope, y, 0.0, 1.0, steps=400, constants=(rates, None))
    torch.testing.assert_close(grown[:, 0], rates.exp(), rtol=1e-7, atol=1e-8)


@pytest.mark.parametrize("solver", ["adaptive", "fixed"])
def test_gradients_are_those_of_the_solution(solver: str) -> None:
    y = torch.tensor([[1.0], [2.0]], dtype=DOUBLE, requires_grad=True)
    rate = torch.tensor(0.7, dtype=DOUBLE, requires_grad=True)

    def slope(t: Tensor, y: Tensor) -> Tensor:
        return rate * y

    if solver == "adaptive":
        end = adaptive_steps(slope, y, 0.0, 1.0, rtol=1e-10, atol=1e-10)
    else:
        end = fixed_steps(slope, y, 0.0, 1.0, steps=200)
    end.sum().backward()
    growth = math.exp(0.7)
    assert y.grad is not None
    assert rate.grad is not None
    assert y.grad.flatten().tolist() == pytest.approx([growth, growth], rel=1e-8)
    assert float(rate.grad) == pytest.approx(3 * growth, rel=1e-8)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_the_type_stays_and_no_rows_are_fine(dtype: torch.dtype) -> None:
    for y in (START.to(dtype), START[:0].to(dtype)):
        for end in (
            adaptive_steps(van_der_pol, y, 0.0, 1.0),
            fixed_steps(van_der_pol, y, 0.0, 1.0, steps=3),
            adaptive_steps(van_der_pol, y, 0.5, 0.5),
        ):
            assert end.shape == y.shape
            assert end.dtype == dtype


def test_what_cannot_be_solved_is_told_with_its_row() -> None:
    def explodes(t: Tensor, y: Tensor) -> Tensor:
        return y.square()  # from 2 to infinity at t = 1/2

    y = torch.tensor([[0.1], [2.0]], dtype=DOUBLE)
    with pytest.raises(NotSolved, match=r"row 1|1 of 2 rows"):
        adaptive_steps(explodes, y, 0.0, 1.0)
    with pytest.raises(NotSolved, match="slope of row 1 is not finite"):
        adaptive_steps(lambda t, y: y.log(), -y + 1, 0.0, 1.0)
    with pytest.raises(NotSolved, match=r"4 of 4 rows .* in 3 steps"):
        adaptive_steps(van_der_pol, START, 0.0, 50.0, max_steps=3)


def test_arguments_without_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="no method 'rk5'; nearest: rk4"):
        fixed_steps(van_der_pol, START, 0.0, 1.0, steps=1, method="rk5")
    with pytest.raises(ValueError, match="steps=0"):
        fixed_steps(van_der_pol, START, 0.0, 1.0, steps=0)
    with pytest.raises(ValueError, match="rtol=0"):
        adaptive_steps(van_der_pol, START, 0.0, 1.0, rtol=0)
