"""The history of a run: one row an epoch, kept as ``history.csv``."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path

from hepgen.atomic import replacing

__all__ = ["History", "Row"]

Row = dict[str, float]


@dataclass
class History:
    """One row an epoch, oldest first.

    The columns are ``epoch`` (from 1), ``step`` (optimiser steps done), ``lr`` (of the last step),
    ``train_loss`` (mean over the epoch, while the weights changed), ``validation_loss`` and
    ``validation_accuracy`` where there are any, ``seconds`` (training and validation) and
    ``jets_per_second`` (training only, all devices together).

    Args:
        rows: the epochs.
    """

    rows: list[Row] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[Row]:
        return iter(self.rows)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return tuple(self.rows[0]) if self.rows else ()

    def __getitem__(self, column: str) -> list[float]:
        """The values of one column, one an epoch.

        Args:
            column: one of ``columns``.

        Raises:
            KeyError: there is no such column.
        """
        if column not in self.columns:
            near = get_close_matches(column, self.columns, n=3, cutoff=0.0)
            raise KeyError(f"no column {column!r} in the history; nearest: {', '.join(near)}")
        return [row[column] for row in self.rows]

    @property
    def best(self) -> Row:
        """The epoch of lowest validation loss, the first of equals; the last without validation.

        Raises:
            ValueError: no epoch is complete yet.
        """
        if not self.rows:
            raise ValueError("the history holds no complete epoch yet")
        if "validation_loss" not in self.columns:
            return self.rows[-1]
        return min(self.rows, key=lambda row: row["validation_loss"])

    def write(self, path: str | Path) -> None:
        """Write the table as CSV, whole or not at all.

        Args:
            path: the file to write or replace.

        Raises:
            OSError: it cannot be written.
        """
        with replacing(path) as temporary, temporary.open("w", newline="") as file:
            writer = csv.DictWriter(file, self.columns)
            writer.writeheader()
            writer.writerows(self.rows)

    @classmethod
    def read(cls, path: str | Path) -> History:
        """The history in a CSV file.

        Args:
            path: ``history.csv`` of a run folder.

        Returns:
            The same rows as were written.

        Raises:
            ValueError: a value is not a number.
            OSError: it cannot be read.
        """
        with Path(path).open(newline="") as file:
            table = list(csv.DictReader(file))
        whole = {"epoch", "step"}
        return cls([{k: int(v) if k in whole else float(v) for k, v in r.items()} for r in table])
