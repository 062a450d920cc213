"""Showers of a simulator beside those of the full simulation.

Shapes: L layers, V voxels, M bins, N observables.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter
from numpy.typing import ArrayLike, NDArray

from hepgen.metrics import EnergyBins, ResolutionFit
from hepgen.plots.shower_spectra import TRUTH, look

__all__ = [
    "classifier_curve",
    "correlation_map",
    "energy_ratio",
    "energy_resolution",
    "energy_response",
    "generation_time",
    "layer_map",
    "layer_picture",
    "plain_ticks",
]

# The truth where it is points and lines.
DARK = "#4d4d52"
MARKERS = "sD^vPXo"


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
    columns = 1 if len(bins) < 4 else 2
    # Room for the legend above all points.
    low, high = ax.get_ylim()
    ax.set_ylim(low, high + (0.1 + 0.09 * -(-len(bins) // columns)) * (high - low))
    ax.legend(loc="upper right", ncols=columns, fontsize="small")
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
        fits: by the same names; their terms stand in the legend, for E in GeV.

    Returns:
        The error bars.

    Raises:
        ValueError: nothing to draw.
    """
    fits = fits or {}
    artists = _against_energy(ax, bins, "resolution")
    for i, (name, bars) in enumerate(zip(bins, artists, strict=True)):
        if name not in fits:
            continue
        fit = fits[name]
        edges = bins[name].edges
        energy = np.geomspace(edges[0], edges[-1], 200)
        ax.plot(energy, fit(energy), lw=1.2, **_style(i))
        bars.set_label(
            rf"{name}: {fit.stochastic.value:.3f}/√E $\oplus$ {fit.noise.value:.3f}/E "
            rf"$\oplus$ {fit.constant.value:.3f}"
        )
    ax.set_ylabel(r"Resolution $\sigma/\mu$")
    ax.set_ylim(bottom=0)
    ax.legend(fontsize="small", title="E in GeV" if fits else None, title_fontsize="small")
    return artists


def energy_ratio(
    ax: Axes, bins: Mapping[str, EnergyBins], what: str, *, ylabel: str = "Ratio"
) -> list[Any]:
    """Response or resolution over that of the truth, against the incident energy.

    The error of the truth is a band about 1, that of each other its bars.

    Args:
        ax: where.
        bins: by name; the first is the truth. All have the same edges.
        what: "response" or "resolution".
        ylabel: of the axis.

    Returns:
        The error bars.

    Raises:
        ValueError: fewer than two to draw.
    """
    if len(bins) < 2:
        raise ValueError("a ratio needs two to divide")
    truth, *others = bins.values()
    value, error = _values(truth, what)
    known = value > 0
    relative = np.divide(error, value, out=np.zeros_like(value), where=known)
    steps = np.where(np.isfinite(relative), relative, 0)
    ax.stairs(1 + steps, truth.edges, baseline=1 - steps, fill=True, color=TRUTH, alpha=0.4, lw=0)
    artists = []
    for i, found in enumerate(others):
        values, errors = _values(found, what)
        good = known & np.isfinite(values) & np.isfinite(found.energy)
        artists.append(
            ax.errorbar(
                (found.energy * _aside(i + 1, len(bins)))[good],
                values[good] / value[good],
                yerr=errors[good] / value[good],
                **_points(i + 1),
            )
        )
    ax.axhline(1, color=TRUTH, lw=1)
    ax.set_xscale("log")
    ax.set_xlim(truth.edges[0], truth.edges[-1])
    plain_ticks(ax, "x")
    ax.set_xlabel("Incident energy [GeV]")
    ax.set_ylabel(ylabel)
    return artists


def _values(bins: EnergyBins, what: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    estimates = getattr(bins, what)
    return (
        np.array([one.value for one in estimates]),
        np.array([one.error for one in estimates]),
    )


def _against_energy(ax: Axes, bins: Mapping[str, EnergyBins], what: str) -> list[Any]:
    if not bins:
        raise ValueError("a plot against the energy needs bins")
    artists = []
    for i, (name, found) in enumerate(bins.items()):
        values, errors = _values(found, what)
        known = np.isfinite(values) & np.isfinite(found.energy)
        energy = found.energy * _aside(i, len(bins))
        artists.append(
            ax.errorbar(energy[known], values[known], yerr=errors[known], label=name, **_points(i))
        )
    ax.set_xscale("log")
    # All of the bins, of which the points are the middles: fewer decades have crowded labels.
    ax.set_xlim(
        min(found.edges[0] for found in bins.values()),
        max(found.edges[-1] for found in bins.values()),
    )
    plain_ticks(ax, "x")
    ax.set_xlabel("Incident energy [GeV]")
    return artists


def _aside(number: int, total: int) -> float:
    """Set side by side, bars stay readable."""
    return float(1.04 ** (number - (total - 1) / 2))


def _points(number: int) -> dict[str, Any]:
    marker = "o" if number == 0 else MARKERS[(number - 1) % len(MARKERS)]
    colour = _style(number)["color"]
    return {"fmt": marker, "color": colour, "capsize": 2, "markersize": 5, "lw": 1.4}


def _style(number: int) -> dict[str, Any]:
    """Of the truth, which is 0, and of simulators, from 1."""
    return {"color": DARK, "ls": "-"} if number == 0 else look(number - 1)


def plain_ticks(ax: Axes, which: Literal["x", "y"]) -> None:
    """Label a logarithmic axis 10, 20, 50 in place of powers, which crowd in few decades.

    Args:
        ax: where; an axis of more than three decades is left alone.
        which: of its axes.
    """
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = (ax.get_xlim if which == "x" else ax.get_ylim)()
    decades = math.log10(high / low) if 0 < low < high else 9.0
    if decades > 3:
        return
    subs = (1.0, 2.0, 5.0) if decades > 0.7 else tuple(float(i) for i in range(1, 10))
    axis.set_major_locator(LogLocator(subs=subs, numticks=12))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


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
        artists += ax.plot(taken, kept, label=name, **look(i))
    ax.plot([0, 1], [0, 1], color=TRUTH, lw=1, label="no difference found")
    ax.set_xlim(0, 1)
    ax.set_ylim(0, 1)
    # The zeros of both axes would stand on each other.
    ax.set_yticks([0.2, 0.4, 0.6, 0.8, 1.0])
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
        marker = MARKERS[i % len(MARKERS)]
        artists += ax.plot(batches, milliseconds, marker=marker, ms=5, label=name, **look(i))
    ax.set_xscale("log")
    ax.set_yscale("log")
    low, high = ax.get_ylim()
    # Room for the legend, and for a decade.
    ax.set_ylim(low, max(high, 3 * low) * (high / low) ** (0.05 + 0.06 * len(times)))
    plain_ticks(ax, "y")
    ax.set_xlabel("Showers at a time")
    ax.set_ylabel("Time per shower [ms]")
    ax.legend(loc="upper right", fontsize="small")
    return artists
