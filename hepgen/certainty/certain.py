r"""What is around trained models to tell how sure their scores are.

Shapes: B jets, M members or samples, K classes, S scores.
"""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from hepgen.data import PackedJets, class_index

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["Certain", "Moments", "Prediction", "labelled"]

Floats = NDArray[np.float32]


class Prediction(NamedTuple):
    """Scores with what is known of their certainty.

    Attributes:
        mean: (B, S), the scores to use; probabilities of classes sum to 1.
        spread: (B, S), standard deviation of each score; None where nothing tells it.
        information: (B,), in nats: how much the true model would tell of the class of the jet
            (mutual information), large for jets unlike those of the training; None where nothing
            tells it.
    """

    mean: Floats
    spread: Floats | None = None
    information: Floats | None = None


@dataclass(frozen=True)
class _Fields:
    """What the features of several models need of the files."""

    fields: tuple[str, ...] | None


class Certain(nn.Module, ABC):
    """A scorer made of trained models; `hepgen.predict_files` takes it as it takes a tagger.

    Args:
        models: taggers, or what is around them already.

    Attributes:
        classes: names of the K classes.
        score_names: names of the S scores, the columns of ``predict``.
        column_names: names of the columns of ``predict_columns``.
        tells_spread: whether there is a spread of each score.
        tells_information: whether there is mutual information.

    Raises:
        ValueError: no model, or models of other scores than the first.
        TypeError: something that gives jets no scores.
    """

    tells_spread: bool = False
    tells_information: bool = False

    def __init__(self, models: Sequence[nn.Module]) -> None:
        super().__init__()
        kind = type(self).__name__
        if not models:
            raise ValueError(f"{kind} needs a model at least")
        for model in models:
            if not (hasattr(model, "predict") and hasattr(model, "score_names")):
                raise TypeError(f"{kind} is around taggers; {type(model).__name__} is none")
        first: Any = models[0]
        self.classes: tuple[str, ...] = tuple(first.classes)
        self.score_names: tuple[str, ...] = tuple(first.score_names)
        for number, model in enumerate(models):
            found: Any = model
            if tuple(found.score_names) != self.score_names:
                raise ValueError(
                    f"model {number} of {kind} gives {', '.join(found.score_names)}, the first "
                    f"{', '.join(self.score_names)}"
                )
        self._columns = [self.score_names.index(name) for name in self.classes]

    @abstractmethod
    def parts(self) -> dict[str, Any]:
        """The models inside, by argument of the constructor: one, or a list of them."""

    @abstractmethod
    def prediction(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        progress: bool = False,
    ) -> Prediction:
        """Scores and their certainty.

        Args:
            jets: as `hepgen.io.read` gives them, or packed already.
            batch_size: jets scored at a time.
            device: where to compute; where the weights are if not given.
            progress: show a bar.

        Raises:
            ValueError: it was not fitted, or what the models inside raise.
        """

    @property
    def features(self) -> Any:
        """What the models inside need of the files; the features of the first if all are alike."""
        found = [model.features for model in self._models()]
        if all(hasattr(one, "to_dict") for one in found):
            first = found[0].to_dict()
            if all(one.to_dict() == first for one in found):
                return found[0]
        fields = [one.fields for one in found]
        if any(one is None for one in fields):
            return _Fields(None)
        return _Fields(tuple(dict.fromkeys(name for one in fields for name in one)))

    @property
    def column_names(self) -> tuple[str, ...]:
        """Names of the scores, of their spreads, and "mutual_information", as far as told."""
        spreads = tuple(f"spread_{name}" for name in self.score_names) if self.tells_spread else ()
        return (*self.score_names, *spreads, *(("mutual_information",) * self.tells_information))

    def predict(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        progress: bool = False,
    ) -> Floats:
        """Scores (B, S), float32, in the order of the jets; see `prediction`."""
        return self.prediction(jets, batch_size=batch_size, device=device, progress=progress).mean

    def predict_with_spread(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        progress: bool = False,
    ) -> tuple[Floats, Floats]:
        """Scores (B, S) and the standard deviation of each (B, S); see `prediction`.

        Raises:
            ValueError: this kind tells no spread.
        """
        found = self.prediction(jets, batch_size=batch_size, device=device, progress=progress)
        if found.spread is None:
            raise ValueError(
                f"{type(self).__name__} tells no spread of its scores; Ensemble, MonteCarloDropout "
                "and BayesianLastLayer do"
            )
        return found.mean, found.spread

    def predict_columns(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        progress: bool = False,
    ) -> Floats:
        """All that is told of the jets, a column for each of `column_names`; see `prediction`."""
        found = self.prediction(jets, batch_size=batch_size, device=device, progress=progress)
        columns = [found.mean]
        if self.tells_spread and found.spread is not None:
            columns.append(found.spread)
        if self.tells_information and found.information is not None:
            columns.append(found.information[:, None])
        return np.concatenate(columns, axis=1)

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor but the models inside, as JSON can hold them."""
        names = [n for n in inspect.signature(type(self)).parameters if n not in self.parts()]
        values = {name: getattr(self, name) for name in names}
        return {n: list(v) if isinstance(v, tuple) else v for n, v in values.items()}

    def save(self, path: str | Path) -> None:
        """Write it with the models inside into one file, which `hepgen.load` reads.

        Args:
            path: ``*.safetensors``.

        Raises:
            CheckpointError: a model inside cannot be saved.
            OSError: the file cannot be written.
        """
        from hepgen import checkpoint

        checkpoint.save(self, path)

    def _models(self) -> list[Any]:
        found: list[Any] = []
        for part in self.parts().values():
            found += part if isinstance(part, (list, tuple)) else [part]
        return found


class Moments:
    """Mean, spread and mutual information of several predictions, added one by one.

    Args:
        columns: which scores are probabilities of classes.
    """

    def __init__(self, columns: Sequence[int]) -> None:
        self.columns = list(columns)
        self.count = 0
        self._mean: Any = 0.0
        self._squares: Any = 0.0
        self._entropy: Any = 0.0

    def add(self, scores: NDArray[Any]) -> None:
        """Take one prediction, (B, S)."""
        value = scores.astype(np.float64)
        self.count += 1
        # Welford's recurrence, as a difference of squares would cancel.
        before = value - self._mean
        self._mean = self._mean + before / self.count
        self._squares = self._squares + before * (value - self._mean)
        self._entropy = self._entropy + entropy(value[:, self.columns])

    def prediction(self) -> Prediction:
        """What was added: the spread is the standard deviation with M - 1 below, 0 of one."""
        spread = np.sqrt(self._squares / max(1, self.count - 1))
        information = entropy(self._mean[:, self.columns]) - self._entropy / self.count
        return Prediction(
            self._mean.astype(np.float32),
            spread.astype(np.float32),
            np.maximum(information, 0).astype(np.float32),
        )


def entropy(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    """Entropy of probabilities (B, K) in nats, (B,)."""
    logarithm = np.log(np.where(probabilities > 0, probabilities, 1))
    return np.asarray(-(probabilities * logarithm).sum(axis=1))


def labelled(jets: ak.Array | PackedJets, classes: Sequence[str], kind: str) -> NDArray[np.int64]:
    """Class of each jet that a calibration is fitted to.

    Args:
        jets: with labels, or packed with classes.
        classes: names of the K classes.
        kind: what is fitted, for messages.

    Returns:
        Shape (B,).

    Raises:
        ValueError: no jets, no labels, or jets of one class only.
        InputError: jets in no class or several.
    """
    if not classes:
        raise ValueError(f"{kind} is for probabilities of classes, which the model does not give")
    y = jets.y if isinstance(jets, PackedJets) else class_index(jets, classes)
    if y is None:
        raise ValueError(f"{kind} needs jets packed with classes: PackedJets.pack(..., {classes})")
    missing = [name for k, name in enumerate(classes) if not (y == k).any()]
    if missing:
        raise ValueError(f"{kind} needs jets of each class; there are none of {', '.join(missing)}")
    return y
