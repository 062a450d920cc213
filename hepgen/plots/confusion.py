"""Which class is taken for which."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from hepgen.metrics import Confusion

__all__ = ["confusion"]


def confusion(ax: Axes, matrix: Confusion, classes: Sequence[str]) -> list[Any]:
    """Draw a confusion matrix normalised to the true classes, with its values in per cent.

    Errors stand below the values up to five classes.

    Args:
        ax: where.
        matrix: values and errors (K, K), true classes down.
        classes: K names.

    Returns:
        The mesh and the texts.

    Raises:
        ValueError: another number of names than rows.
    """
    number = len(matrix.values)
    if len(classes) != number:
        raise ValueError(f"{len(classes)} class names for a matrix of {number} rows")
    # Not imshow, which would put pixels into vector graphics.
    edges = np.arange(number + 1) - 0.5
    artists: list[Any] = [ax.pcolormesh(edges, edges, matrix.values, cmap="Blues", vmin=0, vmax=1)]
    ax.set(aspect="equal")
    ax.invert_yaxis()
    for row in range(number):
        for column in range(number):
            value, error = matrix.values[row, column], matrix.errors[row, column]
            if not np.isfinite(value):
                continue
            written = f"{100 * value:.1f}"
            if number <= 5:
                written += f"\n± {100 * error:.1f} %"
            artists.append(
                ax.text(
                    column,
                    row,
                    written,
                    ha="center",
                    va="center",
                    color="white" if value > 0.55 else "#102040",
                    fontsize=13 if number <= 5 else 80 / number,
                )
            )
    places = np.arange(number)
    ax.set_xticks(places, classes)
    if number > 3:
        for text in ax.get_xticklabels():
            text.set(rotation=35, horizontalalignment="right", rotation_mode="anchor")
    ax.set_yticks(places, classes)
    ax.tick_params(which="both", length=0)
    ax.set_xlabel("Predicted class", loc="center")
    ax.set_ylabel("True class", loc="center")
    return artists
