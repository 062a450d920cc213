"""Leading jets of reconstructed events, matched to the truth, as columns in JetClass names.

Anti-kT (arXiv:0802.1189) by FastJet (arXiv:1111.6097). Axes: B jets, N constituents end to end.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import import_module
from types import ModuleType

import awkward as ak
import numpy as np
import numpy.typing as npt

from pipelines.samples import detector as seen
from pipelines.samples.events import Events, Process, need
from pipelines.samples.softdrop import soft_drop_mass
from pipelines.samples.truth import is_top, leaves

Floats = npt.NDArray[np.float64]
Integers = npt.NDArray[np.int64]


@dataclass(frozen=True)
class JetCuts:
    """How jets are made and which are kept.

    Args:
        radius: anti-kT radius R; also the matching distance.
        pt: lowest and highest transverse momentum in GeV.
        eta_max: largest |pseudorapidity|.
        max_constituents: only the hardest this many are kept, and make up the jet.
        momentum_bits: explicit mantissa bits, of 23, that px, py and pz keep in the file; the
            relative error is below 2^-(bits + 1).
        direction_bits: the same for delta eta and delta phi.
        track_bits: the same for impact parameters and their errors.
    """

    radius: float
    pt: tuple[float, float]
    eta_max: float
    max_constituents: int = 200
    momentum_bits: int = 10
    direction_bits: int = 8
    track_bits: int = 6


def round_mantissa(values: npt.ArrayLike, bits: int) -> npt.NDArray[np.float32]:
    """float32 rounded to `bits` explicit mantissa bits, relative error below 2^-(bits + 1).

    Args:
        values: any numbers.
        bits: from 1 to 23.
    """
    raw = np.ascontiguousarray(values, np.float32).view(np.uint32)
    drop = np.uint32(23 - bits)
    half = np.uint32((1 << (23 - bits)) >> 1)
    return (((raw + half) >> drop) << drop).view(np.float32)


@dataclass(frozen=True)
class Jets:
    """Columns of a file: (B,) arrays and, for `part_*`, (N,) arrays with `offsets` (B + 1,)."""

    offsets: Integers
    columns: dict[str, npt.NDArray[np.generic]]

    def __len__(self) -> int:
        """Number of jets."""
        return len(self.offsets) - 1

    @staticmethod
    def joined(parts: list[Jets]) -> Jets:
        """All jets of several, in order.

        Args:
            parts: at least one; all with the same columns.
        """
        counts = np.concatenate([np.diff(part.offsets) for part in parts])
        names = parts[0].columns
        columns = {name: np.concatenate([part.columns[name] for part in parts]) for name in names}
        return Jets(_offsets(counts), columns)

    def taken(self, which: Integers) -> Jets:
        """Chosen jets.

        Args:
            which: their numbers, in the order wanted.
        """
        counts = np.diff(self.offsets)[which]
        offsets = _offsets(counts)
        rows = np.arange(offsets[-1]) + np.repeat(self.offsets[which] - offsets[:-1], counts)
        columns = {
            name: column[rows] if name.startswith("part_") else column[which]
            for name, column in self.columns.items()
        }
        return Jets(offsets, columns)


def leading_jets(
    events: Events, particles: seen.Particles, cuts: JetCuts, process: Process
) -> Jets:
    """At most one jet an event: the one of highest pT, if it passes the cuts and matches the truth.

    The jet in the file is the sum of the constituents in the file (after the cut on their number
    and the rounding of their momenta), and it is this jet that the cuts are made on.

    Args:
        events: true events, for matching.
        particles: what the jets are made of; massless.
        cuts: jet definition and selection.
        process: what the jets must match; its hard process decides which events count.

    Raises:
        ModuleNotFoundError: fastjet is not installed.
    """
    rows, offsets, event = _leading(particles, cuts)
    rows, p3, offsets = _hardest_first(particles.p3, rows, offsets, cuts)
    jet = np.add.reduceat(np.column_stack([np.linalg.norm(p3, axis=1), p3]), offsets[:-1])
    pt, eta, phi = _polar(jet[:, 1:])
    keep = (pt > cuts.pt[0]) & (pt < cuts.pt[1]) & (np.abs(eta) < cuts.eta_max)
    if process.outgoing:
        keep &= leaves(events, process.outgoing)[event]
    if process.match == "top":
        keep &= is_top(events, event, np.column_stack([eta, phi]), cuts.radius)
    inside = np.repeat(keep, np.diff(offsets))
    offsets = _offsets(np.diff(offsets)[keep])
    columns = _jet_columns(jet[keep], np.diff(offsets))
    groomed = soft_drop_mass(p3[inside], offsets, z_cut=0.1, beta=0.0, radius=cuts.radius)
    columns["jet_sdmass"] = groomed.astype(np.float32)
    for number, tau in enumerate(_n_subjettiness(p3[inside], offsets, cuts.radius).T, start=1):
        columns[f"jet_tau{number}"] = round_mantissa(tau, cuts.momentum_bits)
    columns["event"] = event[keep]
    columns["pt_hat"] = round_mantissa(events.pt_hat[event[keep]], cuts.momentum_bits)
    axis = np.repeat(np.column_stack([eta, phi])[keep], np.diff(offsets), axis=0)
    columns |= _part_columns(particles, rows[inside], p3[inside], axis, cuts)
    return Jets(offsets, columns)


def _offsets(counts: Integers) -> Integers:
    """Where each jet starts, and the end."""
    return np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)


def _fastjet() -> ModuleType:
    """FastJet, without the banner that every worker would print across the progress bar."""
    fastjet = need("fastjet")
    swig = import_module("fastjet._swig")
    swig.ClusterSequence.set_fastjet_banner_stream(None)
    return fastjet


def _leading(particles: seen.Particles, cuts: JetCuts) -> tuple[Integers, Integers, Integers]:
    """Rows of the constituents of the leading jets, their offsets and events."""
    fastjet = _fastjet()
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, cuts.radius)
    cluster = fastjet.ClusterSequence(_momenta(particles.p3, particles.offsets), definition)
    # Jets that a rounding could lift over the threshold stay; the cut proper comes later.
    found = cluster.inclusive_jets(min_pt=0.99 * cuts.pt[0])
    members = cluster.constituent_index(min_pt=0.99 * cuts.pt[0])
    event = np.flatnonzero(ak.to_numpy(ak.num(found)) > 0)
    pt = np.hypot(found.px, found.py)[event]
    best = ak.to_numpy(ak.fill_none(ak.argmax(pt, axis=1), 0))
    local = members[event, best]  # (jets, constituents), counted inside the event
    counts = ak.to_numpy(ak.num(local))
    rows = ak.to_numpy(ak.flatten(local)) + np.repeat(particles.offsets[event], counts)
    return rows, _offsets(counts), event


def _n_subjettiness(p3: Floats, offsets: Integers, radius: float) -> Floats:
    """tau_1 to tau_4 (B, 4) around one-pass kT axes, beta = 1, as in JetClass (arXiv:1011.2268)."""
    if len(offsets) == 1:
        return np.zeros((0, 4))
    fastjet = _fastjet()
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, radius)
    tau = fastjet.ClusterSequence(_momenta(p3, offsets), definition).njettiness(R0=radius)
    return np.asarray(ak.to_numpy(tau), np.float64).reshape(len(offsets) - 1, 4)


def _momenta(p3: Floats, offsets: Integers) -> ak.Array:
    """Massless particles as FastJet takes them."""
    columns = {"px": p3[:, 0], "py": p3[:, 1], "pz": p3[:, 2], "E": np.linalg.norm(p3, axis=1)}
    return ak.unflatten(ak.zip(columns, with_name="Momentum4D"), np.diff(offsets))


def _hardest_first(
    p3: Floats, rows: Integers, offsets: Integers, cuts: JetCuts
) -> tuple[Integers, Floats, Integers]:
    """Rows and rounded momenta by falling pT inside each jet, the allowed number of each."""
    counts = np.diff(offsets)
    jet = np.repeat(np.arange(len(counts)), counts)
    rounded = round_mantissa(p3[rows], cuts.momentum_bits).astype(np.float64)
    # By what the file holds; the true order decides where rounding made two alike.
    keys = [-np.hypot(values[:, 0], values[:, 1]) for values in (p3[rows], rounded)]
    order = np.lexsort((*keys, jet))
    place = np.arange(len(rows)) - np.repeat(offsets[:-1], counts)
    chosen = order[place < cuts.max_constituents]
    return rows[chosen], rounded[chosen], _offsets(np.minimum(counts, cuts.max_constituents))


def _polar(p3: Floats) -> tuple[Floats, Floats, Floats]:
    """pT, eta, phi."""
    pt = np.hypot(p3[:, 0], p3[:, 1])
    return pt, np.arcsinh(p3[:, 2] / pt), np.arctan2(p3[:, 1], p3[:, 0])


def _jet_columns(jet: Floats, counts: Integers) -> dict[str, npt.NDArray[np.generic]]:
    """What is known of whole jets."""
    pt, eta, phi = _polar(jet[:, 1:])
    mass = np.sqrt(np.maximum(jet[:, 0] ** 2 - np.sum(jet[:, 1:] ** 2, axis=1), 0.0))
    values = {"pt": pt, "eta": eta, "phi": phi, "energy": jet[:, 0], "mass": mass}
    columns = {f"jet_{name}": column.astype(np.float32) for name, column in values.items()}
    return columns | {"jet_nparticles": counts.astype(np.int32)}


def _part_columns(
    particles: seen.Particles, rows: Integers, p3: Floats, axis: Floats, cuts: JetCuts
) -> dict[str, npt.NDArray[np.generic]]:
    """What is known of each constituent."""
    _, eta, phi = _polar(p3)
    # As in JetClass the beam direction of the jet is always "up": delta eta changes sign with jet
    # eta.
    delta_eta = (eta - axis[:, 0]) * np.where(axis[:, 0] < 0, -1.0, 1.0)
    delta_phi = (phi - axis[:, 1] + np.pi) % (2 * np.pi) - np.pi
    track, kind = particles.track[rows], particles.kind[rows]
    columns: dict[str, npt.NDArray[np.generic]] = {
        "part_px": p3[:, 0].astype(np.float32),
        "part_py": p3[:, 1].astype(np.float32),
        "part_pz": p3[:, 2].astype(np.float32),
        # Not rounded: a rounded energy would give massless particles masses of many GeV.
        "part_energy": np.linalg.norm(p3, axis=1).astype(np.float32),
        "part_deta": round_mantissa(delta_eta, cuts.direction_bits),
        "part_dphi": round_mantissa(delta_phi, cuts.direction_bits),
        "part_charge": particles.charge[rows].astype(np.int32),
    }
    for column, name in enumerate(("d0val", "d0err", "dzval", "dzerr")):
        columns[f"part_{name}"] = round_mantissa(track[:, column], cuts.track_bits)
    for name, code in (
        ("ChargedHadron", seen.CHARGED_HADRON),
        ("NeutralHadron", seen.NEUTRAL_HADRON),
        ("Photon", seen.PHOTON),
        ("Electron", seen.ELECTRON),
        ("Muon", seen.MUON),
    ):
        columns[f"part_is{name}"] = kind == code
    return columns
