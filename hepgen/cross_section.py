"""What ``hepgen integrate`` does: a cross section, its distributions and its events, in one folder.

==================  ===============================================================================
``result.json``     cross section in pb with error and diagnostics, the batches
``histograms.root`` a TH1D for each distribution: cross section per bin in pb
``*.png``           the distributions, weights and convergence
``events.lhe.gz``   unweighted events for showers
``events.root``     the same as a tree
``pipeline.yaml``   what was asked for, with all defaults
``run.state``       where an interrupted run goes on; more calls add to it
==================  ===============================================================================
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import uproot
import yaml
from rich.console import Console

from hepgen import __version__
from hepgen.atomic import replacing
from hepgen.integration import Integral, UnweightedEvents, integrate
from hepgen.integration.process import Events, Process
from hepgen.io import write
from hepgen.io.errors import OutputExists
from hepgen.io.lhe import LHEInfo, LHEProcess, write_lhe
from hepgen.plots import convergence, differential, figure, label, style, weight_distribution
from hepgen.process_pipeline import ProcessPipeline, read_process_pipeline

__all__ = ["cross_section", "cross_section_from_words"]


def cross_section_from_words(words: Sequence[str]) -> Integral:
    """Integrate as a pipeline and its overrides say: ``hepgen integrate PIPELINE.yaml``.

    Args:
        words: a YAML file, and options that override its keys.

    Returns:
        The cross section in pb.

    Raises:
        InputError: the pipeline has a key, process or argument that does not exist, or the folder
            holds a run of another process.
        ValueError: what `hepgen.integrate` raises.
    """
    return cross_section(read_process_pipeline(words))


def cross_section(pipeline: ProcessPipeline) -> Integral:
    """Integrate a process and write what is known of it into a folder.

    Args:
        pipeline: what to do.

    Returns:
        The cross section in pb.

    Raises:
        ValueError: what `hepgen.integrate` raises.
        OSError: the folder cannot be written.
    """
    folder, process = pipeline.output, pipeline.process
    folder.mkdir(parents=True, exist_ok=True)
    console = Console(stderr=True, quiet=pipeline.options.get("progress") is False)
    say = partial(console.print, soft_wrap=True, highlight=False)
    say(f"{type(process).__name__}: {process.dimension} dimensions; run in {folder}")
    _check_folder(folder, pipeline.resolved)
    _write_text(folder / "pipeline.yaml", pipeline.resolved)
    options = dict(pipeline.options)
    workers = options.pop("workers", 1)
    # The kernels of the processes release the interpreter: threads share the work.
    with ThreadPoolExecutor(max(workers, 1)) as pool:
        result = integrate(
            process,
            [(0.0, 1.0)] * process.dimension,
            axes=[binning.axis(name) for name, binning in pipeline.histograms.items()],
            observables=process.observables,
            seed=pipeline.seed,
            state=folder / "run.state",
            executor=pool if workers > 1 else None,
            workers=workers,
            **options,
        )
    say(f"cross section {result.estimate} pb\n" + str(result).split("\n", 1)[1])
    _write_text(folder / "result.json", json.dumps(_summary(process, result), indent=2))
    if result.histograms:
        _write_histograms(folder / "histograms.root", result)
    _draw(folder, result)
    if pipeline.events:
        found = result.unweight(pipeline.events, overweight=pipeline.overweight, seed=pipeline.seed)
        _write_events(folder, process, result, found, pipeline)
        say(
            f"{len(found):,} events, unweighting efficiency {found.efficiency:.2%}, "
            f"{found.overweight_share:.2%} of the cross section in overweight events"
        )
    say(f"written into {folder}")
    return result


def _check_folder(folder: Path, resolved: str) -> None:
    """See that a run to go on with is one of the same process.

    Raises:
        OutputExists: it is of another.
    """
    if not (folder / "run.state").exists() or not (folder / "pipeline.yaml").exists():
        return
    before, now = yaml.safe_load((folder / "pipeline.yaml").read_text()), yaml.safe_load(resolved)
    for key in ("process", "histograms", "seed"):
        if before.get(key) != now.get(key):
            raise OutputExists(
                f"{folder} holds a run with another {key}: {before.get(key)}; wanted "
                f"{now.get(key)}; give another --output or delete {folder / 'run.state'}"
            )


def _summary(process: Process, result: Integral) -> dict[str, Any]:
    batches = [
        {
            "sampler": batch.sampler,
            "calls": batch.calls,
            "integral": float(batch.integral[0]),
            "error": float(np.sqrt(batch.covariance[0, 0])),
            "final": batch.final,
        }
        for batch in result.batches
    ]
    figures = result.summary()
    numbers = {"cross_section": result.integral, "error": result.error, "unit": "pb"}
    rest = {k: v for k, v in figures.items() if k not in ("integral", "error")}
    return {"process": type(process).__name__, **numbers, **rest, "batches": batches}


def _write_text(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text + ("" if text.endswith("\n") else "\n"))


def _write_histograms(path: Path, result: Integral) -> None:
    with replacing(path) as temporary, uproot.recreate(temporary) as file:
        for name, histogram in result.histograms.items():
            file[name] = histogram


def _draw(folder: Path, result: Integral) -> None:
    for name, histogram in result.histograms.items():
        if histogram.ndim == 1:
            _picture(folder / f"{name}.png", partial(differential, histogram=histogram, unit="pb"))
    _picture(folder / "weights.png", lambda ax: weight_distribution(ax, result.weights))
    integrals = [float(batch.integral[0]) for batch in result.batches]
    errors = [float(np.sqrt(batch.covariance[0, 0])) for batch in result.batches]
    _picture(
        folder / "convergence.png",
        lambda ax: convergence(
            ax,
            [batch.calls for batch in result.batches],
            integrals,
            errors,
            final=[batch.final for batch in result.batches],
            result=(result.integral, result.error),
            unit="pb",
        ),
    )


def _picture(path: Path, draw: Callable[[Any], Any]) -> None:
    with style():
        made, (ax,) = figure()
        draw(ax)
        label(ax)
        content = io.BytesIO()
        made.savefig(content, format="png")
    with replacing(path) as temporary:
        temporary.write_bytes(content.getvalue())


def _write_events(
    folder: Path,
    process: Process,
    result: Integral,
    found: UnweightedEvents,
    pipeline: ProcessPipeline,
) -> None:
    u, _ = result.domain.inverse(found.x)
    events: Events = process.events(u, np.random.default_rng([pipeline.seed, 0x6C6865]))
    equal = bool((np.abs(found.weight) == 1).all())
    # Weights in pb whose mean is the cross section, where overweight events make them unequal.
    weight = found.weight if equal else found.weight * (result.integral / found.weight.mean())
    sign = -1 if (weight < 0).any() else 1
    records = events.to_awkward(weight)
    info = LHEInfo(
        beams=process.beams,
        energies=process.beam_energies,
        processes=(LHEProcess(result.integral, result.error, float(np.abs(weight).max())),),
        strategy=sign * (3 if equal else 4),
        version=__version__,
        header=pipeline.resolved,
    )
    write_lhe(folder / "events.lhe.gz", records, info)
    write(
        folder / "events.root",
        records,
        tree="events",
        overwrite=True,
        metadata={"pipeline": pipeline.resolved, "cross_section_pb": repr(result.integral)},
    )
