"""The particles that are asked for."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import kstest

from hepgen.calorimeter import ShowerError
from hepgen.simulators import Conditions
from hepgen.simulators.incident import Incident, energy_range, incident_particles

TRAINED = Conditions((2, 50))


def energies(n: int | None, wanted: Incident | None, seed: int = 0) -> np.ndarray:
    return incident_particles(TRAINED, n, wanted, None, seed)[0]


def test_energies_of_a_range_are_even_in_their_logarithm():
    found = energies(5000, "1:100")
    # A false alarm in a thousand.
    assert kstest(np.log(found) / np.log(100), "uniform").pvalue > 1e-3
    assert 1 <= found.min() < found.max() <= 100
    own = energies(5000, None)
    assert 2 <= own.min() < 2.1
    assert 48 < own.max() <= 50


def test_the_first_energies_do_not_depend_on_their_number():
    np.testing.assert_array_equal(energies(10, "1:100", 3), energies(1000, "1:100", 3)[:10])
    assert not np.array_equal(energies(10, "1:100", 3), energies(10, "1:100", 4))
    np.testing.assert_array_equal(energies(10, None, np.int64(3)), energies(10, None, 3))


def test_energies_may_be_told_one_by_one():
    assert energies(None, [3.0, 4.0]).tolist() == [3, 4]
    assert energies(2, np.float32(10)).tolist() == [10, 10]
    assert energies(2, "10").tolist() == [10, 10]
    assert energy_range("1:100") == (1, 100)


def test_what_is_no_energy_is_refused():
    for n, wanted, told in (
        (2, [1.0, 2.0, 3.0], r"shape \(3,\); wanted 2"),
        (None, [], "wanted some"),
        (None, [1.0, -2.0], r"above 0; number 1 is -2\.0 GeV"),
        (None, [np.inf], "above 0"),
        (2, "1:2:3", "such as 50, or a range"),
        (2, "0:3", "such as 50, or a range"),
        (2, "a lot", "such as 50, or a range"),
        (2, "nan", "such as 50, or a range"),
        (None, "1:10", "n is needed"),
        (0, "1:10", "n=0"),
    ):
        with pytest.raises(ShowerError, match=told):
            energies(n, wanted)
