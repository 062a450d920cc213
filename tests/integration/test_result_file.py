"""Finished integrals on disk: everything comes back, nothing is run."""

from __future__ import annotations

import math
from pathlib import Path

import hist
import numpy as np
import pytest

import hepgen
from hepgen.integration import (
    Discrete,
    Integral,
    SavedStateError,
    Uniform,
    load_integral,
    save_integral,
)


def bump(x: np.ndarray) -> np.ndarray:
    return np.exp(-(x[:, 0] ** 2) - np.abs(x[:, 1])) * (1 + x[:, 2])


BOUNDS = [(-math.inf, math.inf), (-3, math.inf), Discrete([0, 2])]


@pytest.fixture(scope="module", params=["vegas", "mixture", "uniform"])
def result(request: pytest.FixtureRequest) -> Integral:
    axes = [hist.axis.Regular(5, -2, 2, name="x0")]
    return hepgen.integrate(
        bump,
        BOUNDS,
        calls=4000,
        sampler=request.param,
        axes=axes,
        observables=lambda x: {"n": x[:, 2]},
        seed=2,
    )


def test_an_integral_comes_back_whole(result: Integral, tmp_path: Path) -> None:
    save_integral(result, tmp_path / "i")
    again = load_integral(tmp_path / "i")
    assert again.integral == result.integral
    assert again.error == result.error
    assert again.chi2 == result.chi2
    assert (again.x == result.x).all()
    assert (again.weights == result.weights).all()
    assert (again.observables["n"] == result.observables["n"]).all()
    assert again.domain.bounds[:2] == result.domain.bounds[:2]
    one, two = result.histograms["x0"], again.histograms["x0"]
    assert (one.view(flow=True) == two.view(flow=True)).all()
    assert two.axes[0].name == "x0"
    assert str(again) == str(result)


def test_its_sampler_goes_on_drawing(result: Integral, tmp_path: Path) -> None:
    save_integral(result, tmp_path / "i")
    x = np.random.default_rng(0).random((50, 3))
    again = load_integral(tmp_path / "i", integrand=bump)
    assert again.sampler.density(x) == pytest.approx(result.sampler.density(x), rel=1e-9)
    few = len(again.unweight())
    assert len(again.unweight(2 * few + 100)) == 2 * few + 100
    with pytest.raises(ValueError, match=r"load_integral\(path, integrand=...\)"):
        load_integral(tmp_path / "i").unweight(2 * few + 100)


def test_files_that_are_something_else_are_told(tmp_path: Path) -> None:
    path = tmp_path / "i"
    with pytest.raises(FileNotFoundError, match="no file"):
        load_integral(path)
    path.write_bytes(b"junk")
    with pytest.raises(SavedStateError, match="holds no saved integration"):
        load_integral(path)
    path.unlink()
    hepgen.integrate(bump, BOUNDS, calls=1000, state=path, sampler="vegas")
    with pytest.raises(SavedStateError, match="state of a run"):
        load_integral(path)

    class Mine(Uniform):
        pass

    own = hepgen.integrate(bump, BOUNDS, calls=20_000, sampler=Mine(3))
    with pytest.raises(SavedStateError, match="Mine is no sampler of hepgen"):
        save_integral(own, path)
