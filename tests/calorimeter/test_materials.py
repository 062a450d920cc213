"""Materials: the table against formulas and values of the Particle Data Group."""

from __future__ import annotations

import math

import pytest

from hepgen.calorimeter.materials import (
    ELEMENTS,
    MATERIALS,
    Material,
    MaterialError,
    material,
    mixture,
)
from hepgen.io.errors import MissingName

# Radiation lengths in mm in the tables of the Particle Data Group.
PDG_LENGTHS = {
    "W": 3.504,
    "Pb": 5.612,
    "Cu": 14.36,
    "Fe": 17.57,
    "Si": 93.70,
    "U": 3.166,
    "LAr": 140.0,
    "PbWO4": 8.904,
    "BGO": 11.18,
    "CsI": 18.60,
    "NaI": 25.88,
    "BaF2": 20.26,
    "LSO": 11.43,
    "lead glass": 12.65,
    "polystyrene": 413.1,
    "polyvinyltoluene": 425.4,
    "quartz": 122.9,
    "water": 360.8,
}
# Critical energies of electrons in MeV in the same tables, of absorbers as the paper fitted them.
PDG_CRITICAL = {"W": 7.97, "Pb": 7.43, "U": 6.65, "Cu": 19.42, "Fe": 21.68}


def tsai_radiation_depth(z: float, a: float) -> float:
    """Radiation length in g/cm^2 by equation 34.25 of the Review of Particle Physics, Z > 4."""
    square = (z / 137.036) ** 2
    coulomb = square * (
        1 / (1 + square) + 0.20206 - 0.0369 * square + 0.0083 * square**2 - 0.002 * square**3
    )
    elastic = math.log(184.15) - math.log(z) / 3
    inelastic = math.log(1194) - 2 * math.log(z) / 3
    return 716.408 * a / (z**2 * (elastic - coulomb) + z * inelastic)


@pytest.mark.parametrize("name", [n for n, values in ELEMENTS.items() if values[0] > 4])
def test_radiation_lengths_of_elements_are_those_of_the_formula_of_tsai(name):
    one = MATERIALS[name]
    expected = tsai_radiation_depth(one.atomic_number, one.atomic_weight)
    # The table is rounded to three or four digits.
    assert one.radiation_depth == pytest.approx(expected, rel=2e-3)


@pytest.mark.parametrize("name", PDG_LENGTHS)
def test_radiation_lengths_in_mm_are_those_of_the_particle_data_group(name):
    assert material(name).radiation_length == pytest.approx(PDG_LENGTHS[name], rel=0.01)


@pytest.mark.parametrize("name", PDG_CRITICAL)
def test_critical_energies_are_near_those_of_the_particle_data_group(name):
    # The formula of the paper is a fit, a few per cent from tables.
    assert 1e3 * material(name).critical_energy == pytest.approx(PDG_CRITICAL[name], rel=0.07)


def test_moliere_radius_of_lead_is_that_of_the_tables():
    assert material("lead").moliere_radius == pytest.approx(16.0, rel=0.03)


def test_a_mixture_of_one_material_with_itself_is_that_material():
    iron = material("Fe")
    half = mixture("half and half", {"Fe": 0.5, "iron": 0.5}, iron.density)
    assert half.radiation_length == pytest.approx(iron.radiation_length, rel=1e-12)
    assert half.critical_energy == pytest.approx(iron.critical_energy, rel=1e-12)


def test_a_material_survives_json():
    mine = mixture("tungsten heavy alloy", {"W": 0.925, "Ni": 0.05, "Fe": 0.025}, 17.7)
    assert material(mine.to_dict()) == mine
    assert material(mine) is mine


def test_an_unknown_material_names_the_nearest():
    with pytest.raises(MissingName, match=r"no material 'PbWO' .*nearest: PbWO4"):
        material("PbWO")
    with pytest.raises(MissingName, match="nearest: tungsten"):
        material("tungstn")


@pytest.mark.parametrize("value", [0.0, -1.0, math.nan, math.inf])
def test_a_material_of_no_density_is_refused(value):
    with pytest.raises(MaterialError, match="density of mine: wanted a number above 0"):
        Material("mine", 74, 184, value, 6.76)


@pytest.mark.parametrize("fractions", [{}, {"W": 0.5}, {"W": 1.5, "Si": -0.5}])
def test_shares_of_a_mixture_should_be_shares(fractions):
    with pytest.raises(MaterialError, match="wanted shares of the mass"):
        mixture("mine", fractions, 1.0)


def test_fields_that_no_material_has_are_refused():
    with pytest.raises(MaterialError, match="colour"):
        material({"name": "mine", "colour": "red"})
