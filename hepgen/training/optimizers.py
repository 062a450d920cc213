"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Callable
from difflib import get_close_matches
from functools import partial

import torch
from torch import nn
from torch.optim import Optimizer

__all__ = ["OPTIMIZERS", "make_optimizer"]

OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "radam": partial(torch.optim.RAdam, decoupled_weight_decay=True),
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}


def make_optimizer(
    which: str | Callable[[nn.Module], Optimizer],
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
) -> Optimizer:
    """An optimiser of the trainable parameters of a model.

    Args:
        which: a name of ``OPTIMIZERS``, or a function that makes the optimiser of the model. Each
            of its parameter groups keeps its own learning rate as its peak, so that a new head may
            learn faster than what is below it.
        model: what to train.
        lr: peak learning rate; not used with a function.
        weight_decay: weight decay of all parameters; not used with a function.

    Returns:
        The optimiser; its groups hold their peak rate as ``initial_lr``.

    Raises:
        ValueError: no optimiser has this name, or nothing in the model can be trained.
    """
    parameters = [p for p in model.parameters() if p.requires_grad]
    if not parameters:
        raise ValueError(f"{type(model).__name__} has no parameter that requires a gradient")
    if not isinstance(which, str):
        optimizer = which(model)
    elif which in OPTIMIZERS:
        optimizer = OPTIMIZERS[which](parameters, lr=lr, weight_decay=weight_decay)
    else:
        near = get_close_matches(which, OPTIMIZERS, n=1, cutoff=0.0)[0]
        names = ", ".join(OPTIMIZERS)
        raise ValueError(f"no optimizer {which!r}; nearest: {near}; there are {names}")
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer
