r"""Densities of one number that a network gives the parameters of: normal, mixture, quantiles.

C. M. Bishop, "Mixture density networks" (1994), Aston University NCRG/94/004; R. Koenker and
G. Bassett, "Regression quantiles", Econometrica 46 (1978) 33.

All are of a standardised target z; `Moments` of the target itself follow by
:math:`u = c + s z` and, in logarithmic units, :math:`t = e^u`.

Shapes: B jets, T targets, C components, Q levels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

__all__ = [
    "Moments",
    "mixture_loss",
    "mixture_parts",
    "normal_loss",
    "normal_moments",
    "ordered",
    "pinball_loss",
]

# Half the logarithm of the variance stays within +-2.5: between 0.08 and 12 spreads of the sample.
_REACH = 5.0


class Moments(NamedTuple):
    """Mean and standard deviation of the same shape."""

    mean: Tensor
    sigma: Tensor


def _log_variance(raw: Tensor) -> Tensor:
    """Kept from running away where a few jets lie far off, with a gradient everywhere."""
    return _REACH * torch.tanh(raw / _REACH)


def normal_loss(outputs: Tensor, z: Tensor) -> Tensor:
    r"""Minus the logarithm of a normal density.

    Args:
        outputs: mean and raw log-variance, shape (..., 2).
        z: targets, shape (...).

    Returns:
        In nats, shape (...).
    """
    mean, log_variance = outputs[..., 0], _log_variance(outputs[..., 1])
    square = (z - mean).square() * torch.exp(-log_variance)
    return (square + log_variance + math.log(2 * math.pi)) / 2


def normal_moments(outputs: Tensor, centre: Tensor, scale: Tensor, *, log: bool) -> Moments:
    r"""Mean and standard deviation of a target in its own units.

    In logarithmic units the target is log-normal, and its mean :math:`e^{\mu + \sigma^2 / 2}`.

    Args:
        outputs: mean and raw log-variance of the standardised target, shape (..., 2).
        centre: of the standardisation, of a shape that goes with (...).
        scale: likewise.
        log: whether the standardised number is a logarithm.
    """
    mean = centre + scale * outputs[..., 0]
    sigma = scale * torch.exp(_log_variance(outputs[..., 1]) / 2)
    if not log:
        return Moments(mean, sigma)
    mean = torch.exp(mean + sigma.square() / 2)
    return Moments(mean, mean * torch.expm1(sigma.square()).sqrt())


def mixture_loss(outputs: Tensor, z: Tensor) -> Tensor:
    """Minus the logarithm of a mixture of C normal densities.

    Args:
        outputs: logit, mean and raw log-variance of each component, shape (..., C, 3).
        z: targets, shape (...).

    Returns:
        In nats, shape (...).
    """
    each = outputs[..., 0].log_softmax(dim=-1) - normal_loss(outputs[..., 1:], z[..., None])
    return -each.logsumexp(dim=-1)


def mixture_parts(
    outputs: Tensor, centre: Tensor, scale: Tensor, *, log: bool
) -> tuple[Moments, Tensor, Moments]:
    """A mixture in the target's own units.

    Args:
        outputs: as for `mixture_loss`.
        centre: of the standardisation, of a shape that goes with (...).
        scale: likewise.
        log: whether the standardised number is a logarithm.

    Returns:
        Moments of the whole (...), weights of the components (..., C), and their moments (..., C).
    """
    parts = normal_moments(outputs[..., 1:], centre[..., None], scale[..., None], log=log)
    share = outputs[..., 0].softmax(dim=-1)
    mean = (share * parts.mean).sum(dim=-1)
    # Around the mean of the whole, as a difference of squares would cancel.
    square = parts.sigma.square() + (parts.mean - mean[..., None]).square()
    return Moments(mean, (share * square).sum(dim=-1).sqrt()), share, parts


def ordered(outputs: Tensor) -> Tensor:
    """Numbers that ascend along the last axis: the first, and positive steps from each to the next.

    Args:
        outputs: shape (..., Q).
    """
    steps = functional.softplus(outputs[..., 1:])
    return torch.cat([outputs[..., :1], steps], dim=-1).cumsum(dim=-1)


def pinball_loss(outputs: Tensor, z: Tensor, levels: Sequence[float]) -> Tensor:
    """Mean over the levels of the loss whose minimum is the quantile.

    Args:
        outputs: raw quantiles as `ordered` takes them, shape (..., Q).
        z: targets, shape (...).
        levels: Q numbers between 0 and 1.

    Returns:
        Shape (...).
    """
    above = z[..., None] - ordered(outputs)
    level = above.new_tensor(list(levels))
    return torch.maximum(level * above, (level - 1) * above).mean(dim=-1)
