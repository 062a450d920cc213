"""Calorimeters and the showers in them: geometry, files, observables, and a parametrised truth.

Nothing here knows torch. Energies are in GeV, lengths in mm.
"""

from hepgen.calorimeter.binning import read_geometry, write_geometry
from hepgen.calorimeter.challenge_geometries import named_geometry
from hepgen.calorimeter.challenge_writer import ChallengeWriter
from hepgen.calorimeter.errors import EnergyRangeWarning, GeometryError, ShowerError
from hepgen.calorimeter.files import ShowerFiles, iterate, read, write
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
from hepgen.calorimeter.tree_writer import ShowerTreeWriter

__all__ = [
    "ChallengeWriter",
    "EnergyRangeWarning",
    "Geometry",
    "GeometryError",
    "Layer",
    "ShowerError",
    "ShowerFiles",
    "ShowerTreeWriter",
    "Showers",
    "feature_names",
    "fpd_features",
    "high_level_features",
    "iterate",
    "layer_labels",
    "low_level_features",
    "named_geometry",
    "observable_names",
    "observables",
    "read",
    "read_geometry",
    "write",
    "write_geometry",
]
