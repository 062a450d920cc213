"""Units of energy in files of showers.

Files of the field are in MeV unless they say otherwise; in memory everything is in GeV. A file in
GeV that is read as MeV gives showers that look right and are a thousand times too soft, so what is
read is looked at.

Shapes: B showers, V voxels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.errors import ShowerError
from hepgen.io.errors import nearest_names

__all__ = ["Unit", "check_units", "per_gev", "unit_of"]

Unit = str | Mapping[str, str]

PER_GEV = {"eV": 1e9, "keV": 1e6, "MeV": 1e3, "GeV": 1.0, "TeV": 1e-3}
# Showers leave from half a percent (what is measured in some sampling calorimeters, not
# calibrated) to twice of the energy of their particle.
LEAST_RESPONSE, GREATEST_RESPONSE = 3e-3, 30.0
# In GeV: nobody simulates only showers softer than this; and few only softer than that, and then
# not with most voxels below the threshold; nor particles harder than the last, the challenge's
# hardest have 4.2 TeV.
SOFTEST, SOFT, HARDEST = 0.05, 2.0, 2e4


def per_gev(unit: str) -> float:
    """How many of a unit are 1 GeV.

    Args:
        unit: "MeV" and the like.

    Raises:
        ShowerError: it is not known.
    """
    if unit not in PER_GEV:
        near = ", ".join(nearest_names(str(unit), PER_GEV))
        raise ShowerError(f"unit {unit!r} of energies is not known; nearest: {near}")
    return PER_GEV[unit]


def unit_of(quantity: str, told: Unit | None, in_file: object, usual: str = "MeV") -> str:
    """The unit of a quantity: what the caller tells, else the file, else what is usual.

    Args:
        quantity: "voxels" or "incident_energy".
        told: one unit for both, or one for some.
        in_file: what the file says, if anything.
        usual: the unit of such files.

    Raises:
        ShowerError: a unit that is not known, or a mapping of other quantities.
    """
    if isinstance(told, Mapping):
        known = ("incident_energy", "voxels")
        for name in told:
            if name not in known:
                near = nearest_names(name, known)[0]
                raise ShowerError(f"unit of {name!r}: no such quantity; nearest: {near}")
        told = told.get(quantity)
    if isinstance(in_file, bytes):
        in_file = in_file.decode(errors="replace")
    unit = told or (in_file if isinstance(in_file, str) else usual)
    per_gev(unit)
    return unit


def check_units(
    incident_energy: NDArray[np.floating],
    deposited: NDArray[np.floating],
    voxels: NDArray[np.floating],
    threshold: float,
    where: str,
) -> None:
    """Refuse showers whose energies look to be in other units than they were read in.

    Args:
        incident_energy: of some showers, in GeV as read, shape (B,).
        deposited: sums over their voxels, in GeV as read, shape (B,).
        voxels: in GeV as read, shape (B, V).
        threshold: of the geometry, in GeV.
        where: the file, for the message.

    Raises:
        ShowerError: the energies do not go together, or all are a thousand times too small or too
            large.
    """
    some = (deposited > 0) & (incident_energy > 0)
    if not some.any():
        return
    response = float(np.median(deposited[some] / incident_energy[some]))
    way_out = "say which they are with unit='MeV', unit='GeV' or a unit for each"
    if not math.isfinite(response):
        return
    if not LEAST_RESPONSE < response < GREATEST_RESPONSE:
        wrong, other = "incident energies", "voxels"
        if response < LEAST_RESPONSE:
            wrong, other = other, wrong
        raise ShowerError(
            f"{where}: voxels sum to {response:.3g} of the incident energy. It looks as if {wrong} "
            f"are in GeV and {other} in MeV; {way_out}, "
            "such as unit={'incident_energy': 'GeV', 'voxels': 'MeV'}"
        )
    hits = voxels[voxels > 0]
    below = threshold > 0 and float(np.mean(hits < threshold)) > 0.5
    most = float(incident_energy.max())
    if most > HARDEST:
        raise ShowerError(
            f"{where}: the greatest incident energy is {most:.3g} GeV if the file is in MeV, as is "
            "usual. It looks as if the file is in keV; say which they are with unit='keV'"
        )
    if most < SOFTEST or (below and most < SOFT):
        raise ShowerError(
            f"{where}: the greatest incident energy is {most:.3g} GeV if the file is in MeV, as is "
            f"usual. It looks as if the file is in GeV; {way_out}"
        )
