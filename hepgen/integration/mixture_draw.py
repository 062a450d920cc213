r"""Points from a mixture: a fixed number from each component, on low-discrepancy sets or at random.

With :math:`n_k` points meant for component k and the density :math:`\bar q = \sum_k n_k p_k / n`,

.. math:: \int f = \sum_k \int \frac{n_k p_k}{n \bar q} f

is a sum over strata. Low-discrepancy points of a component are put through the inverse of the
normal distribution; those that fall outside the cube are dropped, and cost no call. Of N such
points :math:`n_k = N M_k` are inside on average, and each counts :math:`1 / (n \bar q)` whatever
their number is: no ratio, no bias.

Shapes: B points, D dimensions, K components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.box_mass import student_scale
from hepgen.integration.low_discrepancy import replicates, scrambled_sobol
from hepgen.integration.mixture_components import Components
from hepgen.integration.normal_kernels import normal_quantiles
from hepgen.integration.sampler import Draw

__all__ = ["draw_components"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Fewest independent sets of a component, which tell the error; and points a set should have.
SETS = 20
LEAST_POINTS = 16
# A component with less of its mass inside the cube is drawn at random, by fixed numbers: how many
# points of a set fall inside would vary more than the weights do.
LEAST_MASS = 0.75


def draw_components(
    mixture: Components, calls: int, rng: np.random.Generator, *, sobol: bool
) -> Draw:
    """Draw from a mixture.

    Args:
        mixture: what to draw from.
        calls: how many points at most.
        rng: where all random numbers come from.
        sobol: low-discrepancy sets where a component gets enough points for several.

    Raises:
        ValueError: fewer than two calls for each component and the flat part.
    """
    number = len(mixture) + 1
    if calls < 2 * number:
        raise ValueError(
            f"a mixture of {number - 1} components and a flat part needs {2 * number} calls or "
            f"more, got {calls}"
        )
    counts = _allocate(np.append(mixture.shares, mixture.flat), calls)
    strata = [_stratum(mixture, k, int(counts[k]), rng, sobol) for k in range(number)]
    x = np.concatenate([one.x for one in strata])
    meant = np.array([one.meant for one in strata])
    starts = np.cumsum([0, *(one.units for one in strata)])
    unit = np.concatenate([one.unit + start for one, start in zip(strata, starts, strict=False)])
    stratum = np.repeat(np.arange(number), [one.units for one in strata])
    return Draw(x, 1 / (meant.sum() * mixture.density(x, meant / meant.sum())), unit, stratum)


@dataclass(frozen=True)
class Stratum:
    """Points of one component, the unit of each, how many units, and how many points on average."""

    x: Array
    unit: Indices
    units: int
    meant: float


def _stratum(
    mixture: Components, k: int, calls: int, rng: np.random.Generator, sobol: bool
) -> Stratum:
    dimension = mixture.means.shape[1]
    flat = k == len(mixture)
    mass = 1.0 if flat else float(mixture.masses[k])
    # Room for the number inside to fluctuate, as no more calls may be made than were given.
    room = 0.0 if flat else 5 * math.sqrt(calls * (1 - mass)) + 1
    free = int((calls - room) / mass) if sobol and mass > LEAST_MASS else 0
    if free < SETS * LEAST_POINTS:
        x = rng.random((calls, dimension)) if flat else _accepted(mixture, k, calls, rng)
        return Stratum(x, np.arange(calls), calls, float(calls))
    sets, size = replicates(free, SETS)
    unit = np.repeat(np.arange(sets), size)
    while True:
        axes = dimension + (mixture.degrees > 0)
        u = np.maximum(scrambled_sobol(axes, sets, size, rng), 2.0**-54)
        if flat:
            return Stratum(u[:, :dimension], unit, sets, float(len(u)))
        scale = student_scale(u[:, dimension], mixture.degrees) if mixture.degrees > 0 else None
        x, inside = mixture.spread(k, normal_quantiles(u[:, :dimension]), scale)
        # Else five sigma of room were not enough: another draw is needed once in a million.
        if len(x) <= calls:
            return Stratum(x, unit[inside], sets, len(u) * mass)


def _allocate(shares: Array, calls: int) -> Indices:
    """Two points for each stratum, the rest in proportion to shares."""
    counts: Indices = 2 + np.floor(shares / shares.sum() * (calls - 2 * len(shares))).astype(
        np.int64
    )
    counts[-1] += calls - counts.sum()
    return counts


def _accepted(mixture: Components, k: int, calls: int, rng: np.random.Generator) -> Array:
    """Independent points of a truncated component."""
    found: list[Array] = []
    missing = calls
    while missing:
        trials = int(1.1 * missing / mixture.masses[k]) + 16
        latent = rng.standard_normal((trials, mixture.means.shape[1]))
        nu = mixture.degrees
        scale = rng.chisquare(nu, trials) / nu if nu > 0 else None
        found.append(mixture.spread(k, latent, scale)[0][:missing])
        missing -= len(found[-1])
    return np.concatenate(found)
