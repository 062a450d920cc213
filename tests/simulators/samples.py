"""Small samples of showers that look like showers, made without hepgen's own truth."""

from __future__ import annotations

import numpy as np

from hepgen.calorimeter import Geometry, Layer, Showers

REGULAR = Geometry(
    tuple(Layer((0, 5, 15, 40), 4, i, 10.0 * i + 5) for i in range(4)),
    "small",
    threshold=1e-5,
    symmetric=True,
)
# As of ds1: layers without sectors between such with, rings of different number.
IRREGULAR = Geometry(
    (Layer((0, 50, 100), 1, 0), Layer((0, 5, 15, 40), 5, 1), Layer((0, 100), 1, 12)),
    "irregular",
    threshold=1e-5,
)


def made(
    number: int,
    geometry: Geometry = REGULAR,
    *,
    seed: int = 0,
    conditions: bool = False,
    low: float = 1.0,
    high: float = 100.0,
) -> Showers:
    """Showers whose depth grows with the logarithm of the energy, with empty voxels.

    Args:
        number: of showers.
        geometry: of the voxels.
        seed: of everything.
        conditions: whether particles have an angle and a kind, on which the energy depends.
        low: least energy in GeV.
        high: greatest.
    """
    rng = np.random.default_rng(seed)
    energy = low * (high / low) ** rng.random(number)
    depth = 0.25 + 0.12 * np.log(energy) + 0.1 * rng.normal(size=number)
    layers = np.linspace(0, 1, geometry.num_layers)
    share = np.exp(-0.5 * ((layers - depth[:, None]) / 0.35) ** 2)
    share /= share.sum(axis=1, keepdims=True)
    response = 0.9 + 0.1 / np.sqrt(energy) * rng.normal(size=number)
    given = {}
    if conditions:
        given = {"theta": 0.5 * rng.random(number), "pdg": rng.choice([11, 22], size=number)}
        response *= (1 - 0.3 * given["theta"]) * np.where(given["pdg"] == 22, 0.7, 1.0)
    radial = np.exp(-geometry.r / (0.3 * geometry.r.max()))
    voxels = radial * rng.gamma(1.5, size=(number, geometry.num_voxels))
    voxels *= rng.random(voxels.shape) < 0.7
    for a, b, i in zip(geometry.starts[:-1], geometry.starts[1:], range(99), strict=False):
        total = voxels[:, a:b].sum(axis=1, keepdims=True)
        wanted = (share[:, i] * response * energy)[:, None]
        voxels[:, a:b] *= np.divide(wanted, total, where=total > 0, out=np.zeros_like(total))
    return Showers(geometry, energy, voxels.astype(np.float32), given).above()
