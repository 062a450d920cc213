"""What samplers learn from: how large the integrand is at points.

Shapes: B points.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.sampler import Draw

__all__ = ["sizes_at"]


def sizes_at(draw: Draw, values: ArrayLike) -> NDArray[np.float64]:
    """|f| at the points of a draw, seen to be what a sampler can learn from.

    Args:
        draw: the points.
        values: |f| there, shape (B,).

    Returns:
        The values in float64, end to end in memory.

    Raises:
        ValueError: values of another shape, negative or not finite.
    """
    sizes = np.ascontiguousarray(values, np.float64)
    if sizes.shape != (len(draw),):
        raise ValueError(f"{len(draw)} points need as many values, got shape {sizes.shape}")
    if not (np.isfinite(sizes).all() and sizes.min(initial=0.0) >= 0):
        raise ValueError("values to adapt to must be finite and not negative")
    return sizes
