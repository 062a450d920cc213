"""Charge and kind of particles from their PDG ids.

Particle Data Group, "Monte Carlo particle numbering scheme", in "Review of Particle Physics",
Phys. Rev. D 110 (2024) 030001.

Shapes: N particles.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["KINDS", "charge"]

Ids = NDArray[np.integer[Any]]
Column = NDArray[Any]

_NEUTRINOS = (12, 14, 16)
# What CMS calls electromagnetic deposits in its forward calorimeter; hadronic ones are 1.
_FORWARD_PHOTON = 2
# Three times the charge of d, u, s, c, b, t; the other digits are no quarks.
_QUARK_CHARGE = np.array([0, -1, 2, -1, 2, -1, 2, 0, 0, 0])


def charge(pid: Ids) -> NDArray[np.int8]:
    """Electric charge in units of e.

    Args:
        pid: PDG ids, shape (N,).

    Returns:
        The charge of leptons, of hadrons from the quarks in their ids, and of nuclei from their
        number of protons, shape (N,). All others have 0, free quarks too.
    """
    size = np.abs(pid).astype(np.int64)
    first, second, third = (size // 10**power % 10 for power in (3, 2, 1))
    # A meson has the sign of its heavier quark if that is up-like, else of its antiquark.
    sign = np.where(second % 2 == 0, 1, -1)
    meson = (_QUARK_CHARGE[second] - _QUARK_CHARGE[third]) * sign
    baryon = _QUARK_CHARGE[first] + _QUARK_CHARGE[second] + _QUARK_CHARGE[third]
    hadron = np.where(first == 0, meson, baryon) // 3 * ((second > 0) & (third > 0))
    lepton = (size == 11) | (size == 13) | (size == 15)
    nucleus = size // 10_000 % 1000
    positive = np.where(size > 1_000_000_000, nucleus, hadron - lepton)
    return np.asarray(np.sign(pid) * positive, dtype=np.int8)


def _is_charged_hadron(pid: Ids, charge: Column) -> Column:
    return np.asarray(charge != 0) & ~np.isin(np.abs(pid), (11, 13))


def _is_neutral_hadron(pid: Ids, charge: Column) -> Column:
    return np.asarray(charge == 0) & ~np.isin(np.abs(pid), (22, _FORWARD_PHOTON, *_NEUTRINOS))


def _is_photon(pid: Ids, charge: Column) -> Column:
    return np.asarray(charge == 0) & np.isin(np.abs(pid), (22, _FORWARD_PHOTON))


KINDS: Mapping[str, Callable[[Ids, Column], Column]] = {
    "is_charged_hadron": _is_charged_hadron,
    "is_neutral_hadron": _is_neutral_hadron,
    "is_photon": _is_photon,
    "is_electron": lambda pid, charge: np.abs(pid) == 11,
    "is_muon": lambda pid, charge: np.abs(pid) == 13,
}
"""What kind a constituent is, as functions of PDG id and charge.

A detector tells five kinds apart: what is charged and no electron or muon is a charged hadron, what
is neutral and no photon a neutral one, whatever number it has.
"""
