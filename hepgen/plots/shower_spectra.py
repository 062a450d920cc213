"""Histograms of generated showers over those of true ones, and their ratios.

Shapes: M bins.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from hepgen.plots.style import COLOURS

__all__ = ["TRUTH", "look", "spectra_ratio", "spectrum_ratio"]

Floats = NDArray[np.float64]
Histogram = tuple[ArrayLike, ArrayLike]

# Grey for the truth, as in the publications of the field, and so for no simulator.
TRUTH = "#9c9ca1"
# More from the list of ten of M. A. Petroff, arXiv:2107.02270; neighbours differ in dashes as well.
BLUE, ORANGE, RED, PURPLE, _, VIOLET = COLOURS
MODELS = (BLUE, ORANGE, RED, VIOLET, "#a96b59", PURPLE, "#92dadd", "#b9ac70")
DASHES = ("-", (0, (5, 1.5)), (0, (6, 1.5, 1, 1.5)), (0, (1.5, 1)), (0, (5, 1, 1, 1, 1, 1)))
# Of the panel of ratios.
LEAST, MOST = 0.5, 1.5


def look(number: int) -> dict[str, Any]:
    """Colour and dashes of a simulator, which tell it apart without colours as well.

    Args:
        number: of the simulator, from 0; beyond 39 they begin again.
    """
    ls = DASHES[number % len(DASHES)]
    return {"color": MODELS[number % len(MODELS)], "ls": ls}


def spectrum_ratio(
    ax: Axes,
    ratio_ax: Axes,
    edges: ArrayLike,
    reference: Histogram,
    generated: Histogram,
    *,
    names: tuple[str, str] = ("Geant4", "generated"),
    xlabel: str = "",
    ylabel: str = "Share of showers",
    log: bool = False,
) -> list[Any]:
    """Two histograms of unit sum and, below, their ratio, with what is beyond the edges.

    What is below the first edge and above the last is drawn as a bin of its own at each end, where
    there is any. Ratios beyond the panel by more than their error are marked at its edge.

    Args:
        ax: where the histograms go.
        ratio_ax: where the ratio goes.
        edges: of the bins, (M + 1,).
        reference: values (M + 2,), the first and last of which are below and above the edges, and
            their variances.
        generated: likewise.
        names: of the two, in the legend.
        xlabel: the observable with its unit.
        ylabel: what is counted.
        log: logarithmic horizontal axis, whose edges are above zero.

    Returns:
        The steps.

    Raises:
        ValueError: lengths that do not go together, or an empty histogram.
    """
    return spectra_ratio(
        ax,
        ratio_ax,
        edges,
        reference,
        {names[1]: generated},
        truth=names[0],
        xlabel=xlabel,
        ylabel=ylabel,
        log=log,
    )


def spectra_ratio(
    ax: Axes,
    ratio_ax: Axes,
    edges: ArrayLike,
    reference: Histogram,
    generated: Mapping[str, Histogram],
    *,
    truth: str = "Geant4",
    xlabel: str = "",
    ylabel: str = "Share of showers",
    log: bool = False,
) -> list[Any]:
    """Histograms of several simulators over that of the truth, and their ratios to it.

    Args:
        ax: see `spectrum_ratio`.
        ratio_ax: likewise.
        edges: likewise.
        reference: likewise.
        generated: name -> values and variances. Their errors are drawn where there is one; of
            several those of the truth alone.
        truth: name of the reference, in the legend.
        xlabel: see `spectrum_ratio`.
        ylabel: likewise.
        log: likewise.

    Returns:
        The steps: of the truth, then the histogram and the ratio of each.

    Raises:
        ValueError: see `spectrum_ratio`.
    """
    bounds = np.asarray(edges, dtype=np.float64)
    pairs = [_shape(truth, reference, bounds)]
    pairs += [_shape(name, one, bounds) for name, one in generated.items()]
    bounds, shown = _with_flows(bounds, [v for v, _ in pairs], log)
    (true, error), *models = [(v[shown], d[shown]) for v, d in pairs]
    ax.stairs(true, bounds, fill=True, color=TRUTH, alpha=0.45, label=truth)
    artists = [ax.stairs(true, bounds, color=TRUTH, lw=1.5)]
    own = np.divide(error, true, out=np.zeros_like(true), where=true > 0)
    _band(ratio_ax, bounds, np.ones_like(true), own, TRUTH)
    for i, (name, (model, wide)) in enumerate(zip(generated, models, strict=True)):
        style = look(i) | {"lw": 1.8 if len(models) == 1 else 1.5}
        artists.append(ax.stairs(model, bounds, label=name, **style))
        ratio = np.divide(model, true, out=np.full_like(model, np.nan), where=true > 0)
        spread = np.divide(wide, true, out=np.full_like(model, np.nan), where=true > 0)
        artists.append(ratio_ax.stairs(ratio, bounds, baseline=None, **style))
        _mark_beyond(ratio_ax, bounds, ratio, spread, style["color"], log)
        if len(models) == 1:
            _band(ax, bounds, model, wide, style["color"])
            _band(ratio_ax, bounds, ratio, spread, style["color"])
    ratio_ax.axhline(1, color=TRUTH, lw=1)
    ratio_ax.set_ylim(LEAST, MOST)
    ratio_ax.set_ylabel("Ratio")
    ratio_ax.set_xlabel(xlabel)
    ax.set_ylabel(ylabel)
    for axis in (ax, ratio_ax):
        axis.set_xlim(bounds[0], bounds[-1])
        if log:
            axis.set_xscale("log")
    columns = 1 if len(models) == 1 else 2
    # Room for the legend above the highest step, wherever that is.
    rows = -(-(len(models) + 1) // columns)
    ax.set_ylim(0, max(float(v.max()) for v, _ in [(true, error), *models]) * (1.08 + 0.11 * rows))
    ax.legend(loc="upper right", ncols=columns, fontsize="small")
    return artists


def _shape(what: str, histogram: Histogram, edges: Floats) -> tuple[Floats, Floats]:
    """Shares and their errors."""
    v, s = (np.asarray(one, dtype=np.float64) for one in histogram)
    if v.shape != (len(edges) + 1,) or s.shape != v.shape:
        raise ValueError(f"{what}: {v.shape} values for {len(edges)} edges; wanted two more")
    if v.sum() <= 0:
        raise ValueError(f"{what}: an empty histogram has no shape")
    return v / v.sum(), np.sqrt(s) / v.sum()


def _with_flows(edges: Floats, values: Sequence[Floats], log: bool) -> tuple[Floats, slice]:
    """Edges with a bin more at each end where something is beyond it, and which bins these are."""
    first = 0 if any(v[0] > 0 for v in values) else 1
    last = len(edges) + 1 if any(v[-1] > 0 for v in values) else len(edges)
    if log:
        step = edges[1] / edges[0], edges[-1] / edges[-2]
        below, above = edges[0] / step[0], edges[-1] * step[1]
    else:
        below, above = 2 * edges[0] - edges[1], 2 * edges[-1] - edges[-2]
    pieces = [[below]] * (first == 0) + [edges] + [[above]] * (last == len(edges) + 1)
    return np.concatenate(pieces), slice(first, last)


def _mark_beyond(
    ax: Axes, edges: Floats, ratio: Floats, error: Floats, colour: str, log: bool
) -> None:
    middle = np.sqrt(edges[:-1] * edges[1:]) if log else (edges[:-1] + edges[1:]) / 2
    for beyond, place, marker in (
        (ratio - error > MOST, MOST - 0.05, "^"),
        (ratio + error < LEAST, LEAST + 0.05, "v"),
    ):
        ax.plot(
            middle[beyond],
            np.full(int(beyond.sum()), place),
            ls="",
            marker=marker,
            markersize=3.5,
            color=colour,
        )


def _band(ax: Axes, edges: Floats, values: Floats, errors: Floats, colour: str) -> None:
    low, high = values - errors, values + errors
    ax.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.3, lw=0)
