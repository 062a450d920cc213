"""Showers of a simulator beside those of the full simulation.

Shapes: L layers, V voxels, M bins, N observables.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from numpy.typing import ArrayLike, NDArray

from hepgen.metrics import EnergyBins, ResolutionFit
from hepgen.plots.style import COLOURS

__all__ = [
    "classifier_curve",
    "correlation_map",
    "energy_resolution",
    "energy_response",
    "generation_time",
    "layer_map",
    "layer_picture",
    "spectrum_ratio",
]

# Grey for the truth, as in the publications of the field.
TRUTH, MODEL = "#9c9ca1", COLOURS[0]


def spectrum_ratio(
    ax: Axes,
    ratio_ax: Axes,
    edges: ArrayLike,
    reference: tuple[ArrayLike, ArrayLike],
    generated: tuple[ArrayLike, ArrayLike],
    *,
    names: tuple[str, str] = ("Geant4", "generated"),
    xlabel: str = "",
    log: bool = False,
) -> list[Any]:
    """Two histograms of unit sum and, below, their ratio, with what is beyond the edges.

    What is below the first edge and above the last is drawn as a bin of its own at each end, where
    there is any.

    Args:
        ax: where the histograms go.
        ratio_ax: where the ratio goes.
        edges: of the bins, (M + 1,).
        reference: values (M + 2,), the first and last of which are below and above the edges, and
            their variances.
        generated: likewise.
        names: of the two, in the legend.
        xlabel: the observable with its unit.
        log: logarithmic horizontal axis, whose edges are above zero.

    Returns:
        The steps.

    Raises:
        ValueError: lengths that do not go together, or an empty histogram.
    """
    bounds = np.asarray(edges, dtype=np.float64)
    pairs = []
    for what, (values, variances) in zip(names, (reference, generated), strict=True):
        v, s = np.asarray(values, dtype=np.float64), np.asarray(variances, dtype=np.float64)
        if v.shape != (len(bounds) + 1,) or s.shape != v.shape:
            raise ValueError(f"{what}: {v.shape} values for {len(bounds)} edges; wanted two more")
        if v.sum() <= 0:
            raise ValueError(f"{what}: an empty histogram has no shape")
        pairs.append((v / v.sum(), np.sqrt(s) / v.sum()))
    bounds, shown = _with_flows(bounds, [v for v, _ in pairs], log)
    artists = []
    (truth, truth_error), (model, model_error) = [(v[shown], d[shown]) for v, d in pairs]
    ax.stairs(truth, bounds, fill=True, color=TRUTH, alpha=0.45, label=names[0])
    artists.append(ax.stairs(truth, bounds, color=TRUTH, lw=1.5))
    artists.append(ax.stairs(model, bounds, color=MODEL, lw=1.8, label=names[1]))
    _band(ax, bounds, model, model_error, MODEL)
    known = truth > 0
    ratio = np.divide(model, truth, out=np.full_like(model, np.nan), where=known)
    wide = np.divide(model_error, truth, out=np.full_like(model, np.nan), where=known)
    own = np.divide(truth_error, truth, out=np.zeros_like(truth), where=known)
    _band(ratio_ax, bounds, np.ones_like(truth), own, TRUTH)
    artists.append(ratio_ax.stairs(ratio, bounds, color=MODEL, lw=1.8, baseline=None))
    _band(ratio_ax, bounds, ratio, wide, MODEL)
    ratio_ax.axhline(1, color=TRUTH, lw=1)
    ratio_ax.set_ylim(0.5, 1.5)
    ratio_ax.set_ylabel("Ratio")
    ratio_ax.set_xlabel(xlabel)
    ax.set_ylabel("Share of showers")
    ax.set_ylim(bottom=0)
    for axis in (ax, ratio_ax):
        axis.set_xlim(bounds[0], bounds[-1])
        if log:
            axis.set_xscale("log")
    ax.legend()
    return artists


def _with_flows(
    edges: NDArray[np.float64], values: Sequence[NDArray[np.float64]], log: bool
) -> tuple[NDArray[np.float64], slice]:
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


def _band(
    ax: Axes,
    edges: NDArray[np.float64],
    values: NDArray[np.float64],
    errors: NDArray[np.float64],
    colour: str,
) -> None:
    low, high = values - errors, values + errors
    ax.stairs(high, edges, baseline=low, fill=True, color=colour, alpha=0.3, lw=0)


def layer_map(
    ax: Axes,
    values: ArrayLike,
    *,
    ylabel: str,
    y_edges: ArrayLike,
    ratio: bool = False,
    limits: tuple[float, float] | None = None,
    title: str = "",
) -> Any:
    """Mean energies by layer and ring, or sector, as a map.

    Args:
        ax: where.
        values: shape (number of rings or sectors, L), in GeV or a ratio.
        ylabel: what is along the vertical axis, with its unit.
        y_edges: of the rings or sectors.
        ratio: whether these are ratios, drawn from 0.5 to 1.5, or energies, on a logarithmic scale.
        limits: of the colours.
        title: above.

    Returns:
        The map, for a colour bar.
    """
    table = np.asarray(values, dtype=np.float64)
    x_edges = np.arange(table.shape[1] + 1) - 0.5
    if ratio:
        low, high = limits or (0.5, 1.5)
        scale: dict[str, Any] = {"cmap": "RdBu_r", "vmin": low, "vmax": high}
    else:
        scale = {"cmap": "viridis", "norm": _log_norm(table, limits)}
        table = np.ma.masked_less_equal(table, 0)
    artist = ax.pcolormesh(x_edges, np.asarray(y_edges), table, rasterized=True, **scale)
    ax.set_xlabel("Layer")
    ax.set_ylabel(ylabel)
    ax.set_title(title, fontsize="medium")
    return artist


def _log_norm(table: NDArray[np.float64], limits: tuple[float, float] | None) -> LogNorm:
    if limits is None:
        most = float(table.max(initial=0)) or 1.0
        limits = most * 1e-5, most
    return LogNorm(*limits, clip=True)


def layer_picture(
    ax: Axes,
    values: ArrayLike,
    *,
    r_edges: ArrayLike,
    limits: tuple[float, float],
    title: str = "",
) -> Any:
    """The mean energies of one layer, seen along the axis.

    Args:
        ax: polar axes.
        values: shape (sectors, rings), in GeV.
        r_edges: of the rings, in mm.
        limits: of the colours, in GeV, so that layers can be compared.
        title: above.

    Returns:
        The map, for a colour bar.
    """
    table = np.asarray(values, dtype=np.float64)
    # The edges of a cell are straight: many narrow ones go round.
    narrow = -(-90 // len(table))
    table = np.repeat(table, narrow, axis=0)
    angles = np.linspace(-np.pi, np.pi, len(table) + 1)
    shown = np.ma.masked_less_equal(table.T, 0)
    artist = ax.pcolormesh(
        angles,
        np.asarray(r_edges),
        shown,
        norm=LogNorm(*limits, clip=True),
        cmap="viridis",
        rasterized=True,
    )
    ax.set_xticks([])
    ax.set_yticks([])
    ax.grid(False)
    ax.set_title(title, fontsize="small", pad=3)
    return artist


def energy_response(
    ax: Axes, bins: Mapping[str, EnergyBins], *, ylabel: str = "Mean response"
) -> list[Any]:
    """Mean response against the incident energy.

    Args:
        ax: where.
        bins: by name; the first is the truth.
        ylabel: of the axis.

    Returns:
        The error bars.

    Raises:
        ValueError: nothing to draw.
    """
    artists = _against_energy(ax, bins, "response")
    ax.set_ylabel(ylabel)
    return artists


def energy_resolution(
    ax: Axes,
    bins: Mapping[str, EnergyBins],
    fits: Mapping[str, ResolutionFit] | None = None,
) -> list[Any]:
    """Resolution against the incident energy, with what was fitted to it.

    Args:
        ax: where.
        bins: by name; the first is the truth.
        fits: by the same names.

    Returns:
        The error bars.

    Raises:
        ValueError: nothing to draw.
    """
    artists = _against_energy(ax, bins, "resolution")
    for i, (name, fit) in enumerate((fits or {}).items()):
        edges = next(iter(bins.values())).edges
        energy = np.geomspace(edges[0], edges[-1], 200)
        text = (
            rf"{name}: {fit.stochastic.value:.3f}/√E $\oplus$ {fit.noise.value:.3f}/E "
            rf"$\oplus$ {fit.constant.value:.3f}"
        )
        ax.plot(energy, fit(energy), color=_colour(i), lw=1.2, label=text)
    ax.set_ylabel(r"Resolution $\sigma/\mu$")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize="small")
    return artists


def _against_energy(ax: Axes, bins: Mapping[str, EnergyBins], what: str) -> list[Any]:
    if not bins:
        raise ValueError("a plot against the energy needs bins")
    artists = []
    for i, (name, found) in enumerate(bins.items()):
        estimates = getattr(found, what)
        values = np.array([one.value for one in estimates])
        errors = np.array([one.error for one in estimates])
        known = np.isfinite(values) & np.isfinite(found.energy)
        # Set side by side, bars stay readable.
        energy = found.energy * 1.02 ** (i - (len(bins) - 1) / 2)
        artists.append(
            ax.errorbar(
                energy[known],
                values[known],
                yerr=errors[known],
                fmt="os^Dv"[i % 5],
                color=_colour(i),
                label=name,
                capsize=2,
            )
        )
    ax.set_xscale("log")
    # All of the bins, of which the points are the middles: fewer decades have crowded labels.
    ax.set_xlim(
        min(found.edges[0] for found in bins.values()),
        max(found.edges[-1] for found in bins.values()),
    )
    ax.set_xlabel("Incident energy [GeV]")
    ax.legend()
    return artists


def _colour(number: int) -> str:
    return "#4d4d52" if number == 0 else COLOURS[(number - 1) % len(COLOURS)]


def correlation_map(
    ax: Axes, matrix: ArrayLike, names: Sequence[str], *, title: str = "", limit: float = 1.0
) -> Any:
    """Correlations of observables, or differences of them.

    Args:
        ax: where.
        matrix: shape (N, N).
        names: of the N observables; more than 20 are not written.
        title: above.
        limit: largest absolute value on the colour scale.

    Returns:
        The map, for a colour bar.

    Raises:
        ValueError: another number of names.
    """
    table = np.asarray(matrix, dtype=np.float64)
    if table.shape != (len(names), len(names)):
        raise ValueError(f"{len(names)} names for a matrix of shape {table.shape}")
    artist = ax.imshow(table, cmap="RdBu_r", vmin=-limit, vmax=limit, interpolation="nearest")
    few = len(names) <= 20
    ax.set_xticks(range(len(names)) if few else [], names if few else [], rotation=90)
    ax.set_yticks(range(len(names)) if few else [], names if few else [])
    ax.tick_params(which="both", length=0, labelsize="x-small")
    ax.set_title(title, fontsize="medium")
    return artist


def classifier_curve(ax: Axes, curves: Mapping[str, tuple[ArrayLike, ArrayLike]]) -> list[Any]:
    """What classifiers tell of generated and true showers; the diagonal is nothing.

    Args:
        ax: where.
        curves: name -> shares of generated showers taken for true ones, and of true ones kept.

    Returns:
        The lines.

    Raises:
        ValueError: nothing to draw.
    """
    if not curves:
        raise ValueError("a plot of classifiers needs a curve")
    artists = []
    for i, (name, (taken, kept)) in enumerate(curves.items()):
        artists += ax.plot(taken, kept, color=COLOURS[i % len(COLOURS)], label=name)
    ax.plot([0, 1], [0, 1], color=TRUTH, ls="--", lw=1, label="no difference found")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    ax.set_xlabel("Generated showers taken for true ones")
    ax.set_ylabel("True showers kept")
    ax.legend(loc="lower right")
    return artists


def generation_time(
    ax: Axes, times: Mapping[str, tuple[Sequence[int], Sequence[float]]]
) -> list[Any]:
    """Time for a shower against the number that is made at a time.

    Args:
        ax: where.
        times: name -> batch sizes, and milliseconds for each shower.

    Returns:
        The lines.

    Raises:
        ValueError: nothing to draw.
    """
    if not times:
        raise ValueError("a plot of times needs times")
    artists = []
    for i, (name, (batches, milliseconds)) in enumerate(times.items()):
        colour = COLOURS[i % len(COLOURS)]
        artists += ax.plot(batches, milliseconds, "o-", color=colour, label=name)
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("Showers at a time")
    ax.set_ylabel("Time per shower [ms]")
    ax.legend()
    return artists
