"""Fully connected layers with ReLU, the plainest of networks.

Shapes: ... any axes in front, C channels.
"""

from __future__ import annotations

from collections.abc import Sequence

from torch import nn

__all__ = ["glorot_uniform", "he_uniform", "mlp"]


def mlp(width: int, channels: Sequence[int], dropout: float = 0.0) -> nn.Sequential:
    """Linear and ReLU in turn; ReLU, or dropout, comes last.

    Args:
        width: channels of what comes in.
        channels: widths of the layers.
        dropout: share of each layer that is dropped in training; 0 adds no module for it.

    Returns:
        Modules from (..., width) to (..., channels[-1]); without ``channels`` what leaves its
        argument as it is.
    """
    layers: list[nn.Module] = []
    for channel in channels:
        layers += [nn.Linear(width, channel), nn.ReLU()]
        layers += [nn.Dropout(dropout)] if dropout else []
        width = channel
    return nn.Sequential(*layers)


def he_uniform(module: nn.Module) -> None:
    r"""Weights as Keras' ``he_uniform`` begins them, biases 0.

    K. He et al., "Delving deep into rectifiers", arXiv:1502.01852: uniform in
    :math:`\pm\sqrt{6/C}` of C channels that come in.

    Args:
        module: a linear layer, which is changed, or any other, which is not; for ``apply``.
    """
    if isinstance(module, nn.Linear):
        nn.init.kaiming_uniform_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)


def glorot_uniform(module: nn.Module) -> None:
    r"""Weights as Keras' ``glorot_uniform`` begins them, its choice for dense layers; biases 0.

    X. Glorot and Y. Bengio, "Understanding the difficulty of training deep feedforward neural
    networks", AISTATS 2010: uniform in :math:`\pm\sqrt{6/(C+C')}` of C channels that come in and
    C' that go out.

    Args:
        module: a linear layer, which is changed, or any other, which is not; for ``apply``.
    """
    if isinstance(module, nn.Linear):
        nn.init.xavier_uniform_(module.weight)
        nn.init.zeros_(module.bias)
