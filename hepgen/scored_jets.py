"""Scored jets out of ROOT files: scores, labels, weights and observables, joined by entry.

Shapes: B jets, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.io.errors import EmptyInput, InputError, MissingName
from hepgen.io.files import FileSpec, expand
from hepgen.score_columns import ScoreColumns, read_score_columns
from hepgen.score_origin import JetsOfFile, Origin, Wanted

__all__ = ["ScoredJets", "read_scored_jets"]


@dataclass(frozen=True)
class ScoredJets:
    """What an evaluation needs of B jets.

    Attributes:
        classes: names of the K classes.
        scores: (B, K) in [0, 1].
        kind: what the file holds: "probabilities"; "logits", which went through a softmax; "one
            score", set beside its complement; "one score outside of [0, 1]", through a sigmoid.
        labels: index of the true class, (B,).
        weights: (B,), or None.
        observables: columns (B,), such as ``pt`` and ``mass`` in GeV.
        not_scored: number of jets left out because their score is NaN.
        files: for each file its name, tree, entries and jets.
        about: what the first file tells of the model.
    """

    classes: tuple[str, ...]
    scores: NDArray[Any]
    kind: str
    labels: NDArray[np.int64]
    weights: NDArray[np.float64] | None
    observables: dict[str, NDArray[np.float64]]
    not_scored: int
    files: list[dict[str, Any]]
    about: dict[str, Any]


def read_scored_jets(
    scores: Any,
    *,
    of: Any = None,
    classes: Sequence[str] | None = None,
    tree: str | None = None,
    score_branches: Mapping[str, str] | None = None,
    wanted: Wanted,
) -> ScoredJets:
    """Read scores and what belongs to them.

    Args:
        scores: files as for ``hepgen.read``.
        of: their inputs in the same order; None where labels stand beside the scores.
        classes: those to keep, in this order; None for all that are scored.
        tree: name of the tree of the scores.
        score_branches: branch of each class.
        wanted: labels, selection, weights, observables.

    Returns:
        The jets of all files, those without a score left out and counted.

    Raises:
        InputError: files that are missing or damaged, that do not belong together, or that do not
            have what is asked for; no jet is left.
    """
    specs = expand(scores)
    inputs = specs if of is None else _paired(specs, expand(of))
    parts: list[JetsOfFile] = []
    files: list[dict[str, Any]] = []
    names: tuple[str, ...] | None = None
    about: dict[str, Any] = {}
    for spec, origin in zip(specs, inputs, strict=True):
        columns = read_score_columns(spec, tree=tree, branches=score_branches)
        label = origin.label or spec.label
        chosen = _classes(columns, classes, wanted, {s.label or "" for s in (*specs, *inputs)})
        if names is not None and chosen != names:
            raise InputError(
                f"{columns.where} has scores of {', '.join(chosen)}, {specs[0].path} of "
                f"{', '.join(names)}; files that are evaluated together need the same classes"
            )
        names, about = chosen, about or columns.about
        source = Origin(replace(origin, label=None), columns, tree if origin is spec else None)
        jets = source.jets(chosen, label, wanted)
        parts.append(jets)
        files.append(
            {
                "scores": spec.path,
                "tree": columns.tree,
                "of": None if of is None else origin.path,
                "entries": columns.entries,
                "jets": len(jets.labels),
            }
        )
    return _joined(parts, files, names or (), about)


def _paired(specs: list[FileSpec], inputs: list[FileSpec]) -> list[FileSpec]:
    if len(specs) != len(inputs):
        raise InputError(
            f"{len(specs)} files of scores and {len(inputs)} inputs; they go together one by one, "
            f"{specs[0].path} with {inputs[0].path} and so on"
        )
    return inputs


def _classes(
    columns: ScoreColumns, classes: Sequence[str] | None, wanted: Wanted, of_files: set[str]
) -> tuple[str, ...]:
    """The classes to evaluate; a single score gets its complement."""
    known = columns.classes
    if len(known) == 1:
        names = [*(classes or ()), *(wanted.labels or ())]
        other = next((name for name in names if name != known[0]), f"not {known[0]}")
        return (known[0], other)
    asked = list(classes or wanted.labels or [n for n in known if n in of_files] or known)
    for name in asked:
        if name not in known:
            raise MissingName.among(name, known, kind="class of scores", where=columns.where)
    return tuple(asked if len(asked) > 1 else known)


def _as_probabilities(scores: NDArray[Any]) -> tuple[NDArray[Any], str]:
    """Scores (B, K) for K >= 2 classes, and what they were."""
    inside = bool(scores.min() >= 0 and scores.max() <= 1)
    if scores.shape[1] == 1:
        if inside:
            return np.concatenate([scores, 1 - scores], axis=1), "one score"
        scores = np.concatenate([scores, np.zeros_like(scores)], axis=1)
        return _softmax(scores), "one score outside of [0, 1]"
    return (scores, "probabilities") if inside else (_softmax(scores), "logits")


def _softmax(logits: NDArray[Any]) -> NDArray[np.float64]:
    powers = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=1, keepdims=True))


def _joined(
    parts: list[JetsOfFile],
    files: list[dict[str, Any]],
    classes: tuple[str, ...],
    about: dict[str, Any],
) -> ScoredJets:
    scores = np.concatenate([part.scores for part in parts])
    keep = ~np.isnan(scores).any(axis=1)
    if not np.any(keep):
        raise EmptyInput(
            f"no scored jets among {len(keep)} of {', '.join(f['scores'] for f in files)}"
        )
    weighted = [part.weights is not None for part in parts]
    if any(weighted) and not all(weighted):
        raise InputError(f"{files[weighted.index(False)]['scores']} has no weights, others have")

    def column(values: list[NDArray[Any]]) -> NDArray[Any]:
        return np.asarray(np.concatenate(values)[keep])

    table, kind = _as_probabilities(scores[keep])
    shared = [name for name in parts[0].observables if all(name in p.observables for p in parts)]
    return ScoredJets(
        classes=classes,
        scores=table,
        kind=kind,
        labels=column([part.labels for part in parts]),
        weights=column([part.weights for part in parts if part.weights is not None])
        if all(weighted)
        else None,
        observables={name: column([part.observables[name] for part in parts]) for name in shared},
        not_scored=int(len(keep) - keep.sum()),
        files=files,
        about=about,
    )
