"""Where a NaN came from."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from hepgen.training.errors import NotFinite
from hepgen.training.sources import tensors

__all__ = ["check_weights", "loss_not_finite"]


def loss_not_finite(loss: float, model: nn.Module, batch: Any, where: str) -> NotFinite:
    """The error for a loss that is NaN or infinite.

    Args:
        loss: the loss.
        model: the model that gave it.
        batch: the batch it was given.
        where: step, batch and learning rate, in words.

    Returns:
        An error to raise; it tells what in the batch and in the weights is not finite.
    """
    bad = [
        f"{int((~t.isfinite()).sum()):,} of the {t.numel():,} values of {name!r} are not finite"
        for name, t in tensors(batch)
        if t.is_floating_point() and not t.isfinite().all()
    ]
    weights = _not_finite(model)
    if weights:
        bad.append(f"the weights {_some(weights)} are not finite either (a smaller lr, or clip=1?)")
    causes = "; ".join(bad) if bad else "all values of the batch and all weights are finite"
    return NotFinite(f"loss is {loss} at {where}: {causes}")


def check_weights(model: nn.Module, where: str) -> None:
    """Refuse to keep weights that are not finite.

    Args:
        model: the model.
        where: step and learning rate, in words.

    Raises:
        NotFinite: a trainable parameter is NaN or infinite.
    """
    weights = _not_finite(model)
    if weights:
        raise NotFinite(
            f"after {where} the weights {_some(weights)} are not finite, although the loss was: "
            "the gradients overflowed; take a smaller lr, or set clip=1"
        )


def _not_finite(model: nn.Module) -> list[str]:
    with torch.no_grad():
        return [name for name, p in model.named_parameters() if not bool(p.isfinite().all())]


def _some(names: list[str]) -> str:
    more = f" and {len(names) - 3} more" if len(names) > 3 else ""
    return ", ".join(names[:3]) + more
