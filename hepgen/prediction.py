"""Scores of whole files: jets are read, scored and written chunk by chunk, in entry order."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import awkward as ak
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hepgen.checkpoint import CheckpointError, load
from hepgen.io import expand, iterate
from hepgen.io.errors import EmptyInput, OutputExists
from hepgen.io.files import Files, FileSpec
from hepgen.io.friend_layout import with_tree
from hepgen.io.friends import FriendWriter, output_paths

__all__ = ["Scorer", "predict_files"]


@runtime_checkable
class Scorer(Protocol):
    """What gives jets scores; each tagger does.

    One that gives more than probabilities of classes has names of all columns in ``score_names``,
    those of the classes among them; one that tells their uncertainties too has ``column_names``
    and ``predict_columns``, of which the former are a part.
    """

    classes: tuple[str, ...]

    def predict(
        self, jets: ak.Array, *, batch_size: int = 256, device: Any = None, progress: bool = False
    ) -> NDArray[np.float32]:
        """Scores (B, S) in the order of the jets."""
        ...


def predict_files(
    model: Scorer | str | PathLike[str],
    files: Files,
    output: str | Path,
    *,
    tree: str | None = None,
    schema: str | None = None,
    collection: str | None = None,
    where: str | None = None,
    observers: Sequence[str] = (),
    name: str | None = None,
    copy: bool | None = None,
    batch_size: int = 256,
    device: str | None = None,
    step: str = "100 MB",
    overwrite: bool = False,
    resume: bool = False,
    progress: bool = True,
) -> list[Path]:
    """Score the jets of files, and write one ROOT file for each, with a row for each entry.

    The output is a friend tree: ``score_<class>`` where an entry is a jet, lists
    ``<Jet>_<model>_<class>`` where it is an event, with run and event numbers where the input has
    them. What a model tells besides classes stands there under its own name, such as
    ``mass_mean`` or ``<Jet>_<model>_mass_mean``. Jets that ``where`` leaves out have
    NaN. ROOT knows no friends of an RNTuple, so the output of one is a full copy with the scores
    added.

    Args:
        model: a tagger, anything with ``predict(jets)`` and ``classes``, or a model file.
        files: what `hepgen.read` takes.
        output: for one input a file ending in ``.root``; else a folder, made if needed.
        tree: name of the tree in the input, where it holds several.
        schema: which branches are which standard field; recognised if not given.
        collection: which jets of an event, such as ``FatJet``.
        where: score only these jets, an expression such as ``pt > 500``.
        observers: branches of the input, or fields of the jets such as ``pt``, to write as well.
        name: the model's name in the branches of lists; the name of its class if not given.
        copy: write a full copy of the input with the scores; by default only for an RNTuple.
        batch_size: jets scored at a time.
        device: where to score, such as "cuda"; by default where the model is.
        step: how much of a file is read at a time.
        overwrite: replace outputs that exist.
        resume: leave outputs that exist as they are; they are complete, as files get their name
            only at the end.
        progress: show a bar.

    Returns:
        The files, one for each input, in their order.

    Raises:
        InputError: an input cannot be read or has no jets; two inputs of one name.
        OutputExists: an output exists, and neither ``overwrite`` nor ``resume`` is set.
        NonFinite: NaN or infinite features.
        CheckpointError: the model file is damaged, or holds something else than a tagger.
    """
    if isinstance(model, (str, PathLike)):
        model = _load(model)
    specs = expand(files)
    outputs = _outputs(output, specs)
    taken = [path for path in outputs if path.exists()]
    if taken and not (overwrite or resume):
        raise OutputExists(
            f"{taken[0]} exists{f', and {len(taken) - 1} more' if taken[1:] else ''}; "
            "overwrite replaces outputs, resume leaves those that are there"
        )
    features = getattr(model, "features", None)
    reading: dict[str, Any] = {"schema": schema, "collection": collection, "where": where}
    reading |= {"fields": getattr(features, "fields", None), "step": step}
    writing: dict[str, Any] = {"schema": schema, "collection": collection, "observers": observers}
    writing |= {"name": name or type(model).__name__, "overwrite": overwrite}
    names = getattr(model, "score_names", model.classes)
    predict = model.predict
    if hasattr(model, "predict_columns"):
        told: Any = model
        names, predict = told.column_names, told.predict_columns
    writing["estimates"] = [column for column in names if column not in model.classes]
    writing["metadata"] = {"weights": _hash(model)}
    with _bar(progress) as bar:
        for spec, path in zip(specs, outputs, strict=True):
            if path in taken and resume:
                bar.console.print(f"{path} is there already")
                continue
            spec = with_tree(spec, tree, schema)
            with FriendWriter(path, of=spec, classes=names, copy=copy, **writing) as writer:
                task = bar.add_task(spec.name, total=writer.num_entries)
                for jets in _jets(spec, reading, alone=len(specs) == 1):
                    scores = predict(jets, batch_size=batch_size, device=device)
                    writer.extend(scores, jets)
                    bar.update(task, completed=int(jets["entry"][-1]) + 1)
            bar.update(task, completed=writer.num_entries)
    return outputs


def _load(path: str | PathLike[str]) -> Scorer:
    model = load(Path(path))
    if not isinstance(model, Scorer):
        raise CheckpointError(f"{path} holds {type(model).__name__}, which gives jets no scores")
    return model


def _jets(spec: FileSpec, reading: Mapping[str, Any], *, alone: bool) -> Iterator[ak.Array]:
    """The jets of one file; one of several files may have none, and gets rows of NaN."""
    try:
        yield from iterate(spec, **reading)
    except EmptyInput as error:
        if alone:
            raise
        warnings.warn(f"rows without scores: {error}", stacklevel=3)


def _outputs(output: str | Path, specs: Sequence[FileSpec]) -> list[Path]:
    """Where each output goes; the folder is made."""
    path = Path(output)
    if path.suffix != ".root" or len(specs) > 1:
        path.mkdir(parents=True, exist_ok=True)
    else:
        path.parent.mkdir(parents=True, exist_ok=True)
    return output_paths(path, specs)


def _hash(model: Scorer) -> str | None:
    """A fingerprint of the weights, to tell later which model gave the scores."""
    state = getattr(model, "state_dict", None)
    if state is None:
        return None
    digest = hashlib.sha256()
    for name, tensor in state().items():
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]


def _bar(progress: bool) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console(stderr=True, quiet=not progress)
    return Progress(*columns, TextColumn("entries"), TimeRemainingColumn(), console=console)
