"""Pythia8 events as flat numpy arrays.

T. Sjostrand et al., "A comprehensive guide to the physics and usage of PYTHIA 8.3",
arXiv:2203.11601. Axes: N particles of all events end to end; event i owns rows offsets[i] to
offsets[i + 1].
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import awkward as ak
import numpy as np
import numpy.typing as npt

MAX_PYTHIA_SEED = 900_000_000


class GeneratorError(RuntimeError):
    """Pythia refused a setting, did not start, or stopped giving events."""


@dataclass(frozen=True)
class Process:
    """One class of jets and where it comes from.

    Args:
        pythia: settings of Pythia8, one `"Name = value"` each, on top of those of the sample.
        match: what the jet must be: "top" (a top quark and its three decay quarks lie within the
            jet radius of the jet axis) or "none" (every jet of the process counts).
        outgoing: absolute PDG ids of which one must leave the hard process; empty accepts all.
    """

    pythia: list[str]
    match: str = "none"
    outgoing: list[int] | None = None

    def __post_init__(self) -> None:
        """Refuse an unknown way of matching.

        Raises:
            ValueError: `match` is neither "top" nor "none".
        """
        if self.match not in ("none", "top"):
            raise ValueError(f"match must be 'top' or 'none', got {self.match!r}")


@dataclass(frozen=True)
class Events:
    """Whole event records of Pythia, in GeV and mm.

    Args:
        offsets: (events + 1,) first row of each event.
        pid: (N,) PDG ids.
        status: (N,) Pythia status codes, positive for final particles.
        daughters: (N, 2) first and last daughter, counted inside the event.
        p4: (N, 4) energy, px, py, pz in GeV.
        vertex: (N, 3) production point x, y, z in mm.
        charge: (N,) electric charge in units of the proton's.
        pt_hat: (events,) transverse momentum of the hard process in GeV.
    """

    offsets: npt.NDArray[np.int64]
    pid: npt.NDArray[np.int64]
    status: npt.NDArray[np.int64]
    daughters: npt.NDArray[np.int64]
    p4: npt.NDArray[np.float64]
    vertex: npt.NDArray[np.float64]
    charge: npt.NDArray[np.float64]
    pt_hat: npt.NDArray[np.float64]

    def __len__(self) -> int:
        """Number of events."""
        return len(self.offsets) - 1


def need(module: str) -> ModuleType:
    """Import an optional generator package.

    Args:
        module: "pythia8mc" or "fastjet".

    Raises:
        ModuleNotFoundError: it is not installed; the message names the extra that brings it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        message = (
            f"making jets needs {module}, which is not installed: pip install 'hepgen[pythia]'"
        )
        raise ModuleNotFoundError(message, name=module) from error


def generate(process: Process, common: list[str], seed: int, batch: int) -> Iterator[Events]:
    """Events without end, `batch` at a time.

    Args:
        process: the hard process and its settings.
        common: settings shared by all classes of the sample.
        seed: between 1 and 900 000 000, the range of Pythia's generator.
        batch: events a batch.

    Yields:
        Events; a batch is shorter where Pythia gave some up.

    Raises:
        GeneratorError: a setting is unknown, Pythia does not start, or a batch is empty.
        ModuleNotFoundError: pythia8mc is not installed.
    """
    pythia = need("pythia8mc").Pythia("", False)
    settings = ["Print:quiet = on", *common, *process.pythia]
    settings += ["Random:setSeed = on", f"Random:seed = {seed}"]
    for setting in settings:
        if not pythia.readString(setting):
            raise GeneratorError(f"Pythia8 knows no setting {setting!r}")
    if not pythia.init():
        raise GeneratorError(f"Pythia8 did not start with {settings}")
    while True:
        record = pythia.nextBatch(batch)
        if len(record) == 0:
            raise GeneratorError(f"Pythia8 gave none of {batch} events with {settings}")
        yield _flat(record, pythia)


def _flat(record: Any, pythia: Any) -> Events:
    """The arrays of one batch."""
    particles = record.prt
    flat = ak.flatten(particles)
    pid = ak.to_numpy(flat.id).astype(np.int64)
    kinds, which = np.unique(pid, return_inverse=True)
    charges = np.array([pythia.particleData.charge(int(kind)) for kind in kinds])
    # Particles made at the interaction point carry no production vertex.
    x, y, z = (ak.to_numpy(ak.fill_none(flat.vProd[axis], 0.0)) for axis in ("px", "py", "pz"))
    return Events(
        offsets=np.concatenate([[0], np.cumsum(ak.to_numpy(ak.num(particles)))]).astype(np.int64),
        pid=pid,
        status=ak.to_numpy(flat.status).astype(np.int64),
        daughters=np.stack([ak.to_numpy(flat.daughter1), ak.to_numpy(flat.daughter2)], 1).astype(
            np.int64
        ),
        p4=np.stack([ak.to_numpy(flat.p[axis]) for axis in ("e", "px", "py", "pz")], 1),
        vertex=np.stack([x, y, z], 1),
        charge=charges[which],
        pt_hat=np.sqrt(ak.to_numpy(record.info.pT2Hat)),
    )
