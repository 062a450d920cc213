"""Simulators beside each other and beside Geant4, on held-back showers of the same simulation.

    python -m benchmarks.simulators electrons_1-100GeV_ds2.hdf5 models/*.safetensors

Rows 0 to 8999 of the file train (with `hepgen train` or `fit`), rows 9000 to 12 999 judge; floors
come from rows 1000 to 4999. The layout is the coarse one, 15 x 8 x 4 = 480 voxels. Geant4 against
itself is the first line: rows 5000 to 8999 in place of a simulator.
"""

from __future__ import annotations

import argparse
import csv
from pathlib import Path

import torch

import hepgen
from hepgen import calorimeter
from hepgen.calorimeter import Showers
from hepgen.metrics import Estimate
from hepgen.shower_evaluation import evaluate_showers
from hepgen.shower_summary import ShowerEvaluation
from hepgen.simulators import Simulator

RESULTS = Path(__file__).parent / "results" / "simulators.csv"
COARSE = {"layers": 3, "sectors": 2, "rings": (1, 1, 2, 5)}
JUDGE = 9000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("file", help="electrons_1-100GeV_ds2.hdf5")
    parser.add_argument("models", nargs="*", help="model files")
    parser.add_argument("--csv", default=RESULTS, type=Path)
    parser.add_argument("--reports", type=Path, help="folder for a report of each")
    parser.add_argument("--seeds", type=int, default=3, help="of the classifiers")
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.reports is not None:
        options.reports.mkdir(parents=True, exist_ok=True)
    showers = calorimeter.read(options.file).merged(**COARSE)
    found = [judged("Geant4", showers[5000:JUDGE], showers, None, options)]
    for path in options.models:
        simulator = hepgen.load(path)
        assert isinstance(simulator, Simulator)
        truth = showers[JUDGE:]
        generated = simulator.sample(
            incident_energy=truth.incident_energy, seed=20, block=simulator.block
        )
        # Two models may be of one class, such as a teacher and its student.
        found.append(judged(Path(path).stem, generated, showers, simulator, options))
    write(options.csv, [row(one) for one in found])


def judged(
    name: str,
    generated: Showers,
    showers: Showers,
    simulator: Simulator | None,
    options: argparse.Namespace,
) -> ShowerEvaluation:
    """All numbers of one simulator."""
    found = evaluate_showers(
        generated,
        showers[JUDGE:],
        other=showers[1000:5000],
        train=None if simulator is None else showers[:JUDGE],
        model=simulator,
        output=None if options.reports is None else options.reports / name,
        name=name,
        seeds=options.seeds,
        overwrite=True,
    )
    print(found, flush=True)
    return found


def row(found: ShowerEvaluation) -> dict[str, str]:
    """One line of the table."""
    cells = {"simulator": found.name}

    def put(name: str, estimate: Estimate) -> None:
        cells[name] = f"{estimate.value:.4g}"
        cells[f"{name}_error"] = f"{estimate.error:.2g}"
        if estimate.floor is not None:
            cells[f"{name}_floor"] = f"{estimate.floor:.3g}"

    for level, result in found.classifiers.items():
        put(f"auc_{level}", result.auc)
    for name, estimate in found.distances.items():
        put(name, estimate)
    for what in ("response", "resolution"):
        for i, ratio in enumerate(getattr(found, f"{what}_ratio")):
            put(f"{what}_{i}", ratio)
    for one in found.times:
        cells[f"ms_{one['batch']}"] = f"{one['milliseconds']:.3g}"
    return cells


def write(path: Path, rows: list[dict[str, str]]) -> None:
    """The table, with all columns that any line has."""
    names = list(dict.fromkeys(name for cells in rows for name in cells))
    with path.open("w", newline="") as file:
        table = csv.DictWriter(file, names, lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


if __name__ == "__main__":
    main()
