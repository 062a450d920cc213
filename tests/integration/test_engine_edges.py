"""The engine at its edges: few calls, budgets together, integrals of zero, states of other runs."""

from __future__ import annotations

import itertools
from pathlib import Path
from time import sleep

import hist
import numpy as np
import pytest

import hepgen
from hepgen.integration import Budget, SavedStateError, Vegas
from hepgen.integration.strategy import LARGEST_BATCH, OPEN_BATCH, OneSampler, final_calls

SQUARE = [(0.0, 1.0)] * 2
# Of `bump` over the square, by erf.
BUMP = 0.06266235


def bump(x: np.ndarray) -> np.ndarray:
    return np.exp(-((x - 0.3) ** 2).sum(1) / 0.02)


@pytest.mark.parametrize("sampler", ["auto", "vegas", "mixture", "uniform"])
@pytest.mark.parametrize("dimension", [1, 6])
@pytest.mark.parametrize("calls", [500, 1100])
@pytest.mark.filterwarnings("ignore::hepgen.integration.IntegrationWarning")
def test_the_fewest_calls_give_an_integral(sampler: str, dimension: int, calls: int) -> None:
    result = hepgen.integrate(bump, [(0, 1)] * dimension, calls=calls, sampler=sampler, seed=1)
    assert result.dof == 4
    assert 0.1 * calls <= result.final_calls <= result.calls <= calls
    exact = BUMP ** (dimension / 2)
    # Six dimensions leave a few effective points, whose error says little.
    assert exact / 10 < result.integral < 10 * exact
    if dimension == 1:
        assert result.integral == pytest.approx(exact, abs=5 * result.error)


@pytest.mark.parametrize("limit", [{"calls": 20_000_000}, {"seconds": 60.0}])
def test_a_precision_that_is_reached_ends_a_run_with_other_limits(limit: dict[str, float]) -> None:
    result = hepgen.integrate(bump, SQUARE, precision=1e-2, sampler="vegas", seed=1, **limit)
    assert result.relative_error <= 1e-2
    assert result.calls < 500_000
    assert result.seconds < 20


def test_limits_of_calls_and_time_hold_where_the_precision_is_out_of_reach() -> None:
    result = hepgen.integrate(bump, SQUARE, precision=1e-9, calls=20_000, sampler="vegas", seed=1)
    assert 19_000 < result.calls <= 20_000
    assert result.dof >= 4


def test_limited_time_is_used_and_kept_by_slow_integrands() -> None:
    def slow(x: np.ndarray) -> np.ndarray:
        sleep(5e-5 * len(x))
        return bump(x)

    result = hepgen.integrate(slow, SQUARE, seconds=1.5, sampler="uniform", seed=1)
    assert result.dof >= 1
    # The first batch is small, and the last one no longer than the rest of the time.
    assert 0.8 < result.seconds < 3.0


@pytest.mark.parametrize("kind", ["number", "vector"])
def test_an_integral_of_zero_does_not_run_for_ever(kind: str) -> None:
    def odd(x: np.ndarray) -> np.ndarray:
        values = x[:, 0] - 0.5
        return values if kind == "number" else np.stack([values, 0 * values, values + 1], 1)

    result = hepgen.integrate(odd, SQUARE, precision=1e-3, sampler="vegas", seed=1)
    assert np.all(np.ravel(result.error) <= 1e-3)
    assert np.ravel(result.integral)[0] == pytest.approx(0, abs=5 * np.ravel(result.error)[0])


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


def test_the_time_of_a_first_call_that_compiles_is_not_that_of_the_others() -> None:
    costs: list[float] = []
    seen = itertools.count()

    def compiling(x: np.ndarray) -> np.ndarray:
        if not next(seen):
            sleep(0.3)
        return bump(x)

    class Watched(OneSampler):
        def learn(self, *given: object) -> None:
            costs.append(given[-1].seconds_per_call)
            super().learn(*given)

    hepgen.integrate(compiling, SQUARE, calls=5000, sampler=Watched("vegas", Vegas(2)), seed=1)
    assert costs[0] > 1e-4
    assert costs[-1] < 0.1 * costs[0]


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
