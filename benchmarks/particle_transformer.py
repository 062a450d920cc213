"""Particle transformer: jets a second of hepgen and of weaver-core, in inference and in training.

``python -m benchmarks.particle_transformer [--threads 2]``; needs ``hepgen[bench]``. Both have the
same weights and the same jets, of 30 to 100 constituents, all multiplicities alike. weaver gets
batches padded to 128, which its SequenceTrimmer cuts as it does by default: to the longest jet in
inference, and to a random quantile of the lengths, 0.9 to 1, in training. hepgen trains without
trimming, on all constituents. Repetitions alternate between the programs; medians are compared, of
the time on the clock and of the time of the processors: where other programs run beside, the second
tells with one thread what the first would be without them.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from weaver.nn.model.ParticleTransformer import ParticleTransformer as WeaverTransformer

from hepgen.data import Batch, Features, PackedJets, make_batch
from hepgen.taggers.particle_transformer import ParticleTransformer, from_weaver_state

CLASSES = ("top", "qcd")
PADDED = 128
HEAD = ("threads", "what", "program", "jets/s", "ratio", "jets/CPU s", "CPU ratio", "load")


def jets_of(count: int, seed: int) -> Batch:
    """Jets with features of about the right size, and momenta around an axis."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(30, 101, count)
    ptr = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    size = int(ptr[-1])
    pt, eta, phi = rng.exponential(10, size) + 0.5, *rng.normal(0, 0.3, (2, size))
    momenta = [pt * np.cosh(eta), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)]
    p4 = torch.from_numpy(np.stack(momenta, axis=1).astype(np.float32))
    x = torch.from_numpy(rng.normal(0, 1, (size, 7)).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 2, count))
    return make_batch(x, ptr, p4=p4, pos=x[:, 5:].clone(), y=y, weight=torch.ones(count))


def padded(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Features (B, F, P), momenta (B, 4, P) and mask (B, 1, P), as weaver's loader makes them."""
    mask = torch.arange(PADDED) < batch.ptr.diff()[:, None]
    x, momenta = (torch.zeros(*mask.shape, t.shape[1]) for t in (batch.x, batch.p4))
    x[mask], momenta[mask] = batch.x, batch.p4.roll(-1, dims=1)
    return x.mT.contiguous(), momenta.mT.contiguous(), mask[:, None]


def pair() -> tuple[ParticleTransformer, WeaverTransformer]:
    """Our tagger and weaver's, as for the JetClass paper, with the same weights."""
    theirs = WeaverTransformer(7, len(CLASSES), use_pre_activation_pair=False)
    theirs.trimmer.warmup_steps = 0
    ours = ParticleTransformer(Features(), CLASSES)
    ours.load_state_dict(from_weaver_state(theirs.state_dict()))
    return ours, theirs


class Seconds(NamedTuple):
    """On the clock, and of the processors."""

    clock: float
    processors: float


def medians(calls: dict[str, Callable[[], object]], repetitions: int) -> dict[str, Seconds]:
    """Seconds of each call, which take turns."""
    seconds: dict[str, list[Seconds]] = {name: [] for name in calls}
    for repetition in range(repetitions + 1):
        for name, call in calls.items():
            start = Seconds(time.perf_counter(), time.process_time())
            call()
            stop = Seconds(time.perf_counter(), time.process_time())
            if repetition:  # the first is for caches, compilation and memory
                passed = (end - begin for begin, end in zip(start, stop, strict=True))
                seconds[name].append(Seconds(*passed))
    return {
        name: Seconds(*map(median, zip(*values, strict=True))) for name, values in seconds.items()
    }


def inference(batch: Batch, repetitions: int) -> dict[str, Seconds]:
    """Seconds of a batch in evaluation; logits are compared before."""
    ours, theirs = pair()
    inputs = padded(batch)
    packed = PackedJets(batch.x.numpy(), batch.pos.numpy(), batch.p4.numpy(), batch.ptr.numpy())
    ours.eval()
    theirs.eval()
    with torch.no_grad():
        torch.testing.assert_close(ours(batch), theirs(*inputs), rtol=1e-4, atol=1e-5)
        return medians(
            {
                "weaver": lambda: theirs(*inputs),
                "hepgen, forward": lambda: ours(batch),
                "hepgen, predict": lambda: ours.predict(packed),
            },
            repetitions,
        )


def training(batch: Batch, repetitions: int) -> dict[str, Seconds]:
    """Seconds of a step: forward, backward, optimiser."""
    ours, theirs = pair()
    inputs = padded(batch)

    def stepper(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
        optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

        def step() -> None:
            optimizer.zero_grad()
            loss().backward()
            optimizer.step()

        return step

    def loss_of_weaver() -> Tensor:
        return nn.functional.cross_entropy(theirs.train()(*inputs), batch.y)

    calls = {
        "weaver": stepper(theirs, loss_of_weaver),
        "hepgen": stepper(ours, lambda: ours.train().loss(batch)),
    }
    return medians(calls, repetitions)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.particle_transformer", description=__doc__
    )
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--only", choices=["inference", "training"], help="one of the two")
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    batch = jets_of(options.batch_size, seed=0)
    counts = batch.ptr.diff().float()
    print(
        f"ParticleTransformer, {options.batch_size} jets of {counts.min():.0f} to "
        f"{counts.max():.0f} constituents (mean {counts.mean():.1f}), {options.threads} threads"
    )
    rows = []
    for what, measure in (("inference", inference), ("training", training)):
        if options.only not in (None, what):
            continue
        times = measure(batch, options.repetitions)
        theirs = times["weaver"]
        for program, seconds in times.items():
            figures = [f"{options.batch_size / value:.1f}" for value in seconds]
            ratios = [f"{a / b:.2f}" for a, b in zip(theirs, seconds, strict=True)]
            print(
                f"{what:<10} {program:<16} {figures[0]:>7} jets/s {ratios[0]:>6} x weaver, "
                f"{figures[1]:>7} jets/CPU s {ratios[1]:>6} x weaver",
                flush=True,
            )
            paired = [value for both in zip(figures, ratios, strict=True) for value in both]
            rows.append([options.threads, what, program, *paired])
    load = f"{os.getloadavg()[0]:.1f}"
    print(f"load {load}")
    if options.csv is not None:
        new = not options.csv.exists()
        with options.csv.open("a", newline="") as file:
            table = csv.writer(file)
            if new:
                table.writerow(HEAD)
            table.writerows([*row, load] for row in rows)


if __name__ == "__main__":
    main()
