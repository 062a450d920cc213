"""The particles that hit the calorimeter.

Shapes: B showers.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.calorimeter import ShowerError
from hepgen.simulators.conditions import Conditions
from hepgen.training.randomness import seed_of

__all__ = ["Incident", "energy_range", "incident_particles"]

Incident: TypeAlias = float | str | Sequence[float] | NDArray[np.floating[Any]]


def incident_particles(
    trained: Conditions,
    n: int | None,
    incident_energy: Incident | None,
    conditions: Mapping[str, ArrayLike] | None,
    seed: int,
) -> tuple[NDArray[np.float64], dict[str, NDArray[Any]]]:
    """Energies and conditions of some showers, written out.

    Args:
        trained: what the simulator knows.
        n: how many; as many as there are energies if not given.
        incident_energy: see `Simulator.sample`.
        conditions: likewise.
        seed: of the energies that are drawn. The first energies do not depend on ``n``.

    Returns:
        Energies in GeV, float64, shape (B,), and conditions, each of shape (B,).

    Raises:
        ShowerError: energies that are not above 0 or no range, or another number of them than n.
    """
    if n is not None and n < 1:
        raise ShowerError(f"n={n}: wanted one shower at least")
    drawn = incident_energy is None or isinstance(incident_energy, str)
    if drawn:
        low, high = (
            trained.energy_range if incident_energy is None else energy_range(incident_energy)
        )
        rng = np.random.default_rng(seed_of("incident", int(seed)))
        energy = low * (high / low) ** rng.random(_known(n, "a range of energies"))
        # Rounding may carry the ends beyond the range.
        energy = np.clip(energy, low, high)
    else:
        energy = np.asarray(incident_energy, dtype=np.float64)
        if energy.ndim == 0:
            energy = np.full(_known(n, "one energy"), float(energy))
    if energy.ndim != 1 or (n is not None and len(energy) != n) or not len(energy):
        raise ShowerError(f"incident energies have shape {energy.shape}; wanted {n or 'some'}")
    wrong = np.flatnonzero(~(np.isfinite(energy) & (energy > 0)))
    if len(wrong):
        raise ShowerError(
            f"incident energies should be above 0; number {wrong[0]} is {energy[wrong[0]]} GeV"
        )
    return energy, trained.complete(conditions, len(energy))


def energy_range(text: object) -> tuple[float, float]:
    """Least and greatest energy.

    Args:
        text: "1:100", or one number as a string, in GeV.

    Raises:
        ShowerError: it is neither.
    """
    parts = str(text).split(":")
    try:
        low, high = float(parts[0]), float(parts[-1])
    except ValueError:
        low = high = math.nan
    if len(parts) > 2 or not 0 < low <= high < math.inf:
        raise ShowerError(f"incident energy {text!r}: wanted GeV, such as 50, or a range 1:100")
    return low, high


def _known(n: int | None, what: str) -> int:
    if n is None:
        raise ShowerError(f"n is needed with {what}")
    return n
