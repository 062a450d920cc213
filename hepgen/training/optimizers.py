"""Optimisers by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from functools import partial
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from hepgen.training.parameters import rate_factors

__all__ = ["OPTIMIZERS", "make_optimizer"]


def _lion(groups: Any, **options: Any) -> Optimizer:
    from pytorch_optimizer import Lion

    return Lion(groups, **options)


def _ranger(groups: Any, **options: Any) -> Optimizer:
    from pytorch_optimizer import Ranger

    # As weaver has it: SGD until the variance is known, and gradients not centralised.
    return Ranger(groups, degenerated_to_sgd=True, use_gc=False, **options)


OPTIMIZERS: dict[str, Callable[..., Optimizer]] = {
    "adam": torch.optim.Adam,
    "adamw": torch.optim.AdamW,
    "lion": _lion,
    "radam": partial(torch.optim.RAdam, decoupled_weight_decay=True),
    "ranger": _ranger,
    "sgd": partial(torch.optim.SGD, momentum=0.9, nesterov=True),
}
"""Name -> function of parameter groups, ``lr`` and ``weight_decay``.

Lion (arXiv:2302.06675) takes steps of one size in each parameter: its rate should be 3 to 10 times
smaller, and its weight decay as much larger, than those of AdamW. Ranger is RAdam
(arXiv:1908.03265) with Lookahead (arXiv:1907.08610), the default of weaver, with whose steps it
agrees.
"""


def make_optimizer(
    which: str | Callable[[nn.Module], Optimizer],
    model: nn.Module,
    *,
    lr: float,
    weight_decay: float,
    lr_factors: Mapping[str, float] | None = None,
    sharpness: float | None = None,
) -> Optimizer:
    """An optimiser of the trainable parameters of a model.

    Args:
        which: a name of ``OPTIMIZERS``, or a function that makes the optimiser of the model. Each
            of its parameter groups keeps its own learning rate as its peak, so that a new head may
            learn faster than what is below it.
        model: what to train.
        lr: peak learning rate; not used with a function.
        weight_decay: weight decay of all parameters; not used with a function.
        lr_factors: see `hepgen.training.parameters.rate_factors`.
        sharpness: radius of sharpness-aware minimisation (arXiv:2010.01412), see
            `hepgen.training.sharpness`; None leaves it out.

    Returns:
        The optimiser; its groups hold their peak rate as ``initial_lr``.

    Raises:
        ValueError: no optimiser has this name, nothing in the model can be trained, or factors or a
            sharpness with a function.
    """
    parameters = {n: p for n, p in model.named_parameters() if p.requires_grad}
    if not parameters:
        raise ValueError(
            f"{type(model).__name__} has no parameter that requires a gradient; is all frozen?"
        )
    if not isinstance(which, str):
        if lr_factors or sharpness is not None:
            given = "lr_factors" if lr_factors else "sharpness"
            raise ValueError(f"{given} goes with an optimizer by name, not with a function")
        optimizer = which(model)
    elif which in OPTIMIZERS:
        factors = rate_factors(parameters, lr_factors or {})
        groups = [
            {"params": [parameters[n] for n in names], "lr": lr * factor}
            for factor, names in factors.items()
        ]
        optimizer = _make(OPTIMIZERS[which], groups, lr, weight_decay, sharpness)
    else:
        near = get_close_matches(which, OPTIMIZERS, n=1, cutoff=0.0)[0]
        names = ", ".join(OPTIMIZERS)
        raise ValueError(f"no optimizer {which!r}; nearest: {near}; there are {names}")
    for group in optimizer.param_groups:
        group["initial_lr"] = group["lr"]
    return optimizer


def _make(
    make: Callable[..., Optimizer],
    groups: list[dict[str, Any]],
    lr: float,
    weight_decay: float,
    sharpness: float | None,
) -> Optimizer:
    if sharpness is None:
        return make(groups, lr=lr, weight_decay=weight_decay)
    from pytorch_optimizer import SAM

    # SAM wants a class, and asks no more of it than that a call makes an optimiser.
    return SAM(groups, make, rho=sharpness, lr=lr, weight_decay=weight_decay)  # type: ignore[arg-type]
