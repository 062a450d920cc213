"""Training a simulator from one YAML file.

.. code-block:: yaml

    data:
      files: electrons.hdf5
      geometry: ds2
    model: CaloINN              # or {class_path: CaloINN, init_args: {blocks: 8}}
    fit: {epochs: 100}
    seed: 1

Each key is an argument of the class or function it configures; what ``fit`` leaves out is as the
simulator's own defaults say. A pipeline can name no class but the simulators of hepgen.
"""

from __future__ import annotations

import inspect
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from jsonargparse import ArgumentParser
from rich.console import Console

from hepgen import calorimeter, simulators
from hepgen.io.errors import MissingName, WrongType
from hepgen.pipeline_folder import told_in
from hepgen.pipeline_keys import check_pipeline, open_parser, read_yaml
from hepgen.shower_sample import ShowerParts, ShowerSample
from hepgen.simulators import Conditions, Simulator
from hepgen.training import fit
from hepgen.training.ranks import is_first_rank

__all__ = [
    "ShowerPipeline",
    "find_simulator",
    "names_simulator",
    "read_shower_pipeline",
    "shower_parser",
    "train_simulator",
]


@dataclass(frozen=True)
class ShowerPipeline:
    """What a YAML and the options after it say.

    Attributes:
        sample: which showers.
        model: name of the simulator.
        arguments: of its architecture.
        options: arguments of its ``fit`` that were given.
        output: folder of the run.
        seed: of the division, weights and training.
        resolved: the same as YAML, with all defaults of what is read.
    """

    sample: ShowerSample
    model: str
    arguments: dict[str, Any]
    options: dict[str, Any]
    output: Path
    seed: int
    resolved: str


def find_simulator(name: str) -> type[Simulator]:
    """The simulator of a name.

    Args:
        name: of a class in `hepgen.simulators`, with or without that before it.

    Raises:
        MissingName: there is none.
    """
    short = name.removeprefix("hepgen.simulators.")
    known = _simulators()
    if short not in known:
        raise MissingName.among(short, known, kind="simulator", where="hepgen.simulators")
    found: type[Simulator] = getattr(simulators, short)
    return found


def names_simulator(words: Sequence[str]) -> bool:
    """Whether a pipeline and its overrides are of a simulator.

    Args:
        words: as of ``hepgen train``.
    """
    content: Mapping[str, Any] = {}
    if words and not words[0].startswith("-") and Path(words[0]).is_file():
        content = read_yaml(Path(words[0]))
    name = _model_of(content, words)
    return name is not None and name.removeprefix("hepgen.simulators.") in _simulators()


def read_shower_pipeline(words: Sequence[str]) -> ShowerPipeline:
    """What a pipeline and its overrides say; nothing is read but the YAML.

    Args:
        words: a YAML file, and options that override its keys.

    Raises:
        InputError: a key, simulator or argument does not exist, or a value has the wrong type.
    """
    words = list(words)
    path = Path(words.pop(0)) if words and not words[0].startswith("-") else None
    content = {} if path is None else dict(read_yaml(path))
    parser = shower_parser()
    where = "the options" if path is None else str(path)
    check_pipeline(
        parser,
        content,
        words,
        where=where,
        find=find_simulator,
        without=("geometry", "conditions"),
        groups=("data", "fit"),
    )
    before = ["--config", yaml.safe_dump(content, sort_keys=False)] if content else []
    try:
        chosen = parser.parse_args([*before, *words])
    except ArgumentError as error:
        raise WrongType(f"pipeline: {error}") from error
    options = chosen.fit.as_dict()
    name = "train" if path is None else path.stem
    data = chosen.data.as_dict()
    merge = data.pop("merge")
    sample = ShowerSample(**data)
    if merge:
        sample.merge = type(sample.merge)(**merge)
    return ShowerPipeline(
        sample,
        chosen.model.class_path.rsplit(".", 1)[-1],
        chosen.model.init_args.as_dict() if chosen.model.init_args else {},
        {key: value for key, value in options.items() if value is not None},
        Path(chosen.output or f"runs/{name}"),
        chosen.seed,
        parser.dump(chosen),
    )


def shower_parser() -> ArgumentParser:
    """The keys of a pipeline, from the signatures of what they configure."""
    told, decided = "Train a simulator as a pipeline says.", "of division, weights and training"
    parser = open_parser("train", "--model.blocks 12", told, seed=decided)
    parser.add_class_arguments(ShowerSample, "data")
    of_class = {"geometry", "conditions"}
    parser.add_subclass_arguments(
        Simulator, "model", skip=of_class, required=True, instantiate=False
    )
    filled: set[str | int] = {"model", "train", "validation", "output", "seed", "class_weights"}
    own = {n: p for n, p in inspect.signature(fit).parameters.items() if n not in filled}
    for name, parameter in own.items():
        # None is what the simulator's own recipe says.
        kind = str if name in ("optimizer", "schedule") else _evaluated(name)
        told = f"see hepgen.fit ({parameter.default!r} there); else as the simulator's recipe says"
        parser.add_argument(f"--fit.{name}", type=kind | None, default=None, help=told)
    turned = "turn showers about the axis, where the calorimeter is symmetric"
    parser.add_argument("--fit.augment", type=bool | None, default=None, help=turned)
    staged = "arguments for some of the stages alone, {student: {epochs: 20}}"
    parser.add_argument(
        "--fit.stages", type=dict[str, dict[str, Any]] | None, default=None, help=staged
    )
    return parser


def train_simulator(pipeline: ShowerPipeline, *, progress: bool = True) -> Path:
    """Read showers, train a simulator, and make showers like those that were kept for the test.

    Args:
        pipeline: what to do.
        progress: show bars and what is being done.

    Returns:
        The folder of the run. Besides what `Simulator.fit` writes it gets ``pipeline.yaml`` and, if
        showers were kept for the test, those in ``test.hdf5`` and as many of the simulator, of the
        same energies, in ``generated.hdf5``.

    Raises:
        InputError: the showers cannot be read, or there is no such simulator.
        ValueError: what `Simulator.fit` raises.
    """
    from hepgen.generation import generate

    options = {"progress": progress, **pipeline.options}
    progress = options["progress"] and is_first_rank()
    # Lines as they are: a command that is cut in two cannot be copied.
    say = Console(quiet=not progress, highlight=False, soft_wrap=True).print
    folder = pipeline.output
    parts = pipeline.sample.parts(seed=pipeline.seed)
    counts = [0 if part is None else len(part) for part in parts]
    say("showers: {} to train on, {} for validation, {} for the test".format(*counts))
    cls = find_simulator(pipeline.model)
    with torch.random.fork_rng():
        torch.manual_seed(pipeline.seed)
        simulator = cls(parts.train.geometry, _range_of(pipeline, parts), **pipeline.arguments)
    count = sum(p.numel() for p in simulator.parameters())
    say(f"{pipeline.model}: {count:,} parameters, {simulator.geometry}; run in {folder}")
    with told_in(folder, pipeline.resolved):
        simulator.fit(
            parts.train,
            validation=parts.validation,
            output=folder,
            seed=pipeline.seed,
            **options,
        )
    if not is_first_rank():
        return folder
    if parts.test is not None:
        calorimeter.write(folder / "test.hdf5", parts.test, overwrite=True)
        generate(
            simulator,
            like=parts.test,
            output=folder / "generated.hdf5",
            seed=pipeline.seed,
            # Where it was trained: on a CPU the showers of a slow simulator would take days.
            devices=str(simulator.device),
            overwrite=True,
            progress=progress,
        )
        generated, test = folder / "generated.hdf5", folder / "test.hdf5"
        say(f"next: hepgen evaluate {generated} --reference {test} -o {folder / 'evaluation'}")
    say(f"next: hepgen generate {folder / 'model.safetensors'} -n 10000 -o showers.root")
    return folder


def _range_of(pipeline: ShowerPipeline, parts: ShowerParts) -> Conditions:
    """Of all showers of the sample: those that were held back are of the same law."""
    held_out = [parts.validation]
    if pipeline.sample.test_files is None:
        held_out.append(parts.test)
    some = [parts.train, *(part for part in held_out if part is not None)]
    return pipeline.sample.law(some)


def _evaluated(name: str) -> Any:
    """The type of an argument of the trainer, which stands there as text."""
    import typing

    from hepgen.training import loop

    return typing.get_type_hints(loop.fit)[name]


def _simulators() -> list[str]:
    found = []
    for name in simulators.__all__:
        one = getattr(simulators, name)
        if inspect.isclass(one) and issubclass(one, Simulator) and not inspect.isabstract(one):
            found.append(name)
    return found


def _model_of(content: Mapping[str, Any], words: Sequence[str]) -> str | None:
    for i, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option in ("--model", "--model.class_path") and (equals or i + 1 < len(words)):
            return value if equals else words[i + 1]
    model = content.get("model")
    named = model.get("class_path") if isinstance(model, Mapping) else model
    return None if named is None else str(named)
