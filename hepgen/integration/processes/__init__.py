"""Processes that can be integrated and give events. Energies in GeV, cross sections in pb."""

from hepgen.integration.processes.drell_yan import DrellYan
from hepgen.integration.processes.electron_positron_to_muons import ElectronPositronToMuons
from hepgen.integration.processes.electron_positron_to_quarks_gluon import (
    ElectronPositronToQuarksGluon,
)
from hepgen.integration.processes.gluon_scattering import GluonScattering
from hepgen.integration.processes.gluons import Gluons
from hepgen.integration.processes.top_pair import TopPair

__all__ = [
    "DrellYan",
    "ElectronPositronToMuons",
    "ElectronPositronToQuarksGluon",
    "GluonScattering",
    "Gluons",
    "TopPair",
]
