"""Turns and reflections that leave a calorimeter and the beam along its axis as they are.

A shower turned about the axis is as likely as it was, so each shower of a sample teaches as many
times as there are turns.

Shapes: G turns and reflections, V voxels.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter import Geometry

__all__ = ["turns"]


def turns(geometry: Geometry) -> NDArray[np.int64]:
    """Where the voxels come from in each turn: ``voxels[:, turns[g]]`` are the turned showers.

    Args:
        geometry: of the voxels.

    Returns:
        Shape (G, V), the identity first; G is twice the number of sectors that all layers with
        several have in common, and 1 for a calorimeter that is not symmetric.
    """
    identity = np.arange(geometry.num_voxels)
    several = [layer.num_alpha for layer in geometry.layers if layer.num_alpha > 1]
    if not geometry.symmetric or not several:
        return identity[None]
    common = math.gcd(*several)
    found = []
    for reflected in (False, True):
        for turn in range(common):
            pieces = []
            for layer, start in zip(geometry.layers, geometry.starts[:-1], strict=True):
                sectors = np.arange(layer.num_alpha)
                if layer.num_alpha > 1:
                    sectors = (sectors + turn * (layer.num_alpha // common)) % layer.num_alpha
                    sectors = sectors[::-1] if reflected else sectors
                pieces.append(start + (sectors[:, None] * layer.num_r + np.arange(layer.num_r)))
            found.append(np.concatenate([p.ravel() for p in pieces]))
    return np.stack(found)
