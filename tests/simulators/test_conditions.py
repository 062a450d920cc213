"""What showers depend on, as networks take it, and what is refused or told."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from hepgen.calorimeter import EnergyRangeWarning, ShowerError
from hepgen.simulators import Conditions
from tests.simulators.samples import made

ALL = Conditions((1, 100), {"theta": (0.1, 0.5), "phi": (-3.0, 3.0)}, {"pdg": (11, 22)})


def test_ranges_go_from_minus_one_to_one_and_labels_have_a_column_each():
    given = {"theta": [0.1, 0.3, 0.5], "phi": [0.0, np.pi / 2, 3.0], "pdg": [11, 22, 11]}
    found = ALL.encode([1.0, 10.0, 100.0], given)
    expected = [
        [-1, -1, 1, 0, 1, 0],
        [0, 0, 0, 1, 0, 1],
        [1, 1, np.cos(3.0), np.sin(3.0), 1, 0],
    ]
    np.testing.assert_allclose(found, expected, atol=1e-6)
    assert found.dtype == np.float32
    assert found.shape[1] == ALL.width


def test_the_two_ends_of_a_turn_are_one_direction():
    near, far = (
        ALL.encode([5.0], {"theta": [0.2], "phi": [p], "pdg": [22]}) for p in (-np.pi, np.pi)
    )
    np.testing.assert_allclose(near, far, atol=1e-6)


def test_whole_numbers_of_a_sample_are_labels():
    found = Conditions.of(made(200, conditions=True))
    assert found.categories == {"pdg": (11, 22)}
    assert found.names == ("theta", "pdg")
    assert 0 <= found.ranges["theta"][0] < found.ranges["theta"][1] <= 0.5
    one = Conditions.of(made(20))
    assert one.width == 1
    with pytest.raises(ShowerError, match="no showers"):
        Conditions.of(made(20)[:0])


def test_conditions_come_back_from_json():
    assert Conditions.from_dict(ALL.to_dict()) == ALL


def test_conditions_of_two_samples_hold_both():
    other = Conditions((0.5, 20), {"theta": (0.3, 0.7), "phi": (0.0, 1.0)}, {"pdg": (13,)})
    found = Conditions.joined([ALL, other])
    assert found.energy_range == (0.5, 100)
    assert found.ranges == {"theta": (0.1, 0.7), "phi": (-3.0, 3.0)}
    assert found.categories == {"pdg": (11, 13, 22)}
    with pytest.raises(ShowerError, match="cannot be joined"):
        Conditions.joined([ALL, Conditions((1, 2))])


@pytest.mark.parametrize("energy", [0.9, 0.99, 101.0])
def test_energies_a_little_outside_are_told(energy):
    with pytest.warns(EnergyRangeWarning, match="1 of 2 showers are outside the trained range"):
        Conditions((1, 100)).encode([10.0, energy])


def test_energies_that_only_a_file_rounded_are_not_told():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Conditions((1, 100)).encode([0.9999, 100.01])
        Conditions((1, 100), {"theta": (0.3, 0.3)}).encode([5.0], {"theta": [np.float32(0.3)]})


def test_angles_outside_are_told_and_those_that_are_none_refused():
    given = {"phi": [0.0], "pdg": [11]}
    with pytest.warns(EnergyRangeWarning, match=r"theta of 1 of 1 .* from 0\.1 to 0\.5"):
        ALL.encode([10.0], {**given, "theta": [0.6]})
    for name in ("theta", "phi"):
        wrong = {**given, "theta": [0.2], name: [np.nan]}
        with pytest.raises(ShowerError, match=f"{name} of shower 0 is nan: wanted a number"):
            ALL.encode([10.0], wrong)


def test_what_has_one_value_need_not_be_given():
    some = Conditions((1, 100), {"theta": (0.3, 0.3)}, {"pdg": (22,)})
    found = some.complete(None, 3)
    assert found["theta"].tolist() == [0.3] * 3
    assert found["pdg"].tolist() == [22] * 3


def test_labels_stay_whole_and_angles_stay_numbers():
    # As of a command line, which has one type for all of them.
    found = ALL.complete({"theta": 0, "phi": 1, "pdg": 22.0}, 2)
    assert {name: values.dtype.kind for name, values in found.items()} == {
        "theta": "f",
        "phi": "f",
        "pdg": "i",
    }
    with pytest.raises(ShowerError, match=r"pdg 22\.5 was not trained on; there are 11, 22"):
        ALL.encode([5.0, 5.0], ALL.complete({"theta": 0.2, "phi": 1, "pdg": 22.5}, 2))


def test_conditions_that_make_no_sense_are_refused():
    for arguments, told in (
        (((0, 10),), "0 < low <= high"),
        (((10, 1),), "0 < low <= high"),
        (((1, 10), {"theta": (0.5, 0.1)}), "theta from 0.5 to 0.1"),
        (((1, 10), {"theta": (np.nan, 0.1)}), "theta from nan"),
        (((1, 10), {}, {"pdg": ()}), "pdg has no values"),
    ):
        with pytest.raises(ShowerError, match=told):
            Conditions(*arguments)
    with pytest.raises(ShowerError, match=r"theta has shape \(3,\); wanted one, or 2"):
        ALL.complete({"theta": [0.1, 0.2, 0.3], "phi": 0, "pdg": 11}, 2)
    with pytest.raises(ShowerError, match=r"no condition 'tetha'.*nearest: theta"):
        ALL.complete({"tetha": 0.1}, 2)
    with pytest.raises(ShowerError, match="needs conditions besides the energy"):
        ALL.complete({"theta": 0.1}, 2)
