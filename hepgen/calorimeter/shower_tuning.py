"""Parametrised showers made like those of a sample, by a few factors.

Means and widths of a shower's depth, length, radius, energy and number of voxels, in bins of the
energy, are made equal to the sample's by Gauss-Newton steps. The parametrised showers of each step
are of the same random numbers, so that their moments change with the factors almost smoothly.

Shapes: B showers, V voxels, R radii, M moments, P factors.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.errors import ShowerError
from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.random_kernels import keys_of
from hepgen.calorimeter.shower_parameters import ShowerTuning
from hepgen.calorimeter.shower_profile import layer_edges, simulate_voxels
from hepgen.calorimeter.showers import Showers
from hepgen.calorimeter.stack import Calorimeter, Sampling

__all__ = ["tune_showers"]

Doubles = NDArray[np.float64]

# Factor -> which moments it is there for, how far it moves to see what it does, and the least and
# greatest value.
FACTORS = {
    "response": ("response", 0.02, 1e-4, 1e4),
    "sampling_term": ("resolution", 0.01, 0.0, 1.0),
    "depth": ("depth", 0.05, 0.2, 5.0),
    "shape": ("depth", 0.3, -2.0, 5.0),
    "depth_width": ("depth", 0.2, 0.0, 3.0),
    "shape_width": ("depth", 0.2, 0.0, 3.0),
    "core": ("radius", 0.1, 0.1, 5.0),
    "tail": ("radius", 0.1, 0.1, 5.0),
    "core_weight": ("radius", 0.1, -1.0, 1.0),
    "spots": ("hits", 0.2, 0.05, 20.0),
    "spot_power": ("hits", 0.1, -0.5, 0.5),
}
# What is tuned by turns, the profile in depth and the rest, which hangs on it; of each, the factors
# that can be moved at the same time, as they do not change each other's moments.
TURNS = (
    (("depth",), ("shape",), ("depth_width",), ("shape_width",)),
    (
        ("core", "response"),
        ("tail", "sampling_term"),
        ("core_weight",),
        ("spots",),
        ("spot_power",),
    ),
)
# Greatest over least energy of a bin.
WIDEST = 3.0
# Radii within which the energy is compared, in Moliere radii.
RADII = (0.25, 0.5, 1.0, 1.5, 2.0, 3.0)
# Moments are not asked to agree better than so, relatively: the formulas cannot.
GOAL = 0.003
# Fewer showers than this in a bin of energy tell no widths.
FEWEST = 20


def tune_showers(
    showers: Showers,
    calorimeter: Calorimeter,
    photon: NDArray[np.bool_],
    *,
    start: ShowerTuning | None = None,
    z_edges: Sequence[float] | None = None,
    number: int = 3000,
    iterations: int = 5,
    seed: int = 0,
) -> ShowerTuning:
    """The factors with which parametrised showers are most like those of a sample.

    Args:
        showers: the sample; voxels below the threshold of its geometry count as empty, and its
            weights count.
        calorimeter: what it is made of.
        photon: which of the showers are of photons, shape (B,).
        start: where to begin; the published formulas with the mean response and the width of the
            sample if not given.
        z_edges: depths in mm where layers begin and end; see `simulate_showers`.
        number: parametrised showers that are made at each step, at most.
        iterations: steps in each factor.
        seed: of the parametrised showers.

    Raises:
        ShowerError: too few showers with energy, or energies below the reach of the formulas.
        GeometryError: layers without depths.
    """
    showers = showers.above()
    seen = np.flatnonzero(showers.total_energy > 0)
    if len(seen) < FEWEST:
        raise ShowerError(
            f"{len(seen)} showers with energy are too few to tune to, wanted {FEWEST}"
        )
    bins = _bins(showers.incident_energy)
    edges = layer_edges(showers.geometry, z_edges)
    reader = _Moments(showers.geometry, edges, calorimeter, bins)
    weight = np.ones(len(showers)) if showers.weight is None else showers.weight
    wanted, errors = reader(showers.incident_energy, showers.voxels, weight)
    rows = np.arange(len(showers))[:: max(1, len(showers) // number)]
    energy, photons = showers.incident_energy[rows], photon[rows]
    # Energies of a small sample are taken several times.
    times = max(1, min(4, number // len(rows)))
    energy, photons = np.tile(energy, times), np.tile(photons, times)
    weights = np.tile(weight[rows], times)
    keys = keys_of(seed, 0, len(energy))

    def pulls(tuning: ShowerTuning) -> Doubles:
        made = simulate_voxels(
            showers.geometry, calorimeter, energy, photons, keys, tuning=tuning, z_edges=z_edges
        )
        # The particles that are made have the weights of the showers that they are taken from.
        found, own = reader(energy, made, weights)
        scale = np.sqrt(errors**2 + own**2 + (GOAL * np.abs(wanted)) ** 2 + 1e-12)
        difference: Doubles = (found - wanted) / scale
        return np.where(np.isfinite(difference), difference, 0.0)

    return _gauss_newton(
        pulls, reader.kinds, start or _first(showers[seen], calorimeter), iterations
    )


def _first(showers: Showers, calorimeter: Calorimeter) -> ShowerTuning:
    """The formulas as published, with what the sample tells at once."""
    response = showers.response
    weight = np.ones(len(showers)) if showers.weight is None else showers.weight
    mean = float((weight @ showers.total_energy) / (weight @ showers.incident_energy))
    width = np.median(np.abs(response / mean - 1) * np.sqrt(showers.incident_energy)) / 0.6745
    least = 0.01 if isinstance(calorimeter, Sampling) else 0.001
    _, _, low, high = FACTORS["response"]
    return ShowerTuning(
        response=min(high, max(low, mean)),
        sampling_term=min(0.5, max(least, 0.9 * float(width))),
    )


def _gauss_newton(
    pulls: Callable[[ShowerTuning], Doubles],
    kinds: Sequence[str],
    tuning: ShowerTuning,
    iterations: int,
) -> ShowerTuning:
    """Steps in the factors of each kind of moment, shortened where they did not help."""
    own = {kind: np.array([k == kind for k in kinds]) for kind, *_ in FACTORS.values()}
    ties = dict.fromkeys(own, 0.3)
    now = pulls(tuning)
    for groups in TURNS * iterations:
        names = [name for group in groups for name in group]
        trial = _moved(tuning, names, _step(pulls, groups, own, ties, tuning, now))
        then = pulls(trial)
        worse = {kind: _square(then[m]) > _square(now[m]) for kind, m in own.items()}
        back = [name for name in names if worse[FACTORS[name][0]]]
        for kind in {FACTORS[name][0] for name in names}:
            ties[kind] *= 10.0 if worse[kind] else 0.3
        tuning = replace(trial, **{name: getattr(tuning, name) for name in back})
        now = pulls(tuning) if back else then
    return tuning


def _step(
    pulls: Callable[[ShowerTuning], Doubles],
    groups: Sequence[Sequence[str]],
    own: Mapping[str, NDArray[np.bool_]],
    ties: Mapping[str, float],
    tuning: ShowerTuning,
    now: Doubles,
) -> Doubles:
    """How far the factors of some groups should move, shape (P,)."""
    columns = []
    for group in groups:
        moved = {}
        for name in group:
            value, (_, step, _, most) = getattr(tuning, name), FACTORS[name]
            moved[name] = value + step if value + step <= most else value - step
        change = pulls(replace(tuning, **moved)) - now
        for name in group:
            # What a factor does to moments of another kind is taken up by the next step; here it
            # would mostly be noise.
            slope = np.where(own[FACTORS[name][0]], change, 0.0)
            columns.append(slope / (moved[name] - getattr(tuning, name)))
    # A weak tie to where it is keeps a factor that no moment tells of.
    tie = np.diag([ties[FACTORS[n][0]] / FACTORS[n][1] for group in groups for n in group])
    aim = np.concatenate([-now, np.zeros(len(tie))])
    matrix = np.concatenate([np.stack(columns, axis=1), tie])
    found: Doubles = np.linalg.lstsq(matrix, aim, rcond=None)[0]
    return found


def _square(pulls: Doubles) -> float:
    return float(pulls @ pulls)


def _moved(tuning: ShowerTuning, names: Sequence[str], move: Doubles) -> ShowerTuning:
    values = {}
    for name, change in zip(names, move.tolist(), strict=True):
        _, step, least, most = FACTORS[name]
        limited = getattr(tuning, name) + min(3 * step, max(-3 * step, change))
        values[name] = min(most, max(least, limited))
    return replace(tuning, **values)


def _bins(energy: Doubles) -> Doubles:
    """Edges of bins of equal width in the logarithm, the last without end."""
    low, high = float(energy.min()), float(energy.max())
    number = max(1, math.ceil(math.log(high / low) / math.log(WIDEST) - 1e-9))
    return np.concatenate([np.geomspace(low, high, number + 1)[:-1] * (1 - 1e-9), [np.inf]])


class _Moments:
    """Moments of showers in bins of the energy, with errors.

    Attributes:
        kinds: what each tells of: response, resolution, depth, radius or hits, M of them.
    """

    def __init__(
        self, geometry: Geometry, edges: Doubles, calorimeter: Calorimeter, bins: Doubles
    ) -> None:
        self.bins = bins
        middles = (edges[:-1] + edges[1:]) / 2
        depth = middles[geometry.layer_of] / calorimeter.radiation_length
        outer = np.concatenate(
            [np.tile(layer.r_edges[1:], layer.num_alpha) for layer in geometry.layers]
        )
        limits = [r * calorimeter.moliere_radius for r in RADII]
        inside = [outer <= limit * (1 + 1e-9) for limit in limits]
        # Coarse rings make some of the radii the same; one of each is enough.
        kept = [m for i, m in enumerate(inside) if not any((m == n).all() for n in inside[:i])]
        kept = [m for m in kept if m.any() and not m.all()]
        columns = [np.ones_like(depth), depth, depth**2, *kept]
        self.columns = np.stack(columns, axis=1).astype(np.float32)  # (V, 3 + R)
        means = ["response", "depth", "depth", *["radius"] * len(kept), "hits"]
        self.kinds = [*means, "resolution", "depth", "depth"] * (len(bins) - 1)

    def __call__(
        self, energy: Doubles, voxels: NDArray[np.floating[Any]], weight: Doubles
    ) -> tuple[Doubles, Doubles]:
        """Weighted moments and their errors, each of shape (M,); NaN where showers are too few."""
        sums = (voxels @ self.columns).astype(np.float64)
        total = sums[:, 0]
        safe = np.where(total > 0, total, np.nan)
        mean = sums[:, 1] / safe
        length = np.sqrt(np.maximum(0.0, sums[:, 2] / safe - mean**2))
        hits = np.count_nonzero(voxels, axis=1) / energy
        inside = sums[:, 3:] / safe[:, None]
        each = np.column_stack([total / energy, mean, length, inside, hits])
        values, errors = [], []
        for low, high in pairwise(self.bins):
            here = (energy >= low) & (energy < high) & (total > 0)
            some, w = each[here], weight[here]
            if len(some) < FEWEST or not w.sum() > 0:
                values.append(np.full(each.shape[1] + 3, np.nan))
                errors.append(np.full(each.shape[1] + 3, np.nan))
                continue
            # How many showers of equal weight they are worth.
            n = w.sum() ** 2 / np.square(w).sum()
            means, spread = _mean_and_spread(some, w)
            # The resolution is the width of the response as at 1 GeV, so that a bin may be wide.
            at_one = (some[:, :1] - means[0]) * np.sqrt(energy[here])[:, None]
            widths = np.array([_mean_and_spread(at_one, w)[1][0], *spread[1:3]])
            values += [means, widths]
            errors += [spread / np.sqrt(n), widths / np.sqrt(2 * n)]
        return np.concatenate(values), np.concatenate(errors)


def _mean_and_spread(values: Doubles, weight: Doubles) -> tuple[Doubles, Doubles]:
    """Weighted means and standard deviations of columns."""
    mean: Doubles = np.average(values, axis=0, weights=weight)
    variance = np.average(np.square(values - mean), axis=0, weights=weight)
    return mean, np.sqrt(np.maximum(0.0, variance))
