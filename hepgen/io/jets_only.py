"""Events whose jets have no constituents that could be followed: ATLAS PHYSLITE, CMS TreeMaker.

PHYSLITE (ATLAS, MeV) keeps links of jets into containers that it does not hold; TreeMaker (GeV,
https://github.com/TreeMaker/TreeMaker) keeps Lorentz vectors of the jets.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hepgen.io.columns import Column
from hepgen.io.events import choose_collection, flat, scaled
from hepgen.io.jets import JetTable, jet_momenta
from hepgen.io.schema import Plan, Schema, Source, choose_fields

__all__ = ["PHYSLITE", "TREE_MAKER", "JetsOnly"]


@dataclass(frozen=True)
class JetsOnly(Schema):
    """Collections of jets by the patterns of their branches.

    Args:
        name: what the schema is called.
        heads: what may follow the name of the collection.
        parts: what follows then, for each component of a momentum.
        marker: branch by which a file is recognised.
        energy_unit: the file's unit of energy in GeV.
    """

    name: str
    heads: tuple[str, ...]
    parts: Mapping[str, str]
    marker: str
    energy_unit: float = 1.0

    def missing(self, names: Collection[str]) -> list[str]:
        """See `Schema.missing`."""
        lacking = [] if self.marker in names else [self.marker]
        if not self.collections(names):
            lacking.append(f"Jets{self.heads[0]}{self.parts['pt']}")
        return lacking

    def collections(self, names: Collection[str]) -> list[str]:
        """See `Schema.collections`."""
        return list(self._heads(names))

    def _heads(self, names: Collection[str]) -> dict[str, str]:
        """What branches begin with, by collection."""
        known = set(names)
        found: dict[str, str] = {}
        for head in self.heads:
            end = head + self.parts["pt"]
            for name in names:
                start = name.removesuffix(end)
                whole = {start + head + part for part in self.parts.values()}
                if name.endswith(end) and "Jet" in start and whole <= known:
                    found.setdefault(start, start + head)
        return found

    def jet_column(self, name: str, collection: str | None) -> list[str]:
        """See `Schema.jet_column`."""
        return [name, f"{collection}_{name}", *(f"{collection}{head}{name}" for head in self.heads)]

    def plan(
        self, source: Source, *, collection: str | None, fields: Collection[str] | None
    ) -> Plan:
        """See `Schema.plan`."""
        choose_fields(fields, {}, where=source.where)
        heads = self._heads(source.names)
        chosen = choose_collection(collection, list(heads), (), where=source.where)
        jets = {std: heads[chosen] + part for std, part in self.parts.items()}
        energies = ("pt", "mass", "energy")
        units = {} if self.energy_unit == 1.0 else dict.fromkeys(energies, self.energy_unit)

        def build(values: Mapping[str, Column]) -> JetTable:
            per_event, arrays = flat(jets, values, source)
            return JetTable.several_per_entry(jet_momenta(scaled(arrays, units)), per_event)

        return Plan(tuple(jets.values()), build, chosen)


PHYSLITE = JetsOnly(
    "PHYSLITE",
    ("AuxDyn.", "Aux."),
    {"pt": "pt", "eta": "eta", "phi": "phi", "mass": "m"},
    marker="EventInfoAuxDyn.eventNumber",
    energy_unit=1e-3,
)
TREE_MAKER = JetsOnly(
    "TreeMaker",
    (".fCoordinates.",),
    {"pt": "fPt", "eta": "fEta", "phi": "fPhi", "energy": "fE"},
    marker="EvtNum",
)
