"""Hadronic cross sections: hepgen beside Pythia 8, with equal densities, couplings and scales.

Pythia's are those of its hard processes alone (no showers), which it integrates as it generates
events. ``python -m benchmarks.cross_sections`` prints both with their errors in pb, and the pull.
"""

from __future__ import annotations

import argparse
import csv
import functools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hepgen.integration.alpha_s import AlphaS
from hepgen.integration.electroweak import ElectroweakCouplings
from hepgen.integration.process import Process
from hepgen.integration.processes import DrellYan, GluonScattering, TopPair
from hepgen.integration.run import integrate

SET = "NNPDF31_lo_as_0130"
ENERGY = 13000.0
ALPHA_S = AlphaS(0.13, order=1)
COMMON = (
    "Print:quiet = on",
    f"Beams:eCM = {ENERGY}",
    f"PDF:pSet = LHAGrid1:{SET}_0000.dat",
    "SigmaProcess:alphaSvalue = 0.13",
    "SigmaProcess:alphaSorder = 1",
    "ProcessLevel:resonanceDecays = off",
    "PartonLevel:all = off",
    "HadronLevel:all = off",
    "Check:event = off",
    "Random:setSeed = on",
)


@dataclass(frozen=True)
class Case:
    """A process of ours and the settings that make it Pythia's."""

    name: str
    process: Callable[[], Process]
    pythia: tuple[str, ...]


DRELL_YAN = (
    "WeakSingleBoson:ffbar2gmZ = on",
    "PhaseSpace:mHatMin = 60",
    "PhaseSpace:mHatMax = 120",
    "SigmaProcess:alphaEMorder = -1",
    "StandardModel:alphaEMmZ = 0.00781751",
    "StandardModel:sin2thetaW = 0.2312",
    "StandardModel:sin2thetaWbar = 0.2312",
    "23:m0 = 91.1876",
    "23:onMode = off",
    "23:onIfAny = 13",
)


def start(settings: Sequence[str], seed: int = 1) -> Any:
    """Pythia, ready to generate.

    Raises:
        ValueError: a setting that it does not know.
    """
    import pythia8mc as pythia8

    pythia = pythia8.Pythia("", False)
    for line in (*COMMON, f"Random:seed = {seed}", *settings):
        if not pythia.readString(line):
            raise ValueError(f"Pythia does not know {line!r}")
    if not pythia.init():
        raise RuntimeError("Pythia could not be initialised")
    return pythia


@functools.cache
def couplings() -> ElectroweakCouplings:
    """Those of Pythia: it puts s / M_Z on the width, which it computes itself.

    Pythia 8.317 does so even with ``23:doForceWidth = on``: the cross section follows this width.
    """
    width = start(DRELL_YAN).particleData.mWidth(23)
    return ElectroweakCouplings(0.00781751, 0.2312, 91.1876, width, running_width=True)


CASES = (
    Case(
        "pp > t tbar, 172.5 GeV, scale: transverse mass",
        lambda: TopPair(SET, ENERGY, mass=172.5, alpha_s=ALPHA_S),
        (
            "Top:gg2ttbar = on",
            "Top:qqbar2ttbar = on",
            "6:m0 = 172.5",
            "PhaseSpace:useBreitWigners = off",
        ),
    ),
    Case(
        "pp > gamma*/Z > mu+ mu-, 60 to 120 GeV, scale: mass",
        lambda: DrellYan(SET, (60.0, 120.0), ENERGY, couplings=couplings(), alpha_s=ALPHA_S),
        DRELL_YAN,
    ),
    Case(
        "gg > gg, pT above 50 GeV, scale: pT",
        lambda: GluonScattering(SET, 50.0, ENERGY, alpha_s=ALPHA_S),
        ("HardQCD:gg2gg = on", "PhaseSpace:pTHatMin = 50"),
    ),
)


def hepgen_cross_section(process: Process, calls: int, seed: int) -> tuple[float, float]:
    """In pb with its error."""
    bounds = [(0.0, 1.0)] * process.dimension
    result = integrate(process, bounds, calls=calls, sampler="vegas", seed=seed, progress=False)
    return result.integral, result.error


def pythia_cross_section(settings: Sequence[str], events: int, seed: int) -> tuple[float, float]:
    """In pb with the error that Pythia tells."""
    pythia = start(settings, seed)
    for _ in range(events):
        pythia.next()
    info = pythia.infoPython()
    return 1e9 * info.sigmaGen(), 1e9 * info.sigmaErr()  # from mb


def pythia_runs(settings: Sequence[str], events: int, runs: int) -> tuple[float, float]:
    """In pb: mean of runs with seeds 1, 2, ..., and its error by their spread.

    What Pythia tells of a single run may be too small: four runs of gg > gg of 0.04 % each were
    apart with a chi-square of 10 for 3 degrees of freedom.
    """
    values = [pythia_cross_section(settings, events // runs, 1 + run)[0] for run in range(runs)]
    return float(np.mean(values)), float(np.std(values, ddof=1) / math.sqrt(runs))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--calls", type=int, default=1_000_000, help="of the cross section")
    parser.add_argument("--events", type=int, default=1_000_000, help="that Pythia generates")
    parser.add_argument("--runs", type=int, default=10, help="of Pythia, that share the events")
    parser.add_argument("--seed", type=int, default=1, help="of hepgen")
    parser.add_argument("--output", type=Path, help="CSV to write")
    chosen = parser.parse_args()
    rows = []
    for case in CASES:
        process = case.process()
        process(np.full((1, process.dimension), 0.5))  # compiles the kernels
        begin = time.thread_time()
        ours, our_error = hepgen_cross_section(process, chosen.calls, chosen.seed)
        middle = time.thread_time()
        theirs, their_error = pythia_runs(case.pythia, chosen.events, chosen.runs)
        end = time.thread_time()
        pull = (ours - theirs) / math.hypot(our_error, their_error)
        spread = math.hypot(our_error / ours, their_error / theirs)
        print(
            f"{case.name}\n  hepgen {ours:.6g} +- {our_error:.2g} pb ({middle - begin:.1f} s), "
            f"Pythia {theirs:.6g} +- {their_error:.2g} pb ({end - middle:.1f} s)\n"
            f"  ratio {ours / theirs:.5f} +- {spread:.5f}, "
            f"pull {pull:+.2f}"
        )
        rows.append([case.name, ours, our_error, theirs, their_error, pull])
    if chosen.output:
        with chosen.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(
                ["process", "hepgen_pb", "error_pb", "pythia_pb", "pythia_error_pb", "pull"]
            )
            writer.writerows([[f"{x:.7g}" if isinstance(x, float) else x for x in r] for r in rows])


if __name__ == "__main__":
    main()
