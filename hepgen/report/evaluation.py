"""The page of one evaluation."""

from __future__ import annotations

import json
import os
from html import escape
from typing import Any

from hepgen.metrics import Estimate, Evaluation
from hepgen.report import pictures
from hepgen.report.drawing import render
from hepgen.report.page import cards, figures, number, page, section, table

__all__ = ["of_evaluation", "provenance"]

ERRORS = (
    "Errors are one standard deviation of the finite test sample: binomial for efficiencies, with "
    "the uncertainty of the cut; DeLong for the AUC; in brackets from {resamples} bootstrap "
    "resamples. They do not hold what another training would give. Where no background passes, the "
    "rejection has a lower limit at 90 % confidence."
)


def of_evaluation(
    run: Evaluation, *, history: str | os.PathLike[str] | None = None
) -> dict[str, bytes]:
    """The files of a report: report.html, which needs none of the others, and plots.

    Args:
        run: the evaluation.
        history: history.csv of the training.

    Returns:
        Contents by name.

    Raises:
        OSError: the history cannot be read.
        ValueError: the history is damaged.
    """
    drawn = render(pictures.of_one(run, history))
    jets = ", ".join(f"{count:,} {name}".replace(",", " ") for name, count in run.jets.items())
    sections = [
        cards(_headline(run)),
        section("Working points", _working_points(run), note=_note(run)),
        section("Plots", figures(drawn)),
    ]
    if len(run.classes) > 2:
        note = "Signal down, background across: AUC of p(signal) / (p(signal) + p(background))."
        if run.working_points:
            note += f" Below: rejection at {100 * run.working_points[-1]:g} % signal efficiency."
        sections.insert(2, section("One against one", _one_vs_one(run), note=note))
    if run.sculpting:
        sections.append(
            section(
                "Mass sculpting",
                _sculpting(run),
                note="Jensen-Shannon divergence between the background's mass before and after the "
                "cut, in bits. The floor is its mean for a cut at random: near it there is none.",
            )
        )
    sections.append(section("What was evaluated", provenance(run)))
    html = page(run.name, f"{jets} jets; signal {run.signal}", sections, _footer(run))
    return {"report.html": html} | {n: c for picture in drawn for n, c in picture.files.items()}


def _headline(run: Evaluation) -> list[tuple[str, str]]:
    best = run.headline[0]
    found = [(str(best.auc), f"AUC, {run.signal} against {pictures.opponent(best)}")]
    for point, estimate in best.background_rejection.items():
        found.append((str(estimate), f"rejection at {100 * point:g} % signal efficiency"))
    found.append((str(run.accuracy), "accuracy"))
    if run.log_loss is not None:
        found.append((str(run.log_loss), "cross-entropy"))
    if run.calibration is not None:
        plain = Estimate(run.calibration.value, run.calibration.error)
        floor = f"calibration error (floor {run.calibration.floor or 0.0:.2g})"
        found.append((str(plain), floor))
    return found


def _working_points(run: Evaluation) -> str:
    header = ["", "AUC", *(f"rejection at {100 * p:g} %" for p in run.working_points)]
    rows = []
    for found in run.headline:
        cells = [f"{found.signal} against {pictures.opponent(found)}", number(found.auc)]
        for point in run.working_points:
            resampled = found.bootstrapped.get(point)
            extra = "" if resampled is None else f"[± {str(resampled).partition('± ')[2]}]"
            cells.append(number(found.background_rejection[point], extra))
        rows.append(cells)
    return table(header, rows)


def _one_vs_one(run: Evaluation) -> str:
    point = run.working_points[-1] if run.working_points else None
    pairs = {(s.signal, s.background): s for s in run.separations}
    rows = []
    for signal in run.classes:
        cells = [signal]
        for background in (None, *run.classes):
            found = pairs.get((signal, background))
            if found is None:
                cells.append("–")
                continue
            extra = "" if point is None else str(found.background_rejection[point])
            cells.append(number(found.auc, extra))
        rows.append(cells)
    return table(["", "all others", *run.classes], rows)


def _sculpting(run: Evaluation) -> str:
    rows = [
        [
            f"cut for {100 * point:g} % of {run.signal}",
            number(Estimate(found.value, found.error)),
            "–" if found.floor is None else f"{found.floor:.2g}",
        ]
        for point, found in run.sculpting.items()
    ]
    return table(["", "divergence [bits]", "floor"], rows)


def _note(run: Evaluation) -> str:
    resamples = len(next(iter(run.replicas.values()), ()))
    text = ERRORS.format(resamples=resamples)
    return text if resamples else text.replace("; in brackets from 0 bootstrap resamples", "")


def provenance(run: Evaluation) -> str:
    """What was evaluated, of what, with what and when."""
    about = run.provenance
    model = dict(about.get("model") or {})
    rows = [["model", escape(str(model.pop("model", "not told by the file")))]]
    told = {k: v for k, v in model.items() if k not in ("branches", "classes", "input")}
    rows += [[f"model: {name}", _value(value)] for name, value in told.items() if value is not None]
    rows.append(["classes", escape(", ".join(run.classes))])
    for name, title in (
        ("scores_are", "scores are"),
        ("labels", "labels"),
        ("where", "selection"),
        ("date", "date"),
    ):
        if about.get(name) is not None:
            rows.append([title, _value(about[name])])
    rows.append(["weights", "from the file" if about.get("weighted") else "none"])
    rows.append(["not scored", f"{about.get('not_scored', 0)} jets left out"])
    versions = about.get("versions", {})
    rows.append(["versions", escape(", ".join(f"{k} {v}" for k, v in versions.items()))])
    rows.append(["fingerprint of the jets", f"<code>{escape(run.fingerprint)}</code>"])
    return table([], rows, text=(1,)) + _files(run)


def _files(run: Evaluation) -> str:
    rows = []
    for found in run.provenance.get("files", []):
        cells = [
            str(found.get("scores", "")),
            escape(str(found.get("of") or "the same file")),
            escape(str(found.get("tree", ""))),
            escape(str(found.get("entries", ""))),
            escape(str(found.get("jets", ""))),
        ]
        rows.append(cells)
    if not rows:
        return ""
    return table(["scores", "jets and labels from", "tree", "entries", "jets"], rows, text=(1,))


def _value(value: Any) -> str:
    if isinstance(value, str | int | float):
        return escape(str(value))
    return f"<code>{escape(json.dumps(value, ensure_ascii=False))}</code>"


def _footer(run: Evaluation) -> str:
    version = run.provenance.get("versions", {}).get("hepgen", "")
    return f"Made by hepgen {version}; every number is in results.json beside this page.".replace(
        "  ", " "
    )
