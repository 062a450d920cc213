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
from dataclasses import asdict, dataclass, fields, replace
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.calorimeter.errors import GeometryError, ShowerError
from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.random_kernels import keys_of
from hepgen.calorimeter.shower_kernels import (
    Parameters,
    Voxels,
    fill_showers,
    lower_gamma,
    radial,
)
from hepgen.calorimeter.showers import Showers
from hepgen.calorimeter.stack import Calorimeter, Sampling
from hepgen.io.errors import nearest_names

__all__ = [
    "ShowerTuning",
    "layer_edges",
    "longitudinal_containment",
    "longitudinal_profile",
    "radial_containment",
    "radial_profile",
    "simulate_showers",
    "simulate_voxels",
]

Doubles = NDArray[np.float64]

# PDG numbers of what starts an electromagnetic shower.
PARTICLES = {"electron": 11, "positron": -11, "photon": 22}
# ln(E / E_c) from which on the parametrisation was tuned; below, ln T has no sense.
LEAST_LOG = 1.5
# Longest step in depth, in radiation lengths: the radial profile is that of its middle.
STEP = 1.0


@dataclass(frozen=True)
class ShowerTuning:
    """By how much a sample differs from the published formulas; the default is not at all.

    Attributes:
        response: visible over incident energy of a shower that is contained.
        sampling_term: relative width at 1 GeV; None for that of the calorimeter.
        depth: factor of the depth of the maximum.
        shape: added to the mean of alpha.
        depth_width: factor of the width of the logarithm of the depth.
        shape_width: factor of the width of the logarithm of alpha.
        core: factor of the radius of the core.
        tail: factor of the radius of the tail.
        core_weight: added to the share of the core in the energy.
        spots: factor of the number of spots.

    Raises:
        ShowerError: a number that is not finite, or a factor that is not above 0.
    """

    response: float = 1.0
    sampling_term: float | None = None
    depth: float = 1.0
    shape: float = 0.0
    depth_width: float = 1.0
    shape_width: float = 1.0
    core: float = 1.0
    tail: float = 1.0
    core_weight: float = 0.0
    spots: float = 1.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "sampling_term":
                continue
            least = -math.inf if field.default == 0.0 else 0.0
            # Nothing may be left of a width, or of the fluctuations of a homogeneous calorimeter.
            allowed = field.name in ("depth_width", "shape_width", "sampling_term") and value == 0
            if not (least < value < math.inf or allowed):
                raise ShowerError(f"{field.name}={value} makes no sense for showers")

    def to_dict(self) -> dict[str, float | None]:
        """The same as what JSON can hold."""
        return asdict(self)


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
    _check_energies(calorimeter, incident_energy)
    least = geometry.threshold if threshold is None else threshold
    if not 0 <= least < math.inf:
        raise ShowerError(f"threshold={threshold} GeV: wanted a number from 0 on")
    if threads < 1:
        raise ShowerError(f"threads={threads}: wanted one at least")
    parameters = _parameters(calorimeter, tuning)
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


def longitudinal_profile(t: ArrayLike, incident_energy: float, calorimeter: Calorimeter) -> Doubles:
    r"""The mean profile in depth of electrons, dE / (E dt).

    Args:
        t: depth in radiation lengths, any shape.
        incident_energy: in GeV.
        calorimeter: what it is made of.

    Returns:
        The gamma distribution :math:`(\beta t)^{\alpha-1}\beta e^{-\beta t}/\Gamma(\alpha)`, per
        radiation length; 0 before the face.

    Raises:
        ShowerError: an energy below the reach of the formulas.
    """
    alpha, beta = _mean_shape(incident_energy, calorimeter)
    depth = np.maximum(np.asarray(t, dtype=np.float64), 0.0)
    with np.errstate(divide="ignore"):
        log = (alpha - 1) * np.log(beta * depth) - beta * depth - math.lgamma(alpha)
    return np.asarray(beta * np.exp(log))


def longitudinal_containment(
    t: ArrayLike, incident_energy: float, calorimeter: Calorimeter
) -> Doubles:
    """The share of the energy up to some depth, of the mean profile of electrons.

    Args:
        t: depth in radiation lengths, any shape.
        incident_energy: in GeV.
        calorimeter: what it is made of.

    Raises:
        ShowerError: an energy below the reach of the formulas.
    """
    alpha, beta = _mean_shape(incident_energy, calorimeter)
    depth = np.asarray(t, dtype=np.float64)
    shares = [lower_gamma(alpha, beta * d, math.lgamma(alpha)) for d in depth.ravel().tolist()]
    return np.array(shares, dtype=np.float64).reshape(depth.shape)


def radial_profile(
    r: ArrayLike, t: float, incident_energy: float, calorimeter: Calorimeter
) -> Doubles:
    r"""The mean profile in radius of electrons at some depth, dE / (E dr).

    Args:
        r: radius in Moliere radii, any shape.
        t: depth in radiation lengths.
        incident_energy: in GeV.
        calorimeter: what it is made of.

    Returns:
        :math:`p\,2rR_C^2/(r^2+R_C^2)^2 + (1-p)\,2rR_T^2/(r^2+R_T^2)^2`, per Moliere radius.

    Raises:
        ShowerError: an energy below the reach of the formulas.
    """
    core, tail, weight = _mean_radial(t, incident_energy, calorimeter)
    radius = np.asarray(r, dtype=np.float64)
    of_core = 2 * radius * core**2 / (radius**2 + core**2) ** 2
    of_tail = 2 * radius * tail**2 / (radius**2 + tail**2) ** 2
    return np.asarray(weight * of_core + (1 - weight) * of_tail)


def radial_containment(
    r: ArrayLike, t: float, incident_energy: float, calorimeter: Calorimeter
) -> Doubles:
    """The share of the energy at some depth within a radius, of the mean profile of electrons.

    Args:
        r: radius in Moliere radii, any shape.
        t: depth in radiation lengths.
        incident_energy: in GeV.
        calorimeter: what it is made of.

    Raises:
        ShowerError: an energy below the reach of the formulas.
    """
    core, tail, weight = _mean_radial(t, incident_energy, calorimeter)
    square = np.asarray(r, dtype=np.float64) ** 2
    of_core, of_tail = square / (square + core**2), square / (square + tail**2)
    return np.asarray(weight * of_core + (1 - weight) * of_tail)


def _mean_shape(energy: float, calorimeter: Calorimeter) -> tuple[float, float]:
    """Alpha and beta of the mean profile, which has constants of its own in the paper."""
    _check_energies(calorimeter, np.array([energy]))
    log_y = math.log(energy / calorimeter.critical_energy)
    depth = log_y - 0.858
    alpha = 0.21 + (0.492 + 2.38 / calorimeter.atomic_number) * log_y
    if isinstance(calorimeter, Sampling):
        depth -= 0.59 / calorimeter.sampling_frequency + 0.53 * (1 - calorimeter.e_hat)
        alpha -= 0.444 / calorimeter.sampling_frequency
    depth, alpha = max(0.1, depth), max(1.1, alpha)
    return alpha, (alpha - 1) / depth


def _mean_radial(t: float, energy: float, calorimeter: Calorimeter) -> tuple[float, float, float]:
    alpha, beta = _mean_shape(energy, calorimeter)
    tau = t * beta / (alpha - 1)
    found: tuple[float, float, float] = radial(
        energy, tau, _parameters(calorimeter, ShowerTuning())
    )
    return found


def _parameters(calorimeter: Calorimeter, tuning: ShowerTuning) -> Parameters:
    term = calorimeter.sampling_term if tuning.sampling_term is None else tuning.sampling_term
    z = calorimeter.atomic_number
    sampling, frequency, contrast, spots = False, math.inf, 0.0, 93 * math.log(z)
    if isinstance(calorimeter, Sampling):
        sampling, frequency = True, calorimeter.sampling_frequency
        contrast = 1 - calorimeter.e_hat
        # One tuned to no fluctuations at all still has spots.
        spots = 10.3 / max(term, 1e-3)
    return Parameters(
        z=z,
        critical_energy=calorimeter.critical_energy,
        moliere_radius=calorimeter.moliere_radius,
        sampling=sampling,
        inverse_frequency=1 / frequency,
        contrast=contrast,
        variance=float(term) ** 2,
        spot_number=spots * tuning.spots,
        spot_power=0.959 if sampling else 0.876,
        response=float(tuning.response),
        depth=float(tuning.depth),
        shape=float(tuning.shape),
        depth_width=float(tuning.depth_width),
        shape_width=float(tuning.shape_width),
        core=float(tuning.core),
        tail=float(tuning.tail),
        core_weight=float(tuning.core_weight),
    )


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


def _check_energies(calorimeter: Calorimeter, energy: Doubles) -> None:
    if energy.ndim != 1:
        raise ShowerError(f"incident energies have shape {energy.shape}; wanted one a shower")
    least = calorimeter.critical_energy * math.exp(LEAST_LOG)
    wrong = np.flatnonzero(~((energy >= least) & (energy < math.inf)))
    if len(wrong):
        raise ShowerError(
            f"{len(wrong)} of {len(energy)} incident energies are not from {least:.3g} GeV on, "
            "where the parametrisation of showers in this calorimeter begins; "
            f"the first is {energy[wrong[0]]:.4g} GeV"
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
