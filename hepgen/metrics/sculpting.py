"""How much a cut on the score changes the mass spectrum of the background that passes it.

Shapes: B jets, M mass bins, R resamples.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.classification import threshold
from hepgen.metrics.estimate import Estimate
from hepgen.metrics.samples import Bools, Floats, binary

__all__ = ["jensen_shannon", "mass_edges", "mass_sculpting"]


def jensen_shannon(first: ArrayLike, second: ArrayLike) -> Floats:
    r"""Jensen-Shannon divergence of two histograms, in bits.

    .. math:: \tfrac12 \sum_m p_m \log_2 \frac{2 p_m}{p_m + q_m}
        + \tfrac12 \sum_m q_m \log_2 \frac{2 q_m}{p_m + q_m}

    J. Lin, IEEE Trans. Inf. Theory 37 (1991) 145.

    Args:
        first: contents of the bins, (..., M), of any normalisation; negative contents count as
            none.
        second: the same for the other.

    Returns:
        From 0 (same shape) to 1 (no bin in common), shape (...); NaN where a histogram is empty.
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        shapes = []
        for contents in (first, second):
            content = np.maximum(np.asarray(contents, dtype=np.float64), 0)
            shapes.append(content / content.sum(axis=-1, keepdims=True))
        p, q = shapes
        middle = (p + q) / 2
        terms = [np.where(x == 0, 0.0, x * np.log2(x / middle)) for x in (p, q)]
    return np.asarray((terms[0] + terms[1]).sum(axis=-1) / 2)


def mass_sculpting(
    labels: ArrayLike,
    scores: ArrayLike,
    mass: ArrayLike,
    signal_efficiency: float = 0.5,
    weights: ArrayLike | None = None,
    *,
    bins: int | ArrayLike = 40,
    resamples: int = 400,
    seed: int = 0,
) -> Estimate:
    """Jensen-Shannon divergence between the background's mass before and after a cut on the score.

    Args:
        labels: (B,), 1 for signal.
        scores: (B,).
        mass: (B,) in GeV; or any other observable.
        signal_efficiency: what the cut keeps of the signal, in (0, 1].
        weights: (B,).
        bins: edges in GeV, or a number of bins of equal width (:func:`mass_edges`); what lies
            outside of the edges counts in the first and the last bin.
        resamples: R, of the contents of the bins, for error and floor.
        seed: of the resampling.

    Returns:
        The divergence in bits, from 0 to 1. ``floor`` is the mean for a cut that takes as many jets
        at random, the error is the spread of resampled spectra at the same cut; NaN where no
        background passes.

    Raises:
        ValueError: a class is missing, lengths differ, or scores or masses of the background are
            NaN.
    """
    label, score, weight = binary(labels, scores, weights)
    value = np.asarray(mass, dtype=np.float64)
    if value.shape != score.shape:
        raise ValueError(f"{value.shape} masses for {len(score)} scores")
    cut = threshold(label, score, signal_efficiency, weight)
    weight = np.ones(len(score)) if weight is None else weight
    value, passed, weight = value[~label], (score >= cut)[~label], weight[~label]
    edges = mass_edges(value, bins) if np.ndim(bins) == 0 else np.asarray(bins, dtype=np.float64)
    missing = int(np.isnan(value).sum())
    if missing:
        raise ValueError(f"{missing} of {len(value)} masses of the background are NaN")
    return _divergence(_spectra(value, passed, weight, edges), resamples, seed)


def mass_edges(mass: ArrayLike, bins: int | ArrayLike = 40) -> Floats:
    """Edges of bins of equal width that hold the middle 99.8 % of the values.

    Args:
        mass: (B,) in GeV; values that are not finite are left out.
        bins: their number.

    Returns:
        Edges (bins + 1,) in GeV; around a single value they are 1 GeV apart.

    Raises:
        ValueError: no finite value, or no bins.
    """
    value = np.asarray(mass, dtype=np.float64)
    value = value[np.isfinite(value)]
    number = int(np.asarray(bins))
    if not len(value) or number < 1:
        raise ValueError(f"no edges of {number} bins from {len(value)} finite values")
    low, high = np.quantile(value, [0.001, 0.999])
    if low == high:
        low, high = low - number / 2, high + number / 2
    return np.linspace(low, high, number + 1)


def _spectra(
    value: Floats, passed: Bools, weight: Floats, edges: Floats
) -> tuple[tuple[Floats, Floats], tuple[Floats, Floats]]:
    """Contents and their variances, of what passes and of what fails."""
    bins = len(edges) - 1
    index = np.clip(np.searchsorted(edges, value, side="right") - 1, 0, bins - 1)
    spectra = []
    for chosen in (passed, ~passed):
        contents = np.bincount(index[chosen], weight[chosen], bins)
        variances = np.bincount(index[chosen], weight[chosen] ** 2, bins)
        # Of no jets at all bincount makes integers.
        spectra.append((contents.astype(np.float64), variances.astype(np.float64)))
    return spectra[0], spectra[1]


def _divergence(
    spectra: tuple[tuple[Floats, Floats], tuple[Floats, Floats]], resamples: int, seed: int
) -> Estimate:
    (passing, passing2), (failing, failing2) = spectra
    value = float(jensen_shannon(passing + failing, passing))
    rng = np.random.default_rng([seed, len(passing)])
    total, total2 = passing + failing, passing2 + failing2
    share = passing.sum() / total.sum()
    share2 = passing2.sum() / total2.sum()
    if share <= 0:
        return Estimate(math.nan, math.nan)
    drawn = [_drawn(rng, *spectrum, resamples) for spectrum in spectra]
    error = _known(jensen_shannon(drawn[0] + drawn[1], drawn[0])).std(ddof=1)
    chance = _drawn(rng, share * total, share2 * total2, resamples)
    rest = _drawn(rng, (1 - share) * total, (1 - share2) * total2, resamples)
    floor = _known(jensen_shannon(chance + rest, chance)).mean()
    return Estimate(value, float(error), floor=float(floor))


def _known(divergence: Floats) -> Floats:
    """Without the replicas in which nothing passes the cut."""
    return divergence[np.isfinite(divergence)]


def _drawn(rng: np.random.Generator, content: Floats, variance: Floats, resamples: int) -> Floats:
    """Resampled contents (R, M): Poisson numbers of the mean and variance of each weighted bin."""
    with np.errstate(divide="ignore", invalid="ignore"):
        unit = np.where(content > 0, variance / content, 0.0)
        mean = np.where(content > 0, content / unit, 0.0)
    return np.asarray(rng.poisson(mean, (resamples, len(content))) * unit)
