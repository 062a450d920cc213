r"""A fast detector: tracks, photons and neutral hadrons from true particles.

In the spirit of Delphes (arXiv:1307.6346) but much shorter; the numbers are close to those of CMS.
Every particle is massless afterwards, and directions are those at the interaction point: there is
no magnetic field in the sense of bent paths. The README of this folder has the formulas in full.

Axes: N true particles, R reconstructed particles, of all events end to end.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from pipelines.samples.events import Events

CHARGED_HADRON, NEUTRAL_HADRON, PHOTON, ELECTRON, MUON = range(5)
NEUTRINOS = (12, 14, 16)

Floats = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int8]


CENTRAL = 1.5


@dataclass(frozen=True)
class Calorimeter:
    """Square cells in (eta, phi), each measuring the summed energy of what hits it.

    Args:
        cells_in_phi: cells around; the width of a cell is 2 pi divided by it.
        resolution: a and b of sigma(E)/E = a / sqrt(E / GeV) (+) b.
        threshold: cells below this transverse energy, in GeV, are dropped.
        eta_max: end of the calorimeter.
    """

    cells_in_phi: int
    resolution: tuple[float, float]
    threshold: float
    eta_max: float = 3.0


@dataclass(frozen=True)
class Detector:
    """Resolutions, efficiencies and thresholds; (+) adds in quadrature.

    Args:
        track_eta_max: end of the tracker.
        track_pt_min: charged particles below this pT, in GeV, curl up and are lost.
        track_efficiency: probability to find a track, for |eta| < 1.5 and beyond.
        track_resolution: a and b of sigma(pT)/pT = a (+) b pT/GeV; doubled for |eta| > 1.5.
        d0_resolution: a and b, in mm, of sigma(d0) = a (+) b / (pT/GeV sin(theta)^(1/2)).
        dz_resolution: a and b, in mm, of sigma(dz) = a (+) b / (pT/GeV sin(theta)^(3/2)).
        ecal: calorimeter of photons and of electrons without a track.
        hcal: calorimeter of neutral hadrons and of charged hadrons without a track.
    """

    track_eta_max: float = 2.5
    track_pt_min: float = 0.75
    track_efficiency: tuple[float, float] = (0.95, 0.90)
    track_resolution: tuple[float, float] = (0.01, 1.5e-4)
    d0_resolution: tuple[float, float] = (0.012, 0.08)
    dz_resolution: tuple[float, float] = (0.025, 0.10)
    ecal: Calorimeter = Calorimeter(360, (0.05, 0.01), 0.5)
    hcal: Calorimeter = Calorimeter(72, (1.0, 0.05), 1.0)


@dataclass(frozen=True)
class Particles:
    """What the detector saw; GeV and mm.

    Args:
        offsets: (events + 1,) first row of each event.
        p3: (R, 3) px, py, pz; energy is |p|.
        kind: (R,) 0 charged hadron, 1 neutral hadron, 2 photon, 3 electron, 4 muon.
        charge: (R,) -1, 0 or 1.
        track: (R, 4) d0, its error, dz, its error; zeros for neutral particles.
    """

    offsets: npt.NDArray[np.int64]
    p3: Floats
    kind: Codes
    charge: Codes
    track: Floats


def reconstruct(events: Events, detector: Detector | None, rng: np.random.Generator) -> Particles:
    """Send the visible final particles through the detector.

    Args:
        events: true events.
        detector: what to smear with; None keeps the true momenta and impact parameters, without
            errors.
        rng: the only source of randomness.

    Returns:
        The reconstructed particles, grouped by event, in no order inside it.
    """
    rows = np.flatnonzero((events.status > 0) & ~np.isin(np.abs(events.pid), NEUTRINOS))
    event = np.searchsorted(events.offsets, rows, side="right") - 1
    p3, charge = events.p4[rows, 1:], np.sign(events.charge[rows]).astype(np.int8)
    kind = _kinds(events.pid[rows], charge)
    track = np.zeros((len(rows), 4))
    track[:, ::2] = np.where(charge[:, None] != 0, impact_parameters(p3, events.vertex[rows]), 0.0)
    count = len(events.offsets) - 1
    if detector is None:
        return _grouped(count, event, p3, kind, charge, track)

    pt, eta = np.hypot(p3[:, 0], p3[:, 1]), _eta(p3)
    central = np.abs(eta) < CENTRAL
    reaches = (charge != 0) & (np.abs(eta) < detector.track_eta_max) & (pt > detector.track_pt_min)
    tracked = reaches & (rng.random(len(pt)) < np.where(central, *detector.track_efficiency))
    curled = (charge != 0) & (pt <= detector.track_pt_min)
    showers = ~tracked & ~curled & (kind != MUON)
    light = showers & ((kind == PHOTON) | (kind == ELECTRON))
    parts = [
        (
            event[tracked],
            *_tracks(p3[tracked], track[tracked], detector, rng),
            kind[tracked],
            charge[tracked],
        )
    ]
    for mask, name, cells in (
        (light, PHOTON, detector.ecal),
        (showers & ~light, NEUTRAL_HADRON, detector.hcal),
    ):
        hit, momenta = _cells(event[mask], p3[mask], events.p4[rows[mask], 0], cells, rng)
        none = np.zeros(len(hit), np.int8)
        parts.append((hit, momenta, np.zeros((len(hit), 4)), none + np.int8(name), none))
    event, p3, track, kind, charge = (np.concatenate(column) for column in zip(*parts, strict=True))
    return _grouped(count, event, p3, kind, charge, track)


def impact_parameters(p3: Floats, vertex: Floats) -> Floats:
    """Transverse and longitudinal impact parameters of straight tracks, in mm.

    Args:
        p3: (N, 3) momenta.
        vertex: (N, 3) production points in mm, the collision being at the origin.

    Returns:
        (N, 2): d0 = (x py - y px) / pT, the sign of Delphes, and dz = z - (x px + y py) pz / pT^2.
    """
    (px, py, pz), (x, y, z) = p3.T, vertex.T
    pt = np.maximum(np.hypot(px, py), 1e-9)
    return np.stack([(x * py - y * px) / pt, z - (x * px + y * py) * pz / pt**2], axis=1)


def _tracks(
    p3: Floats, track: Floats, detector: Detector, rng: np.random.Generator
) -> tuple[Floats, Floats]:
    """Smeared momenta and impact parameters (d0, error, dz, error) of found tracks."""
    pt = np.hypot(p3[:, 0], p3[:, 1])
    sin_theta = pt / np.linalg.norm(p3, axis=1)
    scale = np.where(np.abs(_eta(p3)) < CENTRAL, 1.0, 2.0)
    noise, slope = detector.track_resolution
    factor = _log_normal(scale * np.hypot(noise, slope * pt), rng)
    for column, (floor, multiple), power in (
        (0, detector.d0_resolution, 0.5),
        (2, detector.dz_resolution, 1.5),
    ):
        error = np.hypot(floor, multiple / (pt * sin_theta**power))
        track[:, column] += error * rng.standard_normal(len(pt))
        track[:, column + 1] = error
    return p3 * factor[:, None], track


def _cells(
    event: npt.NDArray[np.int64],
    p3: Floats,
    energy: Floats,
    cells: Calorimeter,
    rng: np.random.Generator,
) -> tuple[npt.NDArray[np.int64], Floats]:
    """Event and momentum of every cell above threshold."""
    width = 2 * np.pi / cells.cells_in_phi
    eta, phi = _eta(p3), np.arctan2(p3[:, 1], p3[:, 0])
    inside = np.abs(eta) < cells.eta_max
    event, eta, phi, energy = event[inside], eta[inside], phi[inside], energy[inside]
    row = np.floor((eta + cells.eta_max) / width).astype(np.int64)
    column = np.floor((phi + np.pi) / width).astype(np.int64) % cells.cells_in_phi
    key = (event * 4096 + row) * 4096 + column
    hit, which = np.unique(key, return_inverse=True)
    total = np.bincount(which, weights=energy, minlength=len(hit)).astype(np.float64)
    eta, phi = (
        np.bincount(which, weights=energy * angle, minlength=len(hit)) / total
        for angle in (eta, phi)
    )
    total *= _log_normal(np.hypot(cells.resolution[0] / np.sqrt(total), cells.resolution[1]), rng)
    # A cell knows no more of the position than its own width: the spread of a flat distribution.
    spread = width / np.sqrt(12)
    eta = eta + spread * rng.standard_normal(len(hit))
    phi = phi + spread * rng.standard_normal(len(hit))
    pt = total / np.cosh(eta)
    keep = pt > cells.threshold
    momenta = np.stack([pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(eta)], axis=1)
    return (hit // 4096**2)[keep], momenta[keep]


def _log_normal(relative: Floats, rng: np.random.Generator) -> Floats:
    """Positive factors of mean 1 and standard deviation `relative`."""
    sigma = np.sqrt(np.log1p(relative**2))
    return np.exp(sigma * rng.standard_normal(len(relative)) - sigma**2 / 2)


def _kinds(pid: npt.NDArray[np.int64], charge: Codes) -> Codes:
    """Class of each true particle."""
    kind = np.where(charge != 0, CHARGED_HADRON, NEUTRAL_HADRON).astype(np.int8)
    for code, name in ((22, PHOTON), (11, ELECTRON), (13, MUON)):
        kind[np.abs(pid) == code] = name
    return kind


def _eta(p3: Floats) -> Floats:
    """Pseudorapidity; particles along the beam get a large finite one."""
    return np.arcsinh(p3[:, 2] / np.maximum(np.hypot(p3[:, 0], p3[:, 1]), 1e-9))


def _grouped(
    count: int, event: npt.NDArray[np.int64], p3: Floats, kind: Codes, charge: Codes, track: Floats
) -> Particles:
    """Rows sorted by event."""
    order = np.argsort(event, kind="stable")
    offsets = np.searchsorted(event[order], np.arange(count + 1)).astype(np.int64)
    return Particles(offsets, p3[order], kind[order], charge[order], track[order])
