"""Lorentz transformations by the package vector, and jets that went through them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
import vector
from torch import Tensor

from hepgen.data import Batch, make_batch


def matrix(transformation: Callable[[Any], Any]) -> Tensor:
    """What a transformation of vectors does, as a matrix (4, 4) on (E, px, py, pz)."""
    columns = np.eye(4)
    basis = vector.array(dict(zip(("E", "px", "py", "pz"), columns, strict=True)))
    moved = transformation(basis)
    return torch.from_numpy(np.stack([moved.E, moved.px, moved.py, moved.pz]))


def random_lorentz(rng: np.random.Generator, rapidity: float = 1.0) -> Tensor:
    """A rotation, a boost of this rapidity at most, and a rotation."""
    angles = rng.uniform(-math.pi, math.pi, 3)
    direction = rng.normal(size=3)
    beta = math.tanh(rng.uniform(0, rapidity)) * direction / np.linalg.norm(direction)
    boost = vector.obj(x=beta[0], y=beta[1], z=beta[2])
    return matrix(lambda p: p.rotateZ(angles[0]).boost(boost).rotateX(angles[1]).rotateY(angles[2]))


def moved(batch: Batch, by: Tensor) -> Batch:
    """The batch with other momenta; features and angles of momenta are wrong on purpose."""
    p4 = batch.p4 @ by.T
    x = torch.cat([torch.full_like(batch.x[:, :1], 7.0), batch.x[:, 1:]], dim=1)
    return make_batch(x, batch.ptr, p4=p4, pos=-batch.pos, y=batch.y, weight=batch.weight)


def massive(batch: Batch, mass: float = 0.14) -> Batch:
    """The batch with constituents of this mass in GeV: in float64 none are light-like by chance."""
    p4 = batch.p4.clone()
    p4[:, 0] = (p4[:, 1:].square().sum(dim=1) + mass**2).sqrt()
    return make_batch(batch.x, batch.ptr, p4=p4, pos=batch.pos, y=batch.y, weight=batch.weight)
