"""Integrals by importance sampling, with honest errors and unweighted events."""

from __future__ import annotations

from hepgen.integration.choosing import Auto
from hepgen.integration.domain import Discrete, Domain
from hepgen.integration.evaluator import BadIntegrand, each
from hepgen.integration.integral import Batch, Integral, IntegrationWarning
from hepgen.integration.integrands import INTEGRANDS, Integrand
from hepgen.integration.mixture import Mixture
from hepgen.integration.run import integrate
from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.saved import SavedStateError
from hepgen.integration.strategy import Budget, OneSampler, Stage, Strategy
from hepgen.integration.uniform import Uniform
from hepgen.integration.unweighting import UnweightedEvents
from hepgen.integration.vegas import Vegas

__all__ = [
    "INTEGRANDS",
    "Auto",
    "BadIntegrand",
    "Batch",
    "Budget",
    "Discrete",
    "Domain",
    "Draw",
    "Integral",
    "Integrand",
    "IntegrationWarning",
    "Mixture",
    "OneSampler",
    "Sampler",
    "SavedStateError",
    "Stage",
    "Strategy",
    "Uniform",
    "UnweightedEvents",
    "Vegas",
    "each",
    "integrate",
]
