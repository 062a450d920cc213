"""Several draws as one: each keeps its units and strata, and a share of every point's measure.

Shapes: B points, D dimensions, U units.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.sampler import Draw

__all__ = ["join"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


def join(draws: Sequence[Draw], shares: Sequence[Array]) -> Draw:
    """One draw from several independent ones.

    Args:
        draws: one or more, of points of one dimension.
        shares: of the integrand at the points of each draw, shape (B,) each. Where the shares of
            all draws add up to one at every point of the cube, the estimate from the joined draw
            is that of the whole integrand.

    Returns:
        The points one draw after the other; strata of different draws are different ones.

    Raises:
        ValueError: no draws, or not one array of shares for each.
    """
    if not draws or len(draws) != len(shares):
        raise ValueError(f"{len(draws)} draws need as many shares and one at least")
    units, strata = [], []
    unit_start = stratum_start = 0
    for draw in draws:
        unit = np.arange(len(draw)) if draw.unit is None else draw.unit
        count = _units(draw)
        stratum = np.zeros(count, np.int64) if draw.stratum is None else draw.stratum
        units.append(unit + unit_start)
        strata.append(stratum + stratum_start)
        unit_start += count
        stratum_start += int(stratum.max(initial=-1)) + 1
    simple = all(draw.unit is None for draw in draws)
    return Draw(
        np.concatenate([draw.x for draw in draws]),
        np.concatenate([draw.measure * share for draw, share in zip(draws, shares, strict=True)]),
        None if simple else np.concatenate(units),
        np.concatenate(strata),
    )


def _units(draw: Draw) -> int:
    if draw.stratum is not None:
        return len(draw.stratum)
    return len(draw) if draw.unit is None else int(draw.unit.max(initial=-1)) + 1
