"""`hepgen.integrate` as a user calls it: kinds of functions, budgets, resuming, bad input."""

from __future__ import annotations

import math
import warnings
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from pathlib import Path

import hist
import numba
import numpy as np
import pytest
import torch
from torch import Tensor

import hepgen
from hepgen.integration import (
    INTEGRANDS,
    BadIntegrand,
    Budget,
    Discrete,
    Domain,
    Draw,
    Integral,
    IntegrationWarning,
    OneSampler,
    Sampler,
    SavedStateError,
    Strategy,
    Uniform,
    each,
)

SEED = 3


def bump(x: np.ndarray) -> np.ndarray:
    return np.exp(-((x - 0.3) ** 2).sum(1) / 0.02)


BUMP = (
    math.sqrt(0.02 * math.pi) / 2 * (math.erf(0.7 / 0.02**0.5) + math.erf(0.3 / 0.02**0.5))
) ** 2


def bump_torch(x: Tensor) -> Tensor:
    return torch.exp(-((x - 0.3) ** 2).sum(1) / 0.02)


@numba.njit
def bump_compiled(x):
    values = np.empty(len(x))
    for i in range(len(x)):
        values[i] = math.exp(-((x[i, 0] - 0.3) ** 2 + (x[i, 1] - 0.3) ** 2) / 0.02)
    return values


@numba.njit
def bump_of_one_compiled(x):
    return math.exp(-((x[0] - 0.3) ** 2 + (x[1] - 0.3) ** 2) / 0.02)


def bump_of_one(x: np.ndarray) -> float:
    return math.exp(-((x[0] - 0.3) ** 2 + (x[1] - 0.3) ** 2) / 0.02)


class BumpModule(torch.nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.centre = torch.nn.Parameter(torch.tensor(0.3, dtype=torch.float64))

    def forward(self, x: Tensor) -> Tensor:
        return torch.exp(-((x - self.centre) ** 2).sum(1) / 0.02)


SQUARE = [(0.0, 1.0)] * 2


def check(result: Integral, exact: float, sigmas: float = 5.0) -> None:
    """Within five errors: false alarm 1e-5 with the few batches of a low-discrepancy error."""
    assert result.integral == pytest.approx(exact, abs=sigmas * result.error + 1e-12)


@pytest.mark.parametrize(
    "function",
    [bump, bump_torch, bump_compiled, each(bump_of_one_compiled), each(bump_of_one), BumpModule()],
    ids=["numpy", "torch", "numba", "one compiled", "one", "module"],
)
def test_functions_of_every_kind_give_the_same_integral(function: object) -> None:
    result = hepgen.integrate(function, SQUARE, calls=5000, sampler="vegas", seed=SEED)
    numpy = hepgen.integrate(bump, SQUARE, calls=5000, sampler="vegas", seed=SEED)
    assert result.integral == pytest.approx(numpy.integral, rel=1e-9)
    check(result, BUMP)
    assert result.calls <= 5000


@pytest.mark.parametrize("sampler", ["auto", "vegas", "mixture", "uniform"])
def test_all_samplers_find_the_integral(sampler: str) -> None:
    result = hepgen.integrate(bump, SQUARE, calls=20_000, sampler=sampler, seed=SEED)
    check(result, BUMP)
    assert result.sampler_name == (sampler if sampler != "auto" else result.sampler_name)
    assert result.error < 0.02 * BUMP
    assert isinstance(result.estimate, hepgen.Estimate)
    assert result.warnings == ()
    assert 0 < result.unweighting_efficiency <= 1
    assert result.weights.mean() == pytest.approx(result.integral, rel=1e-9)
    for figure in ("chi2/dof", "n_eff", "Pareto k", "unweighting efficiency", "sampler: "):
        assert figure in str(result)
    assert result.summary()["calls"] == result.calls


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["auto", "vegas", "uniform"])
def test_the_quoted_error_is_that_of_the_spread(sampler: str) -> None:
    # 100 pulls: their rms is known to 7 %; four of it, and the tails of errors from few replicas.
    pulls = []
    for seed in range(100):
        result = hepgen.integrate(bump, SQUARE, calls=4000, sampler=sampler, seed=seed)
        pulls.append((result.integral - BUMP) / result.error)
    assert 0.72 < np.sqrt(np.mean(np.square(pulls))) < 1.3


def test_the_same_seed_gives_the_same_bits_and_another_does_not() -> None:
    first, again, other = (
        hepgen.integrate(bump, SQUARE, calls=4000, seed=seed) for seed in (1, 1, 2)
    )
    assert first.integral == again.integral
    assert (first.x == again.x).all()
    assert first.integral != other.integral


def test_values_by_name_keep_their_names_and_their_correlation() -> None:
    def pair(x: np.ndarray) -> dict[str, np.ndarray]:
        value = bump(x)
        return {"small": 1e-12 * value, "large": 1e12 * value, "none": 0 * value}

    result = hepgen.integrate(pair, SQUARE, calls=10_000, seed=SEED)
    assert result.integral["small"] == pytest.approx(1e-12 * BUMP, abs=5 * result.error["small"])
    assert result.integral["large"] == pytest.approx(1e24 * result.integral["small"], rel=1e-9)
    assert result.integral["none"] == 0
    assert result.estimate["large"].value == result.integral["large"]
    correlation = result.covariance[0, 1] / np.sqrt(
        result.covariance[0, 0] * result.covariance[1, 1]
    )
    assert correlation == pytest.approx(1)


def test_vectors_come_back_as_arrays() -> None:
    result = hepgen.integrate(lambda x: np.stack([x[:, 0], x[:, 1] ** 2], 1), SQUARE, calls=5000)
    assert result.integral.shape == (2,)
    assert result.integral == pytest.approx([1 / 2, 1 / 3], abs=5 * float(result.error.max()))
    assert result.covariance.shape == (2, 2)


@pytest.mark.parametrize(
    ("function", "bounds", "exact"),
    [
        (lambda x: np.exp(-(x**2).sum(1)), [(-math.inf, math.inf)] * 2, math.pi),
        (lambda x: 1 / (1 + x[:, 0] ** 2), [(-math.inf, math.inf)], math.pi),
        (lambda x: np.exp(-x[:, 0]) * x[:, 0], [(0, math.inf)], 1.0),
        (lambda x: np.exp(x[:, 0]), [(-math.inf, 2)], math.exp(2)),
        (lambda x: x[:, 0] ** x[:, 1], [(0, 2), Discrete([1, 3])], 2 + 4),
        (lambda x: x[:, 1], [(-3, -1), Discrete(5)], 2 * 10.0),
    ],
    ids=["plane", "heavy tails", "half", "lower half", "values", "number"],
)
def test_bounds_of_every_kind(function: object, bounds: list[object], exact: float) -> None:
    result = hepgen.integrate(function, bounds, calls=20_000, seed=SEED)
    check(result, exact)
    assert result.error < 0.02 * exact


def test_the_domain_maps_back_and_its_scale_sets_where_points_go() -> None:
    bounds = [(0, 3), (1, math.inf), (-math.inf, 2), (-math.inf, math.inf), Discrete([4, 1])]
    domain = Domain(bounds, scale=[1, 2, 3, 4, 1])
    u = np.random.default_rng(0).random((100, 5))
    u[:, 4] = np.where(u[:, 4] < 0.5, 0.25, 0.75)
    x, jacobian = domain.forward(u)
    back, slope = domain.inverse(x)
    assert back == pytest.approx(u, abs=1e-12)
    assert slope == pytest.approx(jacobian)
    middle, _ = domain.forward(np.full((1, 5), 0.5))
    assert middle[0] == pytest.approx([1.5, 3, -1, 0, 1])
    assert domain.sizes == (0, 0, 0, 0, 2)
    step = 1e-6
    for i in range(4):
        ahead = u.copy()
        ahead[:, i] += step
        moved = domain.forward(ahead)[0][:, i] - x[:, i]
        assert (moved > 0).all()
    with pytest.raises(ValueError, match="1 of 1 points lie outside dimension 0"):
        domain.inverse(np.array([[4.0, 2, 0, 0, 1]]))


def test_histograms_add_up_to_the_integral() -> None:
    axes = [
        hist.axis.Regular(10, 0, 1, name="x0"),
        (hist.axis.Regular(3, 0, 2, name="r"), hist.axis.Variable([0, 0.2, 0.5], name="x1")),
    ]
    result = hepgen.integrate(
        bump,
        SQUARE,
        calls=20_000,
        axes=axes,
        observables=lambda x: {"r": np.hypot(*x.T)},
        seed=SEED,
    )
    one, two = result.histograms["x0"], result.histograms["r_x1"]
    assert one.sum(flow=True).value == pytest.approx(result.integral)
    assert two.sum(flow=True).value == pytest.approx(result.integral)
    edges = one.axes[0].edges
    factor = math.sqrt(BUMP)
    for low, high, cell in zip(edges[:-1], edges[1:], one.view(), strict=True):
        exact = factor * (math.erf((high - 0.3) / 0.02**0.5) - math.erf((low - 0.3) / 0.02**0.5))
        exact *= math.sqrt(0.02 * math.pi) / 2
        # Bins that no point reached have no error; the rest within five.
        assert cell["value"] == pytest.approx(exact, abs=5 * cell["variance"] ** 0.5 + 1e-7)
    assert len(result.observables["r"]) == len(result.weights)


def test_precision_ends_a_run() -> None:
    result = hepgen.integrate(bump, SQUARE, precision=1e-3, sampler="vegas", seed=SEED)
    assert result.relative_error <= 1e-3
    check(result, BUMP)


@pytest.mark.parametrize("seconds", [0.01, 0.3])
def test_time_ends_a_run(seconds: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a clock that stands still but for the calls, a microsecond each."""
    now = 0.0

    def timed(x: np.ndarray) -> np.ndarray:
        nonlocal now
        now += 1e-6 * len(x)
        return bump(x)

    monkeypatch.setattr("hepgen.integration.run.time.perf_counter", lambda: now)
    result = hepgen.integrate(timed, SQUARE, seconds=seconds, seed=SEED)
    check(result, BUMP)
    assert result.seconds == pytest.approx(seconds, rel=0.1)
    assert result.calls == pytest.approx(1e6 * seconds, rel=0.1)


def _interrupted(path: Path, after: int, **options: object) -> None:
    seen = 0

    def stopping(x: np.ndarray) -> np.ndarray:
        nonlocal seen
        seen += len(x)
        if seen > after:
            raise KeyboardInterrupt
        return bump(x)

    with pytest.raises(KeyboardInterrupt):
        hepgen.integrate(stopping, SQUARE, state=path, **options)


@pytest.mark.parametrize("sampler", ["auto", "vegas", "uniform"])
@pytest.mark.parametrize("after", [1500, 9000])
def test_a_run_goes_on_where_it_was_cut_off(sampler: str, after: int, tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    options = {"calls": 12_000, "sampler": sampler, "seed": 8}
    whole = hepgen.integrate(bump, SQUARE, **options)
    _interrupted(path, after, **options)
    resumed = hepgen.integrate(bump, SQUARE, state=path, **options)
    assert resumed.integral == whole.integral
    assert resumed.error == whole.error
    assert (resumed.x == whole.x).all()
    more = hepgen.integrate(bump, SQUARE, state=path, **{**options, "calls": 60_000})
    assert more.calls > 50_000
    assert more.error < resumed.error
    with pytest.raises(SavedStateError, match="its seed is 8, wanted 9"):
        hepgen.integrate(bump, SQUARE, state=path, **{**options, "seed": 9})
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(SavedStateError, match="holds no saved integration"):
        hepgen.integrate(bump, SQUARE, state=path, **options)


@pytest.mark.parametrize("pool", [ProcessPoolExecutor, ThreadPoolExecutor])
def test_workers_do_not_change_the_result(pool: type) -> None:
    alone = hepgen.integrate(bump, SQUARE, calls=4000, seed=SEED)
    with pool(2) as executor:
        shared = hepgen.integrate(bump, SQUARE, calls=4000, seed=SEED, executor=executor, workers=2)
    assert shared.integral == pytest.approx(alone.integral, rel=1e-12)


def test_functions_that_other_processes_cannot_have_are_refused() -> None:
    with ProcessPoolExecutor(1) as executor, pytest.raises(BadIntegrand, match="top level"):
        hepgen.integrate(lambda x: x[:, 0], SQUARE, calls=1000, executor=executor)


def test_unweighted_events_follow_the_integrand() -> None:
    result = hepgen.integrate(bump, SQUARE, calls=40_000, sampler="vegas", seed=SEED)
    events = result.unweight()
    assert len(events) == pytest.approx(events.efficiency * len(result.weights))
    assert events.overweight_share <= 1.001e-3
    # Mean and variance of a Gauss of width 0.1 cut off at three sigma, five errors.
    assert events.x.mean(0) == pytest.approx(0.3, abs=5 * 0.1 / math.sqrt(len(events)) + 5e-4)
    many = result.unweight(3 * len(events), seed=4)
    assert len(many) == 3 * len(events)
    assert many.calls > 0
    few = result.unweight(50)
    assert few.x[:, 0].std() == pytest.approx(0.1, rel=0.5)  # not a corner of the strata
    assert (np.abs(events.weight) >= 1).all()


def test_integrands_that_change_sign_have_signed_events() -> None:
    result = hepgen.integrate(lambda x: x[:, 0] - 0.25, [(0, 1)], calls=20_000, seed=SEED)
    check(result, 0.25)
    events = result.unweight()
    share = (events.weight < 0).mean()
    assert share == pytest.approx(0.1, abs=5 * math.sqrt(0.1 / len(events)))


def test_kept_points_are_a_fair_part() -> None:
    result = hepgen.integrate(bump, SQUARE, calls=40_000, keep=3000, sampler="vegas", seed=SEED)
    assert 1000 < len(result.weights) <= 3000
    error = result.weights.std() / math.sqrt(len(result.weights))
    assert result.weights.mean() == pytest.approx(BUMP, abs=5 * error)


@pytest.mark.parametrize(
    ("function", "message"),
    [
        (lambda x: 1.0, r"\(B, D\) = .* should give values .* got \(\); .*each\(function\)"),
        (lambda x: x, "never"),
        (lambda x: x[:-1, 0], r"got \(\d+,\)"),
        (lambda x: x[:, 0].astype(complex), "complex128 values, wanted real"),
        (
            lambda x: np.where(x[:, 0] > 0.5, np.nan, 1.0),
            r"at \d+ of \d+ points, first \[nan\] at \(",
        ),
        (lambda x: {"a": x}, "value 'a': wanted shape"),
        (lambda x: {}, "no values"),
    ],
)
def test_what_an_integrand_should_not_give_is_told(function: object, message: str) -> None:
    if message == "never":
        hepgen.integrate(function, SQUARE, calls=1000)  # two values a point
        return
    with pytest.raises(BadIntegrand, match=message):
        hepgen.integrate(function, SQUARE, calls=1000)


def test_values_that_are_no_numbers_can_count_as_zero() -> None:
    def holes(x: np.ndarray) -> np.ndarray:
        return np.where(x[:, 0] > 0.999, np.nan, 1.0)

    with pytest.warns(IntegrationWarning, match="points were NaN or infinite and count as zero"):
        result = hepgen.integrate(holes, SQUARE, calls=5000, non_finite="zero")
    assert result.non_finite_points > 0
    assert result.integral == pytest.approx(0.999, abs=2e-3)


def test_an_integrand_that_is_zero_everywhere_is_told() -> None:
    with pytest.warns(IntegrationWarning, match="zero at all .* points"):
        result = hepgen.integrate(lambda x: 0 * x[:, 0], SQUARE, calls=1000, sampler="vegas")
    assert result.integral == 0
    assert result.error == 0


def test_an_error_that_cannot_be_trusted_is_told() -> None:
    # Infinite variance, and a spike that a handful of points hit.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        hepgen.integrate(lambda x: x[:, 0] ** -0.95, [(0, 1)], calls=5000, sampler="uniform")
        hepgen.integrate(
            lambda x: np.exp(-(x**2).sum(1) / 2e-4), [(0, 1)] * 3, calls=5000, sampler="uniform"
        )
    said = " ".join(str(w.message) for w in caught)
    assert "Pareto k is" in said
    assert "effective points" in said
    assert "one point carries" in said


@pytest.mark.parametrize(
    ("bounds", "message"),
    [
        ([(1, 0)], r"dimension 0 are reversed: \(1, 0\); did you mean \(0, 1\)"),
        ([(0, 1), (2, 2)], "dimension 1 are equal"),
        ([(0, math.nan)], "dimension 0 are NaN"),
        ([], "no dimension"),
        ([3], r"wanted \(low, high\) or Discrete"),
        ((0, 1), r"wanted \(low, high\) or Discrete"),
    ],
)
def test_bounds_that_make_no_sense_are_refused(bounds: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hepgen.integrate(bump, bounds)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"calls": 10}, "10 are too few"),
        ({"precision": -1}, "precision: wanted a positive number"),
        ({"seconds": math.nan}, "seconds: wanted a positive number"),
        ({"sampler": "vega"}, "no sampler 'vega'; nearest: vegas"),
        ({"sampler": Uniform(3)}, "has dimension 3, the bounds have 2"),
        ({"library": "jax"}, "library: wanted one of"),
        ({"non_finite": "skip"}, "non_finite: wanted one of"),
        ({"keep": 0}, "keep: wanted 500 points"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        hepgen.integrate(bump, SQUARE, **options)


def test_discrete_values_must_differ() -> None:
    for values in ([1, 1], [], 0, [math.inf]):
        with pytest.raises(ValueError, match="Discrete wants"):
            Discrete(values)
    with pytest.raises(ValueError, match="scale wants positive"):
        Domain([(0, math.inf)], scale=0)


def test_a_strategy_of_ones_own_decides() -> None:
    strategy = OneSampler("plain", Uniform(2), lessons=())
    assert isinstance(strategy, Strategy)
    assert strategy.next(Budget(1000)).calls == 500
    result = hepgen.integrate(bump, SQUARE, calls=20_000, sampler=strategy, seed=SEED)
    assert result.sampler_name == "plain"
    assert isinstance(result.sampler, Sampler)
    check(result, BUMP)


def test_a_draw_estimates_as_its_formula_says() -> None:
    rng = np.random.default_rng(0)
    values, measure = rng.random((12, 2)), rng.random(12)
    unit, stratum = np.arange(12) // 2, np.array([0, 0, 0, 1, 1, 1])
    integral, covariance = Draw(values, measure, unit, stratum).estimate(values)
    totals = np.array([(measure[:, None] * values)[unit == u].sum(0) for u in range(6)])
    expected = sum(3 * np.cov(totals[stratum == s].T) for s in (0, 1))
    assert integral == pytest.approx(totals.sum(0))
    assert covariance == pytest.approx(expected)


def test_the_benchmark_integrands_are_at_hand() -> None:
    integrand = INTEGRANDS["gauss2"]
    result = hepgen.integrate(integrand, integrand.bounds, calls=5000, seed=SEED)
    check(result, integrand.exact)
