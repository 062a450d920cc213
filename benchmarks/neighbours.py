"""Nearest neighbours inside jets: hepgen's kernel beside torch and weaver-core, in one run.

torch means padding, torch.cdist and torch.topk, which is also what hepgen does on a GPU.
``python -m benchmarks.neighbours`` prints milliseconds for 256 jets, and the medians of the ratios.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from hepgen.data import knn
from hepgen.data.graphs import knn_padded

JETS = 256


def milliseconds(task: Callable[[], Tensor]) -> float:
    start = time.perf_counter()
    task()
    return 1e3 * (time.perf_counter() - start)


def compare(mean: int, dimension: int, k: int, rounds: int) -> dict[str, list[float]]:
    from weaver.nn.model.ParticleNet import knn as knn_of_weaver

    rng = np.random.default_rng(0)
    counts = rng.poisson(mean, JETS)
    ptr = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    x = torch.from_numpy(rng.normal(size=(counts.sum(), dimension)).astype(np.float32))
    # weaver's layout: padded (jets, dimensions, constituents), padding far away.
    padded = torch.full((JETS, int(counts.max()), dimension), 1e9)
    padded[torch.arange(counts.max()) < torch.from_numpy(counts)[:, None]] = x
    padded = padded.transpose(1, 2).contiguous()
    tasks: dict[str, Callable[[], Tensor]] = {
        "hepgen": lambda: knn(x, ptr, k),
        "cdist + topk": lambda: knn_padded(x, ptr, k),
        "weaver": lambda: knn_of_weaver(padded, k),
    }
    for task in tasks.values():
        task()
    times: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, task in tasks.items():
            times[name].append(milliseconds(task))
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description="k nearest neighbours, beside torch and weaver")
    parser.add_argument("-k", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=15)
    chosen = parser.parse_args()
    print(f"{torch.get_num_threads()} threads, k = {chosen.k}, {JETS} jets; ms, and times hepgen's")
    for mean in (30, 50, 100):
        for dimension in (2, 64, 128):
            times = compare(mean, dimension, chosen.k, chosen.rounds)
            own = times["hepgen"]
            line = f"{mean:4} constituents, {dimension:3} dimensions: {statistics.median(own):6.1f}"
            for peer in ("cdist + topk", "weaver"):
                ratio = statistics.median(a / b for a, b in zip(times[peer], own, strict=True))
                line += f"   {peer} {statistics.median(times[peer]):6.1f} ({ratio:.1f})"
            print(line)


if __name__ == "__main__":
    main()
