"""Which figures belong to an evaluation of showers, and how each is drawn.

Shapes: L layers, A sectors, R rings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from hepgen import plots
from hepgen.metrics import EnergyBins, ResolutionFit
from hepgen.report.drawing import Drawing, plain_text
from hepgen.shower_metrics import correlated_names
from hepgen.shower_summary import ShowerEvaluation

__all__ = ["counted", "energy_drawings", "of_showers"]

# Layers that are shown from the front.
SHOWN = 5
# Names beside the maps of correlations.
CORRELATED = {"depth": "mean layer", "width_r": "radial width", "num_hits": "hit voxels"}


def of_showers(run: ShowerEvaluation) -> dict[str, list[Drawing]]:
    """The figures of one evaluation.

    Args:
        run: the evaluation.

    Returns:
        Section of the page -> its figures.
    """
    return {
        "energies": _energies(run),
        "pictures": _pictures(run),
        "spectra": [_spectrum(run, name) for name in run.spectra],
        "others": _others(run),
    }


def _energies(run: ShowerEvaluation) -> list[Drawing]:
    bins = {"true": run.energies["reference"], plain_text(run.name): run.energies["generated"]}
    fits = {
        k: run.fits[v]
        for k, v in zip(bins, ("reference", "generated"), strict=True)
        if v in run.fits
    }
    return energy_drawings(bins, fits)


def energy_drawings(
    bins: Mapping[str, EnergyBins], fits: Mapping[str, ResolutionFit] | None = None
) -> list[Drawing]:
    """Response and resolution of the truth and of one simulator, or several, with their ratios.

    Args:
        bins: by name; the first is the truth.
        fits: of the resolution, by the same names.
    """
    return [
        Drawing(
            "mean_response",
            "Mean response",
            "Energy in the voxels over incident energy; below, over that of the true showers.",
            partial(_with_ratio, partial(plots.energy_response, bins=bins), bins, "response"),
        ),
        Drawing(
            "resolution",
            "Resolution",
            "Standard deviation of the response over its mean; lines are fits of three terms.",
            partial(
                _with_ratio,
                partial(plots.energy_resolution, bins=bins, fits=fits),
                bins,
                "resolution",
            ),
        ),
    ]


def _with_ratio(draw: Callable[..., object], bins: Mapping[str, EnergyBins], what: str) -> Figure:
    few = len(bins) < 4
    figure, (ax, ratio_ax) = plots.figure("ratio", height=5.2 if few else 6.2)
    ax.get_gridspec().set_height_ratios([3, 1 if few else 2])  # type: ignore[union-attr]
    draw(ax)
    ax.set_xlabel("")
    plots.energy_ratio(ratio_ax, bins, what)
    plots.label(ax)
    return figure


def _one(draw: Callable[..., object], height: float = 5.0) -> Callable[[], Figure]:
    def made() -> Figure:
        figure, (ax,) = plots.figure(height=height)
        draw(ax)
        plots.label(ax)
        return figure

    return made


def _spectrum(run: ShowerEvaluation, name: str) -> Drawing:
    found = run.spectra[name]

    def draw() -> Figure:
        figure, (ax, ratio_ax) = plots.figure("ratio", height=5.2)
        plots.spectrum_ratio(
            ax,
            ratio_ax,
            found.edges,
            (found.reference, found.reference_variances),
            (found.generated, found.generated_variances),
            names=("true", plain_text(run.name)),
            xlabel=found.label,
            ylabel=counted(name),
            log=found.log,
        )
        plots.label(ax)
        return figure

    separation = run.separations.get(name)
    told = "" if separation is None else f" Separation power {separation}."
    caption = f"Bins at the ends hold what is beyond them.{told}"
    return Drawing(name, name.replace("_", " ").capitalize(), caption, draw)


def counted(name: str) -> str:
    """What a histogram of an observable has along its vertical axis.

    Args:
        name: of the observable.
    """
    return "Share of voxels" if name == "voxels" else "Share of showers"


def _pictures(run: ShowerEvaluation) -> list[Drawing]:
    drawings = [
        Drawing(
            "layers",
            "Layers from the front",
            "Mean energy of the voxels; above the true showers, below the generated ones.",
            partial(_layers, run),
        )
    ]
    if run.geometry.shape is not None:
        drawings += [
            Drawing(
                "rings",
                "Layers and rings",
                "Mean energy, summed over sectors: true, generated, and their ratio.",
                partial(_maps, run, 1),
            ),
            Drawing(
                "sectors",
                "Layers and sectors",
                "Mean energy, summed over rings: true, generated, and their ratio.",
                partial(_maps, run, 2),
            ),
        ]
    return drawings


def _layers(run: ShowerEvaluation) -> Figure:
    geometry, starts = run.geometry, run.geometry.starts
    truth = run.mean_voxels["reference"]
    sums = np.add.reduceat(truth, starts[:-1])
    order = np.flatnonzero(sums > 0)
    chosen = order[np.unique(np.linspace(0, len(order) - 1, SHOWN).round().astype(int))]
    most = float(truth.max())
    made = Figure(figsize=(2.0 * len(chosen) + 1.2, 4.2), layout="constrained")
    axes = made.subplots(2, len(chosen), subplot_kw={"projection": "polar"}, squeeze=False)
    for ax, name in zip(axes[:, 0], ("true", plain_text(run.name)), strict=True):
        ax.set_ylabel(name, labelpad=10, loc="center")
    drawn = None
    for row, key in enumerate(("reference", "generated")):
        for column, i in enumerate(chosen):
            layer = geometry.layers[i]
            values = run.mean_voxels[key][starts[i] : starts[i + 1]]
            drawn = plots.layer_picture(
                axes[row, column],
                values.reshape(layer.num_alpha, layer.num_r),
                r_edges=layer.r_edges,
                limits=(most * 1e-5, most),
                title=f"layer {layer.id}" if row == 0 else "",
            )
    if drawn is not None:
        made.colorbar(drawn, ax=axes.ravel().tolist(), label="Mean energy [GeV]", aspect=30)
    return made


def _maps(run: ShowerEvaluation, axis: int) -> Figure:
    shape = run.geometry.shape
    assert shape is not None
    first = run.geometry.layers[0]
    if axis == 1:
        edges, ylabel = np.array(first.r_edges), "Radius [mm]"
    else:
        edges, ylabel = np.linspace(-180, 180, first.num_alpha + 1), "Angle [°]"
    tables = [
        run.mean_voxels[k].reshape(shape).sum(axis=axis).T for k in ("reference", "generated")
    ]
    most = float(tables[0].max())
    made = Figure(figsize=(10.8, 3.4))
    # The name of the first scale is nearer to it than to the next map.
    made.set_layout_engine("constrained", wspace=0.06)
    axes = made.subplots(1, 3, sharey=True, gridspec_kw={"width_ratios": [1, 1.22, 1.22]})
    if axis == 2:
        axes[0].set_yticks([-180, -90, 0, 90, 180])
    for ax, values, title in zip(axes[:2], tables, ("true", plain_text(run.name)), strict=True):
        drawn = plots.layer_map(
            ax, values, ylabel=ylabel, y_edges=edges, limits=(most * 1e-4, most), title=title
        )
        ax.set_ylabel(ylabel if ax is axes[0] else "")
    made.colorbar(drawn, ax=axes[1]).set_label("Mean energy [GeV]", fontsize="small")
    ratio: NDArray[np.float64] = np.full_like(tables[0], np.nan)
    np.divide(tables[1], tables[0], out=ratio, where=tables[0] > 0)
    drawn = plots.layer_map(
        axes[2], np.ma.masked_invalid(ratio), ylabel="", y_edges=edges, ratio=True, title="ratio"
    )
    label = f"{plain_text(run.name)} over true"
    made.colorbar(drawn, ax=axes[2], extend="both").set_label(label, fontsize="small")
    return made


def _others(run: ShowerEvaluation) -> list[Drawing]:
    drawings = [
        Drawing(
            "correlations",
            "Correlations",
            "Of observables and of shares of layers: true showers, and generated less true.",
            partial(_correlations, run),
        )
    ]
    if run.classifiers:
        curves = {
            f"{level}-level, AUC {found.auc.value:.3f}": (found.taken, found.kept)
            for level, found in run.classifiers.items()
        }
        drawings.append(
            Drawing(
                "classifiers",
                "Classifiers",
                "What a classifier tells of both; the diagonal is nothing.",
                _one(lambda ax: plots.classifier_curve(ax, curves)),
            )
        )
    if len(run.times) > 1:
        times = {
            plain_text(run.name): (
                [one["batch"] for one in run.times],
                [one["milliseconds"] for one in run.times],
            )
        }
        drawings.append(
            Drawing(
                "times",
                "Time",
                "For each shower, against the number that is made at a time.",
                _one(lambda ax: plots.generation_time(ax, times)),
            )
        )
    return drawings


def _correlations(run: ShowerEvaluation) -> Figure:
    names = [
        CORRELATED.get(name) or name.replace("share_layer_", "layer ")
        for name in correlated_names(run.geometry)
    ]
    truth = run.correlations["reference"]
    difference = run.correlations["generated"] - truth
    made = Figure(figsize=(10.5, 5.0), layout="constrained")
    axes = made.subplots(1, 2)
    less = f"{plain_text(run.name)} less true"
    for ax, table, title, limit, label in (
        (axes[0], truth, "true", 1.0, "Correlation"),
        (axes[1], difference, less, 0.3, "Difference of correlations"),
    ):
        drawn = plots.correlation_map(ax, table, names, title=title, limit=limit)
        beyond = "both" if limit < 1 else "neither"
        bar = made.colorbar(drawn, ax=ax, shrink=0.8, extend=beyond)
        bar.set_label(label, fontsize="small")
        bar.ax.tick_params(labelsize="small")
    return made
