"""Several evaluations of showers side by side, of simulators judged by the same true showers.

Shapes: E bins of energy.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from hepgen.calorimeter import GeometryError, ShowerError
from hepgen.io.errors import InputError, MissingFile, NotReadable
from hepgen.metrics import Estimate
from hepgen.run_names import names_apart
from hepgen.shower_summary import KIND, TITLES, ShowerEvaluation

__all__ = [
    "ShowerComparison",
    "ShowerComparisonRow",
    "compare_showers",
    "holds_showers",
    "load_shower_evaluation",
]

Run = ShowerEvaluation | str | os.PathLike[str]
RESULTS = "results.json"


@dataclass(frozen=True)
class ShowerComparisonRow:
    """One number of all simulators.

    Attributes:
        metric: what it is, with its unit.
        estimates: of each; None where it was not measured.
        perfect: what a perfect simulator has.
    """

    metric: str
    estimates: tuple[Estimate | None, ...]
    perfect: str

    @property
    def floor(self) -> float | None:
        """What true showers have against true ones, of the first that tells; they differ little."""
        floors = [e.floor for e in self.estimates if e is not None and e.floor is not None]
        return floors[0] if floors else None


@dataclass(frozen=True)
class ShowerComparison:
    """A table of simulators; ``print`` shows it.

    Attributes:
        names: of the simulators.
        rows: a number each.
        notes: what makes some of the numbers not quite comparable.
    """

    names: tuple[str, ...]
    rows: tuple[ShowerComparisonRow, ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Everything, as a mapping for strict JSON."""
        return {
            "kind": f"comparison of {KIND}",
            "names": list(self.names),
            "rows": [
                {
                    "metric": row.metric,
                    "perfect": row.perfect,
                    "estimates": [None if e is None else e.to_dict() for e in row.estimates],
                }
                for row in self.rows
            ],
            "notes": list(self.notes),
        }

    def __str__(self) -> str:
        table = [["", *self.names, "floor", "perfect"]]
        for row in self.rows:
            cells = ["-" if e is None else str(plain(e)) for e in row.estimates]
            floor = "" if row.floor is None else f"{row.floor:.4g}"
            table.append([row.metric, *cells, floor, row.perfect])
        widths = [max(len(line[column]) for line in table) for column in range(len(table[0]))]
        lines = [
            "  ".join(f"{cell:{width}}" for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in table
        ]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])


def compare_showers(
    runs: Sequence[Run], *, output: str | os.PathLike[str] | None = None, overwrite: bool = False
) -> ShowerComparison:
    """Several simulators side by side, judged by the same true showers.

    Args:
        runs: evaluations, or folders that `evaluate_showers` wrote. Folders of runs of one name are
            told apart by their paths.
        output: folder to make, for report.html, comparison.json and plots; None writes nothing.
        overwrite: whether files in the output folder may be replaced.

    Returns:
        The comparison; ``print`` shows it.

    Raises:
        InputError: fewer than two runs, runs of one name, a folder without results, an output that
            exists.
        GeometryError: runs in different calorimeters or layouts.
        ShowerError: runs judged by different true showers, in other bins of energy, or with voxels
            cut at another threshold.
    """
    from hepgen import report

    if output is not None:
        report.check_output(output, overwrite=overwrite)
    loaded = _told_apart(runs)
    names = tuple(run.name for run in loaded)
    if len(loaded) < 2 or len(set(names)) < len(names):
        raise InputError(
            f"a comparison needs two runs or more, of different names; got {', '.join(names)}"
        )
    for other in loaded[1:]:
        _check_same_truth(loaded[0], other)
    found = ShowerComparison(names, tuple(_rows(loaded)), tuple(_notes(loaded)))
    if output is not None:
        text = json.dumps(found.to_dict(), allow_nan=False, ensure_ascii=False, indent=1)
        files = {
            "comparison.json": f"{text}\n".encode(),
            **report.of_shower_comparison(found, loaded),
        }
        report.write_folder(output, files, overwrite=overwrite)
    return found


def holds_showers(path: str | os.PathLike[str]) -> bool:
    """Whether a folder of an evaluation is one of showers; False where there is no evaluation.

    Args:
        path: the folder, or the file results.json in it.
    """
    try:
        return bool(_content(path).get("kind") == KIND)
    except (OSError, ValueError, AttributeError):
        return False


def load_shower_evaluation(path: str | os.PathLike[str]) -> ShowerEvaluation:
    """The evaluation that `evaluate_showers` wrote.

    Args:
        path: its folder, or the file results.json in it.

    Raises:
        MissingFile: there is none.
        NotReadable: it is cut short, damaged, or of something else.
    """
    file = _file(path)
    if not file.is_file():
        raise MissingFile(
            f"no {RESULTS} of an evaluation at {path}; "
            "hepgen evaluate GENERATED --reference GEANT4 -o writes one"
        )
    try:
        return ShowerEvaluation.from_json(file.read_text(encoding="utf-8"))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotReadable(
            f"{file} is no evaluation of showers, or a damaged one: {error}"
        ) from error


def plain(estimate: Estimate) -> Estimate:
    """Without its floor, which stands elsewhere.

    Args:
        estimate: with one or without.
    """
    return Estimate(estimate.value, estimate.error, estimate.lower_limit)


def _file(path: str | os.PathLike[str]) -> Path:
    file = Path(path)
    return file / RESULTS if file.is_dir() else file


def _content(path: str | os.PathLike[str]) -> Any:
    return json.loads(_file(path).read_text(encoding="utf-8"))


def _told_apart(runs: Sequence[Run]) -> list[ShowerEvaluation]:
    """The runs, with the part of the path that differs behind names that occur twice."""
    loaded = [
        run if isinstance(run, ShowerEvaluation) else load_shower_evaluation(run) for run in runs
    ]
    paths = [None if isinstance(run, ShowerEvaluation) else run for run in runs]
    names = names_apart([run.name for run in loaded], paths)
    return [replace(run, name=name) for run, name in zip(loaded, names, strict=True)]


def _check_same_truth(first: ShowerEvaluation, other: ShowerEvaluation) -> None:
    """Refuse evaluations whose numbers have nothing to do with each other.

    True showers are the same if the histograms of all observables are: their edges are quantiles of
    them, so that any other sample has others.
    """
    if not first.geometry.same_voxels(other.geometry):
        raise GeometryError(
            f"{first.name} was judged in {first.geometry}, {other.name} in {other.geometry}: only "
            "evaluations in one layout can be set side by side"
        )
    if not math.isclose(first.geometry.threshold, other.geometry.threshold, rel_tol=1e-6):
        cuts = [f"{1e6 * run.geometry.threshold:.4g} keV" for run in (first, other)]
        raise ShowerError(
            f"{first.name} was judged with voxels above {cuts[0]}, {other.name} above {cuts[1]}: "
            "evaluate both with a reference of one threshold"
        )
    both = [(first.spectra[n], other.spectra[n]) for n in first.spectra if n in other.spectra]
    same = first.showers["reference"] == other.showers["reference"] and all(
        a.edges.shape == b.edges.shape
        and np.allclose(a.edges, b.edges, rtol=1e-6, atol=0)
        and np.array_equal(a.reference, b.reference)
        for a, b in both
    )
    if not (same and both):
        told = [
            f"{run.name} by {run.showers['reference']} of "
            f"{run.provenance.get('files', {}).get('reference', 'unknown files')}"
            for run in (first, other)
        ]
        raise ShowerError(
            f"evaluations on other true showers cannot be set side by side: {' and '.join(told)}; "
            "evaluate both with one --reference"
        )
    bins = [run.energies["reference"].edges for run in (first, other)]
    if len(bins[0]) != len(bins[1]) or not np.allclose(bins[0], bins[1], rtol=1e-6):
        told = [", ".join(f"{edge:.4g}" for edge in edges) for edges in bins]
        raise ShowerError(
            f"{first.name} has bins of energy at {told[0]} GeV, {other.name} at {told[1]} GeV: "
            "evaluate both with the same --energy-edges"
        )


def _rows(runs: Sequence[ShowerEvaluation]) -> Iterator[ShowerComparisonRow]:
    tables = [{title: (one, perfect) for title, one, perfect in run.rows()} for run in runs]
    order = [f"classifier AUC, {level}-level" for level in ("low", "high", "low-normalised")]
    order += ["classifier AUC, resnet-level", *(title for title, _ in TITLES.values())]
    for title in order:
        found = [table.get(title) for table in tables]
        known = [one for one in found if one is not None]
        if not known:
            continue
        estimates = tuple(None if one is None else one[0] for one in found)
        yield ShowerComparisonRow(title, estimates, known[0][1])
        if title == TITLES["frechet"][0]:
            ratios = tuple(_over_floor(one) for one in estimates)
            yield ShowerComparisonRow("  the same over its floor", ratios, "1")
    edges = runs[0].energies["reference"].edges
    for what, ratios_of in (
        ("response", [run.response_ratio for run in runs]),
        ("resolution", [run.resolution_ratio for run in runs]),
    ):
        for i in range(len(edges) - 1):
            ratios = tuple(_finite(one[i]) for one in ratios_of)
            if any(one is not None for one in ratios):
                title = f"{what} over the true one, {edges[i]:.3g}-{edges[i + 1]:.3g} GeV"
                yield ShowerComparisonRow(title, ratios, "1")
    times = [{one["batch"]: one for one in run.times} for run in runs]
    for batch in sorted({batch for one in times for batch in one}):
        spent = tuple(_time(one.get(batch)) for one in times)
        yield ShowerComparisonRow(f"ms per shower, {batch} at a time", spent, "")


def _over_floor(estimate: Estimate | None) -> Estimate | None:
    if estimate is None or not estimate.floor or estimate.floor <= 0:
        return None
    return Estimate(estimate.value / estimate.floor, estimate.error / estimate.floor)


def _finite(estimate: Estimate) -> Estimate | None:
    return estimate if math.isfinite(estimate.value) else None


def _time(found: dict[str, Any] | None) -> Estimate | None:
    """The fastest repetition, and as an error how far the median was above it."""
    if found is None:
        return None
    fastest = found["milliseconds"]
    error = fastest * (found["spread"] - 1) if found["repetitions"] > 1 else math.nan
    return Estimate(fastest, error)


def _notes(runs: Sequence[ShowerEvaluation]) -> Iterator[str]:
    for level in sorted({level for run in runs for level in run.classifiers}):
        sizes = {run.name: run.classifiers[level].sizes for run in runs if level in run.classifiers}
        if len(set(sizes.values())) > 1:
            told = ", ".join(f"{name} {size[0]}" for name, size in sizes.items())
            yield (
                f"{level}-level classifiers learned from different numbers of showers ({told}); "
                "their AUCs cannot be compared"
            )
    recipes = {run.name: run.provenance.get("classifier_recipe") for run in runs if run.classifiers}
    if len(set(recipes.values())) > 1:
        told = ", ".join(f"{name} {recipe}" for name, recipe in recipes.items())
        yield f"classifiers were trained by different recipes ({told})"
    counts = {run.name: run.showers["generated"] for run in runs}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} {count}" for name, count in counts.items())
        yield f"different numbers of generated showers ({told}): what has a floor depends on them"
    if len({"other" in run.showers for run in runs}) > 1:
        yield "some floors are of more true showers (--other), some of parts of the reference"
    where = {(one["device"], one["threads"]) for run in runs for one in run.times}
    if len(where) > 1:
        told = ", ".join(f"{device} with {threads} threads" for device, threads in sorted(where))
        yield f"times are of different devices: {told}"
