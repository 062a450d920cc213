"""Several tasks of one network.

Shapes: B jets, N constituents of all jets end to end, K classes, S scores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepgen.data import Batch
from hepgen.heads.head import Head, with_targets

__all__ = ["Joint"]


@final
class Joint(Head):
    """Outputs side by side, losses added with weights, scores one after the other.

    Args:
        heads: tasks by name; one of them at most may have classes, one labels of constituents.
        weights: factor on the loss of each task that is named; 1 for the others.

    Raises:
        ValueError: no task, several with classes or with labels of constituents, two scores of one
            name, or a weight for a task that is none.
    """

    def __init__(
        self, heads: Mapping[str, Head], weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        parts = list(heads.values())
        strange = sorted(set(weights or {}) - set(heads))
        if not parts or strange:
            raise ValueError(
                f"a joint task needs tasks, and weights for them only; it has "
                f"{', '.join(heads) or 'none'} and weights for {', '.join(strange) or 'none'}"
            )
        with_classes = [name for name, head in heads.items() if head.classes]
        labelled = [name for name, head in heads.items() if head.constituent_width]
        for what, found in (("classes", with_classes), ("labels of constituents", labelled)):
            if len(found) > 1:
                raise ValueError(f"one task can have {what}, not {', '.join(found)}")
        self.names = tuple(name for head in parts for name in head.names)
        twice = sorted({name for name in self.names if self.names.count(name) > 1})
        if twice:
            raise ValueError(f"two tasks give the scores {', '.join(twice)}")
        self.heads = nn.ModuleDict(heads)
        self.weights = {name: float((weights or {}).get(name, 1.0)) for name in heads}
        self.width = sum(head.width for head in parts)
        self.constituent_width = sum(head.constituent_width for head in parts)
        self.classes = tuple(name for head in parts for name in head.classes)
        self.targets = tuple(dict.fromkeys(name for head in parts for name in head.targets))
        self.constituent_labels = next(
            (h.constituent_labels for h in parts if h.constituent_width), None
        )

    def _parts(self, outputs: Tensor) -> list[tuple[str, Head, Tensor]]:
        heads = {name: head for name, head in self.heads.items() if isinstance(head, Head)}
        split = torch.split(outputs, [head.width for head in heads.values()], dim=1)
        return [(name, head, part) for (name, head), part in zip(heads.items(), split, strict=True)]

    def loss(self, outputs: Tensor, jets: Batch, constituents: Tensor | None = None) -> Tensor:
        """Sum of weight times loss of the tasks."""
        losses = []
        for name, head, part in self._parts(outputs):
            mine = with_targets(jets, self.targets, head.targets)
            among = constituents if head.constituent_width else None
            losses.append(self.weights[name] * head.loss(part, mine, among))
        return torch.stack(losses).sum()

    def scores(self, outputs: Tensor) -> Tensor:
        """Those of all tasks, (B, S)."""
        return torch.cat([head.scores(part) for _, head, part in self._parts(outputs)], dim=1)

    def class_logits(self, outputs: Tensor) -> Tensor:
        """Those of the task with classes, (B, K)."""
        for _, head, part in self._parts(outputs):
            if head.classes:
                return head.class_logits(part)
        return super().class_logits(outputs)

    def fit_targets(self, values: NDArray[np.float64], y: NDArray[np.int64] | None) -> None:
        """Each task takes its own."""
        for head in self.heads.values():
            if isinstance(head, Head) and head.targets:
                mine = [self.targets.index(name) for name in head.targets]
                head.fit_targets(values[:, mine], y)
