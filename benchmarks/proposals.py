"""Proposals that learn correlations beside the vegas package, at equal calls, training included.

``python -m benchmarks.proposals --seeds 20 --csv benchmarks/results/proposals.csv``. vegas 6.4.1
with its defaults spends half of its calls on adapting and combines five more iterations, as in its
manual. A proposal of hepgen learns from a quarter of the calls (flows: from two fifths), then is
frozen. Errors are compared with the exact integral: rms over seeds of the relative deviation,
median of the relative error told, rms of the pull. The unweighting efficiency is the mean weight
over the maximum, of 1e5 further points of each frozen proposal; the maximum is the median of those
of bootstrap samples (E. Bothmann et al., arXiv:2001.10028), or leaves a thousandth of the sum
above. Seconds are processor time of one thread with the integrand.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from hepgen.integration import INTEGRANDS, FlowSampler, Integrand, Mixture, Sampler
from hepgen.metrics import unweighting_efficiency

Array = NDArray[np.float64]
POINTS = 100_000


@dataclass
class Run:
    """One integration: relative deviation and error, pull, efficiencies, calls, seconds."""

    integrand: str
    method: str
    seed: int
    deviation: float
    error: float
    pull: float
    efficiency: float
    efficiency_thousandth: float
    calls: int
    seconds: float


def bootstrap_efficiency(weights: Array, seed: int) -> float:
    """Mean weight over the median of the maxima of bootstrap samples."""
    ordered, size = np.sort(np.abs(weights)), len(weights)
    # The largest of so many picks at random, by its distribution.
    picks = np.random.default_rng(seed).random(200) ** (1 / size) * size
    return float(ordered.mean() / np.median(ordered[np.minimum(picks.astype(int), size - 1)]))


def by_vegas(integrand: Integrand, calls: int, seed: int) -> Run:
    import vegas

    rng = np.random.default_rng(seed)
    start = time.process_time()
    bounds = [[0, 1]] * integrand.dimension
    integrator = vegas.Integrator(bounds, ran_array_generator=rng.random)
    function = vegas.lbatchintegrand(lambda x: integrand(np.ascontiguousarray(x)))
    integrator(function, nitn=5, neval=calls // 10)
    result = integrator(function, nitn=5, neval=calls // 10)
    seconds = time.process_time() - start
    weights: list[Array] = []
    while len(weights) * calls // 10 < 1.3 * POINTS:
        batch = [(np.array(x), np.array(w)) for x, w in integrator.random_batch()]
        weights.append(np.concatenate([w * integrand(x) for x, w in batch]))
    found = rng.permutation(np.concatenate(weights))[:POINTS]
    return told(integrand, "vegas", seed, result.mean, result.sdev, found, calls, seconds)


def by_sampler(
    name: str, sampler: Sampler, share: float, rounds: int
) -> Callable[[Integrand, int, int], Run]:
    def run(integrand: Integrand, calls: int, seed: int) -> Run:
        rng = np.random.default_rng(seed)
        start = time.process_time()
        spent = 0
        for _ in range(rounds):
            draw = sampler.draw(int(share * calls / rounds), rng)
            sampler.adapt(draw, integrand(draw.x))
            spent += len(draw)
        draw = sampler.draw(calls - spent, rng)
        values = integrand(draw.x)
        integrals, covariance = draw.estimate(values[:, None])
        seconds = time.process_time() - start
        more = sampler.draw(int(1.1 * POINTS), rng)
        # In random order, as strata come one after the other.
        weights = rng.permutation(integrand(more.x) * more.measure * len(more))[:POINTS]
        error = math.sqrt(covariance[0, 0])
        spent += len(draw)
        return told(integrand, name, seed, integrals[0], error, weights, spent, seconds)

    return run


def told(
    integrand: Integrand,
    method: str,
    seed: int,
    mean: float,
    error: float,
    weights: Array,
    calls: int,
    seconds: float,
) -> Run:
    deviation = mean / integrand.exact - 1
    return Run(
        integrand.name,
        method,
        seed,
        float(deviation),
        float(error / integrand.exact),
        float((mean - integrand.exact) / error),
        bootstrap_efficiency(weights, seed),
        unweighting_efficiency(weights, 1e-3),
        calls,
        seconds,
    )


def method(name: str, dimension: int, seed: int) -> Callable[[Integrand, int, int], Run]:
    if name == "vegas":
        return by_vegas
    if name == "mixture":
        return by_sampler(name, Mixture(dimension, seed=seed), 0.25, 5)
    if name == "flow":
        return by_sampler(name, FlowSampler(dimension, seed=seed), 0.4, 4)
    raise ValueError(f"no method {name!r}; there are vegas, mixture, flow")


def table(runs: Sequence[Run]) -> list[dict[str, object]]:
    rows: list[dict[str, object]] = []
    for name in dict.fromkeys(run.integrand for run in runs):
        for chosen in dict.fromkeys(run.method for run in runs if run.integrand == name):
            group = [run for run in runs if (run.integrand, run.method) == (name, chosen)]
            rms = math.sqrt(np.mean([run.deviation**2 for run in group]))
            row: dict[str, object] = {
                "integrand": name,
                "method": chosen,
                "seeds": len(group),
                "rms deviation": rms,
                "median error": float(np.median([run.error for run in group])),
                "pull rms": math.sqrt(np.mean([run.pull**2 for run in group])),
            }
            for figure in ("efficiency", "efficiency_thousandth", "calls", "seconds"):
                row[figure] = float(np.median([getattr(run, figure) for run in group]))
            rows.append(row)
        peers = {str(row["method"]): row for row in rows if row["integrand"] == name}
        for row in peers.values():
            for figure in ("rms deviation", "median error"):
                ratio = float(peers["vegas"][figure]) / float(row[figure])  # type: ignore[arg-type]
                row[f"vegas / this: {figure}"] = ratio
            for figure in ("efficiency", "efficiency_thousandth"):
                ratio = float(row[figure]) / float(peers["vegas"][figure])  # type: ignore[arg-type]
                row[f"this / vegas: {figure}"] = ratio
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--integrands", nargs="+", default=["camel9"])
    parser.add_argument("--methods", nargs="+", default=["vegas", "mixture"])
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--csv", type=Path, help="summary, rewritten; all runs go beside it")
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    runs: list[Run] = []
    for name in chosen.integrands:
        integrand = INTEGRANDS[name]
        for seed in range(chosen.seeds):
            for way in chosen.methods:
                run = method(way, integrand.dimension, seed)(integrand, chosen.calls, seed)
                runs.append(run)
        rows = table(runs)
        for row in rows:
            if row["integrand"] == name:
                shown = (f"{k} {v:.3g}" if isinstance(v, float) else str(v) for k, v in row.items())
                print("  ".join(shown), flush=True)
        if chosen.csv is not None:
            write(chosen.csv, rows)
            write(chosen.csv.with_stem(f"{chosen.csv.stem}_runs"), [asdict(run) for run in runs])


def write(path: Path, rows: Sequence[dict[str, object]]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0].keys(), lineterminator="\n")
        writer.writeheader()
        writer.writerows(
            {k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()} for row in rows
        )


if __name__ == "__main__":
    main()
