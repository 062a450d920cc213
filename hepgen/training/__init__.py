"""Training of anything that has ``loss(batch)``: `fit`, and what it is made of.

The loop is `hepgen.training.loop`, a screen a function, to be read from ``fit`` down. Lightning's
Fabric does devices, precision and ranks; it is imported when ``fit`` is called, not before.
"""

from __future__ import annotations

from hepgen.training.errors import DifferentRun, NotFinite, RunExists, TrainingError
from hepgen.training.history import History
from hepgen.training.loop import fit
from hepgen.training.optimizers import OPTIMIZERS
from hepgen.training.rate_finder import RateSearch, find_rate
from hepgen.training.schedules import SCHEDULES

__all__ = [
    "OPTIMIZERS",
    "SCHEDULES",
    "DifferentRun",
    "History",
    "NotFinite",
    "RateSearch",
    "RunExists",
    "TrainingError",
    "find_rate",
    "fit",
]
