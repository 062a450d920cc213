"""All that a run needs to go on after a kill, and ``last.ckpt``, the file that keeps it."""

from __future__ import annotations

import io
import json
import pickle
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from hepgen.atomic import replacing
from hepgen.training.errors import TrainingError
from hepgen.training.history import Row

__all__ = ["State", "copy_of_weights", "read_checkpoint", "write_checkpoint"]

FORMAT = 1
# What torch.load raises at a file that is cut short or was never a checkpoint.
DAMAGE = (RuntimeError, ValueError, OSError, EOFError, LookupError, TypeError)


@dataclass
class State:
    """Where a run stands, apart from weights and optimiser.

    Attributes:
        epoch: epochs complete; also the number, from 0, of the one under way.
        batch: batches of that epoch done.
        step: optimiser steps done.
        loss_sum: sum over these batches of loss times jets, on this rank.
        jets: jets in these batches, on this rank.
        train_seconds: time spent on these batches.
        seconds: time spent on the epoch, its validation too.
        best_loss: lowest validation loss; None before the first validation.
        stale: epochs since then.
        rows: the history.
    """

    epoch: int = 0
    batch: int = 0
    step: int = 0
    loss_sum: float = 0.0
    jets: int = 0
    train_seconds: float = 0.0
    seconds: float = 0.0
    best_loss: float | None = None
    stale: int = 0
    rows: list[Row] = field(default_factory=list)

    def next_epoch(self, row: Row, improved: bool) -> None:
        """Close an epoch.

        Args:
            row: its row of the history.
            improved: whether its validation loss is the lowest so far.
        """
        self.rows.append(row)
        self.stale = 0 if improved else self.stale + 1
        self.epoch, self.batch, self.loss_sum, self.jets = self.epoch + 1, 0, 0.0, 0
        self.train_seconds = self.seconds = 0.0


def write_checkpoint(path: Path, content: dict[str, Any], settings: dict[str, Any]) -> None:
    """Write ``last.ckpt``, whole or not at all.

    Args:
        path: the file to write or replace.
        content: state dicts and tensors, by name; a `State` under "state".
        settings: what the run was asked to do, JSON-able.

    Raises:
        OSError: it cannot be written; the one before is left.
    """
    # JSON carries floats exactly, and leaves nothing but tensors and plain containers to unpickle.
    state = json.dumps(asdict(content["state"]))
    file = {**content, "state": state, "settings": json.dumps(settings), "format": FORMAT}
    with replacing(path) as temporary, temporary.open("wb") as stream:
        torch.save(file, stream)


def read_checkpoint(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read what `write_checkpoint` wrote; no code of the file is run.

    Args:
        path: ``last.ckpt``.

    Returns:
        The content and the settings.

    Raises:
        TrainingError: the file is damaged or of a newer format.
        OSError: it cannot be read.
    """
    content = path.read_bytes()  # apart, so that what follows fails for its content only
    try:
        file = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        version = file["format"]
    except (*DAMAGE, pickle.UnpicklingError) as error:
        raise TrainingError(
            f"{path} is no complete checkpoint of hepgen ({type(error).__name__}); "
            "train into a new output folder"
        ) from error
    if version > FORMAT:
        raise TrainingError(f"{path} has format {version}; this hepgen reads up to {FORMAT}")
    settings = json.loads(file.pop("settings"))
    return {**file, "state": State(**json.loads(file["state"]))}, settings


def copy_of_weights(module: torch.nn.Module) -> dict[str, Tensor]:
    """The weights and buffers of a module as they are now, on the CPU.

    Args:
        module: any module.

    Returns:
        Copies that further training does not touch.
    """
    return {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}
