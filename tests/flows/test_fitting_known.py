"""Densities that are known, fitted and distilled: what is missing in nats, in small size.

benchmarks/densities.py does the same at length.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from benchmarks.densities import Checkerboard, Mixture
from hepgen.flows import ContinuousFlow, NeuralSplineFlow, TabularDensity, distil, fit

QUICK = {"progress": False, "accelerator": "cpu", "ema": 0.99, "lr": 5e-3}


def missing(truth: Checkerboard | Mixture, density: TabularDensity) -> tuple[float, float]:
    """Divergence from truth to density, and its error."""
    x = truth.draw(2000, 2)
    each = truth.log_prob(x) - density.log_prob(x)
    return float(each.mean()), float(each.std() / math.sqrt(len(x)))


def gaussian(truth: Checkerboard | Mixture) -> float:
    """Divergence of the best Gaussian of the same draws, in closed form."""
    train, x = truth.draw(8000, 1), truth.draw(2000, 2)
    mean, factor = train.mean(0), np.linalg.cholesky(np.cov(train.T))
    z = np.linalg.solve(factor, (x - mean).T)
    logs = -0.5 * (z**2).sum(0) - np.log(np.diag(factor)).sum()
    return float((truth.log_prob(x) - logs).mean() + len(mean) / 2 * math.log(2 * math.pi))


@pytest.mark.slow
def test_splines_find_the_squares_of_a_checkerboard() -> None:
    truth = Checkerboard()
    torch.manual_seed(0)
    flow = NeuralSplineFlow(2, domain="real", num_transforms=6)
    density = TabularDensity(flow, truth.columns)
    fit(density, truth.draw(8000, 1), epochs=15, batch_size=256, **QUICK)
    value, error = missing(truth, density)
    # A flat density lacks log 2 = 0.69, the best Gaussian 1.03.
    assert gaussian(truth) > math.log(2)
    assert 0 < value < 0.3
    assert error < 0.05


@pytest.mark.slow
def test_matched_flows_find_a_mixture_and_teach_it_to_splines() -> None:
    truth = Mixture()
    torch.manual_seed(0)
    teacher = TabularDensity(
        ContinuousFlow(8, hidden=128, layers=3, solver="rk4", steps=10), truth.columns
    )
    fit(teacher, truth.draw(8000, 1), epochs=20, batch_size=256, **QUICK)
    value, error = missing(truth, teacher)
    assert -4 * error < value < gaussian(truth) / 5
    student = NeuralSplineFlow(8, domain="real", num_transforms=6)
    found = distil(
        teacher.flow, student, samples=6000, held_out=2000, epochs=10, batch_size=256, **QUICK
    )
    assert found.before.value > 3 * found.after.value
    pupil, _ = missing(truth, TabularDensity(student, teacher.columns))
    assert pupil < gaussian(truth) / 2
