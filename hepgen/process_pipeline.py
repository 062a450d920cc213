"""A cross section from one YAML file: which process, how precise, what to write of it.

.. code-block:: yaml

    process:
      name: DrellYan
      pdf: toy                  # or a grid of LHAPDF, by path or name
      mass_window: [60, 120]
    integrate: {precision: 1.0e-3}
    histograms:
      mass: {bins: 60, low: 60, high: 120}
    events: 10000

Each key is an argument of the class or function it configures. A pipeline can name no class but the
processes of hepgen: reading one imports and runs nothing else.
"""

from __future__ import annotations

import inspect
import math
import re
from argparse import ArgumentError
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import hist
import yaml
from jsonargparse import ArgumentParser, Namespace

from hepgen.integration import integrate, processes
from hepgen.integration.alpha_s import AlphaS, StrongCoupling, TabulatedAlphaS
from hepgen.integration.cuts import Cuts
from hepgen.integration.pdf import PDF, PartonDensities, ToyPDF
from hepgen.integration.process import Process
from hepgen.io.errors import InputError, MissingName, WrongType
from hepgen.pipeline_keys import open_parser, read_yaml

__all__ = ["Binning", "ProcessPipeline", "process_parser", "read_process_pipeline"]

TOY = "toy"


@dataclass(frozen=True)
class Binning:
    """Bins of a distribution.

    Args:
        bins: how many.
        low: lower edge of the first, in GeV where the observable has a unit.
        high: upper edge of the last.
        log: equal in the logarithm.
        edges: all edges in place of these.
        label: name and unit for plots, such as "$m$ [GeV]"; the name of the observable if empty.

    Raises:
        InputError: no bins, or edges that do not rise.
    """

    bins: int = 50
    low: float = 0.0
    high: float = 1.0
    log: bool = False
    edges: tuple[float, ...] | None = None
    label: str = ""

    def axis(self, name: str) -> Any:
        """The hist axis of this name."""
        if self.edges is not None:
            edges = [float(edge) for edge in self.edges]
            if len(edges) < 2 or any(a >= b for a, b in pairwise(edges)):
                raise InputError(f"histogram {name!r}: wanted rising edges, got {edges}")
            return hist.axis.Variable(edges, name=name, label=self.label or name)
        if self.bins < 1 or not self.low < self.high or (self.log and self.low <= 0):
            raise InputError(
                f"histogram {name!r}: wanted one bin at least and low < high"
                f"{', low above zero for log' if self.log else ''}, got {self.bins} bins from "
                f"{self.low} to {self.high}"
            )
        transform = hist.axis.transform.log if self.log else None
        names: dict[str, Any] = {"name": name, "label": self.label or name}
        return hist.axis.Regular(self.bins, self.low, self.high, transform=transform, **names)


@dataclass(frozen=True)
class ProcessPipeline:
    """What a YAML and the options after it say.

    Attributes:
        process: the process.
        options: arguments of `hepgen.integrate`.
        histograms: binning by name of the observable.
        events: how many unweighted events; zero for none.
        overweight: share of the cross section that may be left in overweight events.
        output: folder of the run.
        seed: of points and events.
        resolved: the same as YAML, with all defaults.
    """

    process: Process
    options: dict[str, Any]
    histograms: dict[str, Binning]
    events: int
    overweight: float
    output: Path
    seed: int
    resolved: str


def read_process_pipeline(words: Sequence[str]) -> ProcessPipeline:
    """What a pipeline and its overrides say.

    Args:
        words: a YAML file, and options that override its keys.

    Raises:
        InputError: a key, process or argument that does not exist, a value of the wrong type, or
            arguments that the process refuses.
        MissingFile: no such pipeline or grid of parton densities.
    """
    words = list(words)
    path = Path(words.pop(0)) if words and not words[0].startswith("-") else None
    content = {} if path is None else dict(read_yaml(path))
    if "class_path" in repr(content) or "class_path" in " ".join(words):
        raise InputError("class_path: a pipeline names processes by process.name alone")
    name = _name_of(content, words)
    parser = process_parser(name)
    before = ["--config", yaml.safe_dump(content, sort_keys=False)] if content else []
    try:
        chosen = parser.parse_args([*before, *words])
    except ArgumentError as error:
        raise _told(error, parser, "the options" if path is None else str(path)) from error
    # What comes after the integration shall not fail for a reason that is known before.
    for key, lowest, below in (
        ("events", 0, math.inf),
        ("seed", 0, math.inf),
        ("overweight", 0, 1),
    ):
        value = getattr(chosen, key)
        if not lowest <= value < below:
            limit = "" if below == math.inf else f" and below {below}"
            raise InputError(f"{key}: wanted at least {lowest}{limit}, got {value}")
    histograms = {
        k: v if isinstance(v, Binning) else Binning(**_plain(v))
        for k, v in (chosen.histograms or {}).items()
    }
    options = _plain(chosen.integrate)
    return ProcessPipeline(
        process=_build(_class_of(name), chosen.process),
        options=options,
        histograms=histograms,
        events=chosen.events,
        overweight=chosen.overweight,
        output=Path(chosen.output or f"runs/{'integrate' if path is None else path.stem}"),
        seed=chosen.seed,
        resolved=parser.dump(chosen),
    )


def process_parser(name: str = "DrellYan") -> ArgumentParser:
    """The keys of a pipeline of one process, from the signatures of what they configure.

    Args:
        name: of the process.

    Raises:
        MissingName: there is none of this name.
    """
    cls = _class_of(name)
    told = "Integrate a cross section as a pipeline says, and write histograms and events."
    told += f" Processes: {', '.join(processes.__all__)}."
    calls = "--integrate.calls 1000000"
    parser = open_parser("integrate", calls, told, seed="of points and events")
    parser.add_argument("--events", type=int, default=0, help="unweighted events to write")
    share = "share of the cross section that may be left in overweight events"
    parser.add_argument("--overweight", type=float, default=1e-3, help=share)
    binning = "observable: {bins, low, high, log} or {edges}"
    parser.add_argument("--histograms", type=dict[str, Binning] | None, help=binning)
    parser.add_argument("--process.name", type=str, default=name, help="of the process")
    own = _own_arguments(cls)
    parser.add_class_arguments(cls, "process", skip=set(own), instantiate=False)
    if "pdf" in own:
        grid = f"grid of LHAPDF by path or name, or {TOY!r}"
        parser.add_argument("--process.pdf", type=str, required=True, help=grid)
    if "alpha_s" in own:
        parser.add_class_arguments(AlphaS, "process.alpha_s", instantiate=False)
        grid = "take alpha_s from the grid of the parton densities"
        parser.add_argument("--process.alpha_s.from_pdf", type=bool, default=False, help=grid)
    if "cuts" in own:
        parser.add_class_arguments(Cuts, "process.cuts", instantiate=False)
    filled: set[str | int] = {"integrand", "bounds", "sampler", "axes", "observables", "seed"}
    filled |= {"state", "library", "device", "executor", "non_finite"}
    parser.add_function_arguments(integrate, "integrate", skip=filled)
    sampler = "auto, flow, mixture, uniform or vegas"
    parser.add_argument("--integrate.sampler", type=str, default="auto", help=sampler)
    return parser


def _name_of(content: Mapping[str, Any], words: Sequence[str]) -> str:
    """Which process a pipeline is of."""
    for i, word in enumerate(words):
        option, equals, value = word.partition("=")
        if option == "--process.name" and (equals or i + 1 < len(words)):
            return value if equals else words[i + 1]
    process = content.get("process")
    if isinstance(process, str):
        raise WrongType(f"process: wanted keys, as in process: {{name: {process}}}, got a text")
    if isinstance(process, Mapping) and "name" in process:
        return str(process["name"])
    if {"--help", "-h"} & set(words):
        return "DrellYan"
    known = ", ".join(processes.__all__)
    raise MissingName(f"process.name: no process is named; wanted one of {known}")


def _class_of(name: str) -> type[Process]:
    if name not in processes.__all__:
        raise MissingName.among(name, processes.__all__, kind="process", where="hepgen")
    found: type[Process] = getattr(processes, name)
    return found


def _own_arguments(cls: type[Process]) -> tuple[str, ...]:
    """Arguments that are objects, which a YAML describes in its own way."""
    found = []
    for name, parameter in inspect.signature(cls).parameters.items():
        told = str(parameter.annotation)
        kinds = (PartonDensities.__name__, StrongCoupling.__name__)
        if name == "cuts" or any(kind in told for kind in kinds):
            found.append(name)
    return tuple(found)


def _build(cls: type[Process], chosen: Namespace) -> Process:
    parameters = inspect.signature(cls).parameters
    arguments = {k: v for k, v in vars(chosen).items() if k != "name"}
    if "pdf" in arguments:
        path = arguments["pdf"]
        arguments["pdf"] = ToyPDF() if path == TOY else PDF(path)
    for name, value in arguments.items():
        if not isinstance(value, Namespace):
            continue
        if name == "alpha_s":
            arguments[name] = _coupling(dict(vars(value)), arguments.get("pdf"))
        elif name == "cuts":
            cuts = Cuts(**vars(value))
            optional = parameters[name].default is None
            arguments[name] = None if optional and cuts == Cuts() else cuts
        else:
            arguments[name] = type(parameters[name].default)(**vars(value))
    return cls(**arguments)


def _coupling(chosen: dict[str, Any], pdf: Any) -> StrongCoupling:
    if not chosen.pop("from_pdf"):
        return AlphaS(**chosen)
    if not isinstance(pdf, PDF):
        raise InputError("alpha_s.from_pdf wants a grid of parton densities, got none")
    return TabulatedAlphaS.of(pdf)


def _told(error: ArgumentError, parser: ArgumentParser, where: str) -> InputError:
    """What jsonargparse says, with the nearest keys where it does not know one."""
    text = str(error)
    unknown = re.search(
        r"[Uu]nrecognized arguments: --([\w.]+)|Key '([\w.]+)' is not expected", text
    )
    if unknown is None:
        return WrongType(f"{where}: {text}")
    known = sorted({str(action.dest) for action in parser._actions})
    return MissingName.among(unknown[1] or unknown[2], known, kind="key", where=where)


def _plain(value: Any) -> Any:
    return value.as_dict() if isinstance(value, Namespace) else dict(value)
