"""Weights that a script here and a test make alike, so that they need not be stored."""

from __future__ import annotations

import zlib

import numpy as np
import torch
from torch import Tensor, nn

__all__ = ["seeded_weights"]


def seeded_weights(module: nn.Module) -> dict[str, Tensor]:
    """Weights and running statistics as after some training, drawn by the names of the parameters.

    From numpy's old generator, whose numbers never change; in float64.
    """
    state = {}
    for name, tensor in module.state_dict().items():
        random = np.random.RandomState(zlib.crc32(name.encode()))
        if not tensor.is_floating_point():
            state[name] = tensor
            continue
        if name.endswith("running_var"):
            values = random.uniform(0.5, 1.5, tensor.shape)
        elif tensor.ndim == 1:
            around = 1.0 if "bn" in name and name.endswith("weight") else 0.0
            values = around + 0.2 * random.standard_normal(tensor.shape)
        else:
            values = random.standard_normal(tensor.shape) * (2 / tensor[0].numel()) ** 0.5
        state[name] = torch.from_numpy(np.asarray(values))
    return state
