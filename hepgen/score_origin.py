"""The jets that the scores of one file are of: labels, weights and observables, in their order.

Where the input follows a schema that ``hepgen.read`` knows, its jets are read by that schema. Any
other ROOT file with labels does as well: one value an entry, or one a jet.

Shapes: J jets of a file, N scored jets of all its entries end to end, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.io import expressions, iterate
from hepgen.io.columns import Jagged
from hepgen.io.errors import InputError, MissingName, SchemaError, WrongType
from hepgen.io.files import FileSpec
from hepgen.io.friend_layout import EVENT_NUMBERS
from hepgen.io.root import RootSource
from hepgen.io.schemas import find
from hepgen.io.sources import open_source
from hepgen.score_columns import ScoreColumns, class_index

__all__ = ["JetsOfFile", "Origin", "Wanted"]

_LABEL_PATTERNS = ("label_{}", "{}", "is_{}", "jet_is_{}", "jet_label_{}")
_OBSERVABLES = {
    "pt": ("jet_pt", "pt", "{}_pt"),
    "eta": ("jet_eta", "eta", "{}_eta"),
    "mass": ("jet_mass", "jet_sdmass", "mass", "{}_mass", "{}_msoftdrop"),
}


@dataclass(frozen=True)
class Wanted:
    """What to read beside the scores; see :func:`hepgen.evaluate`."""

    labels: Mapping[str, str] | None
    where: str | None
    weights: str | None
    observables: Mapping[str, str]
    schema: Any
    collection: str | None


@dataclass
class JetsOfFile:
    """The jets of one file."""

    scores: NDArray[Any]
    labels: NDArray[np.int64]
    weights: NDArray[np.float64] | None
    observables: dict[str, NDArray[np.float64]]


class Origin:
    """The file that holds labels and momenta: the input of the scores, or the same file.

    Args:
        spec: the file.
        columns: the scores.
        tree: name of its tree; None takes the only one, or one of a usual name.
    """

    def __init__(self, spec: FileSpec, columns: ScoreColumns, tree: str | None) -> None:
        self.spec = spec
        self.columns = columns
        self.tree = tree

    def jets(self, classes: tuple[str, ...], label: str | None, wanted: Wanted) -> JetsOfFile:
        """The jets with their scores.

        Args:
            classes: the classes to evaluate.
            label: class of all jets of this file; None where columns tell it.
            wanted: what else to read.

        Raises:
            InputError: the file does not belong to the scores, or lacks what is asked for.
        """
        with open_source(self.spec, self.tree) as source:
            names, where, entries = list(source.names), source.where, source.num_entries
            if entries != self.columns.entries:
                raise InputError(
                    f"{self.columns.where} has {self.columns.entries} entries and {where} has "
                    f"{entries}: they do not belong together"
                )
            self._check_events(source)
            try:
                schema = find(wanted.schema, names, where=where)
            except SchemaError:
                if wanted.schema is not None or not isinstance(source, RootSource):
                    raise
                schema = None
        if schema is None:
            return self._flat(classes, label, wanted)
        return self._by_schema(classes, label, wanted, names, schema.weight(names))

    def _check_events(self, source: Any) -> None:
        """Run and event numbers in both files have to be the same, entry by entry."""
        spec = FileSpec(self.columns.path, self.columns.tree)
        if not isinstance(source, RootSource) or source.spec.path == spec.path:
            return
        with RootSource(spec) as other:
            shared = [n for n in EVENT_NUMBERS if n in source.names and n in other.names]
            ours = source.read(shared, 0, source.num_entries)
            theirs = other.read(shared, 0, other.num_entries)
        for name in shared:
            differ = np.flatnonzero(np.asarray(ours[name]) != np.asarray(theirs[name]))
            if len(differ):
                raise InputError(
                    f"{name} differs between {self.columns.where} and {source.where} in "
                    f"{len(differ)} entries, first in entry {differ[0]}: "
                    "these scores belong to another file"
                )

    def _by_schema(
        self,
        classes: tuple[str, ...],
        label: str | None,
        wanted: Wanted,
        names: list[str],
        weight: str | None,
    ) -> JetsOfFile:
        labels = _label_texts(classes, wanted, names, label, strict=False)
        standard = {"pt", "eta", "phi", "mass", *(["weight"] if weight is not None else [])}
        texts = [*wanted.observables.values(), *([wanted.weights] if wanted.weights else [])]
        used = dict.fromkeys(name for text in texts for name in expressions.names(text))
        keep = [name for name in used if name not in standard]
        parts: list[dict[str, NDArray[Any]]] = []
        chunks = iterate(
            FileSpec(self.spec.path, self.spec.tree or self.tree),
            step="200 MB",
            schema=wanted.schema,
            collection=wanted.collection or self.columns.about.get("collection"),
            labels=labels,
            where=wanted.where,
            fields=(),
            keep=keep,
        )
        for chunk in chunks:
            fields = [name for name in chunk.fields if name != "constituents"]
            parts.append({name: np.asarray(chunk[name]) for name in fields})
        table = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
        if label is not None:
            index = _index_of_file(label, classes, len(table["pt"]))
        else:
            flags = {name: table[f"label_{name}"] for name in classes}
            index = class_index(flags, classes, self.columns.where)
        observables = {name: table[name] for name in ("pt", "eta", "mass")}
        for name, text in wanted.observables.items():
            observables[name] = _evaluated(text, table, len(index))
        weights = table.get("weight")
        if wanted.weights is not None:
            weights = _evaluated(wanted.weights, table, len(index))
        scores = self.columns.of(table["entry"], table["jet_index"])
        return _finished(scores, self.columns, classes, index, weights, observables)

    def _flat(self, classes: tuple[str, ...], label: str | None, wanted: Wanted) -> JetsOfFile:
        columns = self.columns
        with RootSource(self.spec, self.tree) as source:
            beside = _Beside(source, columns)
            mask = np.ones(len(columns.values), dtype=bool)
            if wanted.where is not None:
                mask = beside(wanted.where).astype(bool)
            if label is not None:
                index = _index_of_file(label, classes, int(mask.sum()))
            else:
                texts = _label_texts(classes, wanted, list(source.names), None, strict=True)
                assert isinstance(texts, dict)
                flags = {name: beside(text)[mask] != 0 for name, text in texts.items()}
                index = class_index(flags, classes, columns.where)
            observables = {
                name: beside(found)[mask]
                for name, choice in _OBSERVABLES.items()
                if (found := beside.first(choice)) is not None
            }
            for name, text in wanted.observables.items():
                observables[name] = beside(text)[mask]
            heavy = wanted.weights or ("weight" if "weight" in source.names else None)
            weights = None if heavy is None else beside(heavy)[mask]
        return _finished(columns.values[mask], columns, classes, index, weights, observables)


class _Beside:
    """Values (N,) for the scored jets, of expressions of a file's columns."""

    def __init__(self, source: RootSource, columns: ScoreColumns) -> None:
        self.source = source
        self.columns = columns

    def __call__(self, text: str) -> NDArray[Any]:
        known = set(self.source.names)
        used = [text] if text in known else expressions.names(text)
        for name in used:
            if name not in known:
                kind, where = self.source.kind, self.source.where
                raise MissingName.among(name, known, kind=kind, where=where)
        values = self.source.read(used, 0, self.source.num_entries)
        table = {name: self.columns.column(value, name) for name, value in values.items()}
        if text in known:
            return table[text]
        return _evaluated(text, table, len(self.columns.values))

    def first(self, choice: Sequence[str]) -> str | None:
        """The first of some names that is a column with a value for each jet."""
        collection = self.columns.about.get("collection") or ""
        for pattern in choice:
            name = pattern.format(collection)
            if name not in self.source.names:
                continue
            value = self.source.read([name], 0, 1)[name]
            if not isinstance(value, Jagged) or self.columns.offsets is not None:
                return name
        return None


def _label_texts(
    classes: tuple[str, ...],
    wanted: Wanted,
    names: list[str],
    label: str | None,
    *,
    strict: bool,
) -> dict[str, str] | list[str]:
    """An expression for each class; the names alone where ``hepgen.io`` shall look for columns."""
    if label is not None:
        return {}
    texts = dict(wanted.labels or {})
    for name in classes:
        if name in texts:
            continue
        columns = [p.format(name) for p in _LABEL_PATTERNS if p.format(name) in names]
        if columns:
            texts[name] = columns[0]
    single = len(classes) == 2 and len([name for name in classes if name in texts]) == 1
    if single:
        known, other = sorted(classes, key=lambda name: name not in texts)
        texts[other] = f"({texts[known]}) == 0"
    missing = [name for name in classes if name not in texts]
    if missing and not strict and wanted.labels is None:
        return list(classes)
    if missing:
        raise MissingName.among(
            f"label_{missing[0]}", names, kind="label column", where="the input"
        )
    return {name: texts[name] for name in classes}


def _index_of_file(label: str, classes: tuple[str, ...], count: int) -> NDArray[np.int64]:
    if label not in classes:
        raise MissingName.among(label, classes, kind="class of scores", where="the scores")
    return np.full(count, classes.index(label), dtype=np.int64)


def _evaluated(text: str, table: Mapping[str, Any], count: int) -> NDArray[np.float64]:
    values = np.asarray(expressions.evaluate(text, table), dtype=np.float64)
    if values.shape == ():
        return np.full(count, float(values))
    if values.shape != (count,):
        raise WrongType(f"{text!r} gives no single value for a jet")
    return values


def _finished(
    scores: NDArray[Any],
    columns: ScoreColumns,
    classes: tuple[str, ...],
    index: NDArray[np.int64],
    weights: NDArray[Any] | None,
    observables: Mapping[str, NDArray[Any]],
) -> JetsOfFile:
    """One file's jets with the columns of the chosen classes."""
    infinite = int(np.isinf(scores).any(axis=1).sum())
    if infinite:
        raise InputError(f"{infinite} of {len(scores)} jets of {columns.where} score infinity")
    if len(columns.classes) > 1:
        scores = scores[:, [columns.classes.index(name) for name in classes]]
    return JetsOfFile(
        scores,
        index,
        None if weights is None else np.asarray(weights, np.float64),
        {name: np.asarray(values, np.float64) for name, values in observables.items()},
    )
