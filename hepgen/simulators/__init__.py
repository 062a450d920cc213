"""Simulators: showers of a calorimeter, given the particles that hit it."""

from __future__ import annotations

from hepgen.simulators.batches import ShowerBatch, ShowerBatches
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.simulator import Simulator

__all__ = [
    "Conditions",
    "ShowerBatch",
    "ShowerBatches",
    "Simulator",
]
