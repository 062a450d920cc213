"""The classes of jets: from columns, from expressions, or from the files that they come from.

Shapes: J jets, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.io import expressions
from hepgen.io.errors import LabelError, MissingName, WrongType
from hepgen.io.schema import Schema, Source

__all__ = ["Labels", "choose_labels"]

Flags = NDArray[np.bool_]
Columns = Callable[[str], Any]

_PATTERNS = ("label_{}", "{}", "jet_is_{}", "is_{}", "jet_is{}", "is{}", "jet_label_{}")


@dataclass(frozen=True)
class Labels:
    """How the classes of the jets of one file are told.

    Args:
        classes: for each class an expression, or the name of a column that is 0 or 1.
        columns: those of the texts that are names of columns.
        of_file: the class of all jets of the file; then there are no expressions.
        strict: whether each jet has to be of exactly one class.
    """

    classes: Mapping[str, str]
    columns: frozenset[str] = frozenset()
    of_file: str | None = None
    strict: bool = True

    @property
    def names(self) -> list[str]:
        """Names that the expressions use."""
        if self.of_file is not None:
            return []
        used = [self._names(text) for text in self.classes.values()]
        return list(dict.fromkeys(name for names in used for name in names))

    def _names(self, text: str) -> list[str]:
        return [text] if text in self.columns else expressions.names(text)

    def evaluate(self, column: Columns, entry: NDArray[np.int64], where: str) -> dict[str, Flags]:
        """``label_<class>`` for each class.

        Args:
            column: gives the values (J,) of a name.
            entry: row of the file of each jet, (J,), for messages.
            where: the file, for messages.

        Returns:
            bool (J,) for each class.

        Raises:
            LabelError: jets in no class or in several.
            WrongType: a column that is neither 0 nor 1, or an expression that is no selection.
        """
        if self.of_file is not None:
            return {
                f"label_{name}": np.full(len(entry), name == self.of_file) for name in self.classes
            }
        flags = {
            name: self._flags(name, text, column, len(entry), where)
            for name, text in self.classes.items()
        }
        if self.strict and flags:
            self._check(flags, entry, where)
        return {f"label_{name}": values for name, values in flags.items()}

    def _flags(self, name: str, text: str, column: Columns, count: int, where: str) -> Flags:
        if text in self.columns:
            values = np.asarray(column(text))
        else:
            values = expressions.evaluate(text, {n: column(n) for n in self._names(text)})
            values = np.asarray(values)
        if values.shape != (count,):
            raise WrongType(f"class {name!r} ({text}) of {where} gives no single value for a jet")
        if values.dtype != np.bool_:
            other = (values != 0) & (values != 1)
            if np.any(other):
                raise WrongType(
                    f"class {name!r} ({text}) of {where} is {values[other][0]} for a jet, "
                    "wanted 0 or 1"
                )
        return values.astype(np.bool_)

    def _check(self, flags: Mapping[str, Flags], entry: NDArray[np.int64], where: str) -> None:
        counts = np.sum(list(flags.values()), axis=0)
        problems = []
        for wrong, words in ((counts == 0, "in none"), (counts > 1, "in several")):
            if np.any(wrong):
                first = ", ".join(str(row) for row in entry[wrong][:3])
                problems.append(
                    f"{np.count_nonzero(wrong)} of {len(entry)} jets are {words} of the classes "
                    f"{', '.join(flags)} (entries {first}{', ...' if sum(wrong) > 3 else ''})"
                )
        if problems:
            raise LabelError(f"{where}: {'; '.join(problems)}")


def choose_labels(
    labels: Sequence[str] | Mapping[str, str] | None,
    file_classes: Sequence[str],
    schema: Schema,
    source: Source,
) -> Labels:
    """How to tell the classes of the jets of a file.

    Args:
        labels: classes asked for, or expressions for them; None for what the file tells.
        file_classes: the classes that files are given for, in order; empty where none is.
        schema: the schema of the file.
        source: the file.

    Returns:
        The labels.

    Raises:
        MissingName: nothing in the file, or no file, tells a class that is asked for.
        WrongType: ``labels`` is neither a list nor a mapping of text.
    """
    if isinstance(labels, str) or not all(isinstance(name, str) for name in labels or ()):
        raise WrongType(f"labels should be a list of classes or a mapping, got {labels!r}")
    if source.spec.label is not None:
        classes = list(file_classes if labels is None else labels)
        for name in file_classes:
            if name not in classes:
                raise MissingName.among(name, classes, kind="class", where="labels")
        return Labels(dict.fromkeys(classes, ""), of_file=source.spec.label)
    if isinstance(labels, Mapping):
        return Labels(dict(labels), frozenset(source.names))
    names = frozenset(source.names)
    known = schema.labels(source.names)
    if labels is None:
        return Labels(known, names, strict=False)
    possible = schema.possible_labels(source.names)
    classes_found = {}
    for name in labels:
        columns = [pattern.format(name) for pattern in _PATTERNS]
        found = [column for column in columns if column in names]
        text = known.get(name) or (found[0] if found else possible.get(name))
        if text is None:
            choice = [*known, *possible] or list(names)
            raise MissingName.among(name, choice, kind="class or label column", where=source.where)
        classes_found[name] = text
    return Labels(classes_found, names)
