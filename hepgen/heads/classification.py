"""Which of K classes a jet is of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

from torch import Tensor
from torch.nn import functional

from hepgen.data import Batch
from hepgen.heads.head import Head, in_float32, mean_over_jets

__all__ = ["Classification"]


@final
class Classification(Head):
    """Cross entropy and probabilities.

    Args:
        classes: names of the K classes, in the order of the logits.

    Raises:
        ValueError: fewer than two classes, or two of one name.
        TypeError: the classes are no sequence of names.
    """

    def __init__(self, classes: Sequence[str]) -> None:
        super().__init__()
        if isinstance(classes, str) or not all(isinstance(name, str) for name in classes):
            raise TypeError(f"classes should be a sequence of names, not {classes!r}")
        if len(classes) < 2 or len(set(classes)) < len(classes):
            raise ValueError(
                f"classes should be two or more, of different names, not {list(classes)}"
            )
        self.classes = self.names = tuple(classes)
        self.width = len(self.classes)

    def loss(self, outputs: Tensor, jets: Batch, constituents: Tensor | None = None) -> Tensor:
        """Mean over the jets of weight times cross entropy; weights may be negative."""
        logits = in_float32(outputs)
        return mean_over_jets(functional.cross_entropy(logits, jets.y, reduction="none"), jets)

    def scores(self, outputs: Tensor) -> Tensor:
        """Probabilities (B, K); rows sum to 1."""
        return functional.softmax(in_float32(outputs), dim=1)

    def class_logits(self, outputs: Tensor) -> Tensor:
        """The outputs themselves, (B, K)."""
        return outputs
