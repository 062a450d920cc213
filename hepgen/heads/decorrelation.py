r"""Scores kept from telling a variable, such as the mass, by a penalty on distance correlation.

G. Kasieczka and D. Shih, "Robust jet classifiers through distance correlation", Phys. Rev. Lett.
125 (2020) 122001, arXiv:2001.05310 (DisCo). Distance correlation: G. J. Székely, M. L. Rizzo and
N. K. Bakirov, Ann. Statist. 35 (2007) 2769.

Shapes: B jets, S scores, T targets.
"""

from __future__ import annotations

from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepgen.data import Batch
from hepgen.heads.head import Head, in_float32, with_targets

__all__ = ["DistanceCorrelation", "distance_correlation"]


def distance_correlation(x: Tensor, y: Tensor, weight: Tensor | None = None) -> Tensor:
    r"""Squared distance correlation, 0 for independent and 1 for linearly related variables.

    With distances :math:`a_{ij} = |x_i - x_j|`, weights of mean 1 and
    :math:`A_{ij} = a_{ij} - \bar a_i - \bar a_j + \bar a` (weighted means), and B likewise of y,

    .. math:: \mathrm{dCorr}^2 = \frac{\sum_{ij} w_i w_j A_{ij} B_{ij}}
        {\sqrt{\sum_{ij} w_i w_j A_{ij}^2 \sum_{ij} w_i w_j B_{ij}^2}}

    Args:
        x: shape (B,), or (B, S) for a vector each.
        y: likewise.
        weight: shape (B,), not negative; None counts each as 1.

    Returns:
        A scalar; 0 where a variable is constant, or of fewer than two jets. Memory grows as B
        squared.

    Raises:
        ValueError: other numbers of values.
    """
    if x.shape[0] != y.shape[0] or (weight is not None and weight.shape != x.shape[:1]):
        given = None if weight is None else tuple(weight.shape)
        raise ValueError(f"wanted as many x, y and weights, not {x.shape}, {y.shape}, {given}")
    if x.shape[0] == 0:
        return 0 * (x.sum() + y.sum())
    w = torch.ones_like(x[..., 0] if x.ndim > 1 else x) if weight is None else weight.to(x.dtype)
    w = w / w.sum().clamp(min=torch.finfo(w.dtype).tiny)
    a, b = _centred(x, w), _centred(y, w)
    covariance, variance_x, variance_y = (w @ product @ w for product in (a * b, a * a, b * b))
    product = variance_x * variance_y
    varies = product > 0
    # The root has an infinite slope at 0, also where its value is not taken.
    return torch.where(varies, covariance / torch.where(varies, product, 1).sqrt(), 0 * covariance)


def _centred(values: Tensor, w: Tensor) -> Tensor:
    """Distances (B, B) without their weighted row, column and grand means."""
    rows = values[:, None] if values.ndim == 1 else values
    distances = torch.cdist(rows, rows, compute_mode="donot_use_mm_for_euclid_dist")
    mean = distances @ w
    return distances - mean[:, None] - mean[None, :] + w @ mean


@final
class DistanceCorrelation(Head):
    """A head whose scores are kept from telling a variable (DisCo).

    The loss is that of the head plus ``strength`` times the squared distance correlation of its
    scores with the variable over the jets of the batch. Batches should be large: of 256 jets of one
    class independent variables have 0.01 on average. A penalty that is too strong leaves scores
    that tell nothing at all: a correlation does not ask how far scores reach. On the bundled sample
    it happens from 3 on; a run may begin with the weights of one without penalty.

    Args:
        head: the task.
        variable: expression over fields of the jets, such as "mass".
        strength: factor on the squared distance correlation; 0 only keeps the head.
        for_class: take the jets of this class only, such as the background; None takes all.

    Raises:
        ValueError: ``strength`` < 0, or no such class.
    """

    def __init__(
        self,
        head: Head,
        variable: str = "mass",
        strength: float = 1.0,
        for_class: str | None = None,
    ) -> None:
        super().__init__()
        check_penalty(head, strength, for_class)
        self.head, self.variable, self.strength, self.for_class = (
            head,
            variable,
            strength,
            for_class,
        )
        self.width, self.constituent_width = head.width, head.constituent_width
        self.classes, self.names = head.classes, head.names
        self.targets = tuple(dict.fromkeys((*head.targets, variable)))
        self.constituent_labels = head.constituent_labels

    def loss(self, outputs: Tensor, jets: Batch, constituents: Tensor | None = None) -> Tensor:
        """Loss of the head plus ``strength`` times the squared distance correlation.

        Weights of jets count with their absolute values in the correlation.
        """
        inner = with_targets(jets, self.targets, self.head.targets)
        loss = self.head.loss(outputs, inner, constituents)
        variable = in_float32(jets.targets[:, self.targets.index(self.variable)])
        weight = weights_of(self.for_class, self.classes, jets)
        scores = self.head.scores(outputs)
        return loss + self.strength * distance_correlation(scores, variable, weight)

    def scores(self, outputs: Tensor) -> Tensor:
        """Those of the head, (B, S)."""
        return self.head.scores(outputs)

    def class_logits(self, outputs: Tensor) -> Tensor:
        """Those of the head, (B, K)."""
        return self.head.class_logits(outputs)

    def fit_targets(self, values: NDArray[np.float64], y: NDArray[np.int64] | None) -> None:
        """As the head does."""
        mine = [self.targets.index(name) for name in self.head.targets]
        self.head.fit_targets(values[:, mine], y)


def check_penalty(head: Head, strength: float, for_class: str | None) -> None:
    """Whether a penalty on a head makes sense.

    Args:
        head: the task.
        strength: factor on the penalty.
        for_class: the class whose jets count.

    Raises:
        ValueError: ``strength`` < 0, or no such class.
    """
    if strength < 0:
        raise ValueError(f"strength should not be negative, got {strength}")
    if for_class is not None and for_class not in head.classes:
        raise ValueError(
            f"no class {for_class!r} in {type(head).__name__}, which has "
            f"{', '.join(head.classes) or 'none'}"
        )


def weights_of(for_class: str | None, classes: tuple[str, ...], jets: Batch) -> Tensor:
    """What each jet of a batch counts in a penalty: its absolute weight, 0 for other classes.

    Args:
        for_class: name of the class that counts; None for all.
        classes: names of the K classes.
        jets: the batch.

    Returns:
        Shape (B,), in float32 at least.
    """
    weight = jets.get("weight")
    size, place = jets.targets.shape[0], jets.targets.device
    absolute = torch.ones(size, device=place) if weight is None else in_float32(weight).abs()
    if for_class is None:
        return absolute
    weights: Tensor = absolute * (jets.y == classes.index(for_class))
    return weights
