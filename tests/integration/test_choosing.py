"""The default strategy: VEGAS first, others where they pay, the better by held-out draws."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import hepgen
from hepgen.integration import INTEGRANDS, Auto, Budget, Domain, OneSampler
from hepgen.integration.choosing import SAMPLERS, relative_variance, strategy_for
from hepgen.integration.strategy import LESSONS
from hepgen.integration.uniform import Uniform


class Dear(Auto):
    """As if each call took an hour; with trainings that a test can afford."""

    TRIAL, TRIALS = {"mixture": 0.05, "flow": 0.1}, {"mixture": 2, "flow": 1}

    def _saved_seconds(self, budget: Budget) -> float:
        return 1e12


def test_a_function_that_vegas_knows_gets_nothing_else() -> None:
    easy = INTEGRANDS["gauss4"]
    result = hepgen.integrate(easy, easy.bounds, calls=20_000, seed=1)
    assert {batch.sampler for batch in result.batches} == {"vegas"}
    assert "nothing to gain" in result.choice


def test_correlations_get_a_mixture_which_is_better() -> None:
    camel = INTEGRANDS["camel9"]
    result = hepgen.integrate(camel, camel.bounds, calls=40_000, seed=1)
    alone = hepgen.integrate(camel, camel.bounds, calls=40_000, seed=1, sampler="vegas")
    assert result.sampler_name == "mixture"
    assert "vegas" in result.choice
    assert "mixture" in result.choice
    # VEGAS has ten times the error.
    assert result.error < 0.3 * alone.error
    assert result.integral == pytest.approx(camel.exact, abs=5 * result.error)


def test_two_dimensions_of_a_cheap_function_stay_with_vegas() -> None:
    circles = INTEGRANDS["circles2"]
    result = hepgen.integrate(circles, circles.bounds, calls=20_000, seed=1)
    assert result.sampler_name == "vegas"


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hepgen.integration.IntegrationWarning")
def test_an_expensive_function_gets_a_flow_tried_and_the_best_is_taken() -> None:
    circles = INTEGRANDS["circles2"]
    result = hepgen.integrate(circles, circles.bounds, calls=20_000, sampler=Dear(2), seed=1)
    tried = {batch.sampler for batch in result.batches}
    assert tried == {"vegas", "mixture", "flow"}
    scores = dict(part.split() for part in result.choice.split(": ")[1].split(", "))
    assert result.sampler_name == min(scores, key=lambda name: float(scores[name]))
    assert result.integral == pytest.approx(circles.exact, abs=5 * result.error)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore::hepgen.integration.IntegrationWarning")
@pytest.mark.parametrize(
    ("name", "after"),
    [("ridge4", 2400), ("ridge4", 2900), ("ridge4", 9000), ("circles2", 4500)],
    ids=["first trial", "second trial", "final", "after a flow"],
)
def test_a_run_with_a_mixture_and_a_flow_goes_on_bit_for_bit(
    name: str, after: int, tmp_path: Path
) -> None:
    integrand = INTEGRANDS[name]
    options = {"calls": 10_000, "seed": 3}

    def fresh() -> Dear:
        return Dear(integrand.dimension)

    whole = hepgen.integrate(integrand, integrand.bounds, sampler=fresh(), **options)
    seen = 0

    def stopping(x: np.ndarray) -> np.ndarray:
        nonlocal seen
        seen += len(x)
        if seen > after:
            raise KeyboardInterrupt
        return np.asarray(integrand(x))

    path = tmp_path / "state"
    with pytest.raises(KeyboardInterrupt):
        hepgen.integrate(stopping, integrand.bounds, sampler=fresh(), state=path, **options)
    resumed = hepgen.integrate(integrand, integrand.bounds, sampler=fresh(), state=path, **options)
    assert resumed.choice == whole.choice
    assert resumed.integral == whole.integral
    assert resumed.error == whole.error


def test_scores_do_not_depend_on_scale() -> None:
    draw = Uniform(2).draw(500, np.random.default_rng(0))
    sizes = draw.x[:, 0]
    assert relative_variance(draw, sizes) == pytest.approx(1 / 3, rel=0.2)
    assert relative_variance(draw, 1e-200 * sizes) == pytest.approx(relative_variance(draw, sizes))
    assert relative_variance(draw, 0 * sizes) == np.inf


def test_each_name_is_a_strategy() -> None:
    for name in SAMPLERS:
        assert strategy_for(name, Domain([(0, 1)] * 2), 0).final in (name, "vegas")


def test_shares_of_the_calls_stay_below_the_whole() -> None:
    most = sum(LESSONS) + sum(Auto.TRIAL[name] * Auto.TRIALS[name] for name in Auto.TRIALS)
    assert most < 0.9
    assert OneSampler("uniform", Uniform(1), lessons=()).next(Budget(1000)).final
