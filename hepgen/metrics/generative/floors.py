"""The real-against-real floor: what a metric gives for a perfect generator at the same statistics.

Shapes: B rows, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from hepgen.metrics.generative.tables import Pair
from hepgen.metrics.samples import Floats


def real_floor(
    statistic: Callable[[Floats, Floats], float],
    pair: Pair,
    *,
    power: float,
    splits: int,
    seed: int,
) -> float | None:
    r"""Mean of a statistic between real samples, brought to the sizes of the comparison.

    With ``pair.other`` the statistic is taken between the reference and as many rows of the other
    sample as the generated ones are worth. Without it the reference is split at random into two
    parts in the proportion of the two sizes; they are smaller than the samples compared, for which
    the statistic is corrected with :math:`(1/a + 1/b)^\mathrm{power}`.

    Args:
        statistic: of two tables of features (B, F).
        pair: the tables that are compared.
        power: how the statistic falls with the sizes a and b where there is no difference: 1/2 for
            distances of distribution functions, 1 for squares, 2 for squares without their first
            bias, 0 for what has no bias at all.
        splits: number of random splits that are averaged; none gives None.
        seed: of the splits.

    Returns:
        The mean, in the unit of the statistic.
    """
    if splits < 1:
        return None
    wanted = sum(1 / size for size in pair.sizes)
    found = []
    for first, second in real_pairs(pair, splits, seed):
        got = 1 / len(first) + 1 / len(second)
        found.append(statistic(first, second) * (wanted / got) ** power)
    return float(np.mean(found))


def real_pairs(
    pair: Pair, splits: int, seed: int, least: int = 2
) -> Iterator[tuple[Floats, Floats]]:
    """Pairs of independent real tables, in the proportion of the samples compared.

    Args:
        pair: the tables that are compared.
        splits: number of pairs.
        seed: of the random choice.
        least: rows of each table.

    Yields:
        Two tables with no row in common.

    Raises:
        ValueError: the reference has fewer than twice the least number of rows.
    """
    rng = np.random.default_rng([seed, 1])
    size, wanted = pair.sizes
    if pair.other is not None:
        count = max(least, min(round(wanted), len(pair.other)))
        for _ in range(splits):
            yield pair.reference, pair.other[rng.permutation(len(pair.other))[:count]]
        return
    rows = len(pair.reference)
    if rows < 2 * least:
        raise ValueError(f"a reference of {rows} rows cannot be split for a floor; give other=")
    # Beyond 1:9 the smaller part would be too noisy to say much.
    share = min(max(size / (size + wanted), 0.1), 0.9)
    count = min(max(round(share * rows), least), rows - least)
    for _ in range(splits):
        order = rng.permutation(rows)
        yield pair.reference[order[:count]], pair.reference[order[count:]]
