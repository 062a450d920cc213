"""Copies of training showers are found, and nothing is where there are none."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.stats

from hepgen.metrics import generative


def law(rng, rows):
    return rng.normal(size=(rows, 4)) * np.exp(rng.normal(size=(rows, 1)))


def test_an_honest_generator_is_not_accused():
    rng = np.random.default_rng(1)
    found = generative.memorisation(law(rng, 1500), law(rng, 1000), law(rng, 1200))
    assert isinstance(found, generative.Memorisation)
    # 4 sigma: 1 in 16 000 seeds each.
    assert abs(found.z) < 4
    assert abs(found.closer.value - 0.5) < 4 * found.closer.error
    assert found.closer.floor == 0.5
    assert found.suspects_p_value > 1e-4
    assert not len(found.copies)
    assert abs(found.authenticity.value - found.authenticity.floor) < 6 * found.authenticity.error


def test_the_rank_test_is_that_of_scipy():
    rng = np.random.default_rng(2)
    training, held_out, generated = law(rng, 300), law(rng, 200), law(rng, 250)
    generated[:100] = training[:100] + 0.3 * rng.normal(size=(100, 4))
    found = generative.memorisation(training, held_out, generated, scale=None)
    near = found.nearness
    real = generative.memorisation(training, generated, held_out, scale=None).nearness
    wanted = scipy.stats.mannwhitneyu(
        near, real, alternative="less", use_continuity=False, method="asymptotic"
    )
    assert found.p_value == pytest.approx(wanted.pvalue, rel=1e-9)
    assert 1 - wanted.statistic / (250 * 200) == pytest.approx(found.closer.value, rel=1e-12)


def test_a_generator_that_blurs_its_training_showers_is_found():
    rng = np.random.default_rng(3)
    training = law(rng, 1000)
    blurred = training[rng.integers(0, 1000, 800)] + 0.1 * rng.normal(size=(800, 4))
    found = generative.memorisation(training, law(rng, 800), blurred)
    assert found.p_value < 1e-10
    assert found.closer.value > 0.6
    assert found.authenticity.value < found.authenticity.floor - 5 * found.authenticity.error


def test_a_few_copies_among_thousands_are_named():
    rng = np.random.default_rng(4)
    training, generated = law(rng, 2000), law(rng, 2000)
    copied = [5, 17, 100, 1500, 1999]
    generated[copied] = training[:5]
    found = generative.memorisation(training, law(rng, 2000), generated)
    assert found.copies.tolist() == copied
    assert set(copied) <= set(found.suspects.tolist())
    many = generated.copy()
    many[:20] = training[:20] * (1 + 1e-5)
    found = generative.memorisation(training, law(rng, 2000), many)
    assert found.suspects_p_value < 1e-4
    assert set(range(20)) <= set(found.suspects.tolist())


def test_the_chance_of_suspects_is_that_of_drawing():
    rng = np.random.default_rng(5)
    training, held_out, generated = law(rng, 50), law(rng, 6), law(rng, 8)
    held_out += 1e3
    generated[:] = training[:8] + 1e-3
    found = generative.memorisation(training, held_out, generated, scale=None)
    # All eight first: one order of the two kinds in C(14, 8).
    assert len(found.suspects) == 8
    assert found.suspects_p_value == pytest.approx(1 / 3003)


@pytest.mark.slow
def test_p_values_are_uniform_without_copies():
    """200 experiments; a p-value below 1e-4 of the uniform law fails once in 10 000."""
    rng = np.random.default_rng(6)
    found = [
        generative.memorisation(law(rng, 150), law(rng, 100), law(rng, 120)).p_value
        for _ in range(200)
    ]
    # The training sample is common to both sides, which is part of the test's null.
    assert scipy.stats.kstest(found, "uniform").pvalue > 1e-4


def test_twice_the_same_training_shower_does_no_harm():
    rng = np.random.default_rng(7)
    training = np.repeat(law(rng, 100), 2, axis=0)
    found = generative.memorisation(training, law(rng, 50), np.r_[training[:1], law(rng, 49)])
    assert found.copies.tolist() == [0]
    assert np.isfinite(found.z)


def test_bad_input_is_named():
    x = np.zeros((5, 2))
    with pytest.raises(ValueError, match="other has 3"):
        generative.memorisation(x, np.zeros((5, 3)), x)
    with pytest.raises(ValueError, match="at least 3 rows"):
        generative.memorisation(x, x, x[:2])
