"""The scores in a ROOT file: which branches they are, of which class, one an entry or one a jet.

Shapes: E entries, N jets of all entries end to end, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.io.columns import Jagged, Offsets, describe
from hepgen.io.errors import InputError, LabelError, MissingName, WrongType
from hepgen.io.files import FileSpec
from hepgen.io.friends import METADATA
from hepgen.io.root import RootSource, readable

__all__ = ["ScoreColumns", "class_index", "read_score_columns"]

_PREFIX = "score_"


@dataclass(frozen=True)
class ScoreColumns:
    """The scores of one file.

    Attributes:
        path: of the file.
        classes: names of the K classes.
        values: (N, K), NaN for a jet that was not scored.
        offsets: of the jets of each entry, (E + 1,); None where each entry is a jet.
        entries: E.
        tree: name of the tree.
        about: what the file tells of the model, as ``hepgen.io.FriendWriter`` writes it.
        where: tree and file, for messages.
    """

    path: str
    classes: tuple[str, ...]
    values: NDArray[Any]
    offsets: Offsets | None
    entries: int
    tree: str
    about: dict[str, Any]
    where: str

    def of(self, entry: NDArray[np.int64], jet_index: NDArray[np.integer[Any]]) -> NDArray[Any]:
        """The scores (J, K) of some jets by their entry (J,) and their position in it (J,).

        Raises:
            InputError: an entry with fewer scores than jets.
        """
        if self.offsets is None:
            if np.any(jet_index > 0):
                raise InputError(
                    f"{self.where} has one score an entry, but entry "
                    f"{entry[np.argmax(jet_index > 0)]} of its input has several jets"
                )
            return np.asarray(self.values[entry])
        beyond = jet_index >= np.diff(self.offsets)[entry]
        if np.any(beyond):
            first = int(entry[np.argmax(beyond)])
            count = int(self.offsets[first + 1] - self.offsets[first])
            raise InputError(
                f"{self.where} has {count} scores in entry {first}, and its input more jets; "
                "collection= names the jets that were scored"
            )
        return np.asarray(self.values[self.offsets[entry] + jet_index])

    def column(self, values: Any, name: str) -> NDArray[Any]:
        """A column of this file or of its input brought to the jets, (N,).

        Args:
            values: one value an entry, or one a jet.
            name: of the column, for the message.

        Raises:
            WrongType: it is neither.
        """
        if isinstance(values, np.ndarray) and values.ndim == 1:
            return values if self.offsets is None else np.repeat(values, np.diff(self.offsets))
        if isinstance(values, Jagged) and _same(values.offsets, self.offsets):
            return values.values
        raise WrongType(
            f"column {name!r} beside {self.where} holds {describe(values)}, "
            "which is neither one value an entry nor one for each scored jet"
        )


def read_score_columns(
    spec: FileSpec, *, tree: str | None = None, branches: Mapping[str, str] | None = None
) -> ScoreColumns:
    """Read the scores of one file.

    Args:
        spec: the file.
        tree: name of the tree; None takes the only one, or one of a usual name.
        branches: branch of each class; None takes what hepgen wrote, else ``score_<class>``.

    Returns:
        The scores, float32 where they are stored so.

    Raises:
        MissingName: a branch that is not there, or none that looks like a score.
        WrongType: a branch that does not hold numbers.
        InputError: branches with different numbers of jets.
    """
    with RootSource(spec, tree) as source:
        about = _about(source)
        found = dict(branches) if branches is not None else _branches(source, about)
        for branch in found.values():
            if branch not in source.names:
                raise MissingName.among(branch, source.names, kind="branch", where=source.where)
        columns = source.read(list(found.values()), 0, source.num_entries)
        offsets: Offsets | None = None
        values = []
        for number, branch in enumerate(found.values()):
            column = columns[branch]
            here = column.offsets if isinstance(column, Jagged) else None
            flat = column.values if isinstance(column, Jagged) else column
            if not isinstance(flat, np.ndarray) or flat.ndim != 1 or flat.dtype.kind not in "fiub":
                raise WrongType(f"branch {branch!r} of {source.where} holds {describe(column)}")
            offsets = here if number == 0 else offsets
            if not _same(here, offsets):
                raise InputError(
                    f"branches {next(iter(found.values()))!r} and {branch!r} of {source.where} "
                    "have different numbers of jets"
                )
            values.append(flat if flat.dtype.kind == "f" else flat.astype(np.float64))
        return ScoreColumns(
            spec.path,
            tuple(found),
            np.stack(values, axis=1),
            offsets,
            source.num_entries,
            source.tree_name,
            about,
            source.where,
        )


def _same(one: Offsets | None, other: Offsets | None) -> bool:
    if one is None or other is None:
        return one is other
    return bool(np.array_equal(one, other))


def class_index(
    flags: Mapping[str, NDArray[np.bool_]], classes: Sequence[str], where: str
) -> NDArray[np.int64]:
    """Index of the class of each jet, (J,).

    Raises:
        LabelError: jets in no class or in several.
    """
    table = np.stack([flags[name] for name in classes], axis=1)
    number = table.sum(axis=1)
    if np.any(number != 1):
        none, several = int(np.sum(number == 0)), int(np.sum(number > 1))
        raise LabelError(
            f"of {len(number)} jets of {where} {none} are in none of the classes "
            f"{', '.join(classes)}, {several} in two or more; where= selects jets"
        )
    return np.asarray(table.argmax(axis=1), dtype=np.int64)


def _about(source: RootSource) -> dict[str, Any]:
    with readable(source.spec.path):
        directory = source.tree.file.root_directory
        text = directory.get(METADATA)
    if text is None:
        return {}
    try:
        found = json.loads(str(text))
    except ValueError as error:
        raise InputError(f"{METADATA} of {source.spec.path} is not JSON: {error}") from error
    return dict(found)


def _branches(source: RootSource, about: Mapping[str, Any]) -> dict[str, str]:
    known = set(source.names)
    told = about.get("branches", {})
    if told and all(branch in known for branch in told.values()):
        return dict(told)
    found = {name[len(_PREFIX) :]: name for name in source.names if name.startswith(_PREFIX)}
    if not found:
        error = MissingName.among(_PREFIX + "<class>", known, kind="branch", where=source.where)
        raise MissingName(f"{error}; score_branches= names the branch of each class")
    return found
