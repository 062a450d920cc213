"""Models that are kept in files of hepgen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Self

import torch
from torch import nn

from hepgen import checkpoint

__all__ = ["Kept"]


class Kept(nn.Module):
    """A model with ``config()`` that can be written and read."""

    def save(self, path: str | Path, *, training: Mapping[str, Any] | None = None) -> None:
        """Write the model, whole or not at all.

        Args:
            path: ``*.safetensors``; `hepgen.load` reads it.
            training: anything JSON-able worth knowing about the training.

        Raises:
            OSError: the file cannot be written.
        """
        checkpoint.save(self, path, training=training)

    @classmethod
    def load(cls, path: str | Path, *, device: str | torch.device = "cpu") -> Self:
        """Read a model of this class.

        Args:
            path: what ``save`` wrote.
            device: where to put it.

        Raises:
            FileNotFoundError: there is no such file.
            CheckpointError: the file is damaged, or holds something else.
        """
        model = checkpoint.load(path, device=device)
        if not isinstance(model, cls):
            raise checkpoint.CheckpointError(
                f"{path} holds {type(model).__name__}, wanted {cls.__name__}"
            )
        return model
