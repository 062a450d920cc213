"""Small files of jets, made without hepgen."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot


def jet_columns(count: int = 20, seed: int = 0, *, mean: float = 5.0) -> dict[str, Any]:
    """Columns in the layout of JetClass: float32, some jets without constituents, two classes."""
    rng = np.random.default_rng(seed)
    numbers = rng.poisson(mean, count)
    numbers[0] = 0
    total = int(numbers.sum())

    def lists(values: Any, dtype: str = "f4") -> ak.Array:
        return ak.unflatten(np.asarray(values).astype(dtype), numbers)

    px, py, pz = rng.normal(0, 20, (3, total))
    pt, eta = rng.uniform(500, 1000, count), rng.normal(0, 1, count)
    top = rng.integers(0, 2, count)
    return {
        "part_px": lists(px),
        "part_py": lists(py),
        "part_pz": lists(pz),
        "part_energy": lists(np.sqrt(px**2 + py**2 + pz**2 + 0.0195)),
        "part_deta": lists(rng.normal(0, 0.3, total)),
        "part_dphi": lists(rng.normal(0, 0.3, total)),
        "part_charge": lists(rng.integers(-1, 2, total), "i4"),
        "part_isPhoton": lists(rng.integers(0, 2, total), "bool"),
        "part_d0val": lists(rng.normal(0, 1, total)),
        "jet_pt": pt.astype("f4"),
        "jet_eta": eta.astype("f4"),
        "jet_phi": rng.uniform(-3, 3, count).astype("f4"),
        "jet_energy": np.hypot(pt * np.cosh(eta), 80.4).astype("f4"),
        "jet_sdmass": rng.uniform(0, 200, count).astype("f4"),
        "label_top": top.astype("i4"),
        "label_qcd": (1 - top).astype("i4"),
        "event": (10_000 + np.arange(count)).astype("i8"),
    }


def write_root(
    path: Path,
    columns: Mapping[str, Any],
    *,
    kind: str = "ttree",
    tree: str = "tree",
    parts: int = 1,
) -> Path:
    """A ROOT file with one tree; in ``parts`` baskets or clusters of equal size."""
    types = {
        name: values.type.content if isinstance(values, ak.Array) else values.dtype
        for name, values in columns.items()
    }
    length = len(next(iter(columns.values())))
    edges = np.linspace(0, length, parts + 1).astype(int)
    with uproot.recreate(path) as file:
        made = file.mkrntuple(tree, types) if kind == "rntuple" else file.mktree(tree, types)
        for start, stop in itertools.pairwise(edges):
            made.extend({name: values[start:stop] for name, values in columns.items()})
    return path
