"""Scores of jets on their way to a file: which entry and which jet each row belongs to.

Shapes: J scored jets, K classes, E entries of a block, T jets of these entries, scored or not.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.io.columns import Offsets
from hepgen.io.errors import InputError, WrongType

__all__ = ["ScoredJets", "branch_name", "score_matrix"]


def branch_name(*parts: str) -> str:
    """A name that ROOT takes for a variable: ``branch_name("FatJet", "my-net", "H->bb")``.

    Returns:
        The parts joined by "_", with "_" for each run of other characters than letters and digits:
        ``FatJet_my_net_H_bb``.

    Raises:
        InputError: nothing is left.
    """
    name = "_".join(re.sub(r"[^0-9A-Za-z]+", "_", part).strip("_") for part in parts).strip("_")
    if not name:
        raise InputError(f"no branch can be named after {parts}")
    return f"_{name}" if name[0].isdigit() else name


def score_matrix(
    scores: Any, classes: Sequence[str] | None = None
) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Scores in one layout.

    Args:
        scores: (J, K), or (J,) for one class, or a mapping (or awkward records) of (J,) by class.
        classes: names of the classes; those of the mapping, else "0", "1", ..., if None.

    Returns:
        The scores (J, K) and the K names.

    Raises:
        WrongType: scores of another shape, or not numbers.
        InputError: as many names as there are not columns, or a name twice.
    """
    if isinstance(scores, ak.Array) and scores.fields:
        scores = {name: scores[name] for name in scores.fields}
    if isinstance(scores, Mapping):
        names = tuple(classes or scores)
        if set(names) != set(scores):
            raise InputError(f"scores are given for {list(scores)}, classes are {list(names)}")
        columns = [np.asarray(scores[name]) for name in names]
        if len({column.shape for column in columns}) != 1 or columns[0].ndim != 1:
            shapes = {name: np.shape(scores[name]) for name in names}
            raise WrongType(f"wanted one score a jet for each class, got shapes {shapes}")
        matrix = np.stack(columns, axis=1)
    else:
        matrix = np.asarray(scores)
        matrix = matrix[:, None] if matrix.ndim == 1 else matrix
        if matrix.ndim != 2 or matrix.dtype.kind not in "fiub":
            raise WrongType(
                f"wanted scores (jets, classes), got shape {np.shape(scores)} of {matrix.dtype}"
            )
        names = tuple(classes or (str(i) for i in range(matrix.shape[1])))
    if len(names) != matrix.shape[1]:
        raise InputError(f"{matrix.shape[1]} scores a jet, but {len(names)} classes {list(names)}")
    if len({branch_name(name) for name in names}) < len(names):
        raise InputError(f"two of the classes {list(names)} would give the same branch")
    return matrix.astype(np.float32, copy=False), names


@dataclass(frozen=True)
class ScoredJets:
    """Values of some jets, with their places.

    Args:
        entry: row of the file, (J,) int64.
        jet_index: position among the jets of that row, (J,).
        values: by branch name, (J,) each.
    """

    entry: NDArray[np.int64]
    jet_index: NDArray[np.int64]
    values: Mapping[str, NDArray[Any]]

    def check(self, after: tuple[int, int], num_entries: int, where: str) -> None:
        """See that each jet has one place, later than the one before.

        Args:
            after: (entry, jet_index) of the jet before.
            num_entries: entries of the file.
            where: the file, for messages.

        Raises:
            InputError: jets out of order, a jet twice, or an entry that the file does not have.
        """
        if len(self.entry) == 0:
            return
        entry = np.concatenate([[after[0]], self.entry])
        index = np.concatenate([[after[1]], self.jet_index])
        step, inner = np.diff(entry), np.diff(index)
        twice = np.flatnonzero((step == 0) & (inner == 0))
        if len(twice):
            at = twice[0] + 1
            raise InputError(f"jet {index[at]} of entry {entry[at]} of {where} has two scores")
        back = np.flatnonzero((step < 0) | ((step == 0) & (inner < 0)))
        if len(back):
            at = back[0] + 1
            raise InputError(
                f"entry {entry[at]} comes after entry {entry[at - 1]} of {where}; give the jets in "
                "the order of the file, or all of them to write_friend, which sorts them"
            )
        if self.entry[-1] >= num_entries or self.entry[0] < 0:
            raise InputError(
                f"a jet of entry {self.entry[-1]}, but {where} has {num_entries} entries; "
                "is it the file that the jets come from?"
            )

    def sorted(self) -> ScoredJets:
        """The same jets in the order of the file."""
        return self.select(np.lexsort((self.jet_index, self.entry)))

    def select(self, rows: Any) -> ScoredJets:
        """Some of the jets, by mask, slice or index."""
        values = {name: column[rows] for name, column in self.values.items()}
        return ScoredJets(self.entry[rows], self.jet_index[rows], values)

    @staticmethod
    def concatenate(parts: Sequence[ScoredJets]) -> ScoredJets:
        """The jets of all parts, one after the other."""
        return ScoredJets(
            np.concatenate([part.entry for part in parts]),
            np.concatenate([part.jet_index for part in parts]),
            {name: np.concatenate([p.values[name] for p in parts]) for name in parts[0].values},
        )

    def of_entries(self, start: int, stop: int) -> dict[str, NDArray[Any]]:
        """One value an entry, shape (E,); NaN where the entry has no scored jet.

        Raises:
            InputError: a jet that is not the only one of its entry.
        """
        several = np.flatnonzero(self.jet_index)
        if len(several):
            at = several[0]
            raise InputError(
                f"jet {self.jet_index[at]} of entry {self.entry[at]} has a score, but each entry "
                "was to be one jet; say which collection= the jets are"
            )
        return {
            name: _scatter(column, self.entry - start, stop - start)
            for name, column in self.values.items()
        }

    def of_jets(self, start: int, offsets: Offsets, where: str) -> dict[str, NDArray[Any]]:
        """One value a jet, scored or not, shape (T,); NaN where it is not scored.

        Args:
            start: the first entry.
            offsets: offsets of the jets of these entries, (E + 1,).
            where: the file, for messages.

        Raises:
            InputError: a jet that the entry does not have.
        """
        row = self.entry - start
        beyond = np.flatnonzero(self.jet_index >= np.diff(offsets)[row])
        if len(beyond):
            at = beyond[0]
            count = np.diff(offsets)[row[at]]
            raise InputError(
                f"a score for jet {self.jet_index[at]} of entry {self.entry[at]} of {where}, which "
                f"has {count} jets; is it the collection that the jets come from?"
            )
        place = offsets[row] + self.jet_index
        return {
            name: _scatter(column, place, int(offsets[-1])) for name, column in self.values.items()
        }


def _scatter(values: NDArray[Any], places: NDArray[np.int64], length: int) -> NDArray[Any]:
    scattered = np.full(length, np.nan, dtype=values.dtype)
    scattered[places] = values
    return scattered
