"""hepgen: jet tagging, fast simulation and importance sampling, from ROOT files to ROOT files.

The names below are loaded on first use, so ``import hepgen`` costs next to nothing and does not
import torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

# Each public name and the module that holds it; a module that holds itself is a subpackage.
_HOME = {
    "Batches": "hepgen.data",
    "Estimate": "hepgen.metrics",
    "Features": "hepgen.data",
    "InputError": "hepgen.io",
    "JetFiles": "hepgen.data",
    "PackedJets": "hepgen.data",
    "StreamedBatches": "hepgen.data",
    "compare": "hepgen.evaluation",
    "evaluate": "hepgen.evaluation",
    "export": "hepgen.exported",
    "find_rate": "hepgen.training",
    "fit": "hepgen.training",
    "inspect": "hepgen.io",
    "integrate": "hepgen.integration",
    "iterate": "hepgen.io",
    "load": "hepgen.loading",
    "load_exported": "hepgen.exported",
    "predict_files": "hepgen.prediction",
    "read": "hepgen.io",
    "save": "hepgen.checkpoint",
    "split": "hepgen.data",
    "write": "hepgen.io",
    "write_friend": "hepgen.io",
}
_SUBPACKAGES = (
    "calorimeter",
    "certainty",
    "data",
    "flows",
    "heads",
    "integration",
    "io",
    "kinematics",
    "metrics",
    "plots",
    "simulators",
    "taggers",
)

__all__ = [
    "Batches",
    "Estimate",
    "Features",
    "InputError",
    "JetFiles",
    "PackedJets",
    "StreamedBatches",
    "__version__",
    "calorimeter",
    "certainty",
    "compare",
    "data",
    "evaluate",
    "export",
    "find_rate",
    "fit",
    "flows",
    "heads",
    "inspect",
    "integrate",
    "integration",
    "io",
    "iterate",
    "kinematics",
    "load",
    "load_exported",
    "metrics",
    "plots",
    "predict_files",
    "read",
    "save",
    "simulators",
    "split",
    "taggers",
    "write",
    "write_friend",
]

if TYPE_CHECKING:
    from hepgen import (
        calorimeter,
        certainty,
        data,
        flows,
        heads,
        integration,
        io,
        kinematics,
        metrics,
        plots,
        simulators,
        taggers,
    )
    from hepgen.checkpoint import save
    from hepgen.data import Batches, Features, JetFiles, PackedJets, StreamedBatches, split
    from hepgen.evaluation import compare, evaluate
    from hepgen.exported import export, load_exported
    from hepgen.integration import integrate
    from hepgen.io import InputError, inspect, iterate, read, write, write_friend
    from hepgen.loading import load
    from hepgen.metrics import Estimate
    from hepgen.prediction import predict_files
    from hepgen.training import find_rate, fit


def __getattr__(name: str) -> Any:
    if name in _SUBPACKAGES:
        return importlib.import_module(f"hepgen.{name}")
    if name in _HOME:
        value = getattr(importlib.import_module(_HOME[name]), name)
        globals()[name] = value
        return value
    raise AttributeError(f"module 'hepgen' has no attribute {name!r}; it has {', '.join(__all__)}")


def __dir__() -> list[str]:
    return sorted(__all__)
