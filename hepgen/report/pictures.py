"""Which figures belong to an evaluation and to a comparison, and how each is drawn."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

import hist
import numpy as np
from matplotlib.figure import Figure

from hepgen import plots
from hepgen.metrics import BinnedMetric, Evaluation, Separation, Spectrum
from hepgen.plots.training import read_history
from hepgen.report.drawing import Drawing, plain_text

__all__ = ["of_one", "of_several", "opponent"]


def opponent(separation: Separation) -> str:
    """What the signal is told from, in words."""
    return separation.background or "all others"


def of_one(run: Evaluation, history: str | os.PathLike[str] | None = None) -> list[Drawing]:
    """The figures of one run; those for which there are numbers.

    Args:
        run: the evaluation.
        history: history.csv of its training.

    Raises:
        OSError: the history cannot be read.
        ValueError: the history is damaged.
    """
    curves = {f"{run.signal} against {opponent(s)}": s for s in run.headline}
    drawings = [
        Drawing(
            "roc",
            "Background rejection",
            "Rejection is one over the background efficiency. Bands: one standard error of the "
            "test sample. Dotted: the working points.",
            lambda: _roc(curves, run.working_points),
        ),
        Drawing(
            "scores", "Scores", f"Score for {run.signal} by true class, normalised.", _scores(run)
        ),
    ]
    drawings += _binned({run.name: run}, single=True)
    if run.mass_spectra:
        drawings.append(
            Drawing(
                "mass_sculpting",
                "Mass of the background",
                "Before and after a cut on the score; a score blind to the mass keeps the shape.",
                lambda: _mass(run),
            )
        )
    drawings.append(
        Drawing(
            "confusion",
            "Confusion",
            "In per cent of each true class; a jet is taken for the class of its highest score.",
            lambda: _confusion(run),
        )
    )
    if run.reliability is not None:
        drawings.append(_calibration({run.name: run}))
    return drawings + ([] if history is None else _training(history))


def of_several(runs: Sequence[Evaluation]) -> list[Drawing]:
    """The figures of runs side by side; the ratio is to the first."""
    named = {run.name: run for run in runs}
    pairs = [
        (s.signal, s.background)
        for s in runs[0].headline
        if all(_separation(run, s.signal, s.background) for run in runs)
    ]
    drawings = [
        Drawing(
            f"roc_{number}" if number else "roc",
            f"{signal} against {background or 'all others'}",
            f"Below: rejection divided by that of {runs[0].name}, with the band of each run alone.",
            lambda signal=signal, background=background: _roc(  # type: ignore[misc]
                {name: _separation(run, signal, background) for name, run in named.items()},
                runs[0].working_points,
                ratio=True,
            ),
        )
        for number, (signal, background) in enumerate(pairs)
    ]
    drawings += _binned(named, single=False)
    if all(run.reliability is not None and run.signal == runs[0].signal for run in runs):
        drawings.append(_calibration(named))
    return drawings


def _separation(run: Evaluation, signal: str, background: str | None) -> Separation | None:
    found = [s for s in run.separations if (s.signal, s.background) == (signal, background)]
    return found[0] if found else None


def _roc(
    curves: Mapping[str, Separation | None], points: tuple[float, ...], *, ratio: bool = False
) -> Figure:
    figure, axes = plots.figure("ratio" if ratio else "one", height=5.6 if ratio else 5.0)
    drawn = {plain_text(name): found.curve for name, found in curves.items() if found is not None}
    plots.roc(axes[0], drawn, ratio_ax=axes[1] if ratio else None, working_points=points)
    plots.label(axes[0])
    return figure


def _scores(run: Evaluation):  # type: ignore[no-untyped-def]
    def draw() -> Figure:
        figure, (ax,) = plots.figure()
        spectra = {plain_text(name): _hist(found) for name, found in run.score_spectra.items()}
        plots.scores(ax, spectra, signal=plain_text(run.signal))
        plots.label(ax)
        return figure

    return draw


def _mass(run: Evaluation) -> Figure:
    figure, (ax,) = plots.figure()
    after = {
        f"Cut for {100 * float(name):g} % of {plain_text(run.signal)}": _hist(found)
        for name, found in run.mass_spectra.items()
        if name != "all"
    }
    plots.mass_sculpting(ax, _hist(run.mass_spectra["all"]), after)
    plots.label(ax)
    return figure


def _confusion(run: Evaluation) -> Figure:
    figure, (ax,) = plots.figure(height=5.0 if len(run.classes) < 6 else 6.0)
    plots.confusion(ax, run.confusion, [plain_text(name) for name in run.classes])
    plots.label(ax)
    return figure


def _calibration(runs: Mapping[str, Evaluation]) -> Drawing:
    signal = plain_text(next(iter(runs.values())).signal)

    def draw() -> Figure:
        figure, (ax,) = plots.figure()
        curves = {
            plain_text(name): run.reliability
            for name, run in runs.items()
            if run.reliability is not None
        }
        plots.calibration(ax, curves, signal=signal)
        plots.label(ax)
        return figure

    return Drawing(
        "calibration",
        "Calibration",
        "Share of signal among jets of a score, for the mixture of classes in this sample.",
        draw,
    )


def _binned(runs: Mapping[str, Evaluation], *, single: bool) -> list[Drawing]:
    """For each observable the rejection by working point, and efficiencies at the last cut."""
    first = next(iter(runs.values()))
    drawings = []
    for observable in dict.fromkeys(metric.observable for metric in first.binned):
        drawings.append(
            Drawing(
                f"rejection_{_file_name(observable)}",
                f"Rejection against {observable}",
                "The cut is set anew in each bin, for the same signal efficiency.",
                lambda observable=observable: _rejection(runs, observable),  # type: ignore[misc]
            )
        )
        if single and first.working_points:
            point = first.working_points[-1]
            drawings.append(
                Drawing(
                    f"efficiency_{_file_name(observable)}",
                    f"Efficiency against {observable}",
                    f"One cut for all bins, which keeps {100 * point:g} % of {first.signal}.",
                    lambda observable=observable: _efficiency(first, observable),  # type: ignore[misc]
                )
            )
    return drawings


def _rejection(runs: Mapping[str, Evaluation], observable: str) -> Figure:
    figure, (ax,) = plots.figure()
    drawn = {}
    for name, run in runs.items():
        chosen = _metrics(run, observable, "background_rejection")
        if len(runs) > 1:
            chosen = chosen[:1]
        for found in chosen:
            point = f"{100 * found.working_point:g} % of {run.signal}"
            drawn[plain_text(f"{name}, {point}" if len(runs) > 1 else point)] = found.binned
    plots.efficiency_vs(
        ax, drawn, observable=_axis(observable), quantity="Background rejection", log=True
    )
    plots.label(ax)
    return figure


def _efficiency(run: Evaluation, observable: str) -> Figure:
    figure, (ax,) = plots.figure()
    point = run.working_points[-1]
    drawn = {}
    for metric, name in (
        ("signal_efficiency", run.signal),
        ("background_efficiency", run.headline[0].background or "all others"),
    ):
        for found in _metrics(run, observable, metric):
            if found.working_point == point:
                drawn[plain_text(name)] = found.binned
    plots.efficiency_vs(ax, drawn, observable=_axis(observable), log=_positive(drawn.values()))
    plots.label(ax)
    return figure


def _positive(binned: object) -> bool:
    values = np.concatenate([found.values for found in binned])  # type: ignore[attr-defined]
    return bool(np.all(values[np.isfinite(values)] > 0))


def _metrics(run: Evaluation, observable: str, metric: str) -> list[BinnedMetric]:
    return [
        found for found in run.binned if found.observable == observable and found.metric == metric
    ]


def _axis(observable: str) -> str:
    return observable if observable in ("pt", "eta", "mass") else plain_text(observable)


def _file_name(text: str) -> str:
    return "".join(c if c.isascii() and c.isalnum() else "_" for c in text)


def _training(history: str | os.PathLike[str]) -> list[Drawing]:
    columns = read_history(history)
    drawings = []
    for quantity in ("loss", "accuracy"):
        if not any(name.endswith(quantity) for name in columns):
            continue

        def draw(quantity: str = quantity) -> Figure:
            figure, (ax,) = plots.figure()
            plots.training_curves(ax, columns, quantity=quantity)
            plots.label(ax)
            return figure

        caption = "Epoch by epoch; the loss of the training is a mean while the weights change."
        drawings.append(
            Drawing(
                f"training_{quantity}", f"{quantity.capitalize()} of the training", caption, draw
            )
        )
    return drawings


def _hist(spectrum: Spectrum) -> hist.Hist:  # type: ignore[type-arg]
    found = hist.Hist(hist.axis.Variable(spectrum.edges), storage=hist.storage.Weight())
    view = found.view()
    view["value"], view["variance"] = spectrum.values, spectrum.variances
    return found
