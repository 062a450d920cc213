"""Jets that stay in their files while a tagger trains on them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.data.features import Features
from hepgen.data.labels import ClassWeights, class_index
from hepgen.data.streaming import StreamedBatches
from hepgen.data.targets import kept_columns, target_values
from hepgen.io import iterate
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
        classes: Sequence[str] | None = None,
        *,
        batch_size: int = 256,
        shuffle: bool = True,
        seed: int = 0,
        rank: int = 0,
        world_size: int = 1,
        class_weights: ClassWeights = None,
        targets: Sequence[str] = (),
        constituent_labels: str | None = None,
    ) -> StreamedBatches:
        """The batches of these jets.

        Args:
            features: what enters of each constituent.
            classes: names of the K classes; None for batches without ``y``.
            batch_size: jets in a batch on each rank.
            shuffle: whether each epoch has its own random order.
            seed: of the orders.
            rank: which of the processes that train together this is.
            world_size: number of these processes.
            class_weights: factors on the weights of the classes.
            targets: as for `hepgen.data.PackedJets.pack`.
            constituent_labels: as for `hepgen.data.PackedJets.pack`.

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
            targets=targets,
            constituent_labels=constituent_labels,
            step=self.step,
            pool=self.pool,
            **self.options,
        )

    def targets(
        self, targets: Sequence[str], classes: Sequence[str] | None = None
    ) -> tuple[NDArray[np.float32], NDArray[np.int64] | None]:
        """The targets of all jets, in the order of the files; one look at them.

        Args:
            targets: T expressions over fields of the jets.
            classes: names of the K classes, if their indices are wanted too.

        Returns:
            Targets (B, T), and class indices (B,) or None.

        Raises:
            InputError: the files cannot be read, or a target is not finite.
        """
        options = dict(self.options)
        if classes is not None and options.get("labels") is None:
            options["labels"] = list(classes)
        values, index = [], []
        for jets in iterate(
            self.files, step=self.step, fields=(), keep=kept_columns(targets), **options
        ):
            values.append(target_values(jets, targets))
            if classes is not None:
                index.append(class_index(jets, classes))
        return np.concatenate(values), None if classes is None else np.concatenate(index)
