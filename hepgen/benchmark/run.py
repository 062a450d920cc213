"""Train, judge and time the taggers of a plan, and keep what is done."""

from __future__ import annotations

import argparse
import csv
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
from rich.console import Console

from hepgen import __version__
from hepgen.atomic import replacing
from hepgen.benchmark.costs import costs
from hepgen.benchmark.plan import Entry, Plan, read_plan
from hepgen.benchmark.table import Row, Table
from hepgen.data import Features, JetFiles
from hepgen.data.labels import class_index
from hepgen.io import expand
from hepgen.io.errors import InputError, MissingName, WrongType
from hepgen.metrics import Estimate, summarise
from hepgen.pipeline import fit_to, make_tagger
from hepgen.pipeline_head import head_for, parts_for, sample_for
from hepgen.sample import Parts
from hepgen.taggers import Tagger
from hepgen.training import fit

__all__ = ["benchmark", "benchmark_from_words"]

RESULT = "result.json"


def benchmark_from_words(words: Sequence[str]) -> Table:
    """Compare taggers as a YAML and the options after it say.

    Args:
        words: the YAML; ``--taggers NAME ...``, ``--seeds N ...``, ``-o FOLDER``; options that
            override keys of every tagger, such as ``--fit.epochs 3``.

    Returns:
        The table.

    Raises:
        InputError: the plan cannot be understood, or the jets cannot be read.
        ValueError: what `hepgen.fit` raises.
    """
    parser = argparse.ArgumentParser(
        prog="hepgen benchmark",
        usage="hepgen benchmark PIPELINE.yaml [--taggers NAME ...] [--seeds N ...] [-o FOLDER] "
        "[--fit.epochs 3 ...]",
        description="Train several taggers on one sample with several seeds, and write a table of "
        "what each can do and what it costs (CSV, Markdown, plot). What is done is kept: the same "
        "call goes on. Other options override keys of every tagger.",
        allow_abbrev=False,
    )
    parser.add_argument("pipeline", help="YAML with data, fit, seeds and taggers")
    parser.add_argument("--taggers", nargs="+", help="some of those in the YAML")
    parser.add_argument("--seeds", nargs="+", type=int, help="in place of those in the YAML")
    parser.add_argument("-o", "--output", help="folder; runs/<pipeline> if the YAML has none")
    chosen, rest = parser.parse_known_args(list(words))
    plan = read_plan(
        chosen.pipeline, rest, taggers=chosen.taggers, seeds=chosen.seeds, output=chosen.output
    )
    return benchmark(plan)


def benchmark(plan: Plan, *, progress: bool = True) -> Table:
    """Train every tagger with every seed, and set what they can do and cost side by side.

    All see the same training, validation and test jets. Each training has a folder of its own,
    ``<output>/<tagger>/seed_<n>``, and is not done again if its ``result.json`` is there and of the
    same settings; one that was interrupted goes on. The folder gets ``table.csv``, ``table.md``
    and ``table.png``, anew after each tagger.

    Args:
        plan: see `hepgen.benchmark.plan.read_plan`.
        progress: show bars and what is being done.

    Returns:
        The table.

    Raises:
        InputError: the jets cannot be read, there are no test jets, the signal is none of the
            classes, or a folder holds a training with other settings.
        ValueError: what `hepgen.fit` raises.
    """
    say = Console(stderr=True, quiet=not progress).print
    parts: dict[str, tuple[Features, Parts]] = {}
    rows: list[Row] = []
    for entry in plan.entries:
        results = []
        for seed in plan.seeds:
            folder = plan.output / entry.name / f"seed_{seed}"
            found = _kept(folder, _settings(entry, plan, seed))
            if found is None:
                say(f"{entry.name}, seed {seed}: training in {folder}")
                found = _train(entry, plan, seed, folder, parts, progress)
            results.append(found)
        rows.append(_row(entry, plan.seeds, results))
        table = Table(tuple(rows), _about(results[0]))
        write_table(table, plan.output)
        say(f"{entry.name}: " + ", ".join(f"{m} {rows[-1].text(m)}" for m in table.metrics))
    return table


def write_table(table: Table, folder: Path) -> None:
    """Write a table as CSV, Markdown and plot.

    Args:
        table: what `benchmark` gave.
        folder: where; files of the same names are replaced.

    Raises:
        OSError: a file cannot be written.
    """
    from hepgen import plots

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in (("table.csv", table.csv()), ("table.md", table.markdown())):
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    columns = {
        metric: {
            row.name: (row.mean(metric), row.spread(metric), row.sampling(metric))
            for row in table.rows
        }
        for metric in table.metrics
    }
    with plots.style(), replacing(folder / "table.png") as temporary:
        plots.taggers_side_by_side(columns).savefig(temporary, format="png", dpi=150)


def _settings(entry: Entry, plan: Plan, seed: int) -> dict[str, Any]:
    """What decides a result, to tell whether one that is there is of this plan."""
    return {
        "pipeline": entry.pipeline.resolved,
        "seed": seed,
        "split_seed": plan.split_seed,
        "signal": plan.signal,
        "working_points": list(plan.working_points),
    }


def _kept(folder: Path, settings: dict[str, Any]) -> dict[str, Any] | None:
    """The result in a folder, if there is one."""
    path = folder / RESULT
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        before = found["settings"]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{path} is damaged ({error!r}); take it away to train again") from error
    if before != settings:
        raise InputError(
            f"{folder} holds a training with other settings; take it away, or say another output: "
            + "; ".join(_differences(before, settings))
        )
    return found


def _differences(before: dict[str, Any], now: dict[str, Any]) -> Iterator[str]:
    for key in now:
        old, new = before.get(key), now[key]
        if old == new:
            continue
        if key == "pipeline":
            there, here = (str(text).splitlines() for text in (old, new))
            gone = ", ".join(line.strip() for line in there if line not in here)
            come = ", ".join(line.strip() for line in here if line not in there)
            yield f"{gone or 'nothing'} there, {come or 'nothing'} here"
        else:
            yield f"{key} {old!r} there, {new!r} here"


def _train(
    entry: Entry,
    plan: Plan,
    seed: int,
    folder: Path,
    known: dict[str, tuple[Features, Parts]],
    progress: bool,
) -> dict[str, Any]:
    """Train one tagger with one seed, judge it on the test jets, and keep the result."""
    features, parts = _parts(entry, plan, known, progress)
    pipeline = entry.pipeline
    sample = sample_for(pipeline.sample, pipeline.head)
    learnt = head_for(pipeline.head, sample, parts.train, seed=seed)
    tagger = make_tagger(
        pipeline.model, features, learnt, pipeline.arguments, seed=seed, start=pipeline.start
    )
    if not tagger.classes:
        raise WrongType(f"{entry.name}: {pipeline.head} tells no classes apart; a benchmark does")
    if plan.signal is not None and plan.signal not in tagger.classes:
        raise MissingName.among(
            plan.signal, tagger.classes, kind="class (signal)", where=f"{entry.name}'s classes"
        )
    options = {"seed": seed, "progress": progress, **pipeline.options}
    fit(tagger, parts.train, validation=parts.validation, output=folder, **options)
    scores = tagger.predict(parts.test, progress=progress)
    found = {
        "settings": _settings(entry, plan, seed),
        "hepgen": __version__,
        "jets": {
            name: len(part)
            for name, part in zip(Parts._fields, parts, strict=True)
            if part is not None
        },
        "metrics": _metrics(tagger, parts.test, scores, plan),
        "costs": _costs(tagger, parts.test, folder),
    }
    with replacing(folder / "scores.npy") as temporary, temporary.open("wb") as file:
        np.save(file, scores)
    with replacing(folder / RESULT) as temporary:
        temporary.write_text(json.dumps(found, indent=1), encoding="utf-8")
    return found


def _number(part: Any) -> str:
    """How many jets, in words."""
    if part is None:
        return "no"
    return f"{len(expand(part.files))} files of" if isinstance(part, JetFiles) else str(len(part))


def _parts(
    entry: Entry, plan: Plan, known: dict[str, tuple[Features, Parts]], progress: bool
) -> tuple[Features, Parts]:
    """Jets with the features of a tagger; read once for all that have the same ones."""
    pipeline = entry.pipeline
    features = pipeline.start.features(pipeline.features)
    sample, head = sample_for(pipeline.sample, pipeline.head), pipeline.head
    key = json.dumps([features.to_dict(), pipeline.fit_features, repr(sample), repr(head)])
    if key not in known:
        parts = parts_for(sample, features, head, seed=plan.split_seed, progress=progress)
        if isinstance(parts.test, JetFiles):
            raise WrongType("a benchmark needs its test jets in memory: leave out data.stream")
        if parts.test is None:
            raise InputError("a benchmark needs test jets: data.fractions or data.test_files")
        if pipeline.fit_features:
            fit_to(features, parts.train, pipeline.start)
        known[key] = (features, parts)
    return known[key]


def _metrics(tagger: Tagger, jets: ak.Array, scores: Any, plan: Plan) -> dict[str, Any]:
    columns = [tagger.score_names.index(name) for name in tagger.classes]
    found = summarise(
        class_index(jets, tagger.classes),
        scores[:, columns],
        classes=tagger.classes,
        signal=plan.signal,
        working_points=plan.working_points,
        resamples=0,
    )
    return {
        name: estimate.to_dict()
        for name, estimate in found.numbers().items()
        if name.startswith(("accuracy", "AUC", "rejection"))
    }


def _costs(tagger: Tagger, jets: ak.Array, folder: Path) -> dict[str, Any]:
    with (folder / "history.csv").open(newline="") as file:
        history = list(csv.DictReader(file))
    measured = costs(tagger, jets)
    return {
        "parameters": measured.parameters,
        "megaflops": measured.megaflops,
        "train_seconds": sum(float(row["seconds"]) for row in history),
        "train_jets_per_second": float(np.median([float(r["jets_per_second"]) for r in history])),
        "jets_per_second": measured.jets_per_second,
        "device": measured.device,
        "threads": measured.threads,
    }


def _row(entry: Entry, seeds: tuple[int, ...], results: list[dict[str, Any]]) -> Row:
    metrics = {
        name: [Estimate.from_dict(found["metrics"][name]) for found in results]
        for name in results[0]["metrics"]
    }
    numbers = {
        name: float(np.median([found["costs"][name] for found in results]))
        for name, value in results[0]["costs"].items()
        if isinstance(value, int | float) and name != "threads"
    }
    return Row(entry.name, entry.pipeline.model, seeds, metrics, numbers, entry.published)


def _about(found: dict[str, Any]) -> str:
    jets = ", ".join(f"{number} {name}" for name, number in found["jets"].items())
    place = found["costs"]
    threads = f", {place['threads']} threads" if place["device"] == "cpu" else ""
    return f"Jets: {jets}. Timed on {place['device']}{threads}, hepgen {found['hepgen']}."
