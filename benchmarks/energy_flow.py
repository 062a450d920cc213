"""Energy flow polynomials and N-subjettiness of real jets: hepgen's kernels beside EnergyFlow.

EnergyFlow does not import beside NumPy 2; it runs in a process of its own, whose interpreter is
named, and takes turns with hepgen on the same jets, one thread each. All 1000 polynomials are
compared before the clock starts. Times are of the processor, as other programs may want the cores.

    python3 -m venv /tmp/energyflow && /tmp/energyflow/bin/pip install "numpy<2" energyflow
    OMP_NUM_THREADS=1 python -m benchmarks.energy_flow --energyflow /tmp/energyflow/bin/python
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

import hepgen
from hepgen.data import (
    Features,
    PackedJets,
    energy_flow_polynomials,
    n_subjettiness_basis,
)

SAMPLE = Path(__file__).parents[1] / "data_samples" / "top_qcd.root"

# What the other process does: prints seconds for all jets each time it is asked.
PEER = """
import sys, time
import energyflow, numpy
jets = numpy.load(sys.argv[1])
p4, offsets = jets["p4"], jets["offsets"]
polynomials = energyflow.EFPSet("d<=7", measure="hadr", beta=0.5, kappa=1, normed=True,
                                coords="epxpypz")
def compute():
    return [polynomials.compute(p4[a:b]) for a, b in zip(offsets[:-1], offsets[1:])]
numpy.save(sys.argv[2], numpy.sort(compute(), axis=1))
print("ready", flush=True)
for line in sys.stdin:
    start = time.process_time()
    compute()
    print(time.process_time() - start, flush=True)
"""


def seconds(task: Callable[[], object]) -> float:
    start = time.process_time()
    task()
    return time.process_time() - start


def packed(count: int) -> PackedJets:
    return PackedJets.pack(hepgen.read(SAMPLE)[:count], Features())


def own(jets: PackedJets, rounds: int) -> None:
    """Our two kernels on many jets."""
    tasks: dict[str, Callable[[], object]] = {
        "EFPs, d <= 7": lambda: energy_flow_polynomials(jets.p4, jets.offsets),
        "EFPs, d <= 5": lambda: energy_flow_polynomials(jets.p4, jets.offsets, 5),
        "N-subjettiness": lambda: n_subjettiness_basis(jets.p4, jets.offsets),
    }
    mean = np.diff(jets.offsets).mean()
    print(f"{len(jets)} jets of {mean:.1f} constituents on average, us a jet:")
    for name, task in tasks.items():
        task()
        times = [seconds(task) / len(jets) * 1e6 for _ in range(rounds)]
        print(f"  {name:16} median {statistics.median(times):8.1f}   least {min(times):8.1f}")


def beside(interpreter: str, jets: PackedJets, rounds: int) -> None:
    """Both programs in turns."""
    with tempfile.TemporaryDirectory() as folder:
        given, got = Path(folder, "jets.npz"), Path(folder, "values.npy")
        np.savez(given, p4=jets.p4.astype(np.float64), offsets=jets.offsets)
        process = subprocess.Popen(
            [interpreter, "-c", PEER, str(given), str(got)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
        )
        assert process.stdin is not None
        assert process.stdout is not None
        if process.stdout.readline() != "ready\n":
            sys.exit(f"{interpreter} cannot run EnergyFlow")
        mine = np.sort(energy_flow_polynomials(jets.p4, jets.offsets), axis=1)
        np.testing.assert_allclose(mine, np.load(got), rtol=1e-9)
        ratios, theirs, ours = [], [], []
        for _ in range(rounds):
            process.stdin.write("go\n")
            process.stdin.flush()
            theirs.append(float(process.stdout.readline()))
            ours.append(seconds(lambda: energy_flow_polynomials(jets.p4, jets.offsets)))
            ratios.append(theirs[-1] / ours[-1])
        process.stdin.close()
        process.wait()
    each = 1e3 / len(jets)
    print(
        f"{len(jets)} jets of {np.diff(jets.offsets).mean():.1f} constituents on average, d <= 7, "
        f"ms a jet: EnergyFlow {statistics.median(theirs) * each:.1f}, "
        f"hepgen {statistics.median(ours) * each:.3f}; "
        f"ratio {statistics.median(ratios):.0f} ({min(ratios):.0f} to {max(ratios):.0f})"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description="energy flow polynomials, beside EnergyFlow")
    parser.add_argument("--energyflow", help="an interpreter that has it; without, hepgen alone")
    parser.add_argument("--jets", type=int, default=20, help="that both programs compute")
    parser.add_argument("--rounds", type=int, default=3)
    chosen = parser.parse_args()
    own(packed(1000), chosen.rounds)
    if chosen.energyflow:
        beside(chosen.energyflow, packed(chosen.jets), chosen.rounds)


if __name__ == "__main__":
    main()
