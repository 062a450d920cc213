r"""Files of Les Houches events: what a generator of hard processes hands to one of showers.

J. Alwall et al., "A standard format for Les Houches event files", hep-ph/0609017; version 3:
J. R. Andersen et al., "Les Houches 2013: standard model working group report", arXiv:1405.1067,
section I.2. Momenta are in GeV, cross sections in pb, lifetimes in mm.

Events are awkward records with the fields

==============  ===================================================================================
``particles``   a list of Momentum4D (px, py, pz, energy) with pid, status, mother1, mother2 (places
                counted from 1), colour1, colour2, rest_mass, lifetime, helicity
``weight``      XWGTUP
``scale``       SCALUP in GeV
``alpha_em``    AQEDUP
``alpha_s``     AQCDUP
``process_id``  IDPRUP
``weights``     further weights by name, where there are any
==============  ===================================================================================
"""

from __future__ import annotations

import gzip
import io
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape, quoteattr

import awkward as ak
import numpy as np

from hepgen.atomic import replacing
from hepgen.io.errors import InputError, MissingName

__all__ = ["LHEInfo", "LHEProcess", "write_lhe"]

EVENT_FIELDS = ("process_id", "weight", "scale", "alpha_em", "alpha_s")
PARTICLE_FIELDS = (
    "pid",
    "status",
    "mother1",
    "mother2",
    "colour1",
    "colour2",
    "px",
    "py",
    "pz",
    "energy",
    "rest_mass",
    "lifetime",
    "helicity",
)
INTEGERS = 6  # so many of the particle fields come first
STRATEGIES = (1, -1, 2, -2, 3, -3, 4, -4)
_CHUNK = 10_000


@dataclass(frozen=True)
class LHEProcess:
    """One line of the block <init>.

    Attributes:
        cross_section: in pb.
        error: one sigma in pb.
        max_weight: largest absolute weight of an event.
        process_id: number that events refer to.
    """

    cross_section: float
    error: float
    max_weight: float = 1.0
    process_id: int = 1


@dataclass(frozen=True)
class LHEInfo:
    """What a file says of all its events.

    Attributes:
        beams: PDG ids.
        energies: of the beams in GeV.
        processes: at least one.
        strategy: what weights mean: 3 events of weight 1; 4 weights in pb whose mean is the cross
            section; -3 and -4 the same with events of negative weight. 1 and 2 leave unweighting
            to the reader.
        pdf_sets: LHAPDF's number of the densities of each beam, 0 for none.
        generator: name of the program that made the events.
        version: of the program.
        header: text for people: settings, seed.
        weight_names: of the further weights, as found in <initrwgt>; writing takes those of events.
    """

    beams: tuple[int, int]
    energies: tuple[float, float]
    processes: tuple[LHEProcess, ...]
    strategy: int = 3
    pdf_sets: tuple[int, int] = (0, 0)
    generator: str = "hepgen"
    version: str = ""
    header: str = ""
    weight_names: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.strategy not in STRATEGIES:
            raise InputError(f"wanted a strategy of 1 to 4 or -1 to -4, got {self.strategy}")
        if not self.processes:
            raise InputError("wanted one process at least, got none")
        ids = [process.process_id for process in self.processes]
        if len(set(ids)) < len(ids):
            raise InputError(f"wanted different process ids, got {ids}")


def write_lhe(
    path: str | os.PathLike[str],
    events: ak.Array | Iterable[ak.Array],
    info: LHEInfo,
) -> int:
    """Write a file of Les Houches events, version 3, whole or not at all.

    Numbers are written with all their digits: reading gives the same bits.

    Args:
        path: the file; with ``.gz`` at the end it is compressed.
        events: records with the fields named at the top of this module, or parts of them one after
            another, of which only one need be in memory. Other fields are left out.
        info: what stands before the events.

    Returns:
        The number of events.

    Raises:
        InputError: weights that the strategy forbids, numbers that are not finite, or processes
            that ``info`` does not know; the message tells the event.
        MissingName: events lack a field.
        OSError: the file cannot be written; then the old one, if any, is still there.
    """
    parts: Iterable[ak.Array] = [events] if isinstance(events, ak.Array) else events
    count = 0
    names: list[str] | None = None
    with replacing(Path(path)) as temporary, _writer(temporary, Path(path).suffix == ".gz") as file:
        for part in parts:
            _check_fields(part)
            further = ak.fields(part["weights"]) if "weights" in ak.fields(part) else []
            if names is None:
                file.write(_top(info, further))
                names = further
            elif names != further:
                raise InputError(
                    f"wanted weights {names} as in the first events, got {further} from event "
                    f"{count}"
                )
            for start in range(0, len(part), _CHUNK):
                chunk = part[start : start + _CHUNK]
                _check_events(chunk, info, count)
                file.write(_format(chunk, further))
                count += len(chunk)
        if names is None:
            file.write(_top(info, []))
        file.write("</LesHouchesEvents>\n")
    return count


@contextmanager
def _writer(path: Path, compressed: bool) -> Iterator[io.TextIOBase]:
    with path.open("wb") as raw:
        if not compressed:
            with io.TextIOWrapper(raw, encoding="utf-8", newline="\n") as text:
                yield text
            return
        # No name and time inside: the same events give the same file.
        with (
            gzip.GzipFile(filename="", mode="wb", fileobj=raw, mtime=0) as packed,
            io.TextIOWrapper(packed, encoding="utf-8", newline="\n") as text,
        ):
            yield text


def _top(info: LHEInfo, weights: Sequence[str]) -> str:
    lines = ['<LesHouchesEvents version="3.0">', "<header>"]
    if info.header:
        lines += ["<hepgen>", escape(info.header), "</hepgen>"]
    if weights:
        lines += ["<initrwgt>", *(f"<weight id={quoteattr(w)}></weight>" for w in weights)]
        lines += ["</initrwgt>"]
    lines += ["</header>", "<init>"]
    run = [*info.beams, *map(float, info.energies), 0, 0, *info.pdf_sets, info.strategy]
    lines.append(" ".join(map(repr, [*run, len(info.processes)])))
    for process in info.processes:
        numbers = float(process.cross_section), float(process.error), float(process.max_weight)
        lines.append(" ".join(map(repr, [*numbers, process.process_id])))
    lines.append(f"<generator name={quoteattr(info.generator)} version={quoteattr(info.version)}>")
    lines += ["</generator>", "</init>", ""]
    return "\n".join(lines)


def _check_fields(events: ak.Array) -> None:
    for name in ("particles", *EVENT_FIELDS):
        if name not in ak.fields(events):
            raise MissingName.among(name, ak.fields(events), kind="field", where="the events")
    there = ak.fields(events["particles"])
    for name in PARTICLE_FIELDS:
        if name not in there:
            raise MissingName.among(name, there, kind="field", where="the particles of events")


def _check_events(events: ak.Array, info: LHEInfo, first: int) -> None:
    weight = ak.to_numpy(events["weight"])
    if info.strategy in (3, -3):
        wrong, wanted = np.abs(weight) != 1, "weights of 1 (or -1)"
    else:
        wrong, wanted = ~np.isfinite(weight), "finite weights"
    if info.strategy > 0 and not wrong.any():
        wrong, wanted = weight < 0, f"no negative weights (these take {-info.strategy})"
    if wrong.any():
        row = int(wrong.argmax())
        raise InputError(
            f"wanted {wanted} with strategy {info.strategy}, got {weight[row]} in event "
            f"{first + row}"
        )
    ids = [process.process_id for process in info.processes]
    unknown = ~np.isin(ak.to_numpy(events["process_id"]), ids)
    if unknown.any():
        row = int(unknown.argmax())
        raise InputError(
            f"event {first + row} is of process {events['process_id'][row]}, which the file does "
            f"not announce; it does {', '.join(map(str, ids))}"
        )
    particles = events["particles"]
    finite = np.ones(len(events), bool)
    for name in PARTICLE_FIELDS[INTEGERS:]:
        finite &= ak.to_numpy(ak.all(np.isfinite(particles[name]), axis=1))
    if not finite.all():
        row = int((~finite).argmax())
        raise InputError(f"event {first + row} has momenta that are not finite")


def _format(events: ak.Array, weights: Sequence[str]) -> str:
    particles = events["particles"]
    columns = [ak.to_numpy(ak.flatten(particles[name])) for name in PARTICLE_FIELDS]
    types = [np.int64] * INTEGERS + [np.float64] * (len(columns) - INTEGERS)
    values = [a.astype(t).tolist() for a, t in zip(columns, types, strict=True)]
    lines = [" ".join(map(repr, row)) for row in zip(*values, strict=True)]
    ends = np.cumsum(ak.to_numpy(ak.num(particles))).tolist()
    process = ak.to_numpy(events["process_id"]).astype(np.int64).tolist()
    numbers = [ak.to_numpy(events[name]).astype(float).tolist() for name in EVENT_FIELDS[1:]]
    further = [ak.to_numpy(events["weights"][name]).astype(float).tolist() for name in weights]
    names = [quoteattr(name) for name in weights]
    text = []
    start = 0
    for row, end in enumerate(ends):
        top = " ".join(repr(column[row]) for column in numbers)
        text.append("<event>")
        text.append(f"{end - start} {process[row]} {top}")
        text += lines[start:end]
        if names:
            text.append("<rwgt>")
            text += [f"<wgt id={n}>{w[row]!r}</wgt>" for n, w in zip(names, further, strict=True)]
            text.append("</rwgt>")
        text.append("</event>")
        start = end
    return "\n".join([*text, ""]) if text else ""
