"""Integrals by importance sampling, with honest errors and unweighted events."""

from __future__ import annotations

from hepgen.integration.alpha_s import AlphaS, TabulatedAlphaS
from hepgen.integration.channels import Channel, ChannelMixture, CubeChannel
from hepgen.integration.choosing import Auto
from hepgen.integration.collinear import MomentumFractions
from hepgen.integration.cuts import Cuts
from hepgen.integration.defensive import Defensive
from hepgen.integration.domain import Discrete, Domain
from hepgen.integration.electroweak import ElectroweakCouplings
from hepgen.integration.evaluator import BadIntegrand, each
from hepgen.integration.expectation import Reweighted, expectation, reweight
from hepgen.integration.flow_sampler import FlowSampler
from hepgen.integration.integral import Batch, Integral, IntegrationWarning
from hepgen.integration.integrands import INTEGRANDS, Integrand
from hepgen.integration.invariants import BreitWigner, Flat, Power
from hepgen.integration.mapped import AxisMap, Mapped
from hepgen.integration.marginal import MarginalLikelihood, marginal_likelihood
from hepgen.integration.mixture import Mixture
from hepgen.integration.multichannel import Multichannel
from hepgen.integration.pdf import PDF, ToyPDF
from hepgen.integration.process import Events, Process
from hepgen.integration.rambo import Rambo, RamboOnDiet
from hepgen.integration.rare import RareEvent, rare_event
from hepgen.integration.result_file import load_integral, save_integral
from hepgen.integration.run import integrate
from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.saved import SavedStateError
from hepgen.integration.scale import Scale
from hepgen.integration.strategy import Budget, OneSampler, Stage, Strategy
from hepgen.integration.uniform import Uniform
from hepgen.integration.unweighting import UnweightedEvents
from hepgen.integration.vegas import Vegas

__all__ = [
    "INTEGRANDS",
    "PDF",
    "AlphaS",
    "Auto",
    "AxisMap",
    "BadIntegrand",
    "Batch",
    "BreitWigner",
    "Budget",
    "Channel",
    "ChannelMixture",
    "CubeChannel",
    "Cuts",
    "Defensive",
    "Discrete",
    "Domain",
    "Draw",
    "ElectroweakCouplings",
    "Events",
    "Flat",
    "FlowSampler",
    "Integral",
    "Integrand",
    "IntegrationWarning",
    "Mapped",
    "MarginalLikelihood",
    "Mixture",
    "MomentumFractions",
    "Multichannel",
    "OneSampler",
    "Power",
    "Process",
    "Rambo",
    "RamboOnDiet",
    "RareEvent",
    "Reweighted",
    "Sampler",
    "SavedStateError",
    "Scale",
    "Stage",
    "Strategy",
    "TabulatedAlphaS",
    "ToyPDF",
    "Uniform",
    "UnweightedEvents",
    "Vegas",
    "each",
    "expectation",
    "integrate",
    "load_integral",
    "marginal_likelihood",
    "rare_event",
    "reweight",
    "save_integral",
]
