"""Reclustering jets into trees: hepgen's kernel beside FastJet, in one run.

FastJet is called from Python for each jet, with its momenta made before; both run on one core.
``python -m benchmarks.clustering`` prints microseconds of the processor for a jet.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np

from hepgen.data.clustering import POWERS, recombine

JETS = 300


def microseconds(task: Callable[[], object]) -> float:
    start = time.thread_time()
    task()
    return 1e6 * (time.thread_time() - start) / JETS


def compare(count: int, algorithm: str, rounds: int) -> tuple[float, float]:
    import fastjet

    rng = np.random.default_rng(count)
    pt = rng.exponential(10, JETS * count) + 0.1
    eta, phi = rng.normal(0, 0.4, (2, JETS * count))
    columns = pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    p4 = np.stack(columns, axis=1)
    offsets = np.arange(0, len(p4) + 1, count)
    particles = [fastjet.PseudoJet(px, py, pz, energy) for energy, px, py, pz in p4.tolist()]
    jets = [particles[start : start + count] for start in offsets[:-1]]
    names = {"kt": "kt", "cambridge_aachen": "cambridge", "anti_kt": "antikt"}
    known = getattr(fastjet, f"{names[algorithm]}_algorithm")
    definition = fastjet.JetDefinition(known, 1000.0)
    recombine(p4, offsets, POWERS[algorithm], np.inf)
    times = [
        (
            microseconds(lambda: recombine(p4, offsets, POWERS[algorithm], np.inf)),
            microseconds(lambda: [fastjet.ClusterSequence(jet, definition) for jet in jets]),
        )
        for _ in range(rounds)
    ]
    ours, theirs = zip(*times, strict=True)
    return statistics.median(ours), statistics.median(theirs)


def main() -> None:
    parser = argparse.ArgumentParser(description="trees of jets, beside FastJet")
    parser.add_argument("--rounds", type=int, default=9)
    chosen = parser.parse_args()
    for count in (30, 50, 100, 200):
        for algorithm in POWERS:
            ours, theirs = compare(count, algorithm, chosen.rounds)
            print(f"{count:4} constituents, {algorithm:16}: {ours:6.1f} us, FastJet {theirs:6.1f}")


if __name__ == "__main__":
    main()
