"""The operators of rational-quadratic splines within torch: compile, autograd, threads, devices."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import astuple
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numba import njit
from torch import Tensor

from hepgen.flows import spline_gradients, spline_kernels, spline_operators
from hepgen.flows.elementary import exp_negative, log1p_fraction, log_positive
from hepgen.flows.rational_quadratic import bins_and_slopes, rational_quadratic
from hepgen.flows.spline import RationalQuadraticSpline

KINDS: dict[str, dict[str, Any]] = {
    "cube": {"num_bins": 4},
    "tails": {"num_bins": 4, "tail_bound": 2.0},
    "circle": {"num_bins": 4, "periodic": True},
}


def case(
    kind: str, dtype: torch.dtype = torch.float64, count: int = 6
) -> tuple[RationalQuadraticSpline, Tensor, Tensor]:
    spline = RationalQuadraticSpline(**KINDS[kind])
    generator = torch.Generator().manual_seed(3)
    low, high = spline.knots.low, spline.knots.high
    x = low + (high - low) * torch.rand(count, 2, generator=generator, dtype=dtype)
    # Straight outside, but on the circle, whose turns are no function to differentiate twice.
    x[0] = x[0] if kind == "circle" else high + 0.3
    parameters = torch.randn(count, 2, spline.num_parameters, generator=generator, dtype=dtype)
    return spline, x.requires_grad_(), parameters.requires_grad_()


def plain(spline: RationalQuadraticSpline, x: Tensor, parameters: Tensor, inverse: bool) -> Any:
    knots = spline.knots
    shape = bins_and_slopes(parameters, knots)
    return rational_quadratic(x, *shape, low=knots.low, high=knots.high, inverse=inverse)


@pytest.fixture
def threads() -> Iterator[Callable[[int], None]]:
    before = torch.get_num_threads()
    yield torch.set_num_threads
    torch.set_num_threads(before)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("function", "peer", "points"),
    [
        (exp_negative, np.exp, -np.geomspace(1e-30, 87, 100000)),
        (log_positive, np.log, np.geomspace(1e-30, 1e30, 100001)),
        (log_positive, np.log, np.linspace(0.5, 2, 100001)),
        (log1p_fraction, np.log1p, np.geomspace(1e-30, 1, 100000)),
    ],
)
def test_elementary_functions_are_right_to_two_units_in_the_last_place(
    function: Any, peer: Any, points: Any, dtype: Any
) -> None:
    @njit(error_model="numpy", fastmath={"contract"})
    def all_of(x: Any, y: Any) -> None:
        for i in range(len(x)):
            y[i] = function(x[i])

    x = points.astype(dtype)
    y = np.empty_like(x)
    all_of(x, y)
    exact = peer(x.astype(np.longdouble))
    unit = np.spacing(np.abs(exact).astype(dtype))
    assert y.dtype == dtype
    assert np.abs(y - exact).max() < 2 * unit[np.abs(y - exact).argmax()]
    assert (np.abs(y - exact) < 2 * unit).all()
    all_of(np.array([np.nan], dtype), y[:1])
    assert np.isnan(y[0])


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_those_of_finite_differences(kind: str, inverse: bool) -> None:
    spline, x, parameters = case(kind, count=3)

    def function(x: Tensor, parameters: Tensor) -> Any:
        return spline(x, parameters, inverse=inverse)

    assert torch.autograd.gradcheck(function, (x, parameters))
    assert torch.autograd.gradgradcheck(function, (x, parameters), atol=1e-4)


@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_the_operators_are_what_torch_asks_of_operators(kind: str, inverse: bool) -> None:
    spline, x, parameters = case(kind, torch.float32)
    settings = (*astuple(spline.knots), inverse)
    inputs: tuple[Any, ...] = x, parameters, *settings
    tests = ["test_schema", "test_autograd_registration", "test_faketensor"]
    # What it takes apart and compiles takes seconds.
    slow = ["test_aot_dispatch_dynamic"] if kind == "tails" else []
    operators = torch.ops.hepgen
    torch.library.opcheck(operators.spline.default, inputs, test_utils=tests + slow)
    inputs = x, parameters, torch.ones_like(x), torch.ones_like(x), *settings
    torch.library.opcheck(operators.spline_backward.default, inputs, test_utils=tests)


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.parametrize("kind", KINDS)
def test_it_compiles_without_a_graph_break(kind: str, backend: str) -> None:
    spline, x, parameters = case(kind)

    def loss(x: Tensor, parameters: Tensor) -> Tensor:
        y, log_slope = spline(2 * x, parameters)
        back, log_back = spline(y.sin().abs(), parameters, inverse=True)
        return (y * log_slope + back * log_back.cos()).sum()

    torch._dynamo.reset()
    compiled = torch.compile(loss, fullgraph=True, dynamic=True, backend=backend)
    for count in (6, 3, 5):
        inputs = x[:count].detach().requires_grad_(), parameters[:count].detach().requires_grad_()
        expected, got = loss(*inputs), compiled(*inputs)
        torch.testing.assert_close(got, expected)
        torch.testing.assert_close(
            torch.autograd.grad(got, inputs), torch.autograd.grad(expected, inputs)
        )


def test_it_exports() -> None:
    class Module(torch.nn.Module):
        def forward(self, x: Tensor, parameters: Tensor) -> tuple[Tensor, Tensor]:
            return RationalQuadraticSpline(4)(x, parameters)

    _, x, parameters = case("cube")
    rows = torch.export.Dim("rows", min=2)
    program = torch.export.export(
        Module(),
        (x.detach(), parameters.detach()),
        dynamic_shapes=({0: rows}, {0: rows}),
    )
    got = program.module()(x.detach()[:4], parameters.detach()[:4])
    torch.testing.assert_close(got, RationalQuadraticSpline(4)(x[:4], parameters[:4]))


@pytest.mark.parametrize("inverse", [False, True])
def test_transforms_of_functions_pass(inverse: bool) -> None:
    spline, x, parameters = case("tails")
    x, parameters = x.detach(), parameters.detach()

    def one(x: Tensor, parameters: Tensor) -> Tensor:
        y, log_slope = spline(x, parameters, inverse=inverse)
        return (y * log_slope).sum()

    def same(x: Tensor, parameters: Tensor) -> Tensor:
        y, log_slope = plain(spline, x, parameters, inverse)
        return (y * log_slope).sum()

    func = torch.func
    for transform in (
        lambda f: func.vmap(f),
        lambda f: func.vmap(func.grad(f, (0, 1))),
        lambda f: lambda x, p: func.vmap(f, (0, None))(x, p[0]),
        lambda f: lambda x, p: func.vmap(f, (1, 1))(x, p),
        lambda f: lambda x, p: func.jvp(f, (x, p), (torch.ones_like(x), torch.ones_like(p))),
        lambda f: lambda x, p: func.jacrev(f)(x, p),
        lambda f: lambda x, p: func.jacrev(func.grad(f))(x, p),
        lambda f: lambda x, p: func.jvp(lambda x: f(x, p), (x,), (torch.ones_like(x),)),
    ):
        torch.testing.assert_close(transform(one)(x, parameters), transform(same)(x, parameters))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_parameters_in_half_precision_are_computed_in_float32(dtype: torch.dtype) -> None:
    spline, x, parameters = case("tails", torch.float32)
    half = parameters.detach().to(dtype).requires_grad_()
    y, log_slope = spline(x, half)
    torch.testing.assert_close((y, log_slope), spline(x, half.float()), rtol=0, atol=0)
    assert y.dtype == torch.float32
    (grad,) = torch.autograd.grad(y.sum() + log_slope.sum(), half)
    assert grad.dtype == dtype
    y, log_slope = spline(x.to(dtype), half)
    assert y.dtype == log_slope.dtype == dtype
    torch.testing.assert_close(y.float(), spline(x, half)[0], rtol=2e-2, atol=2e-2)


def test_it_works_behind_a_network_under_autocast() -> None:
    spline, x, _ = case("tails", torch.float32)
    network = torch.nn.Linear(2, 2 * spline.num_parameters)
    with torch.autocast("cpu", torch.bfloat16):
        parameters = network(x.detach()).view(*x.shape, -1)
        assert parameters.dtype == torch.bfloat16
        y, log_slope = spline(x, parameters)
        (y.sum() + log_slope.sum()).backward()
    assert y.dtype == torch.float32
    assert network.weight.grad is not None
    assert network.weight.grad.isfinite().all()


def test_no_elements_and_one_element_work() -> None:
    for shape in ((0, 3), (3, 0), (1, 1), (), (2, 3, 4)):
        spline = RationalQuadraticSpline(4)
        x = torch.rand(shape, requires_grad=True)
        parameters = torch.randn(*shape, spline.num_parameters, requires_grad=True)
        y, log_slope = spline(x, parameters)
        assert y.shape == log_slope.shape == shape
        (y.sum() + log_slope.sum()).backward()
        assert parameters.grad is not None
        assert parameters.grad.shape == parameters.shape


def test_memory_in_any_order_gives_the_same() -> None:
    spline, x, parameters = case("cube", count=50)
    y, log_slope = spline(x, parameters)
    strange = parameters.detach().permute(2, 1, 0).contiguous().permute(2, 1, 0)
    wide = torch.cat([parameters.detach()] * 2, -1)[..., : spline.num_parameters]
    turned = x.detach().T.contiguous().T
    for given in (strange, wide):
        torch.testing.assert_close(spline(turned, given), (y, log_slope), rtol=0, atol=0)


@pytest.mark.parametrize("inverse", [False, True])
def test_threads_do_not_change_a_bit(inverse: bool, threads: Callable[[int], None]) -> None:
    spline, x, parameters = case("tails", torch.float32, count=9001)
    outcomes = []
    for count in (1, 2, 3):
        threads(count)
        y, log_slope = spline(x, parameters, inverse=inverse)
        grads = torch.autograd.grad(y.sum() + log_slope.square().sum(), (x, parameters))
        outcomes.append((y, log_slope, *grads))
    for outcome in outcomes[1:]:
        torch.testing.assert_close(outcome, outcomes[0], rtol=0, atol=0)


def test_a_device_without_kernels_gets_plain_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    spline, x, parameters = case("circle")
    expected = spline(x, parameters)
    monkeypatch.setattr("hepgen.flows.spline.has_operator", lambda device: False)
    torch.testing.assert_close(spline(x, parameters), expected)
    assert spline_operators.has_operator(torch.device("cpu"))
    assert not spline_operators.has_operator(torch.device("mps"))


def test_kernels_alone_equal_plain_torch() -> None:
    spline, x, parameters = case("cube", count=100)
    knots = spline.knots
    scale = np.array([knots.low, knots.high, knots.min_bin, knots.min_slope, knots.shift])
    slots = np.array(knots.slots())
    given, raw = x.detach().numpy().ravel(), parameters.detach().numpy().reshape(200, -1)
    memory = spline_kernels.scratch(raw.shape[1], raw.dtype)
    y, log_slope, ones = np.empty_like(given), np.empty_like(given), np.ones_like(given)
    grad_x, grad_raw = np.empty_like(given), np.empty_like(raw)
    assert len(given) % spline_kernels.LANES
    spline_kernels.forward(given, raw, y, log_slope, scale, slots, False, *memory)
    rest = scale, slots, False, *memory
    spline_gradients.backward(given, raw, ones, ones, grad_x, grad_raw, *rest)
    expected = plain(spline, x, parameters, False)
    grads = torch.autograd.grad(expected, (x, parameters), [torch.ones_like(x)] * 2)
    for got, wanted in zip((y, log_slope, grad_x, grad_raw), (*expected, *grads), strict=True):
        np.testing.assert_allclose(
            got.reshape(wanted.shape), wanted.detach().numpy(), rtol=1e-9, atol=1e-9
        )


INTERPRETED = """
import contextlib, math, torch
from hepgen.flows import spline_triton, spline_triton_gradients
from hepgen.flows.spline import RationalQuadraticSpline
from hepgen.flows.spline_operators import spline
torch.cuda.device_of = lambda x: contextlib.nullcontext()
for kind in ({}, {"tail_bound": math.pi}, {"num_bins": 5, "periodic": True},
             {"num_bins": 1, "tail_bound": 2.0}):
    knots = RationalQuadraticSpline(**kind).knots
    for dtype, tolerance in ((torch.float32, 1e-4), (torch.float64, 1e-11)):
        for inverse in (False, True):
            torch.manual_seed(0)
            x = knots.low + (knots.high - knots.low) * (1.1 * torch.rand(150, dtype=dtype) - 0.05)
            x[0], x[1] = knots.low, knots.high
            raw = torch.randn(150, knots.num_parameters, dtype=dtype)
            x.requires_grad_(), raw.requires_grad_()
            wanted = spline(x, raw, knots, inverse)
            grads = torch.randn(2, 150, dtype=dtype)
            wanted += torch.autograd.grad(wanted, (x, raw), list(grads))
            x, raw = x.detach(), raw.detach()
            got = [torch.empty_like(one) for one in wanted]
            spline_triton.forward(x, raw, *got[:2], knots, inverse)
            spline_triton_gradients.backward(x, raw, *grads, *got[2:], knots, inverse)
            for one, other in zip(got, wanted):
                far = (one - other).abs().amax() / (1 + other.abs().amax()) if one.numel() else 0
                assert far < tolerance, (kind, dtype, inverse, far)
print("equal")
"""


@pytest.mark.skipif(find_spec("triton") is None, reason="needs triton")
def test_the_arithmetic_of_the_gpu_is_that_of_the_cpu() -> None:
    run = subprocess.run(
        [sys.executable, "-c", INTERPRETED],
        env={**os.environ, "TRITON_INTERPRET": "1"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.stdout.endswith("equal\n"), run.stderr


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("inverse", [False, True])
@pytest.mark.parametrize("kind", KINDS)
def test_a_gpu_gives_what_the_cpu_gives(kind: str, inverse: bool) -> None:
    spline, x, parameters = case(kind, count=1000)
    outcomes = []
    for device in ("cpu", "cuda"):
        there = x.detach().to(device).requires_grad_(), parameters.detach().to(device)
        there[1].requires_grad_()
        y, log_slope = spline(*there, inverse=inverse)
        grads = torch.autograd.grad(y.sum() + log_slope.sum(), there)
        outcomes.append([one.cpu() for one in (y, log_slope, *grads)])
    torch.testing.assert_close(outcomes[1], outcomes[0], rtol=1e-9, atol=1e-9)
