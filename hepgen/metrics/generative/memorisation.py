r"""Whether a generator gives back the showers that it was trained on.

Distances of generated rows to the nearest training row are put beside those of held-out real rows:
C. Meehan, K. Chaudhuri and S. Dasgupta, "A non-parametric test to detect data-copying in generative
models", AISTATS 2020, arXiv:2004.05675; and, row by row, A. Alaa et al., "How faithful is your
synthetic data?", ICML 2022, arXiv:2102.08921 (authenticity).

Shapes: B rows, F features.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.metrics.estimate import Estimate
from hepgen.metrics.generative.neighbours import nearest
from hepgen.metrics.generative.tables import Pair, Scale, paired, scaled
from hepgen.metrics.samples import Floats

__all__ = ["Memorisation", "memorisation"]


@dataclass(frozen=True, slots=True)
class Memorisation:
    """Nearness of generated and of held-out rows to the training rows.

    Nearness is the distance to the nearest training row over the distance of that row to its own
    nearest training row: 1 is as far as training rows are from one another, at any energy.

    Attributes:
        closer: probability that a generated row is nearer to the training rows than a held-out one:
            0.5 for a generator that learnt the law, above for one that copies, below for one that
            lies beside the real showers.
        z: standard normal if generated and held-out rows have one law; positive where generated
            ones are nearer (Meehan et al. count the other way round).
        p_value: of copying, one-sided, from z.
        authenticity: share of generated rows that are further from their training row than that is
            from other training rows; its floor is the share of held-out rows.
        nearness: of the generated rows, (B',).
        suspects: indices of generated rows that are nearer than every held-out row, nearest first.
        suspects_p_value: probability of as many or more, were both of one law: sees a handful of
            copies among thousands of rows.
        copies: indices of generated rows that equal a training row.
    """

    closer: Estimate
    z: float
    p_value: float
    authenticity: Estimate
    nearness: Floats
    suspects: NDArray[np.int64]
    suspects_p_value: float
    copies: NDArray[np.int64]


def memorisation(
    training: ArrayLike, held_out: ArrayLike, generated: ArrayLike, *, scale: Scale = "std"
) -> Memorisation:
    """Test whether generated rows are nearer to the training rows than real ones are.

    Put the incident energy among the features, or look at one energy at a time; voxels work as well
    as observables.

    Args:
        training: (B, F), what the generator was trained on.
        held_out: (B'', F), real rows that it has not seen, of the same law.
        generated: (B', F), of the same conditions.
        scale: of the features in the training rows, see
            :func:`~hepgen.metrics.generative.tables.scaled`.

    Returns:
        The tests. If the training sample holds a row twice, what comes to that row is at an
        infinite nearness unless it equals it.

    Raises:
        ValueError: tables that do not go together, or fewer than three rows in one.
    """
    pair = scaled(paired(training, generated, other=held_out, least=3), scale)
    assert pair.other is not None
    own = nearest(pair.reference, pair.reference, 1, same=True)[0][:, 0]
    near = _nearness(pair.generated, pair, own)
    real = _nearness(pair.other, pair, own)
    z, closer = _rank_test(near[0], real[0])
    suspects = np.flatnonzero(near[0] < real[0].min())
    suspects = suspects[np.argsort(near[0][suspects], kind="stable")]
    size = float(np.abs(pair.reference).max())
    return Memorisation(
        closer=closer,
        z=z,
        p_value=math.erfc(z / math.sqrt(2)) / 2,
        authenticity=_authenticity(near[0], real[0]),
        nearness=near[0],
        suspects=suspects,
        suspects_p_value=_first_ones(len(suspects), len(near[0]), len(real[0])),
        copies=np.flatnonzero(near[1] <= 1e-12 * size),
    )


def _nearness(rows: Floats, pair: Pair, own: Floats) -> tuple[Floats, Floats]:
    distance, index = nearest(rows, pair.reference, 1)
    scale = own[index[:, 0]]
    apart = distance[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        relative = np.where(apart == 0, 0.0, apart / scale)
    return relative, apart


def _rank_test(near: Floats, real: Floats) -> tuple[float, Estimate]:
    """Mann-Whitney: z, corrected for ties, and the probability with DeLong's error."""
    ordered_real, ordered_near = np.sort(real), np.sort(near)
    # For each row, the share of the other sample on the far side; ties count half.
    further = 1 - _below(ordered_real, near)
    nearer = _below(ordered_near, real)
    n, m = len(near), len(real)
    value = float(further.mean())
    error = math.sqrt(float(further.var(ddof=1)) / n + float(nearer.var(ddof=1)) / m)
    counts = np.unique(np.concatenate([near, real]), return_counts=True)[1].astype(np.float64)
    total = n + m
    ties = float((counts**3 - counts).sum()) / (total * (total - 1))
    variance = (total + 1 - ties) / (12 * n * m)
    z = (value - 0.5) / math.sqrt(variance) if variance > 0 else 0.0
    return z, Estimate(value, error, floor=0.5)


def _below(ordered: Floats, values: Floats) -> Floats:
    low = np.searchsorted(ordered, values, side="left")
    high = np.searchsorted(ordered, values, side="right")
    return np.asarray((low + high) / (2 * len(ordered)))


def _authenticity(near: Floats, real: Floats) -> Estimate:
    own = near > 1
    error = float(own.std(ddof=1)) / math.sqrt(len(own))
    return Estimate(float(own.mean()), error, floor=float((real > 1).mean()))


def _first_ones(count: int, mine: int, yours: int) -> float:
    """Probability that at least the first so many of all rows in random order are mine."""
    rows = np.arange(count)
    return float(np.exp((np.log(mine - rows) - np.log(mine + yours - rows)).sum()))
