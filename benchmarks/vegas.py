"""hepgen's VEGAS beside the vegas package on the fixed list of integrands, in one run.

Equal numbers of calls, learning counted in, one thread each. vegas adapts in two ways: "adapting"
does ten iterations and averages the last five; "frozen" warms up in five and leaves the map alone
in the last five. The better of the two for each integrand is what hepgen is compared with. hepgen
learns from 25 % of the calls (3, 7 and 15 % up to three dimensions, 2, 3, 4, 6 and 10 % above) and
draws the rest at once, with strata, with Sobol nets, or with what it chooses.

``python -m benchmarks.vegas --seeds 20 --calls 200000`` prints a table and writes
``benchmarks/results/vegas.csv``: rms of the true relative error, rms of the reported one, rms of
the pulls, the least processor time of a run, and how often strata were chosen.
"""

from __future__ import annotations

import argparse
import csv
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import vegas

from hepgen.integration import INTEGRANDS, Integrand, Vegas

RESULTS = Path(__file__).parent / "results" / "vegas.csv"
LISTED = [
    *("gauss2", "gauss4", "gauss8", "gauss16"),
    *("camel2", "camel4", "camel8", "camel9", "camel16", "ridge4", "ridge8"),
    *("circles2", "annulus2", "box3", "triangle2"),
    *("polynomial18", "polynomial54", "polynomial96", "three_jets2", "three_gluons5"),
]

# Integral, its error, whether strata were used in the end.
Found = tuple[float, float, bool]


def with_vegas(integrand: Integrand, calls: int, seed: int, adapting: bool) -> Found:
    rng = np.random.default_rng(seed)
    function = vegas.lbatchintegrand(integrand.function)
    made = vegas.Integrator(
        [list(bound) for bound in integrand.bounds], ran_array_generator=rng.random
    )
    each = calls // 10
    made(function, nitn=5, neval=each)
    found = made(function, nitn=5, neval=each, **({} if adapting else {"adapt": False}))
    return found.mean, found.sdev, True


def with_hepgen(integrand: Integrand, calls: int, seed: int, points: str) -> Found:
    rng = np.random.default_rng(seed)
    sampler = Vegas(integrand.dimension, points=points)
    for share in sampler.learning:
        draw = sampler.draw(int(share * calls), rng)
        sampler.adapt(draw, np.abs(integrand.function(draw.x)))
    draw = sampler.draw(calls - sum(int(share * calls) for share in sampler.learning), rng)
    integral, covariance = draw.estimate(integrand.function(draw.x)[:, None])
    return float(integral[0]), math.sqrt(covariance[0, 0]), sampler.chosen == "strata"


METHODS: dict[str, Callable[[Integrand, int, int], Found]] = {
    "vegas adapting": lambda f, calls, seed: with_vegas(f, calls, seed, True),
    "vegas frozen": lambda f, calls, seed: with_vegas(f, calls, seed, False),
    "strata": lambda f, calls, seed: with_hepgen(f, calls, seed, "strata"),
    "sobol": lambda f, calls, seed: with_hepgen(f, calls, seed, "sobol"),
    "auto": lambda f, calls, seed: with_hepgen(f, calls, seed, "auto"),
}


def compare(integrand: Integrand, calls: int, seeds: int) -> dict[str, dict[str, float]]:
    """One row of numbers a method."""
    runs: dict[str, list[tuple[float, float, bool, float]]] = {name: [] for name in METHODS}
    for method in METHODS.values():
        method(integrand, calls, seeds)
    for seed in range(seeds):
        for name, method in METHODS.items():
            start = time.thread_time()
            found = method(integrand, calls, seed)
            runs[name].append((*found, time.thread_time() - start))
    rows = {}
    for name, found in runs.items():
        integral, error, strata, seconds = np.array(found, np.float64).T
        off = integral - integrand.exact
        pulls = off / np.hypot(error, integrand.error)
        rows[name] = {
            "true": float(np.sqrt(np.mean(off**2)) / abs(integrand.exact)),
            "reported": float(np.sqrt(np.mean(error**2)) / abs(integrand.exact)),
            "pull": float(np.sqrt(np.mean(pulls**2))),
            "strata": float(strata.mean()),
            "milliseconds": 1e3 * float(seconds.min()),
        }
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description="hepgen's VEGAS beside the vegas package")
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("integrands", nargs="*", default=LISTED)
    chosen = parser.parse_args()
    lines = []
    for name in chosen.integrands:
        rows = compare(INTEGRANDS[name], chosen.calls, chosen.seeds)
        peer = min(("vegas adapting", "vegas frozen"), key=lambda method: rows[method]["true"])
        for method, row in rows.items():
            ratios = {
                "error ratio": rows[peer]["true"] / max(row["true"], 1e-300),
                "time ratio": row["milliseconds"] / rows[peer]["milliseconds"],
            }
            line = {"integrand": name, "method": method, "calls": chosen.calls}
            lines.append(line | {"seeds": chosen.seeds} | row | ratios)
            print(
                f"{name:14} {method:15} true {row['true']:.2e} reported {row['reported']:.2e} "
                f"pull {row['pull']:5.2f} {row['milliseconds']:6.1f} ms, vegas/this "
                f"{ratios['error ratio']:8.2f}, time {ratios['time ratio']:.2f}, "
                f"strata {row['strata']:.2f}",
                flush=True,
            )
    if chosen.integrands == LISTED:
        with RESULTS.open("w", newline="") as file:
            writer = csv.DictWriter(file, lines[0].keys())
            writer.writeheader()
            for line in lines:
                shown = {k: f"{v:.4g}" if isinstance(v, float) else v for k, v in line.items()}
                writer.writerow(shown)


if __name__ == "__main__":
    main()
