"""The batches of an epoch: which jets, in which order, on which rank.

All of it is a pure function of (seed, epoch), on every machine and with every version of numpy: a
run can be taken up at any batch, and ranks agree without talking.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from hepgen.data.batches import Batch
from hepgen.data.packed import PackedJets
from hepgen.io.errors import EmptyInput

__all__ = ["Batches", "Steps", "permutation"]

Indices = NDArray[np.int64]


def permutation(size: int, *key: int) -> Indices:
    """A random order of ``size`` things that depends on the key alone, shape (size,).

    Args:
        size: how many.
        key: integers >= 0, such as (seed, epoch).
    """
    # Bit generators keep their streams from version to version, Generator.permutation need not.
    bits = np.random.Philox(np.random.SeedSequence(key)).random_raw(size)
    return np.argsort(bits, kind="stable")


class Steps:
    """The jets 0 to n of an epoch, cut into batches for each rank.

    All ranks have the same number of batches, sizes differ by at most one, so that no small batch
    is left for the end, and no jet is left out. A batch has at most ``batch_size`` jets; one more
    where there are hardly more jets than ranks.

    Args:
        num_jets: n.
        batch_size: greatest number of jets in a batch.
        rank: which rank this is.
        world_size: number of ranks.

    Raises:
        EmptyInput: fewer jets than ranks.
        ValueError: batch_size < 1, or not 0 <= rank < world_size.
    """

    def __init__(self, num_jets: int, batch_size: int, rank: int = 0, world_size: int = 1) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size should be at least 1, not {batch_size}")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank should be in 0 to {world_size - 1}, not {rank}")
        if num_jets < world_size:
            raise EmptyInput(f"{num_jets} jets are too few for batches on {world_size} ranks")
        wanted = -(-num_jets // (batch_size * world_size))
        self.number = max(1, min(wanted, num_jets // world_size))
        self.num_jets = num_jets
        self.rank = rank
        self.world_size = world_size

    def __len__(self) -> int:
        return self.number

    def from_step(self, start: int) -> Iterator[tuple[int, int]]:
        """First and last + 1 jet of this rank's batches, from the batch number ``start`` on.

        Raises:
            ValueError: not 0 <= start <= len.
        """
        if not 0 <= start <= self.number:
            raise ValueError(f"start should be in 0 to {self.number}, not {start}")
        pieces = self.number * self.world_size
        for step in range(start, self.number):
            piece = self.rank * self.number + step
            yield self.num_jets * piece // pieces, self.num_jets * (piece + 1) // pieces


class Batches:
    """The batches of packed jets, epoch by epoch.

    Args:
        packed: the jets.
        batch_size: greatest number of jets in a batch (see `Steps`).
        shuffle: whether each epoch has its own random order; otherwise that of the file.
        seed: of the orders.
        rank: which of the processes that train together this is.
        world_size: number of these processes; each gets its own jets, and equally many batches.

    Raises:
        EmptyInput: fewer jets than ranks.
    """

    def __init__(
        self,
        packed: PackedJets,
        batch_size: int = 256,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.packed = packed
        self.shuffle = shuffle
        self.seed = seed
        self._steps = Steps(len(packed), batch_size, rank, world_size)

    def __len__(self) -> int:
        return len(self._steps)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch.

        Args:
            epoch: which, from 0.
            start: how many batches to leave out at the beginning; they are not computed.
        """
        order = permutation(len(self.packed), self.seed, epoch) if self.shuffle else None
        for first, last in self._steps.from_step(start):
            jets = slice(first, last) if order is None else order[first:last]
            yield self.packed.batch(jets)
