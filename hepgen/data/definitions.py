"""The features that hepgen knows, one small function each: one number for each constituent.

Definitions and constants are those published with ParticleNet and Particle Transformer: H. Qu, C.
Li and S. Qian, "Particle Transformer for Jet Tagging", arXiv:2202.03772, in their data
configurations for JetClass.

Shapes: N constituents of all jets end to end. GeV, radians, mm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hepgen.data.constituents import Constituents

__all__ = [
    "KNOWN",
    "UNKNOWN",
    "Definition",
    "Feature",
    "charge",
    "d0_error",
    "d0_significance",
    "delta_eta",
    "delta_phi",
    "delta_r",
    "dz_error",
    "dz_significance",
    "is_charged_hadron",
    "is_electron",
    "is_muon",
    "is_neutral_hadron",
    "is_photon",
    "log_energy",
    "log_energy_fraction",
    "log_pt",
    "log_pt_fraction",
    "tanh_d0",
    "tanh_dz",
]

Column = NDArray[Any]
Feature = Callable[[Constituents], Column]


class Definition(NamedTuple):
    """What a feature needs, and how it becomes ``clip((value - centre) * scale, low, high)``.

    Attributes:
        centre: subtracted first.
        scale: multiplied then.
        low: least result.
        high: greatest result.
        fitted: whether ``Features.fit`` replaces centre and scale.
        needs: standard fields of the constituents, besides momenta, that the function uses.
    """

    centre: float
    scale: float
    low: float = -5.0
    high: float = 5.0
    fitted: bool = True
    needs: tuple[str, ...] = ()


# Until it is fitted, a feature that nothing is published for is neither scaled nor clipped.
UNKNOWN = Definition(0.0, 1.0, -np.inf, np.inf)


def log_pt(c: Constituents) -> Column:
    """Logarithm of the transverse momentum in GeV."""
    return np.log(c.pt)


def log_energy(c: Constituents) -> Column:
    """Logarithm of the energy in GeV."""
    return np.log(c.energy)


def log_pt_fraction(c: Constituents) -> Column:
    """Logarithm of the transverse momentum as a fraction of the jet's."""
    return log_pt(c) - c.spread(np.log(c.jet_pt))


def log_energy_fraction(c: Constituents) -> Column:
    """Logarithm of the energy as a fraction of the jet's."""
    return log_energy(c) - c.spread(np.log(c.jet_energy).astype(np.float32))


def delta_r(c: Constituents) -> Column:
    """Distance to the jet axis in the plane of pseudorapidity and azimuth."""
    return np.asarray(np.sqrt(np.square(c.delta_eta) + np.square(c.delta_phi)))


def delta_eta(c: Constituents) -> Column:
    """Pseudorapidity from the jet axis, positive away from the centre of the detector."""
    return c.delta_eta


def delta_phi(c: Constituents) -> Column:
    """Azimuth from the jet axis, in [-pi, pi)."""
    return c.delta_phi


def charge(c: Constituents) -> Column:
    """Electric charge in units of e."""
    return c.charge


def is_charged_hadron(c: Constituents) -> Column:
    """1 for a charged hadron, else 0."""
    return c.is_charged_hadron


def is_neutral_hadron(c: Constituents) -> Column:
    """1 for a neutral hadron, else 0."""
    return c.is_neutral_hadron


def is_photon(c: Constituents) -> Column:
    """1 for a photon, else 0."""
    return c.is_photon


def is_electron(c: Constituents) -> Column:
    """1 for an electron or positron, else 0."""
    return c.is_electron


def is_muon(c: Constituents) -> Column:
    """1 for a muon, else 0."""
    return c.is_muon


def tanh_d0(c: Constituents) -> Column:
    """Hyperbolic tangent of the transverse impact parameter in mm; 0 without a track."""
    return np.tanh(c.d0)


def d0_error(c: Constituents) -> Column:
    """Uncertainty of the transverse impact parameter in mm, clipped to [0, 1].

    0 without a track.
    """
    return c.d0_error


def tanh_dz(c: Constituents) -> Column:
    """Hyperbolic tangent of the longitudinal impact parameter in mm; 0 without a track."""
    return np.tanh(c.dz)


def dz_error(c: Constituents) -> Column:
    """Uncertainty of the longitudinal impact parameter in mm, clipped to [0, 1].

    0 without a track.
    """
    return c.dz_error


def d0_significance(c: Constituents) -> Column:
    """Transverse impact parameter over its uncertainty; 0 without a track (an uncertainty of 0)."""
    return _significance(c.d0, c.d0_error)


def dz_significance(c: Constituents) -> Column:
    """Longitudinal impact parameter over its uncertainty.

    0 without a track (an uncertainty of 0).
    """
    return _significance(c.dz, c.dz_error)


def _significance(value: Column, error: Column) -> Column:
    return np.divide(
        value, error, dtype=np.float32, out=np.zeros(len(value), np.float32), where=error != 0
    )


def _as_it_is(*needs: str) -> Definition:
    return Definition(0.0, 1.0, -np.inf, np.inf, fitted=False, needs=needs)


KNOWN: Mapping[Feature, Definition] = {
    log_pt: Definition(1.7, 0.7),
    log_energy: Definition(2.0, 0.7),
    log_pt_fraction: Definition(-4.7, 0.7),
    log_energy_fraction: Definition(-4.7, 0.7),
    delta_r: Definition(0.2, 4.0, needs=("delta_eta", "delta_phi")),
    charge: _as_it_is("charge"),
    is_charged_hadron: _as_it_is("is_charged_hadron"),
    is_neutral_hadron: _as_it_is("is_neutral_hadron"),
    is_photon: _as_it_is("is_photon"),
    is_electron: _as_it_is("is_electron"),
    is_muon: _as_it_is("is_muon"),
    tanh_d0: _as_it_is("d0"),
    d0_error: Definition(0.0, 1.0, 0.0, 1.0, fitted=False, needs=("d0_error",)),
    tanh_dz: _as_it_is("dz"),
    dz_error: Definition(0.0, 1.0, 0.0, 1.0, fitted=False, needs=("dz_error",)),
    d0_significance: UNKNOWN._replace(needs=("d0", "d0_error")),
    dz_significance: UNKNOWN._replace(needs=("dz", "dz_error")),
    delta_eta: _as_it_is("delta_eta"),
    delta_phi: _as_it_is("delta_phi"),
}
"""What each feature needs, and how it is standardised until it is fitted."""
