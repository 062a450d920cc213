r"""Probabilities by any rising function of the score, the one that fits best.

B. Zadrozny and C. Elkan, "Transforming classifier scores into accurate multiclass probability
estimates", KDD 2002.

Shapes: B jets, K classes, S scores, R knots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, cast, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepgen.certainty.certain import Certain, Prediction, labelled
from hepgen.data import PackedJets
from hepgen.metrics.isotonic import isotonic_regression

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["Isotonic", "isotonic_regression"]

Doubles = NDArray[np.float64]


@final
class Isotonic(Certain):
    """Each class's probability through a rising function of its own, then scaled to a sum of 1.

    It needs more validation jets than one temperature, some thousands. Probabilities may be exactly
    0 and 1 at the ends, where a single jet of the other class costs any cross entropy.

    Args:
        model: a tagger, or an ensemble of them.
        sizes: number of knots of each class, as ``fit`` finds them.

    Raises:
        ValueError: sizes for another number of classes.
    """

    def __init__(self, model: nn.Module, sizes: Sequence[int] = ()) -> None:
        super().__init__([model])
        self.model = model
        if sizes and len(sizes) != len(self.classes):
            raise ValueError(f"{len(sizes)} sizes for the classes {', '.join(self.classes)}")
        self.sizes = tuple(sizes)
        for k, size in enumerate(self.sizes):
            self._keep(k, np.zeros(size), np.zeros(size))

    def _keep(self, k: int, knots: Doubles, values: Doubles) -> None:
        self.register_buffer(f"knots_{k}", torch.from_numpy(knots))
        self.register_buffer(f"values_{k}", torch.from_numpy(values))

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
        """Take the functions from jets that were not trained on.

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
        y = labelled(jets, self.classes, "Isotonic")
        scores = inside.predict(jets, batch_size=batch_size, device=device)[:, self._columns]
        found = [isotonic_regression(scores[:, k], y == k) for k in range(len(self.classes))]
        for k, (knots, values) in enumerate(found):
            self._keep(k, knots, values)
        self.sizes = tuple(len(knots) for knots, _ in found)
        return self

    def prediction(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        progress: bool = False,
    ) -> Prediction:
        """The model's scores, those of classes calibrated; no spread."""
        if not self.sizes:
            raise ValueError("Isotonic is not fitted yet; call .fit(validation jets)")
        inside: Any = self.model
        scores = inside.predict(jets, batch_size=batch_size, device=device, progress=progress)
        probabilities = np.empty((len(scores), len(self.classes)))
        for k, column in enumerate(self._columns):
            knots, values = (
                cast(Tensor, getattr(self, f"{name}_{k}")).cpu().numpy()
                for name in ("knots", "values")
            )
            probabilities[:, k] = np.interp(scores[:, column].astype(np.float64), knots, values)
        total = probabilities.sum(axis=1, keepdims=True)
        # Where no class is thought possible, they are taken for equally likely.
        even = np.full_like(probabilities, 1 / len(self.classes))
        changed = scores.copy()
        changed[:, self._columns] = np.divide(probabilities, total, out=even, where=total > 0)
        return Prediction(changed)
