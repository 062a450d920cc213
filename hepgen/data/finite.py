"""NaN and infinities: counted and told, never made zero.

Shapes: B jets, N constituents of all jets end to end.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from hepgen.data.constituents import Constituents
from hepgen.data.definitions import Feature
from hepgen.io.errors import InputError

__all__ = ["NonFinite", "non_finite_error"]


class NonFinite(InputError):
    """NaN or infinities among the features, momenta or weights of jets."""


def non_finite_error(constituents: Constituents, columns: Mapping[str, Feature]) -> NonFinite:
    """The error that tells which columns are not finite, in how many constituents, and where first.

    Args:
        constituents: all that were asked for.
        columns: functions of constituents by the name to tell.

    Returns:
        An error to raise.
    """
    counts = dict.fromkeys(columns, 0)
    first = dict.fromkeys(columns, 0)
    for before, block in constituents.blocks():
        for name, function in columns.items():
            with np.errstate(all="ignore"):
                # As float32, for what is finite in the file may not be so in a batch.
                bad = np.flatnonzero(~np.isfinite(np.asarray(function(block), np.float32)))
            if len(bad) and not counts[name]:
                first[name] = before + int(np.searchsorted(block.offsets, bad[0], "right")) - 1
            counts[name] += len(bad)
    told = [
        f"{name!r} in {count} of {len(constituents)} constituents, first in jet {first[name]}"
        for name, count in counts.items()
        if count
    ]
    return NonFinite(
        f"NaN or infinite values: {'; '.join(told)}."
        " Features(..., non_finite='drop') leaves such constituents out"
    )
