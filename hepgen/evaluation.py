"""From ROOT files with scores to numbers, plots and a page; several runs side by side."""

from __future__ import annotations

import datetime
import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from hepgen import report
from hepgen.io.errors import InputError, MissingFile, NotReadable
from hepgen.metrics import Comparison, Evaluation, compare_evaluations, summarise
from hepgen.run_names import names_apart
from hepgen.score_origin import Wanted
from hepgen.scored_jets import ScoredJets, read_scored_jets

__all__ = ["compare", "evaluate", "load_evaluation"]

Paths = str | os.PathLike[str] | Sequence[str | os.PathLike[str]] | Mapping[str, Any]

RESULTS = "results.json"


def evaluate(
    scores: Paths,
    *,
    of: Paths | None = None,
    labels: Mapping[str, str] | None = None,
    output: str | os.PathLike[str] | None = None,
    signal: str | None = None,
    name: str | None = None,
    classes: Sequence[str] | None = None,
    working_points: Sequence[float] = (0.3, 0.5),
    bins: int = 8,
    where: str | None = None,
    weights: str | None = None,
    observables: Mapping[str, str] | None = None,
    score_branches: Mapping[str, str] | None = None,
    tree: str | None = None,
    schema: str | None = None,
    collection: str | None = None,
    history: str | os.PathLike[str] | None = None,
    resamples: int = 100,
    seed: int = 0,
    overwrite: bool = False,
) -> Evaluation:
    """All numbers, plots and a page for the scores in ROOT files.

    Args:
        scores: ROOT files with scores, as for ``hepgen.read``: friend trees or copies that hepgen
            wrote, or any with a branch ``score_<class>`` for each class. Classes can stand before
            files: ``["top:t.root", "qcd:q.root"]``.
        of: the files that the scores are of, in the same order; None where labels stand beside the
            scores. Friend and input are joined by entry.
        labels: an expression of columns for each class; None looks for ``label_<class>`` and what
            the schema of the input knows. For a single score, one expression is enough.
        output: folder to make, for report.html, results.json and plots; None writes nothing.
        signal: the class that plots and bins are for; the first if None.
        name: of the run; that of the model, else of the file, if None.
        classes: those to evaluate, of several that are scored.
        working_points: signal efficiencies in (0, 1].
        bins: number of bins, with equally many jets, in each observable.
        where: selection of jets, an expression.
        weights: an expression; None takes the weight that the schema knows, or a branch ``weight``;
            "1" counts each jet once.
        observables: expressions by name for further metrics in bins; ``pt``, ``eta`` and ``mass``
            (GeV) are found where they can be.
        score_branches: branch of each class, where it is not ``score_<class>``.
        tree: name of the tree of the scores.
        schema: of the input, as for ``hepgen.read``.
        collection: the jets of events, such as FatJet.
        history: history.csv of the training, for its curves; None takes the one beside the scores.
        resamples: of the bootstrap; 0 for none.
        seed: of the bootstrap; runs with the same seed and jets are compared in pairs.
        overwrite: whether files in the output folder may be replaced.

    Returns:
        The evaluation; ``print`` shows its main numbers.

    Raises:
        InputError: files that are missing, damaged or do not belong together; a name that is not
            there; jets in no class or in two; no jets left; an output that exists.
    """
    if output is not None:
        report.check_output(output, overwrite=overwrite)
    wanted = Wanted(labels, where, weights, dict(observables or {}), schema, collection)
    jets = read_scored_jets(
        scores, of=of, classes=classes, tree=tree, score_branches=score_branches, wanted=wanted
    )
    try:
        found = summarise(
            jets.labels,
            jets.scores,
            jets.weights,
            classes=jets.classes,
            signal=signal,
            observables=jets.observables,
            working_points=working_points,
            bins=bins,
            probabilities=jets.kind != "one score outside of [0, 1]",
            resamples=resamples,
            seed=seed,
            name=name or jets.about.get("model") or Path(jets.files[0]["scores"]).stem,
        )
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"{jets.files[0]['scores']}: {error}") from error
    found.provenance.update(_provenance(jets, wanted))
    if output is not None:
        beside = Path(jets.files[0]["scores"]).with_name("history.csv")
        curves = history if history is not None else beside if beside.is_file() else None
        files = {RESULTS: _json(found.to_dict()), **report.of_evaluation(found, history=curves)}
        report.write_folder(output, files, overwrite=overwrite)
    return found


def compare(
    runs: Sequence[Evaluation | str | os.PathLike[str]],
    *,
    output: str | os.PathLike[str] | None = None,
    overwrite: bool = False,
) -> Comparison:
    """Several runs side by side, with the errors of their differences to the first.

    Args:
        runs: evaluations, or folders that :func:`evaluate` wrote. Folders of runs of one name, such
            as several seeds of a tagger, are told apart by their paths.
        output: folder to make, for report.html, comparison.json and plots; None writes nothing.
        overwrite: whether files in the output folder may be replaced.

    Returns:
        The comparison; ``print`` shows it.

    Raises:
        InputError: fewer than two runs, runs of one name, a folder without results, an output that
            exists.
    """
    if output is not None:
        report.check_output(output, overwrite=overwrite)
    loaded = _told_apart(runs)
    try:
        found = compare_evaluations(loaded)
    except ValueError as error:
        raise InputError(str(error)) from error
    if output is not None:
        files = {
            "comparison.json": _json(found.to_dict()),
            **report.of_comparison(found, loaded),
        }
        report.write_folder(output, files, overwrite=overwrite)
    return found


def _told_apart(runs: Sequence[Evaluation | str | os.PathLike[str]]) -> list[Evaluation]:
    """The runs, with the part of the path that differs behind names that occur twice."""
    loaded = [run if isinstance(run, Evaluation) else load_evaluation(run) for run in runs]
    paths = [None if isinstance(run, Evaluation) else run for run in runs]
    names = names_apart([run.name for run in loaded], paths)
    return [replace(run, name=name) for run, name in zip(loaded, names, strict=True)]


def load_evaluation(path: str | os.PathLike[str]) -> Evaluation:
    """The evaluation that :func:`evaluate` wrote.

    Args:
        path: its folder, or the file results.json in it.

    Returns:
        The evaluation.

    Raises:
        MissingFile: there is none.
        NotReadable: it is cut short, damaged, or of another format.
    """
    file = Path(path)
    file = file / RESULTS if file.is_dir() else file
    if not file.is_file():
        raise MissingFile(f"no {RESULTS} of an evaluation at {path}; hepgen evaluate -o writes one")
    try:
        return Evaluation.from_dict(json.loads(file.read_text(encoding="utf-8")))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotReadable(f"{file} is no evaluation, or a damaged one: {error}") from error


def _provenance(jets: ScoredJets, wanted: Wanted) -> dict[str, Any]:
    versions = {name: importlib.metadata.version(name) for name in ("numpy", "uproot", "awkward")}
    now = datetime.datetime.now(datetime.UTC)
    return {
        "files": jets.files,
        "not_scored": jets.not_scored,
        "scores_are": jets.kind,
        "where": wanted.where,
        "labels": None if wanted.labels is None else dict(wanted.labels),
        "weighted": jets.weights is not None,
        "model": jets.about,
        "versions": {"hepgen": _version(), "python": platform.python_version(), **versions},
        "date": now.isoformat(timespec="seconds"),
    }


def _version() -> str:
    from hepgen import __version__

    return __version__


def _json(content: Mapping[str, Any]) -> bytes:
    return (json.dumps(content, allow_nan=False, ensure_ascii=False) + "\n").encode()
