"""Flows as proposals, and samplers behind maps."""

from __future__ import annotations

import math
from typing import Any, Literal

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.flows import NeuralSplineFlow
from hepgen.integration import flow_training
from hepgen.integration.flow_sampler import FlowSampler
from hepgen.integration.flow_training import Lesson, Scores, predicted_seconds, teach
from hepgen.integration.integrands import INTEGRANDS
from hepgen.integration.mapped import AxisMap, CubeMap, Mapped
from hepgen.integration.mixture import Mixture
from hepgen.integration.sampler import Sampler
from hepgen.integration.uniform import Uniform
from hepgen.integration.vegas import Vegas

Latent = Literal["random", "sobol", "strata"]


def taught(sampler: Sampler, name: str, seed: int, calls: int = 5000) -> np.random.Generator:
    rng = np.random.default_rng(seed)
    for _ in range(3):
        draw = sampler.draw(calls, rng)
        sampler.adapt(draw, INTEGRANDS[name](draw.x))
    return rng


def share_of_effective_points(sampler: Sampler, name: str, rng: np.random.Generator) -> float:
    draw = sampler.draw(10_000, rng)
    weights = INTEGRANDS[name](draw.x) / sampler.density(draw.x)
    return float(weights.sum() ** 2 / (weights**2).sum() / len(draw))


def axis_map(name: str, bins: int = 20) -> AxisMap:
    """Bins of each axis that hold equal parts of the integral."""
    rng, integrand = np.random.default_rng(8), INTEGRANDS[name]
    x = rng.random((20_000, integrand.dimension))
    values = integrand(x)
    picked = x[rng.choice(len(x), 20_000, p=values / values.sum())]
    edges = np.quantile(picked, np.linspace(0, 1, bins + 1), axis=0).T
    edges[:, 0], edges[:, -1] = 0, 1
    return AxisMap(edges)


@pytest.fixture(scope="module")
def circles() -> dict[str, FlowSampler]:
    """One flow on the entangled circles, drawn from in three ways."""
    sampler = FlowSampler(2, rounds=3, steps=120, latent="strata")
    taught(sampler, "circles2", 1)
    state = dict(sampler.state())
    found: dict[str, FlowSampler] = {"strata": sampler}
    for latent in ("random", "sobol"):
        found[latent] = FlowSampler.from_state(state | {"latent": latent, "strata": None})
    return found


def test_a_flow_learns_what_axes_cannot_tell(circles: dict[str, FlowSampler]) -> None:
    rng = np.random.default_rng(0)
    before = share_of_effective_points(Uniform(2), "circles2", rng)
    axes = Mapped(Uniform(2), axis_map("circles2"))
    of_axes = share_of_effective_points(axes, "circles2", rng)
    learnt = share_of_effective_points(circles["random"], "circles2", rng)
    assert learnt > 1.5 * max(before, of_axes)


@pytest.mark.parametrize("latent", ["random", "sobol", "strata"])
def test_errors_on_sharp_edges_are_as_large_as_deviations(
    latent: Latent, circles: dict[str, FlowSampler]
) -> None:
    sampler, integrand = circles[latent], INTEGRANDS["circles2"]
    rng, pulls = np.random.default_rng(3), []
    for _ in range(60):
        draw = sampler.draw(3000, rng)
        assert len(draw) <= 3000
        integrals, covariance = draw.estimate(integrand(draw.x)[:, None])
        pulls.append((integrals[0] - integrand.exact) / math.sqrt(covariance[0, 0]))
    # The spread of 60 pulls is known to 9 %, their mean to 0.13: three and four sigma.
    assert np.std(pulls) == pytest.approx(1, abs=0.3)
    assert abs(np.mean(pulls)) < 0.55


def test_the_density_is_the_flows_own_in_double_precision(circles: dict[str, FlowSampler]) -> None:
    sampler = circles["random"]
    draw = sampler.draw(2000, np.random.default_rng(0))
    np.testing.assert_allclose(1 / (2000 * draw.measure), sampler.density(draw.x), rtol=1e-7)
    with torch.no_grad():
        single = sampler.flow.log_prob(torch.from_numpy(draw.x).float()).double().exp().numpy()
    np.testing.assert_allclose(sampler.density(draw.x), single, rtol=0.02)
    side = (np.arange(600) + 0.5) / 600
    grid = np.stack(np.meshgrid(side, side), -1).reshape(-1, 2)
    assert sampler.density(grid).mean() == pytest.approx(1, abs=0.01)


def test_training_keeps_the_best_weights_it_has_seen() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((3000, 2))
    sizes = INTEGRANDS["camel2"](x)
    torch.manual_seed(0)
    flow = NeuralSplineFlow(2, hidden=16)
    first = teach(flow, x, sizes / 3000, sizes, Lesson(steps=60), np.random.default_rng(1))
    assert isinstance(first, Scores)
    kept = {name: weight.clone() for name, weight in flow.state_dict().items()}
    # A rate at which nothing is learnt: what was there stays.
    mad = Lesson(steps=20, variance_steps=20, rate=100.0)
    second = teach(flow, x, sizes / 3000, sizes, mad, np.random.default_rng(1))
    assert second == first
    for name, weight in flow.state_dict().items():
        assert torch.equal(weight, kept[name])


def test_the_score_is_one_over_the_share_of_effective_points() -> None:
    rng = np.random.default_rng(0)
    x = rng.random((20_000, 2))
    sizes = INTEGRANDS["camel2"](x)
    flow = NeuralSplineFlow(2, hidden=16)
    scores = teach(flow, x, sizes / len(x), sizes, Lesson(steps=200), np.random.default_rng(1))
    with torch.no_grad():
        density = flow.log_prob(torch.from_numpy(x).float()).exp().double().numpy()
    wanted = (sizes**2 / density).mean() / sizes.mean() ** 2
    assert scores.variance == pytest.approx(wanted, rel=0.05)


def test_points_that_are_remembered_teach_with_the_next_training() -> None:
    integrand, rng = INTEGRANDS["camel2"], np.random.default_rng(0)
    uniform, sampler = Uniform(2), FlowSampler(2, rounds=1, steps=60)
    for _ in range(2):
        draw = uniform.draw(2000, rng)
        sampler.remember(draw, integrand(draw.x))
    np.testing.assert_allclose(sampler.density(draw.x), 1, rtol=1e-6)
    sampler.adapt(draw, np.zeros(len(draw)))
    assert share_of_effective_points(sampler, "camel2", rng) > 0.8


def test_a_state_brings_back_the_same_points(circles: dict[str, FlowSampler]) -> None:
    for sampler in circles.values():
        again = FlowSampler.from_state(sampler.state())
        one = sampler.draw(700, np.random.default_rng(1))
        two = again.draw(700, np.random.default_rng(1))
        np.testing.assert_array_equal(one.x, two.x)
        np.testing.assert_array_equal(one.measure, two.measure)


def test_the_same_seed_gives_the_same_flow_and_leaves_torch_alone() -> None:
    def points() -> Any:
        sampler = FlowSampler(2, rounds=1, steps=10, seed=4)
        draw = sampler.draw(500, np.random.default_rng(0))
        sampler.adapt(draw, draw.x[:, 0])
        return sampler.draw(100, np.random.default_rng(1)).x

    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    first = points()
    assert torch.equal(before, torch.random.get_rng_state())
    np.testing.assert_array_equal(first, points())


def test_the_time_of_training_is_predicted(monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that stands still but for the steps of training, a thousandth of a second each."""
    now, step = 0.0, flow_training.Course._step

    def timed(course: flow_training.Course, loss: Tensor) -> None:
        nonlocal now
        now += 1e-3
        step(course, loss)

    monkeypatch.setattr(flow_training.Course, "_step", timed)
    monkeypatch.setattr(flow_training.time, "perf_counter", lambda: now)
    flow_training._seconds_a_step.cache_clear()
    sampler = FlowSampler(3, rounds=1, steps=40)
    draw = sampler.draw(4000, np.random.default_rng(0))
    values = draw.x.sum(1)
    predicted = predicted_seconds(3, 4000, steps=120)
    flow_training._seconds_a_step.cache_clear()  # other tests shall have the right time
    start = now
    sampler.adapt(draw, values)
    # 80 steps of likelihood and 20 of variance; the looks, a tenth of it, take no time here.
    assert 0.5 < (now - start) / predicted < 1.1
    with pytest.raises(ValueError, match="not be negative, got -1"):
        predicted_seconds(3, -1)


def test_an_axis_map_interpolates_its_edges() -> None:
    rng = np.random.default_rng(0)
    edges = np.sort(np.concatenate([np.zeros((2, 1)), rng.random((2, 9)), np.ones((2, 1))], 1), 1)
    cube_map: CubeMap = AxisMap(edges)
    y = rng.random((500, 2))
    x, jacobian = cube_map.forward(y)
    for axis in range(2):
        np.testing.assert_allclose(
            x[:, axis], np.interp(y[:, axis], np.linspace(0, 1, 11), edges[axis])
        )
    back, same = cube_map.inverse(x)
    np.testing.assert_allclose(back, y, atol=1e-12)
    np.testing.assert_allclose(same, jacobian)


@pytest.mark.parametrize("inner", [Uniform, Mixture])
def test_a_sampler_behind_a_map_integrates_and_keeps_its_density(inner: type) -> None:
    integrand = INTEGRANDS["camel4"]
    sampler = Mapped(inner(4), axis_map("camel4"))
    rng = taught(sampler, "camel4", 1)
    draw = sampler.draw(20_000, rng)
    np.testing.assert_allclose(draw.measure * len(draw) * sampler.density(draw.x), 1, rtol=0.1)
    integrals, covariance = draw.estimate(integrand(draw.x)[:, None])
    assert abs(integrals[0] - integrand.exact) < 4 * math.sqrt(covariance[0, 0])
    again = Mapped.from_state(sampler.state())
    np.testing.assert_array_equal(
        again.draw(500, np.random.default_rng(0)).measure,
        sampler.draw(500, np.random.default_rng(0)).measure,
    )


def test_a_sampler_behind_the_map_of_vegas_is_brought_back_by_its_state() -> None:
    vegas = Vegas(4)
    taught(vegas, "camel4", 0)
    sampler = Mapped(Mixture(4), vegas.map)
    rng = taught(sampler, "camel4", 1)
    integrand, draw = INTEGRANDS["camel4"], sampler.draw(20_000, rng)
    integrals, covariance = draw.estimate(integrand(draw.x)[:, None])
    assert abs(integrals[0] - integrand.exact) < 4 * math.sqrt(covariance[0, 0])
    again = Mapped.from_state(sampler.state())
    np.testing.assert_array_equal(again.density(draw.x), sampler.density(draw.x))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"dimension": 1}, "2 dimensions or more, got 1"),
        ({"dimension": 2, "rounds": 0}, "must be positive"),
        ({"dimension": 2, "latent": "halton"}, "'random', 'sobol' or 'strata', got 'halton'"),
    ],
)
def test_arguments_out_of_range_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        FlowSampler(**arguments)


def test_bad_points_values_and_maps_are_named() -> None:
    sampler = FlowSampler(2)
    draw = sampler.draw(10, np.random.default_rng(0))
    with pytest.raises(ValueError, match="10 points need as many"):
        sampler.adapt(draw, np.ones(3))
    with pytest.raises(ValueError, match="finite and not negative"):
        sampler.adapt(draw, np.full(10, np.inf))
    with pytest.raises(ValueError, match=r"shape \(B, 2\), got \(4, 3\)"):
        sampler.density(np.zeros((4, 3)))
    with pytest.raises(ValueError, match="2 calls or more"):
        sampler.draw(1, np.random.default_rng(0))
    sampler.adapt(draw, np.zeros(10))
    assert sampler.scores is None
    with pytest.raises(ValueError, match=r"\(D, K \+ 1\), got \(3,\)"):
        AxisMap(np.zeros(3))
    with pytest.raises(ValueError, match="ascend from 0 to 1"):
        AxisMap(np.array([[0.0, 0.7, 0.3, 1.0]]))
    with pytest.raises(ValueError, match="has dimension 3, the map 1"):
        Mapped(Uniform(3), AxisMap(np.array([[0.0, 1.0]])))
