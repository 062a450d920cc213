"""A training run from one YAML file: jets, features, tagger, training, all kept in one folder.

Each key of the YAML is an argument of the class or function it configures, so signatures and their
annotations are the only schema and the only place of defaults. A pipeline can name no class but the
taggers of hepgen: reading one imports and runs nothing else.
"""

from __future__ import annotations

import inspect
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import torch
import yaml
from jsonargparse import ActionConfigFile, ArgumentParser, Namespace
from rich.console import Console

from hepgen import taggers
from hepgen.atomic import replacing
from hepgen.data import Features
from hepgen.io.errors import InputError, MissingFile, MissingName, WrongType
from hepgen.io.write import write
from hepgen.sample import JetSample
from hepgen.taggers import Tagger
from hepgen.training import fit

__all__ = ["pipeline_parser", "train", "train_from_words"]

KEYS = ("data", "features", "model", "fit", "output", "seed")


def train_from_words(words: Sequence[str]) -> Path:
    """Train as a pipeline and its overrides say: ``hepgen train PIPELINE.yaml --model.k 12``.

    Args:
        words: a YAML file, and options that override its keys.

    Returns:
        The folder of the run.

    Raises:
        InputError: the pipeline has a key, tagger or argument that does not exist or a value of the
            wrong type, or the jets cannot be read.
        ValueError: what `hepgen.fit` raises.
    """
    parser = pipeline_parser()
    words = list(words)
    if words and not words[0].startswith("-"):
        _check_file(parser, Path(words[0]))
        words.insert(0, "--config")
    _check_taggers(words)
    try:
        chosen = parser.parse_args(words)
    except ArgumentError as error:
        raise WrongType(f"pipeline: {error}") from error
    name = Path(words[1]).stem if words[0] == "--config" else "train"
    output = Path(chosen.output or f"runs/{name}")
    return train(
        JetSample(**_plain(chosen.data)),
        Features(**_plain(chosen.features)),
        chosen.model.class_path.rsplit(".", 1)[-1],
        _plain(chosen.model.init_args),
        output=output,
        seed=chosen.seed,
        resolved=parser.dump(chosen, skip_none=False),
        **_plain(chosen.fit),
    )


def pipeline_parser() -> ArgumentParser:
    """The keys of a pipeline, from the signatures of what they configure."""
    parser = ArgumentParser(
        prog="hepgen train",
        usage="hepgen train PIPELINE.yaml [--model.k 12 ...]",
        description="Train a tagger as a pipeline says. Options override keys of the YAML.",
        exit_on_error=False,
    )
    parser.add_argument("--config", action=ActionConfigFile, help="the pipeline, a YAML file")
    parser.add_argument("--output", type=str | None, help="folder of the run; runs/<pipeline>")
    parser.add_argument("--seed", type=int, default=0, help="of splitting, weights and training")
    parser.add_class_arguments(JetSample, "data")
    # Names only: a function in a YAML would be code.
    parser.add_argument("--features.names", type=str | list[str], default="kinematics")
    parser.add_class_arguments(Features, "features", skip={"names"})
    of_class = {"features", "classes"}
    parser.add_subclass_arguments(Tagger, "model", skip=of_class, required=True, instantiate=False)
    filled = {"model", "train", "validation", "output", "seed", "optimizer", "schedule"}
    parser.add_function_arguments(fit, "fit", skip=filled)
    parser.add_argument("--fit.optimizer", type=str, default="adamw", help="its name")
    parser.add_argument("--fit.schedule", type=str, default="one_cycle", help="its name")
    return parser


def train(
    sample: JetSample,
    features: Features,
    model: str,
    arguments: Mapping[str, Any] | None = None,
    *,
    output: str | Path,
    seed: int = 0,
    resolved: str | None = None,
    progress: bool = True,
    **options: Any,
) -> Path:
    """Read jets, train a tagger, and score the jets that were kept for the test.

    Args:
        sample: which jets.
        features: what enters of each constituent.
        model: name of a tagger of `hepgen.taggers`.
        arguments: of its architecture.
        output: folder of the run. Besides what `hepgen.fit` writes it gets ``pipeline.yaml`` and,
            if jets were kept for the test, ``test.root`` with their scores, labels and kinematics.
        seed: decides the division of the jets, the first weights and the training.
        resolved: text of ``pipeline.yaml``.
        progress: show bars and what is being done.
        **options: arguments of `hepgen.fit`.

    Returns:
        The folder of the run.

    Raises:
        InputError: the jets cannot be read, or there is no such tagger.
        ValueError: what `hepgen.fit` raises.
    """
    folder, say = Path(output), Console(quiet=not progress).print
    cls = _tagger(model)
    parts = sample.parts(features, seed=seed, progress=progress)
    classes = sample.classes(parts.train)
    schema = parts.train.attrs.get("schema")
    sizes = ", ".join(
        f"{0 if part is None else len(part)} {name}" for name, part in parts._asdict().items()
    )
    say(f"jets ({schema}): {sizes}; classes {', '.join(classes)}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tagger = cls(features, classes, **(arguments or {}))
    count = sum(p.numel() for p in tagger.parameters())
    say(f"{model}: {count} parameters, {len(features)} features; run in {folder}")
    fit(
        tagger,
        parts.train,
        validation=parts.validation,
        output=folder,
        seed=seed,
        progress=progress,
        **options,
    )
    if resolved is not None:
        with replacing(folder / "pipeline.yaml") as temporary:
            temporary.write_text(resolved)
    if parts.test is not None:
        _score(tagger, parts.test, classes, sample.keep, folder / "test.root", progress)
        say(f"scores of {len(parts.test)} test jets in {folder / 'test.root'}")
    say(f"next: hepgen predict {folder / 'model.safetensors'} FILES -o scores/")
    return folder


def _score(
    tagger: Tagger,
    jets: ak.Array,
    classes: Sequence[str],
    keep: Sequence[str],
    path: Path,
    progress: bool,
) -> None:
    """Write scores, labels and kinematics of jets, one row a jet."""
    scores = tagger.predict(jets, progress=progress)
    columns: dict[str, Any] = {f"score_{c}": scores[:, i] for i, c in enumerate(classes)}
    ours = ("pt", "eta", "phi", "mass", "weight", "entry", "jet_index", "file_index")
    names = [*(f"label_{c}" for c in classes), *ours, *keep]
    columns |= {name: jets[name] for name in names if name in ak.fields(jets)}
    write(path, columns, overwrite=True)


def _tagger(name: str) -> type[Tagger]:
    known = [n for n in taggers.__all__ if n != "Tagger" and inspect.isclass(getattr(taggers, n))]
    if name not in known:
        raise MissingName.among(name, known, kind="tagger", where="hepgen.taggers")
    return getattr(taggers, name)  # type: ignore[no-any-return]


def _plain(chosen: Namespace | None) -> dict[str, Any]:
    return {} if chosen is None else dict(vars(chosen))


def _check_file(parser: ArgumentParser, path: Path) -> None:
    """Find misspelt keys before jsonargparse does, to name the nearest right ones."""
    if not path.is_file():
        raise MissingFile(f"no pipeline {path}; wanted a YAML file")
    try:
        keys = yaml.safe_load(path.read_text())
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is no YAML file: {error}") from error
    if not isinstance(keys, dict):
        raise WrongType(f"{path} should hold the keys {', '.join(KEYS)}, not {keys!r}")
    _check_keys(keys, KEYS, str(path))
    options = {word for action in parser._actions for word in action.option_strings}
    for group in ("data", "features", "fit"):
        known = [
            word.removeprefix(f"--{group}.") for word in options if word.startswith(f"--{group}.")
        ]
        _check_keys(keys.get(group) or {}, known, f"{group} of {path}")
    model = keys.get("model")
    name = model.get("class_path") if isinstance(model, dict) else model
    if name is None:
        raise MissingName.among("model", keys, kind="key", where=f"{path}, or no class_path in it")
    _check_tagger_name(str(name))
    if isinstance(model, dict):
        _check_keys(model, ("class_path", "init_args"), f"model of {path}")
        signature = inspect.signature(_tagger(str(name).rsplit(".", 1)[-1]))
        known = [n for n in signature.parameters if n not in ("features", "classes")]
        _check_keys(model.get("init_args") or {}, known, f"model.init_args of {path} ({name})")


def _check_keys(keys: Mapping[str, Any], known: Sequence[str], where: str) -> None:
    if not isinstance(keys, Mapping):
        raise WrongType(f"{where} should hold keys and values, not {keys!r}")
    for key in keys:
        if key not in known:
            raise MissingName.among(str(key), known, kind="key", where=where)


def _check_taggers(words: Sequence[str]) -> None:
    """A class may be named on the command line too."""
    for i, word in enumerate(words):
        option, _, value = word.partition("=")
        if option in ("--model", "--model.class_path"):
            _check_tagger_name(value or (words[i + 1] if i + 1 < len(words) else ""))


def _check_tagger_name(name: str) -> None:
    """Only taggers of hepgen: an import path from a file would run the module it names."""
    _tagger(name.removeprefix("hepgen.taggers."))
