r"""Whitening of strongly correlated inputs by statistics that are gathered in training.

Inputs f become :math:`W (f - \langle f \rangle)`, with
:math:`W = (C + \lambda)^{-1/2} \operatorname{diag}(1/\sigma)` of their standard deviations and
correlations C. Of all maps to uncorrelated inputs this one, called ZCA, changes them least, and it
changes little when C does: weights on it keep their meaning.

A. Kessy, A. Lewin and K. Strimmer, "Optimal whitening and decorrelation", Am. Stat. 72 (2018) 309,
arXiv:1512.00809.

Shapes: B jets, D inputs.
"""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["Whitening"]

# The least variance of a direction, of standardised inputs, that is blown up to 1.
FLOOR = 1e-4


class Whitening(nn.Module):
    """Means and the matrix W, taken from the batches of training.

    Mean and covariance are those of all jets of all batches so far, as in batch normalisation
    without momentum. What is used of them are the values when the number of jets had last doubled,
    as W costs 0.5 s for D = 999; so 20 times in a million jets. Of few jets not much is known:
    while n are seen, a variance below 1/n counts as that.

    Args:
        size: D.

    Attributes:
        seen: number of jets, and that when W was last made, shape (2,).
        mean: of all jets, shape (D,).
        covariance: of all jets, shape (D, D).
        centre: the mean that is used, shape (D,).
        whitener: the W that is used, shape (D, D).
    """

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        for name, shape in (
            ("seen", (2,)),
            ("mean", (size,)),
            ("covariance", (size, size)),
            ("centre", (size,)),
            ("whitener", (size, size)),
        ):
            self.register_buffer(name, torch.zeros(shape, dtype=torch.float64))
        self.reset()

    def reset(self) -> None:
        """Forget all jets."""
        for buffer in self.buffers():
            buffer.zero_()
        cast(Tensor, self.whitener).fill_diagonal_(1)

    def forward(self, values: Tensor) -> tuple[Tensor, Tensor]:
        """Centre (D,) and W (D, D), in the type of the values; in training they are taken in first.

        Args:
            values: inputs of a batch, shape (B, D); no gradient flows to them.
        """
        if self.training:
            self.update(values.detach())
        centre, whitener = cast(Tensor, self.centre), cast(Tensor, self.whitener)
        return centre.to(values.dtype), whitener.to(values.dtype)

    def update(self, values: Tensor, weight: Tensor | None = None) -> None:
        """Take in a batch, and renew what is used if the number of jets has doubled.

        Args:
            values: shape (B, D).
            weight: how often each jet counts, shape (B,); once if not given.
        """
        if weight is None:
            weight = values.new_ones(values.shape[0])
        _update(values, weight, *self.buffers(), False)

    def renew(self) -> None:
        """Use all that was seen."""
        buffers = list(self.buffers())
        nothing = buffers[1].new_zeros((0, self.size))
        _update(nothing, nothing[:, 0], *buffers, True)

    def unwhitener(self) -> Tensor:
        """The inverse of W, shape (D, D), for the statistics of all jets."""
        deviation, variances, axes = _spectrum(*list(self.buffers())[:3])
        return deviation[:, None] * (axes * variances.sqrt()) @ axes.mT


def _spectrum(seen: Tensor, mean: Tensor, covariance: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Standard deviations (D,), eigenvalues of the correlations (D,), eigenvectors (D, D)."""
    noise = 1 / seen[0].double()
    covariance = covariance.double()
    variance = covariance.diagonal() + noise * mean.double().square()
    # What was 0 in all jets counts as it is.
    deviation = torch.where(variance > 0, variance, 1).sqrt()
    correlation = covariance / deviation / deviation[:, None]
    variances, axes = torch.linalg.eigh((correlation + correlation.mT) / 2)
    return deviation, variances.clamp(min=0) + FLOOR + noise, axes


@torch.library.custom_op(
    "hepgen::whitening",
    mutates_args=("seen", "mean", "covariance", "centre", "whitener"),
)
def _update(
    values: Tensor,
    weight: Tensor,
    seen: Tensor,
    mean: Tensor,
    covariance: Tensor,
    centre: Tensor,
    whitener: Tensor,
    anyway: bool,
) -> None:
    values, weight = values.to(torch.float64), weight.to(torch.float64)
    total = float(weight.sum())
    if total > 0:
        # Chan, Golub and LeVeque's merging of two samples.
        here = weight @ values / total
        centred = values - here
        share = total / (float(seen[0]) + total)
        difference = here - mean.double()
        spread = (centred.mT * weight) @ centred / total
        spread += (1 - share) * torch.outer(difference, difference)
        covariance.mul_(1 - share).add_(share * spread)
        mean.add_(share * difference)
        seen[0] += total
    if seen[0] > 0 and (anyway or seen[0] >= 2 * seen[1]):
        deviation, variances, axes = _spectrum(seen, mean, covariance)
        whitener.copy_((axes * variances.rsqrt()) @ axes.mT / deviation)
        centre.copy_(mean)
        seen[1] = seen[0]


@_update.register_fake
def _(
    values: Tensor,
    weight: Tensor,
    seen: Tensor,
    mean: Tensor,
    covariance: Tensor,
    centre: Tensor,
    whitener: Tensor,
    anyway: bool,
) -> None:
    return None
