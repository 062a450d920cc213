"""What a shower of CaloMatching costs, by method and steps.

``python -m benchmarks.calo_matching``, on one core. The network has its default size and is not
trained, which changes no time; energies are drawn evenly in their logarithm from 1 to 100 GeV, in
the layout of the CaloChallenge's data set 2 (6480 voxels) and in the coarse one of this project's
trainings (480). A step asks the network once ("euler", "jumps"), twice ("midpoint") or four times
("rk4"). The shortest of the repetitions is written, as the wall clock has it and as the time of
the core, as on a busy machine the wall clock tells of the others.
"""

from __future__ import annotations

import argparse
import csv
import os
from pathlib import Path

import torch

from benchmarks.calo_speed import HIGH, LOW, challenge, measure, showers
from hepgen.simulators import CaloMatching, Conditions

BATCHES = (1, 100, 1000)
CASES = (
    ("jumps", 1),
    ("jumps", 2),
    ("jumps", 4),
    ("jumps", 8),
    ("midpoint", 4),
    ("midpoint", 8),
    ("midpoint", 16),
)
COLUMNS = ("voxels", "parameters", "method", "steps", "batch", "wall_ms", "cpu_ms", "load")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=10.0, help="most for one case")
    results = Path(__file__).parent / "results"
    parser.add_argument("-o", "--output", type=Path, default=results / "calo_matching.csv")
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    fine = showers(challenge(), 300)
    rows = []
    for sample in (fine.merged(layers=3, sectors=2, rings=(1, 1, 2, 5)), fine):
        torch.manual_seed(0)
        simulator = CaloMatching(sample.geometry, Conditions((LOW, HIGH)), distil=True)
        simulator.prepare(sample)
        simulator.eval()
        # The teacher is not needed for jumps, but is kept with them.
        count = sum(p.numel() for p in simulator.parameters())
        # Machine code of the splines is made once.
        measure(simulator, 1, 1, 0.0)
        for simulator.method, simulator.steps in CASES:
            for batch in BATCHES:
                wall, cpu, _ = measure(simulator, batch, arguments.repetitions, arguments.seconds)
                values = (
                    sample.geometry.num_voxels,
                    count,
                    simulator.method,
                    simulator.steps,
                    batch,
                    f"{wall:.4g}",
                    f"{cpu:.4g}",
                    f"{os.getloadavg()[0]:.1f}",
                )
                rows.append(dict(zip(COLUMNS, values, strict=True)))
                print(", ".join(f"{k} {v}" for k, v in rows[-1].items()), flush=True)
    with arguments.output.open("w", newline="") as file:
        writer = csv.DictWriter(file, COLUMNS)
        writer.writeheader()
        writer.writerows(rows)


if __name__ == "__main__":
    main()
