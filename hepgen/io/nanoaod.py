"""CMS NanoAOD, PFNano and NanoAOD with PFCand: events with collections of jets, as branches.

Constituents are there where an index table is: PFNano's ``FatJetPFCands`` and ``JetPFCands``
(jetIdx, pFCandsIdx) into ``PFCands``, and from NanoAOD v15 on ``FatJetPFCand`` (jetIdx, pfCandIdx)
into ``PFCand``. GeV; impact parameters are in cm in the file. Jets of CMS with a radius of 0.8, and
from Run 3 on all, are made with PUPPI: their four-momenta are sums of those of the constituents
times ``puppi_weight``, where the file has it. https://cms-nanoaod-integration.web.cern.ch
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np

from hepgen.io.columns import Column, Offsets, Values
from hepgen.io.events import (
    Rows,
    check_inside,
    choose_collection,
    flat,
    jets_of,
    scaled,
    sorted_by_jet,
)
from hepgen.io.jets import MOMENTUM, JetTable
from hepgen.io.schema import Plan, Schema, Source, choose_fields

__all__ = ["NANO_AOD", "NANO_AOD_PF_CAND", "PF_NANO", "NanoAOD"]

_EVENT = ("run", "luminosityBlock", "event")
_FIELDS = {
    "charge": "charge",
    "pid": "pdgId",
    "d0": "d0",
    "d0_error": "d0Err",
    "dz": "dz",
    "dz_error": "dzErr",
    "puppi_weight": "puppiWeight",
}
_MM_PER_CM = {"d0": 10.0, "d0_error": 10.0, "dz": 10.0, "dz_error": 10.0}


@dataclass(frozen=True)
class _Link:
    """An index table: rows of (jet, candidate)."""

    jet: str
    candidate: str
    candidates: str


def _links(collection: str) -> list[_Link]:
    """The index tables that may belong to a collection of jets."""
    generated = {"GenJet": "GenJetCands", "GenJetAK8": "GenFatJetCands"}
    tables = [(f"{collection}PFCands", "pFCandsIdx", "PFCands")]
    tables.append((f"{collection}PFCand", "pfCandIdx", "PFCand"))
    if collection in generated:
        tables.append((generated[collection], "pFCandsIdx", "GenCands"))
    return [_Link(f"{table}_jetIdx", f"{table}_{index}", of) for table, index, of in tables]


@dataclass(frozen=True)
class NanoAOD(Schema):
    """Branches ``<collection>_pt`` and so on, one list an event.

    Args:
        name: what the schema is called.
        requires: branches by which this kind of NanoAOD is recognised.
        lacks: branches that would make it another kind.
    """

    name: str
    requires: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    def missing(self, names: Collection[str]) -> list[str]:
        """See `Schema.missing`."""
        lacking = [name for name in (*_EVENT, *self.requires) if name not in names]
        if not self.collections(names):
            lacking.append("Jet_pt")
        return lacking + [f"(no branch {name})" for name in self.lacks if name in names]

    def collections(self, names: Collection[str]) -> list[str]:
        """See `Schema.collections`."""
        heads = [name.removesuffix("_pt") for name in names if name.endswith("_pt")]
        return [
            head
            for head in heads
            if "Jet" in head and all(f"{head}_{part}" in names for part in MOMENTUM)
        ]

    def jet_column(self, name: str, collection: str | None) -> list[str]:
        """See `Schema.jet_column`."""
        return [name, f"{collection}_{name}"]

    def plan(
        self, source: Source, *, collection: str | None, fields: Collection[str] | None
    ) -> Plan:
        """See `Schema.plan`."""
        names = set(source.names)
        collections = self.collections(source.names)
        links = {name: link for name in collections if (link := _link(name, names))}
        chosen = choose_collection(collection, collections, links, where=source.where)
        jets = {part: f"{chosen}_{part}" for part in MOMENTUM}
        link = links.get(chosen)
        if link is None:
            return Plan(tuple(jets.values()), _JetsOnly(jets, source), chosen)
        prefix = link.candidates
        known = {std: f"{prefix}_{name}" for std, name in _FIELDS.items()}
        known = {std: column for std, column in known.items() if column in names}
        parts = {part: f"{prefix}_{part}" for part in MOMENTUM}
        parts |= choose_fields(fields, known, where=source.where)
        columns = (*jets.values(), link.jet, link.candidate, *parts.values())

        def build(values: Mapping[str, Column]) -> JetTable:
            per_event, momenta = jets_of(jets, values, source)
            offsets, rows, candidates = _follow(link, parts, values, per_event, source)
            constituents = {std: column[rows] for std, column in candidates.items()}
            return JetTable.several_per_entry(
                momenta, per_event, offsets, scaled(constituents, _MM_PER_CM)
            )

        return Plan(columns, build, chosen)


@dataclass(frozen=True)
class _JetsOnly:
    jets: Mapping[str, str]
    source: Source

    def __call__(self, values: Mapping[str, Column]) -> JetTable:
        per_event, momenta = jets_of(self.jets, values, self.source)
        return JetTable.several_per_entry(momenta, per_event)


def _link(collection: str, names: Collection[str]) -> _Link | None:
    for link in _links(collection):
        if link.jet in names and link.candidate in names and f"{link.candidates}_pt" in names:
            return link
    return None


def _follow(
    link: _Link,
    parts: Mapping[str, str],
    values: Mapping[str, Column],
    per_event: Offsets,
    source: Source,
) -> tuple[Offsets, Rows, dict[str, Values]]:
    """Offsets (J + 1,) and rows (N,) of the constituents among the candidates, and these."""
    table, index = flat({"jet": link.jet, "row": link.candidate}, values, source)
    first_row, candidates = flat(parts, values, source)
    event = np.repeat(np.arange(len(table) - 1), np.diff(table))
    # -1 stands for a jet or candidate that was not kept.
    linked = (index["jet"] >= 0) & (index["row"] >= 0)
    event = event[linked]
    jet, row = (index[name][linked].astype(np.int64) for name in ("jet", "row"))
    where = source.where
    check_inside(jet, np.diff(per_event)[event], what=link.jet, where=where)
    check_inside(row, np.diff(first_row)[event], what=link.candidate, where=where)
    jet += per_event[event]
    row += first_row[event]
    return (*sorted_by_jet(jet, row, int(per_event[-1])), candidates)


PF_NANO = NanoAOD("PFNano", requires=("PFCands_pt",))
NANO_AOD_PF_CAND = NanoAOD("NanoAOD with PFCand", requires=("PFCand_pt", "FatJetPFCand_jetIdx"))
NANO_AOD = NanoAOD("NanoAOD", lacks=("PFCands_pt", "FatJetPFCand_jetIdx"))
