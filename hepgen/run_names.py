"""Names of runs that are set side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

__all__ = ["names_apart"]


def names_apart(names: Sequence[str], paths: Sequence[str | os.PathLike[str] | None]) -> list[str]:
    """Names with the part of the path that differs behind those that occur twice.

    Args:
        names: of the runs.
        paths: their folders; None for a run that is in memory, whose name stays.

    Returns:
        As many names.
    """
    parts = [() if path is None else Path(path).resolve().parts for path in paths]
    common = set(parts[0]).intersection(*parts[1:]) if parts else set()
    found = []
    for name, steps in zip(names, parts, strict=True):
        own = "/".join(part for part in steps if part not in common)
        found.append(f"{name} ({own})" if names.count(name) > 1 and own else name)
    return found
