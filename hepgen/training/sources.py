"""Where batches come from: anything with a length and ``epoch(epoch, start)``."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor

from hepgen.training.randomness import seed_of

__all__ = ["BatchSource", "batch_source", "fingerprint", "jets_in", "tensors"]


@runtime_checkable
class BatchSource(Protocol):
    """Batches whose order is a pure function of the epoch."""

    def __len__(self) -> int:
        """Batches in an epoch, equal on all ranks."""
        ...

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        """The batches of one epoch from number ``start`` on, the same whenever it is asked for."""
        ...


def batch_source(
    model: Any,
    data: Any,
    *,
    what: str,
    batch_size: int,
    shuffle: bool,
    seed: int,
    rank: int = 0,
    world_size: int = 1,
    class_weights: Any = None,
) -> BatchSource:
    """Turn what the caller gave into a source of batches for this rank.

    Args:
        model: if it has ``batches``, it is asked to make a source of raw data.
        data: a source, raw data for the model, or a list of batches.
        what: "train" or "validation", for messages.
        batch_size: jets in a batch on each rank, where the model makes the batches.
        shuffle: whether the order changes with the epoch.
        seed: what the order depends on besides the epoch.
        rank: which process this is.
        world_size: number of processes.
        class_weights: handed to ``model.batches`` if not None.

    Returns:
        A source with at least one batch.

    Raises:
        TypeError: the data is nothing that batches can be made of.
        ValueError: there is not one batch, or class weights for ready batches.
    """
    source: BatchSource
    if isinstance(data, BatchSource) or not hasattr(model, "batches"):
        if class_weights is not None:
            raise ValueError(
                f"class_weights={class_weights!r} needs raw data and a model with .batches(...); "
                f"{what} is {type(data).__name__}: its batches are made already"
            )
        source = _shard(_ready(data, what, type(model).__name__, shuffle, seed), rank, world_size)
    else:
        more = {} if class_weights is None else {"class_weights": class_weights}
        source = model.batches(
            data,
            batch_size=batch_size,
            shuffle=shuffle,
            seed=seed,
            rank=rank,
            world_size=world_size,
            **more,
        )
    if len(source) < 1:
        raise ValueError(
            f"{what} holds not one batch of {batch_size} for each of {world_size} ranks"
        )
    return source


def _ready(data: Any, what: str, model: str, shuffle: bool, seed: int) -> BatchSource:
    if isinstance(data, BatchSource):
        return data
    if isinstance(data, Sequence) and not isinstance(data, str):
        return _Listed(data, shuffle, seed)
    raise TypeError(
        f"{what} is {type(data).__name__}; wanted a list of batches, something with len() and "
        f"epoch(epoch, start), or data for the .batches(...) of the model, which {model} lacks"
    )


def _shard(source: BatchSource, rank: int, world_size: int) -> BatchSource:
    # A source that was made for several ranks knows it.
    if world_size == 1 or getattr(source, "world_size", 1) == world_size:
        return source
    return _Strided(source, rank, world_size)


class _Listed:
    """The batches of a list, in an order drawn from (seed, epoch)."""

    def __init__(self, batches: Sequence[Any], shuffle: bool, seed: int) -> None:
        self.batches, self.shuffle, self.seed = batches, shuffle, seed

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        order = list(range(len(self)))
        if self.shuffle:
            generator = torch.Generator().manual_seed(seed_of("order", self.seed, epoch))
            order = torch.randperm(len(self), generator=generator).tolist()
        return (self.batches[i] for i in order[start:])


class _Strided:
    """Every ``world_size``-th batch; what does not fill a round of all ranks is left out."""

    def __init__(self, source: BatchSource, rank: int, world_size: int) -> None:
        self.source, self.rank, self.world_size = source, rank, world_size
        # What its batches are of, for those who watch.
        self.noun = getattr(source, "noun", "jets")

    def __len__(self) -> int:
        return len(self.source) // self.world_size

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        batches = self.source.epoch(epoch, start * self.world_size)
        return islice(batches, self.rank, (len(self) - start) * self.world_size, self.world_size)


def tensors(batch: Any, name: str = "batch") -> Iterator[tuple[str, Tensor]]:
    """The tensors in a batch with their names.

    Args:
        batch: a tensor, a mapping, a list or tuple, or something with ``to_dict()``, as the batches
            of torch_geometric; nested as one likes.
        name: what to call a bare tensor.

    Yields:
        Pairs such as ("x", tensor); members of a list are called "batch[0]", "batch[1]".
    """
    if isinstance(batch, Tensor):
        yield name, batch
    elif isinstance(batch, Mapping):
        for key, value in batch.items():
            yield from tensors(value, str(key))
    elif isinstance(batch, (list, tuple)):
        for i, value in enumerate(batch):
            yield from tensors(value, f"{name}[{i}]")
    elif hasattr(batch, "to_dict"):
        yield from tensors(batch.to_dict(), name)


def jets_in(batch: Any) -> int:
    """Number of jets of a batch.

    Args:
        batch: a batch; with ``num_graphs`` it says so itself, else the first axis of its first
            tensor counts.

    Returns:
        The number; 1 for a batch without tensors.
    """
    if hasattr(batch, "num_graphs"):
        return int(batch.num_graphs)
    return next((int(t.shape[0]) for _, t in tensors(batch) if t.ndim), 1)


def fingerprint(source: BatchSource) -> str:
    """A hash that tells other data, or another order, from the same.

    Shapes, types and integers (labels, offsets) of the first batch enter. Floating-point values do
    not: the same features computed on another processor may differ in the last bit.

    Args:
        source: batches.

    Returns:
        16 hexadecimal digits.
    """
    digest = hashlib.sha256()
    first = dict(tensors(next(iter(source.epoch(0, 0)))))
    for name, tensor in sorted(first.items()):
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype};".encode())
        if not tensor.is_floating_point() and not tensor.is_complex():
            digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:16]
