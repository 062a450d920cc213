"""Which learning rate to begin with: a short training whose rate grows, and what its loss does.

L. N. Smith, "Cyclical learning rates for training neural networks", arXiv:1506.01186.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray
from torch import nn
from torch.optim import Optimizer

from hepgen.training.devices import make_fabric
from hepgen.training.optimizers import make_optimizer
from hepgen.training.parameters import find_frozen, freezing, stop_statistics
from hepgen.training.progress import make_progress
from hepgen.training.randomness import isolated_randomness, seed_of, seed_torch
from hepgen.training.sources import BatchSource, batch_source, jets_in
from hepgen.training.state import copy_of_weights

if TYPE_CHECKING:
    from lightning.fabric import Fabric

__all__ = ["RateSearch", "find_rate"]

# Of the averaged loss, what a step keeps; steps until that is an average; how often its scale the
# averaged loss is above its lowest value where the search ends.
KEPT, FEWEST, EXPLODED = 0.9, 10, 3.0


@dataclass(frozen=True)
class RateSearch:
    """Losses at growing learning rates.

    Attributes:
        lr: learning rate of each step, shape (S,).
        loss: loss of each step's batch, shape (S,).
        smooth: the same, averaged over the last steps, shape (S,).
        suggestion: where the averaged loss falls most steeply, a peak rate to begin with.
        highest: where it is lowest; a rate above it is too high.
    """

    lr: NDArray[np.float64]
    loss: NDArray[np.float64]
    smooth: NDArray[np.float64]
    suggestion: float
    highest: float

    def __str__(self) -> str:
        return (
            f"lr {self.suggestion:.2g} (steepest fall of the loss); "
            f"lowest loss at {self.highest:.2g}; {len(self.lr)} steps "
            f"from {self.lr[0]:.2g} to {self.lr[-1]:.2g}"
        )


def find_rate(
    model: nn.Module,
    train: Any,
    *,
    lowest: float = 1e-6,
    highest: float = 1.0,
    steps: int = 150,
    batch_size: int = 256,
    optimizer: Literal["adam", "adamw", "lion", "radam", "ranger", "sgd"] = "adamw",
    weight_decay: float = 1e-2,
    lr_factors: dict[str, float] | None = None,
    freeze: list[str] | tuple[str, ...] = (),
    clip: float | None = None,
    class_weights: Literal["balanced"] | dict[str, float] | None = None,
    seed: int = 0,
    precision: str = "32-true",
    accelerator: str = "auto",
    progress: bool = True,
) -> RateSearch:
    """Train with a rate that grows by a constant factor each step, and see what the loss does.

    The model gets its weights back afterwards, and stays on the device of the search. The search
    ends early where the averaged loss has risen above its lowest value by three times that value,
    or by three times as much as losses have fallen, whichever is more: losses may be below 0.

    Args:
        model: anything with ``loss(batch) -> scalar``, see `hepgen.fit`.
        train: what ``fit`` would be given.
        lowest: learning rate of the first step.
        highest: learning rate of the last step.
        steps: number of steps; batches come again where there are fewer.
        batch_size: jets in a batch.
        optimizer: its name.
        weight_decay: as in ``fit``.
        lr_factors: as in ``fit``.
        freeze: as in ``fit``.
        clip: as in ``fit``; with it higher rates are stable.
        class_weights: as in ``fit``.
        seed: decides the batches and random numbers.
        precision: as in ``fit``.
        accelerator: as in ``fit``.
        progress: show a bar.

    Returns:
        Rates, losses and a suggestion.

    Raises:
        ValueError: rates that do not grow, fewer than 10 steps, or what ``fit`` raises.
    """
    if not 0 < lowest < highest < math.inf or steps < FEWEST:
        raise ValueError(
            f"wanted 0 < lowest < highest and at least {FEWEST} steps, "
            f"not {lowest=}, {highest=}, {steps=}"
        )
    fabric = make_fabric(accelerator, 1, precision)
    if clip is not None and not 0 < clip < math.inf:
        raise ValueError(f"clip={clip!r}: wanted a number above 0")
    source = batch_source(
        model,
        train,
        what="train",
        batch_size=batch_size,
        shuffle=True,
        seed=seed,
        class_weights=class_weights,
    )
    before, mode = copy_of_weights(model), model.training
    frozen = find_frozen(model, freeze)
    rates = np.geomspace(lowest, highest, steps)
    with isolated_randomness(fabric.device), freezing(model, frozen):
        made = make_optimizer(
            optimizer, model, lr=1.0, weight_decay=weight_decay, lr_factors=lr_factors
        )
        bar = make_progress(progress)
        try:
            bar.begin(1, 1, steps, 0)
            stop_statistics(model.train(), frozen)
            losses = list(_losses(model, made, source, rates, fabric, seed, clip, bar.advance))
        finally:
            bar.close()
            model.load_state_dict(before)
            model.train(mode)
    return _judge(rates[: len(losses)], np.array(losses))


def _losses(
    model: nn.Module,
    optimizer: Optimizer,
    source: BatchSource,
    rates: NDArray[np.float64],
    fabric: Fabric,
    seed: int,
    clip: float | None,
    advance: Callable[[int, int, float, float], object],
) -> Iterator[float]:
    """The loss of each step, until it explodes."""
    model.to(fabric.device)
    total, best, values = 0.0, math.inf, list[float]()
    for step, (rate, batch) in enumerate(zip(rates, _endless(source), strict=False)):
        for group in optimizer.param_groups:
            group["lr"] = group["initial_lr"] * rate
        seed_torch(seed_of(seed, "rates", step), fabric.device)
        optimizer.zero_grad()
        with fabric.autocast():
            loss = model.loss(fabric.to_device(batch))  # type: ignore[operator]
        loss.backward()
        if clip is not None:
            nn.utils.clip_grad_norm_(model.parameters(), clip)
        optimizer.step()
        value = float(loss.detach())
        if not math.isfinite(value):
            return
        values.append(value)
        total = KEPT * total + (1 - KEPT) * value
        smooth = total / (1 - KEPT ** (step + 1))
        best = min(best, smooth)
        scale = max(abs(best), max(values[:FEWEST]) - min(values))
        if step >= FEWEST and smooth > best + EXPLODED * scale:
            return
        advance(1, jets_in(batch), value, float(rate))
        yield value


def _endless(source: BatchSource) -> Iterator[Any]:
    epoch = 0
    while True:
        yield from source.epoch(epoch, 0)
        epoch += 1


def _judge(rates: NDArray[np.float64], losses: NDArray[np.float64]) -> RateSearch:
    if len(losses) < FEWEST:
        raise ValueError(
            f"the loss was no longer finite after {len(losses)} steps, at learning rate "
            f"{rates[-1] if len(rates) else 0:.2g}: begin with a lower one"
        )
    smooth, total = np.empty(len(losses)), 0.0
    for step, loss in enumerate(losses):
        total = KEPT * total + (1 - KEPT) * loss
        smooth[step] = total / (1 - KEPT ** (step + 1))
    lowest = int(np.argmin(smooth))
    # What comes after the lowest loss is no longer learning.
    learning = slice(min(FEWEST, lowest), lowest + 1)
    slope = np.gradient(smooth, np.log(rates))[learning]
    steepest = float(rates[learning][int(np.argmin(slope))])
    return RateSearch(rates, losses, smooth, steepest, float(rates[lowest]))
