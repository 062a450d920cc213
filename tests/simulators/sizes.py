"""Arguments that make each simulator small enough for a test."""

from __future__ import annotations

from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "CaloFlow": {},
    "CaloINN": {},
    "CaloMatching": {},
    "CaloVAE": {},
    "ParametrisedShowers": {},
}
