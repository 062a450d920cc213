"""How many real showers a sample is worth: known numbers are recovered."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepgen.metrics import generative

MIXING = np.random.default_rng(0).normal(size=(6, 6)) / 2 + np.eye(6)


def real(rng, rows):
    return rng.normal(size=(rows, 6)) @ MIXING


@pytest.mark.slow
@pytest.mark.parametrize("events", [150, 600])
def test_resampled_real_events_are_worth_as_many_as_they_are(events):
    """40 experiments; the mean of 1/N is known to a sixth of one error; 4 sigma."""
    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(40):
        few = real(rng, events)
        found = generative.equivalent_events(
            real(rng, 2000), few[rng.integers(0, events, 5000)], splits=20, resamples=10
        )
        truth = 1 / events + 1 / 5000
        inverse = 1 / found.events.value
        pulls.append((inverse - truth) / (found.events.error * inverse**2))
        assert found.limit.value > found.events.value
        assert found.events.floor == 5000
    # The error is in proportion to the number found, which moves the mean of pulls by up to 0.25.
    assert abs(np.mean(pulls)) < 4 / math.sqrt(40) + 0.25
    assert abs(np.std(pulls) - 1) < 4 / math.sqrt(80) + 0.25


def test_a_real_sample_is_worth_its_size_and_a_shifted_one_little():
    rng = np.random.default_rng(2)
    reference, good = real(rng, 3000), real(rng, 3000)
    found = generative.equivalent_events(reference, good, resamples=20)
    assert isinstance(found, generative.EquivalentEvents)
    # Distances of real samples spread by 15 %, so 1/N + 1/3000 by 30 % of 2/3000: below 1000 is 3.3
    # sigma away, and no number above is.
    assert (found.events.lower_limit or found.events.value) > 1000
    assert found.events.floor == 3000
    assert found.distance.value == pytest.approx(found.distance.floor, rel=0.5)
    assert 0.5 < found.scale < 1.2
    shifted = generative.equivalent_events(reference, good + 0.2, resamples=20)
    assert shifted.events.value < 500
    assert shifted.amplification(1000).value == pytest.approx(shifted.limit.value / 1000)


def test_a_sample_nearer_than_real_ones_has_a_lower_limit():
    rng = np.random.default_rng(3)
    reference = real(rng, 1000)
    found = generative.equivalent_events(reference, np.repeat(reference, 20, axis=0), resamples=5)
    assert math.isinf(found.events.value)
    assert found.events.lower_limit > 1000
    assert math.isinf(found.limit.value)
    assert found.amplification(100).lower_limit == pytest.approx(found.limit.lower_limit / 100)


def test_other_distances_and_powers_give_the_same_number():
    rng = np.random.default_rng(4)
    few = real(rng, 200)
    reference, generated = real(rng, 3000), few[rng.integers(0, 200, 4000)]

    def frechet(first, second):
        return generative.frechet_gaussian_distance(first, second, splits=0, scale=None).value

    def transport(first, second):
        return float(
            np.mean(
                [one.value for one in generative.wasserstein(first, second, resamples=0, splits=0)]
            )
        )

    for distance, power in ((frechet, 1.0), (transport, 0.5)):
        found = generative.equivalent_events(
            reference, generated, distance=distance, power=power, splits=10, resamples=5
        )
        # The three numbers are of one sample of 200: 4 sigma of its spread.
        assert 1 / found.events.value == pytest.approx(
            1 / 190, abs=4 * found.events.error / found.events.value**2
        )


def test_weights_that_repeat_rows_change_nothing():
    rng = np.random.default_rng(5)
    reference, generated = real(rng, 1000), real(rng, 500)
    counts = rng.integers(1, 4, 500)
    weighted = generative.equivalent_events(reference, generated, weights=counts, resamples=5)
    repeated = generative.equivalent_events(
        reference, np.repeat(generated, counts, axis=0), resamples=5
    )
    assert weighted.events.value == pytest.approx(repeated.events.value, rel=1e-9)


def test_a_wrong_power_is_noticed():
    rng = np.random.default_rng(6)
    x, y = real(rng, 1000), real(rng, 1000)
    with pytest.warns(UserWarning, match="does not fall with the power 1 "):
        generative.equivalent_events(x, y, power=1.0, splits=20, resamples=5)


@pytest.mark.parametrize(
    ("keywords", "message"),
    [
        ({"distance": lambda a, b: 1.0, "weights": np.ones(20)}, "the standard distance only"),
        ({"distance": lambda a, b: 0.0}, "positive between real samples is wanted; got 0"),
        ({"power": 0.0}, "a positive power"),
        ({"splits": 1}, "at least two splits"),
        ({"reference": np.zeros((5, 2))}, "at least 16 rows are needed; got 5"),
    ],
)
def test_bad_input_is_named(keywords, message):
    x = np.random.default_rng(7).normal(size=(2, 20, 2))
    with pytest.raises(ValueError, match=message):
        generative.equivalent_events(**({"reference": x[0], "generated": x[1]} | keywords))


def test_amplification_needs_training_events():
    rng = np.random.default_rng(8)
    found = generative.equivalent_events(real(rng, 300), real(rng, 300) + 0.3, resamples=5)
    with pytest.raises(ValueError, match="a number of training events is wanted; got 0"):
        found.amplification(0)
