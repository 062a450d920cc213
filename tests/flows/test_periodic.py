"""Angles: shifts that wrap around, and what networks see of them."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from hepgen.flows.periodic import CircularShift, angle_features


def test_angle_features_are_the_point_on_the_circle_and_wrap_around() -> None:
    x = torch.linspace(-3, 3, 13).double()[:, None]
    got = angle_features(x, 2.0)
    expected = np.exp(1j * np.pi * x.numpy())
    np.testing.assert_allclose(got.numpy(), np.hstack([expected.real, expected.imag]), atol=1e-14)
    torch.testing.assert_close(angle_features(x + 2.0, 2.0), got, rtol=0, atol=1e-14)


@pytest.mark.parametrize(("low", "high"), [(0.0, 1.0), (-math.pi, math.pi), (0.0, 360.0)])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-14)], ids=["f32", "f64"]
)
def test_a_shift_turns_angles_alone_and_back(
    low: float, high: float, dtype: torch.dtype, tolerance: float
) -> None:
    period = high - low
    shift = CircularShift(3, [2, 0], low, high, shift=[0.3 * period, -1.4 * period]).to(dtype)
    x = low + period * torch.rand(1000, 3, dtype=torch.float64).to(dtype)
    shift.requires_grad_(False)
    z, logabsdet = shift(x)
    assert (logabsdet == 0).all()
    assert ((z >= low) & (z <= high)).all()
    np.testing.assert_allclose(shift.shift / period, [0.3, -1.4], rtol=1e-6)
    turn = torch.stack([shift.shift[1], torch.zeros((), dtype=dtype), shift.shift[0]])
    expected = np.angle(np.exp(2j * np.pi * ((x + turn).double().numpy() - low) / period))
    got = np.angle(np.exp(2j * np.pi * (z.double().numpy() - low) / period))
    off = np.abs(np.angle(np.exp(1j * (got - expected))))
    assert off.max() < 20 * tolerance
    torch.testing.assert_close(z[:, 1], x[:, 1], rtol=0, atol=0)
    again, _ = shift.inverse(z)
    apart = (again - x).abs()
    apart = torch.minimum(apart, (period - apart).abs())
    assert apart.max() < 4 * period * tolerance


def test_what_is_rounded_past_the_end_stays_on_the_circle() -> None:
    shift = CircularShift(1, [0], shift=0.0)
    z, _ = shift(torch.tensor([[-1e-20], [0.0], [1.0], [-1e-9]]))
    assert ((z >= 0) & (z <= 1)).all()


def test_the_shift_learns_unless_it_is_constant() -> None:
    shift = CircularShift(2, [1], shift=0.2)
    shift(torch.rand(5, 2))[0].sum().backward()
    assert shift.shift.grad is not None
    assert float(shift.shift.grad) == pytest.approx(5)
    constant = CircularShift(2, [1], shift=0.2, learned=False)
    assert not constant.shift.requires_grad
    assert "shift" in constant.state_dict()


def test_without_angles_nothing_turns() -> None:
    x = torch.randn(4, 2)
    z, logabsdet = CircularShift(2, [])(x)
    torch.testing.assert_close(z, x, rtol=0, atol=0)
    assert logabsdet.shape == (4,)


def test_it_compiles_without_a_graph_break() -> None:
    torch.compiler.reset()
    shift = CircularShift(3, [0, 2], shift=0.4)
    for call in (shift.forward, shift.inverse):
        compiled = torch.compile(call, fullgraph=True, dynamic=True, backend="eager")
        for rows in (5, 3, 0):
            x = torch.rand(rows, 3)
            torch.testing.assert_close(compiled(x), call(x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"angles": [3]}, r"angles \[3\] are not dimensions of 3"),
        ({"angles": [1, 1]}, r"angles \[1, 1\] are not dimensions of 3, counted from 0, each"),
        ({"angles": [1], "low": 1.0}, "the circle from 1.0 to 1.0 has no length"),
        ({"angles": [1], "shift": [0.1, 0.2]}, "2 shifts for 1 angles"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CircularShift(3, **arguments)  # type: ignore[arg-type]
