"""Integrals by importance sampling, with honest errors and unweighted events."""

from __future__ import annotations

from hepgen.integration.sampler import Draw, Sampler

__all__ = [
    "Draw",
    "Sampler",
]
