"""Arguments of `Preprocessing` as the papers have them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["RECIPES"]

# The noise of CaloFlow is 1 keV, 1e-8 of its unit of 100 GeV.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "CaloFlow": {
        "noise": 1e-6,
        "noise_unit": "GeV",
        "noise_in": "all",
        "standardise": False,
        "total_scale": 2.42,
        "total_logit": True,
    },
    "CaloINN": {
        "noise": 5e-6,
        "noise_unit": "incident",
        "noise_in": "all",
        "total_scale": 3.5,
        "total_logit": True,
    },
    "CaloDREAM": {"noise": 5e-6, "noise_unit": "incident", "noise_in": "all"},
}
