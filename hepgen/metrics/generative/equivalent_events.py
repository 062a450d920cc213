r"""The equivalent number of Geant4 showers: how many real ones a generator is worth.

A distance between real samples of a and n showers falls with both, on average as
:math:`c\,(1/a + 1/n)^{p}` with p = 1/2 for distances of distribution functions (Kolmogorov-Smirnov,
Wasserstein) and p = 1 for squares (Frechet, separation power). The generator, at distance D from a
reference of a showers, is as good as the N real ones that would be as far away on average:

.. math:: N_\mathrm{eq} = \Big[ (D / c)^{1/p} - 1/a \Big]^{-1}

The CMS HGCal challenge reads the same number off a curve of mean Kolmogorov-Smirnov distances. It
holds the noise of the generated sample too, so it cannot be much more than that sample's size n;
:math:`1 / (1/N_\mathrm{eq} - 1/n)` is what the generator is worth if one samples without end. More
than it was trained on is amplification: A. Butter et al., SciPost Phys. 10 (2021) 139,
arXiv:2008.06545; S. Bieringer et al., JINST 17 (2022) P09028, arXiv:2202.07352.

Shapes: B rows, F features.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.generative.cumulative import distances, resampled_weightings
from hepgen.metrics.generative.tables import Pair, paired
from hepgen.metrics.samples import Floats

__all__ = ["EquivalentEvents", "equivalent_events"]

Distance = Callable[[Floats, Floats], float]


@dataclass(frozen=True, slots=True)
class EquivalentEvents:
    """How many real showers a generated sample is worth.

    Attributes:
        events: N_eq; infinite, with a lower limit at 90 % confidence, where the generated sample is
            nearer than any number of real showers is on average. Its floor is the size of the
            generated sample, which a perfect generator reaches.
        distance: between generated and reference sample, with its bootstrap error and floor.
        limit: N_eq of endless sampling; infinite, with a lower limit, where the sample is as near
            as that many real showers within the error.
        scale: c, in the unit of the distance.
        power: p.
        spread: relative spread of distances of real samples.
    """

    events: Estimate
    distance: Estimate
    limit: Estimate
    scale: float
    power: float
    spread: float

    def amplification(self, training_events: int) -> Estimate:
        """What endless sampling is worth, in units of the training sample.

        Args:
            training_events: real showers that the generator was trained on.

        Returns:
            Above 1 for a generator that adds to its training sample. By this distance alone: it
            looks at one feature at a time unless another was given.

        Raises:
            ValueError: no training events.
        """
        if training_events < 1:
            raise ValueError(f"a number of training events is wanted; got {training_events}")
        limit = self.limit.lower_limit
        return Estimate(
            self.limit.value / training_events,
            self.limit.error / training_events,
            None if limit is None else limit / training_events,
        )


def equivalent_events(
    reference: ArrayLike,
    generated: ArrayLike,
    *,
    weights: ArrayLike | None = None,
    other: ArrayLike | None = None,
    distance: Distance | None = None,
    power: float = 0.5,
    splits: int = 40,
    resamples: int = 50,
    seed: int = 0,
) -> EquivalentEvents:
    """Equivalent number of real showers.

    Args:
        reference: (B, F), real showers that the generator was not trained on.
        generated: (B', F).
        weights: (B',) of the generated rows, for the standard distance only.
        other: (B'', F), more real showers for the scale c.
        distance: of two tables, positive and falling with the sizes of real samples; the mean of
            the Kolmogorov-Smirnov distances of all features where none is given.
        power: p, with which it falls.
        splits: of the real showers into two parts, for c.
        resamples: of both samples, for the error of the distance.
        seed: of splits and resamples.

    Returns:
        The numbers. The error of ``events`` has the spread of the distances of real samples, or the
        bootstrap error of the distance where that is larger, and the error of c: it is how far real
        samples of N showers lie apart in this number, some 25 %.

    Raises:
        ValueError: tables that do not go together, weights with a distance of one's own, fewer than
            16 rows of the reference, or a distance that is not positive between real samples.
    """
    pair = paired(reference, generated, weights, other, least=16)
    if distance is not None and pair.weights is not None:
        raise ValueError("weights go with the standard distance only")
    if not power > 0:
        raise ValueError(f"a positive power is wanted; got {power}")
    own = _standard if distance is None else distance
    scale, scale_error, spread = _scaling(pair, own, power, splits, seed)
    value, error = _measured(pair, distance, resamples, seed)
    size, generated_size = pair.sizes
    found = (value / scale) ** (1 / power)  # 1/a + 1/N
    # Of real samples around their mean, or of D where that is more, and of c. Where D is that of
    # real samples the bootstrap sees the same spread once more.
    relative = math.hypot(max(error / value if value > 0 else 0.0, spread), scale_error)
    spread_found = found * relative / power
    events = _inverse(found - 1 / size, spread_found)
    limit = _inverse(found - 1 / size - 1 / generated_size, spread_found)
    floor = scale * (1 / size + 1 / generated_size) ** power
    return EquivalentEvents(
        Estimate(events.value, events.error, events.lower_limit, generated_size),
        Estimate(value, error, floor=floor),
        limit,
        scale,
        power,
        spread,
    )


def _inverse(x: float, error: float) -> Estimate:
    """1 / x, or where that is not positive a lower limit at 90 % confidence."""
    if x > 0 and x > error:
        return Estimate(1 / x, error / x**2)
    return Estimate(math.inf, math.nan, 1 / (max(x, 0.0) + 1.2816 * error))


def _standard(first: Floats, second: Floats) -> float:
    pair = Pair(first, second)
    return float(distances(pair, resampled_weightings(pair, 0, 0))[0][0].mean())


def _scaling(
    pair: Pair, distance: Distance, power: float, splits: int, seed: int
) -> tuple[float, float, float]:
    """c, its relative error, and the relative spread of distances, from splits of real rows."""
    real = pair.reference if pair.other is None else np.concatenate([pair.reference, pair.other])
    if splits < 2:
        raise ValueError(f"at least two splits are wanted; got {splits}")
    rng = np.random.default_rng([seed, 7])
    means = []
    for parts in (2, 4):
        count = len(real) // parts
        found = []
        for _ in range(splits):
            order = rng.permutation(len(real))[: 2 * count]
            value = distance(real[order[:count]], real[order[count:]])
            found.append(value / (2 / count) ** power)
        means.append((float(np.mean(found)), float(np.std(found, ddof=1))))
    (scale, width), (smaller, smaller_width) = means
    if not scale > 0:
        raise ValueError(
            f"a distance that is positive between real samples is wanted; got {scale:g}"
        )
    expected = math.hypot(width, smaller_width) / math.sqrt(splits)
    if abs(smaller - scale) > max(0.1 * scale, 5 * expected):
        warnings.warn(
            f"between halves and quarters of the real sample the distance does not fall with the "
            f"power {power:g} of the size (scales {scale:g} and {smaller:g}): N_eq is off where it "
            "is far from half the reference",
            UserWarning,
            stacklevel=3,
        )
    # Halves of one sample are not independent of one another, split by split: by its rows alone c
    # is known about as well as one distance.
    return scale, width / scale / math.sqrt(splits), width / scale


def _measured(
    pair: Pair, distance: Distance | None, resamples: int, seed: int
) -> tuple[float, float]:
    if distance is None:
        found = distances(pair, resampled_weightings(pair, resamples, seed))[0].mean(axis=1)
        return float(found[0]), float(found[1:].std(ddof=1)) if resamples > 1 else math.nan
    rng = np.random.default_rng([seed, 8])
    value = float(distance(pair.reference, pair.generated))
    drawn = []
    for _ in range(resamples):
        tables = [
            table[rng.integers(0, len(table), len(table))]
            for table in (pair.reference, pair.generated)
        ]
        drawn.append(float(distance(*tables)))
    return value, float(np.std(drawn, ddof=1)) if resamples > 1 else math.nan
