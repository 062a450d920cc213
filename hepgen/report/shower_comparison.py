"""The page of several simulators of showers side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hepgen import plots
from hepgen.report.drawing import Drawing, plain_text, render
from hepgen.report.page import figures, number, page, section, table
from hepgen.report.shower_pictures import counted, energy_drawings
from hepgen.report.showers import ERRORS, PUBLISHED, beside, provenance, published
from hepgen.shower_comparison import ShowerComparison, ShowerComparisonRow, plain
from hepgen.shower_summary import ShowerEvaluation

__all__ = ["of_shower_comparison"]

Floats = NDArray[np.float64]

# What the first figure shows: rows of the table -> names of the panels.
PANELS = {
    "classifier AUC, low-level": "AUC, low-level",
    "classifier AUC, high-level": "AUC, high-level",
    "  the same over its floor": "Fréchet / floor",
    "equivalent number of true showers": "worth in true showers",
}


def of_shower_comparison(
    comparison: ShowerComparison, runs: Sequence[ShowerEvaluation]
) -> dict[str, bytes]:
    """The files of a report: report.html, which needs none of the others, and plots.

    Args:
        comparison: the numbers.
        runs: the evaluations it is of, in the same order.

    Returns:
        Contents by name.
    """
    of_bins = [row for row in comparison.rows if " over the true one" in row.metric]
    rest = [row for row in comparison.rows if row not in of_bins]
    overview = render(_overview(comparison))
    energies = render(_energies(runs))
    spectra = render([_spectrum(runs, name) for name in _common(runs)])
    times = render(_times(runs))
    notes = " ".join(f"{note[0].upper()}{note[1:]}." for note in comparison.notes)
    sections = [
        section("Numbers", _table(comparison, rest), figures(overview), note=f"{ERRORS} {notes}"),
        section("Response and resolution", _table(comparison, of_bins), figures(energies)),
        section("Observables", figures(spectra), note="Bins at the ends hold what is beyond them."),
    ]
    if times:
        sections.append(section("Time", figures(times)))
    entries = list(published(runs[0]))
    if entries:
        sections.append(
            section("Beside published simulators", beside(runs, entries), note=PUBLISHED)
        )
    sections += [section(run.name, provenance(run)) for run in runs]
    title = f"{', '.join(comparison.names[:-1])} and {comparison.names[-1]}"
    lead = (
        f"{len(runs)} simulators in {runs[0].geometry}, judged by the same "
        f"{runs[0].showers['reference']} true showers"
    )
    footer = "Made by hepgen; every number is in comparison.json beside this page."
    pictures = [*overview, *energies, *spectra, *times]
    html = page(title, lead, sections, footer)
    return {"report.html": html} | {n: c for one in pictures for n, c in one.files.items()}


def _table(comparison: ShowerComparison, rows: Sequence[ShowerComparisonRow]) -> str:
    lines = []
    for row in rows:
        cells = [number(None if one is None else plain(one)) for one in row.estimates]
        floor = "–" if row.floor is None else f"{row.floor:.4g}"
        lines.append([row.metric, *cells, floor, row.perfect or "–"])
    return table(["", *comparison.names, "floor", "perfect"], lines)


def _overview(comparison: ShowerComparison) -> list[Drawing]:
    """The main numbers as points, a line for each simulator."""
    columns, floors = {}, []
    for row in comparison.rows:
        if row.metric not in PANELS:
            continue
        columns[PANELS[row.metric]] = {
            plain_text(name): (one.value, math.nan, one.error)
            if one is not None
            else (math.nan, math.nan, math.nan)
            for name, one in zip(comparison.names, row.estimates, strict=True)
        }
        floors.append(1.0 if row.metric.startswith(" ") else row.floor)

    def draw() -> Figure:
        figure = plots.taggers_side_by_side(columns)
        for ax, floor, panel in zip(figure.axes, floors, columns, strict=True):
            if floor is not None:
                ax.axvline(floor, color="#9c9ca1", ls="--", lw=1, zorder=0)
            if panel.startswith("AUC"):
                ax.set_xlim(min(0.5, floor or 0.5) - 0.02, 1.01)
            else:
                ax.set_xscale("log")
                low, high = ax.get_xlim()
                if high < 30 * low:  # the panels are narrow
                    plots.plain_ticks(ax, "x")
            ax.minorticks_off()
            ax.tick_params(axis="y", length=0)
        return figure

    caption = "Dashed: what true showers give against true ones, the floor."
    return [Drawing("numbers", "The main numbers", caption, draw)] if columns else []


def _energies(runs: Sequence[ShowerEvaluation]) -> list[Drawing]:
    bins = {"true": runs[0].energies["reference"]}
    return energy_drawings(bins | {plain_text(run.name): run.energies["generated"] for run in runs})


def _common(runs: Sequence[ShowerEvaluation]) -> list[str]:
    return [name for name in runs[0].spectra if all(name in run.spectra for run in runs)]


def _spectrum(runs: Sequence[ShowerEvaluation], name: str) -> Drawing:
    found = runs[0].spectra[name]
    # Half as many bins for several: less noise where lines cross.
    half = len(runs) > 2 and len(found.edges) > 30 and len(found.edges) % 2 == 1

    def histogram(values: Floats, variances: Floats) -> tuple[Floats, Floats]:
        return (_halved(values), _halved(variances)) if half else (values, variances)

    def draw() -> Figure:
        figure, (ax, ratio_ax) = plots.figure("ratio", height=6.2)
        ax.get_gridspec().set_height_ratios([3, 2])  # type: ignore[union-attr]
        models = {plain_text(run.name): run.spectra[name] for run in runs}
        plots.spectra_ratio(
            ax,
            ratio_ax,
            found.edges[::2] if half else found.edges,
            histogram(found.reference, found.reference_variances),
            {k: histogram(one.generated, one.generated_variances) for k, one in models.items()},
            truth="true",
            xlabel=found.label,
            ylabel=counted(name),
            log=found.log,
        )
        plots.label(ax)
        return figure

    powers = [
        f"{run.name} {plain(run.separations[name])}" for run in runs if name in run.separations
    ]
    caption = f"Separation power: {'; '.join(powers)}." if powers else ""
    return Drawing(name, name.replace("_", " ").capitalize(), caption, draw)


def _halved(values: Floats) -> Floats:
    """Pairs of bins joined, and what is below and above left as it is."""
    inner = values[1:-1].reshape(-1, 2).sum(axis=1)
    return np.concatenate([values[:1], inner, values[-1:]])


def _times(runs: Sequence[ShowerEvaluation]) -> list[Drawing]:
    times = {
        plain_text(run.name): (
            [one["batch"] for one in run.times],
            [one["milliseconds"] for one in run.times],
        )
        for run in runs
        if run.times
    }

    def draw() -> Figure:
        figure, (ax,) = plots.figure()
        plots.generation_time(ax, times)
        plots.label(ax)
        return figure

    caption = "For each shower, against the number that is made at a time."
    return [Drawing("times", "Time", caption, draw)] if times else []
