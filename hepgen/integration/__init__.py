"""Integrals by importance sampling, with honest errors and unweighted events."""

from __future__ import annotations

from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.vegas import Vegas

__all__ = [
    "Draw",
    "Sampler",
    "Vegas",
]
