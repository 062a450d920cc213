"""LorentzNet: jets a second and memory of hepgen, beside the published arithmetic on padded pairs.

``python -m benchmarks.lorentz_net [--threads 2]``. The published program does not install as a
package and cannot start on a CPU, so that the peer here is a re-implementation of its arithmetic,
written for this benchmark from the description of the program, in plain torch operations: batches
are padded to the longest jet, all B P P pairs go through the networks of each block, padding is
masked in the sums and counts in the batch normalisation. Both have the same weights, and in
evaluation the same logits. Jets have 30 to 100 constituents and two beams. Repetitions alternate
between the programs; medians are compared. Peak memory is that of a process that makes one step.
"""

from __future__ import annotations

import argparse
import csv
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.data import Batch, Features, make_batch
from hepgen.taggers import LorentzNet

CLASSES = ("top", "qcd")


def jets_of(count: int, seed: int) -> Batch:
    """Jets of massless constituents; multiplicities as in JetClass, 30 to 100."""
    rng = np.random.default_rng(seed)
    counts = np.clip(rng.normal(55, 18, count), 30, 100).astype(np.int64)
    ptr = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    pt, eta, phi = rng.exponential(10, ptr[-1]) + 0.5, *rng.normal(0, 0.2, (2, ptr[-1]))
    p4 = np.stack([pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], 1)
    p4 = torch.from_numpy(p4.astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 2, count))
    return make_batch(torch.zeros(len(p4), 7), ptr, p4=p4, y=y, weight=torch.ones(count))


class PaddedLorentzNet(nn.Module):
    """A re-implementation of the published arithmetic on rectangles, with hepgen's weights.

    Args:
        weights: the network whose parameters it shares.
    """

    def __init__(self, weights: LorentzNet) -> None:
        super().__init__()
        self.weights = weights

    def forward(self, x: Tensor, s: Tensor, mask: Tensor) -> Tensor:
        """Logits (B, K) of momenta (B, P, 4), scalars (B, P, S) and a mask (B, P)."""
        net = self.weights
        both = (mask[:, :, None] & mask[:, None, :]) & ~torch.eye(x.shape[1], dtype=torch.bool)
        both = both[..., None].to(x.dtype)  # (B, P, P, 1)
        h = net.embedding(s)
        for block in net.layers:
            x, h = self._block(block, x, h, s, both)
        mean = (h * mask[..., None]).sum(dim=1) / mask.sum(dim=1, keepdim=True)
        logits: Tensor = net.graph_dec(mean)
        return logits

    def _block(
        self, block: nn.Module, x: Tensor, h: Tensor, s: Tensor, both: Tensor
    ) -> tuple[Tensor, Tensor]:
        difference = x[:, :, None] - x[:, None]  # (B, P, P, 4)
        products = [_dot(difference, difference), _dot(x[:, :, None], x[:, None])]
        pair = torch.stack([v.sign() * v.abs().log1p() for v in products], dim=-1)
        shape = (*difference.shape[:3], h.shape[2])
        joined = torch.cat([h[:, :, None].expand(shape), h[:, None].expand(shape), pair], dim=-1)
        linear, norm, out = block.phi_e
        z = functional.relu(norm(linear(joined).flatten(0, 2)))
        m = functional.relu(out(z)).view(shape)
        m = m * block.phi_m(m).sigmoid() * both
        if block.phi_x is not None:
            moved = (difference * block.phi_x(m)).clamp(-100, 100) * both
            count = both.sum(dim=2).clamp(min=1)
            x = x + block.coordinate_weight * moved.sum(dim=2) / count
        linear, norm, out = block.phi_h
        z = linear(torch.cat([h, m.sum(dim=2), s], dim=-1))
        return x, h + out(functional.relu(norm(z.flatten(0, 1))).view(h.shape))


def _dot(a: Tensor, b: Tensor) -> Tensor:
    product = a * b
    return 2 * product[..., 0] - product.sum(dim=-1)


def padded(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Momenta, scalars and mask with two beams in front, padded to the longest jet."""
    counts = batch.ptr.diff()
    mask = torch.arange(int(counts.max()) + 2) < counts[:, None] + 2
    x, s = torch.zeros(*mask.shape, 4), torch.zeros(*mask.shape, 2)
    x[:, :2] = torch.tensor([[2**0.5, 0, 0, 1], [2**0.5, 0, 0, -1]])
    s[:, :2, 1] = np.log(2)
    inside = mask.clone()
    inside[:, :2] = False
    x[inside] = batch.p4
    return x, s, mask


def programs(batch: Batch) -> dict[str, tuple[nn.Module, Callable[[], Tensor]]]:
    """Both networks and the calls that give logits."""
    torch.manual_seed(0)
    ours = LorentzNet(Features(), CLASSES)
    theirs = PaddedLorentzNet(ours)
    inputs = padded(batch)
    return {"padded": (theirs, lambda: theirs(*inputs)), "hepgen": (ours, lambda: ours(batch))}


def step(network: nn.Module, logits: Callable[[], Tensor], batch: Batch) -> None:
    """One step of training without the optimiser, which is the same for both."""
    network.zero_grad()
    functional.cross_entropy(logits(), batch.y).backward()


def medians(calls: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Seconds of each call, which take turns."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repetition in range(repetitions + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if repetition:  # the first is for caches, compilation and memory
                seconds[name].append(time.perf_counter() - start)
    return {name: median(values) for name, values in seconds.items()}


def peak_of(name: str, jets: int) -> float:
    """Peak memory in MB that one step of training adds, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.lorentz_net", "--batch-size", str(jets)]
    run = subprocess.run(
        [*command, "--peak", name, "--threads", "1"], capture_output=True, text=True, check=True
    )
    return float(run.stdout)


def print_peak(name: str, jets: int) -> None:
    """What `peak_of` reads."""
    network, logits = programs(small := jets_of(2, seed=1))[name]
    step(network, logits, small)
    before = high_water()
    network, logits = programs(batch := jets_of(jets, seed=0))[name]
    step(network, logits, batch)
    print(high_water() - before)


def high_water() -> float:
    """Largest memory of this process so far, in MB, as Linux tells it."""
    # Not getrusage, which begins with the memory of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    return float(status.split("VmHWM:")[1].split()[0]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lorentz_net", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    parser.add_argument("--peak", choices=["padded", "hepgen"], help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.peak is not None:
        print_peak(options.peak, options.batch_size)
        return
    batch = jets_of(options.batch_size, seed=0)
    counts = batch.ptr.diff()
    pairs = int(((counts + 2) * (counts + 1)).sum())
    print(
        f"LorentzNet, {options.batch_size} jets of {counts.min()} to {counts.max()} constituents, "
        f"{pairs} real pairs, {options.threads} threads"
    )
    made = programs(batch)
    rows = []
    for what in ("inference", "training"):
        calls: dict[str, Callable[[], object]] = {}
        for name, (network, logits) in made.items():
            network.train(what == "training")
            calls[name] = (
                logits
                if what == "inference"
                else lambda network=network, logits=logits: step(network, logits, batch)
            )
        with torch.set_grad_enabled(what == "training"):
            if what == "inference":
                torch.testing.assert_close(*(call() for call in calls.values()), rtol=0, atol=1e-3)
            times = medians(calls, options.repetitions)
        for name, seconds in times.items():
            rate, ratio = options.batch_size / seconds, times["padded"] / seconds
            print(f"{what:<10} {name:<8} {rate:8.1f} jets/s {ratio:6.2f} x padded")
            rows.append([options.threads, what, name, f"{rate:.1f}", f"{ratio:.2f}"])
    for name in made:
        peak = peak_of(name, options.batch_size)
        print(f"peak       {name:<8} {peak:8.0f} MB, {peak * 2**20 / pairs:6.0f} bytes a real pair")
        rows.append([options.threads, "peak MB", name, f"{peak:.0f}", ""])
    load = f"{os.getloadavg()[0]:.1f}"
    print(f"load {load}")
    if options.csv is not None:
        new = not options.csv.exists()
        with options.csv.open("a", newline="") as file:
            table = csv.writer(file)
            if new:
                table.writerow(["threads", "what", "program", "jets/s or MB", "ratio", "load"])
            table.writerows([*row, load] for row in rows)


if __name__ == "__main__":
    main()
