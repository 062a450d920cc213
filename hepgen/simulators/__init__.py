"""Simulators: showers of a calorimeter, given the particles that hit it."""

from __future__ import annotations

from hepgen.simulators.analytic import ParametrisedShowers
from hepgen.simulators.batches import ShowerBatch, ShowerBatches
from hepgen.simulators.calo_flow import CaloFlow
from hepgen.simulators.calo_inn import CaloINN
from hepgen.simulators.calo_matching import CaloMatching
from hepgen.simulators.calo_vae import CaloVAE
from hepgen.simulators.classifier_test import ClassifierTest, classifier_test
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.correction import Closure, Correction
from hepgen.simulators.discriminator import DenseDiscriminator
from hepgen.simulators.log_posterior import LogPosterior, log_posterior
from hepgen.simulators.par04_export import export_par04
from hepgen.simulators.residual_discriminator import ResidualDiscriminator
from hepgen.simulators.simulator import Simulator
from hepgen.simulators.timing import GenerationTime, generation_times

__all__ = [
    "CaloFlow",
    "CaloINN",
    "CaloMatching",
    "CaloVAE",
    "ClassifierTest",
    "Closure",
    "Conditions",
    "Correction",
    "DenseDiscriminator",
    "GenerationTime",
    "LogPosterior",
    "ParametrisedShowers",
    "ResidualDiscriminator",
    "ShowerBatch",
    "ShowerBatches",
    "Simulator",
    "classifier_test",
    "export_par04",
    "generation_times",
    "log_posterior",
]
