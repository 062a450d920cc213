"""What every flow must keep, for all of ``hepgen.flows.__all__``; see sizes.py for a new one."""

from __future__ import annotations

import inspect
import json
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.datasets import make_moons
from torch import Tensor

import hepgen
from hepgen import flows
from hepgen.flows import Flow
from tests.flows.sizes import CASES, Case

CLASSES = [
    name
    for name in flows.__all__
    if isinstance(getattr(flows, name), type)
    and issubclass(getattr(flows, name), Flow)
    and name != "Flow"
]
NAMES = [*CASES, *(name for name in CLASSES if name not in {one.split()[0] for one in CASES})]
DTYPES = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=["f32", "f64"])


@dataclass
class Batch:
    x: Tensor
    context: Tensor | None = None
    weight: Tensor | None = None


def build(name: str, dimension: int = 3, context: int = 0, **more: Any) -> Flow:
    torch.manual_seed(3)
    made: Flow = getattr(flows, name.split()[0])(
        dimension, context, **{**case_of(name).arguments, **more}
    )
    return made.eval()


def case_of(name: str) -> Case:
    return CASES.get(name, Case())


def roughened(flow: Flow, rough: float, seed: int = 0) -> Flow:
    """The flow with weights far from where they begin."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in flow.parameters():
            inputs = parameter.shape[1] if parameter.dim() > 1 else 1
            noise = torch.randn(parameter.shape, generator=generator, dtype=torch.float64)
            parameter += (noise * rough / max(inputs, 1) ** 0.5).to(parameter.dtype)
    return flow


def points(case: Case, count: int, dimension: int, dtype: torch.dtype, seed: int = 1) -> Tensor:
    """Some of the points that a flow is for."""
    generator = torch.Generator().manual_seed(seed)
    unit = torch.rand(count, dimension, generator=generator, dtype=torch.float64)
    if case.unit:
        return unit.to(dtype)
    x = 1.5 * torch.randn(count, dimension, generator=generator, dtype=torch.float64)
    for angle in case.angles:
        x[:, angle] = (2 * unit[:, angle] - 1) * math.pi
    return x.to(dtype)


def some_context(count: int, dtype: torch.dtype, seed: int = 2) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, 2, generator=generator, dtype=torch.float64).to(dtype)


def apart(case: Case, a: Tensor, b: Tensor) -> float:
    """Greatest distance of two sets of points, in units of max(1, |b|), round the circle."""
    off = (a - b).abs()
    for angle in case.angles:
        period = 1.0 if case.unit else 2 * math.pi
        off[:, angle] = torch.minimum(off[:, angle], (period - off[:, angle]).abs())
    return float((off / b.abs().clamp(min=1)).max())


def off_by(a: Tensor, b: Tensor) -> float:
    """Greatest difference of two sets of numbers, in units of max(1, |b|)."""
    return float(((a - b).detach().abs() / b.detach().abs().clamp(min=1)).max())


@pytest.mark.parametrize("name", CLASSES)
def test_every_flow_is_of_a_published_paper(name: str) -> None:
    cls = getattr(flows, name)
    assert cls.paper is not None
    assert cls.paper.arxiv in str(inspect.getmodule(cls).__doc__)
    assert 2014 <= cls.paper.year <= 2026


def test_every_line_of_sizes_is_of_a_flow() -> None:
    assert {name.split()[0] for name in CASES} <= set(CLASSES)


@DTYPES
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_inverse_undoes_forward_at_rough_weights(name: str, dtype: torch.dtype) -> None:
    case = case_of(name)
    for seed in range(3):
        flow = roughened(build(name, context=2), case.rough, seed).to(dtype)
        x, context = points(case, 400, 3, dtype), some_context(400, dtype)
        z, logabsdet = flow.transform(x, context)
        assert z.dtype == logabsdet.dtype == dtype
        assert logabsdet.shape == (400,)
        back, minus = flow.transform.inverse(z, context)
        assert apart(case, back, x) < case.tolerance(dtype)
        assert off_by(-minus, logabsdet) < case.tolerance(dtype)
        assert torch.equal(flow.transform_to_noise(x, context), z)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_nothing_overflows_however_rough_the_weights(name: str) -> None:
    # nflows #87: an assertion inside its splines fails at weights like these.
    case = case_of(name)
    for seed in range(3):
        flow = roughened(build(name, context=2), 10 * case.rough, seed)
        x, context = points(case, 400, 3, torch.float32), some_context(400, torch.float32)
        for direction in (flow.transform, flow.transform.inverse):
            y, logabsdet = direction(x, context)
            assert y.isfinite().all()
            assert logabsdet.isfinite().all()


@DTYPES
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_samples_come_with_their_own_density(name: str, dtype: torch.dtype) -> None:
    case = case_of(name)
    flow = roughened(build(name, context=2), case.rough).to(dtype)
    context = some_context(5, dtype)
    x, log_prob = flow.sample_and_log_prob(80, context)
    assert x.shape == (5, 80, 3)
    assert log_prob.shape == (5, 80)
    assert x.dtype == log_prob.dtype == dtype
    # Each sample belongs to the row of the context that it stands in.
    again = flow.log_prob(x.reshape(-1, 3), context.repeat_interleave(80, 0))
    assert off_by(again, log_prob.reshape(-1)) < case.tolerance(dtype)
    alone = build(name).to(dtype)
    x, log_prob = alone.sample_and_log_prob(50)
    assert x.shape == (50, 3)
    assert log_prob.shape == (50,)


@pytest.mark.parametrize("direction", ["forward", "inverse"])
@pytest.mark.parametrize("name", NAMES)
def test_the_determinant_is_that_of_the_jacobian_by_autograd(name: str, direction: str) -> None:
    case = case_of(name)
    flow = roughened(build(name, context=2), case.rough).double()
    x, context = points(case, 60, 3, torch.float64), some_context(60, torch.float64)
    if direction == "inverse":
        x = flow.transform(x, context)[0].detach()
    x.requires_grad_()
    y, logabsdet = getattr(flow.transform, direction)(x, context)
    rows = [torch.autograd.grad(y[:, d].sum(), x, retain_graph=True)[0] for d in range(3)]
    expected = torch.linalg.slogdet(torch.stack(rows, dim=1))[1]
    assert off_by(logabsdet, expected) < max(1e-9, 10 * case.float64)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_density_integrates_to_one(name: str) -> None:
    # By the midpoint rule in two dimensions; the line is mapped to (0, 1) by an arctangent.
    case = case_of(name)
    flow = roughened(build(name, dimension=2, context=2), case.rough).double()
    count = 300
    u = (torch.arange(count, dtype=torch.float64) + 0.5) / count
    axes, weights = [], []
    for d in range(2):
        if case.unit:
            axes.append(u)
            weights.append(torch.ones_like(u))
        elif d in case.angles:
            axes.append((2 * u - 1) * math.pi)
            weights.append(torch.full_like(u, 2 * math.pi))
        else:
            axes.append(2 * torch.tan(math.pi * (u - 0.5)))
            weights.append(2 * math.pi * (1 + (axes[-1] / 2) ** 2))
    x = torch.cartesian_prod(*axes)
    weight = torch.cartesian_prod(*weights).prod(1)
    for row in some_context(2, torch.float64):
        density = flow.log_prob(x, row.expand(len(x), 2)).exp()
        assert float((density * weight).mean()) == pytest.approx(1, abs=2e-3)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_the_density_depends_on_its_own_context_alone(name: str) -> None:
    case = case_of(name)
    flow = roughened(build(name, context=2), case.rough).double()
    x, context = points(case, 50, 3, torch.float64), some_context(50, torch.float64)
    log_prob = flow.log_prob(x, context)
    assert (flow.log_prob(x, context + 1) - log_prob).abs().min() > 0
    order = torch.randperm(50)
    torch.testing.assert_close(flow.log_prob(x[order], context[order]), log_prob[order])
    torch.testing.assert_close(flow.log_prob(x[:1], context[:1]), log_prob[:1])


@pytest.mark.parametrize("name", NAMES)
def test_no_points_are_points_too(name: str) -> None:
    flow = build(name)
    assert flow.log_prob(torch.empty(0, 3)).shape == (0,)
    assert flow.sample(0).shape == (0, 3)
    assert flow.loss(Batch(torch.empty(0, 3))) == 0
    conditional = build(name, context=2)
    nothing = torch.empty(0, 2)
    assert conditional.log_prob(torch.empty(0, 3), nothing).shape == (0,)
    assert conditional.sample(4, nothing).shape == (0, 4, 3)
    assert conditional.sample(0, torch.zeros(4, 2)).shape == (4, 0, 3)


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_single_dimension_is_a_flow_too(name: str) -> None:
    case = case_of(name)
    if max(case.angles, default=0) > 0:
        pytest.skip("its angle is another dimension")
    for context in (0, 2):
        flow = roughened(build(name, dimension=1, context=context), case.rough).double()
        told = some_context(30, torch.float64) if context else None
        x = points(case, 30, 1, torch.float64)
        z, _ = flow.transform(x, told)
        assert (z != x).any()
        assert apart(case, flow.transform.inverse(z, told)[0], x) < case.float64


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_has_finite_gradients_of_all_weights(name: str) -> None:
    case = case_of(name)
    for rough in (0, case.rough):
        flow = roughened(build(name, context=2), rough).train()
        batch = Batch(points(case, 200, 3, torch.float32), some_context(200, torch.float32))
        flow.loss(batch).backward()
        for parameter_name, parameter in flow.named_parameters():
            assert parameter.grad is not None, parameter_name
            assert parameter.grad.isfinite().all(), parameter_name
            # Of the last layers alone at the beginning, where their weights are zero.
            assert not rough or (parameter.grad != 0).any(), parameter_name


@pytest.mark.parametrize("name", NAMES)
def test_gradients_reach_the_weights_through_samples(name: str) -> None:
    case = case_of(name)
    flow = roughened(build(name, context=2), case.rough).double()
    x, log_prob = flow.sample_and_log_prob(20, some_context(10, torch.float64))
    (x.square().sum() + log_prob.sum()).backward()
    grads = [p.grad for p in flow.parameters() if p.grad is not None]
    assert grads
    assert all(grad.isfinite().all() for grad in grads)


@DTYPES
@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_saved_flow_is_the_same_bit_for_bit(name: str, dtype: torch.dtype, tmp_path) -> None:
    case = case_of(name)
    flow = roughened(build(name, context=2), case.rough).to(dtype)
    hepgen.save(flow, tmp_path / "flow.safetensors")
    loaded = hepgen.load(tmp_path / "flow.safetensors")
    assert type(loaded) is type(flow)
    assert loaded.config() == flow.config()
    x, context = points(case, 40, 3, dtype), some_context(40, dtype)
    assert torch.equal(loaded.log_prob(x, context), flow.log_prob(x, context))
    drawn = [
        one.sample(3, context, generator=torch.Generator().manual_seed(1)) for one in (loaded, flow)
    ]
    assert drawn[0].dtype == dtype
    assert torch.equal(*drawn)


@pytest.mark.parametrize("name", NAMES)
def test_its_configuration_names_all_arguments(name: str) -> None:
    flow = build(name, context=2)
    config = json.loads(json.dumps(flow.config()))
    assert config.keys() == inspect.signature(type(flow)).parameters.keys()
    assert config["dimension"] == 3
    assert config["context"] == 2
    again = type(flow)(**config)
    assert again.state_dict().keys() == flow.state_dict().keys()
    assert again.config() == flow.config()


# Tracing takes seconds; further cases of a class are tried with the slow tests.
FIRST = {name.split()[0]: name for name in reversed(NAMES)}.values()


@pytest.mark.parametrize(
    "name",
    [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in NAMES],
)
@torch.no_grad()
def test_it_compiles_without_a_graph_break(name: str) -> None:
    case = case_of(name)
    if case.not_compiled:
        pytest.skip(case.not_compiled)
    # Each step is traced by itself, and two tell as much as more.
    fewer = {"num_transforms": 2} if "num_transforms" in case.arguments else {}
    flow = roughened(build(name, dimension=2, context=2, **fewer), case.rough).double()
    torch.compiler.reset()
    options: dict[str, Any] = {"fullgraph": True, "dynamic": True, "backend": "eager"}
    log_prob = torch.compile(flow.log_prob, **options)
    sample = torch.compile(flow.sample, **options)
    for count in (10, 7, 0):
        x, context = points(case, count, 2, torch.float64), some_context(count, torch.float64)
        torch.testing.assert_close(log_prob(x, context), flow.log_prob(x, context))
        torch.manual_seed(0)
        expected = flow.sample(count + 2, context)
        torch.manual_seed(0)
        torch.testing.assert_close(sample(count + 2, context), expected)


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_autocast_gives_about_the_same_in_float32(name: str) -> None:
    case = case_of(name)
    flow = roughened(build(name, context=2), case.rough / 3)
    x, context = points(case, 200, 3, torch.float32), some_context(200, torch.float32)
    expected = flow.log_prob(x, context)
    with torch.autocast("cpu", torch.bfloat16):
        got = flow.log_prob(x, context)
        loss = flow.loss(Batch(x, context))
    assert got.dtype == loss.dtype == torch.float32
    loss.backward()
    # Eight bits of mantissa in the networks, none lost outside of them.
    got, expected = got.detach(), expected.detach()
    assert (got - expected).abs().mean() < 0.05 * max(1.0, float(expected.std()))


def moons(case: Case, seed: int) -> Tensor:
    """Two crescents, standardised or put into the unit cube."""
    made = make_moons(500, noise=0.05, random_state=seed)[0]
    x = (made - [0.5, 0.25]) / [0.87, 0.5]
    return torch.from_numpy(0.5 + 0.2 * x if case.unit else x).float()


@pytest.mark.parametrize("name", NAMES)
def test_a_little_training_finds_two_crescents(name: str) -> None:
    case = case_of(name)
    train, test = moons(case, 1), moons(case, 2)
    flow = build(name, dimension=2).train()
    flow.initialize(train)
    optimizer = torch.optim.Adam(flow.parameters(), lr=case.lr)
    torch.manual_seed(0)
    for _ in range(case.steps):
        optimizer.zero_grad()
        flow.loss(Batch(train)).backward()
        optimizer.step()
    with torch.no_grad():
        got = float(flow.eval().log_prob(test).mean())
    # The best Gaussian, in closed form.
    mean, covariance = train.mean(0), torch.cov(train.T)
    gaussian = torch.distributions.MultivariateNormal(mean, covariance).log_prob(test).mean()
    assert got > float(gaussian) + 0.1


@pytest.mark.parametrize("name", NAMES)
@torch.no_grad()
def test_a_generator_decides_the_samples(name: str) -> None:
    flow = roughened(build(name, context=2), case_of(name).rough)
    context = some_context(4, torch.float32)

    def draw(seed: int, **more: Any) -> Tensor:
        return flow.sample(6, context, generator=torch.Generator().manual_seed(seed), **more)

    before = torch.random.get_rng_state()
    assert torch.equal(draw(1), draw(1))
    assert not torch.equal(draw(1), draw(2))
    assert torch.equal(draw(1, batch_size=4), draw(1, batch_size=4))
    assert draw(1, batch_size=4).shape == (4, 6, 3)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_of_the_wrong_shape_is_told(name: str) -> None:
    flow, conditional = build(name), build(name, context=2)
    x, context = torch.full((5, 3), 0.5), torch.zeros(5, 2)
    with pytest.raises(ValueError, match=r"points of shape \(B, 3\), not \(5, 2\)"):
        flow.log_prob(x[:, :2])
    with pytest.raises(ValueError, match=r"points of shape \(B, 3\), not \(3,\)"):
        flow.log_prob(x[0])
    with pytest.raises(ValueError, match=r"made without context .* of shape \(5, 2\)"):
        flow.log_prob(x, context)
    for call in (lambda: conditional.log_prob(x), lambda: conditional.sample(3)):
        with pytest.raises(ValueError, match=r"needs a context of shape \(B, 2\)"):
            call()
    for call in (conditional.log_prob, lambda x, c: conditional.sample(3, c)):
        with pytest.raises(ValueError, match=r"context of shape \(B, 2\), not \(5, 1\)"):
            call(x, context[:, :1])
    with pytest.raises(ValueError, match="5 points, but 4 rows of context"):
        conditional.log_prob(x, context[:4])
    with pytest.raises(ValueError, match="0 at least, not -1"):
        flow.sample(-1)
    with pytest.raises(TypeError, match=r"is of torch.float32, x of torch.float64"):
        flow.log_prob(x.double())
    with pytest.raises(TypeError, match=r"is of torch.float32, context of torch.int64"):
        conditional.sample(3, context.long())
    with pytest.raises(ValueError, match=r"one dimension at least"):
        type(flow)(0)


@DTYPES
@pytest.mark.parametrize("name", [name for name in NAMES if case_of(name).unit])
@torch.no_grad()
def test_the_unit_cube_ends_at_its_faces(name: str, dtype: torch.dtype) -> None:
    case = case_of(name)
    flow = roughened(build(name), case.rough).to(dtype)
    corners = torch.from_numpy(np.array(np.meshgrid(*[[0.0, 1.0]] * 3)).reshape(3, -1).T).to(dtype)
    assert flow.log_prob(corners).isfinite().all()
    straight = [d for d in range(3) if d not in case.angles]
    for d in straight:
        for beyond in (-0.01, 1.01):
            x = points(case, 20, 3, dtype)
            x[:, d] = beyond
            assert (flow.log_prob(x) == -math.inf).all()
    x = flow.sample(1000)
    assert ((x >= 0) & (x <= 1)).all()
