"""Simulators: showers of a calorimeter, given the particles that hit it."""

from __future__ import annotations

from hepgen.simulators.batches import ShowerBatch, ShowerBatches
from hepgen.simulators.calo_flow import CaloFlow
from hepgen.simulators.calo_vae import CaloVAE
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.simulator import Simulator
from hepgen.simulators.timing import GenerationTime, generation_times

__all__ = [
    "CaloFlow",
    "CaloVAE",
    "Conditions",
    "GenerationTime",
    "ShowerBatch",
    "ShowerBatches",
    "Simulator",
    "generation_times",
]
