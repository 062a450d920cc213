r"""How a mixture is learnt from weighted points: by expectation-maximisation, then merging.

O. Cappé, R. Douc, A. Guillin, J.-M. Marin and C. P. Robert, "Adaptive importance sampling in
general mixture classes", arXiv:0710.4242, section 3, is the weighted update. Two things are added.
The components are cut by the cube, and what they hold outside is treated as data that were not
observed (G. Lee and C. Scott, Comput. Stat. Data Anal. 56 (2012) 2816), else a tube that ends at a
wall would be learnt too short. And the number of components is found from above: the pair whose
merging costs least (A. R. Runnalls, IEEE Trans. Aerosp. Electron. Syst. 43 (2007) 989, equation 21)
is merged again and again, and the number that serves points held out best is kept.

Shapes: B points, D dimensions, K components, S points of the standard normal distribution.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.box_mass import box_mass
from hepgen.integration.mixture_components import Components
from hepgen.integration.mixture_kernels import expect, outside

__all__ = ["Settings", "fit", "temper", "thin"]

Array = NDArray[np.float64]

# A component with less inside the cube than this is taken out: drawing from it costs time, and its
# mass is not known well.
LEAST_MASS = 0.02


@dataclass(frozen=True)
class Settings:
    """How to fit.

    Attributes:
        components: largest number of components.
        degrees: degrees of freedom; 0 for Gaussians.
        flat: smallest share of the flat part.
        prior: how many points' worth of "uncorrelated, with the same spread" are added to what a
            component has seen.
        iterations: of the last fit to all points.
        most_flat: largest share of the flat part.
    """

    components: int = 16
    degrees: float = 0.0
    flat: float = 0.02
    prior: float = 2.0
    iterations: int = 20
    most_flat: float = 1.0


def temper(weights: Array, least: float) -> tuple[Array, float]:
    r"""Weights to the largest power, 1 at most, that leaves them an effective size.

    Args:
        weights: not negative, not all zero, shape (B,).
        least: wanted of :math:`(\sum w)^2 / \sum w^2`.

    Returns:
        The weights, normalised so that they add up to their effective size, and the power.
    """
    logs = np.log(np.maximum(weights / weights.max(), 1e-300))
    logs[weights <= 0] = -np.inf
    low, high = 0.0, 1.0
    power = 1.0
    if _effective(logs) < least:
        for _ in range(30):
            power = 0.5 * (low + high)
            low, high = (power, high) if _effective(power * logs) >= least else (low, power)
        power = low
    # A power of zero would forget where the integrand vanishes.
    tempered = np.where(weights > 0, np.exp(power * np.maximum(logs, -700.0)), 0.0)
    size = tempered.sum() ** 2 / (tempered**2).sum()
    return tempered * (size / tempered.sum()), power


def _effective(logs: Array) -> float:
    weights = np.exp(logs)
    return float(weights.sum() ** 2 / (weights**2).sum())


def thin(weights: Array, most: int, rng: np.random.Generator) -> tuple[NDArray[np.int64], Array]:
    """Few points that stand for many: the heavy ones all, of the light ones some.

    P. Fearnhead and P. Clifford, J. R. Stat. Soc. B 65 (2003) 887: below a threshold c, a point is
    kept with the probability w / c and has the weight c from then on, so that all sums stay right
    on average.

    Args:
        weights: not negative, shape (B,).
        most: how many to keep, about.
        rng: where the random numbers come from.

    Returns:
        Rows that are kept, and their weights.
    """
    rows = np.flatnonzero(weights > 0)
    if len(rows) <= most:
        return rows, weights[rows]
    ordered = np.sort(weights[rows])
    below = np.cumsum(ordered)
    # With all up to i light, c = sum / (room left); the right i is the last with w_i <= c.
    room = most - (len(rows) - 1 - np.arange(len(rows)))
    fits = (room > 0) & (ordered * np.maximum(room, 1) <= below)
    last = int(np.flatnonzero(fits)[-1]) if fits.any() else len(rows) - 1
    threshold = below[last] / max(room[last], 1)
    keep = rng.random(len(rows)) * threshold < weights[rows]
    return rows[keep], np.maximum(weights[rows[keep]], threshold)


def fit(
    x: Array,
    weights: Array,
    settings: Settings,
    rng: np.random.Generator,
    start: Components | None = None,
) -> Components:
    """The mixture that describes weighted points.

    Args:
        x: points, shape (B, D).
        weights: adding up to the effective number of points, shape (B,).
        settings: how.
        rng: splits the points, seeds the components.
        start: where to begin; None looks for the number of components from scratch.

    Returns:
        The mixture, with exact masses.
    """
    normal = _normal_points(x.shape[1], settings.degrees, 1024, rng)
    if start is None:
        held = rng.random(len(x)) < 0.3
        start = _search(x, weights, held, settings, normal, rng)
    normal = _normal_points(x.shape[1], settings.degrees, 4096, rng)
    found, _ = _iterate(x, weights, start, settings, normal, settings.iterations)
    return _with_masses(found, rng)


def held_out(x: Array, weights: Array, components: Components) -> float:
    """Mean logarithm of the density at weighted points."""
    return float(weights @ np.log(np.maximum(components.density(x), 1e-300)) / weights.sum())


def _search(
    x: Array,
    weights: Array,
    held: NDArray[np.bool_],
    settings: Settings,
    normal: tuple[Array, Array],
    rng: np.random.Generator,
) -> Components:
    """The best of a row of mixtures, from many components down to one."""
    train, judge = np.ascontiguousarray(x[~held]), np.ascontiguousarray(x[held])
    number = int(np.clip(weights.sum() / (2 * (x.shape[1] + 1)), 1, settings.components))
    present = _seed(train, weights[~held], number, settings, rng)
    present, _ = _iterate(train, weights[~held], present, settings, normal, 12)
    best, highest = present, -math.inf
    while True:
        score = held_out(judge, weights[held], present)
        # Fewer components are better where it makes no difference.
        if score > highest - 1e-4:
            best, highest = present, max(score, highest)
        if len(present) <= 1:
            return best
        # Several at a time while there are many: which number exactly matters little then.
        for _ in range(max(len(present) // 6, 1)):
            present = _merge_cheapest(present)
        present, _ = _iterate(train, weights[~held], present, settings, normal, 3)


def _iterate(
    x: Array,
    weights: Array,
    components: Components,
    settings: Settings,
    normal: tuple[Array, Array],
    iterations: int,
) -> tuple[Components, float]:
    x = np.ascontiguousarray(x)
    before = likelihood = -math.inf
    for _ in range(iterations):
        components, likelihood = _step(x, weights, components, settings, normal)
        if abs(likelihood - before) < 1e-5 * weights.sum():
            break
        before = likelihood
    return components, likelihood


def _step(
    x: Array,
    weights: Array,
    components: Components,
    settings: Settings,
    normal: tuple[Array, Array],
) -> tuple[Components, float]:
    """One round of expectation and maximisation; masses are those of the components before."""
    latent, scale = normal
    beyond, out, out_first, out_second = outside(latent, scale, components.means, components.roots)
    inside = np.maximum(1 - beyond, LEAST_MASS)
    present = replace(components, masses=inside)
    with np.errstate(divide="ignore"):
        constants = np.log(present.shares) + present.heights
    counts, scaled, first, second, likelihood = expect(
        x,
        weights,
        max(present.flat, settings.flat),
        constants,
        present.means,
        present.whiteners,
        present.degrees,
    )
    # Fewer than this do not tell a mean and a spread in D dimensions.
    kept = (counts > 0.5 * (x.shape[1] + 1)) & (1 - beyond > LEAST_MASS)
    kept[np.argmax(counts)] = True
    whole = counts / inside
    scaled = np.maximum(scaled + whole * out, 1e-300)
    shifts = (first + whole[:, None] * out_first) / scaled[:, None]
    covariances = (second + whole[:, None, None] * out_second) / whole[:, None, None]
    covariances -= (scaled / whole)[:, None, None] * shifts[:, :, None] * shifts[:, None, :]
    shares = counts[kept] / weights.sum()
    shares *= np.clip(shares.sum(), 1 - settings.most_flat, 1 - settings.flat) / shares.sum()
    roots = [_regular_root(covariances[k], counts[k], settings.prior) for k in np.flatnonzero(kept)]
    found = Components(
        shares, (present.means + shifts)[kept], np.array(roots), inside[kept], present.degrees
    )
    return found, likelihood


def _normal_points(
    dimension: int, degrees: float, size: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Standard normal (or Student) points with exactly zero mean and unit spread, and scales u."""
    z = rng.standard_normal((max(size, 4 * dimension), dimension))
    z -= z.mean(0)
    z = z @ np.linalg.inv(np.linalg.cholesky(z.T @ z / len(z))).T
    if degrees == 0:
        return z, np.ones(len(z))
    scale = rng.chisquare(degrees, len(z)) / degrees
    return z / np.sqrt(scale)[:, None], scale


def _regular_root(covariance: Array, count: float, prior: float) -> Array:
    """Root of a covariance drawn towards its own diagonal, the more the fewer the points."""
    diagonal = np.maximum(np.diagonal(covariance), 1e-12)
    mixed = (count * covariance + prior * np.diag(diagonal)) / (count + prior)
    try:
        return np.asarray(np.linalg.cholesky(mixed), np.float64)
    except np.linalg.LinAlgError:
        # Rounding, or moments outside that were estimated on too few points.
        return np.diag(np.sqrt(diagonal))


def _seed(
    x: Array, weights: Array, number: int, settings: Settings, rng: np.random.Generator
) -> Components:
    """Means far from one another (D. Arthur and S. Vassilvitskii, k-means++), common spread."""
    probability = weights / weights.sum()
    centre = probability @ x
    off = x - centre
    covariance = (off.T * probability) @ off
    width = np.sqrt(np.maximum(np.diagonal(covariance), 1e-12))
    scaled = x / width
    chosen = [int(rng.choice(len(x), p=probability))]
    nearest = ((scaled - scaled[chosen[0]]) ** 2).sum(1)
    while len(chosen) < number:
        chance = probability * nearest
        if not chance.sum() > 0:
            break
        chosen.append(int(rng.choice(len(x), p=chance / chance.sum())))
        nearest = np.minimum(nearest, ((scaled - scaled[chosen[-1]]) ** 2).sum(1))
    kept = len(chosen)
    # Each component fills a part of the volume: the spread of the whole, shrunk.
    shrunk = covariance * kept ** (-2 / min(x.shape[1], 4))
    root = _regular_root(shrunk, weights.sum(), settings.prior)
    means = x[chosen] if kept > 1 else centre[None]
    shares = np.full(kept, (1 - settings.flat) / kept)
    return Components(shares, means, np.tile(root, (kept, 1, 1)), np.ones(kept), settings.degrees)


def _merge_cheapest(components: Components) -> Components:
    """One component fewer: the two whose union is most nearly one of them."""
    shares = components.shares / components.masses
    covariances = components.roots @ components.roots.transpose(0, 2, 1)
    logs = 2 * np.log(np.diagonal(components.roots, axis1=1, axis2=2)).sum(1)
    one, two = np.tril_indices(len(components), -1)
    total = shares[one] + shares[two]
    a, b = shares[one] / total, shares[two] / total
    off = components.means[one] - components.means[two]
    joint = a[:, None, None] * covariances[one] + b[:, None, None] * covariances[two]
    joint += (a * b)[:, None, None] * off[:, :, None] * off[:, None, :]
    costs = total * np.linalg.slogdet(joint)[1]
    costs -= shares[one] * logs[one] + shares[two] * logs[two]
    best = int(np.argmin(costs))
    first, second = two[best], one[best]
    mean = a[best] * components.means[second] + b[best] * components.means[first]
    rest = np.delete(np.arange(len(components)), second)
    means, roots = components.means.copy(), components.roots.copy()
    masses, inside = components.masses.copy(), components.shares.copy()
    means[first], roots[first] = mean, np.linalg.cholesky(joint[best])
    inside[first] += inside[second]
    masses[first] = inside[first] / (shares[first] + shares[second])
    return Components(inside[rest], means[rest], roots[rest], masses[rest], components.degrees)


def _with_masses(components: Components, rng: np.random.Generator) -> Components:
    """The same with masses to quadrature precision; what is nearly all outside is left out."""
    pairs = zip(components.means, components.roots, strict=True)
    masses = np.array([box_mass(mean, root, components.degrees, rng)[0] for mean, root in pairs])
    kept = masses > 0.5 * LEAST_MASS
    return Components(
        components.shares[kept],
        components.means[kept],
        components.roots[kept],
        masses[kept],
        components.degrees,
    )
