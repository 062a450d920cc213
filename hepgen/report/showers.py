"""The page of one evaluation of showers.

Shapes: L layers, V voxels.
"""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator, Sequence
from html import escape
from importlib.resources import files
from typing import Any

from hepgen.calorimeter import named_geometry
from hepgen.metrics import Estimate
from hepgen.report import shower_pictures
from hepgen.report.drawing import render
from hepgen.report.page import cards, figures, number, page, section, table
from hepgen.shower_summary import TITLES, ShowerEvaluation

__all__ = ["ERRORS", "PUBLISHED", "beside", "of_showers", "provenance", "published"]

ERRORS = (
    "Errors are one standard deviation of the finite samples. A floor is what true showers give "
    "against true showers: a number at its floor shows no difference. The area under the curve of "
    "a classifier is a lower limit of what can be told apart, and grows with the number of showers "
    "that it learns from."
)
PUBLISHED = (
    "Published figures of the CaloChallenge (arXiv:2410.21611), for this data set. They are of "
    "100 000 showers or so, classifiers of 120 000, and an estimator of the Fréchet distance that "
    "keeps the bias of finite samples; times are milliseconds for a shower in the organisers' "
    "container. The first lines are of this page, by its own definitions."
)


def of_showers(run: ShowerEvaluation) -> dict[str, bytes]:
    """The files of a report: report.html, which needs none of the others, and plots.

    Args:
        run: the evaluation.

    Returns:
        Contents by name.
    """
    drawn = {name: render(group) for name, group in shower_pictures.of_showers(run).items()}
    sections = [
        cards(_headline(run)),
        section("How far from the truth", _numbers(run), note=ERRORS),
        section("Response and resolution", _energies(run), figures(drawn["energies"]), _fits(run)),
        section("Mean showers", figures(drawn["pictures"])),
        section("Observables", figures(drawn["spectra"])),
        section(
            "Separation power",
            _separations(run),
            note="0 for equal histograms, 1 for histograms without overlap; the worst first.",
        ),
        section("Correlations and classifiers", figures(drawn["others"])),
    ]
    if run.times:
        sections.append(section("Time", _times(run)))
    entries = list(published(run))
    if entries:
        sections.append(
            section("Beside published simulators", beside([run], entries), note=PUBLISHED)
        )
    sections.append(section("What was compared", provenance(run)))
    counts = ", ".join(f"{count:,} {name}".replace(",", " ") for name, count in run.showers.items())
    version = run.provenance.get("versions", {}).get("hepgen", "")
    footer = f"Made by hepgen {version}; every number is in results.json beside this page."
    html = page(run.name, f"{run.geometry}; showers: {counts}", sections, footer)
    pictures = [picture for group in drawn.values() for picture in group]
    return {"report.html": html} | {n: c for one in pictures for n, c in one.files.items()}


def published(run: ShowerEvaluation) -> Iterator[dict[str, str]]:
    """Entries of the CaloChallenge for the calorimeter of an evaluation.

    Args:
        run: the evaluation.

    Yields:
        Columns by name, where the voxels are those of one of its data sets.
    """
    text = files("hepgen.report").joinpath("calochallenge.csv").read_text()
    for row in csv.DictReader(text.splitlines()):
        if run.geometry.same_voxels(named_geometry(row["geometry"])):
            yield row


def _headline(run: ShowerEvaluation) -> list[tuple[str, str]]:
    found = [
        (str(_plain(result.auc)), f"classifier AUC, {level}-level{_floor(result.auc)}")
        for level, result in run.classifiers.items()
    ]
    if "fpd" in run.distances:
        fpd = run.distances["fpd"]
        scaled = Estimate(1e3 * fpd.value, 1e3 * fpd.error)
        floor = "" if fpd.floor is None else f" (floor {1e3 * fpd.floor:.2g})"
        found.append((str(scaled), f"FPD × 1000{floor}"))
    worth = run.distances.get("equivalent_events")
    if worth is not None:
        found.append((str(_plain(worth)), "true showers that the sample is worth"))
    ratios = [one for one in run.response_ratio if math.isfinite(one.value)]
    if ratios:
        worst = max(ratios, key=lambda one: abs(one.value - 1))
        found.append((str(worst), "worst mean response over the true one"))
    ratios = [one for one in run.resolution_ratio if math.isfinite(one.value)]
    if ratios:
        worst = max(ratios, key=lambda one: abs(one.value - 1))
        found.append((str(worst), "worst resolution over the true one"))
    return found


def _plain(estimate: Estimate) -> Estimate:
    return Estimate(estimate.value, estimate.error, estimate.lower_limit)


def _floor(estimate: Estimate) -> str:
    return "" if estimate.floor is None else f" (floor {estimate.floor:.3g})"


def _numbers(run: ShowerEvaluation) -> str:
    rows = []
    for title, estimate, perfect in run.rows():
        floor = "–" if estimate.floor is None else f"{estimate.floor:.3g}"
        rows.append([title, number(_plain(estimate)), floor, escape(perfect)])
    return table(["", "value", "floor", "perfect"], rows)


def _energies(run: ShowerEvaluation) -> str:
    rows = []
    truth, model = run.energies["reference"], run.energies["generated"]
    for i in range(len(truth.energy)):
        if not truth.showers[i]:
            continue
        rows.append(
            [
                f"{truth.edges[i]:.3g} to {truth.edges[i + 1]:.3g}",
                number(truth.response[i]),
                number(model.response[i]),
                number(run.response_ratio[i]),
                number(truth.resolution[i]),
                number(model.resolution[i]),
                number(run.resolution_ratio[i]),
            ]
        )
    header = ["energy [GeV]", "true response", "generated", "ratio"]
    return table([*header, "true resolution", "generated", "ratio"], rows)


def _fits(run: ShowerEvaluation) -> str:
    rows = []
    for name, fit in run.fits.items():
        terms = [number(one) for one in (fit.stochastic, fit.noise, fit.constant)]
        rows.append([name, *terms, f"{fit.chi2:.1f} / {fit.dof}"])
    header = ["σ/E = a/√E ⊕ b/E ⊕ c", "a [√GeV]", "b [GeV]", "c", "χ² / dof"]
    return table(header, rows) if rows else ""


def _separations(run: ShowerEvaluation) -> str:
    rows = []
    for name, estimate in sorted(run.separations.items(), key=lambda item: -item[1].value):
        floor = "–" if estimate.floor is None else f"{estimate.floor:.2g}"
        rows.append([name.replace("_", " "), number(_plain(estimate)), floor])
    return table(["observable", "separation power", "floor"], rows)


def _times(run: ShowerEvaluation) -> str:
    rows = [
        [
            str(one["batch"]),
            f"{one['milliseconds']:.3g}",
            f"{one['spread']:.2f}",
            escape(f"{one['device']}, {one['threads']} threads"),
        ]
        for one in run.times
    ]
    header = ["showers at a time", "ms per shower", "median over fastest", "where"]
    return table(header, rows)


def beside(runs: Sequence[ShowerEvaluation], entries: Sequence[dict[str, str]]) -> str:
    """A table of evaluations and, below them, of published entries.

    Args:
        runs: the evaluations.
        entries: what `published` gives.
    """
    rows = [_as_published(run) for run in runs]
    for entry in entries:
        cells = [_cell(entry, name) for name in ("auc_low", "auc_high", "auc_resnet", "fpd_e3")]
        cells += [escape(entry.get(f"cpu_{batch}") or "–") for batch in (1, 100, 10_000)]
        rows.append([entry["model"], *cells])
    header = ["", "AUC low", "AUC high", "AUC ResNet", "FPD × 1000"]
    return table([*header, "CPU ms, 1", "CPU ms, 100", "CPU ms, 10 000"], rows)


def _as_published(run: ShowerEvaluation) -> list[str]:
    """The numbers of an evaluation that are published of others too."""

    def own(level: str) -> str:
        found = run.classifiers.get(level)
        return "–" if found is None else number(_plain(found.auc))

    times = {one["batch"]: f"{one['milliseconds']:.3g}" for one in run.times}
    fpd = run.distances.get("fpd")
    return [
        run.name,
        own("low"),
        own("high"),
        own("resnet"),
        "–" if fpd is None else number(Estimate(1e3 * fpd.value, 1e3 * fpd.error)),
        *(times.get(batch, "–") for batch in (1, 100, 10_000)),
    ]


def _cell(entry: dict[str, str], name: str) -> str:
    value, error = entry.get(name), entry.get(f"{name}_error")
    return "–" if not value else escape(f"{value} ± {error}" if error else value)


def provenance(run: ShowerEvaluation) -> str:
    """A table of what an evaluation is of.

    Args:
        run: the evaluation.
    """
    about: dict[str, Any] = dict(run.provenance)
    rows = [[what, escape(str(path))] for what, path in about.pop("files", {}).items()]
    versions = about.pop("versions", {})
    rows += [[name.replace("_", " "), escape(str(value))] for name, value in about.items()]
    rows.append(["versions", escape(", ".join(f"{k} {v}" for k, v in versions.items()))])
    rows.append(["threshold", f"{1e6 * run.geometry.threshold:.4g} keV"])
    rows.append(
        ["definitions", escape("; ".join(t for n, (t, _) in TITLES.items() if n in run.distances))]
    )
    return table([], rows, text=(1,))
