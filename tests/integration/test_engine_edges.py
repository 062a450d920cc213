"""The engine at its edges: few calls, budgets together, integrals of zero, states of other runs."""

from __future__ import annotations

import itertools
from pathlib import Path

import hist
import numpy as np
import pytest

import hepgen
from hepgen.integration import (
    BadIntegrand,
    Budget,
    Discrete,
    Domain,
    Draw,
    IntegrationWarning,
    SavedStateError,
    Uniform,
    Vegas,
    expectation,
    rare_event,
)
from hepgen.integration.sizes import sizes_at
from hepgen.integration.strategy import LARGEST_BATCH, OPEN_BATCH, OneSampler, final_calls

SQUARE = [(0.0, 1.0)] * 2
# Of `bump` over the square, by erf.
BUMP = 0.06266235


def bump(x: np.ndarray) -> np.ndarray:
    return np.exp(-((x - 0.3) ** 2).sum(1) / 0.02)


class Clock:
    """It stands still but for what is added to it."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    ours = Clock()
    monkeypatch.setattr("hepgen.integration.run.time.perf_counter", ours)
    return ours


@pytest.mark.parametrize("sampler", ["auto", "vegas", "mixture", "uniform"])
@pytest.mark.parametrize("dimension", [1, 6])
@pytest.mark.parametrize("calls", [500, 1100])
@pytest.mark.filterwarnings("ignore::hepgen.integration.IntegrationWarning")
def test_the_fewest_calls_give_an_integral(sampler: str, dimension: int, calls: int) -> None:
    result = hepgen.integrate(bump, [(0, 1)] * dimension, calls=calls, sampler=sampler, seed=1)
    assert result.dof == 1
    assert 0.1 * calls <= result.final_calls <= result.calls <= calls
    exact = BUMP ** (dimension / 2)
    # Six dimensions leave a few effective points, whose error says little.
    assert exact / 10 < result.integral < 10 * exact
    if dimension == 1:
        assert result.integral == pytest.approx(exact, abs=5 * result.error)


@pytest.mark.parametrize("limit", [{"calls": 20_000_000}, {"seconds": 60.0}])
def test_a_precision_that_is_reached_ends_a_run_with_other_limits(
    limit: dict[str, float], clock: Clock
) -> None:
    def timed(x: np.ndarray) -> np.ndarray:
        clock.now += 1e-5 * len(x)
        return bump(x)

    result = hepgen.integrate(timed, SQUARE, precision=1e-2, sampler="vegas", seed=1, **limit)
    assert result.relative_error <= 1e-2
    assert result.calls < 500_000
    assert result.seconds == pytest.approx(1e-5 * result.calls)


def test_limits_of_calls_and_time_hold_where_the_precision_is_out_of_reach() -> None:
    result = hepgen.integrate(bump, SQUARE, precision=1e-9, calls=20_000, sampler="vegas", seed=1)
    assert 19_000 < result.calls <= 20_000
    assert result.dof >= 1


def test_limited_time_is_used_and_kept_by_slow_integrands(clock: Clock) -> None:
    def slow(x: np.ndarray) -> np.ndarray:
        clock.now += 5e-5 * len(x)
        return bump(x)

    result = hepgen.integrate(slow, SQUARE, seconds=1.5, sampler="uniform", seed=1)
    assert result.dof >= 1
    # The first batch is small, and the last one no longer than the rest of the time.
    assert 1.4 < result.seconds < 1.6


@pytest.mark.parametrize("kind", ["number", "vector"])
def test_an_integral_of_zero_does_not_run_for_ever(kind: str) -> None:
    def odd(x: np.ndarray) -> np.ndarray:
        values = x[:, 0] - 0.5
        return values if kind == "number" else np.stack([values, 0 * values, values + 1], 1)

    result = hepgen.integrate(odd, SQUARE, precision=1e-3, sampler="vegas", seed=1)
    assert np.all(np.ravel(result.error) <= 1e-3)
    assert np.ravel(result.integral)[0] == pytest.approx(0, abs=5 * np.ravel(result.error)[0])


def test_what_is_no_size_of_an_integrand_teaches_nothing() -> None:
    draw = Uniform(2).draw(3, np.random.default_rng(1))
    sizes = sizes_at(draw, [0, 1, 2])
    assert sizes.dtype == np.float64
    assert sizes.tolist() == [0, 1, 2]
    with pytest.raises(ValueError, match=r"3 points need as many values, got shape \(2,\)"):
        sizes_at(draw, [1.0, 2.0])
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="must be finite and not negative"):
            sizes_at(draw, [1.0, 2.0, wrong])


def test_batches_stay_of_a_size_that_memory_holds() -> None:
    assert final_calls(Budget(None, spent=10**9, needed=10**12, ends_early=True), 9) == (
        LARGEST_BATCH
    )
    assert final_calls(Budget(10**10), 0) == LARGEST_BATCH
    assert OneSampler("vegas", Vegas(2)).next(Budget(10**10)).calls == LARGEST_BATCH
    assert final_calls(Budget(10**10, ends_early=True), 0) == OPEN_BATCH
    assert final_calls(Budget(1000, spent=600), 5) is None


def test_what_is_expected_to_be_spent_follows_the_precision() -> None:
    assert Budget(10_000, spent=4000).expected == 6000
    assert Budget(10**9, spent=10**5, needed=4 * 10**5, ends_early=True).expected == 3 * 10**5
    assert Budget(10**9, spent=10**5, ends_early=True).expected == 10**5
    assert Budget(10**9, ends_early=True).planned == Budget(None).planned
    assert Budget(10**9).planned == 10**9


def test_the_time_of_a_first_call_that_compiles_is_not_that_of_the_others(clock: Clock) -> None:
    costs: list[float] = []
    seen = itertools.count()

    def compiling(x: np.ndarray) -> np.ndarray:
        clock.now += 1e-7 * len(x) if next(seen) else 0.3
        return bump(x)

    class Watched(OneSampler):
        def learn(self, *given: object) -> None:
            costs.append(given[-1].seconds_per_call)
            super().learn(*given)

    hepgen.integrate(compiling, SQUARE, calls=5000, sampler=Watched("vegas", Vegas(2)), seed=1)
    assert costs[0] > 1e-4
    assert costs[-1] == pytest.approx(1e-7)


@pytest.mark.parametrize(("first", "then"), [("auto", "vegas"), ("vegas", "auto")])
def test_a_state_of_another_sampler_is_refused(first: str, then: str, tmp_path: Path) -> None:
    path = tmp_path / "run.state"
    hepgen.integrate(bump, SQUARE, calls=1000, sampler=first, state=path)
    with pytest.raises(SavedStateError, match=r"its sampler is vegas .*, wanted vegas"):
        hepgen.integrate(bump, SQUARE, calls=2000, sampler=then, state=path)


@pytest.mark.parametrize("edges", [(4, 5.0, 9.0), (7, 0.0, 1.0)])
def test_a_state_with_other_bins_is_refused(
    edges: tuple[int, float, float], tmp_path: Path
) -> None:
    path = tmp_path / "run.state"
    axes = [hist.axis.Regular(4, 0, 1, name="x0")]
    hepgen.integrate(bump, SQUARE, calls=1000, axes=axes, state=path)
    again = hepgen.integrate(bump, SQUARE, calls=1000, axes=axes, state=path)
    assert again.histograms["x0"].sum(flow=True).value == pytest.approx(again.integral)
    axes = [hist.axis.Regular(*edges, name="x0")]
    with pytest.raises(SavedStateError, match="its axes is"):
        hepgen.integrate(bump, SQUARE, calls=2000, axes=axes, state=path)


def test_axes_without_overflow_leave_out_what_lies_outside() -> None:
    axis = hist.axis.Regular(4, 0.2, 0.4, name="x0", flow=False)
    category = hist.axis.IntCategory([0, 1], name="n")
    bare = hist.axis.IntCategory([0, 1], name="m", overflow=False)
    integer = hist.axis.Integer(1, 3, name="k")
    result = hepgen.integrate(
        bump,
        SQUARE,
        calls=2000,
        axes=[axis, category, bare, integer, (axis, bare)],
        observables=lambda x: dict.fromkeys("nmk", np.floor(5 * x[:, 0])),
    )
    inside = (result.x[:, 0] >= 0.2) & (result.x[:, 0] < 0.4)
    expected = (result.weights * inside).sum() / len(inside)
    assert result.histograms["x0"].sum(flow=True).value == pytest.approx(expected)
    low = (result.weights * (result.x[:, 0] < 0.4)).sum() / len(inside)
    assert result.histograms["m"].sum(flow=True).value == pytest.approx(low)
    assert result.histograms["n"].sum(flow=True).value == pytest.approx(result.integral)
    third = (result.weights * ((result.x[:, 0] >= 0.4) & (result.x[:, 0] < 0.6))).sum() / len(
        inside
    )
    assert result.histograms["k"][hist.loc(2)].value == pytest.approx(third)
    assert result.histograms["k"].sum(flow=True).value == pytest.approx(result.integral)
    both = (result.weights * (inside & (result.x[:, 0] < 0.4))).sum() / len(inside)
    assert result.histograms["x0_m"].sum(flow=True).value == pytest.approx(both)


def test_names_of_axes_are_checked_before_anything_is_learnt() -> None:
    calls = itertools.count()

    def counted(x: np.ndarray) -> np.ndarray:
        next(calls)
        return bump(x)

    axis = hist.axis.Regular(4, 0, 1, name="pt")
    with pytest.raises(KeyError, match="no observable 'pt' for the axis; nearest: p_t"):
        hepgen.integrate(counted, SQUARE, axes=[axis], observables=lambda x: {"p_t": x[:, 0]})
    assert next(calls) == 0
    with pytest.raises(ValueError, match="each distribution once, got pt, pt"):
        hepgen.integrate(counted, SQUARE, axes=[axis, axis])
    with pytest.raises(ValueError, match="axis 'n' is one of texts"):
        hepgen.integrate(counted, SQUARE, axes=[hist.axis.StrCategory(["a"], name="n")])
    with pytest.raises(ValueError, match="wants an axis at least"):
        hepgen.integrate(counted, SQUARE, axes=[()])


@pytest.mark.parametrize("sampler", ["vegas", "mixture"])
def test_functions_may_change_the_points_that_they_get(sampler: str) -> None:
    def careless(x: np.ndarray) -> np.ndarray:
        x -= 0.3
        return np.exp(-(x**2).sum(1) / 0.02)

    result = hepgen.integrate(careless, SQUARE, calls=3000, sampler=sampler, seed=1)
    assert (
        result.integral
        == hepgen.integrate(bump, SQUARE, calls=3000, sampler=sampler, seed=1).integral
    )
    assert result.x.min() >= 0


def test_values_without_squares_are_told() -> None:
    with pytest.raises(BadIntegrand, match=r"comes to .*e\+199.* multiply it by a constant"):
        hepgen.integrate(lambda x: 1e200 * bump(x), SQUARE, calls=1000, sampler="vegas", seed=1)
    with pytest.warns(IntegrationWarning, match="have no squares.* multiply the integrand"):
        hepgen.integrate(lambda x: 1e-200 * bump(x), SQUARE, calls=1000, sampler="vegas", seed=1)
    for factor in (1e-145, 1e145):
        large = hepgen.integrate(lambda x, f=factor: f * bump(x), SQUARE, calls=1000, seed=1)
        same = hepgen.integrate(bump, SQUARE, calls=1000, seed=1)
        assert large.relative_error == pytest.approx(same.relative_error, rel=1e-6)


def test_the_share_of_a_point_is_one_of_all_points_kept_or_not() -> None:
    options = {"calls": 60_000, "sampler": "uniform", "seed": 1}
    whole = hepgen.integrate(bump, SQUARE, **options)
    part = hepgen.integrate(bump, SQUARE, keep=1000, **options)
    assert len(part.x) <= 1000
    # The weights are bounded, so that the largest are alike.
    assert part.largest_weight_share == pytest.approx(whole.largest_weight_share, rel=0.1)
    assert part.effective_sample_size == pytest.approx(whole.effective_sample_size, rel=0.3)


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"calls": "many"}, TypeError, "calls: wanted a number, got 'many'"),
        ({"calls": 1000.5}, ValueError, "calls: wanted a whole number, got 1000.5"),
        ({"calls": np.inf}, ValueError, "calls: wanted a whole number, got inf"),
        ({"precision": "a"}, TypeError, "precision: wanted a number"),
        ({"sampler": None}, ValueError, "no sampler None; nearest"),
        ({"workers": 0}, ValueError, "workers: wanted one at least, got 0"),
        ({"batch_size": -4}, ValueError, "batch_size: wanted one at least, got -4"),
        ({"observables": 3}, TypeError, "observables: wanted a function of points"),
        ({"executor": 4}, TypeError, "executor: wanted a pool"),
        ({"keep": 10}, ValueError, "keep: wanted 500 points at least, got 10"),
    ],
)
def test_arguments_of_the_wrong_kind_are_refused(
    options: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        hepgen.integrate(bump, SQUARE, **options)


def test_calls_may_be_written_as_a_power_of_ten() -> None:
    assert hepgen.integrate(bump, SQUARE, calls=1e3, sampler="uniform").calls == 1000


def test_an_integrand_of_no_values_is_refused() -> None:
    with pytest.raises(BadIntegrand, match=r"no values: shape \(\d+, 0\)"):
        hepgen.integrate(lambda x: np.ones((len(x), 0)), SQUARE, calls=1000)


def test_bounds_of_the_wrong_kind_are_refused() -> None:
    for bounds, message in (
        (5, r"bounds: wanted \[\(low, high\), \.\.\.\], got 5"),
        ([(-1e308, 1e308)], "too far apart"),
        ([(np.inf, np.inf)], "equal"),
    ):
        with pytest.raises(ValueError, match=message):
            Domain(bounds)
    for scale in ((1, 2, 3), "a", None):
        with pytest.raises(ValueError, match="scale wants one number, or 2, got"):
            Domain(SQUARE, scale)
    with pytest.raises(ValueError, match=r"wants how many values, or numbers, got 2\.5"):
        Discrete(2.5)
    assert len(Discrete(np.int64(3))) == 3


def test_units_without_points_count_as_zeros() -> None:
    x = np.array([[0.1], [0.2], [0.3]])
    draw = Draw(x, np.ones(3), np.array([0, 1, 2]), np.array([0, 0, 1, 1]))
    integral, covariance = draw.estimate(np.array([[1.0], [2.0], [3.0]]))
    assert integral == pytest.approx(6)
    # Of 1 and 2, and of 3 and 0: 2 times the squared half differences, twice.
    assert covariance == pytest.approx(np.array([[1.0 + 9.0]]))
    assert len(draw) == 3
    assert draw.units == 4


def test_densities_that_are_none_are_refused_by_expectations() -> None:
    signed = hepgen.integrate(lambda x: x[:, 0] - 0.2, SQUARE, calls=1000)
    with pytest.raises(BadIntegrand, match="a density is not negative"):
        expectation(lambda x: x[:, 0], signed)
    vector = hepgen.integrate(lambda x: x, SQUARE, calls=1000)
    with pytest.raises(BadIntegrand, match=r"density: wanted shape \(\d+,\)"):
        expectation(lambda x: x[:, 0], vector)
    with pytest.raises(BadIntegrand, match=r"density: wanted shape \(\d+,\).* got \(\d+, 1\)"):
        expectation(lambda x: x[:, 0], lambda x: x[:, :1], SQUARE, calls=1000)


def test_thresholds_and_calls_of_rare_events_must_make_sense() -> None:
    for threshold, calls, message in (
        (np.nan, 10_000, "threshold: wanted a finite number, got nan"),
        (0.5, 600, "calls: wanted at least 2000"),
    ):
        with pytest.raises(ValueError, match=message):
            rare_event(bump, lambda x: x[:, 0], threshold, SQUARE, calls=calls)


def test_figures_of_a_number_are_numbers() -> None:
    figures = hepgen.integrate(bump, SQUARE, calls=1000, sampler="vegas").summary()
    assert isinstance(figures["integral"], float)
    vector = hepgen.integrate(lambda x: x, SQUARE, calls=1000, sampler="vegas").summary()
    assert len(vector["error"]) == 2


def test_a_precision_ends_a_run_after_the_batches_that_were_asked_for() -> None:
    result = hepgen.integrate(bump, SQUARE, precision=0.5, batches=4, sampler="uniform", seed=1)
    assert result.dof == 3
