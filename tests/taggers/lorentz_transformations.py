"""Random proper orthochronous Lorentz transformations, by the package vector."""

from __future__ import annotations

import math

import numpy as np
import torch
import vector
from torch import Tensor

from hepgen.data import Batch, make_batch


def random_lorentz(seed: int, rapidity: float = 1.5) -> Tensor:
    """A rotation, a boost and a rotation, as a matrix (4, 4) on (E, px, py, pz)."""
    rng = np.random.default_rng(seed)
    angles, beta = rng.uniform(-math.pi, math.pi, 2), math.tanh(rng.uniform(0.2, rapidity))
    x, y, z = beta * (direction := rng.normal(size=3)) / np.linalg.norm(direction)
    boost = vector.obj(x=x, y=y, z=z)
    energy, px, py, pz = np.eye(4)
    units = vector.array({"px": px, "py": py, "pz": pz, "E": energy})
    after = units.rotateZ(angles[0]).boost(boost).rotateX(angles[1])
    return torch.from_numpy(np.stack([after.E, after.px, after.py, after.pz]))


def transformed(batch: Batch, matrix: Tensor) -> Batch:
    """The batch with other momenta; the first feature, log pt, follows them."""
    p4 = batch.p4 @ matrix.T.to(batch.p4.dtype)
    x = batch.x.clone()
    x[:, 0] = p4[:, 1:3].norm(dim=1).log()
    return make_batch(x, batch.ptr, p4=p4, pos=batch.pos, y=batch.y, weight=batch.weight)
