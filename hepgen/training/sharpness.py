r"""Sharpness-aware minimisation: the gradient is that of the worst place near the weights.

P. Foret et al., "Sharpness-aware minimization for efficiently improving generalization",
arXiv:2010.01412. Of a loss L at weights w, the step goes along the gradient at
:math:`w + \rho\, \nabla L / |\nabla L|`. Each step costs two.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn
from torch.nn.modules.batchnorm import _NormBase

__all__ = ["back_and_step", "uphill"]


@contextmanager
def uphill(optimizer: Any, model: nn.Module) -> Iterator[None]:
    """Weights a radius uphill, gradients cleared; running means stand still meanwhile.

    A backward pass comes next, and then `back_and_step`.

    Args:
        optimizer: pytorch_optimizer's SAM, with gradients.
        model: what it trains.
    """
    optimizer.first_step(zero_grad=True)
    # A momentum of 0 leaves running means alone, while the batch still is normalised by itself.
    norms = {m: m.momentum for m in model.modules() if isinstance(m, _NormBase)}
    counts = [m.num_batches_tracked for m in norms if m.num_batches_tracked is not None]
    before = [count.clone() for count in counts]
    for module in norms:
        module.momentum = 0.0
    try:
        yield
    finally:
        for module, momentum in norms.items():
            module.momentum = momentum
        for count, old in zip(counts, before, strict=True):
            count.copy_(old)


def back_and_step(optimizer: Any) -> None:
    """Put the weights back to where they were and take the step along their new gradients.

    Args:
        optimizer: pytorch_optimizer's SAM, after `uphill` and a backward pass.
    """
    optimizer.second_step()
