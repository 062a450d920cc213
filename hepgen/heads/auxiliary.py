"""Labels of the constituents, learnt beside the jet's own task from the same latent vectors.

Shapes: B jets, N constituents of all jets end to end, L labels.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from hepgen.data import Batch
from hepgen.heads.head import Head, in_float32

__all__ = ["AuxiliaryLabels"]


@final
class AuxiliaryLabels(Head):
    """A jet's own task, and cross entropy of the labels of its constituents.

    As track origins in ATLAS' GN2, it gives the network a reason to know its constituents. It needs
    a tagger with ``latents(jets)``: a vector for each constituent before they are pooled.

    The loss is that of the head plus ``strength`` times the mean over the labelled constituents of
    cross entropy, each with the weight of its jet.

    Args:
        head: the jet's own task.
        labels: expression over fields of the constituents that gives numbers 0 to L - 1, such as
            ``is_electron + 2 * is_muon``.
        label_names: names of the L labels.
        strength: factor on the loss of the constituents.
        ignore: constituents with this number have no label.

    Raises:
        ValueError: fewer than two labels, two of one name, ``strength`` < 0, ``ignore`` among the
            labels, or a head with constituents of its own.
    """

    def __init__(
        self,
        head: Head,
        labels: str,
        label_names: Sequence[str],
        strength: float = 0.5,
        ignore: int = -1,
    ) -> None:
        super().__init__()
        if isinstance(label_names, str) or len(set(label_names)) < max(2, len(label_names)):
            raise ValueError(
                f"label_names should be two or more, of different names, not {label_names!r}"
            )
        if strength < 0 or 0 <= ignore < len(label_names):
            raise ValueError(
                f"wanted strength >= 0 and ignore beyond the labels 0 to {len(label_names) - 1}, "
                f"not {strength=} and {ignore=}"
            )
        if head.constituent_width:
            raise ValueError(f"{type(head).__name__} has labels of constituents already")
        self.head, self.labels, self.label_names = head, labels, tuple(label_names)
        self.strength, self.ignore = strength, ignore
        self.width, self.constituent_width = head.width, len(self.label_names)
        self.classes, self.targets, self.names = head.classes, head.targets, head.names
        self.constituent_labels = labels

    def loss(self, outputs: Tensor, jets: Batch, constituents: Tensor | None = None) -> Tensor:
        """Loss of the head plus ``strength`` times that of the labelled constituents."""
        if constituents is None:
            raise ValueError("AuxiliaryLabels needs outputs for the constituents")
        y = jets.constituent_y
        known = y != self.ignore
        strange = known & ((y < 0) | (y >= len(self.label_names)))
        # On a device the question would make each step wait; there cross_entropy asserts it.
        if y.device.type == "cpu" and bool(strange.any()):
            raise ValueError(
                f"labels of constituents ({self.labels}) should be 0 to "
                f"{len(self.label_names) - 1}, or {self.ignore} for none; "
                f"{int(strange.sum())} of {len(y)} are not, the first is {int(y[strange][0])}"
            )
        target = torch.where(known, y, 0)
        losses = functional.cross_entropy(in_float32(constituents), target, reduction="none")
        weight = known.to(losses.dtype)
        if jets.get("weight") is not None:
            losses = losses * jets.weight[jets.batch]
        auxiliary: Tensor = (losses * weight).sum() / weight.sum().clamp(min=1)
        loss: Tensor = self.head.loss(outputs, jets) + self.strength * auxiliary
        return loss

    def scores(self, outputs: Tensor) -> Tensor:
        """Those of the head, (B, S)."""
        return self.head.scores(outputs)

    def class_logits(self, outputs: Tensor) -> Tensor:
        """Those of the head, (B, K)."""
        return self.head.class_logits(outputs)

    def fit_targets(self, values: NDArray[np.float64], y: NDArray[np.int64] | None) -> None:
        """As the head does."""
        self.head.fit_targets(values, y)
