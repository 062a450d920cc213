"""What an integration looks like: its weights, how it converged, where its points lie."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike

__all__ = ["convergence", "differential", "marginals", "weight_distribution"]


def weight_distribution(
    ax: Axes, weights: ArrayLike, *, maximum: float | None = None, bins: int = 60, text: str = ""
) -> list[Any]:
    """Draw the sizes of weights over their mean, both axes logarithmic.

    A sampler that knows the integrand has all weights near one. What stands to the right of the
    maximum becomes overweight events.

    Args:
        ax: where.
        weights: integrand over density, shape (B,); zeros are left out.
        maximum: the weight against which events are accepted, to mark it.
        bins: number of bins.
        text: name in the legend.

    Returns:
        The artists.

    Raises:
        ValueError: all weights are zero, or there are none.
    """
    sizes = np.abs(np.asarray(weights, np.float64))
    if not sizes.any():
        raise ValueError("no weight differs from zero: nothing to draw")
    mean = float(sizes.mean())
    logs = np.log10(sizes[sizes > 0] / mean)
    # What is smaller than a millionth of the mean is of no interest and would squeeze the rest.
    low, high = max(float(logs.min()), -6.0), float(logs.max())
    pad = 0.02 * (high - low) + 0.05
    counts, edges = np.histogram(logs, bins, (low - pad, high + pad))
    artists: list[Any] = [ax.stairs(counts, 10**edges, fill=True, alpha=0.4, label=text or None)]
    if maximum is not None:
        label = f"Maximum: mean / {mean / maximum:.2g}" if maximum > 0 else None
        artists.append(ax.axvline(maximum / mean, color="C2", linestyle="--", label=label))
    ax.set_xscale("log")
    ax.set_yscale("log")
    ax.set_xlabel("Weight / mean weight")
    ax.set_ylabel("Points")
    if ax.get_legend_handles_labels()[0]:
        ax.legend()
    return artists


def convergence(
    ax: Axes,
    calls: ArrayLike,
    integrals: ArrayLike,
    errors: ArrayLike,
    *,
    final: Sequence[bool] | None = None,
    result: tuple[float, float] | None = None,
    unit: str = "",
) -> list[Any]:
    """Draw the batches of an integration one after the other, and what they give together.

    Args:
        ax: where.
        calls: of each batch, shape (K,).
        integrals: of each batch, shape (K,).
        errors: one standard deviation of each, shape (K,).
        final: which batches count for the result; all if not given.
        result: value and error of all that count, drawn as a band.
        unit: of the integral.

    Returns:
        The artists.

    Raises:
        ValueError: arrays of different lengths.
    """
    ends = np.cumsum(np.asarray(calls, np.float64))
    values, sigmas = np.asarray(integrals, np.float64), np.asarray(errors, np.float64)
    counted = np.ones(len(ends), bool) if final is None else np.asarray(final, bool)
    if not len(ends) == len(values) == len(sigmas) == len(counted):
        raise ValueError(
            f"wanted as many calls, integrals, errors and flags, got {len(ends)}, {len(values)}, "
            f"{len(sigmas)} and {len(counted)}"
        )
    artists: list[Any] = []
    for chosen, colour, text in ((~counted, "C4", "Learning"), (counted, "C0", "Final")):
        if chosen.any():
            artists.append(
                ax.errorbar(
                    *(ends[chosen], values[chosen], sigmas[chosen]),
                    fmt="o",
                    color=colour,
                    label=text,
                    capsize=2,
                )
            )
    if result is not None:
        value, sigma = result
        band = ax.axhspan(value - sigma, value + sigma, color="C1", alpha=0.4, label="Result")
        artists.append(band)
        # First batches may be far off; the axis shows what the final ones say.
        spread = 6 * float(np.median(sigmas[counted])) if counted.any() else 0.0
        if spread > 0:
            ax.set_ylim(value - spread, value + spread)
    ax.set_xlabel("Calls of the integrand")
    ax.set_ylabel(f"Integral [{unit}]" if unit else "Integral")
    ax.legend()
    return artists


def marginals(
    ax: Axes,
    x: ArrayLike,
    weights: ArrayLike,
    *,
    dimension: int,
    bins: int = 50,
    name: str = "",
) -> list[Any]:
    """Draw where the points of a sampler lie in one variable, and where the integral comes from.

    Args:
        ax: where.
        x: points, shape (B, D).
        weights: integrand over density, shape (B,).
        dimension: which variable.
        bins: number of bins.
        name: of the variable; x0, x1, ... if not given.

    Returns:
        The artists.

    Raises:
        IndexError: there is no such variable.
    """
    column = np.asarray(x, np.float64)[:, dimension]
    sizes = np.abs(np.asarray(weights, np.float64))
    # The central part: an infinite interval has points far out.
    low, high = np.quantile(column, [0.001, 0.999])
    edges = np.linspace(low, high if high > low else low + 1, bins + 1)
    artists: list[Any] = []
    for values, text in ((None, "Points"), (sizes, "Integrand")):
        height, _ = np.histogram(column, edges, weights=values)
        total = height.sum() * (edges[1] - edges[0])
        artists.append(ax.stairs(height / total if total else height, edges, label=text))
    ax.set_xlabel(name or f"x{dimension}")
    ax.set_ylabel("Density")
    ax.legend()
    return artists


def differential(ax: Axes, histogram: Any, *, unit: str = "", name: str = "") -> list[Any]:
    """Draw a differential distribution with its errors, bins divided by their widths.

    Args:
        ax: where.
        histogram: of one axis with values and variances, as `hepgen.integrate` gives them.
        unit: of the integral.
        name: of the variable; that of the axis if not given.

    Returns:
        The artists.

    Raises:
        ValueError: a histogram of several axes.
    """
    if histogram.ndim != 1:
        raise ValueError(f"wanted a histogram of one axis, got {histogram.ndim}")
    axis = histogram.axes[0]
    edges, widths = axis.edges, np.diff(axis.edges)
    density, sigma = histogram.values() / widths, np.sqrt(histogram.variances()) / widths
    artists: list[Any] = [ax.stairs(density, edges, color="C0")]
    centres = (edges[1:] + edges[:-1]) / 2
    artists.append(ax.errorbar(centres, density, sigma, fmt="none", color="C0"))
    variable = name or axis.label or axis.name
    ax.set_xlabel(variable)
    # "$m$ [GeV]" and "pb" make pb / GeV.
    quantity, _, of = variable.removesuffix("]").partition(" [")
    units = " / ".join(part for part in (unit or ("1" if of else ""), of) if part)
    ax.set_ylabel(f"d$\\sigma$ / d{quantity}" + (f" [{units}]" if units else ""))
    ax.set_ylim(bottom=min(0.0, 1.05 * float(density.min(initial=0.0))))
    ax.set_xlim(edges[0], edges[-1])
    return artists
