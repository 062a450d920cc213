"""Jets that stay in their files while a tagger trains on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from hepgen.data.features import Features
from hepgen.data.labels import ClassWeights
from hepgen.data.streaming import StreamedBatches
from hepgen.io.files import Files

__all__ = ["JetFiles"]


@dataclass(frozen=True)
class JetFiles:
    """What `hepgen.fit` takes in place of jets, for samples larger than memory.

    Args:
        files: as for `hepgen.read`.
        options: ``labels``, ``where``, ``schema``, ``tree`` and ``collection``, as for
            `hepgen.read`.
        step: entries that are read at a time.
        pool: how many such chunks, from all over the sample, are mixed before batches are drawn.
    """

    files: Files
    options: Mapping[str, Any] = field(default_factory=dict)
    step: int = 10_000
    pool: int = 4

    def batches(
        self,
        features: Features,
        classes: Sequence[str],
        *,
        batch_size: int = 256,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        class_weights: ClassWeights = None,
    ) -> StreamedBatches:
        """The batches of these jets.

        Args:
            features: what enters of each constituent.
            classes: names of the K classes.
            batch_size: jets in a batch on each rank.
            shuffle: whether each epoch has its own random order.
            seed: of the orders.
            rank: which of the processes that train together this is.
            world_size: number of these processes.
            class_weights: factors on the weights of the classes.

        Returns:
            See `StreamedBatches`.

        Raises:
            InputError: the files cannot be read.
        """
        return StreamedBatches(
            self.files,
            features,
            classes,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world_size=world_size,
            class_weights=class_weights,
            step=self.step,
            pool=self.pool,
            **self.options,
        )
