"""EDM4hep, the event model of future colliders, in GeV and mm.

https://edm4hep.web.cern.ch

A jet is a reconstructed particle whose ``particles_begin`` and ``particles_end`` bound a range in
``_Jet_particles``, where each row names a collection by a number and a particle in it by its index.
The number of a collection is the MurmurHash3 (A. Appleby) of its name, as podio makes it.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np

from hepgen.io.columns import Column, Jagged, Offsets, Values
from hepgen.io.errors import InputError, WrongType
from hepgen.io.events import Rows, check_inside, choose_collection, flat
from hepgen.io.jets import JetTable, jet_momenta
from hepgen.io.schema import Plan, Schema, Source, choose_fields

__all__ = ["EDM4HEP", "EDM4hep", "collection_id"]

_MOMENTUM = {"px": "momentum.x", "py": "momentum.y", "pz": "momentum.z", "energy": "energy"}
_CHARGED_PION = 211
_NEUTRAL_HADRON = 130
# GeV, where a lepton of this mass is told from a pion although it has no PDG number.
_LEPTONS = {11: 0.000511, 13: 0.105658}


class EDM4hep(Schema):
    """Collections of reconstructed particles; those with "Jet" in their names are jets."""

    name = "EDM4hep"

    def missing(self, names: Collection[str]) -> list[str]:
        """See `Schema.missing`."""
        if self._all(names):
            return []
        wanted = [f"Jet.{part}" for part in (*_MOMENTUM.values(), "particles_begin")]
        return [name for name in (*wanted, "_Jet_particles.index") if name not in names]

    def _all(self, names: Collection[str]) -> list[str]:
        end = ".particles_begin"
        heads = [name.removesuffix(end) for name in names if name.endswith(end)]
        known = set(names)
        return [head for head in heads if {f"{head}.energy", f"_{head}_particles.index"} <= known]

    def collections(self, names: Collection[str]) -> list[str]:
        """See `Schema.collections`; without a name like "Jet", all collections that have parts."""
        every = self._all(names)
        return [name for name in every if "jet" in name.lower()] or every

    def jet_column(self, name: str, collection: str | None) -> list[str]:
        """See `Schema.jet_column`."""
        return [name, f"{collection}.{name}"]

    def plan(
        self, source: Source, *, collection: str | None, fields: Collection[str] | None
    ) -> Plan:
        """See `Schema.plan`."""
        names = set(source.names)
        every = self._all(source.names) if collection else self.collections(source.names)
        chosen = choose_collection(collection, every, every, where=source.where)
        target = _target(chosen, source)
        jets = _columns(chosen)
        known = {"charge": f"{target}.charge", "pid": f"{target}.PDG"}
        known = {std: column for std, column in known.items() if column in names}
        read = choose_fields(fields, known, where=source.where)
        if "pid" in read:
            # They tell what a particle without a PDG number is.
            read |= {"charge": known["charge"], "mass": f"{target}.mass"}
        parts = {**_columns(target), **read}
        bounds = {end: f"{chosen}.particles_{end}" for end in ("begin", "end")}
        index, number = (f"_{chosen}_particles.{end}" for end in ("index", "collectionID"))
        columns = tuple({*jets.values(), *parts.values(), *bounds.values(), index, number})

        def build(values: Mapping[str, Column]) -> JetTable:
            per_event, momenta = flat({**jets, **bounds}, values, source)
            begin, end = (momenta.pop(bound).astype(np.int64) for bound in ("begin", "end"))
            first_link, link = flat({"index": index, "number": number}, values, source)
            if np.any(link["number"] != collection_id(target)):
                raise InputError(
                    f"not all constituents of {chosen} of {source.where} are in {target}"
                )
            links = Jagged(first_link, link["index"])
            first_row, candidates = flat(parts, values, source)
            offsets, rows = _follow(begin, end, per_event, links, first_row, source.where)
            constituents = {std: column[rows] for std, column in candidates.items()}
            if "pid" in constituents:
                constituents["pid"] = _pid(constituents)
                del constituents["mass"]
            return JetTable.several_per_entry(
                jet_momenta(momenta), per_event, offsets, constituents
            )

        return Plan(columns, build, chosen)


def _columns(collection: str) -> dict[str, str]:
    return {std: f"{collection}.{name}" for std, name in _MOMENTUM.items()}


def _target(collection: str, source: Source) -> str:
    """The collection that the constituents of these jets are in."""
    ids = _ids(collection, source, min(100, source.num_entries))
    if not len(ids):
        ids = _ids(collection, source, source.num_entries)
    end = ".momentum.x"
    heads = [name.removesuffix(end) for name in source.names if name.endswith(end)]
    known = {collection_id(head): head for head in heads}
    if not len(ids):
        return collection
    if len(ids) > 1 or int(ids[0]) not in known:
        found = [known.get(int(number), f"number {number}") for number in ids]
        raise InputError(
            f"the constituents of {collection} of {source.where} are in {', '.join(found)}; "
            f"wanted one collection out of {', '.join(heads)}"
        )
    return known[int(ids[0])]


def _ids(collection: str, source: Source, stop: int) -> Values:
    """The different numbers of collections that links of the first entries name."""
    column = f"_{collection}_particles.collectionID"
    ids = source.read([column], 0, stop)[column]
    if not isinstance(ids, Jagged):
        raise WrongType(f"branch {column!r} of {source.where} holds no lists")
    return np.unique(ids.values)


def _follow(
    begin: Rows, end: Rows, per_event: Offsets, links: Jagged, first_row: Offsets, where: str
) -> tuple[Offsets, Rows]:
    """Offsets (J + 1,) and rows (N,) of the constituents among the particles of all events."""
    event = np.repeat(np.arange(len(per_event) - 1), np.diff(per_event))
    check_inside(end, np.diff(links.offsets)[event] + 1, what="particles_end", where=where)
    counts = end - begin
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], counts)
    event = np.repeat(event, counts)
    index = links.values[links.offsets[event] + np.repeat(begin, counts) + within]
    check_inside(index, np.diff(first_row)[event], what="constituents", where=where)
    return offsets, first_row[event] + index


def _pid(particles: Mapping[str, Values]) -> Values:
    """PDG numbers; a particle without one is a lepton by its mass, or a hadron by its charge."""
    charge = np.rint(particles["charge"]).astype(np.int32)
    guess = np.where(charge != 0, _CHARGED_PION * charge, _NEUTRAL_HADRON)
    for number, mass in _LEPTONS.items():
        same = (charge != 0) & (np.abs(particles["mass"] - mass) < 0.01 * mass)
        guess[same] = -number * charge[same]
    return np.where(particles["pid"] == 0, guess, particles["pid"]).astype(np.int32)


def collection_id(name: str) -> int:
    """The number by which podio refers to a collection: MurmurHash3, 32 bit, seed 0, of its name.

    Args:
        name: name of the collection.

    Returns:
        A number below 2**32.
    """
    data = name.encode()
    mask = 0xFFFFFFFF

    def rotate(x: int, bits: int) -> int:
        return ((x << bits) | (x >> (32 - bits))) & mask

    def mix(block: bytes) -> int:
        k = int.from_bytes(block, "little") * 0xCC9E2D51 & mask
        return rotate(k, 15) * 0x1B873593 & mask

    whole = len(data) // 4 * 4
    value = 0
    for start in range(0, whole, 4):
        value = rotate(value ^ mix(data[start : start + 4]), 13)
        value = (value * 5 + 0xE6546B64) & mask
    value ^= mix(data[whole:]) ^ len(data)
    value = (value ^ value >> 16) * 0x85EBCA6B & mask
    value = (value ^ value >> 13) * 0xC2B2AE35 & mask
    return value ^ value >> 16


EDM4HEP = EDM4hep()
