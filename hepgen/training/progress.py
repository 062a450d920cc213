"""What a run shows of itself on stderr: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING

from hepgen.training.history import Row

if TYPE_CHECKING:
    from rich.progress import Progress as RichProgress

__all__ = ["Bar", "Lines", "Progress", "make_progress"]


class Progress:
    """What the loop tells while it runs; this one keeps it to itself."""

    def begin(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        """An epoch of so many batches begins, or goes on after ``done`` of them."""

    def advance(self, batches: int, jets: int, loss: float, lr: float) -> None:
        """So many batches and jets more; the mean loss of the epoch so far and the rate."""

    def end(self, row: Row) -> None:
        """The epoch is complete."""

    def say(self, message: str) -> None:
        """Something worth a line, once."""

    def close(self) -> None:
        """The run is over."""


class Lines(Progress):
    """One line an epoch, for logs of batch jobs.

    Args:
        noun: what is learnt from, in the plural.
    """

    def __init__(self, noun: str = "jets") -> None:
        self.epochs, self.noun = 0, noun

    def begin(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        """Remember how many epochs there are."""
        self.epochs = epochs

    def end(self, row: Row) -> None:
        """Print the row."""
        self.say(row_text(row, self.epochs, self.noun))

    def say(self, message: str) -> None:
        """Print the message."""
        print(message, file=sys.stderr, flush=True)


class Bar(Progress):
    """A bar with step, loss, learning rate, jets a second, the time left; a line an epoch.

    Args:
        noun: what is learnt from, in the plural.
    """

    def __init__(self, noun: str = "jets") -> None:
        from rich import progress as rich
        from rich.console import Console

        self._bar: RichProgress = rich.Progress(
            rich.TextColumn("{task.description}"),
            rich.BarColumn(bar_width=20),
            rich.TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            rich.TextColumn("{task.fields[numbers]}"),
            rich.TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._bar.add_task("", total=1, numbers="")
        self._epochs = self._jets = 0
        self._began, self._noun = 0.0, noun

    def begin(self, epoch: int, epochs: int, batches: int, done: int) -> None:
        """Start the bar of this epoch."""
        self._bar.start()
        self._epochs, self._jets, self._began = epochs, 0, time.perf_counter()
        name = f"epoch {epoch}/{epochs}"
        self._bar.reset(self._task, total=batches, completed=done, description=name, numbers="")

    def advance(self, batches: int, jets: int, loss: float, lr: float) -> None:
        """Move on."""
        self._jets += jets
        speed = self._jets / max(time.perf_counter() - self._began, 1e-9)
        numbers = f"loss {loss:.4f}  lr {lr:.2e}  {speed:,.0f} {self._noun}/s"
        self._bar.update(self._task, advance=batches, numbers=numbers)

    def end(self, row: Row) -> None:
        """Leave a line above the bar."""
        self.say(row_text(row, self._epochs, self._noun))

    def say(self, message: str) -> None:
        """Print above the bar."""
        self._bar.console.print(message, highlight=False, markup=False)

    def close(self) -> None:
        """Take the bar away."""
        self._bar.stop()


def row_text(row: Row, epochs: int, noun: str = "jets") -> str:
    """One epoch in a line.

    Args:
        row: a row of the history.
        epochs: epochs of the run.
        noun: what is learnt from, in the plural.

    Returns:
        For example "epoch 3/20  train loss 0.2111  validation loss 0.2034  lr 1.3e-03 ...".
    """
    words = [f"epoch {row['epoch']:.0f}/{epochs}"]
    words += [f"{k.replace('_', ' ')} {v:.4f}" for k, v in row.items() if k.endswith(_SHOWN)]
    words += [f"lr {row['lr']:.2e}", f"{row['jets_per_second']:,.0f} {noun}/s"]
    return "  ".join([*words, f"{row['seconds']:.1f} s"])


_SHOWN = ("_loss", "_accuracy")


def make_progress(wanted: bool, noun: str = "jets") -> Progress:
    """What suits the place the run is started from.

    Args:
        wanted: False for silence.
        noun: what is learnt from, in the plural.

    Returns:
        A bar if stderr is a terminal, else a line an epoch; nothing if not wanted.
    """
    if not wanted:
        return Progress()
    return Bar(noun) if sys.stderr.isatty() else Lines(noun)
