"""L-GATr and L-GATr-slim: jets a second of hepgen and of lgatr, in inference and in training.

``python -m benchmarks.lgatr [--slim] [--threads 1]``; needs ``hepgen[bench]``. Both have the same
weights and the same jets, of 30 to 100 constituents, with beams, time and a global token; logits
are compared before the clock starts. lgatr gets batches padded to the longest jet, with a mask; of
the two ways to apply linear maps that it has, the faster is its time. Repetitions alternate between
the programs; medians are compared. With one thread the clock is the processor's, so that other
programs on the machine do not count.
"""

from __future__ import annotations

import argparse
import csv
import os
import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import lgatr
import numpy as np
import torch
from torch import Tensor, nn

from hepgen.data import Batch, Features, PackedJets, make_batch
from hepgen.taggers import LGATr, LGATrSlim, Tagger
from hepgen.taggers.lgatr import from_lgatr_state
from hepgen.taggers.lgatr_slim import from_lgatr_state as from_slim_state

CLASSES = ("top", "qcd")


def jets_of(count: int, seed: int) -> Batch:
    """Jets of about 500 GeV; multiplicities as in JetClass, 30 to 100."""
    rng = np.random.default_rng(seed)
    counts = np.clip(rng.normal(55, 18, count), 30, 100).astype(np.int64)
    ptr = torch.from_numpy(np.concatenate([[0], np.cumsum(counts)]))
    size = int(ptr[-1])
    pt, eta, phi = rng.exponential(10, size), rng.normal(0, 0.3, size), rng.normal(0, 0.3, size)
    px, py, pz = pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)
    energy = np.sqrt(px**2 + py**2 + pz**2 + 0.14**2)
    p4 = torch.from_numpy(np.stack([energy, px, py, pz], axis=1).astype(np.float32))
    y = torch.from_numpy(rng.integers(0, 2, count))
    x = torch.zeros(size, 7)
    return make_batch(x, ptr, p4=p4, pos=x[:, :2], y=y, weight=torch.ones(count))


def padded(batch: Batch) -> tuple[Tensor, Tensor, Tensor]:
    """Multivectors (B, P, 1, 16), scalars (B, P, 1) and mask (B, 1, 1, P) of all tokens."""
    fixed = torch.cat([torch.zeros(1, 16), lgatr.get_spurions("lightlike", True)])
    counts = batch.ptr.diff() + len(fixed)
    mask = torch.arange(int(counts.max())) < counts[:, None]
    tokens = torch.zeros(*mask.shape, 16)
    tokens[:, : len(fixed)] = fixed
    constituents = mask.clone()
    constituents[:, : len(fixed)] = False
    tokens[constituents] = lgatr.embed_vector(batch.p4 / 20)
    flag = torch.zeros(*mask.shape, 1)
    flag[:, 0] = 1
    return tokens[:, :, None], flag, mask[:, None, None]


def pair(slim: bool, blocks: int) -> tuple[Tagger, dict[str, nn.Module]]:
    """Our tagger, and lgatr's networks with the same weights."""
    features = Features()
    if slim:
        tagger = LGATrSlim(features, CLASSES, num_blocks=blocks)
        net = lgatr.LGATrSlim(
            num_blocks=blocks,
            in_v_channels=1,
            out_v_channels=0,
            hidden_v_channels=32,
            in_s_channels=1,
            out_s_channels=2,
            hidden_s_channels=96,
            num_heads=8,
            mlp_ratio=4,
        )
        tagger.load_state_dict(from_slim_state(net.state_dict()))
        return tagger, {"lgatr": net}
    nets = {
        name: lgatr.LGATr(
            num_blocks=blocks,
            in_mv_channels=1,
            out_mv_channels=2,
            hidden_mv_channels=16,
            in_s_channels=1,
            out_s_channels=0,
            hidden_s_channels=32,
            attention={"num_heads": 8, "attn_ratio": 2, "head_scale": True},
            mlp={"mlp_ratio": 2},
            primitives={"sparse_linear": sparse},
        )
        for name, sparse in (("lgatr", False), ("lgatr, sparse", True))
    }
    nets["lgatr, sparse"].load_state_dict(nets["lgatr"].state_dict())
    full = LGATr(features, CLASSES, num_blocks=blocks)
    full.load_state_dict(from_lgatr_state(nets["lgatr"].state_dict()))
    return full, nets


def logits_of(net: nn.Module, tokens: Tensor, flag: Tensor, mask: Tensor) -> Tensor:
    """Logits (B, K) by lgatr's network."""
    if isinstance(net, lgatr.LGATr):
        components: Tensor = net(tokens, flag, attn_mask=mask)[0]
        return components[:, 0, :, 0]
    scalars: Tensor = net(lgatr.extract_vector(tokens), flag, attn_mask=mask)[1]
    return scalars[:, 0]


def medians(calls: dict[str, Callable[[], object]], repetitions: int) -> dict[str, float]:
    """Seconds of each call, which take turns; lgatr's are those of its faster way."""
    clock = time.process_time if torch.get_num_threads() == 1 else time.perf_counter
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for repetition in range(repetitions + 1):
        for name, call in calls.items():
            start = clock()
            call()
            if repetition:  # the first is for caches, compilation and memory
                seconds[name].append(clock() - start)
    times = {name: median(values) for name, values in seconds.items()}
    theirs = min(times.pop(name) for name in calls if name.startswith("lgatr"))
    return {"lgatr": theirs} | times


def stepper(model: nn.Module, loss: Callable[[], Tensor]) -> Callable[[], None]:
    """One step of training."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)

    def step() -> None:
        optimizer.zero_grad()
        loss().backward()
        optimizer.step()

    return step


def inference(slim: bool, blocks: int, batch: Batch, repetitions: int) -> dict[str, float]:
    """Seconds of a batch in evaluation; logits are compared before."""
    ours, theirs = pair(slim, blocks)
    inputs = padded(batch)
    x, pos, p4 = (tensor.numpy() for tensor in (batch.x, batch.pos, batch.p4))
    packed = PackedJets(x, pos, p4, batch.ptr.numpy())
    calls: dict[str, Callable[[], object]] = {
        name: lambda net=net: logits_of(net, *inputs) for name, net in theirs.items()
    }
    calls |= {
        "hepgen, forward": lambda: ours(batch),
        "hepgen, predict": lambda: ours.predict(packed),
    }
    with torch.no_grad():
        expected = logits_of(theirs["lgatr"], *inputs)
        torch.testing.assert_close(ours.eval()(batch), expected, rtol=1e-4, atol=1e-5)
        return medians(calls, repetitions)


def training(slim: bool, blocks: int, batch: Batch, repetitions: int) -> dict[str, float]:
    """Seconds of a step: forward, backward, optimiser."""
    ours, theirs = pair(slim, blocks)
    inputs = padded(batch)

    def loss_of(net: nn.Module) -> Tensor:
        return nn.functional.cross_entropy(logits_of(net, *inputs), batch.y)

    calls: dict[str, Callable[[], object]] = {
        name: stepper(net, lambda net=net: loss_of(net)) for name, net in theirs.items()
    }
    calls["hepgen"] = stepper(ours, lambda: ours.train().loss(batch))
    return medians(calls, repetitions)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.lgatr", description=__doc__)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch-size", type=int, default=256)
    parser.add_argument("--blocks", type=int, default=12)
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--slim", action="store_true", help="L-GATr-slim")
    parser.add_argument("--csv", type=Path, help="append the rows to this file")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    batch = jets_of(options.batch_size, seed=0)
    counts = batch.ptr.diff().float()
    name = "L-GATr-slim" if options.slim else "L-GATr"
    print(
        f"{name}, {options.blocks} blocks, {options.batch_size} jets of {counts.min():.0f} to "
        f"{counts.max():.0f} constituents (mean {counts.mean():.1f}), {options.threads} threads"
    )
    rows = []
    for what, measure in (("inference", inference), ("training", training)):
        times = measure(options.slim, options.blocks, batch, options.repetitions)
        for program, seconds in times.items():
            rate, ratio = options.batch_size / seconds, times["lgatr"] / seconds
            print(f"{what:<10} {program:<16} {rate:8.1f} jets/s {ratio:7.2f} x lgatr", flush=True)
            run = [name, options.blocks, options.batch_size, options.threads]
            rows.append([*run, what, program, f"{rate:.1f}", f"{ratio:.2f}"])
    load = f"{os.getloadavg()[0]:.1f}"
    print(f"load {load}")
    if options.csv is not None:
        new = not options.csv.exists()
        head = ["model", "blocks", "jets", "threads", "what", "program", "jets/s", "ratio", "load"]
        with options.csv.open("a", newline="") as file:
            table = csv.writer(file)
            if new:
                table.writerow(head)
            table.writerows([*row, load] for row in rows)


if __name__ == "__main__":
    main()
