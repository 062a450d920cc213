"""Batches of jets from files larger than memory.

Files are read in chunks of entries. The chunks of an epoch come in a random order; a few of them,
a pool, are in memory together, and batches are drawn from the whole pool at random. So the jets of
a batch come from ``pool`` places of the sample, and from all classes even where each has its own
files. All of it is a pure function of (seed, epoch), so that an epoch can be taken up at any batch.

Shapes: B jets, N constituents of all jets end to end, F features, K classes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Empty, SimpleQueue
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.data.batches import Batch
from hepgen.data.chunks import Chunk, ChunkReader, scan
from hepgen.data.epochs import Steps, permutation
from hepgen.data.features import Features
from hepgen.data.labels import ClassWeights, normalisation
from hepgen.data.packed import Memory, PackedJets, gather
from hepgen.io.files import Files

__all__ = ["StreamedBatches"]

Indices = NDArray[np.int64]


class StreamedBatches:
    """The batches of the jets of some files, epoch by epoch; what `Batches` is for jets in memory.

    All jets are looked at once at the beginning, at their momenta, labels and weights only, to
    count them and to scale the weights. Two threads then read and pack ahead of the training. About
    ``2 * pool * step`` entries are in memory at any time.

    Args:
        files: as for `hepgen.io.read`.
        features: what ``x`` holds.
        classes: names of the K classes; None for batches without ``y`` and ``weight``.
        batch_size: greatest number of jets in a batch (see `hepgen.data.epochs.Steps`).
        shuffle: whether each epoch has its own random order; otherwise that of the files.
        seed: of the orders.
        rank: which of the processes that train together this is.
        world_size: number of these processes; each gets its own jets, and equally many batches.
        class_weights: as for `PackedJets.pack`.
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
        step: int = 10_000,
        pool: int = 8,
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
        self.options = options
        seen = scan(files, self.classes, step=step, options=options)
        self.chunks = seen.chunks
        self._free: SimpleQueue[Memory] = SimpleQueue()
        self._factors = None
        if self.classes is not None:
            self._factors = normalisation(seen.counts, seen.sums, self.classes, class_weights)
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
        pools = [pool for pool in self._pools(epoch) if pool.stop > steps[0][0]]
        packed = self._packed([chunk for pool in pools for chunk in pool.chunks])
        waiting, loaded = deque(pools), deque[_Pool]()
        for first, last in steps:
            while not loaded or loaded[-1].stop < last:
                loaded.append(waiting.popleft())
                loaded[-1].load(packed)
            while loaded[0].stop <= first:
                self._recycle(loaded.popleft())
            yield gather([piece for pool in loaded for piece in pool.cut(first, last)])
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
            if not pools or len(pools[-1].chunks) == self.pool:
                pools.append(_Pool(position - size + low))
            rows = np.arange(size)
            if self.shuffle:
                # A chunk at the border is read by two ranks: both know who takes which of its jets.
                rows = permutation(size, self.seed, epoch, number)
            pools[-1].add(self.chunks[number], rows[low:high])
        for pool in pools if self.shuffle else []:
            pool.mix(self.seed, epoch, pool.start, 0)
        return pools

    def _packed(self, chunks: Iterable[Chunk]) -> Iterator[tuple[PackedJets, Memory]]:
        """Chunks in order, read in one thread and packed in another, up to a pool ahead."""
        reader = ChunkReader(self.files, fields=self.features.fields, **self.options)
        reading = ThreadPoolExecutor(1, "hepgen-reading")
        packing = ThreadPoolExecutor(1, "hepgen-packing")
        ahead: deque[Future[tuple[PackedJets, Memory]]] = deque()
        try:
            for chunk in chunks:
                if len(ahead) > self.pool:
                    yield ahead.popleft().result()
                jets = reading.submit(reader.read, chunk)
                ahead.append(packing.submit(self._pack, jets))
            while ahead:
                yield ahead.popleft().result()
        finally:
            reading.shutdown(cancel_futures=True)
            packing.shutdown(cancel_futures=True)
            reader.close()

    def _pack(self, jets: Future[ak.Array]) -> tuple[PackedJets, Memory]:
        try:
            memory = self._free.get_nowait()
        except Empty:
            memory = Memory()
        packed = PackedJets.pack(
            jets.result(), self.features, self.classes, factors=self._factors, memory=memory
        )
        return packed, memory


class _Pool:
    """Jets of a few chunks, mixed: those at positions ``start`` to ``stop`` of an epoch."""

    def __init__(self, start: int) -> None:
        self.start = self.stop = start
        self.chunks: list[Chunk] = []
        self.memories: list[Memory] = []
        self._rows: list[Indices] = []
        self._packed: list[PackedJets] = []
        self._order: Indices | None = None

    def add(self, chunk: Chunk, rows: Indices) -> None:
        """Appends some jets of a chunk."""
        self.chunks.append(chunk)
        self._rows.append(rows)
        self.stop += len(rows)

    def mix(self, *key: int) -> None:
        """Puts the jets of all chunks in a random order."""
        self._order = permutation(self.stop - self.start, *key)

    def load(self, packed: Iterator[tuple[PackedJets, Memory]]) -> None:
        """Takes its chunks from a stream."""
        for _ in self.chunks:
            chunk, memory = next(packed)
            self._packed.append(chunk)
            self.memories.append(memory)

    def cut(self, first: int, last: int) -> list[tuple[PackedJets, Indices]]:
        """The jets at positions ``first`` to ``last`` that are here, chunk by chunk."""
        low, high = max(first - self.start, 0), min(last, self.stop) - self.start
        places = np.arange(low, high) if self._order is None else self._order[low:high]
        edges = np.cumsum([0, *map(len, self._rows)])
        chunk = np.searchsorted(edges, places, "right") - 1
        return [
            (self._packed[i], self._rows[i][places[chunk == i] - edges[i]])
            for i in np.unique(chunk).tolist()
        ]
