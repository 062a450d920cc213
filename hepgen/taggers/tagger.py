"""What every tagger is: jets in, one logit for each class out.

Shapes: B jets, N constituents of all jets end to end, F features, K classes.
"""

from __future__ import annotations

import inspect
import json
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hepgen.data import Batch, Batches, Features, JetFiles, PackedJets, StreamedBatches
from hepgen.taggers.threads import map_in_threads

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["Paper", "Tagger"]


@dataclass(frozen=True)
class Paper:
    """Where an architecture is from.

    Attributes:
        authors: as they are cited.
        title: of the paper.
        published: journal, volume, year, page.
        arxiv: number on arXiv.
    """

    authors: str
    title: str
    published: str
    arxiv: str


class Tagger(nn.Module, ABC):
    """Jets to class probabilities.

    A tagger is a subclass with ``__init__(self, features, classes, ...)`` and ``forward``. Other
    arguments of ``__init__`` have defaults and are kept as attributes of their own names, as in
    scikit-learn, so that a model file can hold them. ``forward`` must not depend on the order of
    constituents or on the other jets of the batch. ``predict`` on a CPU runs it in several threads
    at once.

    Args:
        features: what enters of each constituent; they have F names.
        classes: names of the K classes, in the order of the logits.

    Attributes:
        features: as given.
        classes: as given, a tuple.
        width: number of outputs of ``forward`` for a jet, that of the last layer.
        inputs: tensors of a batch that ``forward`` reads, besides ``ptr``.
        paper: where the architecture is from; None for one's own.
        chunk: jets that a thread of a CPU takes at a time in ``predict``, so that they stay in its
            cache.

    Raises:
        ValueError: no features, fewer than two classes, or two of one name.
        TypeError: the classes are no sequence of names.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x",)
    paper: ClassVar[Paper | None] = None
    chunk: ClassVar[int] = 64

    def __init__(self, features: Features, classes: Sequence[str]) -> None:
        super().__init__()
        if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
            raise TypeError(f"classes should be a sequence of names, not {classes!r}")
        if len(classes) < 2 or len(set(classes)) < len(classes):
            raise ValueError(
                f"classes should be two or more, of different names, not {list(classes)}"
            )
        if len(features) == 0:
            raise ValueError("a tagger needs one feature at least")
        self.features = features
        self.classes = tuple(classes)
        self.width = len(self.classes)

    @abstractmethod
    def forward(self, jets: Batch) -> Tensor:
        """Logits of some jets.

        Args:
            jets: packed jets, see `hepgen.data.make_batch`.

        Returns:
            Shape (B, K); a jet without constituents has logits too.
        """

    def loss(self, jets: Batch) -> Tensor:
        """Mean over the jets of weight times cross entropy, at least in float32.

        Args:
            jets: packed jets with ``y``; those without ``weight`` count as 1. Weights may be
                negative; they are not normalised here.

        Returns:
            A scalar, 0 for a batch of no jets.

        Raises:
            ValueError: the batch lacks labels, an input, or has another number of features.
        """
        self._check(jets, "y")
        logits = self(jets)
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        losses = functional.cross_entropy(logits, jets.y, reduction="none")
        if jets.get("weight") is not None:
            losses = losses * jets.weight
        mean: Tensor = losses.sum() / max(1, losses.shape[0])
        return mean

    def accuracy(self, jets: Batch) -> Tensor:
        """Share of the jets whose highest logit is that of their class, without weights.

        Args:
            jets: packed jets with ``y``.

        Returns:
            A scalar, NaN for a batch of no jets.

        Raises:
            ValueError: the batch lacks labels, an input, or has another number of features.
        """
        self._check(jets, "y")
        right: Tensor = self(jets).argmax(dim=1) == jets.y
        return right.float().mean()

    def batches(
        self,
        jets: ak.Array | PackedJets | JetFiles,
        *,
        batch_size: int = 256,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        class_weights: Literal["balanced"] | Mapping[str, float] | None = None,
    ) -> Batches | StreamedBatches:
        """Batches to train on.

        Args:
            jets: as `hepgen.io.read` gives them with labels, packed already, or still in files.
            batch_size: jets in a batch on each rank.
            shuffle: whether each epoch has its own random order.
            seed: of the orders.
            rank: which of the processes that train together this is.
            world_size: number of these processes.
            class_weights: factors on the weights of the classes, see `PackedJets.pack`.

        Returns:
            Something with ``len()`` and ``epoch(epoch, start)``.

        Raises:
            ValueError: class weights for jets that are packed already, and what packing raises.
        """
        if isinstance(jets, JetFiles):
            return jets.batches(
                self.features,
                self.classes,
                batch_size=batch_size,
                shuffle=shuffle,
                seed=seed,
                rank=rank,
                world_size=world_size,
                class_weights=class_weights,
            )
        if not isinstance(jets, PackedJets):
            jets = PackedJets.pack(jets, self.features, self.classes, class_weights=class_weights)
        elif class_weights is not None:
            raise ValueError(
                "class_weights are for jets that are not packed yet; give them to PackedJets.pack"
            )
        return Batches(jets, batch_size, shuffle, seed, rank, world_size)

    def predict(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        progress: bool = False,
    ) -> NDArray[np.float32]:
        """Probabilities of the classes.

        Args:
            jets: as `hepgen.io.read` gives them, or packed already.
            batch_size: jets scored at a time. On a CPU each thread takes ``chunk`` of them at most.
            device: where to compute; where the weights are if not given. The model returns there.
            progress: show a bar.

        Returns:
            Shape (B, K), float32, in the order of the jets; rows sum to 1. Shape (0, K) of no jets.

        Raises:
            ValueError: ``batch_size`` < 1, or other features than the model's in packed jets.
        """
        if batch_size < 1:
            raise ValueError(f"batch_size should be at least 1, not {batch_size}")
        if not isinstance(jets, PackedJets):
            jets = PackedJets.pack(jets, self.features)
        packed = jets
        with self._evaluating(device) as place, torch.inference_mode():
            on_cpu = place.type == "cpu"
            step = min(batch_size, self.chunk) if on_cpu else batch_size
            slices = [slice(i, i + step) for i in range(0, len(packed), step)]
            advance = _Bar(len(packed), progress)

            def score(some: slice) -> NDArray[np.float32]:
                batch = packed.batch(some).to(place)
                self._check(batch)
                scores = functional.softmax(self(batch).float(), dim=1).cpu().numpy()
                advance(len(scores))
                return scores

            with advance:
                # A compiled model is not to be entered by several threads.
                alone = not on_cpu or self._compiled_call_impl is not None
                parts = list(map(score, slices)) if alone else map_in_threads(score, slices)
        return np.concatenate([np.empty((0, len(self.classes)), np.float32), *parts])

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor besides features and classes, as JSON can hold them.

        Returns:
            Name -> value, sequences as lists: ``type(tagger)(features, classes, **config)`` is the
            same architecture.

        Raises:
            TypeError: the tagger does not keep an argument as an attribute of its name, or JSON
                cannot hold it.
        """
        values = {}
        for name, parameter in inspect.signature(type(self)).parameters.items():
            if name in ("features", "classes"):
                continue
            told = f"argument {name!r} of {type(self).__name__}"
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                raise TypeError(f"{told} should be a named one, to be kept with the model")
            if not hasattr(self, name):
                raise TypeError(f"{told} should be kept as self.{name}, to be kept with the model")
            try:
                values[name] = json.loads(json.dumps(getattr(self, name)))
            except TypeError as error:
                raise TypeError(f"{told} should be what JSON can hold: {error}") from error
        return values

    def save(self, path: str | Path) -> None:
        """Write weights, features, classes and configuration into one file.

        Args:
            path: ``*.safetensors``; `hepgen.checkpoint.load` reads it.

        Raises:
            CheckpointError: the configuration is not JSON-able.
            OSError: the file cannot be written.
        """
        from hepgen import checkpoint

        checkpoint.save(self, path)

    def _check(self, jets: Batch, *more: str) -> None:
        """A clear error where a batch is not of this tagger."""
        name = type(self).__name__
        lacking = [tensor for tensor in (*self.inputs, *more) if jets.get(tensor) is None]
        if lacking:
            hint = "; labels come with PackedJets.pack(jets, features, classes)" if more else ""
            raise ValueError(
                f"{name} needs {', '.join(lacking)} of a batch, which has {jets.keys()}{hint}"
            )
        if jets.x.shape[1] != len(self.features):
            raise ValueError(
                f"{name} was made for {len(self.features)} features "
                f"({', '.join(self.features.names)}), the batch has {jets.x.shape[1]}"
            )

    @contextmanager
    def _evaluating(self, device: str | torch.device | None) -> Iterator[torch.device]:
        """Evaluation mode on some device; afterwards everything is as before."""
        modes = {module: module.training for module in self.modules()}
        home = next((p.device for p in self.parameters()), torch.device("cpu"))
        place = home if device is None else torch.device(device)
        try:
            self.eval().to(place)
            yield place
        finally:
            for module, mode in modes.items():
                module.training = mode
            self.to(home)


class _Bar:
    """A progress bar that threads may advance, or nothing."""

    def __init__(self, total: int, visible: bool) -> None:
        from rich.progress import Progress

        self._bar = Progress(disable=not visible)
        self._task = self._bar.add_task("predict", total=total)

    def __enter__(self) -> None:
        self._bar.__enter__()

    def __exit__(self, *exception: Any) -> None:
        self._bar.__exit__(*exception)

    def __call__(self, jets: int) -> None:
        self._bar.advance(self._task, jets)
