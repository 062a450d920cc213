"""What ``hepgen inspect`` tells of files of showers, from their headers and some of the showers.

Shapes: B showers, V voxels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from typing import Any

import h5py
import numpy as np

from hepgen.calorimeter import (
    Geometry,
    GeometryError,
    Layer,
    ShowerFiles,
    Showers,
    named_geometry,
)
from hepgen.calorimeter.binning import geometry_of
from hepgen.io.errors import InputError
from hepgen.io.inspection import Inspection

__all__ = ["ShowerInspection", "inspect_showers"]

# Showers that are looked at, in so many places of the file: many are sorted by energy.
LOOKED_AT, PLACES = 1000, 10
CHALLENGE = {"incident_energies", "showers"}
CELLS = {"incident_energy", "cell_energy"}
# Most values of a condition that are told one by one.
FEW = 8
# Beyond so many, pipelines want to be told what whole numbers are (hepgen.simulators.Conditions).
MOST_LABELS = 32


@dataclass(frozen=True)
class ShowerInspection:
    """The showers of a file; ``print`` shows it.

    Attributes:
        kind: of which format they are.
        showers: how many, None where that is not known.
        geometry: where the voxels are, None where nothing tells.
        known_from: what tells the geometry.
        unit: of the energies in the file, and what tells it.
        looked_at: how many showers were read for what follows, from all over the file.
        energy_range: least and greatest incident energy in GeV.
        response: median of the energy in the voxels over the incident energy.
        fill: mean share of the voxels that are not empty.
        conditions: name -> values in words.
        columns: what else each shower has: "event", "weight".
        problems: what is wrong, in words.
        next: what to type next.
    """

    kind: str
    showers: int | None = None
    geometry: str | None = None
    known_from: str = ""
    unit: str = ""
    looked_at: int = 0
    energy_range: tuple[float, float] | None = None
    response: float | None = None
    fill: float | None = None
    conditions: dict[str, str] = field(default_factory=dict)
    columns: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()
    next: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain numbers, texts, lists and dictionaries, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        number = "" if self.showers is None else f"{self.showers:,} "
        lines = [f"showers: {number}in {self.kind}"]
        if self.geometry is not None:
            lines.append(f"geometry: {self.geometry}, {self.known_from}")
        if self.unit:
            lines.append(f"energies: in {self.unit}")
        if self.energy_range is not None:
            low, high = self.energy_range
            span = f"{low:.4g} GeV" if low == high else f"{low:.4g} to {high:.4g} GeV"
            response = "" if self.response is None else f"; response {self.response:.3g} (median)"
            fill = "" if self.fill is None else f"; {100 * self.fill:.3g} % of the voxels hit"
            which = "all" if self.looked_at == self.showers else f"{self.looked_at:,}"
            lines.append(f"of {which} showers: incident energy {span}{response}{fill}")
        lines += [f"condition {name}: {values}" for name, values in self.conditions.items()]
        if self.columns:
            lines.append(f"each shower has {' and '.join(self.columns)}")
        lines += [f"problem: {problem}" for problem in self.problems]
        lines += [f"next: {what}" for what in self.next]
        return "\n".join(lines)


def inspect_showers(
    found: Inspection, *, tree: str | None = None, geometry: str | None = None
) -> ShowerInspection | None:
    """What is known of the showers of a file.

    Args:
        found: what `hepgen.inspect` says of the file.
        tree: the one to look at.
        geometry: name or file of a geometry, where the file tells none.

    Returns:
        The findings, None where the file does not look like one of showers. What is wrong with the
        showers is among them, and no error.
    """
    kind = _kind(found)
    if kind is None:
        return None
    if geometry is not None:
        geometry_of(geometry)
    path = f"{found.path}:{tree}" if tree else found.path
    count = found.trees[0].entries if found.format == "root" else _rows(found)
    size = _size(found)
    problems: list[str] = []
    source, known_from = None, "given"
    for guess, told in _guesses(found, geometry, size):
        try:
            source, known_from = ShowerFiles(path, guess), told
            break
        except GeometryError as error:
            # The first, without a guess, says what is missing.
            problems = problems or [str(error)]
        except (InputError, OSError) as error:
            problems = [str(error)]
            break
    if source is None:
        problems += _unfinished(found)
        return ShowerInspection(
            kind, count, problems=tuple(problems), next=tuple(_what_is_missing(path, problems))
        )
    anonymous = known_from == ""
    if not anonymous:
        problems = []
    some, trouble = _look(source)
    problems += trouble + _unfinished(found)
    guessed = known_from.startswith("perhaps")
    numbers = {} if some is None else _numbers(some)
    return ShowerInspection(
        kind,
        len(source),
        geometry=None if anonymous else str(source.geometry),
        known_from=known_from,
        unit=_unit(found),
        problems=tuple(problems),
        next=tuple(
            _what_is_missing(path, problems, guessed)
            if problems or guessed
            else _suggestions(path, geometry, some)
        ),
        **numbers,
    )


def _kind(found: Inspection) -> str | None:
    names = [{column.name for column in tree.columns} for tree in found.trees]
    if found.format == "hdf5" and names and names[0] & CHALLENGE:
        return "HDF5 in the layout of the CaloChallenge"
    if found.format != "root":
        return None
    if any("EnergyCell" in some for some in names):
        return "a ROOT file of Geant4's example Par04"
    for tree, some in zip(found.trees, names, strict=True):
        if some >= CELLS:
            cells = "cells" if "cell_index" in some else "hits"
            return f"a ROOT file with lists of {cells} ({tree.kind})"
    return None


def _rows(found: Inspection) -> int | None:
    with h5py.File(found.path, "r") as file:
        voxels = file.get("showers")
        return len(voxels) if isinstance(voxels, h5py.Dataset) and voxels.shape else None


def _size(found: Inspection) -> int | None:
    """V of an HDF5 file."""
    if found.format != "hdf5":
        return None
    with h5py.File(found.path, "r") as file:
        voxels = file.get("showers")
        ranked = isinstance(voxels, h5py.Dataset) and len(voxels.shape) > 1
        return math.prod(voxels.shape[1:]) if ranked else None


def _guesses(
    found: Inspection, geometry: str | None, size: int | None
) -> Iterator[tuple[Geometry | str | None, str]]:
    """Geometries to try, and what tells each."""
    if geometry is not None:
        yield geometry, "given"
        return
    carried = "geometry" in found.objects
    if found.format == "hdf5":
        with h5py.File(found.path, "r") as file:
            carried = "geometry" in file.attrs
    named = "by the number of voxels" if size is not None else "by the numbers of its cells"
    yield None, "told by the file" if carried else named
    sample = named_geometry("ds2").merged(layers=3, sectors=2, rings=(1, 1, 2, 5))
    if size == sample.num_voxels and not carried:
        yield sample, "perhaps, as the bundled sample has as many voxels"
    if size is not None:
        # Energies and empty voxels can be told without knowing where the voxels are.
        yield Geometry((Layer((0.0, 1.0), size, 0),), "unknown"), ""


def _look(source: ShowerFiles) -> tuple[Showers | None, list[str]]:
    """Some showers from all over the file, and what is wrong with others."""
    total = len(source)
    if not total:
        return None, ["there are no showers in it"]
    size = max(1, LOOKED_AT // PLACES)
    firsts = np.unique(np.linspace(0, max(total - size, 0), PLACES).astype(int))
    rows = np.unique(np.concatenate([np.arange(a, min(a + size, total)) for a in firsts]))
    pieces, trouble = [], []
    for group in np.array_split(rows, min(PLACES, total)):
        try:
            pieces.append(source[group])
        except (InputError, OSError) as error:
            trouble.append(str(error))
    # One of the same kind is enough.
    return (Showers.joined(pieces) if pieces else None), trouble[:1]


def _unfinished(found: Inspection) -> list[str]:
    """Whether the end of a file was never written, in words."""
    if found.format != "hdf5":
        return []
    with h5py.File(found.path, "r") as file:
        energy = file.get("incident_energies")
        if not isinstance(energy, h5py.Dataset) or not energy.shape or not len(energy):
            return []
        last = np.asarray(energy[-1])
    if last.dtype.kind not in "fiu" or np.any(last != 0):
        return []
    return ["the last showers are empty: whatever wrote the file was stopped, or is still at it"]


def _numbers(some: Showers) -> dict[str, Any]:
    columns = [name for name in ("event", "weight") if getattr(some, name) is not None]
    return {
        "looked_at": len(some),
        "energy_range": (float(some.incident_energy.min()), float(some.incident_energy.max())),
        "response": float(np.median(some.response)),
        "fill": float((some.voxels > 0).mean()),
        "conditions": {name: _in_words(values) for name, values in some.conditions.items()},
        "columns": tuple(columns),
    }


def _in_words(values: np.ndarray[Any, Any]) -> str:
    different = np.unique(values)
    if len(different) <= FEW:
        return ", ".join(f"{value:g}" for value in different)
    whole = np.issubdtype(values.dtype, np.integer)
    number = f", {len(different)} different whole numbers" if whole else ""
    return f"{different[0]:.4g} to {different[-1]:.4g}{number}"


def _unit(found: Inspection) -> str:
    if found.format == "root":
        told = "energy_unit" in found.objects
        return "the unit that the file tells" if told else "MeV, as is usual; the sums fit"
    with h5py.File(found.path, "r") as file:
        unit = file["showers"].attrs.get("unit")
    if unit is None:
        return "MeV, as is usual; the sums fit"
    return f"{unit.decode() if isinstance(unit, bytes) else unit}, as the file tells"


def _what_is_missing(path: str, problems: list[str], guessed: bool = False) -> Iterator[str]:
    if guessed:
        yield (
            "if it is that layout, hepgen.calorimeter.read(path, named_geometry('ds2').merged("
            "layers=3, sectors=2, rings=[1, 1, 2, 5])), and hepgen.calorimeter.write keeps it"
        )
    if guessed or any("geometry" in problem for problem in problems):
        yield f"hepgen inspect {path} --geometry NAME, a binning XML or a YAML of the layers"
    elif any("unit=" in problem for problem in problems):
        yield f"hepgen.calorimeter.read({path!r}, unit=...), then hepgen.calorimeter.write"


def _suggestions(path: str, geometry: str | None, some: Showers | None) -> Iterator[str]:
    told = "" if geometry is None else f" --data.geometry {geometry}"
    for name, values in ({} if some is None else some.conditions).items():
        if np.issubdtype(values.dtype, np.integer) and len(np.unique(values)) > MOST_LABELS:
            told += f" --data.numbers '[{name}]'"
    yield f"hepgen train --model CaloINN --data.files {path}{told} --output runs/calo_inn"
    told = "" if geometry is None else f" --geometry {geometry}"
    yield f"hepgen evaluate GENERATED --reference {path}{told} -o report"
