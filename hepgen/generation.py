"""Showers into files: made block by block, by one process or several, and taken up after a kill."""

from __future__ import annotations

import hashlib
import multiprocessing
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hepgen import __version__, calorimeter, checkpoint
from hepgen.calorimeter import EnergyRangeWarning, ShowerError, Showers
from hepgen.generation_parts import Parts, write_part
from hepgen.io.errors import InputError
from hepgen.shower_layout import read_like
from hepgen.shower_output import check_new_file, try_to_write
from hepgen.simulators import Correction, Simulator
from hepgen.simulators.incident import Incident, incident_particles

__all__ = ["generate"]

# Showers of a part: what a kill may cost, and what is held in memory at a time.
PART = 1024


def generate(
    model: Simulator | str | os.PathLike[str],
    n: int | None = None,
    incident_energy: Incident | None = None,
    *,
    output: str | os.PathLike[str],
    like: str | os.PathLike[str] | Showers | None = None,
    conditions: Mapping[str, ArrayLike] | None = None,
    correction: str | os.PathLike[str] | None = None,
    seed: int = 0,
    block: int | None = None,
    workers: int = 1,
    devices: str | Sequence[str] = "cpu",
    overwrite: bool = False,
    progress: bool = True,
    **options: Any,
) -> Path:
    """Make showers and write them into a file.

    The showers are those of ``model.sample`` with one thread: the same for any number of processes,
    and after a kill, from which the same call goes on with what is missing. Until all are there
    they stand in the folder ``.<output>.parts``.

    Args:
        model: a simulator, or the file of one.
        n: how many showers; as many as ``like`` has if not given.
        incident_energy: in GeV: one number, or a range "1:100" of which energies are drawn evenly
            in their logarithm; the trained range if not given.
        output: the file, ``.hdf5`` (the layout of the CaloChallenge) or ``.root``.
        like: showers, or a file of them, whose energies, other conditions and event identifiers
            are taken over. A file may be in the layout of the simulator, or in a finer one.
        conditions: other conditions, such as ``theta``, each one value or one for each shower.
        correction: the file of a `hepgen.simulators.Correction`, whose weights are written too.
        seed: the same seed gives the same showers.
        block: showers computed at a time; the simulator's own if not given.
        workers: number of processes. On CPUs each has one thread.
        devices: where to compute, such as "cuda"; of several, "cuda:0,cuda:1", each process takes
            one.
        overwrite: replace the file if it exists, and what another run left of it.
        progress: show a bar.
        **options: of `hepgen.calorimeter.write`.

    Returns:
        The file.

    Raises:
        OutputExists: the file exists, or parts of a run with other settings.
        MissingFile: there is no such folder.
        ShowerError: energies or conditions that make no sense.
        CheckpointError: the model file is damaged, or holds no simulator.
        NotReadable: an output of no format that hepgen writes.
        InputError: the writer has no such option.
        OSError: a file cannot be written.

    Warns:
        EnergyRangeWarning: energies or other conditions that the simulator was not trained on.
    """
    output, seed = check_new_file(output, overwrite=overwrite), int(seed)
    if workers < 1:
        raise InputError(f"workers={workers}: wanted 1 at least")
    simulator = model if isinstance(model, Simulator) else Simulator.load(Path(model))
    weighing = None if correction is None else Correction.load(Path(correction))
    block = simulator.block if block is None else block
    if block < 1:
        raise InputError(f"block={block}: wanted 1 at least")
    energy, given, event = _particles(simulator, n, incident_energy, like, conditions, seed)
    job = Job(energy, given, seed, block, PART, event)
    # What cannot be written, or weighted, is told before hours of work and not after them.
    one = job.showers(simulator, 0)[:1]
    try_to_write(output, one if weighing is None else weighing.weighted(one), options)
    where = devices.split(",") if isinstance(devices, str) else list(devices)
    settings = job.settings(simulator) | {"devices": sorted({d.split(":")[0] for d in where})}
    parts = Parts(output, settings, overwrite=overwrite)
    with _bar(progress, output.name, len(energy)) as advance:
        done = [number for number in range(job.num_parts) if number in parts]
        advance(sum(len(job.rows(number)) for number in done))
        wanted = list(parts.numbers(job.num_parts))
        made = _alone if workers == 1 else _together
        for number in made(simulator, job, parts, wanted, where, workers):
            advance(len(job.rows(number)))
    pieces = (parts.read(i, job.showers(simulator, i)) for i in range(job.num_parts))
    if weighing is not None:
        pieces = (weighing.weighted(piece) for piece in pieces)
    calorimeter.write(output, pieces, overwrite=overwrite, **options)
    parts.drop()
    return output


@dataclass(frozen=True)
class Job:
    """Which showers are to be made.

    Attributes:
        energy: incident energies in GeV, shape (B,).
        conditions: others, each of shape (B,).
        seed: of the showers.
        block: showers computed at a time.
        part: showers that are kept at a time.
        event: identifiers of the events, shape (B,); counted from 0 if not given.
    """

    energy: NDArray[np.float64]
    conditions: dict[str, NDArray[Any]]
    seed: int
    block: int
    part: int
    event: NDArray[np.int64] | None = None

    @property
    def blocks(self) -> int:
        """Blocks in a part."""
        return max(1, self.part // self.block)

    @property
    def num_parts(self) -> int:
        """Parts of the run."""
        return -(-len(self.energy) // (self.blocks * self.block))

    def rows(self, part: int) -> NDArray[np.int64]:
        """Numbers of the showers of a part."""
        size = self.blocks * self.block
        return np.arange(part * size, min((part + 1) * size, len(self.energy)))

    def voxels(self, simulator: Simulator, part: int) -> NDArray[np.float32]:
        """The voxels of a part in GeV, shape (B, V)."""
        last = -(-len(self.energy) // self.block)
        blocks = range(part * self.blocks, min((part + 1) * self.blocks, last))
        with warnings.catch_warnings():
            # Told once, before the first block.
            warnings.simplefilter("ignore", EnergyRangeWarning)
            pieces = simulator.stream(
                None,
                self.energy,
                conditions=self.conditions,
                seed=self.seed,
                block=self.block,
                blocks=blocks,
            )
            return np.concatenate([piece.voxels for piece in pieces])

    def showers(self, simulator: Simulator, part: int) -> Showers:
        """The showers of a part without their energies."""
        rows = self.rows(part)
        return Showers(
            simulator.geometry,
            self.energy[rows],
            np.zeros((len(rows), simulator.geometry.num_voxels), dtype=np.float32),
            {name: values[rows] for name, values in self.conditions.items()},
            event=rows if self.event is None else self.event[rows],
        )

    def settings(self, simulator: Simulator) -> dict[str, Any]:
        """What decides the showers, as JSON can hold it."""
        digest, weights = hashlib.sha256(self.energy.tobytes()), hashlib.sha256()
        for name, values in sorted(self.conditions.items()):
            digest.update(name.encode() + values.tobytes())
        for name, tensor in simulator.state_dict().items():
            weights.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        weights.update(repr(simulator.config()).encode())
        return {
            "hepgen": __version__,
            "torch": torch.__version__,
            "model": f"{type(simulator).__name__} {weights.hexdigest()[:16]}",
            "showers": len(self.energy),
            "seed": self.seed,
            "conditions": digest.hexdigest()[:16],
            "block": self.block,
            "part": self.part,
        }


def _particles(
    simulator: Simulator,
    n: int | None,
    incident_energy: Incident | None,
    like: str | os.PathLike[str] | Showers | None,
    conditions: Mapping[str, ArrayLike] | None,
    seed: int,
) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]], NDArray[np.int64] | None]:
    event = None
    if like is None:
        if n is None:
            raise ShowerError("wanted a number of showers n, or showers to be like")
        found = incident_particles(simulator.conditions, n, incident_energy, conditions, seed)
    else:
        if incident_energy is not None:
            raise ShowerError("energies are those of the showers that these shall be like")
        if not isinstance(like, Showers):
            like = read_like(like, simulator.geometry)
        some = like if n is None else like[:n]
        if n is not None and len(some) < n:
            raise ShowerError(f"n={n}: there are {len(some)} showers to be like")
        known = {k: v for k, v in some.conditions.items() if k in simulator.conditions.names}
        given = {**known, **(conditions or {})}
        found = incident_particles(simulator.conditions, None, some.incident_energy, given, seed)
        event = some.event
    simulator.conditions.encode(*found)  # warns
    return *found, event


def _alone(
    simulator: Simulator,
    job: Job,
    parts: Parts,
    wanted: list[int],
    devices: list[str],
    workers: int,
) -> Iterator[int]:
    """Parts made by this process."""
    before = simulator.device
    simulator = simulator.to(devices[0])
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        for number in wanted:
            parts.write(number, job.voxels(simulator, number))
            yield number
    finally:
        torch.set_num_threads(threads)
        # It may be the caller's.
        simulator.to(before)


def _together(
    simulator: Simulator,
    job: Job,
    parts: Parts,
    wanted: list[int],
    devices: list[str],
    workers: int,
) -> Iterator[int]:
    """Parts made by several processes."""
    path = parts.folder / "model.safetensors"
    simulator.save(path)
    # A fork of a process with threads may hang.
    context = multiprocessing.get_context("spawn")
    turns = context.Queue()
    for worker in range(workers):
        turns.put(devices[worker % len(devices)])
    with ProcessPoolExecutor(
        min(workers, max(len(wanted), 1)), context, _begin, (path, job, parts.folder, turns)
    ) as pool:
        futures = {pool.submit(_make, parts.path(number), number): number for number in wanted}
        try:
            for future in as_completed(futures):
                future.result()
                yield futures[future]
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


_WORKER: dict[str, Any] = {}


def _begin(path: Path, job: Job, folder: Path, turns: Any) -> None:
    """What a process does once."""
    torch.set_num_threads(1)
    _WORKER["job"] = job
    _WORKER["simulator"] = checkpoint.load(path, device=turns.get())


def _make(path: Path, number: int) -> None:
    write_part(path, _WORKER["job"].voxels(_WORKER["simulator"], number))


@contextmanager
def _bar(visible: bool, name: str, total: int) -> Iterator[Any]:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, TimeRemainingColumn(), disable=not visible) as bar:
        task = bar.add_task(name, total=total)
        yield lambda showers: bar.advance(task, showers)
