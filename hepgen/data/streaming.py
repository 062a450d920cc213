"""Batches of jets from files larger than memory.

Files are read in chunks of entries. The chunks of an epoch come in a random order, and so do the
jets of each; a few chunks, a pool, are in memory together, and every batch has its share of each of
them. So its jets come from ``pool`` places of the sample, and from all classes even where each has
its own files. All of it is a pure function of (seed, epoch): an epoch can be taken up at any batch.

Shapes: B jets, N constituents of all jets end to end, F features, K classes, T targets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hepgen.data.batches import Batch
from hepgen.data.chunks import Chunk, ChunkReader, scan
from hepgen.data.epochs import Steps, permutation
from hepgen.data.features import Features
from hepgen.data.labels import ClassWeights, class_index, jet_weights, normalisation
from hepgen.data.packed import Memory, PackedJets, compute, join, rows_of
from hepgen.data.targets import constituent_fields, kept_columns, target_values, with_label_columns
from hepgen.data.targets import constituent_labels as labels_of
from hepgen.io.files import Files

__all__ = ["StreamedBatches"]

Indices = NDArray[np.int64]


class _Part(NamedTuple):
    """Some jets of a chunk, and the order to bring them into."""

    chunk: Chunk
    jets: Indices


class StreamedBatches:
    """The batches of the jets of some files, epoch by epoch; what `Batches` is for jets in memory.

    All jets are looked at once at the beginning, at their momenta, labels and weights only, to
    count them and to scale the weights. A thread then reads and packs ahead of the training. About
    ``2 * pool * step`` entries are in memory at any time.

    Args:
        files: as for `hepgen.io.read`.
        features: what ``x`` holds.
        classes: names of the K classes; None for batches without ``y``.
        batch_size: greatest number of jets in a batch (see `hepgen.data.epochs.Steps`).
        shuffle: whether each epoch has its own random order; otherwise that of the files.
        seed: of the orders.
        rank: which of the processes that train together this is.
        world_size: number of these processes; each gets its own jets, and equally many batches.
        class_weights: as for `PackedJets.pack`.
        targets: as for `PackedJets.pack`; columns of the file that they need are read.
        constituent_labels: as for `PackedJets.pack`.
        step: entries of a chunk.
        pool: how many chunks are mixed.
        **options: schema, tree, collection, labels and where, as for `hepgen.io.read`.

    Raises:
        InputError: as `hepgen.io.read`, here or while reading.
        EmptyInput: fewer jets than ranks.
    """

    def __init__(
        self,
        files: Files,
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
        step: int = 10_000,
        pool: int = 4,
        **options: Any,
    ) -> None:
        if step < 1 or pool < 1:
            raise ValueError(f"step and pool should be at least 1, not {step} and {pool}")
        self.files = files
        self.features = features
        self.classes = tuple(classes) if classes is not None else None
        self.shuffle = shuffle
        self.seed = seed
        self.pool = pool if shuffle else 1
        if classes is not None and options.get("labels") is None:
            options["labels"] = list(classes)
        self.targets, self.constituent_labels = tuple(targets), constituent_labels
        self.options = options
        seen = scan(files, self.classes, step=step, options=options)
        self.chunks = seen.chunks
        self._free: SimpleQueue[Memory] = SimpleQueue()
        self._factors = None
        if self.classes is not None or self.targets or constituent_labels is not None:
            known = self.classes or ()
            self._factors = normalisation(seen.counts, seen.sums, known, class_weights)
        self._steps = Steps(int(seen.counts.sum()), batch_size, rank, world_size)

    def __len__(self) -> int:
        return len(self._steps)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Batch]:
        """The batches of one epoch.

        Args:
            epoch: which, from 0.
            start: how many batches to leave out at the beginning; only what is mixed with later
                ones is read.

        Raises:
            InputError: a file cannot be read, or has changed since the beginning.
        """
        steps = list(self._steps.from_step(start))
        if not steps:
            return
        pools = deque(pool for pool in self._pools(epoch) if pool.stop > steps[0][0])
        packed = self._packed([part for pool in pools for part in pool.parts])
        loaded: list[_Pool] = []
        for first, last in steps:
            while loaded and loaded[0].stop <= first:
                self._recycle(loaded.pop(0))
            while not loaded or loaded[-1].stop < last:
                loaded.append(pools.popleft())
                loaded[-1].load(packed)
            yield join([piece for pool in loaded for piece in pool.cut(first, last)])
        for pool in loaded:
            self._recycle(pool)

    def _recycle(self, pool: _Pool) -> None:
        for memory in pool.memories:
            self._free.put(memory)

    def _pools(self, epoch: int) -> list[_Pool]:
        """This rank's part of the epoch; positions count through the jets of all ranks."""
        steps = list(self._steps.from_step(0))
        first, last = steps[0][0], steps[-1][1]
        order = np.arange(len(self.chunks))
        if self.shuffle:
            order = permutation(len(self.chunks), self.seed, epoch)
        pools: list[_Pool] = []
        position = 0
        for number in order.tolist():
            size = self.chunks[number].num_jets
            low, high = max(first - position, 0), min(last - position, size)
            position += size
            if low >= high:
                continue
            if not pools or len(pools[-1].parts) == self.pool:
                pools.append(_Pool(position - size + low))
            jets = np.arange(size)
            if self.shuffle:
                # A chunk at the border is read by two ranks: both know who takes which of its jets.
                jets = permutation(size, self.seed, epoch, number)
            pools[-1].add(_Part(self.chunks[number], jets[low:high]))
        return pools

    def _packed(self, parts: Iterable[_Part]) -> Iterator[tuple[PackedJets, Memory]]:
        """The parts in order, read and packed in a thread, up to a pool ahead."""
        fields = self.features.fields
        if fields is not None:
            fields = (*fields, *constituent_fields(self.constituent_labels))
        keep = tuple(kept_columns(self.targets, self.constituent_labels))
        reader = ChunkReader(self.files, fields=fields, keep=keep, **self.options)
        thread = ThreadPoolExecutor(1, "hepgen-reading")
        ahead: deque[Future[tuple[PackedJets, Memory]]] = deque()
        try:
            for part in parts:
                ahead.append(thread.submit(self._pack, reader, part))
                if len(ahead) > self.pool:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()
        finally:
            thread.shutdown(cancel_futures=True)
            reader.close()

    def _pack(self, reader: ChunkReader, part: _Part) -> tuple[PackedJets, Memory]:
        try:
            memory = self._free.get_nowait()
        except Empty:
            memory = Memory()
        jets = reader.read(part.chunk)
        chosen = self.features.constituents(with_label_columns(jets, self.constituent_labels))
        arrays = compute(self.features, chosen, order=part.jets, memory=memory)
        more: dict[str, Any] = {}
        if self.classes is not None:
            more["y"] = class_index(jets, self.classes)
        if self._factors is not None:
            factors = self._factors[more.get("y", np.zeros(len(jets), np.int64))]
            more["weight"] = (jet_weights(jets) * factors).astype(np.float32)
        if self.targets:
            more["targets"] = target_values(jets, self.targets)
        more = {name: values[part.jets] for name, values in more.items()}
        if self.constituent_labels is not None:
            rows = rows_of(chosen.offsets, part.jets, arrays[-1])
            more["constituent_y"] = labels_of(chosen, self.constituent_labels)[rows]
        return PackedJets(*arrays, **more), memory


class _Pool:
    """Some parts of chunks, mixed: the jets at positions ``start`` to ``stop`` of an epoch."""

    def __init__(self, start: int) -> None:
        self.start = self.stop = start
        self.parts: list[_Part] = []
        self.memories: list[Memory] = []
        self._packed: list[PackedJets] = []
        self._places: list[Indices] = []

    def add(self, part: _Part) -> None:
        """Appends some jets of a chunk."""
        self.parts.append(part)
        self.stop += len(part.jets)

    def load(self, packed: Iterator[tuple[PackedJets, Memory]]) -> None:
        """Takes its parts from a stream."""
        for _ in self.parts:
            part, memory = next(packed)
            self._packed.append(part)
            self.memories.append(memory)
        # Jet j of n stands at (j + 1/2) / n of the pool, so that every stretch has of each part its
        # share; the jets of a part are in random order already.
        sizes = [len(part) for part in self._packed]
        order = np.argsort(np.concatenate([(np.arange(n) + 0.5) / n for n in sizes]), kind="stable")
        number = np.repeat(np.arange(len(sizes)), sizes)[order]
        self._places = [np.flatnonzero(number == i) for i in range(len(sizes))]

    def cut(self, first: int, last: int) -> list[tuple[PackedJets, slice]]:
        """The jets at positions ``first`` to ``last`` that are here, part by part."""
        stretch = max(first, self.start) - self.start, min(last, self.stop) - self.start
        edges = [np.searchsorted(places, stretch).tolist() for places in self._places]
        pieces = zip(self._packed, edges, strict=True)
        return [(packed, slice(*edge)) for packed, edge in pieces if edge[1] > edge[0]]
