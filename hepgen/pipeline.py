"""A training run from one YAML file: jets, features, tagger, training, all kept in one folder.

Each key of the YAML is an argument of the class or function it configures, so signatures and their
annotations are the only schema and the only place of defaults. A pipeline can name no class but the
taggers of hepgen: reading one imports and runs nothing else.
"""

from __future__ import annotations

import json
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import awkward as ak
import torch
import yaml
from jsonargparse import ArgumentParser, Namespace
from rich.console import Console

from hepgen.data import Features, JetFiles
from hepgen.heads import Head
from hepgen.io import expand, write
from hepgen.io.errors import WrongType
from hepgen.io.friends import METADATA
from hepgen.pipeline_folder import told_in
from hepgen.pipeline_head import HeadSpec, head_for, parts_for, sample_for
from hepgen.pipeline_keys import check_pipeline, find_tagger, open_parser, read_yaml
from hepgen.prediction import predict_files
from hepgen.sample import JetSample, Parts
from hepgen.start import Start
from hepgen.taggers import Tagger
from hepgen.training import fit
from hepgen.training.ranks import is_first_rank

__all__ = [
    "Pipeline",
    "make_tagger",
    "pipeline_parser",
    "read_pipeline",
    "resolve",
    "train",
    "train_from_words",
]


@dataclass(frozen=True)
class Pipeline:
    """What a YAML and the options after it say.

    Attributes:
        sample: which jets.
        features: what enters of each constituent.
        fit_features: whether their standardisation is taken from the training jets.
        model: name of the tagger.
        arguments: of its architecture.
        start: weights to begin with.
        options: arguments of `hepgen.fit`.
        output: folder of the run.
        seed: of splitting, weights and training.
        resolved: the same as YAML, with all defaults.
        head: what is learnt, by name and arguments; None for classes.
    """

    sample: JetSample
    features: Features
    fit_features: bool
    model: str
    arguments: dict[str, Any]
    start: Start
    options: dict[str, Any]
    output: Path
    seed: int
    resolved: str
    head: HeadSpec | None = None


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
    chosen = read_pipeline(words)
    return train(
        chosen.sample,
        chosen.features,
        chosen.model,
        chosen.arguments,
        output=chosen.output,
        seed=chosen.seed,
        fit_features=chosen.fit_features,
        start=chosen.start,
        head=chosen.head,
        resolved=chosen.resolved,
        **chosen.options,
    )


def read_pipeline(words: Sequence[str]) -> Pipeline:
    """What a pipeline and its overrides say; nothing is read but the YAML.

    Args:
        words: a YAML file, and options that override its keys.

    Raises:
        InputError: a key, tagger or argument does not exist, or a value has the wrong type.
    """
    words = list(words)
    path = Path(words.pop(0)) if words and not words[0].startswith("-") else None
    content = {} if path is None else read_yaml(path)
    where = "the options" if path is None else str(path)
    name = "train" if path is None else path.stem
    return resolve(content, words, where=where, output=f"runs/{name}")


def resolve(
    content: Mapping[str, Any],
    words: Sequence[str] = (),
    *,
    where: str = "the pipeline",
    output: str = "runs/train",
    verb: str = "train",
) -> Pipeline:
    """What the keys of a pipeline and their overrides say.

    Args:
        content: keys and values as in the YAML.
        words: options that override them.
        where: the content is from, for messages.
        output: folder of the run where neither says.
        verb: of hepgen, that the options are given to.

    Raises:
        InputError: a key, tagger or argument does not exist, or a value has the wrong type.
    """
    parser = pipeline_parser()
    check_pipeline(parser, content, words, where=where, verb=verb)
    # As text rather than as a file, whose folder would be where relative paths begin.
    before = ["--config", yaml.safe_dump(dict(content), sort_keys=False)] if content else []
    try:
        chosen = parser.parse_args([*before, *words])
    except ArgumentError as error:
        raise WrongType(f"pipeline: {error}") from error
    features = _plain(chosen.features)
    fit_features = features.pop("fit")
    return Pipeline(
        JetSample(**_plain(chosen.data)),
        Features(**features),
        fit_features,
        chosen.model.class_path.rsplit(".", 1)[-1],
        _plain(chosen.model.init_args),
        Start(**_plain(chosen.start)),
        _plain(chosen.fit),
        Path(chosen.output or output),
        chosen.seed,
        parser.dump(chosen),
        chosen.head,
    )


def pipeline_parser() -> ArgumentParser:
    """The keys of a pipeline, from the signatures of what they configure."""
    told = "Train a tagger as a pipeline says."
    parser = open_parser("train", "--model.k 12", told, seed="of splitting, weights and training")
    learnt = "what is learnt besides classes: a head of hepgen.heads, or {head: arguments}"
    parser.add_argument("--head", type=HeadSpec | None, help=learnt)
    parser.add_class_arguments(JetSample, "data")
    # Names only: a function in a YAML would be code.
    parser.add_argument("--features.names", type=str | list[str], default="kinematics")
    parser.add_class_arguments(Features, "features", skip={"names"})
    fitted = "take the standardisation from the training jets, not from the JetClass paper"
    parser.add_argument("--features.fit", type=bool, default=False, help=fitted)
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
    parser.add_class_arguments(Start, "start")
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
    fit_features: bool = False,
    start: Start | None = None,
    head: HeadSpec | None = None,
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
        fit_features: take the standardisation of the features from the training jets.
        start: weights to begin with; random ones if not given.
        head: what is learnt, as `hepgen.heads.build_head` takes it; the classes if not given. The
            columns that it needs are read and, those of the jets, written into ``test.root``.
        resolved: text of ``pipeline.yaml``.
        progress: show bars and what is being done.
        **options: arguments of `hepgen.fit`.

    Returns:
        The folder of the run.

    Raises:
        InputError: the jets cannot be read, or there is no such tagger.
        ValueError: what `hepgen.fit` raises.
    """
    progress = progress and is_first_rank()
    folder, say = Path(output), Console(quiet=not progress).print
    features = features if start is None else start.features(features)
    sample = sample_for(sample, head)
    parts = parts_for(sample, features, head, seed=seed, progress=progress)
    if fit_features:
        fit_to(features, parts.train, start)
    learnt = head_for(head, sample, parts.train, seed=seed)
    names = learnt.names if isinstance(learnt, Head) else learnt
    told = "classes" if not isinstance(learnt, Head) else f"{type(learnt).__name__} of"
    say(f"{'; '.join(map(_told, Parts._fields, parts))}; {told} {', '.join(names)}")
    tagger = make_tagger(model, features, learnt, arguments, seed=seed, start=start)
    count = sum(p.numel() for p in tagger.parameters())
    say(f"{model}: {count} parameters, {len(features)} features; run in {folder}")
    with told_in(folder, resolved):
        fit(
            tagger,
            parts.train,
            validation=parts.validation,
            output=folder,
            seed=seed,
            progress=progress,
            **options,
        )
    if not is_first_rank():
        return folder
    if isinstance(parts.test, JetFiles):
        wanted = {name: parts.test.options[name] for name in ("schema", "collection", "where")}
        predict_files(tagger, parts.test.files, folder / "test", resume=True, **wanted)
        say(f"friend trees with the scores of the test jets in {folder / 'test'}")
    elif parts.test is not None:
        _score(tagger, parts.test, sample.keep, folder / "test.root", progress)
        say(f"scores of {len(parts.test)} test jets in {folder / 'test.root'}")
    say(f"next: hepgen predict {folder / 'model.safetensors'} FILES -o scores/")
    return folder


def fit_to(features: Features, jets: Any, start: Start | None = None) -> None:
    """Take the standardisation of features from training jets.

    Args:
        features: they are changed.
        jets: an array of jets.
        start: weights to begin with, which are used to another standardisation.

    Raises:
        WrongType: the jets stay in their files, or there are weights to begin with.
    """
    if isinstance(jets, JetFiles):
        raise WrongType("features.fit needs jets in memory; leave out data.stream, or features.fit")
    if start is not None and start.weights is not None:
        raise WrongType(
            f"features.fit does not go with start.weights: {start.weights} is used to its own "
            "standardisation, which is taken over"
        )
    features.fit(jets)


def make_tagger(
    model: str,
    features: Features,
    classes: Sequence[str] | Head,
    arguments: Mapping[str, Any] | None = None,
    *,
    seed: int = 0,
    start: Start | None = None,
) -> Tagger:
    """A tagger as a pipeline describes it, its weights drawn anew or those of a file.

    Args:
        model: name of a tagger of `hepgen.taggers`.
        features: what enters of each constituent.
        classes: names of the classes, or the head.
        arguments: of its architecture.
        seed: of the first weights.
        start: weights to begin with; random ones if not given.

    Raises:
        InputError: there is no such tagger.
        CheckpointError: the weights to begin with do not fit.
    """
    cls = find_tagger(model)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        tagger = cls(features, classes, **(arguments or {}))
    if start is not None:
        start.load_into(tagger)
    return tagger


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
    keep: Sequence[str],
    path: Path,
    progress: bool,
) -> None:
    """Write scores, labels and kinematics of jets, one row a jet."""
    scores = tagger.predict(jets, progress=progress)
    classes = tagger.classes
    columns: dict[str, Any] = {
        f"score_{name}" if name in classes else name: scores[:, i]
        for i, name in enumerate(tagger.score_names)
    }
    ours = ("pt", "eta", "phi", "mass", "weight", "entry", "jet_index", "file_index")
    labels = [f"label_{c}" for c in classes]
    # Of a task without classes, those that the jets happen to have.
    labels = labels or [name for name in ak.fields(jets) if name.startswith("label_")]
    names = [*labels, *ours, *keep]
    columns |= {name: jets[name] for name in names if name in ak.fields(jets)}
    about = {"model": type(tagger).__name__, "classes": list(classes)}
    write(path, columns, overwrite=True, metadata={METADATA: json.dumps(about)})


def _plain(chosen: Namespace | None) -> dict[str, Any]:
    return {} if chosen is None else dict(vars(chosen))
