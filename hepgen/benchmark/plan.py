"""What a benchmark's YAML says: one sample, several taggers, several seeds.

.. code-block:: yaml

    data: {files: jets.root, fractions: [0.7, 0.1, 0.2]}
    features: {names: kinematics}      # of all taggers that do not say otherwise, as is fit
    fit: {epochs: 10}
    seeds: [1, 2, 3]
    signal: top
    taggers:
      PFN: {model: ParticleFlowNetwork, fit: {lr: 2.0e-3}}
      ParticleNet: {model: ParticleNet, published: {AUC: 0.9858}}
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hepgen.io.errors import MissingName, WrongType
from hepgen.pipeline import Pipeline, resolve
from hepgen.pipeline_keys import read_yaml

__all__ = ["Entry", "Plan", "read_plan"]

SHARED = ("data", "features", "fit", "start", "head")
OF_TAGGER = ("model", "features", "fit", "start", "head", "published")
OWN = ("taggers", "seeds", "split_seed", "signal", "working_points", "output")


@dataclass(frozen=True)
class Entry:
    """One tagger of a benchmark.

    Attributes:
        name: as the YAML calls it.
        pipeline: what `hepgen train` would do.
        published: metric -> what the paper has, as text.
    """

    name: str
    pipeline: Pipeline
    published: dict[str, str]


@dataclass(frozen=True)
class Plan:
    """What to train and how to judge it.

    Attributes:
        entries: the taggers.
        seeds: of first weights and training, for each tagger.
        split_seed: decides which jets are for training and for the test; the same for all.
        signal: the class whose rejections are told; the first if None.
        working_points: signal efficiencies.
        output: folder.
    """

    entries: tuple[Entry, ...]
    seeds: tuple[int, ...]
    split_seed: int
    signal: str | None
    working_points: tuple[float, ...]
    output: Path


def read_plan(
    path: str | Path,
    words: Sequence[str] = (),
    *,
    taggers: Sequence[str] | None = None,
    seeds: Sequence[int] | None = None,
    output: str | Path | None = None,
) -> Plan:
    """The plan in a YAML file.

    Args:
        path: the file.
        words: options that override keys of every tagger, such as ``--fit.epochs 3``.
        taggers: names of those that are wanted; all if not given.
        seeds: in place of those in the file.
        output: in place of that in the file.

    Raises:
        MissingFile: there is no such file.
        MissingName: a key, tagger or class that does not exist.
        WrongType: a value of the wrong type, or a working point that is no efficiency.
    """
    path = Path(path)
    content = read_yaml(path)
    for key in content:
        if key not in SHARED + OWN:
            raise MissingName.among(key, SHARED + OWN, kind="key", where=str(path))
    named = content.get("taggers")
    if not isinstance(named, Mapping) or not named:
        raise WrongType(f"{path}: taggers should be name: model, ..., not {named!r:.80}")
    for name in taggers or ():
        if name not in named:
            raise MissingName.among(name, named, kind="tagger", where=str(path))
    chosen = [name for name in named if taggers is None or name in taggers]
    numbers = _seeds(content.get("seeds", (1, 2, 3)) if seeds is None else seeds, path)
    split_seed = content.get("split_seed", 0)
    if not isinstance(split_seed, int):
        raise WrongType(f"{path}: split_seed should be a whole number, not {split_seed!r}")
    for word in words:
        if word.partition("=")[0] == "--seed":
            raise MissingName.among(
                "--seed", ["--seeds"], kind="option", where="hepgen benchmark, which has several"
            )
    return Plan(
        tuple(_entry(name, named[name], content, words, path) for name in chosen),
        numbers,
        split_seed,
        content.get("signal"),
        _working_points(content.get("working_points", (0.5, 0.3)), path),
        Path(output or content.get("output") or f"runs/{path.stem}"),
    )


def _seeds(given: Any, path: Path) -> tuple[int, ...]:
    several = isinstance(given, Sequence) and not isinstance(given, str) and len(given) > 0
    if not several or not all(isinstance(n, int) for n in given) or len(set(given)) < len(given):
        raise WrongType(f"{path}: seeds should be different whole numbers, not {given!r}")
    return tuple(given)


def _working_points(given: Any, path: Path) -> tuple[float, ...]:
    several = isinstance(given, Sequence) and not isinstance(given, str)
    if not several or not all(isinstance(p, int | float) and 0 < p <= 1 for p in given):
        raise WrongType(
            f"{path}: working_points should be signal efficiencies above 0 and up to 1, such as "
            f"[0.5, 0.3], not {given!r}"
        )
    return tuple(float(point) for point in given)


def _entry(
    name: str, given: Any, content: Mapping[str, Any], words: Sequence[str], path: Path
) -> Entry:
    where = f"{path}, taggers.{name}"
    own: Any = {"model": given} if isinstance(given, str) else given
    if not isinstance(own, Mapping) or "model" not in own:
        raise WrongType(f"{where} should be a model, or keys with model, not {given!r:.80}")
    for key in own:
        if key not in OF_TAGGER:
            raise MissingName.among(key, OF_TAGGER, kind="key", where=where)
    merged = {key: content[key] for key in SHARED if key in content}
    for key in set(own) - {"model", "published"}:
        both = isinstance(merged.get(key), Mapping) and isinstance(own[key], Mapping)
        merged[key] = {**merged[key], **own[key]} if both else own[key]
    published = {str(k): str(v) for k, v in (own.get("published") or {}).items()}
    pipeline = resolve({**merged, "model": own["model"]}, words, where=where, verb="benchmark")
    return Entry(name, pipeline, published)
