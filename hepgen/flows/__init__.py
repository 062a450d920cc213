"""Normalizing flows under the nflows contract: transforms, distributions, whole flows."""

from __future__ import annotations

from hepgen.flows.affine import Additive, Affine
from hepgen.flows.autoregressive import Autoregressive
from hepgen.flows.bases import Base, StandardNormal, UnitUniform
from hepgen.flows.columns import Column
from hepgen.flows.conditioner import Conditioner
from hepgen.flows.continuous import ContinuousFlow
from hepgen.flows.coupling import Coupling
from hepgen.flows.cubic import CubicSpline
from hepgen.flows.distillation import distil
from hepgen.flows.element import Element
from hepgen.flows.fitting import fit
from hepgen.flows.flow import Flow
from hepgen.flows.glow import Glow
from hepgen.flows.inverse_autoregressive_flow import InverseAutoregressiveFlow
from hepgen.flows.linear import ActNorm, LULinear
from hepgen.flows.made import MADE
from hepgen.flows.masked_autoregressive_flow import MaskedAutoregressiveFlow
from hepgen.flows.masks import alternating_masks, halves_masks, log2_masks
from hepgen.flows.neural_spline_flow import NeuralSplineFlow
from hepgen.flows.nice import NICE
from hepgen.flows.periodic import CircularShift
from hepgen.flows.planar import PlanarFlow
from hepgen.flows.radial import RadialFlow
from hepgen.flows.rational_quadratic import rational_quadratic
from hepgen.flows.real_nvp import RealNVP
from hepgen.flows.spline import RationalQuadraticSpline
from hepgen.flows.tabular import TabularDensity

__all__ = [
    "MADE",
    "NICE",
    "ActNorm",
    "Additive",
    "Affine",
    "Autoregressive",
    "Base",
    "CircularShift",
    "Column",
    "Conditioner",
    "ContinuousFlow",
    "Coupling",
    "CubicSpline",
    "Element",
    "Flow",
    "Glow",
    "InverseAutoregressiveFlow",
    "LULinear",
    "MaskedAutoregressiveFlow",
    "NeuralSplineFlow",
    "PlanarFlow",
    "RadialFlow",
    "RationalQuadraticSpline",
    "RealNVP",
    "StandardNormal",
    "TabularDensity",
    "UnitUniform",
    "alternating_masks",
    "distil",
    "fit",
    "halves_masks",
    "log2_masks",
    "rational_quadratic",
]
