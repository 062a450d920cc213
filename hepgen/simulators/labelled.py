"""Showers of several samples, as a network learns to tell them apart.

Shapes: B showers, F features.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor

from hepgen.training.randomness import seed_of

__all__ = ["Labelled", "LabelledBatches"]


@dataclass(frozen=True)
class Labelled:
    """Features of showers of several samples.

    Attributes:
        x: features, shape (B, F).
        label: which sample each is of, int64, shape (B,).
        weight: shape (B,).
    """

    x: Tensor
    label: Tensor
    weight: Tensor

    @classmethod
    def of(
        cls, x: ArrayLike, label: ArrayLike, weight: ArrayLike | None = None, *, even: bool = True
    ) -> Labelled:
        """From arrays.

        Args:
            x: features, shape (B, F).
            label: whole numbers from 0, shape (B,).
            weight: shape (B,); ones if not given.
            even: scale the weights so that all samples have the same sum of them.

        Raises:
            ValueError: arrays of different length, features that are NaN or infinite, or negative
                weights.
        """
        features, labels = np.asarray(x), np.asarray(label, dtype=np.int64)
        weights = np.ones(len(labels)) if weight is None else np.asarray(weight, dtype=np.float64)
        if features.ndim != 2 or not len(features) == len(labels) == len(weights):
            shapes = f"{features.shape}, {labels.shape}, {weights.shape}"
            raise ValueError(f"features, labels and weights have shapes {shapes}")
        if not np.isfinite(features).all():
            bad = int((~np.isfinite(features).all(axis=1)).sum())
            raise ValueError(f"features of {bad} of {len(features)} showers are NaN or infinite")
        if not (np.isfinite(weights).all() and (weights >= 0).all()):
            raise ValueError("a classifier needs weights that are 0 or more")
        if even:
            sums = np.bincount(labels, weights)
            factor = np.divide(1, sums, out=np.zeros(len(sums)), where=sums > 0)
            weights = weights * factor[labels]
            weights = weights * len(weights) / weights.sum()
        return cls(
            torch.from_numpy(np.ascontiguousarray(features)),
            torch.from_numpy(labels),
            torch.from_numpy(weights.astype(np.float32)),
        )

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, which: Any) -> Labelled:
        return Labelled(self.x[which], self.label[which], self.weight[which])

    def to_dict(self) -> dict[str, Tensor]:
        """The tensors by name."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    def to(self, *where: Any, **options: Any) -> Labelled:
        """The same on another device or in another type.

        Args:
            *where: as of ``torch.Tensor.to``.
            **options: likewise.
        """
        return replace(self, **{n: t.to(*where, **options) for n, t in self.to_dict().items()})


class LabelledBatches:
    """The batches of a sample, epoch by epoch.

    Args:
        sample: features and labels.
        batch_size: greatest number of showers in a batch, on each rank.
        shuffle: whether each epoch has its own order.
        seed: of the orders.
        rank: which process this is.
        world_size: number of processes, each of which gets every so manyth batch.
    """

    noun = "showers"

    def __init__(
        self,
        sample: Labelled,
        *,
        batch_size: int,
        shuffle: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.sample, self.shuffle, self.seed = sample, shuffle, seed
        self.rank, self.world_size = rank, world_size
        steps = max(
            1, min(math.ceil(len(sample) / (batch_size * world_size)), len(sample) // world_size)
        )
        self.number = steps * world_size

    def __len__(self) -> int:
        return self.number // self.world_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Labelled]:
        """The batches of one epoch, of sizes that differ by one at most.

        Args:
            epoch: which, from 0.
            start: how many to leave out at the beginning.
        """
        size = len(self.sample)
        order = torch.arange(size)
        if self.shuffle:
            generator = torch.Generator().manual_seed(seed_of("order", self.seed, epoch))
            order = torch.randperm(size, generator=generator)
        for step in range(start, len(self)):
            mine = step * self.world_size + self.rank
            rows = order[size * mine // self.number : size * (mine + 1) // self.number]
            yield self.sample[rows]
