"""Which branches of a ROOT file tell showers, and in which units.

Trees that hepgen writes have, for each shower, ``incident_energy`` and lists of its cells:
``cell_index``, ``cell_energy``, ``cell_layer``, ``cell_x``, ``cell_y``, ``cell_z``. The example
Par04 of Geant4 writes ``EnergyMC`` and lists ``EnergyCell``, ``rhoCell``, ``phiCell``, ``zCell``,
in MeV, up to Geant4 11.1 into one tree ``events``, since then into ``global`` and
``virtualReadout`` (examples/extended/parameterisations/Par04/src/Par04RunAction.cc).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from hepgen.calorimeter.hits import PLACES
from hepgen.io.errors import MissingName

__all__ = ["OWN_BRANCHES", "PAR04_TREES", "TreeNames", "tree_names_of"]

ENERGY, CELL_ENERGY, EVENT, WEIGHT = "incident_energy", "cell_energy", "event", "weight"
# The tree of the cells, then that of the particles.
PAR04_TREES = ("virtualReadout", "global")
PAR04 = {
    ENERGY: "EnergyMC",
    CELL_ENERGY: "EnergyCell",
    "cell_ring": "rhoCell",
    "cell_sector": "phiCell",
    "cell_layer": "zCell",
}
PAR04_CONDITIONS = {"theta": "ThetaMC", "phi": "PhiMC"}
USUAL_CONDITIONS = ("theta", "phi", "eta", "pdg")
# What is no condition in trees that hepgen writes.
OWN_BRANCHES = {ENERGY, CELL_ENERGY, EVENT, WEIGHT, "ncell", *(f"cell_{name}" for name in PLACES)}


@dataclass(frozen=True)
class TreeNames:
    """Our names -> branches.

    Attributes:
        energy: branch of the incident energy.
        cell_energy: branch of the energies of hits or cells.
        places: what tells where they are (see `hepgen.calorimeter.hits.PLACES`) -> branch.
        conditions: name -> branch.
        event: branch of the identifiers, None for none.
        weight: likewise.
        par04: whether the tree is one of Par04.
    """

    energy: str
    cell_energy: str
    places: Mapping[str, str]
    conditions: Mapping[str, str]
    event: str | None
    weight: str | None
    par04: bool

    @property
    def branches(self) -> list[str]:
        """All of them."""
        rest = [name for name in (self.event, self.weight) if name is not None]
        lists = [self.cell_energy, *self.places.values()]
        return list(dict.fromkeys([self.energy, *lists, *self.conditions.values(), *rest]))


def tree_names_of(
    there: Collection[str],
    told: Mapping[str, str],
    wanted: Collection[str] | None,
    declared: Collection[str],
    where: str,
) -> TreeNames:
    """Find the branches of showers.

    Args:
        there: branches of the file.
        told: our name -> branch, from the caller.
        wanted: conditions that the caller wants; None for what there is.
        declared: conditions that the file declares.
        where: the tree, for messages.

    Returns:
        The names; branches that the caller told exist.

    Raises:
        MissingName: a branch is not there; the nearest are named.
    """
    par04 = PAR04[CELL_ENERGY] in there and CELL_ENERGY not in {*told, *there}
    usual = PAR04 if par04 else {}
    cells = [f"cell_{name}" for name in PLACES]
    own = (ENERGY, CELL_ENERGY, EVENT, WEIGHT, *cells)
    names = {name: told.get(name, usual.get(name, name)) for name in own}
    for name in (ENERGY, CELL_ENERGY, *told):
        branch = names.get(name, told.get(name, name))
        if branch not in there:
            raise MissingName.among(branch, there, kind="branch", where=f"{where} ({name})")
    conditions = {name: branch for name, branch in told.items() if name not in own}
    known = {**PAR04_CONDITIONS} if par04 else {name: name for name in USUAL_CONDITIONS}
    known = {**known, **{name: name for name in declared}, **conditions}
    if wanted is None:
        conditions = {name: branch for name, branch in known.items() if branch in there}
    else:
        conditions = {name: known.get(name, name) for name in wanted}
        for name, branch in conditions.items():
            if branch not in there:
                raise MissingName.among(branch, there, kind="branch", where=f"{where} ({name})")
    return TreeNames(
        energy=names[ENERGY],
        cell_energy=names[CELL_ENERGY],
        places={name: names[f"cell_{name}"] for name in PLACES if names[f"cell_{name}"] in there},
        conditions=conditions,
        event=names[EVENT] if names[EVENT] in there else None,
        weight=names[WEIGHT] if names[WEIGHT] in there else None,
        par04=par04,
    )
