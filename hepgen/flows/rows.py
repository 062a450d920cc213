"""Batches of rows, each a point of D numbers, as the trainer takes them.

The order of an epoch and the noise on it are pure functions of (seed, epoch, batch), so a run can
be taken up at any batch.

Shapes: B rows of a batch, N rows of the whole, D dimensions, C context.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields, replace
from typing import Any

import torch
from torch import Tensor

from hepgen.training.randomness import seed_of

__all__ = ["RowBatches", "Rows"]


@dataclass(frozen=True)
class Rows:
    """Some points, and what goes with them.

    Attributes:
        x: the points, shape (B, D).
        context: what their density depends on, shape (B, C).
        weight: shape (B,).
        latent: where a teacher's transform has them in its latent space, shape (B, D).
        log_density: what a teacher's logarithm of the density at them is, shape (B,).
        origin: a hash of the table that they are from, int64, shape (1,).
    """

    x: Tensor
    context: Tensor | None = None
    weight: Tensor | None = None
    latent: Tensor | None = None
    log_density: Tensor | None = None
    origin: Tensor | None = None

    def __len__(self) -> int:
        return self.x.shape[0]

    def to_dict(self) -> dict[str, Tensor]:
        """The tensors that there are, by name."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: tensor for name, tensor in named if tensor is not None}

    def to(self, *where: Any, **options: Any) -> Rows:
        """The same on another device or in another type.

        Args:
            *where: as of ``torch.Tensor.to``; a type changes floating-point numbers only.
            **options: likewise.
        """
        moved = {
            # A hash of whole numbers cannot be rounded.
            name: tensor if name == "origin" else tensor.to(*where, **options)
            for name, tensor in self.to_dict().items()
        }
        return replace(self, **moved)

    def take(self, which: Tensor | slice) -> Rows:
        """Some of the rows.

        Args:
            which: their numbers or a mask, or a slice.
        """
        taken = {
            name: tensor if name == "origin" else tensor[which]
            for name, tensor in self.to_dict().items()
        }
        return replace(self, **taken)


class RowBatches:
    """The batches of a table, epoch by epoch, of sizes that differ by one at most.

    Args:
        rows: the whole table, on the CPU.
        batch_size: greatest number of rows in a batch.
        shuffle: whether each epoch has its own random order.
        seed: of the orders and the noise.
        dtype: of the floating-point numbers of the batches.
        prepare: what becomes of the points of a batch, given the generator of its noise.

    Raises:
        ValueError: there are no rows, or ``batch_size`` is below 1.
    """

    noun = "rows"

    def __init__(
        self,
        rows: Rows,
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        dtype: torch.dtype = torch.float32,
        prepare: Callable[[Tensor, torch.Generator], Tensor] | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: wanted at least 1")
        if len(rows) < 1:
            raise ValueError("no rows to make batches of")
        self.rows = replace(rows, origin=_hash(rows))
        self.shuffle, self.seed, self.dtype, self.prepare = shuffle, seed, dtype, prepare
        self.number = -(-len(rows) // batch_size)

    def __len__(self) -> int:
        return self.number

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Rows]:
        """The batches of one epoch.

        Args:
            epoch: which, from 0.
            start: how many batches to leave out at the beginning.

        Yields:
            Rows with ``origin``, so that a run is not taken up with another table.
        """
        total, order = len(self.rows), None
        if self.shuffle:
            generator = torch.Generator().manual_seed(seed_of("order", self.seed, epoch))
            order = torch.randperm(total, generator=generator)
        for step in range(start, self.number):
            piece = slice(total * step // self.number, total * (step + 1) // self.number)
            rows = self.rows.take(piece if order is None else order[piece])
            if self.prepare is not None:
                noise = torch.Generator().manual_seed(seed_of("noise", self.seed, epoch, step))
                rows = replace(rows, x=self.prepare(rows.x, noise))
            yield rows.to(self.dtype)


def _hash(rows: Rows) -> Tensor:
    digest = hashlib.sha256()
    for name, tensor in replace(rows, origin=None).to_dict().items():
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().data)
    return torch.tensor([int.from_bytes(digest.digest()[:8], "little") >> 1])
