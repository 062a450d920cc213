"""Cuts against the package vector, one event at a time."""

from __future__ import annotations

import math
from itertools import combinations

import numpy as np
import pytest
import vector

from hepgen.integration.cuts import Cuts
from hepgen.integration.rambo import RamboOnDiet
from hepgen.io.errors import InputError

RNG = np.random.default_rng(3)
P4 = RamboOnDiet([0.0, 4.7, 0.0, 80.0]).forward(RNG.random((300, 8)), 500.0)[0]

ONE_BY_ONE = {
    Cuts(min_pt=30): lambda one: all(p.pt >= 30 for p in one),
    Cuts(max_pt=150): lambda one: all(p.pt <= 150 for p in one),
    Cuts(max_eta=1.5): lambda one: all(abs(p.eta) <= 1.5 for p in one),
    Cuts(max_rapidity=1.2): lambda one: all(abs(p.rapidity) <= 1.2 for p in one),
    Cuts(min_delta_r=0.8): lambda one: all(a.deltaR(b) >= 0.8 for a, b in combinations(one, 2)),
    Cuts(min_angle=0.6): lambda one: all(a.deltaangle(b) >= 0.6 for a, b in combinations(one, 2)),
    Cuts(min_pair_mass=90): lambda one: all((a + b).mass >= 90 for a, b in combinations(one, 2)),
    Cuts(y_cut=0.02): lambda one: all(
        (a + b).mass2 >= 0.02 * 500.0**2 for a, b in combinations(one, 2)
    ),
    Cuts(min_mass=200, max_mass=300, particles=(0, 2, 3)): lambda one: (
        200 <= (one[0] + one[2] + one[3]).mass <= 300
    ),
    Cuts(min_pt=40, max_eta=2, min_delta_r=0.5, particles=(3, 1)): lambda one: (
        min(one[1].pt, one[3].pt) >= 40
        and max(abs(one[1].eta), abs(one[3].eta)) <= 2
        and one[1].deltaR(one[3]) >= 0.5
    ),
}


@pytest.mark.parametrize("cuts", ONE_BY_ONE, ids=repr)
def test_events_pass_as_the_package_vector_says(cuts: Cuts) -> None:
    expected = []
    for event in P4:
        particles = [
            vector.obj(E=p[0], px=p[1], py=p[2], pz=p[3]) for p in (row.tolist() for row in event)
        ]
        expected.append(ONE_BY_ONE[cuts](particles))
    assert 0 < sum(expected) < len(expected)
    np.testing.assert_array_equal(cuts(P4), expected)


def test_no_cuts_let_everything_pass_but_nan() -> None:
    p4 = P4.copy()
    p4[3, 1, 2] = math.nan
    assert np.flatnonzero(~Cuts()(p4)).tolist() == [3]
    assert Cuts(min_pt=1, min_delta_r=0.1)(P4[:0]).shape == (0,)


def test_momenta_along_the_beam_have_no_rapidity_to_pass() -> None:
    p4 = np.array([[[100.0, 0, 0, 100], [50, 0, 0, 50], [150, 0, 0, -150]]])
    for cuts in (Cuts(max_eta=20), Cuts(max_rapidity=20), Cuts(min_delta_r=0.4), Cuts(min_pt=1)):
        assert not cuts(p4)[0]
    assert Cuts(min_angle=0.1, particles=(0, 2))(p4)[0]
    assert not Cuts(min_angle=0.1)(p4)[0]


def test_cuts_on_pairs_leave_one_particle_alone() -> None:
    assert Cuts(min_delta_r=0.4, y_cut=0.1, particles=(0,))(P4).all()


def test_cuts_come_from_plain_numbers() -> None:
    assert Cuts(min_pt=30, particles=[1, 2]) == Cuts(min_pt=30.0, particles=(1, 2))


def test_impossible_cuts_are_refused() -> None:
    with pytest.raises(InputError, match=r"min_pt must not be negative, got -1"):
        Cuts(min_pt=-1)
    with pytest.raises(InputError, match=r"max_eta must not be negative, got nan"):
        Cuts(max_eta=math.nan)
    with pytest.raises(InputError, match=r"min_mass \(90 GeV\) is above max_mass \(80 GeV\)"):
        Cuts(min_mass=90, max_mass=80)
    with pytest.raises(InputError, match="different places of particles"):
        Cuts(particles=(1, 1))
    with pytest.raises(InputError, match=r"no particles \(0, 4\) in a final state of 4"):
        Cuts(particles=(0, 4))(P4)
    with pytest.raises(InputError, match=r"shape \(B, n, 4\), got \(4, 4\)"):
        Cuts()(P4[0])
