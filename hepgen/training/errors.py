"""What can stop a training run, one class for each kind of trouble."""

from __future__ import annotations

__all__ = ["DifferentRun", "NotFinite", "RunExists", "TrainingError"]


class TrainingError(ValueError):
    """A run cannot begin, go on or be resumed as asked."""


class RunExists(TrainingError, FileExistsError):
    """The output folder holds a run that must not be written over."""


class DifferentRun(TrainingError):
    """The run in the output folder was begun with other settings, data or architecture."""


class NotFinite(TrainingError, ArithmeticError):
    """The loss, or the weights, became NaN or infinite."""
