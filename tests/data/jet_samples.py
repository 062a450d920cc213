"""Small arrays of jets as hepgen.io.read gives them, made by random numbers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np
import vector
from numpy.typing import NDArray

vector.register_awkward()

TRACKS = ("d0", "d0_error", "dz", "dz_error")
KINDS = ("is_charged_hadron", "is_neutral_hadron", "is_photon", "is_electron", "is_muon")


def constituents(
    columns: Mapping[str, NDArray[Any]], counts: Sequence[int] | NDArray[Any]
) -> ak.Array:
    """Lists of Momentum4D records from flat columns."""
    offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    records = ak.contents.RecordArray(
        [ak.contents.NumpyArray(np.asarray(values)) for values in columns.values()],
        list(columns),
        parameters={"__record__": "Momentum4D"},
    )
    return ak.Array(ak.contents.ListOffsetArray(ak.index.Index64(offsets), records))


def jets_of(
    fields: Mapping[str, Any], columns: Mapping[str, NDArray[Any]], counts: Sequence[int]
) -> ak.Array:
    """Jets with these fields and constituents."""
    contents = [ak.to_layout(values) for values in fields.values()]
    contents.append(ak.to_layout(constituents(columns, counts)))
    record = ak.contents.RecordArray(
        contents, [*fields, "constituents"], parameters={"__record__": "Momentum4D"}
    )
    return ak.Array(record, attrs={"files": ["a.root"]})


def some_jets(
    counts: Sequence[int] | NDArray[Any], *, seed: int = 0, full: bool = True
) -> ak.Array:
    """Jets with so many constituents each, of two classes in turn, and all standard fields."""
    rng = np.random.default_rng(seed)
    num_jets, size = len(counts), int(np.sum(counts))
    jet = {
        "pt": rng.uniform(200, 800, num_jets).astype(np.float32),
        "eta": rng.uniform(-2, 2, num_jets).astype(np.float32),
        "phi": rng.uniform(-np.pi, np.pi, num_jets).astype(np.float32),
        "mass": rng.uniform(10, 100, num_jets).astype(np.float32),
        "label_top": np.arange(num_jets) % 2 == 0,
        "label_qcd": np.arange(num_jets) % 2 == 1,
        "entry": np.arange(num_jets),
        "file_index": np.zeros(num_jets, np.int32),
    }
    pt = rng.exponential(10, size) + 0.1
    eta = np.repeat(jet["eta"], counts) + rng.normal(0, 0.2, size)
    phi = np.repeat(jet["phi"], counts) + rng.normal(0, 0.2, size)
    columns = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "energy": np.sqrt((pt * np.cosh(eta)) ** 2 + 0.14**2),
    }
    if full:
        columns |= {name: rng.normal(0, 1, size) for name in TRACKS}
        columns |= {name: rng.integers(0, 2, size) for name in ("charge", *KINDS)}
    return jets_of(jet, {k: v.astype(np.float32) for k, v in columns.items()}, counts)
