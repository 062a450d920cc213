"""Normalizing flows under the nflows contract: transforms, distributions, whole flows."""

from __future__ import annotations

from hepgen.flows.autoregressive import Autoregressive
from hepgen.flows.cubic import CubicSpline
from hepgen.flows.element import Element
from hepgen.flows.made import MADE
from hepgen.flows.periodic import CircularShift
from hepgen.flows.spline import RationalQuadraticSpline, rational_quadratic

__all__ = [
    "MADE",
    "Autoregressive",
    "CircularShift",
    "CubicSpline",
    "Element",
    "RationalQuadraticSpline",
    "rational_quadratic",
]
