"""The exponential moving average of the weights, which often does better than the last ones."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

__all__ = ["Average"]


class Average:
    r"""Weights and buffers averaged over the steps of a training.

    After step t the average a of the weights w becomes :math:`a + (1 - d_t)(w - a)` with
    :math:`d_t = \min(d, (1 + t) / (10 + t))`, so that the first steps, when there is not much to
    average yet, are soon forgotten. Whole numbers, such as counters, are taken as they are.

    Args:
        model: whose weights; the average begins with them.
        decay: d, between 0 and 1.

    Attributes:
        weights: the average, name -> tensor.
        aside: the model's own weights while it holds the average.
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        self.decay = decay
        self.aside: dict[str, Tensor] | None = None
        self.weights = {n: t.detach().clone() for n, t in model.state_dict().items()}

    @torch.no_grad()
    def update(self, model: nn.Module, step: int) -> None:
        """Take in the weights after one step.

        Args:
            model: whose weights.
            step: optimiser steps done, from 1.
        """
        decay = min(self.decay, (1 + step) / (10 + step))
        now = model.state_dict()
        floats = [n for n, t in self.weights.items() if t.is_floating_point()]
        torch._foreach_lerp_([self.weights[n] for n in floats], [now[n] for n in floats], 1 - decay)
        for name, tensor in self.weights.items():
            if not tensor.is_floating_point():
                tensor.copy_(now[name])

    def load(self, weights: dict[str, Tensor]) -> None:
        """Go on from an average that was kept.

        Args:
            weights: what ``weights`` was.
        """
        for name, tensor in self.weights.items():
            tensor.copy_(weights[name])

    @contextmanager
    def inside(self, model: nn.Module) -> Iterator[None]:
        """The model holds the average for a while.

        Args:
            model: gets its own weights back afterwards.
        """
        self.aside = {n: t.detach().clone() for n, t in model.state_dict().items()}
        model.load_state_dict(self.weights)
        try:
            yield
        finally:
            model.load_state_dict(self.aside)
            self.aside = None
