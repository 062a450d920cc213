r"""Energy response and resolution of a calorimeter against the energy.

The resolution is the standard deviation of the response over its mean, and falls as

.. math:: \left(\frac{\sigma}{E}\right)^2 = \frac{a^2}{E} + \frac{b^2}{E^2} + c^2

with a the stochastic, b the noise and c the constant term (R. L. Workman et al., Review of Particle
Physics, section "Calorimeters").

Shapes: B showers, M bins.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.samples import Floats

__all__ = [
    "EnergyBins",
    "ResolutionFit",
    "energy_edges",
    "resolution_fit",
    "response_in_bins",
]

# Fewer showers have no standard deviation that is worth its error.
FEWEST = 10
# So many energies at most are bins of their own.
DISCRETE = 30


@dataclass(frozen=True)
class EnergyBins:
    """Response and resolution in bins of the incident energy.

    Attributes:
        edges: of the bins in GeV, shape (M + 1,).
        energy: harmonic mean of each bin in GeV, shape (M,), as squares of stochastic terms are
            means of 1/E: that of the energies would make them too large; NaN in empty bins.
        showers: in each bin, shape (M,).
        response: mean of E_visible / E_incident.
        resolution: standard deviation of that over its mean.
        robust: half the width of the middle 68.27 % over the median.
    """

    edges: Floats
    energy: Floats
    showers: np.ndarray[Any, np.dtype[np.int64]]
    response: tuple[Estimate, ...]
    resolution: tuple[Estimate, ...]
    robust: tuple[Estimate, ...]

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        kinds = {"response": self.response, "resolution": self.resolution, "robust": self.robust}
        energy = [None if math.isnan(e) else e for e in self.energy.tolist()]
        return {
            "edges": self.edges.tolist(),
            "energy": energy,
            "showers": self.showers.tolist(),
            **{name: [one.to_dict() for one in found] for name, found in kinds.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> EnergyBins:
        """The bins that `to_dict` gave.

        Args:
            content: see there.

        Raises:
            KeyError: a part is missing.
        """
        kinds = ("response", "resolution", "robust")
        energy = [math.nan if e is None else e for e in content["energy"]]
        return cls(
            np.array(content["edges"], dtype=float),
            np.array(energy, dtype=float),
            np.array(content["showers"], dtype=np.int64),
            *(tuple(Estimate.from_dict(one) for one in content[kind]) for kind in kinds),
        )


@dataclass(frozen=True)
class ResolutionFit:
    """The terms of a resolution.

    Attributes:
        stochastic: a, in the square root of GeV.
        noise: b, in GeV.
        constant: c.
        chi2: of the fit.
        dof: bins less terms.
    """

    stochastic: Estimate
    noise: Estimate
    constant: Estimate
    chi2: float
    dof: int

    def __call__(self, energy: ArrayLike) -> Floats:
        """The resolution at some energies.

        Args:
            energy: in GeV.
        """
        e = np.asarray(energy, dtype=np.float64)
        a, b, c = self.stochastic.value, self.noise.value, self.constant.value
        return np.sqrt(a**2 / e + b**2 / e**2 + c**2)

    def __str__(self) -> str:
        return (
            f"{self.stochastic} / sqrt(E) (+) {self.noise} / E (+) {self.constant}, "
            f"chi2/dof {self.chi2:.1f}/{self.dof}"
        )

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        terms = {"stochastic": self.stochastic, "noise": self.noise, "constant": self.constant}
        return {
            **{name: term.to_dict() for name, term in terms.items()},
            "chi2": self.chi2,
            "dof": self.dof,
        }


def energy_edges(energy: ArrayLike, bins: int = 4) -> Floats:
    """Bins for a sample: equal in the logarithm, or one for each energy where there are few.

    Args:
        energy: incident energies in GeV, (B,).
        bins: how many of the former.

    Returns:
        Edges in GeV.

    Raises:
        ValueError: no energies, or one that is not above 0.
    """
    e = np.asarray(energy, dtype=np.float64)
    if not e.size or not e.min() > 0:
        raise ValueError("energies of a sample should be above 0")
    values = np.unique(e)
    if len(values) <= DISCRETE:
        middles = np.sqrt(values[1:] * values[:-1])
        return np.concatenate([[values[0] / 1.001], middles, [values[-1] * 1.001]])
    edges = np.geomspace(values[0], values[-1], bins + 1)
    edges[-1] = np.nextafter(values[-1], np.inf)
    return edges


def response_in_bins(
    energy: ArrayLike,
    response: ArrayLike,
    edges: ArrayLike | None = None,
    *,
    weights: ArrayLike | None = None,
) -> EnergyBins:
    """Mean response and resolution in bins of the energy.

    Args:
        energy: incident, in GeV, (B,).
        response: E_visible / E_incident, (B,).
        edges: of the bins in GeV; `energy_edges` if not given.
        weights: (B,).

    Returns:
        The bins; those of fewer than ten showers have NaN.

    Raises:
        ValueError: lengths that differ, values that are not finite, or edges that do not rise.
    """
    e, r = np.asarray(energy, dtype=np.float64), np.asarray(response, dtype=np.float64)
    w = np.ones(len(e)) if weights is None else np.asarray(weights, dtype=np.float64)
    if not (e.shape == r.shape == w.shape and e.ndim == 1):
        raise ValueError(f"energy, response, weights have shapes {e.shape}, {r.shape}, {w.shape}")
    if not (np.isfinite(e).all() and np.isfinite(r).all() and np.isfinite(w).all()):
        raise ValueError("energies, responses and weights should be finite")
    bounds = energy_edges(e) if edges is None else np.asarray(edges, dtype=np.float64)
    if bounds.ndim != 1 or len(bounds) < 2 or np.any(np.diff(bounds) <= 0):
        raise ValueError(f"edges of energies should rise, got {bounds.tolist()}")
    index = np.searchsorted(bounds, e, side="right") - 1
    # As of histograms, the last bin has both its edges.
    index[e == bounds[-1]] = len(bounds) - 2
    rows = [np.flatnonzero(index == i) for i in range(len(bounds) - 1)]
    found = [_moments(r[i], w[i]) for i in rows]
    means = [w[i].sum() / (w[i] / e[i]).sum() if w[i].sum() > 0 else math.nan for i in rows]
    return EnergyBins(
        bounds,
        np.array(means),
        np.array([len(i) for i in rows]),
        tuple(one[0] for one in found),
        tuple(one[1] for one in found),
        tuple(one[2] for one in found),
    )


def resolution_fit(energy: ArrayLike, resolution: ArrayLike, error: ArrayLike) -> ResolutionFit:
    """Fit a / sqrt(E) (+) b / E (+) c, none of them negative, by least squares of the squares.

    The squares are linear in a^2, b^2 and c^2. A term that would be negative is zero, with the
    error that it would have there.

    Args:
        energy: in GeV, (M,).
        resolution: (M,); NaN are left out.
        error: of the resolution, (M,).

    Raises:
        ValueError: lengths that differ, or fewer than three bins with a resolution and an error.
    """
    e, s, d = (np.asarray(x, dtype=np.float64) for x in (energy, resolution, error))
    if not (e.shape == s.shape == d.shape and e.ndim == 1):
        raise ValueError(f"energy, resolution, error have shapes {e.shape}, {s.shape}, {d.shape}")
    good = np.isfinite(e) & np.isfinite(s) & np.isfinite(d) & (d > 0) & (e > 0)
    if good.sum() < 3:
        raise ValueError(f"{good.sum()} bins with a resolution: wanted three for three terms")
    e, y, spread = e[good], s[good] ** 2, 2 * s[good] * d[good]
    design = np.stack([1 / e, 1 / e**2, np.ones_like(e)], axis=1) / spread[:, None]
    target = y / spread
    best: tuple[float, tuple[int, ...], Any] | None = None
    for size in (3, 2, 1):
        for terms in combinations(range(3), size):
            solution = np.linalg.lstsq(design[:, terms], target, rcond=None)[0]
            chi2 = float(np.square(design[:, terms] @ solution - target).sum())
            if (solution >= 0).all() and (best is None or chi2 < best[0] - 1e-12):
                best = chi2, terms, solution
    if best is None:  # a sum of squares is never negative, so one of the terms alone is not
        raise ValueError("no term fits the resolutions")
    chi2, terms, solution = best
    squares = np.zeros(3)
    squares[list(terms)] = solution
    covariance = np.linalg.pinv(design.T @ design)
    found: list[Estimate] = []
    for i in range(3):
        wide = math.sqrt(max(covariance[i, i], 0.0))
        value = math.sqrt(squares[i])
        # Half the width of the square over the root, or the root of the width at zero.
        error = min(wide / (2 * value), math.sqrt(wide)) if value else math.sqrt(wide)
        found.append(Estimate(value, error))
    return ResolutionFit(found[0], found[1], found[2], chi2, len(e) - 3)


def _moments(values: Floats, weight: Floats) -> tuple[Estimate, Estimate, Estimate]:
    """Mean, relative standard deviation, and relative half-width of the middle 68.27 %."""
    unknown = Estimate(math.nan, math.nan)
    total = weight.sum()
    if len(values) < FEWEST or total <= 0:
        return unknown, unknown, unknown
    # What so many unequal weights are worth.
    number = total**2 / np.square(weight).sum()
    mean = float(np.average(values, weights=weight))
    centred = values - mean
    variance = float(np.average(centred**2, weights=weight)) * number / max(number - 1, 1)
    fourth = float(np.average(centred**4, weights=weight))
    sigma = math.sqrt(variance)
    response = Estimate(mean, sigma / math.sqrt(number))
    if sigma == 0 or mean <= 0:
        return response, Estimate(0.0 if mean > 0 else math.nan, 0.0), unknown
    error = math.sqrt(max(fourth - variance**2, 0.0) / number) / (2 * sigma)
    third = float(np.average(centred**3, weights=weight))
    relative = sigma / mean
    # Mean and standard deviation of skew distributions move together.
    square = (error / sigma) ** 2 + variance / number / mean**2 - third / (number * variance * mean)
    resolution = Estimate(relative, relative * math.sqrt(max(square, 0.0)))
    order = np.argsort(values)
    sums = (np.cumsum(weight[order]) - weight[order] / 2) / total
    low, middle, high = np.interp([0.158655, 0.5, 0.841345], sums, values[order])
    if middle <= 0:  # half of the showers are empty
        return response, resolution, unknown
    half = float((high - low) / 2 / middle)
    # Of a normal distribution, whose quantiles have 1.36 of the error of its standard deviation.
    return response, resolution, Estimate(half, half * 1.36 / math.sqrt(2 * number))
