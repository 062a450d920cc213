"""``hepgen.integrate`` beside the vegas package on the fixed list of integrands, in one run.

Equal numbers of calls, learning counted in, one thread each. vegas adapts in two ways, and the
better of the two for each integrand is what hepgen is compared with: "adapting" does ten
iterations and averages the last five; "frozen" warms up in five and leaves the map alone in the
last five. Both average by their estimated variances, as vegas does by itself.

``python -m benchmarks.integration --seeds 20 --calls 200000`` prints a table and writes
``benchmarks/results/integration.csv``: rms of the true relative error, median of the reported one,
rms of the pulls, unweighting efficiency (0.1 % overweight; of the final points) and seconds.
"""

from __future__ import annotations

import argparse
import csv
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import vegas

import hepgen
from hepgen.integration import INTEGRANDS
from hepgen.metrics import unweighting_efficiency

RESULTS = Path(__file__).parent / "results"
OVERWEIGHT = 1e-3
LISTED = [
    *("gauss2", "gauss4", "gauss8", "gauss16"),
    *("camel2", "camel4", "camel8", "camel9", "camel16", "ridge4", "ridge8"),
    *("circles2", "annulus2", "box3", "triangle2"),
    *("polynomial18", "polynomial54", "polynomial96", "three_jets2", "three_gluons5"),
]


def with_vegas(integrand: Any, calls: int, seed: int, adapting: bool) -> tuple[float, ...]:
    """Integral, error, unweighting efficiency and seconds of the vegas package."""
    import gvar

    gvar.ranseed(seed)
    rng = np.random.default_rng(seed)
    function = vegas.lbatchintegrand(integrand)
    start = time.perf_counter()
    made = vegas.Integrator(
        [list(bound) for bound in integrand.bounds], ran_array_generator=rng.random
    )
    each = calls // 10
    made(function, nitn=5, neval=each)
    found = made(function, nitn=5, neval=each, **({} if adapting else {"adapt": False}))
    seconds = time.perf_counter() - start
    weights = [w * len(x) * integrand(x) for x, w in made.random_batch()]
    return (
        found.mean,
        found.sdev,
        unweighting_efficiency(np.concatenate(weights), OVERWEIGHT),
        seconds,
    )


def with_hepgen(integrand: Any, calls: int, seed: int, sampler: str) -> tuple[Any, ...]:
    """The same of hepgen, and the sampler that it took."""
    start = time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = hepgen.integrate(
            integrand, integrand.bounds, calls=calls, seed=seed, sampler=sampler
        )
    seconds = time.perf_counter() - start
    assert found.calls <= calls
    efficiency = unweighting_efficiency(found.sizes, OVERWEIGHT)
    return found.integral, found.error, efficiency, seconds, found.sampler_name


def figures(rows: list[tuple[Any, ...]], exact: float) -> dict[str, float]:
    """What twenty seeds say."""
    value, error, efficiency, seconds = (
        np.array([row[i] for row in rows], float) for i in range(4)
    )
    off = value / exact - 1
    return {
        "rms_error": float(np.sqrt(np.mean(off**2))),
        "reported": float(np.median(error / abs(exact))),
        "pull_rms": float(np.sqrt(np.mean((off * exact / error) ** 2))),
        "unweighting": float(np.median(efficiency)),
        "seconds": float(np.median(seconds)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--calls", type=int, default=200_000)
    parser.add_argument("--integrands", nargs="+", default=[n for n in LISTED if n in INTEGRANDS])
    parser.add_argument("--sampler", default="auto")
    parser.add_argument("--output", type=Path, default=RESULTS / "integration.csv")
    chosen = parser.parse_args()
    table = []
    print(
        f"{'integrand':15} {'vegas':>9} {'pull':>5} {'hepgen':>9} {'pull':>5} {'ratio':>7} "
        f"{'uw vegas':>9} {'uw':>7} {'t/t vegas':>9}  sampler",
        flush=True,
    )
    for name in chosen.integrands:
        integrand = INTEGRANDS[name]
        # Compiling is no part of the comparison.
        with_hepgen(integrand, 5000, 0, chosen.sampler)
        rows: dict[str, list[tuple[Any, ...]]] = {"adapting": [], "frozen": [], "hepgen": []}
        for seed in range(1, chosen.seeds + 1):
            for mode in ("adapting", "frozen"):
                rows[mode].append(with_vegas(integrand, chosen.calls, seed, mode == "adapting"))
            rows["hepgen"].append(with_hepgen(integrand, chosen.calls, seed, chosen.sampler))
        found = {mode: figures(each, integrand.exact) for mode, each in rows.items()}
        best = min(("adapting", "frozen"), key=lambda mode: found[mode]["rms_error"])
        peer, ours = found[best], found["hepgen"]
        taken = [row[4] for row in rows["hepgen"]]
        samplers = " ".join(f"{s}:{taken.count(s)}" for s in sorted(set(taken)))
        print(
            f"{name:15} {peer['rms_error']:9.2e} {peer['pull_rms']:5.2f} {ours['rms_error']:9.2e} "
            f"{ours['pull_rms']:5.2f} {peer['rms_error'] / ours['rms_error']:7.2f} "
            f"{peer['unweighting']:9.4f} {ours['unweighting']:7.4f} "
            f"{ours['seconds'] / peer['seconds']:9.2f}  {samplers}",
            flush=True,
        )
        line = {"integrand": name, "calls": chosen.calls, "seeds": chosen.seeds, "vegas_mode": best}
        for who, those in (("vegas", peer), ("hepgen", ours)):
            line |= {f"{who}_{figure}": f"{value:.4g}" for figure, value in those.items()}
        line |= {"ratio": f"{peer['rms_error'] / ours['rms_error']:.3g}", "samplers": samplers}
        table.append(line)
        with chosen.output.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(table[0]))
            writer.writeheader()
            writer.writerows(table)


if __name__ == "__main__":
    main()
