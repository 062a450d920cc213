"""Schemas written down as a table: standard field -> column. JetClass, and any mapping of a user.

JetClass: H. Qu, C. Li and S. Qian, "Particle Transformer for jet tagging", arXiv:2202.03772.
JetClass-II: C. Li et al., "Accelerating resonance searches via signature-oriented pre-training",
arXiv:2405.12972. Both are in GeV and mm, and their ``part_deta``, which is the standard field
``delta_eta`` here, is (eta of the constituent - eta of the jet) x sign(eta of the jet).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field

import numpy as np

from hepgen.io import expressions
from hepgen.io.columns import Column, Jagged, Values, describe, flat_columns
from hepgen.io.errors import WrongType
from hepgen.io.jets import JetTable, jet_momenta, sum_momenta
from hepgen.io.nested import nested_columns, unpadded_columns
from hepgen.io.schema import Plan, Schema, Source, choose_fields

__all__ = ["JET_CLASS", "JET_CLASS_II", "MappedSchema"]

COMPONENTS = (
    ("pt", "eta", "phi", "mass"),
    ("px", "py", "pz", "energy"),
    ("pt", "eta", "phi", "energy"),
)
ENERGIES = ("px", "py", "pz", "energy", "pt", "mass")
LENGTHS = ("d0", "d0_error", "dz", "dz_error")


def components(columns: Mapping[str, str], names: Collection[str]) -> dict[str, str]:
    """The columns of a four-momentum, of those sets that a file can have the one it lacks least of.

    Args:
        columns: column of each component that the schema knows.
        names: columns of the file.

    Returns:
        Column of each component of one set; empty where the schema knows no full set.
    """
    sets = [part for part in COMPONENTS if all(name in columns for name in part)]
    if not sets:
        return {}
    best = min(sets, key=lambda part: sum(columns[name] not in names for name in part))
    return {name: columns[name] for name in best}


@dataclass(frozen=True)
class MappedSchema(Schema):
    """A table of columns. An entry is a jet, or an event with several where columns are lists.

    Args:
        name: what the schema is called.
        jets: column of each component of the jets' momenta; empty where they are to be the sums of
            the constituents.
        constituents: column of each component of their momenta and of each other standard field.
        optional: whether fields of constituents, other than momenta, may be missing in a file.
        requires: further columns that a file of this schema has.
        lacks: columns that a file of this schema does not have.
        label_prefix: columns named so, with a class behind, tell the classes.
        classes: expression of the columns for each class.
        possible: the same for classes that are only meant where they are asked for.
        weights: column of the weight of a jet.
        energy_unit: the file's unit of energy in GeV.
        length_unit: the file's unit of length in mm.
        tree: name of the tree; None leaves it to the file.
    """

    name: str
    jets: Mapping[str, str]
    constituents: Mapping[str, str] = field(default_factory=dict)
    optional: bool = True
    requires: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()
    label_prefix: str | None = None
    classes: Mapping[str, str] = field(default_factory=dict)
    possible: Mapping[str, str] = field(default_factory=dict)
    weights: str | None = None
    energy_unit: float = 1.0
    length_unit: float = 1.0
    tree: str | None = None

    def missing(self, names: Collection[str]) -> list[str]:
        """Columns of momenta that are not there, then others that the schema asks for."""
        wanted = [*components(self.jets, names).values(), *self.requires]
        wanted += components(self.constituents, names).values()
        if not self.optional:
            wanted += self._others().values()
        lacking = [column for column in dict.fromkeys(wanted) if column not in names]
        return lacking + [f"(no column {column})" for column in self.lacks if column in names]

    def plan(
        self, source: Source, *, collection: str | None, fields: Collection[str] | None
    ) -> Plan:
        """See `Schema.plan`."""
        del collection
        names = set(source.names)
        jets = components(self.jets, names)
        momenta = components(self.constituents, names)
        others = {std: column for std, column in self._others().items() if column in names}
        parts = {**momenta, **choose_fields(fields, others, where=source.where)}
        columns = tuple(dict.fromkeys([*jets.values(), *parts.values()]))

        def build(values: Mapping[str, Column]) -> JetTable:
            return _Builder(self, values, source).table(jets, parts)

        return Plan(columns, build)

    def labels(self, names: Collection[str]) -> dict[str, str]:
        """See `Schema.labels`."""
        found = dict(self.classes)
        if self.label_prefix is not None:
            start = self.label_prefix
            found |= {name[len(start) :]: name for name in names if name.startswith(start)}
        return found

    def possible_labels(self, names: Collection[str]) -> dict[str, str]:
        """See `Schema.possible_labels`."""
        return dict(self.possible) if _used(self.possible) <= set(names) else {}

    def weight(self, names: Collection[str]) -> str | None:
        """See `Schema.weight`."""
        return self.weights if self.weights in names else None

    def _others(self) -> dict[str, str]:
        used = {name for part in COMPONENTS for name in part}
        return {std: column for std, column in self.constituents.items() if std not in used}


def _used(classes: Mapping[str, str]) -> set[str]:
    return {name for text in classes.values() for name in expressions.names(text)}


@dataclass(frozen=True)
class _Builder:
    """Jets of a mapped schema from the columns of some entries."""

    schema: MappedSchema
    values: Mapping[str, Column]
    source: Source

    def table(self, jets: Mapping[str, str], constituents: Mapping[str, str]) -> JetTable:
        """The jets, from the columns of their momenta and of their constituents."""
        kind, where = self.source.kind, self.source.where
        jet_columns = {column: self.values[column] for column in jets.values()}
        columns = {column: self.values[column] for column in constituents.values()}
        if any(isinstance(column, Jagged) for column in jet_columns.values()):
            per_entry, flat = flat_columns(jet_columns, kind=kind, where=where)
            momenta = jet_momenta(self._scaled(jets, flat))
            if not columns:
                return JetTable.several_per_entry(momenta, per_entry)
            offsets, flat = nested_columns(columns, per_entry, kind=kind, where=where)
            parts = self._scaled(constituents, flat)
            return JetTable.several_per_entry(momenta, per_entry, offsets, parts)
        momenta = jet_momenta(self._scaled(jets, {c: self._numbers(c) for c in jet_columns}))
        if not columns:
            return JetTable.one_per_entry(momenta)
        if all(isinstance(column, np.ndarray) for column in columns.values()):
            columns = unpadded_columns(columns, kind=kind, where=where)
        offsets, flat = flat_columns(columns, kind=kind, where=where)
        parts = self._scaled(constituents, flat)
        return JetTable.one_per_entry(momenta or sum_momenta(offsets, parts), offsets, parts)

    def _numbers(self, name: str) -> Values:
        column = self.values[name]
        if not isinstance(column, np.ndarray) or column.ndim != 1:
            raise WrongType(
                f"{self.source.kind} {name!r} of {self.source.where} holds {describe(column)}, "
                "wanted one number an entry"
            )
        return column

    def _scaled(self, names: Mapping[str, str], flat: Mapping[str, Values]) -> dict[str, Values]:
        """The columns under their standard names, in GeV and mm."""
        scaled = {}
        for std, column in names.items():
            unit = 1.0
            if std in ENERGIES:
                unit = self.schema.energy_unit
            elif std in LENGTHS:
                unit = self.schema.length_unit
            values = flat[column]
            # Multiplying by 1 would copy the column.
            scaled[std] = values if unit == 1.0 else values * values.dtype.type(unit)
        return scaled


_JETS = {"pt": "jet_pt", "eta": "jet_eta", "phi": "jet_phi", "energy": "jet_energy"}
_CONSTITUENTS = {
    "px": "part_px",
    "py": "part_py",
    "pz": "part_pz",
    "energy": "part_energy",
    "charge": "part_charge",
    "pid": "part_pid",
    "is_charged_hadron": "part_isChargedHadron",
    "is_neutral_hadron": "part_isNeutralHadron",
    "is_photon": "part_isPhoton",
    "is_electron": "part_isElectron",
    "is_muon": "part_isMuon",
    "d0": "part_d0val",
    "d0_error": "part_d0err",
    "dz": "part_dzval",
    "dz_error": "part_dzerr",
    "delta_eta": "part_deta",
    "delta_phi": "part_dphi",
}

JET_CLASS = MappedSchema(
    name="JetClass",
    jets={**_JETS, "mass": "jet_mass"},
    constituents=_CONSTITUENTS,
    lacks=("jet_label",),
    label_prefix="label_",
    # So do the ROOT files that are made of the quark-gluon set tell them.
    possible={"quark": "label == 1", "gluon": "label == 0"},
    weights="weight",
)
"""JetClass, and files laid out like it; ``label_<class>`` tells the classes."""

JET_CLASS_II = MappedSchema(
    name="JetClass-II",
    jets=_JETS,
    constituents=_CONSTITUENTS,
    requires=("jet_label",),
)
"""JetClass-II; ``jet_label`` from 0 to 187, where 161 and above are QCD."""
