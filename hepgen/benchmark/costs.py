"""What a tagger costs: parameters, arithmetic, time."""

from __future__ import annotations

import time
from dataclasses import dataclass

import awkward as ak
import torch
from torch.utils.flop_counter import FlopCounterMode

from hepgen.data import PackedJets
from hepgen.taggers import Tagger

__all__ = ["Costs", "costs"]

# Jets whose arithmetic is counted, and jets and seconds that are timed at most.
COUNTED, TIMED, SECONDS, ROUNDS = 64, 5000, 20.0, 3


@dataclass(frozen=True)
class Costs:
    """What scoring costs.

    Attributes:
        parameters: trainable ones.
        megaflops: of matrix products, convolutions and attention for a jet, in 10^6; an addition
            and a multiplication are two. What numba computes, such as neighbours and clustering, is
            not counted.
        jets_per_second: scored by ``predict`` from packed jets, the best of three rounds.
        device: where.
        threads: of the CPU.
    """

    parameters: int
    megaflops: float
    jets_per_second: float
    device: str
    threads: int


def costs(tagger: Tagger, jets: ak.Array) -> Costs:
    """Measure what scoring some jets costs.

    Args:
        tagger: where it computes is where its weights are.
        jets: as `hepgen.io.read` gives them, at least one.

    Raises:
        ValueError: there are no jets.
    """
    if len(jets) == 0:
        raise ValueError("costs are measured on jets; there are none")
    parameters = [p for p in tagger.parameters() if p.requires_grad]
    device = parameters[0].device
    return Costs(
        sum(p.numel() for p in parameters),
        _megaflops(tagger, PackedJets.pack(jets[:COUNTED], tagger.features), device),
        _speed(tagger, jets),
        str(device) if device.type == "cpu" else torch.cuda.get_device_name(device),
        torch.get_num_threads(),
    )


def _megaflops(tagger: Tagger, jets: PackedJets, device: torch.device) -> float:
    some = jets.batch(slice(None)).to(device)
    mode, counter = tagger.training, FlopCounterMode(display=False)
    learning = [p for p in tagger.parameters() if p.requires_grad]
    tagger.eval().requires_grad_(False)  # the counter's hooks would wait for gradients
    try:
        with torch.no_grad(), counter:
            tagger(some)
    finally:
        tagger.train(mode)
        for parameter in learning:
            parameter.requires_grad_(True)
    return float(counter.get_total_flops() / some.num_graphs / 1e6)


def _speed(tagger: Tagger, jets: ak.Array) -> float:
    """Jets a second, of the best round; slow taggers get fewer jets."""
    first = PackedJets.pack(jets[:COUNTED], tagger.features)
    tagger.predict(first)  # compiles what is compiled once
    began = time.perf_counter()
    tagger.predict(first)
    each = (time.perf_counter() - began) / len(first)
    number = max(len(first), min(TIMED, len(jets), int(SECONDS / ROUNDS / max(each, 1e-9))))
    timed, best = PackedJets.pack(jets[:number], tagger.features), 0.0
    for _ in range(ROUNDS):
        began = time.perf_counter()
        tagger.predict(timed)
        best = max(best, len(timed) / (time.perf_counter() - began))
    return best
