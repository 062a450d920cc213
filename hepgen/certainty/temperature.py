r"""Probabilities made softer or sharper by one number.

C. Guo, G. Pleiss, Y. Sun and K. Q. Weinberger, "On calibration of modern neural networks", ICML
2017, arXiv:1706.04599.

Shapes: B jets, K classes, S scores.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from hepgen.certainty.certain import Certain, Prediction, labelled
from hepgen.data import PackedJets

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["Temperature"]


@final
class Temperature(Certain):
    r"""Probabilities :math:`\propto p^{1/T}`, that is softmax of the logits over T.

    The order of the jets in the score of one of two classes stays as it is, so AUC and rejections
    do too.

    Args:
        model: a tagger, or an ensemble of them.
    """

    def __init__(self, model: nn.Module) -> None:
        super().__init__([model])
        self.model = model
        self.register_buffer("temperature", torch.tensor(1.0, dtype=torch.float64))

    def parts(self) -> dict[str, Any]:
        """The model inside."""
        return {"model": self.model}

    def fit(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
    ) -> Self:
        """Take the T of least cross entropy of jets that were not trained on.

        Args:
            jets: validation jets with labels.
            batch_size: jets scored at a time.
            device: where to compute.

        Returns:
            This, changed. Weights of jets do not count.

        Raises:
            ValueError: jets of one class only, or no labels.
        """
        inside: Any = self.model
        y = labelled(jets, self.classes, "Temperature")
        scores = inside.predict(jets, batch_size=batch_size, device=device)[:, self._columns]
        logits, target = torch.from_numpy(_logarithm(scores)), torch.from_numpy(y)
        log_t = torch.zeros((), dtype=torch.float64, requires_grad=True)
        optimizer = torch.optim.LBFGS(
            [log_t], max_iter=200, tolerance_grad=1e-10, tolerance_change=1e-14,
            line_search_fn="strong_wolfe",
        )  # fmt: skip

        def loss() -> Tensor:
            optimizer.zero_grad()
            value = functional.cross_entropy(logits * torch.exp(-log_t), target)
            value.backward()  # type: ignore[no-untyped-call]
            return value

        optimizer.step(loss)  # type: ignore[no-untyped-call]
        cast(Tensor, self.temperature).fill_(float(log_t.detach().exp()))
        return self

    def prediction(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        progress: bool = False,
    ) -> Prediction:
        """The model's scores, those of classes at temperature T; no spread."""
        inside: Any = self.model
        scores = inside.predict(jets, batch_size=batch_size, device=device, progress=progress)
        logits = _logarithm(scores[:, self._columns]) / float(cast(Tensor, self.temperature))
        softened = np.exp(logits - logits.max(axis=1, keepdims=True, initial=-np.inf))
        changed = scores.copy()
        changed[:, self._columns] = softened / softened.sum(axis=1, keepdims=True)
        return Prediction(changed)


def _logarithm(probabilities: NDArray[np.float32]) -> NDArray[np.float64]:
    """Logits up to a constant; what float32 rounded to 0 counts as its least positive number."""
    least = np.finfo(np.float32).smallest_subnormal
    return np.log(np.maximum(probabilities, least).astype(np.float64))
