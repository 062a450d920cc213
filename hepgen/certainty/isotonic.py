r"""Probabilities by any rising function of the score, the one that fits best.

B. Zadrozny and C. Elkan, "Transforming classifier scores into accurate multiclass probability
estimates", KDD 2002; pool adjacent violators: M. Ayer et al., Ann. Math. Statist. 26 (1955) 641.

Shapes: B jets, K classes, S scores, R knots.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Self, cast, final

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from hepgen.certainty.certain import Certain, Prediction, labelled
from hepgen.data import PackedJets

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["Isotonic", "isotonic_regression"]

Doubles = NDArray[np.float64]


def isotonic_regression(
    x: ArrayLike, y: ArrayLike, weights: ArrayLike | None = None
) -> tuple[Doubles, Doubles]:
    """The rising function that is nearest to y in the sense of least squares.

    Args:
        x: shape (B,).
        y: shape (B,).
        weights: positive, shape (B,).

    Returns:
        Knots (R,) and values there (R,); the function is linear in between and constant outside.

    Raises:
        ValueError: no values, or shapes that differ, or weights that are not positive.
    """
    places, values = np.asarray(x, np.float64), np.asarray(y, np.float64)
    weight = np.ones(places.shape) if weights is None else np.asarray(weights, np.float64)
    if places.ndim != 1 or not len(places) or {values.shape, weight.shape} != {places.shape}:
        raise ValueError(
            f"wanted equally many x, y and weights, not {places.shape}, {values.shape}, "
            f"{weight.shape}"
        )
    if not (weight > 0).all():
        raise ValueError("weights should be positive")
    knots, index = np.unique(places, return_inverse=True)
    total = np.bincount(index, weight)
    mean = np.bincount(index, weight * values) / total
    fitted = _pooled(mean.tolist(), total.tolist())
    # Of equal values in a row the ends tell all.
    inner = (fitted[1:-1] == fitted[:-2]) & (fitted[1:-1] == fitted[2:])
    kept = np.concatenate([[True], ~inner, [True]])[: len(knots)]
    return knots[kept], fitted[kept]


def _pooled(mean: list[float], weight: list[float]) -> Doubles:
    """Pool adjacent violators: blocks are merged as long as one is not above the one before."""
    values: list[float] = []
    weights: list[float] = []
    sizes: list[int] = []
    for value, w in zip(mean, weight, strict=True):
        size = 1
        while values and values[-1] >= value:
            before = weights.pop()
            value = (values.pop() * before + value * w) / (before + w)
            w, size = w + before, size + sizes.pop()
        values.append(value)
        weights.append(w)
        sizes.append(size)
    return np.repeat(values, sizes)


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
