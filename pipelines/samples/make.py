"""The run: chunks of jets made in parallel, written in order.

Chunk i holds the same number of jets of every class, shuffled together. What is in it follows from
the seed and i alone, so the file does not depend on the number of workers.
"""

from __future__ import annotations

import multiprocessing
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from pipelines.samples.detector import Detector, reconstruct
from pipelines.samples.events import MAX_PYTHIA_SEED, GeneratorError, Process, generate
from pipelines.samples.jets import JetCuts, Jets, leading_jets
from pipelines.samples.output import writing

EVENTS_A_BATCH = 200
EVENTS_A_CHUNK = 10_000_000
EVENTS_WITHOUT_JETS = 50_000


@dataclass(frozen=True)
class Recipe:
    """All that decides what a chunk holds."""

    classes: dict[str, Process]
    common: list[str]
    cuts: JetCuts
    detector: Detector | None
    seed: int


def make(
    output: Path,
    classes: dict[str, Process],
    common: list[str],
    cuts: JetCuts,
    detector: Detector | None = None,
    jets: int = 10_000,
    seed: int = 1,
    workers: int = 1,
    chunk: int = 1000,
    kind: str = "ttree",
    overwrite: bool = False,
) -> None:
    """Make a sample of jets and write it to ROOT.

    Args:
        output: file to write; it appears under its name only when complete.
        classes: what to make, by class; class `top` becomes the branch `label_top`.
        common: settings of Pythia8 for all classes.
        cuts: jet definition and selection.
        detector: what the particles are smeared with; null keeps the true visible particles.
        jets: jets in all, the same number of each class.
        seed: of everything; other seeds give independent samples.
        workers: processes; the result does not depend on it.
        chunk: jets made and written at a time, all classes together; the result depends on it.
        kind: "ttree" or "rntuple".
        overwrite: replace an existing output.

    Raises:
        ValueError: `jets` or `chunk` cannot be shared out over the classes, or a number is not
            positive.
        FileNotFoundError: the folder of the output does not exist.
        FileExistsError: the output exists and `overwrite` is not set.
        ModuleNotFoundError: pythia8mc or fastjet is not installed.
        RuntimeError: a worker died or Pythia failed; no output is left behind.
    """
    _check(output, jets, chunk, workers, len(classes), overwrite)
    recipe = Recipe(classes, common, cuts, detector, seed)
    sizes = [min(chunk, jets - start) for start in range(0, jets, chunk)]
    with writing(output, kind) as extend, _progress() as progress:
        task = progress.add_task(output.name, total=jets)
        for made in _chunks(recipe, sizes, workers):
            extend(made)
            progress.advance(task, len(made))


def make_chunk(recipe: Recipe, index: int, size: int) -> Jets:
    """Chunk `index` of a sample: `size` jets, classes shuffled together.

    Args:
        recipe: what to make.
        index: which chunk; decides the random numbers.
        size: jets, divisible by the number of classes.
    """
    parts = []
    names = list(recipe.classes)
    for number, name in enumerate(names):
        rng = np.random.default_rng([recipe.seed, index, number])
        made = _one_class(recipe, name, size // len(names), rng)
        # Unique over the file: run of Pythia, then number of the event in that run.
        run = (index * len(names) + number) * EVENTS_A_CHUNK
        made.columns["event"] = made.columns["event"] + run
        for other in names:
            made.columns[f"label_{other}"] = np.full(len(made), other == name)
        parts.append(made)
    rng = np.random.default_rng([recipe.seed, index, len(names)])
    return Jets.joined(parts).taken(rng.permutation(size))


def _one_class(recipe: Recipe, name: str, size: int, rng: np.random.Generator) -> Jets:
    """`size` jets of one class from one run of Pythia."""
    process = recipe.classes[name]
    pythia_seed = int(rng.integers(1, MAX_PYTHIA_SEED))
    parts: list[Jets] = []
    seen = 0
    for events in generate(process, recipe.common, pythia_seed, EVENTS_A_BATCH):
        particles = reconstruct(events, recipe.detector, rng)
        made = leading_jets(events, particles, recipe.cuts, process)
        made.columns["event"] = made.columns["event"] + seen
        seen += len(events)
        parts.append(made)
        found = sum(map(len, parts))
        if found >= size:
            break
        if found == 0 and seen >= EVENTS_WITHOUT_JETS:
            raise GeneratorError(f"no jet of class {name} passes {recipe.cuts} in {seen} events")
    return Jets.joined(parts).taken(np.arange(size))


def _chunks(recipe: Recipe, sizes: list[int], workers: int) -> Iterator[Jets]:
    """Chunks in order, from as many processes as asked for, a few ahead of the writer."""
    if workers == 1:
        for index, size in enumerate(sizes):
            yield make_chunk(recipe, index, size)
        return
    # Not fork: Pythia, FastJet and numba start clean in each worker, as they would on any platform.
    context = multiprocessing.get_context("spawn")
    waiting: deque[Future[Jets]] = deque()
    pool = ProcessPoolExecutor(workers, mp_context=context)
    try:
        for index, size in enumerate(sizes):
            waiting.append(pool.submit(make_chunk, recipe, index, size))
            if len(waiting) > 2 * workers:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _check(
    output: Path, jets: int, chunk: int, workers: int, classes: int, overwrite: bool
) -> None:
    """Refuse what cannot be made before anything is made."""
    for name, value in (("jets", jets), ("chunk", chunk), ("workers", workers)):
        if value < 1:
            raise ValueError(f"{name} must be positive, got {value}")
    for name, value in (("jets", jets), ("chunk", chunk)):
        if value % classes:
            raise ValueError(f"{name} = {value} cannot be shared equally by {classes} classes")
    if not output.absolute().parent.is_dir():
        raise FileNotFoundError(
            f"no folder {output.absolute().parent} for the output {output.name}"
        )
    if output.exists() and not overwrite:
        raise FileExistsError(f"{output} exists; --overwrite true replaces it")


def _progress() -> Progress:
    """Bar with jets done and time left."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("jets"),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
    )
