"""Which dimensions a coupling transforms (True), and which it looks at (False)."""

from __future__ import annotations

__all__ = ["Mask", "alternating_masks", "halves_masks", "log2_masks"]

Mask = tuple[bool, ...]


def alternating_masks(dimension: int) -> list[Mask]:
    """Every second dimension, then the others: the checkerboard of RealNVP in one row.

    Args:
        dimension: D.

    Returns:
        Two masks of D; of a single dimension one, that transforms it.

    Raises:
        ValueError: less than one dimension.
    """
    return _both_ways([tuple(i % 2 == 1 for i in range(dimension))], dimension)


def halves_masks(dimension: int) -> list[Mask]:
    """The second half, then the first: the split by channels of RealNVP and Glow.

    Args:
        dimension: D; an odd one in the middle belongs to the first half.

    Returns:
        Two masks of D; of a single dimension one, that transforms it.

    Raises:
        ValueError: less than one dimension.
    """
    return _both_ways([tuple(i >= (dimension + 1) // 2 for i in range(dimension))], dimension)


def log2_masks(dimension: int) -> list[Mask]:
    r"""As few masks as it takes for each dimension to be transformed given each other.

    C. Gao, J. Isaacson and C. Krause, "i-flow", arXiv:2001.05486, section III A: dimensions are
    numbered in binary, and each digit makes two masks. Any two dimensions differ in one digit at
    least.

    Args:
        dimension: D.

    Returns:
        :math:`2 \lceil \log_2 D \rceil` masks of D; of a single dimension one, that transforms it.

    Raises:
        ValueError: less than one dimension.
    """
    digits = range((dimension - 1).bit_length())
    return _both_ways([tuple(i >> k & 1 == 1 for i in range(dimension)) for k in digits], dimension)


def _both_ways(masks: list[Mask], dimension: int) -> list[Mask]:
    """Each mask and its opposite, in turn."""
    if dimension < 1:
        raise ValueError(f"masks are for one dimension at least, not {dimension}")
    if dimension == 1:
        return [(True,)]
    return [one for mask in masks for one in (mask, tuple(not bit for bit in mask))]
