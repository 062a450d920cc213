"""What an integration shows of itself: a line that changes, on terminals only."""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence

from hepgen.integration.integral import Batch
from hepgen.integration.strategy import Budget, Stage

__all__ = ["Progress", "make_progress"]


class Progress:
    """Keeps everything to itself."""

    def show(self, stage: Stage, batches: Sequence[Batch], budget: Budget) -> None:
        """A batch is done."""

    def close(self) -> None:
        """The run is over."""


class Line(Progress):
    """Stage, calls and the last estimate."""

    def __init__(self) -> None:
        from rich.console import Console
        from rich.progress import BarColumn, TextColumn, TimeElapsedColumn
        from rich.progress import Progress as RichProgress

        self._bar = RichProgress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=20),
            TextColumn("{task.fields[numbers]}"),
            TimeElapsedColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=None, numbers="")
        self._bar.start()

    def show(self, stage: Stage, batches: Sequence[Batch], budget: Budget) -> None:
        """Move on."""
        last = batches[-1]
        error = math.sqrt(last.covariance[0, 0])
        self._bar.update(
            self._task,
            total=budget.calls,
            completed=budget.spent,
            description=f"{'final' if stage.final else 'learning'}: {stage.sampler}",
            numbers=f"{budget.spent:,} calls  last batch {last.integral[0]:.5g} ± {error:.2g}",
        )

    def close(self) -> None:
        """Take the line away."""
        self._bar.stop()


def make_progress(shown: bool | None) -> Progress:
    """Progress on stderr if wanted.

    Args:
        shown: None shows it where stderr is a terminal.

    Returns:
        What to tell about each batch.
    """
    return Line() if shown or (shown is None and sys.stderr.isatty()) else Progress()
