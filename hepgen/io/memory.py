"""Sizes of memory as text: "100 MB"."""

from __future__ import annotations

import re

from hepgen.io.errors import WrongType

__all__ = ["number_of_bytes"]

_UNITS = {"": 1, "k": 10**3, "m": 10**6, "g": 10**9, "t": 10**12}
_BINARY = {"ki": 2**10, "mi": 2**20, "gi": 2**30, "ti": 2**40}
_SIZE = re.compile(r"\s*(?P<number>\d+(\.\d*)?)\s*(?P<unit>[kmgt]?i?)b\s*", re.IGNORECASE)


def number_of_bytes(size: str) -> int:
    """The number of bytes that a text such as "100 MB" or "1.5 GiB" means.

    Args:
        size: a number and a unit; kB, MB, GB are powers of 1000, KiB, MiB, GiB of 1024.

    Returns:
        The number of bytes, at least 1.

    Raises:
        WrongType: the text is no size.
    """
    match = _SIZE.fullmatch(size)
    units = _UNITS | _BINARY
    if match is None or match["unit"].lower() not in units or float(match["number"]) <= 0:
        raise WrongType(f'wanted a size in memory such as "100 MB", got {size!r}')
    return max(1, int(float(match["number"]) * units[match["unit"].lower()]))
