r"""Scores that do not tell a variable, such as the mass, to an adversary that learns to read it.

G. Louppe, M. Kagan and K. Cranmer, "Learning to pivot with adversarial networks", NeurIPS 2017,
arXiv:1611.01046 (mixture of normal densities); C. Shimmin et al., "Decorrelated jet substructure
tagging using adversarial neural networks", Phys. Rev. D 96 (2017) 074034, arXiv:1703.03507 (bins of
the mass, one learning step for both by the reversal of gradients of Y. Ganin and V. Lempitsky,
arXiv:1409.7495).

Shapes: B jets, S scores, T targets, M bins, C components.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any, Literal, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hepgen.data import Batch
from hepgen.heads.decorrelation import check_penalty, weights_of
from hepgen.heads.densities import mixture_loss
from hepgen.heads.head import Head, in_float32, with_targets

__all__ = ["Adversarial"]


class _Reversed(torch.autograd.Function):
    """The values as they are, their gradient times a negative number."""

    @staticmethod
    def forward(ctx: Any, values: Tensor, strength: float) -> Tensor:
        ctx.strength = strength
        return values.view_as(values)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.strength * gradient, None


@final
class Adversarial(Head):
    """A head whose scores are kept from telling a variable to an adversary.

    The adversary, a small network, gives a density of the variable for given scores. It learns to
    lower its loss, the tagger to lower that of the head minus ``strength`` times the adversary's,
    in one backward pass. That difference is the loss: the adversary's parameters get the gradient
    of their own; an adversary worse than a guess counts as a guess. Its layers are trained, saved
    and moved with the tagger. At the beginning it knows little, so that with a large ``strength``
    an early epoch may have the lowest validation loss: train without validation then, which keeps
    the last weights.

    Args:
        head: the task.
        variable: expression over fields of the jets, such as "mass".
        strength: factor on the adversary's gradient as it reaches the tagger.
        for_class: show the adversary the jets of this class only, such as the background; None
            shows it all.
        kind: "bins", equally filled by the training jets, or "mixture" of normal densities.
        number: M of the bins or C of the components.
        layers: widths of the adversary's hidden layers.

    Raises:
        ValueError: ``strength`` < 0, no such class, strange ``kind``, or fewer than two bins.
    """

    def __init__(
        self,
        head: Head,
        variable: str = "mass",
        strength: float = 1.0,
        for_class: str | None = None,
        kind: Literal["bins", "mixture"] = "bins",
        number: int = 10,
        layers: Sequence[int] = (64, 64),
    ) -> None:
        super().__init__()
        check_penalty(head, strength, for_class)
        if kind not in ("bins", "mixture") or number < (2 if kind == "bins" else 1):
            raise ValueError(
                f"no adversary of kind {kind!r} with {number}: wanted bins, at least "
                "2, or a mixture of components, at least 1"
            )
        self.head, self.variable, self.strength, self.for_class = (
            head,
            variable,
            strength,
            for_class,
        )
        self.kind, self.number, self.layers = kind, number, tuple(layers)
        self.width, self.constituent_width = head.width, head.constituent_width
        self.classes, self.names = head.classes, head.names
        self.targets = tuple(dict.fromkeys((*head.targets, variable)))
        self.constituent_labels = head.constituent_labels
        widths = [len(head.names), *self.layers]
        hidden = [m for a, b in pairwise(widths) for m in (nn.Linear(a, b), nn.ReLU())]
        outputs = number if kind == "bins" else 3 * number
        self.adversary = nn.Sequential(*hidden, nn.Linear(widths[-1], outputs))
        # Edges between the bins; NaN until they are fitted.
        self.register_buffer("edges", torch.full((number - 1,), torch.nan))
        self.register_buffer("centre", torch.tensor(0.0))
        self.register_buffer("scale", torch.tensor(0.0))
        self._fitted = False

    def fit_targets(self, values: NDArray[np.float64], y: NDArray[np.int64] | None) -> None:
        """Bins or scale of the variable, of the chosen class, and what the head takes."""
        mine = [self.targets.index(name) for name in self.head.targets]
        self.head.fit_targets(values[:, mine], y)
        variable = values[:, self.targets.index(self.variable)]
        if self.for_class is not None and y is not None:
            variable = variable[y == self.classes.index(self.for_class)]
        if not len(variable):
            raise ValueError(f"no jets of class {self.for_class!r} to fit {self.variable!r} to")
        inner = np.quantile(variable, np.linspace(0, 1, self.number + 1)[1:-1])
        found = {"edges": inner, "centre": variable.mean(), "scale": variable.std() or 1.0}
        for name, value in found.items():
            cast(Tensor, getattr(self, name)).copy_(torch.as_tensor(value))

    def loss(self, outputs: Tensor, jets: Batch, constituents: Tensor | None = None) -> Tensor:
        """Loss of the head minus ``strength`` times that of the adversary.

        Weights of jets count with their absolute values for the adversary.
        """
        inner = with_targets(jets, self.targets, self.head.targets)
        loss = self.head.loss(outputs, inner, constituents)
        against = self.adversary_loss(outputs, jets)
        # The value is of the objective; the gradients are the adversary's own, reversed further up.
        # One that is worse than a guess tells no less than nothing.
        weight = weights_of(self.for_class, self.classes, jets)
        guess = self._guess() * weight.sum() / (weight > 0).sum().clamp(min=1)
        told = torch.minimum(against.detach(), guess)
        return loss + against - against.detach() - self.strength * told

    def _guess(self) -> float:
        """Loss of an adversary that knows how the variable is distributed, and nothing else."""
        if self.kind == "bins":
            return math.log(self.number)
        return (1 + math.log(2 * math.pi)) / 2

    def adversary_loss(self, outputs: Tensor, jets: Batch) -> Tensor:
        """Mean over the jets shown of minus the logarithm of the adversary's density.

        Args:
            outputs: of the network, shape (B, width).
            jets: the batch.

        Returns:
            A scalar, 0 of no jets. Its gradient changes sign between adversary and tagger, and is
            ``strength`` times as large there.

        Raises:
            ValueError: the bins are not fitted.
        """
        # Asked until it is so, as on a device the question makes the step wait.
        self._fitted = self._fitted or bool(cast(Tensor, self.scale) > 0)
        if not self._fitted:
            raise ValueError(
                f"Adversarial knows no range of {self.variable!r} yet; call "
                "tagger.head.fit(training jets)"
            )
        scores = _Reversed.apply(self.head.scores(outputs), self.strength)  # type: ignore[no-untyped-call]
        found = in_float32(self.adversary(scores.to(self.adversary[-1].weight.dtype)))
        value = in_float32(jets.targets[:, self.targets.index(self.variable)]).contiguous()
        if self.kind == "bins":
            bins = torch.bucketize(value, cast(Tensor, self.edges).to(value.dtype))
            losses = functional.cross_entropy(found, bins, reduction="none")
        else:
            z = (value - cast(Tensor, self.centre)) / cast(Tensor, self.scale)
            losses = mixture_loss(found.reshape(-1, self.number, 3), z)
        weight = weights_of(self.for_class, self.classes, jets)
        return (losses * weight).sum() / (weight > 0).sum().clamp(min=1)

    def scores(self, outputs: Tensor) -> Tensor:
        """Those of the head, (B, S)."""
        return self.head.scores(outputs)

    def class_logits(self, outputs: Tensor) -> Tensor:
        """Those of the head, (B, K)."""
        return self.head.class_logits(outputs)
