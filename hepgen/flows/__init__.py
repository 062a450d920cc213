"""Normalizing flows under the nflows contract: transforms, distributions, whole flows."""

from __future__ import annotations

from hepgen.flows.element import Element

__all__ = [
    "Element",
]
