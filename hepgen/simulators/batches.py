"""Batches of showers, as the trainer takes them.

The order of an epoch and its turns are pure functions of (seed, epoch), so that a run can be taken
up at any batch.

Shapes: B showers of a batch, V voxels, C context.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields, replace
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepgen.calorimeter import Geometry, Showers
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.symmetry import turns
from hepgen.training.randomness import seed_of

__all__ = ["ShowerBatch", "ShowerBatches", "ShowerSource"]


class ShowerSource(Protocol):
    """Showers in memory (`Showers`) or in files, some of which can be had by number."""

    @property
    def geometry(self) -> Geometry:
        """Where the voxels are."""
        ...

    def __len__(self) -> int:
        """Number of showers."""
        ...

    def __getitem__(self, which: Any) -> Showers:
        """Some of them, by a slice or by rising numbers."""
        ...


@dataclass(frozen=True)
class ShowerBatch:
    """Some showers as a simulator learns them.

    Attributes:
        voxels: energies in GeV, shape (B, V).
        incident_energy: in GeV, shape (B,).
        context: incident energy and other conditions as networks take them, shape (B, C).
        weight: shape (B,); None for ones.
        number: of the showers in their sample, int64, shape (B,).
    """

    voxels: Tensor
    incident_energy: Tensor
    context: Tensor
    weight: Tensor | None = None
    number: Tensor | None = None

    def __len__(self) -> int:
        return self.voxels.shape[0]

    def to_dict(self) -> dict[str, Tensor]:
        """The tensors that there are, by name."""
        named = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: tensor for name, tensor in named if tensor is not None}

    def to(self, *where: Any, **options: Any) -> ShowerBatch:
        """The same on another device or in another type.

        Args:
            *where: as of ``torch.Tensor.to``.
            **options: likewise.
        """
        return replace(
            self, **{name: t.to(*where, **options) for name, t in self.to_dict().items()}
        )

    def mean(self, values: Tensor) -> Tensor:
        """Mean of one number a shower, weighted if there are weights.

        Args:
            values: shape (B,).
        """
        return values.mean() if self.weight is None else (values * self.weight).mean()


class ShowerBatches:
    """The batches of a sample, epoch by epoch, of sizes that differ by one at most.

    Samples in files are shuffled in pieces: some pieces of neighbours are read together, and their
    showers mixed.

    Args:
        showers: in memory, or files.
        conditions: of the simulator.
        batch_size: greatest number of showers in a batch, on each rank.
        shuffle: whether each epoch has its own random order.
        augment: whether showers are turned at random, where the calorimeter is symmetric; not
            if the angles of the particles are among the conditions.
        seed: of the orders and turns.
        rank: which process this is.
        world_size: number of processes, each of which gets every so manyth batch.
        threshold: in GeV, below which voxels are emptied; that of the geometry of the showers if
            not given.

    Raises:
        ValueError: fewer showers than processes, ``batch_size`` below 1, or no such rank.
    """

    noun = "showers"
    pool = 16_384
    pool_bytes = 1 << 30
    neighbours = 512

    def __init__(
        self,
        showers: ShowerSource,
        conditions: Conditions,
        *,
        batch_size: int,
        shuffle: bool = False,
        augment: bool = False,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        threshold: float | None = None,
    ) -> None:
        if batch_size < 1:
            raise ValueError(f"batch_size={batch_size}: wanted at least 1")
        if not 0 <= rank < world_size:
            raise ValueError(f"rank={rank}: wanted 0 to {world_size - 1}")
        if len(showers) < 1:
            raise ValueError("no showers to make batches of")
        if len(showers) < world_size:
            raise ValueError(f"{len(showers)} showers are too few for {world_size} processes")
        self.showers, self.conditions = showers, conditions
        self.batch_size, self.shuffle, self.seed = batch_size, shuffle, seed
        self.rank, self.world_size, self.threshold = rank, world_size, threshold
        # Of calorimeters with many voxels fewer are mixed: while they are read and put in order
        # they stand in memory two or three times.
        most = self.pool_bytes // (4 * showers.geometry.num_voxels)
        self.pool = max(batch_size, min(self.pool, most))
        # A turn would leave the angles of the particles behind.
        aimed = any(name in conditions.names for name in ("theta", "phi", "eta"))
        self.turns = turns(showers.geometry) if augment and not aimed else None

    def __len__(self) -> int:
        total = len(self.showers)
        wanted = -(-total // (self.batch_size * self.world_size))
        return min(wanted, total // self.world_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[ShowerBatch]:
        """The batches of one epoch.

        Args:
            epoch: which, from 0.
            start: how many batches to leave out at the beginning.

        Yields:
            Batches on the CPU, float32.
        """
        total, number = len(self.showers), len(self) * self.world_size
        order, turn = self._order(epoch), self._turn(epoch)
        held, begin, end = None, 0, 0
        for step in range(start, len(self)):
            mine = step * self.world_size + self.rank
            a, b = total * mine // number, total * (mine + 1) // number
            if isinstance(self.showers, Showers):
                some = self.showers[order[a:b]]
            else:
                if held is None or b > end:
                    begin, end = a, min(total, max(b, a + self.pool))
                    held = self._read(order[begin:end])
                some = held[slice(a - begin, b - begin)]
            yield self._batch(some, order[a:b], None if turn is None else turn[a:b])

    def _order(self, epoch: int) -> NDArray[np.int64]:
        total = len(self.showers)
        if not self.shuffle:
            return np.arange(total)
        rng = np.random.default_rng(seed_of("order", self.seed, epoch))
        if isinstance(self.showers, Showers):
            return rng.permutation(total)
        pieces = np.arange(0, total, self.neighbours)
        rng.shuffle(pieces)
        order = np.concatenate(
            [np.arange(p, min(total, p + self.neighbours)) for p in pieces.tolist()]
        )
        for a in range(0, total, self.pool):
            rng.shuffle(order[a : a + self.pool])
        return order

    def _turn(self, epoch: int) -> NDArray[np.int64] | None:
        if self.turns is None or len(self.turns) == 1:
            return None
        rng = np.random.default_rng(seed_of("turn", self.seed, epoch))
        return rng.integers(len(self.turns), size=len(self.showers))

    def _read(self, rows: NDArray[np.int64]) -> Showers:
        """Rows of files, read in rising order and handed out in that which is wanted."""
        rising = np.argsort(rows, kind="stable")
        back = np.empty_like(rising)
        back[rising] = np.arange(len(rows))
        return self.showers[rows[rising]][back]

    def _batch(
        self, some: Showers, rows: NDArray[np.int64], turn: NDArray[np.int64] | None
    ) -> ShowerBatch:
        # What the geometry counts as empty is no energy of a layer either.
        voxels = some.above(self.threshold).voxels
        if turn is not None and self.turns is not None:
            voxels = np.take_along_axis(voxels, self.turns[turn], axis=1)
        weight = some.weight
        return ShowerBatch(
            voxels=torch.from_numpy(np.ascontiguousarray(voxels, dtype=np.float32)),
            incident_energy=torch.from_numpy(some.incident_energy.astype(np.float32)),
            context=torch.from_numpy(self.conditions.encode(some.incident_energy, some.conditions)),
            weight=None if weight is None else torch.from_numpy(weight.astype(np.float32)),
            number=torch.from_numpy(rows.copy()),
        )
