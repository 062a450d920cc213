"""Stacks of absorbers: effective materials against numbers worked out elsewhere."""

from __future__ import annotations

import json

import pytest

from hepgen.calorimeter.materials import MaterialError, material, mixture
from hepgen.calorimeter.stack import Calorimeter, Homogeneous, Sampling, calorimeter_from_dict
from hepgen.io.errors import MissingName

CHALLENGE = Sampling((("W", 1.4), ("Si", 0.3)), 0.135)


def test_tungsten_and_silicon_of_the_challenge_are_as_worked_out_by_hand():
    # By hand from the equations of section 3.2 of hep-ex/0001020, to the digits given.
    assert CHALLENGE.atomic_number == pytest.approx(72.5, abs=0.05)
    assert CHALLENGE.radiation_length == pytest.approx(4.22, abs=0.005)
    assert 1e3 * CHALLENGE.critical_energy == pytest.approx(8.23, abs=0.005)
    assert CHALLENGE.moliere_radius == pytest.approx(10.87, abs=0.005)
    assert CHALLENGE.sampling_frequency == pytest.approx(2.48, abs=0.005)
    assert CHALLENGE.e_hat == pytest.approx(0.704, abs=0.0005)
    assert CHALLENGE.active == "Si"


def test_lead_tungstate_is_as_worked_out_by_hand():
    crystal = Homogeneous("PbWO4")
    assert crystal.atomic_number == pytest.approx(68.36, abs=0.005)
    assert 1e3 * crystal.critical_energy == pytest.approx(8.74, rel=0.005)
    assert crystal.moliere_radius == pytest.approx(21.4, rel=0.005)
    assert crystal.radiation_length == pytest.approx(8.904, rel=0.005)


def test_layers_of_one_density_and_charge_are_one_material():
    almost = mixture("other lead", {"Pb": 1.0}, material("Pb").density)
    layered = Sampling(((almost, 3.0), ("Pb", 1.0)), 0.1)
    lead = Homogeneous("Pb")
    assert layered.e_hat == pytest.approx(1, abs=1e-12)
    assert layered.radiation_length == pytest.approx(lead.radiation_length, rel=1e-12)
    assert layered.critical_energy == pytest.approx(lead.critical_energy, rel=1e-12)
    # The paper has 21.2 MeV for layers and 21 MeV for one material.
    assert layered.moliere_radius == pytest.approx(lead.moliere_radius * 21.2 / 21, rel=1e-12)


def test_the_active_material_may_be_named_otherwise_and_stand_anywhere():
    one = Sampling((("silicon", 0.3), ("tungsten", 1.4)), 0.135, active="silicon")
    assert one.e_hat == pytest.approx(CHALLENGE.e_hat, rel=1e-12)


@pytest.mark.parametrize(
    "one",
    [
        CHALLENGE,
        Homogeneous("PbWO4", 0.03),
        Homogeneous(mixture("alloy", {"W": 0.9, "Cu": 0.1}, 17.0)),
        Sampling((("Pb", 2.0), ("polystyrene", 4.0), ("Al", 1.0)), 0.1, "polystyrene"),
    ],
)
def test_a_calorimeter_survives_json(one: Calorimeter):
    assert calorimeter_from_dict(json.loads(json.dumps(one.to_dict()))) == one
    assert calorimeter_from_dict(one) is one


@pytest.mark.parametrize("thickness", [0.0, -0.3, float("nan")])
def test_layers_without_thickness_are_refused(thickness):
    with pytest.raises(MaterialError, match=r"a layer of Si is .* mm thick"):
        Sampling((("W", 1.4), ("Si", thickness)), 0.135)


def test_a_stack_that_makes_no_sense_is_refused():
    with pytest.raises(MaterialError, match="needs an absorber"):
        Sampling((("Si", 1.4), ("Si", 0.3)), 0.135)
    with pytest.raises(MaterialError, match=r"active='Pb' is none of the layers: \['W', 'Si'\]"):
        Sampling((("W", 1.4), ("Si", 0.3)), 0.135, active="Pb")
    with pytest.raises(MaterialError, match="sampling_term=0"):
        Sampling((("W", 1.4), ("Si", 0.3)), 0)
    with pytest.raises(MaterialError, match="sampling_term=-1"):
        Homogeneous("Pb", -1)
    with pytest.raises(MissingName, match="nearest: W"):
        Sampling((("Ww", 1.4), ("Si", 0.3)), 0.135)
    with pytest.raises(MaterialError, match=r"None.*none of the layers: \[\]"):
        Sampling((), 0.135)


def test_a_description_that_makes_no_sense_is_refused():
    with pytest.raises(MaterialError, match=r"no key 'layer'; nearest: layers"):
        calorimeter_from_dict({"layer": [["W", 1.4], ["Si", 0.3]], "sampling_term": 0.1})
    with pytest.raises(MaterialError, match="pairs of material and thickness"):
        calorimeter_from_dict({"layers": ["W"], "sampling_term": 0.1})
    with pytest.raises(MaterialError, match="needs its sampling_term"):
        calorimeter_from_dict({"layers": [["W", 1.4], ["Si", 0.3]]})
