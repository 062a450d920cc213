"""Materials of calorimeters: what an electromagnetic shower has to know of them.

Elements: atomic number and weight, density and radiation length as in the tables of the Particle
Data Group (S. Navas et al., Phys. Rev. D 110 (2024) 030001, and its pages on atomic and nuclear
properties). Those that are gases have the density of the liquid. Mixtures and compounds follow from
their elements. Critical energy and Moliere radius are not the tables' but those that the shower
parametrisation was tuned with: G. Grindhammer and S. Peters, hep-ex/0001020.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from hepgen.io.errors import InputError, MissingName

__all__ = ["MATERIALS", "Material", "MaterialError", "material", "mixture"]


class MaterialError(InputError):
    """A material or a stack of materials that makes no sense."""


@dataclass(frozen=True)
class Material:
    """An element, or a mixture that a shower takes for one.

    Attributes:
        name: what to call it.
        atomic_number: Z; of mixtures the mean, weighted by mass.
        atomic_weight: A in g/mol, likewise.
        density: in g/cm^3.
        radiation_depth: radiation length times density, in g/cm^2.

    Raises:
        MaterialError: a number that is not above 0.
    """

    name: str
    atomic_number: float
    atomic_weight: float
    density: float
    radiation_depth: float

    def __post_init__(self) -> None:
        for field in ("atomic_number", "atomic_weight", "density", "radiation_depth"):
            value = getattr(self, field)
            if not 0 < value < math.inf:
                raise MaterialError(f"{field} of {self.name}: wanted a number above 0, got {value}")

    @property
    def radiation_length(self) -> float:
        """X0 in mm."""
        return 10 * self.radiation_depth / self.density

    @property
    def critical_energy(self) -> float:
        """E_c = 2.66 MeV (X0 Z / A)^1.1, X0 in g/cm^2; in GeV."""
        electrons = self.radiation_depth * self.atomic_number / self.atomic_weight
        return 2.66e-3 * math.pow(electrons, 1.1)

    @property
    def moliere_radius(self) -> float:
        """R_M = X0 21 MeV / E_c in mm."""
        return self.radiation_length * 21e-3 / self.critical_energy

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold: the fields by name."""
        return {
            "name": self.name,
            "atomic_number": self.atomic_number,
            "atomic_weight": self.atomic_weight,
            "density": self.density,
            "radiation_depth": self.radiation_depth,
        }


def mixture(name: str, fractions: Mapping[str, float], density: float) -> Material:
    """Several materials mixed, or a compound of elements.

    Args:
        name: what to call it.
        fractions: name of each material -> its share of the mass.
        density: in g/cm^3.

    Returns:
        Z and A are means weighted by mass, as in the paper for layers of several materials; the
        inverse radiation length is (Bragg's rule).

    Raises:
        MissingName: a material that is not known.
        MaterialError: shares that are not above 0, or whose sum is not 1 to a thousandth.
    """
    total = sum(fractions.values())
    if not fractions or min(fractions.values()) <= 0 or abs(total - 1) > 1e-3:
        raise MaterialError(f"{name}: wanted shares of the mass above 0 of sum 1, got {fractions}")
    parts = [(material(part), share / total) for part, share in fractions.items()]
    return Material(
        name,
        sum(share * one.atomic_number for one, share in parts),
        sum(share * one.atomic_weight for one, share in parts),
        density,
        1 / sum(share / one.radiation_depth for one, share in parts),
    )


def material(name: str | Material | Mapping[str, Any]) -> Material:
    """A material by name.

    Args:
        name: one of ``MATERIALS`` or a usual other name, such as "tungsten"; a `Material`, which
            comes back; or what `Material.to_dict` gave.

    Raises:
        MissingName: there is none of this name; the nearest are told. `Material` and `mixture`
            make others.
        MaterialError: fields that are none of a material's.
    """
    if isinstance(name, Material):
        return name
    if isinstance(name, Mapping):
        try:
            return Material(**name)
        except TypeError as error:
            raise MaterialError(f"material {dict(name)}: {error}") from error
    known = OTHER_NAMES.get(name, name)
    if known not in MATERIALS:
        raise MissingName.among(
            name, [*MATERIALS, *OTHER_NAMES], kind="material", where="the table of materials"
        )
    return MATERIALS[known]


def _compound(name: str, density: float, **atoms: int) -> Material:
    """From the numbers of atoms in the chemical formula."""
    mass = {symbol: n * MATERIALS[symbol].atomic_weight for symbol, n in atoms.items()}
    total = sum(mass.values())
    return mixture(name, {symbol: m / total for symbol, m in mass.items()}, density)


# Z, A, g/cm^3, X0 in g/cm^2.
ELEMENTS = {
    "H": (1, 1.008, 0.0708, 63.04),
    "Be": (4, 9.0122, 1.848, 65.19),
    "B": (5, 10.81, 2.370, 52.69),
    "C": (6, 12.011, 2.210, 42.70),
    "N": (7, 14.007, 0.8071, 37.99),
    "O": (8, 15.999, 1.141, 34.24),
    "F": (9, 18.998, 1.507, 32.93),
    "Na": (11, 22.990, 0.971, 27.74),
    "Mg": (12, 24.305, 1.740, 25.03),
    "Al": (13, 26.982, 2.699, 24.01),
    "Si": (14, 28.085, 2.329, 21.82),
    "Ar": (18, 39.948, 1.396, 19.55),
    "Ti": (22, 47.867, 4.540, 16.16),
    "Cr": (24, 51.996, 7.180, 14.94),
    "Mn": (25, 54.938, 7.440, 14.64),
    "Fe": (26, 55.845, 7.874, 13.84),
    "Ni": (28, 58.693, 8.902, 12.68),
    "Cu": (29, 63.546, 8.960, 12.86),
    "Zn": (30, 65.38, 7.133, 12.43),
    "Ge": (32, 72.630, 5.323, 12.25),
    "As": (33, 74.922, 5.730, 11.94),
    "Kr": (36, 83.798, 2.418, 11.37),
    "Y": (39, 88.906, 4.469, 10.41),
    "Mo": (42, 95.95, 10.22, 9.80),
    "Ag": (47, 107.868, 10.50, 8.97),
    "Cd": (48, 112.414, 8.650, 9.00),
    "Sn": (50, 118.710, 7.310, 8.82),
    "Te": (52, 127.60, 6.240, 8.83),
    "I": (53, 126.904, 4.930, 8.48),
    "Xe": (54, 131.293, 2.953, 8.48),
    "Cs": (55, 132.905, 1.873, 8.31),
    "Ba": (56, 137.327, 3.500, 8.31),
    "La": (57, 138.905, 6.145, 8.14),
    "Ce": (58, 140.116, 6.770, 7.96),
    "Gd": (64, 157.25, 7.900, 7.48),
    "Lu": (71, 174.967, 9.840, 6.92),
    "Ta": (73, 180.948, 16.654, 6.82),
    "W": (74, 183.84, 19.300, 6.76),
    "Pt": (78, 195.084, 21.450, 6.54),
    "Au": (79, 196.967, 19.320, 6.46),
    "Pb": (82, 207.2, 11.350, 6.37),
    "Bi": (83, 208.980, 9.747, 6.29),
    "U": (92, 238.029, 18.950, 6.00),
}

MATERIALS: dict[str, Material] = {
    name: Material(name, *values) for name, values in ELEMENTS.items()
}
"""The materials that are known by name."""

OTHER_NAMES = {
    "LAr": "Ar",
    "LKr": "Kr",
    "LXe": "Xe",
    "G4_W": "W",
    "G4_Pb": "Pb",
    "G4_Cu": "Cu",
    "G4_Fe": "Fe",
    "G4_Si": "Si",
    "G4_lAr": "Ar",
    "G4_PbWO4": "PbWO4",
    "aluminium": "Al",
    "copper": "Cu",
    "gold": "Au",
    "iron": "Fe",
    "lead": "Pb",
    "liquid argon": "Ar",
    "scintillator": "polystyrene",
    "silicon": "Si",
    "tungsten": "W",
    "uranium": "U",
}

for _made in (
    _compound("PbWO4", 8.300, Pb=1, W=1, O=4),
    _compound("BGO", 7.130, Bi=4, Ge=3, O=12),
    _compound("LSO", 7.400, Lu=2, Si=1, O=5),
    _compound("NaI", 3.667, Na=1, I=1),
    _compound("CsI", 4.510, Cs=1, I=1),
    _compound("BaF2", 4.893, Ba=1, F=2),
    _compound("PbF2", 7.770, Pb=1, F=2),
    _compound("CeF3", 6.160, Ce=1, F=3),
    _compound("water", 1.000, H=2, O=1),
    _compound("quartz", 2.200, Si=1, O=2),
    _compound("polystyrene", 1.060, C=8, H=8),
    _compound("polyvinyltoluene", 1.032, C=9, H=10),
    # By mass, as in the PDG's pages.
    mixture(
        "lead glass",
        {"O": 0.156453, "Si": 0.080866, "Ti": 0.008092, "As": 0.002651, "Pb": 0.751938},
        6.220,
    ),
    mixture("brass", {"Cu": 0.70, "Zn": 0.30}, 8.53),
    mixture("stainless steel", {"Fe": 0.74, "Cr": 0.18, "Ni": 0.08}, 8.02),
):
    MATERIALS[_made.name] = _made
