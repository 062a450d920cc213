"""Calorimeters and the showers in them: geometry, files, observables, and a parametrised truth.

Nothing here knows torch. Energies are in GeV, lengths in mm.
"""

from hepgen.calorimeter.errors import EnergyRangeWarning, GeometryError, ShowerError
from hepgen.calorimeter.geometry import Geometry, Layer
from hepgen.calorimeter.observables import (
    feature_names,
    fpd_features,
    high_level_features,
    layer_labels,
    low_level_features,
    observable_names,
    observables,
)
from hepgen.calorimeter.showers import Showers

__all__ = [
    "EnergyRangeWarning",
    "Geometry",
    "GeometryError",
    "Layer",
    "ShowerError",
    "Showers",
    "feature_names",
    "fpd_features",
    "high_level_features",
    "layer_labels",
    "low_level_features",
    "observable_names",
    "observables",
]
