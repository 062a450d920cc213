"""Arguments that make each simulator small enough for a test."""

from __future__ import annotations

from typing import Any

SIZES: dict[str, dict[str, Any]] = {
    "CaloFlow": {"num_transforms": 2, "hidden": 32, "energy_transforms": 2, "energy_hidden": 16},
    "CaloINN": {"num_blocks": 2, "num_bins": 4, "hidden": 16, "width": 8, "energy_hidden": 16},
    "CaloMatching": {"width": 16, "depth": 1, "heads": 2, "steps": 2, "distil": True},
    "CaloVAE": {"latent": 4, "width": 8, "trunk": 16, "flow_hidden": 16, "warmup": 5},
    "ParametrisedShowers": {},
}
