"""Batch normalisation of pairs as a map that is applied elsewhere, some jets at a time.

Shapes: E pairs, C channels.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn

__all__ = ["Moments", "scale_and_shift"]


@dataclass(frozen=True)
class Moments:
    """Sums over all pairs of a batch, from which their mean and variance follow.

    Attributes:
        near: a value somewhere near the mean, so that the squares do not cancel, shape (C,).
        first: sum of the deviations from it, shape (C,).
        second: sum of the squared deviations, shape (C,).
        count: number of pairs E, a scalar.
    """

    near: Tensor
    first: Tensor
    second: Tensor
    count: Tensor

    def mean_and_variance(self) -> tuple[Tensor, Tensor]:
        """Mean and biased variance, shape (C,) each; of no pairs, 0 beside ``near``."""
        count = self.count.clamp(min=1)
        mean = self.first / count
        return self.near + mean, (self.second / count - mean.square()).clamp(min=0)


def scale_and_shift(norm: nn.Module, moments: Moments | None) -> tuple[Tensor, Tensor]:
    """What a batch normalisation multiplies each channel with, and what it adds then.

    Args:
        norm: a batch-normalisation layer of torch; in training its running statistics are updated.
        moments: of the pairs; not needed in evaluation. With fewer than two pairs the running
            statistics serve, and stay.

    Returns:
        Shape (C,) each, differentiable in the moments and the parameters.
    """
    norm = cast(nn.BatchNorm1d, norm)
    mean, variance = cast(Tensor, norm.running_mean), cast(Tensor, norm.running_var)
    enough = moments is not None and (torch.compiler.is_compiling() or int(moments.count) > 1)
    if norm.training and moments is not None and enough:
        batch_mean, batch_variance = moments.mean_and_variance()
        with torch.no_grad():
            momentum = cast(float, norm.momentum)
            mean.lerp_(batch_mean.to(mean.dtype), momentum)
            unbiased = batch_variance * moments.count / (moments.count - 1)
            variance.lerp_(unbiased.to(variance.dtype), momentum)
            cast(Tensor, norm.num_batches_tracked).add_(1)
        mean, variance = batch_mean, batch_variance
    scale = norm.weight * torch.rsqrt(variance + norm.eps)
    return scale, norm.bias - mean * scale
