"""What every tagger is: jets in, outputs of a head out, by default one logit for each class.

Shapes: B jets, N constituents of all jets end to end, F features, K classes, S scores.
"""

from __future__ import annotations

import inspect
from abc import ABC, ABCMeta, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, cast

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepgen.arguments import kept_arguments
from hepgen.data import Batch, Batches, Features, JetFiles, PackedJets, StreamedBatches
from hepgen.heads import Classification, Head
from hepgen.paper import Paper
from hepgen.taggers.progress import Bar
from hepgen.taggers.threads import map_in_threads

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["Paper", "Tagger"]


class _Complete(ABCMeta):
    """What a tagger needs once its constructor, and that of its subclass, is through."""

    @property
    def __signature__(cls) -> inspect.Signature:
        """Of the constructor, which ``__call__`` would hide."""
        whole = inspect.signature(cls.__init__)  # type: ignore[misc]
        return whole.replace(parameters=list(whole.parameters.values())[1:])

    def __call__(cls, *arguments: Any, **named: Any) -> Any:
        made = super().__call__(*arguments, **named)
        made.add_constituent_layer()
        return made


class Tagger(nn.Module, ABC, metaclass=_Complete):
    """Jets to class probabilities, or whatever else its head gives.

    A tagger is a subclass with ``__init__(self, features, classes, ...)`` and ``forward``. Other
    arguments of ``__init__`` have defaults and are kept as attributes of their own names, as in
    scikit-learn, so that a model file can hold them. ``forward`` must not depend on the order of
    constituents or on the other jets of the batch. ``predict`` on a CPU runs it in several threads
    at once.

    Where an architecture has a vector for each constituent before it pools them, ``forward`` is
    ``self.pooled(self.latents(jets), jets)``, and ``latent_width`` the width of the vectors: labels
    of constituents (`hepgen.heads.AuxiliaryLabels`) are learnt from them.

    Args:
        features: what enters of each constituent; they have F names.
        classes: names of the K classes, in the order of the logits; or a head, a task of another
            kind (`hepgen.heads`).

    Attributes:
        features: as given.
        head: what is learnt; `Classification` of the names if names were given.
        classes: names of the classes, a tuple; empty for a head without.
        score_names: names of the S columns of ``predict``; those of the classes for classification.
        width: number of outputs of ``forward`` for a jet, that of the last layer.
        inputs: tensors of a batch that ``forward`` reads, besides ``ptr``.
        paper: where the architecture is from; None for one's own.
        chunk: jets that a thread of a CPU takes at a time in ``predict``, so that they stay in its
            cache.

    Raises:
        ValueError: no features, fewer than two classes, two of one name, or a head with labels of
            constituents and an architecture without latent vectors.
        TypeError: the classes are no sequence of names.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x",)
    paper: ClassVar[Paper | None] = None
    chunk: ClassVar[int] = 64

    def __init__(self, features: Features, classes: Sequence[str] | Head) -> None:
        super().__init__()
        head = classes if isinstance(classes, Head) else Classification(classes)
        if len(features) == 0:
            raise ValueError("a tagger needs one feature at least")
        self.features = features
        self.head = head
        self.classes = head.classes
        self.score_names = head.names
        self.width = head.width

    @abstractmethod
    def forward(self, jets: Batch) -> Tensor:
        """Logits of some jets.

        Args:
            jets: packed jets, see `hepgen.data.make_batch`.

        Returns:
            Shape (B, K); a jet without constituents has logits too.
        """

    def add_constituent_layer(self) -> None:
        """Give the head its outputs for constituents, from their latent vectors, if it wants any.

        It is called once the constructor is through.

        Raises:
            ValueError: the architecture has no latent vectors.
        """
        if not self.head.constituent_width:
            return
        if not hasattr(self, "latents"):
            from hepgen import taggers

            able = [name for name in taggers.__all__ if hasattr(getattr(taggers, name), "latents")]
            raise ValueError(
                f"{type(self.head).__name__} needs a vector for each constituent, which "
                f"{type(self).__name__} does not have; taggers with latents: {', '.join(able)}"
            )
        self.constituent_layer = nn.Linear(
            cast(int, self.latent_width), self.head.constituent_width
        )

    def outputs(self, jets: Batch) -> tuple[Tensor, Tensor | None]:
        """What the head gets.

        Args:
            jets: packed jets.

        Returns:
            Those of ``forward``, (B, width), and for a head with labels of constituents
            (N, constituent_width), else None.
        """
        if not self.head.constituent_width:
            return self(jets), None
        pooling: Any = self
        latents = pooling.latents(jets)
        return pooling.pooled(latents, jets), self.constituent_layer(latents)

    def loss(self, jets: Batch) -> Tensor:
        """Mean over the jets of weight times the loss of the head, at least in float32.

        Args:
            jets: packed jets with ``y`` for classes, and what else the head wants; those without
                ``weight`` count as 1. Weights may be negative; they are not normalised here.

        Returns:
            A scalar, 0 for a batch of no jets.

        Raises:
            ValueError: the batch lacks labels, targets, an input, or has another number of
                features; a head that was to be fitted is not.
        """
        self._check(jets, *self._to_learn())
        outputs, constituents = self.outputs(jets)
        return self.head.loss(outputs, jets, constituents)

    @property
    def accuracy(self) -> Callable[[Batch], Tensor]:
        """Share of the jets whose highest logit is that of their class, without weights.

        It is a function of packed jets with ``y`` that gives a scalar, NaN for a batch of no jets,
        and raises ValueError where the batch lacks labels, an input, or has another number of
        features. A tagger whose head has no classes has no such attribute.

        Raises:
            AttributeError: the head has no classes.
        """
        if not self.classes:
            raise AttributeError(f"{type(self.head).__name__} tells no classes apart")
        return self._accuracy

    def _accuracy(self, jets: Batch) -> Tensor:
        self._check(jets, "y")
        right: Tensor = self.head.class_logits(self(jets)).argmax(dim=1) == jets.y
        return right.float().mean()

    def _to_learn(self) -> list[str]:
        """Tensors of a batch that the loss of the head needs."""
        head = self.head
        wanted = {
            "y": head.classes,
            "targets": head.targets,
            "constituent_y": head.constituent_width,
        }
        return [name for name, needed in wanted.items() if needed]

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
                Targets of the head are taken from the fields of the jets, or from their files.

        Returns:
            Something with ``len()`` and ``epoch(epoch, start)``.

        Raises:
            ValueError: class weights for jets that are packed already, and what packing raises.
        """
        learnt: dict[str, Any] = {
            "targets": self.head.targets,
            "constituent_labels": self.head.constituent_labels,
        }
        if class_weights is not None and not self.classes:
            raise ValueError(f"class_weights={class_weights!r} for a head without classes")
        if isinstance(jets, JetFiles):
            return jets.batches(
                self.features,
                self.classes or None,
                **learnt,
                batch_size=batch_size,
                shuffle=shuffle,
                seed=seed,
                rank=rank,
                world_size=world_size,
                class_weights=class_weights,
            )
        if not isinstance(jets, PackedJets):
            jets = PackedJets.pack(
                jets, self.features, self.classes or None, class_weights=class_weights, **learnt
            )
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
        """Probabilities of the classes, or what else the scores of the head are.

        Args:
            jets: as `hepgen.io.read` gives them, or packed already.
            batch_size: jets scored at a time. On a CPU each thread takes ``chunk`` of them at most.
            device: where to compute; where the weights are if not given. The model returns there.
            progress: show a bar.

        Returns:
            Shape (B, S), float32, in the order of the jets, one column for each of `score_names`;
            for classification K probabilities that sum to 1. Shape (0, S) of no jets.

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
            advance = Bar(len(packed), progress)

            def score(some: slice) -> NDArray[np.float32]:
                batch = packed.batch(some).to(place)
                self._check(batch)
                scores: NDArray[np.float32] = self.head.scores(self(batch).float()).cpu().numpy()
                advance(len(scores))
                return scores

            with advance:
                # A compiled model is not to be entered by several threads.
                alone = not on_cpu or self._compiled_call_impl is not None
                parts = list(map(score, slices)) if alone else map_in_threads(score, slices)
        return np.concatenate([np.empty((0, len(self.score_names)), np.float32), *parts])

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor besides features and classes, as JSON can hold them.

        Returns:
            Name -> value, sequences as lists: ``type(tagger)(features, classes, **config)`` is the
            same architecture.

        Raises:
            TypeError: the tagger does not keep an argument as an attribute of its name, or JSON
                cannot hold it.
        """
        return kept_arguments(self, without=("features", "classes"))

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
            hint = ""
            if lacking and more:
                head = self.head
                asked = [f"{list(head.classes)}" if head.classes else "None"]
                asked += [f"targets={list(head.targets)}"] if head.targets else []
                asked += [f"constituent_labels={head.constituent_labels!r}"] * bool(
                    head.constituent_width
                )
                hint = f"; labels come with PackedJets.pack(jets, features, {', '.join(asked)})"
            raise ValueError(
                f"{name} needs {', '.join(lacking)} of a batch, which has {jets.keys()}{hint}"
            )
        if "targets" in more and jets.targets.shape[1] != len(self.head.targets):
            raise ValueError(
                f"{name} learns {', '.join(self.head.targets)}; the batch has "
                f"{jets.targets.shape[1]} targets"
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
