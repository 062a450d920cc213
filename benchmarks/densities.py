"""How near flows come to densities that are known: a checkerboard, and a mixture in 8 dimensions.

``python -m benchmarks.densities`` trains each flow on draws of each density and prints the mean of
log p - log q over other draws, in nats: the Kullback-Leibler divergence from truth to flow. The
continuous flow is then distilled into the spline flow. Rows are added to results/densities.csv.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hepgen.flows import (
    Column,
    ContinuousFlow,
    Flow,
    MaskedAutoregressiveFlow,
    NeuralSplineFlow,
    RealNVP,
    TabularDensity,
    distil,
    fit,
)

Values = NDArray[np.float64]

FLOWS: dict[str, Callable[[int], Flow]] = {
    "ContinuousFlow": lambda d: ContinuousFlow(d, hidden=256, layers=3, tolerance=1e-5),
    "NeuralSplineFlow": lambda d: NeuralSplineFlow(d, domain="real", num_transforms=8, hidden=64),
    "MaskedAutoregressiveFlow": lambda d: MaskedAutoregressiveFlow(d, num_transforms=5, hidden=64),
    "RealNVP": lambda d: RealNVP(d, num_transforms=12),
}


class Checkerboard:
    """Uniform on every second square of a board of 4 by 4 from -4 to 4; entropy log 32."""

    columns = (
        Column("x0", "bounded", low=-4.0, high=4.0),
        Column("x1", "bounded", low=-4.0, high=4.0),
    )

    def draw(self, number: int, seed: int) -> Values:
        """Points (number, 2)."""
        rng = np.random.default_rng(seed)
        x = rng.uniform(-4, 4, number)
        y = rng.uniform(0, 2, number) + 4 * rng.integers(0, 2, number) - 4
        return np.stack([x, y + 2 * (np.floor(x / 2) % 2)], 1)

    def log_prob(self, x: Values) -> Values:
        """The same everywhere where it is not zero, (B,)."""
        return np.full(len(x), -math.log(32))


class Mixture:
    """Four Gaussians in 8 dimensions, far from each other, each with its own correlations."""

    columns = tuple(Column(f"x{d}") for d in range(8))

    def __init__(self) -> None:
        rng = np.random.default_rng(5)
        self.means = rng.normal(0, 3, (4, 8))
        self.factors = np.tril(rng.normal(0, 0.5, (4, 8, 8)), -1) + np.eye(8)

    def draw(self, number: int, seed: int) -> Values:
        """Points (number, 8)."""
        rng = np.random.default_rng(seed)
        which = rng.integers(0, 4, number)
        z = rng.standard_normal((number, 8))
        x: Values = self.means[which] + np.einsum("nij,nj->ni", self.factors[which], z)
        return x

    def log_prob(self, x: Values) -> Values:
        """Logarithm of the density, (B,)."""
        parts: list[Values] = []
        for mean, factor in zip(self.means, self.factors, strict=True):
            z = np.linalg.solve(factor, (x - mean).T)
            parts.append(-0.5 * (z**2).sum(0) - 4 * math.log(2 * math.pi))
        logs: Values = np.logaddexp.reduce(np.stack(parts), axis=0) - math.log(4)
        return logs


TARGETS: dict[str, Callable[[], Checkerboard | Mixture]] = {
    "Checkerboard": Checkerboard,
    "Mixture": Mixture,
}


def divergence(truth: Checkerboard | Mixture, density: TabularDensity) -> tuple[float, float]:
    """Mean of log p - log q over 5000 draws of the truth, and its error."""
    x = truth.draw(5000, 2)
    missing = truth.log_prob(x) - density.log_prob(x)
    return float(missing.mean()), float(missing.std() / math.sqrt(len(x)))


def main() -> None:
    parser = argparse.ArgumentParser(description="flows beside densities that are known")
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--epochs", type=int, default=50)
    parser.add_argument("--lr", type=float, default=5e-3)
    parser.add_argument("--flows", nargs="*", default=list(FLOWS), choices=FLOWS)
    parser.add_argument("--targets", nargs="*", default=list(TARGETS), choices=TARGETS)
    parser.add_argument("--distil", action="store_true", help="the continuous flow as well")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "results")
    chosen = parser.parse_args()
    chosen.output.mkdir(exist_ok=True)
    training = {"epochs": chosen.epochs, "lr": chosen.lr, "ema": 0.998, "progress": False}

    def keep(target: str, name: str, density: TabularDensity, seconds: float) -> None:
        value, error = divergence(TARGETS[target](), density)
        print(f"{target:14}{name:26} KL {value:7.4f} +- {error:.4f} nats  {seconds:5.0f} s")
        path = chosen.output / "densities.csv"
        new = not path.exists()
        with path.open("a", newline="") as file:
            if new:
                file.write("target,flow,rows,epochs,lr,kl_nats,error,seconds,torch,threads\n")
            row = [target, name, chosen.rows, chosen.epochs, chosen.lr, f"{value:.5f}"]
            row += [f"{error:.5f}", round(seconds), torch.__version__, torch.get_num_threads()]
            csv.writer(file, lineterminator="\n").writerow(row)

    for target in chosen.targets:
        truth = TARGETS[target]()
        for name in chosen.flows:
            torch.manual_seed(0)
            density = TabularDensity(FLOWS[name](len(truth.columns)), truth.columns)
            begun = time.perf_counter()
            fit(density, truth.draw(chosen.rows, 1), **training)
            keep(target, name, density, time.perf_counter() - begun)
            if chosen.distil and name == "ContinuousFlow":
                student = FLOWS["NeuralSplineFlow"](len(truth.columns))
                begun = time.perf_counter()
                found = distil(density.flow, student, samples=chosen.rows, **training)
                print(f"{target:14}{found}")
                pupil = TabularDensity(student, density.columns)
                keep(target, "distilled", pupil, time.perf_counter() - begun)


if __name__ == "__main__":
    main()
