"""Rational-quadratic spline couplings: hepgen beside nflows and beside the networks alone.

``python -m benchmarks.spline`` times flows of 8 couplings whose networks are equal (two hidden
layers of 128, 8 bins, batches of 4096, float32), in 6 and in 32 dimensions, with one thread and
with two: a step of training (log_prob and its gradients) and samples. Half of the dimensions are
mapped by each coupling. "networks" is what no spline can do without: the same networks on the same
inputs, and in training their gradients. Repetitions of all programs alternate in one process; the
least time of each counts, with one thread of the processor and with more on the wall, as the
machine has other work (``OMP_WAIT_POLICY=PASSIVE`` keeps threads of OpenMP that wait from taking
turns with those that work). nflows' log_prob, with the same weights, is compared to hepgen's before
the clock starts.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import time
from collections.abc import Callable
from pathlib import Path

import torch
from nflows.distributions import StandardNormal
from nflows.flows import Flow as PeerFlow
from nflows.transforms import CompositeTransform, PiecewiseRationalQuadraticCouplingTransform
from torch import Tensor, nn

from hepgen.flows.bases import StandardNormal as Base
from hepgen.flows.coupling import Coupling
from hepgen.flows.flow import Flow
from hepgen.flows.spline import RationalQuadraticSpline

TRANSFORMS, HIDDEN, BINS, TAIL_BOUND = 8, 128, 8, 5.0


class Network(nn.Module):
    """The conditioner of both programs, which call it alike."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(inputs, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, HIDDEN),
            nn.ReLU(),
            nn.Linear(HIDDEN, outputs),
        )

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        """Parameters of all dimensions that are mapped, end to end."""
        numbers: Tensor = self.layers(x)
        return numbers


def flows(dimension: int) -> tuple[Flow, PeerFlow, list[Network]]:
    """Ours, nflows', and the networks that they share but for what zero is a slope of."""
    torch.manual_seed(0)
    masks = [[(d + i) % 2 == 0 for d in range(dimension)] for i in range(TRANSFORMS)]
    element = RationalQuadraticSpline(BINS, TAIL_BOUND)
    networks, ours, theirs = [], [], []
    for mask in masks:
        network = Network(dimension - sum(mask), sum(mask) * element.num_parameters)
        peer = PiecewiseRationalQuadraticCouplingTransform(
            torch.tensor(mask, dtype=torch.long),
            Network,
            num_bins=BINS,
            tails="linear",
            tail_bound=TAIL_BOUND,
        )
        peer.transform_net.load_state_dict(network.state_dict())
        bias = peer.transform_net.layers[-1].bias.data.view(-1, element.num_parameters)
        bias[:, 2 * BINS :] += math.log(math.expm1(1 - element.min_slope))
        networks.append(network)
        ours.append(Coupling(mask, element, network))
        theirs.append(peer)
    return (
        Flow(CompositeTransform(ours), Base(dimension)),
        PeerFlow(CompositeTransform(theirs), StandardNormal([dimension])),
        networks,
    )


def programs(dimension: int, batch: int) -> dict[str, dict[str, Callable[[], object]]]:
    """What is timed, by task and program."""
    ours, theirs, networks = flows(dimension)
    x = 2 * torch.randn(batch, dimension)
    torch.testing.assert_close(ours.log_prob(x), theirs.log_prob(x), rtol=1e-4, atol=1e-3)
    seen = x[:, : dimension // 2].contiguous()

    def train(flow: Flow | PeerFlow) -> None:
        flow.zero_grad(set_to_none=True)
        (-flow.log_prob(x).mean()).backward()

    def train_networks() -> None:
        for network in networks:
            network.zero_grad(set_to_none=True)
        # What arrives at a network in a flow needs gradients too.
        inputs = seen.detach().requires_grad_()
        outputs = [network(inputs) for network in networks]
        torch.autograd.backward(outputs, [weights] * TRANSFORMS)

    weights = torch.randn(batch, dimension // 2 * RationalQuadraticSpline(BINS, 1.0).num_parameters)

    def draw(flow: Flow | PeerFlow) -> None:
        with torch.no_grad():
            flow.sample(batch)

    def draw_networks() -> None:
        with torch.no_grad():
            for network in networks:
                network(seen)

    return {
        "training": {
            "networks": train_networks,
            "hepgen": lambda: train(ours),
            "nflows": lambda: train(theirs),
        },
        "sampling": {
            "networks": draw_networks,
            "hepgen": lambda: draw(ours),
            "nflows": lambda: draw(theirs),
        },
    }


def least(calls: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Seconds of each call, which take turns."""
    seconds = dict.fromkeys(calls, math.inf)
    clock = time.thread_time if torch.get_num_threads() == 1 else time.perf_counter
    for repetition in range(repetitions + 2):
        for name, call in calls.items():
            start = clock()
            call()
            if repetition > 1:  # the first are for caches, compilation and memory
                seconds[name] = min(seconds[name], clock() - start)
    return seconds


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--threads", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--dimensions", type=int, nargs="+", default=[6, 32])
    parser.add_argument("--batch", type=int, default=4096)
    parser.add_argument("--repetitions", type=int, default=20)
    parser.add_argument("--output", type=Path, help="CSV to write")
    arguments = parser.parse_args()
    rows = []
    for dimension in arguments.dimensions:
        tasks = programs(dimension, arguments.batch)
        for threads in arguments.threads:
            torch.set_num_threads(threads)
            for task, calls in tasks.items():
                seconds = least(calls, arguments.repetitions)
                load = os.getloadavg()[0]
                for name, value in seconds.items():
                    row = {
                        "threads": threads,
                        "dimension": dimension,
                        "task": task,
                        "program": name,
                        "ms": f"{1e3 * value:.1f}",
                        "over networks": f"{value / seconds['networks']:.2f}",
                        "nflows over it": f"{seconds['nflows'] / value:.2f}",
                        "load": f"{load:.1f}",
                    }
                    rows.append(row)
                    print(*row.values(), sep="\t", flush=True)
    if arguments.output:
        with arguments.output.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, rows[0])
            writer.writeheader()
            writer.writerows(rows)


if __name__ == "__main__":
    main()
