"""Histograms of an integral: add up to it, have its error, and no bias."""

from __future__ import annotations

import hist
import numpy as np
import pytest

from hepgen.integration import Draw
from hepgen.integration.differential import Differential

RNG = np.random.default_rng(11)


def draws() -> dict[str, Draw]:
    x = RNG.random((600, 2))
    strata = np.repeat(np.arange(60), 10)
    units = np.arange(600) % 30
    return {
        "points": Draw(x, np.full(600, 1 / 600)),
        "strata": Draw(x, RNG.random(600) / 600, stratum=strata),
        "units": Draw(x, np.full(600, 1 / 600), unit=units),
        "both": Draw(x, np.full(600, 1 / 600), unit=units, stratum=np.arange(30) // 6),
    }


@pytest.mark.parametrize("kind", ["points", "strata", "units", "both"])
def test_each_bin_is_the_integral_of_the_function_inside_it(kind: str) -> None:
    draw = draws()[kind]
    values = np.exp(draw.x.sum(1))
    axis = hist.axis.Regular(4, 0.2, 0.8, name="a")
    found = Differential([axis])
    found.add(draw, values, {"a": draw.x[:, 0]})
    inside = np.asarray(axis.index(draw.x[:, 0])) + 1
    masked = values[:, None] * (inside[:, None] == np.arange(axis.extent))
    integral, covariance = draw.estimate(masked)
    assert found.values == pytest.approx(integral, rel=1e-12)
    assert found.variances == pytest.approx(np.diag(covariance), rel=1e-9)
    made = found.hist()
    assert made.sum(flow=True).value == pytest.approx(draw.estimate(values[:, None])[0][0])
    assert made[hist.loc(0.3)].value == pytest.approx(integral[1])


def test_batches_are_combined_by_their_calls() -> None:
    whole = Draw(RNG.random((500, 1)), np.full(500, 1 / 500))
    axes = [hist.axis.Regular(3, 0, 1, name="x0"), hist.axis.Integer(0, 2, name="n")]
    observables = {"x0": whole.x[:, 0], "n": np.arange(500) % 3}
    together, apart = Differential(axes), Differential(axes)
    together.add(whole, whole.x[:, 0], observables)
    for part in (slice(0, 100), slice(100, 500)):
        piece = Draw(whole.x[part], np.full(len(whole.x[part]), 1 / len(whole.x[part])))
        apart.add(piece, piece.x[:, 0], {k: v[part] for k, v in observables.items()})
    assert apart.values == pytest.approx(together.values, rel=1e-12)
    assert together.hist().ndim == 2
    assert together.name == "x0_n"


def test_a_bin_that_few_points_reach_has_no_bias() -> None:
    # The mean over 2000 runs of 10 batches, 5 sigma: false alarm 6e-7. Averages weighted by the
    # batches' variances are low by tens of per cent here.
    axis = hist.axis.Regular(50, 0, 1, name="x")
    found = []
    for _ in range(2000):
        run = Differential([axis])
        for _ in range(10):
            x = RNG.random((40, 1))
            run.add(Draw(x, np.full(40, 1 / 40)), np.ones(40), {"x": x[:, 0]})
        found.append(run.values[1])
    assert np.mean(found) == pytest.approx(0.02, abs=5 * np.std(found) / np.sqrt(len(found)))


def test_axes_must_be_named_and_known() -> None:
    with pytest.raises(ValueError, match="has no name"):
        Differential([hist.axis.Regular(2, 0, 1)])
    with pytest.raises(ValueError, match="grows"):
        Differential([hist.axis.Regular(2, 0, 1, name="x", growth=True)])
    draw = Draw(np.zeros((2, 1)), np.ones(2))
    with pytest.raises(KeyError, match="no observable 'pt' for the axis; nearest: p_t"):
        Differential([hist.axis.Regular(2, 0, 1, name="pt")]).add(draw, np.ones(2), {"p_t": draw.x})
