"""Whether batches agree, where their errors are estimates of few degrees of freedom themselves."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

import hepgen
from hepgen.integration import Domain, Draw, Integral, Uniform
from hepgen.integration.integral import Batch

Array = np.ndarray


def integral_of(*batches: Batch) -> Integral:
    return Integral(
        batches, Domain([(0, 1)]), Uniform(1), "uniform", np.empty((0, 1)), np.ones((0, 1))
    )


def batch_of(values: Array, calls: int | None = None) -> Batch:
    """One estimate of a mean from independent units (U, M)."""
    draw = Draw(np.zeros((len(values), 1)), np.full(len(values), 1 / len(values)))
    integral, covariance, _ = draw.freedom(values)
    freedom = np.full(values.shape[1], len(values) - 1.0)
    return Batch(calls or len(values), integral, covariance, "nets", True, freedom)


@pytest.mark.parametrize(("few", "calls"), [(16, (100, 100)), (5, (10_000, 500))])
def test_two_batches_agree_as_in_welchs_test(few: int, calls: tuple[int, int]) -> None:
    rng = np.random.default_rng(1)
    first, second = rng.normal(size=(few, 1)), rng.normal(0.5, 3.0, size=(20, 1))
    result = integral_of(batch_of(first, calls[0]), batch_of(second, calls[1]))
    welch = stats.ttest_ind(first[:, 0], second[:, 0], equal_var=False)
    assert result.agreement == pytest.approx(welch.pvalue, rel=1e-9)
    assert result.chi2 == pytest.approx(welch.statistic**2, rel=1e-9)


def test_batches_of_known_errors_agree_as_chi2_says() -> None:
    batches = [
        Batch(100, np.array([value, 0.0]), np.diag([0.04, 1.0]), "nets", True)
        for value in (1.0, 1.3, 0.8, 1.9)
    ]
    result = integral_of(*batches)
    assert result.chi2 == pytest.approx(sum((np.array([1.0, 1.3, 0.8, 1.9]) - 1.25) ** 2) / 0.04)
    # Twice as likely by chance, as there are two components to choose the worse one from.
    assert result.agreement == pytest.approx(2 * stats.chi2.sf(result.chi2, 3), rel=1e-6)
    assert integral_of(batches[0]).agreement == 1
    assert integral_of(batches[0], batches[0]).agreement == 1


def test_equal_batches_without_errors_agree() -> None:
    sure = Batch(10, np.array([2.0]), np.zeros((1, 1)), "nets", True, np.array([np.inf]))
    assert integral_of(sure, sure).agreement == 1
    other = Batch(10, np.array([3.0]), np.zeros((1, 1)), "nets", True, np.array([np.inf]))
    assert integral_of(sure, other).agreement == 0


def test_batches_that_agree_are_seldom_said_not_to() -> None:
    """Few units beside many, as at the end of a run that time limits.

    One in a thousand of 40 000 is 40 +- 6.3; a false alarm of 5 sigma is 6e-7. Had the errors been
    taken as exact, it would have been four times as many, and ten times of one in ten thousand.
    """
    rng = np.random.default_rng(2)
    said = taken_as_exact = 0
    for _ in range(40_000):
        pair = []
        for units in (16, 200):
            values = rng.normal(size=units)
            error = np.array([[values.var(ddof=1) / units]])
            freedom = np.array([units - 1.0])
            pair.append(Batch(units, np.array([values.mean()]), error, "nets", True, freedom))
        result = integral_of(*pair)
        said += result.agreement < 1e-3
        taken_as_exact += stats.chi2.sf(result.chi2, 1) < 1e-3
    assert abs(said - 40) < 5 * 40**0.5
    assert taken_as_exact > 120


@pytest.mark.parametrize("size", [2, 3, 16])
def test_errors_of_strata_have_as_many_degrees_of_freedom_as_satterthwaite_says(size: int) -> None:
    """Strata of known, unequal spreads: 2000 variances spread as chi2 of so many degrees does."""
    rng = np.random.default_rng(3)
    spread = np.repeat([1.0, 1.0, 2.0, 4.0] * 50, size)  # (U,)
    stratum = np.arange(len(spread)) // size
    draw = Draw(np.zeros((len(spread), 1)), np.ones(len(spread)), None, stratum)
    variances, found = [], []
    for _ in range(2000):
        _, covariance, freedom = draw.freedom((spread * rng.normal(size=len(spread)))[:, None])
        variances.append(covariance[0, 0])
        found.append(freedom[0])
    exact = sum((s * s) ** 2 for s in spread[::size]) / (size - 1)
    exact = sum(s * s for s in spread[::size]) ** 2 / exact
    measured = 2 * np.mean(variances) ** 2 / np.var(variances)
    # The variance of 2000 numbers is known to 3.2 %.
    assert measured == pytest.approx(exact, rel=5 * 0.032)
    # Found from the fourth powers of one draw: a few per cent too many, as those have long tails.
    assert np.median(found) == pytest.approx(exact, rel=0.1)


def test_heavy_tails_leave_few_degrees_of_freedom() -> None:
    rng = np.random.default_rng(4)
    draw = Draw(np.zeros((10_000, 1)), np.full(10_000, 1e-4))
    heavy = draw.freedom(np.exp(2 * rng.normal(size=(10_000, 1))))[2]
    light = draw.freedom(rng.normal(size=(10_000, 1)))[2]
    assert heavy < 100 < 9000 < light <= 9999
    tiny = draw.freedom(1e-90 * rng.normal(size=(10_000, 1)))[2]
    assert 9000 < tiny <= 9999
    equal = Draw(np.zeros((4, 1)), np.full(4, 0.25))
    assert equal.freedom(np.ones((4, 1)))[2] == np.inf


def test_a_result_that_was_kept_remembers_how_well_its_errors_are_known(tmp_path) -> None:
    result = hepgen.integrate(lambda x: x[:, 0] * x[:, 1], [(0, 1)] * 2, calls=5000, seed=1)
    hepgen.integration.save_integral(result, tmp_path / "kept")
    again = hepgen.integration.load_integral(tmp_path / "kept")
    assert 0 < again.agreement < 1
    assert again.agreement == result.agreement
    assert all(1 < batch.freedom[0] < batch.calls for batch in again.final)
