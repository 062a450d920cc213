r"""Parametrised electromagnetic showers: the built-in truth, and the fastest simulator.

The profiles of G. Grindhammer and S. Peters, "The parameterized simulation of electromagnetic
showers in homogeneous and sampling calorimeters", hep-ex/0001020: a gamma distribution in depth
whose parameters fluctuate together, a core and a tail in radius that change with depth, energy in
spots, and the fluctuations of sampling. Photons convert after 9/7 radiation lengths on average, to
a pair that shares the energy evenly. Particles come along the axis.

Geant4 has the same formulas, with which its classes for sampling calorimeters do not agree
everywhere (digits of k4, spots of the homogeneous case): the paper's are used here.

Shapes: B showers, L layers, V voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.calorimeter.errors import GeometryError, ShowerError
from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.random_kernels import keys_of
from hepgen.calorimeter.shower_kernels import Voxels, fill_showers
from hepgen.calorimeter.shower_parameters import (
    ShowerTuning,
    check_energies,
    kernel_parameters,
)
from hepgen.calorimeter.showers import Showers
from hepgen.calorimeter.stack import Calorimeter
from hepgen.io.errors import nearest_names

__all__ = ["PARTICLES", "layer_edges", "simulate_showers", "simulate_voxels"]

Doubles = NDArray[np.float64]

# PDG numbers of what starts an electromagnetic shower.
PARTICLES = {"electron": 11, "positron": -11, "photon": 22}
# Longest step in depth, in radiation lengths: the radial profile is that of its middle.
STEP = 1.0


def simulate_showers(
    geometry: Geometry,
    calorimeter: Calorimeter,
    incident_energy: ArrayLike,
    *,
    particle: str | ArrayLike = "electron",
    response: float = 1.0,
    tuning: ShowerTuning | None = None,
    threshold: float | None = None,
    z_edges: Sequence[float] | None = None,
    seed: int = 0,
    first: int = 0,
    threads: int = 1,
) -> Showers:
    """Parametrised showers of electrons, positrons or photons that come along the axis.

    Shower i of a seed is the same bit for bit whatever others are made with it, and by how many
    threads.

    Args:
        geometry: where the voxels are; its layers need depths, or ``z_edges`` is given.
        calorimeter: what it is made of.
        incident_energy: in GeV, shape (B,).
        particle: "electron", "positron" or "photon"; or PDG numbers 11, -11 and 22, shape (B,),
            which become the condition ``pdg``.
        response: what visible energies are multiplied with: visible over incident energy of a
            shower that is contained, as in samples whose hits are divided by a sampling fraction.
        tuning: changes to the formulas.
        threshold: in GeV, below which voxels are empty; that of the geometry if not given.
        z_edges: depths in mm where layers begin and end, from the face of the calorimeter, L + 1
            of them; half-way between the middles of the layers if not given.
        seed: of all random numbers.
        first: number of the first shower, so that a sample can be made in pieces.
        threads: how many compute.

    Returns:
        Showers, float32, with ``event`` counting from ``first``.

    Raises:
        ShowerError: energies below the reach of the formulas, which is 4.5 critical energies, or
            particles that make no electromagnetic shower.
        GeometryError: layers without depths, or in another order than that of their depths.
    """
    energy = np.asarray(incident_energy, dtype=np.float64)
    keys = keys_of(seed, first, len(energy))
    pdg = _particles(particle, len(energy))
    tuned = tuning or ShowerTuning()
    if response != 1:
        tuned = replace(tuned, response=tuned.response * response)
    voxels = simulate_voxels(
        geometry,
        calorimeter,
        energy,
        pdg == PARTICLES["photon"],
        keys,
        tuning=tuned,
        threshold=threshold,
        z_edges=z_edges,
        threads=threads,
    )
    event = np.arange(first, first + len(energy), dtype=np.int64)
    conditions = {} if isinstance(particle, str) else {"pdg": pdg}
    return Showers(geometry, energy, voxels, conditions, event=event)


def simulate_voxels(
    geometry: Geometry,
    calorimeter: Calorimeter,
    incident_energy: Doubles,
    photon: NDArray[np.bool_],
    keys: NDArray[np.uint64],
    *,
    tuning: ShowerTuning,
    threshold: float | None = None,
    z_edges: Sequence[float] | None = None,
    threads: int = 1,
) -> NDArray[np.float32]:
    """Voxels of `simulate_showers`, for callers with random numbers of their own.

    Args:
        geometry: see `simulate_showers`.
        calorimeter: likewise.
        incident_energy: in GeV, shape (B,).
        photon: which of the particles are photons, shape (B,).
        keys: a random number for each shower, which decides all of it, shape (B,).
        tuning: changes to the formulas.
        threshold: see `simulate_showers`.
        z_edges: likewise.
        threads: likewise.

    Returns:
        Energies in GeV, shape (B, V).

    Raises:
        ShowerError: see `simulate_showers`.
        GeometryError: likewise.
    """
    check_energies(calorimeter, incident_energy)
    least = geometry.threshold if threshold is None else threshold
    if not 0 <= least < math.inf:
        raise ShowerError(f"threshold={threshold} GeV: wanted a number from 0 on")
    if threads < 1:
        raise ShowerError(f"threads={threads}: wanted one at least")
    parameters = kernel_parameters(calorimeter, tuning)
    voxels = _voxels(geometry, calorimeter, least, z_edges)
    out = np.empty((len(keys), geometry.num_voxels), dtype=np.float32)

    def fill(piece: slice) -> None:
        fill_showers(
            keys[piece], incident_energy[piece], photon[piece], parameters, voxels, out[piece]
        )

    if threads == 1:
        fill(slice(None))
        return out
    # Small pieces, as showers of high energies take longer.
    ends = np.linspace(0, len(keys), 8 * threads + 1).astype(int).tolist()
    with ThreadPoolExecutor(threads, "hepgen-showers") as pool:
        list(pool.map(fill, [slice(a, b) for a, b in pairwise(ends)]))
    return out


def layer_edges(geometry: Geometry, z_edges: Sequence[float] | None = None) -> Doubles:
    """Depths where layers begin and end.

    Args:
        geometry: layers whose middles are known.
        z_edges: the depths, if they are known better.

    Returns:
        Depths in mm, half-way between the middles of neighbours, rising, shape (L + 1,).

    Raises:
        GeometryError: depths that are not known, negative or in another order; or a single layer,
            whose thickness nothing tells.
    """
    if z_edges is not None:
        edges = np.asarray(z_edges, dtype=np.float64)
        if edges.shape != (geometry.num_layers + 1,):
            raise GeometryError(
                f"z_edges has shape {edges.shape}; {geometry.num_layers} layers have "
                f"{geometry.num_layers + 1} edges"
            )
    else:
        unknown = [layer.id for layer in geometry.layers if layer.z is None]
        if unknown:
            raise GeometryError(
                f"{geometry} has no depth z of {len(unknown)} of its {geometry.num_layers} layers, "
                f"the first is layer {unknown[0]}; give z to the layers, or z_edges"
            )
        z = np.array([layer.z for layer in geometry.layers], dtype=np.float64)
        if len(z) < 2:
            raise GeometryError(f"{geometry} has one layer, whose thickness is unknown: z_edges?")
        inner = (z[:-1] + z[1:]) / 2
        edges = np.concatenate([[2 * z[0] - inner[0]], inner, [2 * z[-1] - inner[-1]]])
        # The face, but for rounding.
        edges[0] = 0.0 if abs(edges[0]) < 1e-6 * edges[-1] else edges[0]
    if not (np.isfinite(edges).all() and edges[0] >= 0 and (np.diff(edges) > 0).all()):
        raise GeometryError(f"depths of layers should rise from 0 on, got {edges.tolist()} mm")
    return edges


def _voxels(
    geometry: Geometry, calorimeter: Calorimeter, least: float, z_edges: Sequence[float] | None
) -> Voxels:
    edges = layer_edges(geometry, z_edges) / calorimeter.radiation_length
    counts = np.maximum(1, np.ceil(np.diff(edges) / STEP - 1e-9)).astype(np.int64)
    inner = [
        np.linspace(a, b, n + 1)[:-1] for (a, b), n in zip(pairwise(edges), counts, strict=True)
    ]
    squares = [np.array(layer.r_edges) ** 2 for layer in geometry.layers]
    return Voxels(
        steps=np.concatenate([*inner, edges[-1:]]),
        first_step=np.concatenate([[0], np.cumsum(counts)]),
        starts=geometry.starts,
        num_alpha=np.array([layer.num_alpha for layer in geometry.layers], dtype=np.int64),
        squares=np.concatenate(squares),
        first_edge=np.cumsum([0, *map(len, squares)], dtype=np.int64),
        threshold=float(least),
    )


def _particles(particle: str | ArrayLike, number: int) -> NDArray[Any]:
    """PDG numbers, shape (B,)."""
    if isinstance(particle, str):
        if particle not in PARTICLES:
            near = ", ".join(nearest_names(particle, PARTICLES))
            raise ShowerError(
                f"particle={particle!r} makes no electromagnetic shower that is parametrised here; "
                f"nearest: {near}"
            )
        return np.full(number, PARTICLES[particle], dtype=np.int64)
    pdg = np.asarray(particle)
    if pdg.shape != (number,):
        raise ShowerError(f"particle has shape {pdg.shape}; there are {number} energies")
    unknown = np.setdiff1d(pdg, list(PARTICLES.values()))
    if len(unknown):
        raise ShowerError(f"particle {unknown[0]}: wanted PDG numbers 11, -11 or 22")
    return pdg.astype(np.int64)
