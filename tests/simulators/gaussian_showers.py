"""Showers whose best classifier is known: one voxel a layer, with normal logarithms of energies."""

from __future__ import annotations

import numpy as np

from hepgen.calorimeter import Geometry, Layer, Showers

LAYERS = 3
WIDTH = 0.1
GEOMETRY = Geometry(tuple(Layer((0, 10), 1, i, 10.0 * i) for i in range(LAYERS)), "three voxels")


def gaussian_showers(number: int, shift: float = 0.0, seed: int = 0) -> Showers:
    """Showers of 10 GeV; all logarithms of voxels are shifted."""
    rng = np.random.default_rng(seed)
    logs = np.log(3.0) + shift + WIDTH * rng.normal(size=(number, LAYERS))
    return Showers(GEOMETRY, np.full(number, 10.0), np.exp(logs))


def log_ratio(showers: Showers, shift: float) -> np.ndarray:
    """Logarithm of the density without shift over that with it."""
    logs = np.log(showers.voxels) - np.log(3.0)
    return (((logs - shift) ** 2 - logs**2) / (2 * WIDTH**2)).sum(axis=1)
