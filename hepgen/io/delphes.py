"""Delphes: events with collections of jets, whose constituents are references (TRefArray).

A reference is the ``fUniqueID`` of an object of the same event: of a ParticleFlowCandidate, or of
an EFlowTrack, EFlowPhoton or EFlowNeutralHadron, or, for jets of the generator, of a Particle.
GeV and mm. Delphes: J. de Favereau et al., JHEP 02 (2014) 057, arXiv:1307.6346.

Neutral hadrons have no PDG number in Delphes; here they have 130 and photons 22, as in CMS. What
only tracks have (d0 and so on) is 0 for the others.

``ParticleFlowCandidate.Eta`` is where a charged candidate meets the calorimeter, not the direction
of its momentum (it equals ``EtaOuter``, as modules/TreeWriter.cc of Delphes writes it). Momenta
here take ``CtgTheta`` instead; with it the sums of constituents are the momenta of the jets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

from hepgen.io.columns import Column, Jagged, Offsets, Values, as_column
from hepgen.io.errors import InputError, WrongType
from hepgen.io.events import Rows, choose_collection, flat, jets_of, sorted_by_jet
from hepgen.io.jets import JetTable
from hepgen.io.schema import Plan, Schema, Source, choose_fields

__all__ = ["DELPHES", "Delphes"]

_JET = {"pt": "PT", "eta": "Eta", "phi": "Phi", "mass": "Mass"}
_TRACK = {
    **_JET,
    "charge": "Charge",
    "pid": "PID",
    "d0": "D0",
    "d0_error": "ErrorD0",
    "dz": "DZ",
    "dz_error": "ErrorDZ",
}
_TOWER = {"pt": "ET", "eta": "Eta", "phi": "Phi"}
_PHOTON, _NEUTRAL_HADRON = 22, 130


@dataclass(frozen=True)
class _Objects:
    """A collection that references may point to, and the PDG number of its nameless objects."""

    name: str
    columns: Mapping[str, str]
    pid: int = 0


_FLOW = {**_TRACK, "eta": "CtgTheta"}
_RECONSTRUCTED = (
    _Objects("ParticleFlowCandidate", _FLOW, _NEUTRAL_HADRON),
    _Objects("EFlowTrack", _TRACK),
    _Objects("EFlowPhoton", _TOWER, _PHOTON),
    _Objects("EFlowNeutralHadron", _TOWER, _NEUTRAL_HADRON),
)
_GENERATED = (_Objects("Particle", _TRACK),)


class Delphes(Schema):
    """Branches ``<collection>.PT`` and so on, one list an event."""

    name = "Delphes"

    def missing(self, names: Collection[str]) -> list[str]:
        """See `Schema.missing`."""
        lacking = [name for name in ("Event.Number",) if name not in names]
        return lacking if self.collections(names) else [*lacking, "Jet.PT"]

    def collections(self, names: Collection[str]) -> list[str]:
        """See `Schema.collections`."""
        known = set(names)
        heads = [name.removesuffix(".PT") for name in names if name.endswith(".PT")]
        return [
            head
            for head in heads
            if "Jet" in head and all(f"{head}.{part}" in known for part in _JET.values())
        ]

    def jet_column(self, name: str, collection: str | None) -> list[str]:
        """See `Schema.jet_column`."""
        return [name, f"{collection}.{name}", name.replace("_", ".", 1)]

    def plan(
        self, source: Source, *, collection: str | None, fields: Collection[str] | None
    ) -> Plan:
        """See `Schema.plan`."""
        collections = self.collections(source.names)
        asked = collections if collection is None else [collection]
        linked = {
            name: objects
            for name in asked
            if (objects := _objects(name, source)) and _all_found(name, objects, source)
        }
        chosen = choose_collection(collection, collections, linked, where=source.where)
        jets = {std: f"{chosen}.{name}" for std, name in _JET.items()}
        objects = linked.get(chosen) or _objects(chosen, source)
        if not objects:
            return Plan(tuple(jets.values()), lambda values: _table(jets, values, source), chosen)
        candidates = _Candidates(objects, fields, source)
        links = f"{chosen}.Constituents"

        def build(values: Mapping[str, Column]) -> JetTable:
            per_event, momenta = jets_of(jets, values, source)
            jet, event, ids = _references(values[links], per_event, links, source)
            first_row, numbers, constituents = candidates.all(values)
            rows = _rows(event, ids, first_row, numbers)
            if np.any(rows < 0):
                raise InputError(_not_found(chosen, rows, objects, source))
            offsets, rows = sorted_by_jet(jet, rows, int(per_event[-1]))
            parts = {std: column[rows] for std, column in constituents.items()}
            return JetTable.several_per_entry(momenta, per_event, offsets, parts)

        return Plan((*jets.values(), links, *candidates.columns), build, chosen)


def _table(jets: Mapping[str, str], values: Mapping[str, Column], source: Source) -> JetTable:
    per_event, momenta = jets_of(jets, values, source)
    return JetTable.several_per_entry(momenta, per_event)


def _objects(collection: str, source: Source) -> tuple[_Objects, ...]:
    """The collections that this one may refer to and that the file has."""
    names = set(source.names)
    if f"{collection}.Constituents" not in names:
        return ()
    some = _GENERATED if collection.startswith("Gen") else _RECONSTRUCTED
    return tuple(o for o in some if {f"{o.name}.fUniqueID", f"{o.name}.Eta"} <= names)


def _all_found(collection: str, objects: tuple[_Objects, ...], source: Source) -> bool:
    """Whether the references of the first events point to objects that the file has.

    Delphes stores only the collections that its card names, so that jets before a correction for
    pile-up may refer to candidates that were never written.
    """
    links, size = f"{collection}.Constituents", f"{collection}.PT"
    numbers = [f"{o.name}.fUniqueID" for o in objects]
    values = source.read([links, size, *numbers], 0, min(100, source.num_entries))
    per_event = flat({"pt": size}, values, source)[0]
    _, event, ids = _references(values[links], per_event, links, source)
    first_row, flat_numbers = _join([flat({"id": name}, values, source) for name in numbers])
    return bool(np.all(_rows(event, ids, first_row, flat_numbers["id"]) >= 0))


class _Candidates:
    """All objects that constituents may be, of several collections one after the other."""

    def __init__(
        self, objects: tuple[_Objects, ...], fields: Collection[str] | None, source: Source
    ) -> None:
        self.source = source
        self.parts: list[tuple[_Objects, dict[str, str]]] = []
        names = set(source.names)
        known = {
            std: f"{o.name}.{name}"
            for o in objects
            for std, name in o.columns.items()
            if f"{o.name}.{name}" in names and std not in _JET
        }
        self.wanted = {*_JET, *choose_fields(fields, known, where=source.where)}
        for some in objects:
            columns = {
                std: f"{some.name}.{name}"
                for std, name in some.columns.items()
                if std in self.wanted and f"{some.name}.{name}" in names
            }
            self.parts.append((some, columns))

    @property
    def columns(self) -> list[str]:
        """Branches to read."""
        numbers = [f"{some.name}.fUniqueID" for some, _ in self.parts]
        return numbers + [column for _, columns in self.parts for column in columns.values()]

    def all(self, values: Mapping[str, Column]) -> tuple[Offsets, Values, dict[str, Values]]:
        """Offsets (E + 1,) of the objects of each event, their numbers (C,) and columns (C,)."""
        parts = []
        for some, columns in self.parts:
            number = {"number": f"{some.name}.fUniqueID"}
            offsets, arrays = flat({**number, **columns}, values, self.source)
            if some.columns["eta"] == "CtgTheta":
                arrays["eta"] = np.arcsinh(arrays["eta"])
            parts.append((offsets, self._filled(some, arrays)))
        offsets, arrays = _join(parts)
        return offsets, arrays.pop("number"), arrays

    def _filled(self, some: _Objects, arrays: dict[str, Values]) -> dict[str, Values]:
        """With the fields that other collections have, and a PDG number for nameless objects."""
        filled = dict(arrays)
        count = len(arrays["number"])
        for name in self.wanted:
            if name not in filled:
                integer = name in ("charge", "pid")
                filled[name] = np.zeros(count, dtype=np.int32 if integer else np.float32)
        if "pid" in filled and some.pid:
            filled["pid"] = np.where(filled["pid"] == 0, np.int32(some.pid), filled["pid"])
        return filled


def _join(
    parts: list[tuple[Offsets, dict[str, Values]]],
) -> tuple[Offsets, dict[str, Values]]:
    """Several collections of the same events as one: those of the first, then of the second ..."""
    if len(parts) == 1:
        return parts[0]
    counts = [np.diff(offsets) for offsets, _ in parts]
    event = np.concatenate([np.repeat(np.arange(len(count)), count) for count in counts])
    offsets, order = sorted_by_jet(event, np.arange(len(event)), len(counts[0]))
    names = parts[0][1]
    joined = {name: np.concatenate([columns[name] for _, columns in parts]) for name in names}
    return offsets, {name: values[order] for name, values in joined.items()}


def _references(
    column: Column, per_event: Offsets, name: str, source: Source
) -> tuple[Rows, Rows, Values]:
    """For each constituent its jet, counted over all events, its event, and its number, (N,)."""
    if not isinstance(column, ak.Array) or "refs" not in _fields(column):
        raise WrongType(f"{source.kind} {name!r} of {source.where} holds no arrays of references")
    refs = as_column(ak.flatten(column["refs"], axis=1))
    if not isinstance(refs, Jagged) or len(refs.offsets) != per_event[-1] + 1:
        raise InputError(
            f"{source.kind} {name!r} of {source.where} has not as many arrays of references as "
            f"there are jets ({per_event[-1]})"
        )
    jet = np.repeat(np.arange(len(refs.offsets) - 1), np.diff(refs.offsets))
    event = np.repeat(np.arange(len(per_event) - 1), np.diff(per_event))[jet]
    return jet, event, refs.values


def _fields(array: Any) -> list[str]:
    return list(ak.fields(array))


def _rows(event: Rows, ids: Values, first_row: Offsets, numbers: Values) -> Rows:
    """Row of the object with each number in its event, -1 where there is none."""
    object_event = np.repeat(np.arange(len(first_row) - 1), np.diff(first_row))
    # Both are below 2**32, so that one integer tells event and number.
    key = (object_event.astype(np.int64) << 32) | numbers.astype(np.uint32)
    wanted = (event.astype(np.int64) << 32) | ids.astype(np.uint32)
    if not len(key):
        return np.full(len(wanted), -1, dtype=np.int64)
    order = np.argsort(key, kind="stable")
    place = np.minimum(np.searchsorted(key[order], wanted), len(key) - 1)
    rows = order[place]
    return np.where(key[rows] == wanted, rows, -1)


def _not_found(chosen: str, rows: Rows, objects: tuple[_Objects, ...], source: Source) -> str:
    return (
        f"{np.count_nonzero(rows < 0)} of {len(rows)} constituents of {chosen} of {source.where} "
        f"are not among {', '.join(some.name for some in objects)}: the collection that they refer "
        "to was not written to the file; take other jets with collection="
    )


DELPHES = Delphes()
