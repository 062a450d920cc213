"""Autoregressive flows: sampling and training beside nflows and zuko, interleaved in one run.

``python -m benchmarks.autoregressive``; needs ``hepgen[bench]``. All have 8 transforms, networks of
three hidden layers of 128 units without residual blocks, and for splines 8 bins on [-5, 5]: of
nflows a first layer and two blocks, of zuko and hepgen three layers. The rows of a dimension are
those of the batch; a sample is noise sent back, without gradients; training is a log density and
its gradients. Rounds alternate between the programs, and the shortest time of each is compared:
ratios are its time over hepgen's. hepgen's machine code is made before, by a first call.
"""

from __future__ import annotations

import argparse
import csv
import os
import platform
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import torch
import zuko
from nflows.distributions.normal import StandardNormal
from nflows.flows.base import Flow
from nflows.transforms import (
    CompositeTransform,
    MaskedAffineAutoregressiveTransform,
    MaskedPiecewiseRationalQuadraticAutoregressiveTransform,
    ReversePermutation,
    Transform,
)
from torch import Tensor

from hepgen.flows.masked_autoregressive_flow import MaskedAutoregressiveFlow

TRANSFORMS, WIDTH, BINS, BOUND = 8, 128, 8, 5.0
PROGRAMS = ("hepgen", "torch", "nflows", "zuko")
Tasks = dict[str, Callable[[], object]]


def nflows_flow(dimension: int, element: str) -> Flow:
    steps: list[Transform] = []
    for _ in range(TRANSFORMS):
        if element == "affine":
            steps.append(
                MaskedAffineAutoregressiveTransform(dimension, WIDTH, use_residual_blocks=False)
            )
        else:
            steps.append(
                MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                    dimension,
                    WIDTH,
                    num_bins=BINS,
                    tails="linear",
                    tail_bound=BOUND,
                    use_residual_blocks=False,
                )
            )
        steps.append(ReversePermutation(dimension))
    return Flow(CompositeTransform(steps), StandardNormal([dimension]))


def zuko_flow(dimension: int, element: str) -> zuko.flows.Flow:
    widths = {"transforms": TRANSFORMS, "hidden_features": (WIDTH,) * 3}
    if element == "affine":
        return zuko.flows.MAF(dimension, **widths)
    return zuko.flows.NSF(dimension, bins=BINS, **widths)


def hepgen_flow(dimension: int, element: str) -> MaskedAutoregressiveFlow:
    made = MaskedAutoregressiveFlow(
        dimension,
        num_transforms=TRANSFORMS,
        hidden=WIDTH,
        layers=3,
        element=element,  # type: ignore[arg-type] # one of those there are
        num_bins=BINS,
        tail_bound=BOUND,
    )
    # From zero, where they begin, to what the peers begin with: arithmetic takes as long for all.
    for step in made.transform._transforms:
        step.made.last.reset_parameters()
    return made


def sampling(dimension: int, element: str, rows: int) -> Tasks:
    ours, nf, zk = (make(dimension, element) for make in (hepgen_flow, nflows_flow, zuko_flow))
    return {
        "hepgen": lambda: ours.sample(rows),
        "nflows": lambda: nf.sample(rows),
        "zuko": lambda: zk().sample((rows,)),
    }


def training(dimension: int, element: str, rows: int) -> Tasks:
    ours, nf, zk = (make(dimension, element) for make in (hepgen_flow, nflows_flow, zuko_flow))
    x = torch.randn(rows, dimension)

    def step(flow: torch.nn.Module, log_prob: Callable[[Tensor], Tensor]) -> None:
        flow.zero_grad()
        (-log_prob(x).mean()).backward()

    return {
        "hepgen": lambda: step(ours, ours.log_prob),
        "nflows": lambda: step(nf, nf.log_prob),
        "zuko": lambda: step(zk, zk().log_prob),
    }


def shortest(tasks: Tasks, rounds: int, grad: bool) -> dict[str, float]:
    """Milliseconds of each task, the least of some rounds in which they take turns."""
    times: dict[str, float] = dict.fromkeys(tasks, float("inf"))
    with torch.set_grad_enabled(grad):
        tasks["hepgen"]()
        for _ in range(rounds):
            for name, task in tasks.items():
                start = time.perf_counter()
                task()
                times[name] = min(times[name], 1e3 * (time.perf_counter() - start))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="autoregressive flows beside nflows and zuko")
    parser.add_argument("--rows", type=int, default=4096)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=2, help="of splines in 32 dimensions")
    parser.add_argument("--results", type=Path, help="a CSV file to write")
    chosen = parser.parse_args()
    torch.manual_seed(0)
    lines = []
    for dimension in (6, 32):
        for element in ("affine", "spline"):
            slow = dimension == 32 and element == "spline"
            rounds = chosen.slow_rounds if slow else chosen.rounds
            for what, make, grad in (("sampling", sampling, False), ("training", training, True)):
                times = shortest(make(dimension, element, chosen.rows), rounds, grad)
                line: dict[str, object] = {
                    "what": what,
                    "element": element,
                    "dimension": dimension,
                    "rows": chosen.rows,
                    "rounds": rounds,
                    **{f"{name} ms": round(one, 2) for name, one in times.items()},
                    "nflows / hepgen": round(times["nflows"] / times["hepgen"], 2),
                    "zuko / hepgen": round(times["zuko"] / times["hepgen"], 2),
                    "threads": torch.get_num_threads(),
                    "versions": ", ".join(f"{one} {version(one)}" for one in PROGRAMS),
                    "machine": f"{platform.machine()}, shared, load {os.getloadavg()[0]:.0f}",
                }
                lines.append(line)
                print(", ".join(f"{name} {value}" for name, value in line.items()), flush=True)
    if chosen.results is not None:
        with chosen.results.open("w", newline="") as file:
            writer = csv.DictWriter(file, lines[0].keys())
            writer.writeheader()
            writer.writerows(lines)


if __name__ == "__main__":
    main()
