"""Response and resolution against the energy, and the fit of the latter."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.stats import hmean

from hepgen.metrics import (
    EnergyBins,
    Estimate,
    ResolutionFit,
    energy_edges,
    resolution_fit,
    response_in_bins,
)

TERMS = (0.135, 0.05, 0.01)


def true(energy, a=TERMS[0], b=TERMS[1], c=TERMS[2]):
    return np.sqrt(a**2 / energy + b**2 / energy**2 + c**2)


def toys(number, seed):
    rng = np.random.default_rng(seed)
    energy = np.exp(rng.uniform(0, np.log(100), number))
    return energy, 0.967 * rng.normal(1, true(energy))


def test_bins_hold_what_numpy_gives():
    energy, response = toys(5000, 1)
    found = response_in_bins(energy, response, [1, 10, 100])
    some = response[energy < 10]
    assert found.showers.tolist() == [len(some), 5000 - len(some)]
    assert found.energy[0] == pytest.approx(hmean(energy[energy < 10]))
    assert found.response[0].value == pytest.approx(some.mean())
    assert found.response[0].error == pytest.approx(some.std(ddof=1) / np.sqrt(len(some)))
    assert found.resolution[0].value == pytest.approx(some.std(ddof=1) / some.mean())
    low, middle, high = np.quantile(some, [0.158655, 0.5, 0.841345])
    assert found.robust[0].value == pytest.approx((high - low) / 2 / middle, rel=1e-3)
    again = EnergyBins.from_dict(found.to_dict())
    assert again.response == found.response
    np.testing.assert_array_equal(again.edges, found.edges)


def test_quoted_errors_are_the_spread_of_many_samples():
    # Of 400 samples the spread is known to 3.5 %; four times that fails one run in 15 000.
    rng = np.random.default_rng(2)
    values = {"response": [], "resolution": [], "robust": []}
    errors = {name: [] for name in values}
    for _ in range(400):
        # Skew: the error of a ratio of moments that move together.
        found = response_in_bins(np.full(500, 5.0), rng.gamma(20, 1 / 20, 500), [1, 10])
        for name, numbers in values.items():
            one = getattr(found, name)[0]
            numbers.append(one.value)
            errors[name].append(one.error)
    assert np.std(values["response"]) == pytest.approx(np.mean(errors["response"]), rel=0.14)
    assert np.std(values["resolution"]) == pytest.approx(np.mean(errors["resolution"]), rel=0.14)
    assert np.std(values["robust"]) == pytest.approx(np.mean(errors["robust"]), rel=0.14)


def test_weights_count_like_copies():
    energy, response = toys(300, 3)
    twice = response_in_bins(np.tile(energy, 2), np.tile(response, 2), [1, 100])
    weighted = response_in_bins(energy, response, [1, 100], weights=np.full(300, 2.0))
    assert weighted.response[0].value == pytest.approx(twice.response[0].value)
    assert weighted.resolution[0].value == pytest.approx(twice.resolution[0].value, rel=2e-3)
    # But they are no more showers.
    assert weighted.response[0].error == pytest.approx(twice.response[0].error * 2**0.5, rel=1e-2)


def test_the_fit_is_that_of_scipy():
    energy, response = toys(40_000, 4)
    found = response_in_bins(energy, response, np.geomspace(1, 100, 16))
    values = np.array([one.value for one in found.resolution])
    errors = np.array([one.error for one in found.resolution])
    fit = resolution_fit(found.energy, values, errors)
    expected, covariance = curve_fit(
        true, found.energy, values, p0=(0.1, 0.1, 0.02), sigma=errors, absolute_sigma=True
    )
    terms = (fit.stochastic, fit.noise, fit.constant)
    # Squares are fitted here, roots there: the same to second order in the errors.
    for term, value, error in zip(terms, np.abs(expected), np.diag(covariance) ** 0.5, strict=True):
        assert term.value == pytest.approx(value, abs=0.2 * error)
        assert term.error == pytest.approx(error, rel=0.1)
    assert fit.dof == 12
    np.testing.assert_allclose(fit(found.energy), values, atol=5 * errors.max())


def test_wide_bins_do_not_change_the_stochastic_term():
    rng = np.random.default_rng(6)
    energy = np.exp(rng.uniform(0, np.log(100), 400_000))
    found = response_in_bins(energy, rng.normal(1, true(energy, b=0.0)))
    assert len(found.energy) == 4
    values, errors = ([getattr(r, name) for r in found.resolution] for name in ("value", "error"))
    fit = resolution_fit(found.energy, values, errors)
    # At the means of the energies it would be 5 % larger.
    assert fit.stochastic.value == pytest.approx(TERMS[0], rel=0.02)


def test_terms_that_would_be_negative_are_zero():
    energy = np.array([1.0, 4.0, 16.0, 64.0])
    fit = resolution_fit(energy, 0.1 / np.sqrt(energy), np.full(4, 1e-3))
    assert isinstance(fit, ResolutionFit)
    assert fit.stochastic.value == pytest.approx(0.1, abs=1e-6)
    falls = resolution_fit(energy, 0.1 / np.sqrt(energy) * (1 - 1e-4 * energy), np.full(4, 1e-3))
    assert falls.constant.value == 0
    assert falls.constant.error > 0
    assert "sqrt(E)" in str(falls)
    assert falls.to_dict()["constant"]["value"] == 0


def test_bins_with_few_showers_tell_nothing():
    found = response_in_bins(np.full(5, 2.0), np.ones(5), [1, 3, 4])
    assert np.isnan(found.response[0].value)
    assert np.isnan(found.energy[1])
    assert EnergyBins.from_dict(found.to_dict()).showers.tolist() == [5, 0]


def test_the_last_bin_has_both_its_edges():
    found = response_in_bins(np.repeat([1.0, 10.0, 100.0], 20), np.ones(60), [1, 10, 100])
    assert found.showers.tolist() == [20, 40]


def test_empty_showers_have_no_relative_width():
    response = np.concatenate([np.zeros(30), np.linspace(0.5, 1, 20)])
    found = response_in_bins(np.full(50, 2.0), response, [1, 3])
    assert np.isnan(found.robust[0].value)
    assert found.resolution[0].value > 1


def test_few_energies_are_bins_of_their_own():
    edges = energy_edges(np.repeat([1.0, 10.0, 50.0], 20))
    assert np.histogram([1, 10, 50], edges)[0].tolist() == [1, 1, 1]
    spread = np.geomspace(1, 100, 500)
    edges = energy_edges(spread, 4)
    np.testing.assert_allclose(edges, [1, 10**0.5, 10, 10**1.5, 100])
    assert np.histogram(spread, edges)[0].sum() == 500


def test_nonsense_is_refused():
    with pytest.raises(ValueError, match="edges of energies should rise"):
        response_in_bins([1.0], [1.0], [2, 1])
    with pytest.raises(ValueError, match="should be finite"):
        response_in_bins([1.0], [np.nan], [1, 2])
    with pytest.raises(ValueError, match="have shapes"):
        response_in_bins([1.0, 2.0], [1.0], [1, 2])
    with pytest.raises(ValueError, match="2 bins with a resolution"):
        resolution_fit([1.0, 2.0], [0.1, 0.1], [0.01, 0.01])
    with pytest.raises(ValueError, match="above 0"):
        energy_edges([0.0])
    assert str(Estimate(0.1, 0.01)) == "0.100 ± 0.010"
