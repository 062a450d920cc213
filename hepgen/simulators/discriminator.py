r"""Networks that tell samples apart: the tool of classifier tests and of corrections.

A network trained with cross entropy on samples of equal weight gives the probability
:math:`p(x) = f_1(x) / (f_0(x) + f_1(x))`, whatever it learns from; its odds are the ratio of the
densities of the two samples.

K. Cranmer, J. Pavez and G. Louppe, "Approximating likelihood ratios with calibrated discriminative
classifiers", arXiv:1506.02169; the challenge's network: C. Krause et al., "CaloChallenge 2022",
arXiv:2410.21611.

Shapes: B showers, F features, M samples.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, Literal, Self, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hepgen import training
from hepgen.arguments import kept_arguments
from hepgen.simulators.labelled import Labelled, LabelledBatches
from hepgen.training import History
from hepgen.training.randomness import seed_of

__all__ = ["DenseDiscriminator", "Discriminator", "Select"]

Select = Literal["loss", "accuracy"]
PREDICTED_AT_A_TIME = 4096
COLUMNS_AT_A_TIME = 512


class Discriminator(nn.Module, ABC):
    """Logits of the samples that a shower may be of.

    Args:
        num_features: F.
        num_classes: M; two samples have one logit, that of the second.
        select: what decides which epoch is the best: the cross entropy ("loss"), or the share of
            right answers ("accuracy"), as the challenge has it.
    """

    def __init__(self, num_features: int, num_classes: int = 2, *, select: Select = "loss") -> None:
        super().__init__()
        self.num_features, self.num_classes, self.select = num_features, num_classes, select

    @property
    def num_logits(self) -> int:
        """One for two samples, M for more."""
        return 1 if self.num_classes == 2 else self.num_classes

    def config(self) -> dict[str, Any]:
        """Arguments of the constructor, as JSON can hold them."""
        return kept_arguments(self)

    @abstractmethod
    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Args:
            x: features, shape (B, F).

        Returns:
            Shape (B, 1) for two samples, (B, M) for more.
        """

    def prepare(self, sample: Labelled) -> None:
        """Learn what is not learnt by gradients.

        Args:
            sample: the training sample.
        """

    def cross_entropy(self, batch: Labelled) -> Tensor:
        """Of each shower, shape (B,).

        Args:
            batch: showers.
        """
        logits: Tensor = self(batch.x)
        if self.num_classes > 2:
            return nn.functional.cross_entropy(logits, batch.label, reduction="none")
        labels = batch.label.to(logits.dtype)
        return nn.functional.softplus(logits[:, 0]) - labels * logits[:, 0]

    def loss(self, batch: Labelled) -> Tensor:
        """Weighted mean cross entropy; in evaluation what chooses the epoch.

        Args:
            batch: showers.
        """
        if self.select == "accuracy" and not self.training:
            return 1 - self.accuracy(batch)
        return (self.cross_entropy(batch) * batch.weight).mean()

    def accuracy(self, batch: Labelled) -> Tensor:
        """Weighted share of right answers.

        Args:
            batch: showers.
        """
        logits = self(batch.x)
        answer = logits[:, 0] > 0 if self.num_classes == 2 else logits.argmax(dim=1)
        share: Tensor = ((answer == batch.label) * batch.weight).mean()
        return share.to(logits.dtype)

    def batches(self, sample: Labelled, **options: Any) -> LabelledBatches:
        """Batches for the trainer.

        Args:
            sample: features and labels.
            **options: see `LabelledBatches`.
        """
        return LabelledBatches(sample, **options)

    def logits(self, x: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Logits, of the second of two samples or of each of several.

        Args:
            x: features, shape (B, F).

        Returns:
            Shape (B,), or (B, M).
        """
        rows = x if isinstance(x, Tensor) else torch.from_numpy(np.ascontiguousarray(x))
        was_training, device = self.training, next(self.parameters()).device
        self.eval()
        with torch.inference_mode():
            pieces = [
                self(piece.to(device)).double().cpu()
                for piece in torch.split(rows, PREDICTED_AT_A_TIME)
            ]
        self.train(was_training)
        found: NDArray[np.float64] = torch.cat(pieces).numpy()
        return found[:, 0] if self.num_classes == 2 else found

    def predict(self, x: ArrayLike | Tensor) -> NDArray[np.float64]:
        """Probabilities, of the second of two samples or of each of several.

        Args:
            x: features, shape (B, F).

        Returns:
            Shape (B,), or (B, M).
        """
        logits = torch.from_numpy(self.logits(x))
        found = logits.sigmoid() if self.num_classes == 2 else logits.softmax(dim=1)
        return np.asarray(found.numpy())

    @classmethod
    def trained(
        cls,
        train: Labelled,
        validation: Labelled,
        *,
        num_classes: int = 2,
        network: dict[str, Any] | None = None,
        seed: int = 0,
        progress: bool = False,
        **settings: Any,
    ) -> tuple[Self, History]:
        """A network that has learnt to tell samples apart.

        Args:
            train: what it learns from.
            validation: what chooses its epoch.
            num_classes: number of samples M.
            network: other arguments of the constructor.
            seed: of weights, order and dropout.
            progress: show a bar.
            **settings: arguments of `hepgen.fit`.

        Returns:
            The network in evaluation mode, and the history of its training.

        Raises:
            ValueError: one of the samples is missing.
        """
        for sample, what in ((train, "training"), (validation, "validation")):
            seen = torch.unique(sample.label).tolist()
            if seen != list(range(num_classes)):
                raise ValueError(f"the {what} showers are of samples {seen}, not of {num_classes}")
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed_of("discriminator", seed) % 2**63)
            made = cls(train.x.shape[1], num_classes, **(network or {}))
        made.prepare(train)
        history = training.fit(
            made,
            train,
            validation=validation,
            seed=seed_of("training", seed) % 2**31,
            progress=progress,
            **settings,
        )
        return made, history


@final
class DenseDiscriminator(Discriminator):
    """Linear layers with LeakyReLU between.

    Args:
        num_features: F.
        num_classes: M.
        hidden: widths of the layers in between.
        dropout: share of their values set to 0 in training.
        standardise: shift and scale the features to means of 0 and widths of 1.
        select: see `Discriminator`.
    """

    centre: Tensor
    scale: Tensor

    def __init__(
        self,
        num_features: int,
        num_classes: int = 2,
        *,
        hidden: Sequence[int] = (256, 256),
        dropout: float = 0.0,
        standardise: bool = True,
        select: Select = "loss",
    ) -> None:
        super().__init__(num_features, num_classes, select=select)
        self.hidden, self.dropout, self.standardise = tuple(hidden), dropout, standardise
        layers: list[nn.Module] = []
        width = num_features
        for size in self.hidden:
            layers += [nn.Linear(width, size), nn.LeakyReLU(), nn.Dropout(dropout)]
            width = size
        self.layers = nn.Sequential(*layers, nn.Linear(width, self.num_logits))
        self.register_buffer("centre", torch.zeros(num_features))
        self.register_buffer("scale", torch.ones(num_features))

    def prepare(self, sample: Labelled) -> None:
        """Learn means and widths of the features.

        Args:
            sample: the training sample.
        """
        if not self.standardise:
            return
        # In double precision, some columns at a time: a sample of voxels may fill the memory.
        pieces = [
            torch.std_mean(some.double(), dim=0, correction=0)
            for some in torch.split(sample.x, COLUMNS_AT_A_TIME, dim=1)
        ]
        width, mean = (torch.cat([piece[i] for piece in pieces]) for i in (0, 1))
        # Features that do not change, such as voxels that no shower reaches, are left at 0.
        constant = width <= 1e-6 * mean.abs()
        self.centre.copy_(mean)
        self.scale.copy_(torch.where(constant, 0.0, 1 / width.masked_fill(constant, 1.0)))

    def forward(self, x: Tensor) -> Tensor:
        """Logits.

        Args:
            x: features, shape (B, F).
        """
        x = x.to(self.centre.dtype)
        if self.standardise:
            # Beyond twenty widths a feature tells no more than that it is far out.
            x = ((x - self.centre) * self.scale).clamp(-20, 20)
        logits: Tensor = self.layers(x)
        return logits
