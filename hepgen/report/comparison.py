"""The page of several evaluations side by side."""

from __future__ import annotations

from collections.abc import Sequence

from hepgen.metrics import Comparison, Evaluation
from hepgen.report import pictures
from hepgen.report.drawing import render
from hepgen.report.evaluation import provenance
from hepgen.report.page import figures, number, page, section, table

__all__ = ["of_comparison"]


def of_comparison(comparison: Comparison, runs: Sequence[Evaluation]) -> dict[str, bytes]:
    """The files of a report: report.html, which needs none of the others, and plots.

    Args:
        comparison: the numbers.
        runs: the evaluations it is of, in the same order.

    Returns:
        Contents by name.
    """
    drawn = render(pictures.of_several(runs))
    jets = ", ".join(f"{count:,} {name}".replace(",", " ") for name, count in runs[0].jets.items())
    names = [
        name for name, same in zip(comparison.names, comparison.same_jets, strict=True) if same
    ]
    lead = f"{len(runs)} runs; differences are to {runs[0].name}, on {jets} jets"
    sections = [
        section("Numbers", _numbers(comparison), note=_note(comparison, names)),
        section("Plots", figures(drawn)),
        *(section(run.name, provenance(run)) for run in runs),
    ]
    title = " and ".join([", ".join(comparison.names[:-1]), comparison.names[-1]])
    footer = "Made by hepgen; every number is in comparison.json beside this page."
    html = page(title, lead, sections, footer)
    return {"report.html": html} | {n: c for picture in drawn for n, c in picture.files.items()}


def _numbers(comparison: Comparison) -> str:
    rows = []
    for row in comparison.rows:
        cells = [row.metric]
        for estimate, difference, paired in zip(
            row.estimates, row.differences, row.paired, strict=True
        ):
            extra = ""
            if difference is not None:
                sign = "+" if difference.value > 0 else ""
                extra = f"{sign}{difference}{_sigma(difference.value, difference.error)}"
                extra += "" if paired else ", unpaired"
            cells.append(number(estimate, extra))
        rows.append(cells)
    return table(["", *comparison.names], rows)


def _sigma(value: float, error: float) -> str:
    return f" ({abs(value) / error:.1f} σ)" if error > 0 else ""


def _note(comparison: Comparison, same: Sequence[str]) -> str:
    text = (
        "Below each number: its difference to the first run. Where both runs were evaluated on the "
        "same jets, its error is that of paired resamples, in which what fluctuates in both drops "
        "out; unpaired errors are added in quadrature."
    )
    if len(same) < len(comparison.names):
        others = [name for name in comparison.names if name not in same]
        text += f" On other jets than {comparison.names[0]}: {', '.join(others)}."
    return text
