"""ParticleNet: jets a second of hepgen and of weaver-core, in inference and in training.

``python -m benchmarks.particle_net [--threads 2] [--lite]``; needs ``hepgen[bench]``. Both have the
same weights and the same jets, of 30 to 100 constituents. weaver gets batches padded to 128, which
its SequenceTrimmer cuts as it does by default: to the longest jet in inference, and to a random
quantile of the lengths, 0.9 to 1, in training. For inference the faster of its two ways to gather
neighbours is its time. Repetitions alternate between the programs; medians are compared.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn
from weaver.nn.model.ParticleNet import ParticleNet as WeaverParticleNet

from hepgen.data import Batch, Features, PackedJets, make_batch
from hepgen.taggers import ParticleNet, ParticleNetLite, Tagger
from hepgen.taggers.particle_net import from_weaver_state

CLASSES = ("top", "qcd")
PADDED = 128


def jets_of(count: int, seed: int) -> Batch:
    """Jets with features of about the right size; multiplicities as in JetClass, 30 to 100."""
    rng = np.random.default_rng(seed)
    counts = np.clip(rng.normal(55, 18, count), 30, 100).astype(np.int64)
    ptr = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    pos = torch.from_numpy(rng.normal(0, 0.2, (ptr[-1], 2)).astype(np.float32))
    x = torch.from_numpy(rng.normal(0, 1, (ptr[-1], 7)).astype(np.float32))
    x[:, 5:] = pos
    y = torch.from_numpy(rng.integers(0, 2, count))
    return make_batch(x, ptr, pos=pos, y=y, weight=torch.ones(count))


def padded(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Points (B, 2, P), features (B, F, P) and mask (B, 1, P), as weaver's loader makes them."""
    mask = torch.arange(PADDED) < batch.ptr.diff()[:, None]
    points, features = (torch.zeros(*mask.shape, t.shape[1]) for t in (batch.pos, batch.x))
    points[mask], features[mask] = batch.pos, batch.x
    return points.mT.contiguous(), features.mT.contiguous(), mask[:, None]


def pair(lite: bool) -> tuple[Tagger, WeaverParticleNet, WeaverParticleNet]:
    """Our tagger, and weaver's with both ways to gather neighbours, with the same weights."""
    ours = (ParticleNetLite if lite else ParticleNet)(Features(), CLASSES)
    theirs = [
        WeaverParticleNet(
            len(ours.features),
            len(CLASSES),
            conv_params=[(ours.k, channels) for channels in ours.conv_channels],
            fc_params=[(channels, ours.dropout) for channels in ours.fc_channels],
            use_fusion=False,
        )
        for _ in range(2)
    ]
    theirs[1].load_state_dict(theirs[0].state_dict())
    for block in theirs[1].edge_convs:
        block.get_graph_feature.keywords["cpu_mode"] = True
    ours.load_state_dict(from_weaver_state(theirs[0].state_dict()))
    return ours, theirs[0], theirs[1]


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


def stepper(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """One step of training."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-4)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def inference(lite: bool, batch: Batch, repetitions: int) -> dict[str, float]:
    """Seconds of a batch in evaluation; logits are compared before."""
    ours, *theirs = pair(lite)
    inputs = padded(batch)
    packed = PackedJets(
        batch.x.numpy(),
        batch.pos.numpy(),
        np.zeros((len(batch.x), 4), np.float32),
        batch.ptr.numpy(),
    )
    for model in theirs:
        model.eval()
        model.trimmer.warmup_steps = 0
    ours.eval()
    with torch.no_grad():
        expected = theirs[0](*inputs)
        torch.testing.assert_close(ours(batch), expected, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(theirs[1](*inputs), expected, rtol=1e-4, atol=1e-5)
        times = medians(
            {
                "weaver": lambda: theirs[0](*inputs),
                "weaver, other gather": lambda: theirs[1](*inputs),
                "hepgen, forward": lambda: ours(batch),
                "hepgen, predict": lambda: ours.predict(packed),
            },
            repetitions,
        )
    times["weaver"] = min(times["weaver"], times.pop("weaver, other gather"))
    return times


def training(lite: bool, batch: Batch, repetitions: int) -> dict[str, float]:
    """Seconds of a step: forward, backward, optimiser."""
    ours, theirs, _ = pair(lite)
    theirs.trimmer.warmup_steps = 0
    inputs = padded(batch)

    def loss_of_weaver() -> Tensor:
        return nn.functional.cross_entropy(theirs.train()(*inputs), batch.y)

    calls = {
        "weaver": stepper(theirs, loss_of_weaver),
        "hepgen": stepper(ours, lambda: ours.train().loss(batch)),
    }
    return medians(calls, repetitions)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.particle_net", description=__doc__)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--lite", action="store_true", help="ParticleNet-Lite")
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    batch = jets_of(options.batch_size, seed=0)
    counts = batch.ptr.diff().float()
    name = "ParticleNet-Lite" if options.lite else "ParticleNet"
    print(
        f"{name}, {options.batch_size} jets of {counts.min():.0f} to {counts.max():.0f} "
        f"constituents (mean {counts.mean():.1f}), {options.threads} threads"
    )
    rows = []
    for what, measure in (("inference", inference), ("training", training)):
        times = measure(options.lite, batch, options.repetitions)
        theirs = times["weaver"]
        for program, seconds in times.items():
            rate, ratio = options.batch_size / seconds, theirs / seconds
            print(f"{what:<10} {program:<16} {rate:8.0f} jets/s {ratio:7.2f} x weaver")
            rows.append([name, options.threads, what, program, f"{rate:.0f}", f"{ratio:.2f}"])
    load = f"{os.getloadavg()[0]:.1f}"
    print(f"load {load}")
    if options.csv is not None:
        new = not options.csv.exists()
        with options.csv.open("a", newline="") as file:
            table = csv.writer(file)
            if new:
                table.writerow(["model", "threads", "what", "program", "jets/s", "ratio", "load"])
            table.writerows([*row, load] for row in rows)


if __name__ == "__main__":
    main()
