"""How long a simulator takes for a shower.

Shapes: B showers of a batch, C context.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hepgen.calorimeter import ShowerError
from hepgen.simulators.incident import Incident, incident_particles
from hepgen.simulators.simulator import Simulator

__all__ = ["GenerationTime", "generation_times"]


@dataclass(frozen=True)
class GenerationTime:
    """What one shower costs where so many are made at a time.

    Attributes:
        batch: showers at a time.
        milliseconds: for each shower, the fastest of the repetitions.
        spread: the median of the repetitions over the fastest; far above 1 on a busy machine.
        repetitions: how often it was measured.
        device: such as "cpu".
        threads: of the CPU.
    """

    batch: int
    milliseconds: float
    spread: float
    repetitions: int
    device: str
    threads: int

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        return dict(vars(self))


def generation_times(
    simulator: Simulator,
    batches: Sequence[int] = (1, 100, 10_000),
    *,
    incident_energy: Incident | None = None,
    conditions: dict[str, Any] | None = None,
    repetitions: int = 5,
    seconds: float = 60.0,
    seed: int = 0,
) -> list[GenerationTime]:
    """Measure the time of ``generate``, from conditions to voxels, where the simulator is.

    Args:
        simulator: which.
        batches: how many showers at a time, as the CaloChallenge has it 1, 100 and 10 000.
        incident_energy: as of `Simulator.sample`; the trained range if not given.
        conditions: other conditions.
        repetitions: of each, after one that does not count.
        seconds: no further batch, and no further repetition, begins after that.
        seed: of energies and showers.

    Returns:
        One for each batch that was begun in time.

    Raises:
        ShowerError: no batches, or sizes below 1.
    """
    if not batches or min(batches) < 1:
        raise ShowerError(f"batches={list(batches)}: wanted numbers from 1 on")
    device = simulator.device
    found: list[GenerationTime] = []
    simulator.eval()
    began = time.perf_counter()
    for batch in sorted(batches):
        energy, given = incident_particles(
            simulator.conditions, batch, incident_energy, conditions, seed
        )
        context = torch.from_numpy(simulator.conditions.encode(energy, given)).to(device)
        incident = torch.from_numpy(energy.astype(np.float32)).to(device)
        expected = found[-1].milliseconds * batch / 1e3 if found else 0.0
        if time.perf_counter() - began + expected > seconds:
            break
        times = _times(simulator, incident, context, repetitions, began + seconds, seed)
        best = min(times)
        found.append(
            GenerationTime(
                batch,
                1e3 * best / batch,
                float(np.median(times)) / best,
                len(times),
                str(device),
                torch.get_num_threads(),
            )
        )
    return found


def _times(
    simulator: Simulator,
    incident: Tensor,
    context: Tensor,
    repetitions: int,
    end: float,
    seed: int,
) -> list[float]:
    """Seconds of one batch, again and again; one that warms up counts if there is no time left."""
    times = []
    for _ in range(repetitions + 1):
        generator = torch.Generator().manual_seed(seed)
        began = time.perf_counter()
        with torch.inference_mode():
            voxels = simulator.generate(incident, context, generator)
        if voxels.is_cuda:
            torch.cuda.synchronize(voxels.device)
        times.append(time.perf_counter() - began)
        if time.perf_counter() > end:
            break
    return times[1:] or times
