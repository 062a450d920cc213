"""A training run from one YAML file: jets, features, tagger, training, all kept in one folder.

Each key of the YAML is an argument of the class or function it configures, so signatures and their
annotations are the only schema and the only place of defaults. A pipeline can name no class but the
taggers of hepgen: reading one imports and runs nothing else.
"""

from __future__ import annotations

import json
from argparse import ArgumentError
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import torch
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from hepgen.atomic import replacing
from hepgen.data import Features, JetFiles
from hepgen.io import expand, write
from hepgen.io.errors import WrongType
from hepgen.io.friends import METADATA
from hepgen.pipeline_keys import check_pipeline, find_tagger
from hepgen.prediction import predict_files
from hepgen.sample import JetSample, Parts
from hepgen.taggers import Tagger
from hepgen.training import fit

__all__ = ["pipeline_parser", "train", "train_from_words"]


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
    path = Path(words.pop(0)) if words and not words[0].startswith("-") else None
    check_pipeline(parser, path, words)
    if path is not None:
        words = ["--config", str(path), *words]
    try:
        chosen = parser.parse_args(words)
    except ArgumentError as error:
        raise WrongType(f"pipeline: {error}") from error
    output = Path(chosen.output or f"runs/{'train' if path is None else path.stem}")
    return train(
        JetSample(**_plain(chosen.data)),
        Features(**_plain(chosen.features)),
        chosen.model.class_path.rsplit(".", 1)[-1],
        _plain(chosen.model.init_args),
        output=output,
        seed=chosen.seed,
        resolved=parser.dump(chosen),
        **_plain(chosen.fit),
    )


def pipeline_parser() -> ArgumentParser:
    """The keys of a pipeline, from the signatures of what they configure."""
    parser = ArgumentParser(
        prog="hepgen train",
        usage="hepgen train PIPELINE.yaml [--model.k 12 ...]",
        description="Train a tagger as a pipeline says. Options override keys of the YAML.",
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("--config", action="config", help="the pipeline, a YAML file")
    parser.add_argument("--output", type=str | None, help="folder of the run; runs/<pipeline>")
    parser.add_argument("--seed", type=int, default=0, help="of splitting, weights and training")
    parser.add_class_arguments(JetSample, "data")
    # Names only: a function in a YAML would be code.
    parser.add_argument("--features.names", type=str | list[str], default="kinematics")
    parser.add_class_arguments(Features, "features", skip={"names"})
    of_class = {"features", "classes"}
    parser.add_subclass_arguments(Tagger, "model", skip=of_class, required=True, instantiate=False)
    filled: set[str | int] = {
        "model",
        "train",
        "validation",
        "output",
        "seed",
        "optimizer",
        "schedule",
    }
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
    cls = find_tagger(model)
    parts = sample.parts(features, seed=seed, progress=progress)
    classes = sample.classes(parts.train)
    say(f"{'; '.join(map(_told, Parts._fields, parts))}; classes {', '.join(classes)}")
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tagger = cls(features, classes, **(arguments or {}))
    count = sum(p.numel() for p in tagger.parameters())
    say(f"{model}: {count} parameters, {len(features)} features; run in {folder}")
    with _told_in(folder, resolved):
        fit(
            tagger,
            parts.train,
            validation=parts.validation,
            output=folder,
            seed=seed,
            progress=progress,
            **options,
        )
    if isinstance(parts.test, JetFiles):
        wanted = {name: parts.test.options[name] for name in ("schema", "collection", "where")}
        predict_files(tagger, parts.test.files, folder / "test", resume=True, **wanted)
        say(f"friend trees with the scores of the test jets in {folder / 'test'}")
    elif parts.test is not None:
        _score(tagger, parts.test, classes, sample.keep, folder / "test.root", progress)
        say(f"scores of {len(parts.test)} test jets in {folder / 'test.root'}")
    say(f"next: hepgen predict {folder / 'model.safetensors'} FILES -o scores/")
    return folder


@contextmanager
def _told_in(folder: Path, resolved: str | None) -> Iterator[None]:
    """Keep ``pipeline.yaml`` from the start of a run, but not if the run does not begin."""
    if resolved is None or (folder / "run.json").exists():
        yield
        return
    new = not folder.exists()
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "pipeline.yaml"
    with replacing(path) as temporary:
        temporary.write_text(resolved)
    try:
        yield
    finally:
        if not (folder / "run.json").exists():
            path.unlink()
            if new:
                folder.rmdir()


def _told(name: str, jets: Any) -> str:
    """How many jets a part has, or files."""
    if jets is None:
        return f"{name}: none"
    if isinstance(jets, JetFiles):
        return f"{name}: {len(expand(jets.files))} files"
    return f"{name}: {len(jets)} jets ({jets.attrs.get('schema')})"


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
    about = {"model": type(tagger).__name__, "classes": list(classes)}
    write(path, columns, overwrite=True, metadata={METADATA: json.dumps(about)})


def _plain(chosen: Namespace | None) -> dict[str, Any]:
    return {} if chosen is None else dict(vars(chosen))
