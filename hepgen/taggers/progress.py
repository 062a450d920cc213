"""How far a prediction is."""

from __future__ import annotations

from typing import Any

__all__ = ["Bar"]


class Bar:
    """A progress bar that threads may advance, or nothing.

    Args:
        total: jets to come.
        visible: whether to show it.
    """

    def __init__(self, total: int, visible: bool) -> None:
        from rich.progress import Progress

        self._bar = Progress(disable=not visible)
        self._task = self._bar.add_task("predict", total=total)

    def __enter__(self) -> None:
        self._bar.__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._bar.__exit__(*exception)

    def __call__(self, jets: int) -> None:
        """So many jets more are done."""
        self._bar.advance(self._task, jets)
