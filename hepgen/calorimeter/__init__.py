"""Calorimeters and the showers in them: geometry, files, observables, and a parametrised truth.

Nothing here knows torch. Energies are in GeV, lengths in mm.
"""

from hepgen.calorimeter.binning import read_geometry, write_geometry
from hepgen.calorimeter.challenge_geometries import named_geometry
from hepgen.calorimeter.challenge_writer import ChallengeWriter
from hepgen.calorimeter.errors import EnergyRangeWarning, GeometryError, ShowerError
from hepgen.calorimeter.files import ShowerFiles, iterate, read, write
from hepgen.calorimeter.geometry import Geometry, Layer
from hepgen.calorimeter.materials import Material, MaterialError, material, mixture
from hepgen.calorimeter.mean_profile import (
    longitudinal_containment,
    longitudinal_profile,
    radial_containment,
    radial_profile,
)
from hepgen.calorimeter.observables import (
    feature_names,
    fpd_features,
    high_level_features,
    layer_labels,
    low_level_features,
    observable_names,
    observables,
)
from hepgen.calorimeter.shower_parameters import ShowerTuning
from hepgen.calorimeter.shower_profile import simulate_showers
from hepgen.calorimeter.shower_tuning import tune_showers
from hepgen.calorimeter.showers import Showers
from hepgen.calorimeter.stack import Homogeneous, Sampling
from hepgen.calorimeter.tree_writer import ShowerTreeWriter

__all__ = [
    "ChallengeWriter",
    "EnergyRangeWarning",
    "Geometry",
    "GeometryError",
    "Homogeneous",
    "Layer",
    "Material",
    "MaterialError",
    "Sampling",
    "ShowerError",
    "ShowerFiles",
    "ShowerTreeWriter",
    "ShowerTuning",
    "Showers",
    "feature_names",
    "fpd_features",
    "high_level_features",
    "iterate",
    "layer_labels",
    "longitudinal_containment",
    "longitudinal_profile",
    "low_level_features",
    "material",
    "mixture",
    "named_geometry",
    "observable_names",
    "observables",
    "radial_containment",
    "radial_profile",
    "read",
    "read_geometry",
    "simulate_showers",
    "tune_showers",
    "write",
    "write_geometry",
]
