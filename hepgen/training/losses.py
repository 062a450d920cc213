"""The running loss of an epoch, fetched from the device now and then, and never if not finite."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from hepgen.training.finite import loss_not_finite
from hepgen.training.progress import Progress
from hepgen.training.sources import BatchSource
from hepgen.training.state import State

__all__ = ["Losses"]

# On an accelerator fetching each loss would make it wait for Python.
FETCH_EVERY = 16


@dataclass
class _Loss:
    value: Tensor
    jets: int
    batch: int
    step: int
    lr: float


class Losses:
    """Adds the losses of the batches up into the state.

    Args:
        state: where ``loss_sum`` and ``jets`` grow.
        model: for the message if a loss is not finite.
        train: where the batch of such a loss is had again.
        progress: gets what was fetched.
        at_once: whether to fetch every loss as it comes, which costs nothing on a CPU.
    """

    def __init__(
        self,
        state: State,
        model: nn.Module,
        train: BatchSource,
        progress: Progress,
        at_once: bool,
    ) -> None:
        self.state, self.model, self.train, self.progress = state, model, train, progress
        self.fetch_every = 1 if at_once else FETCH_EVERY
        self.last = math.nan
        self._waiting: list[_Loss] = []

    def add(self, value: Tensor, jets: int, batch: int, step: int, lr: float) -> None:
        """Take the loss of one batch.

        Args:
            value: the loss, a scalar still on the device.
            jets: jets of the batch.
            batch: its number in the epoch, from 0.
            step: the optimiser step it is for, from 1.
            lr: the learning rate of that step.
        """
        self._waiting.append(_Loss(value, jets, batch, step, lr))

    def settle_if_due(self) -> None:
        """Settle if enough losses wait.

        Raises:
            NotFinite: see `settle`.
        """
        if len(self._waiting) >= self.fetch_every:
            self.settle()

    def settle(self) -> None:
        """Fetch the losses that wait and add them up.

        Raises:
            NotFinite: one is NaN or infinite; the message names step, batch, learning rate, and
                what in the batch is not finite.
        """
        if not self._waiting:
            return
        waiting, self._waiting = self._waiting, []
        values = torch.stack([loss.value for loss in waiting]).tolist()
        for loss, value in zip(waiting, values, strict=True):
            if not math.isfinite(value):
                batch = next(iter(self.train.epoch(self.state.epoch, loss.batch)))
                where = (
                    f"step {loss.step}, batch {loss.batch + 1} of epoch {self.state.epoch + 1}, "
                    f"lr {loss.lr:.3g}"
                )
                raise loss_not_finite(value, self.model, batch, where)
            self.state.loss_sum += value * loss.jets
            self.state.jets += loss.jets
        self.last = values[-1]
        jets = sum(loss.jets for loss in waiting)
        mean = self.state.loss_sum / self.state.jets
        self.progress.advance(len(waiting), jets, mean, waiting[-1].lr)
