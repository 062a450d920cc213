"""Small input files of friend trees, made with uproot alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import uproot


def jet_columns(rows: int, seed: int) -> dict[str, Any]:
    """Columns of a file in the layout of JetClass, with event numbers."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(1, 6, rows)
    part = {name: rng.normal(size=counts.sum()).astype(np.float32) for name in ("px", "py", "pz")}
    part["energy"] = np.sqrt(sum(p**2 for p in part.values()))
    columns: dict[str, Any] = {f"part_{k}": ak.unflatten(v, counts) for k, v in part.items()}
    columns |= {f"jet_{name}": rng.random(rows, dtype=np.float32) for name in ("eta", "phi")}
    columns |= {f"jet_{name}": 500 + 100 * rng.random(rows) for name in ("pt", "energy", "mass")}
    columns |= {"label_top": rng.random(rows) < 0.5}
    columns["label_qcd"] = ~columns["label_top"]
    columns |= {"run": np.full(rows, seed, np.uint32), "luminosityBlock": np.ones(rows, np.uint32)}
    columns["event"] = np.arange(rows, dtype=np.uint64) + 10_000 * seed
    return columns


def write_jets(path: Path, rows: int, seed: int = 1, kind: str = "ttree") -> dict[str, Any]:
    """A file of jets, one an entry; the columns that it holds."""
    columns = jet_columns(rows, seed)
    with uproot.recreate(path) as file:
        if kind == "rntuple":
            file.mkrntuple("tree", columns)
        else:
            file.mktree("tree", columns)
    return columns


def write_events(path: Path, rows: int, seed: int = 1) -> dict[str, Any]:
    """A file of events with a record Jet of 0 to 3 jets; the columns that it holds."""
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 4, rows)
    flat = {name: rng.random(counts.sum(), dtype=np.float32) for name in ("eta", "phi", "mass")}
    flat["pt"] = 20 + 80 * rng.random(counts.sum(), dtype=np.float32)
    jets = ak.unflatten(ak.zip(flat), counts)
    columns = {"Jet": jets, "event": np.arange(rows, dtype=np.uint64)}
    with uproot.recreate(path) as file:
        file.mktree("Events", columns)
    return columns


EVENTS_SCHEMA = {"jets": {name: f"Jet_{name}" for name in ("pt", "eta", "phi", "mass")}}
