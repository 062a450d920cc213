"""How loss and accuracy went, epoch by epoch."""

from __future__ import annotations

import csv
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

__all__ = ["rate_search", "read_history", "training_curves"]

_NAMES = {
    "train_loss": "Training",
    "validation_loss": "Validation",
    "validation_accuracy": "Validation",
    "train_accuracy": "Training",
}


def rate_search(
    ax: Axes,
    lr: ArrayLike,
    loss: ArrayLike,
    smooth: ArrayLike,
    *,
    suggestion: float | None = None,
) -> list[Any]:
    """Draw the loss against a growing learning rate, as `hepgen.find_rate` gives it.

    Args:
        ax: where.
        lr: learning rate of each step.
        loss: loss of each step.
        smooth: the same averaged over some steps.
        suggestion: a rate to mark.

    Returns:
        The artists.
    """
    artists: list[Any] = [*ax.plot(lr, loss, color="C0", alpha=0.3, label="Each step")]
    artists += ax.plot(lr, smooth, color="C0", label="Averaged")
    if suggestion is not None:
        label = f"Steepest fall: {suggestion:.2g}"
        artists.append(ax.axvline(suggestion, color="C1", linestyle="--", label=label))
    ax.set_xscale("log")
    ax.set_xlabel("Learning rate")
    ax.set_ylabel("Loss")
    ax.legend()
    return artists


def training_curves(
    ax: Axes,
    history: Mapping[str, Sequence[float]] | str | os.PathLike[str],
    *,
    quantity: str = "loss",
) -> list[Any]:
    """Draw what a training wrote into ``history.csv``, and mark the epoch of the best validation.

    Args:
        ax: where.
        history: path of ``history.csv``, or its columns by name, ``epoch`` among them.
        quantity: "loss" or "accuracy": the columns that end so are drawn.

    Returns:
        The lines.

    Raises:
        ValueError: no column of this quantity, or no epoch.
        OSError: the file cannot be read.
    """
    columns = history if isinstance(history, Mapping) else read_history(history)
    drawn = {name: values for name, values in columns.items() if name.endswith(quantity)}
    epochs = list(columns.get("epoch", ()))
    if not drawn or not epochs:
        raise ValueError(
            f"no epochs with a column that ends in {quantity!r}; columns: {', '.join(columns)}"
        )
    artists: list[Any] = []
    for number, (name, values) in enumerate(sorted(drawn.items())):
        marker = "o" if len(epochs) < 40 else ""
        artists += ax.plot(
            epochs,
            list(values),
            color=f"C{number}",
            marker=marker,
            markersize=4,
            label=_NAMES.get(name, name.replace("_", " ").capitalize()),
        )
        if name.startswith("validation"):
            best = (max if quantity == "accuracy" else min)(
                range(len(epochs)), key=values.__getitem__
            )
            artists += ax.plot(
                epochs[best],
                values[best],
                marker="*",
                markersize=14,
                color=f"C{number}",
                ls="",
                label=f"Best: epoch {int(epochs[best])}",
            )
    ax.set(xlabel="Epoch", ylabel={"loss": "Loss"}.get(quantity, quantity.capitalize()))
    ax.xaxis.set_major_locator(MaxNLocator(integer=True))
    ax.xaxis.set_minor_locator(MaxNLocator(1))
    ax.legend(loc="best")
    return artists


def read_history(path: str | os.PathLike[str]) -> dict[str, list[float]]:
    """The columns of a ``history.csv`` by name.

    Raises:
        OSError: the file cannot be read.
        ValueError: a value is not a number.
    """
    with Path(path).open(newline="") as file:
        rows = list(csv.DictReader(file))
    return {name: [float(row[name]) for row in rows] for name in (rows[0] if rows else ())}
