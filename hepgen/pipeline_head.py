"""The head of a pipeline: what it needs of the files, and how it is made once they are read."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import torch

from hepgen.data import Features
from hepgen.data.targets import constituent_fields, kept_columns
from hepgen.heads import Head, build_head
from hepgen.io.errors import InputError
from hepgen.sample import JetSample, Parts

__all__ = ["HeadSpec", "head_for", "parts_for", "sample_for"]

HeadSpec = str | dict[str, Any]
"""A head as `hepgen.heads.build_head` takes it: a name, or {name: arguments}."""


def sample_for(sample: JetSample, head: HeadSpec | None) -> JetSample:
    """The sample with the columns among ``keep`` that a head is trained on.

    Args:
        sample: which jets.
        head: of the pipeline.

    Raises:
        ExpressionError: a target is no expression.
    """
    targets, labels = _expressions(head)
    return replace(sample, keep=list(dict.fromkeys([*sample.keep, *kept_columns(targets, labels)])))


def parts_for(
    sample: JetSample, features: Features, head: HeadSpec | None, *, seed: int, progress: bool
) -> Parts:
    """The jets of a pipeline with what its head is trained on.

    Args:
        sample: from `sample_for`.
        features: what enters of each constituent.
        head: of the pipeline.
        seed: decides which jet goes where.
        progress: show a bar while reading.

    Raises:
        InputError: the files cannot be read, or a part gets no jets.
    """
    _, labels = _expressions(head)
    more = constituent_fields(labels)
    return sample.parts(features, constituents=more, seed=seed, progress=progress)


def head_for(
    head: HeadSpec | None, sample: JetSample, jets: Any, *, seed: int
) -> tuple[str, ...] | Head:
    """What a tagger gets for its classes.

    Args:
        head: of the pipeline; None for classification.
        sample: which jets.
        jets: the training jets, to which the head is fitted.
        seed: of the head's first weights, where it has any.

    Returns:
        Names of the classes, or the head.

    Raises:
        InputError: there is no such head or argument, arguments make no sense, or the jets lack a
            target.
    """
    if head is None:
        return sample.classes(jets)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        made = build_head(head, lambda: sample.classes(jets))
    try:
        return made.fit(jets)
    except InputError:
        raise
    except ValueError as error:
        raise InputError(f"head: {error}") from error


def _expressions(head: HeadSpec | None) -> tuple[list[str], str | None]:
    """Targets of the jets and labels of constituents that a description names."""
    found = list(_named(head))
    labels = [text for kind, text in found if kind == "labels"]
    return [text for kind, text in found if kind == "target"], labels[0] if labels else None


def _named(spec: Any) -> Iterator[tuple[str, str]]:
    if not isinstance(spec, Mapping):
        return
    for key, value in spec.items():
        if key == "targets":
            texts = list(value.values()) if isinstance(value, Mapping) else value
            if isinstance(texts, list):
                yield from (("target", text) for text in texts if isinstance(text, str))
        elif key == "variable" and isinstance(value, str):
            yield "target", value
        elif key == "labels" and isinstance(value, str):
            yield "labels", value
        else:
            yield from _named(value)
