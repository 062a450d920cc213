"""A small training run for the tests, also as a process of its own that waits to be killed.

``python small_training.py OUTPUT PLACE NUMBER`` stops for ever at the NUMBER-th call of PLACE,
after it has said so on stdout.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from hepgen.training import History, fit


class Net(nn.Module):
    """Batch norm, dropout and a head, on 6 numbers a jet."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()
        self.width = width
        self.layers = nn.Sequential(
            nn.Linear(6, width),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.Dropout(0.3),
            nn.Linear(width, 2),
        )

    def config(self) -> dict[str, Any]:
        return {"width": self.width}

    def loss(self, batch: dict[str, Tensor]) -> Tensor:
        each = nn.functional.cross_entropy(self.layers(batch["x"]), batch["y"], reduction="none")
        return (batch["weight"] * each).mean()

    def accuracy(self, batch: dict[str, Tensor]) -> Tensor:
        return (self.layers(batch["x"]).argmax(1) == batch["y"]).float().mean()

    def batches(self, jets: dict[str, Tensor], **options: Any) -> Batches:
        return Batches(jets, **options)


class Batches:
    """Batches of a dict of tensors; the order is drawn from (seed, epoch)."""

    def __init__(
        self,
        jets: dict[str, Tensor],
        *,
        batch_size: int,
        shuffle: bool,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
    ) -> None:
        self.jets, self.batch_size, self.shuffle, self.seed = jets, batch_size, shuffle, seed
        self.rank, self.world_size = rank, world_size

    def __len__(self) -> int:
        return len(self.jets["y"]) // (self.batch_size * self.world_size)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[dict[str, Tensor]]:
        order = torch.arange(len(self.jets["y"]))
        if self.shuffle:
            generator = torch.Generator().manual_seed(1000 * self.seed + epoch)
            order = torch.randperm(len(order), generator=generator)
        for i in range(start, len(self)):
            first = (i * self.world_size + self.rank) * self.batch_size
            rows = order[first : first + self.batch_size]
            yield {name: values[rows] for name, values in self.jets.items()}


def jets(number: int, seed: int) -> dict[str, Tensor]:
    """Two noisy classes with positive and negative weights of mean size 1."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(number, 6, generator=generator)
    noise = torch.randn(number, generator=generator)
    weight = torch.where(torch.rand(number, generator=generator) < 0.1, -1.0, 1.0)
    return {"x": x, "y": (x.sum(1) + 2 * noise > 0).long(), "weight": weight}


class Plain(Net):
    """Without batch norm and dropout, which see a rank's own batch only, and in float64."""

    def __init__(self, width: int = 16) -> None:
        super().__init__(width)
        linear, _, activation, _, head = self.layers
        self.layers = nn.Sequential(linear, activation, head).double()


def train_plain(output: Path, batch_size: int, model: Net | None = None) -> History:
    """The run that one and two ranks do alike, with batches of another size."""
    samples = {
        name: {key: v if key == "y" else v.double() for key, v in jets(200, seed).items()}
        for name, seed in (("train", 7), ("validation", 8))
    }
    options = {"epochs": 8, "patience": None, "lr": 1e-2, "progress": True, **samples}
    return train(model or net(kind=Plain), output, batch_size=batch_size, **options)


def net(seed: int = 1, kind: type[Net] = Net, **options: Any) -> Net:
    """A net with initial weights drawn from a seed, without touching the global one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return kind(**options)


# Few jets, many epochs and a large rate, so that it overfits and stops early.
OPTIONS: dict[str, Any] = {
    "epochs": 12,
    "batch_size": 20,
    "lr": 3e-2,
    "schedule": "cosine",
    "clip": 1.0,
    "patience": 3,
    "seed": 5,
    "checkpoint_steps": 4,
    "progress": False,
    "accelerator": "cpu",
}
BATCHES = 10


def train(model: nn.Module, output: Path | None = None, **changes: Any) -> History:
    """The run of these tests: 10 batches of 20 jets an epoch."""
    data = {"validation": jets(200, 8), **OPTIONS, **changes}
    return fit(model, data.pop("train", jets(20 * BATCHES, 7)), output=output, **data)


def _wait_at(owner: Any, name: str, number: int) -> None:
    """Let the ``number``-th call of a function, and no later one, wait for the kill."""
    function, calls = getattr(owner, name), iter(range(1, sys.maxsize))

    def waiting(*arguments: Any, **options: Any) -> Any:
        if next(calls) == number:
            print(f"at {name}", flush=True)
            time.sleep(600)
        return function(*arguments, **options)

    setattr(owner, name, waiting)


def _wait_in_write(number: int) -> None:
    """Wait for the kill when half of the ``number``-th checkpoint is on the disk."""
    save, calls = torch.save, iter(range(1, sys.maxsize))

    def saving(content: object, stream: Any) -> None:
        if next(calls) < number:
            save(content, stream)
            return
        stream.write(b"half a checkpoint")
        stream.flush()
        print("at write", flush=True)
        time.sleep(600)

    torch.save = saving


if __name__ == "__main__":
    output, place, number = sys.argv[1:]
    if place == "write":
        _wait_in_write(int(number))
    else:
        _wait_at(Net, place, int(number))
    train(net(), Path(output))
