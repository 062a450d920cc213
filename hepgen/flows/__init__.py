"""Normalizing flows under the nflows contract: transforms, distributions, whole flows."""

from __future__ import annotations

from hepgen.flows.element import Element
from hepgen.flows.spline import RationalQuadraticSpline, rational_quadratic

__all__ = [
    "Element",
    "RationalQuadraticSpline",
    "rational_quadratic",
]
