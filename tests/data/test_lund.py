"""Lund declusterings against a loop over FastJet's parents."""

from __future__ import annotations

import itertools
import math
from typing import Any

import numpy as np
import pytest
import torch

from hepgen.data.clustering import rapidity_of
from hepgen.data.constituents import Constituents
from hepgen.data.lund import LUND_COORDINATES, Lund, decluster, lund_trees
from hepgen.io import read
from tests.data.momenta import azimuth, fastjet_sequence, jet, offsets_of, splittings


@pytest.fixture(scope="module")
def fastjet() -> Any:
    return pytest.importorskip("fastjet", reason="needs FastJet: pip install 'hepgen[pythia]'")


def lund_of(jets: list[np.ndarray]) -> Lund:
    momenta = torch.from_numpy(np.concatenate([np.empty((0, 4)), *jets]))
    return lund_trees(momenta, torch.from_numpy(offsets_of(jets)))


def coordinates(node: Any, harder: Any, softer: Any) -> list[float]:
    """The five numbers by FastJet's own functions and the formulas of the paper."""
    delta, total = harder.delta_R(softer), harder.pt() + softer.pt()
    psi = math.atan2(softer.rap() - harder.rap(), azimuth(softer.phi() - harder.phi()))
    kt = softer.pt() * delta
    return [math.log(softer.pt() / total), math.log(delta), psi, math.log(node.m()), math.log(kt)]


def assert_same_as_fastjet(fastjet: Any, p4: np.ndarray) -> None:
    got = lund_of([p4])
    sequence = fastjet_sequence(fastjet, p4, 0.0, None)
    found = splittings(fastjet, sequence.inclusive_jets())
    expected = {rows: coordinates(*parts) for rows, parts in found.items()}
    assert len(got.x) == len(expected) == max(0, len(p4) - 1)
    # From the widest to the narrowest, as they come.
    rows = sorted(expected, key=lambda rows: -expected[rows][1])
    values = np.array([expected[row] for row in rows]).reshape(-1, 5)
    wide = np.argsort(-got.x[:, 1].numpy(), kind="stable")
    # FastJet's masses are differences of large numbers.
    tolerance = np.array([1e-9, 1e-9, 1e-9, 1e-6, 1e-9])
    assert (np.abs(got.x[wide].numpy() - values) < tolerance).all()
    place = {row: int(wide[rank]) for rank, row in enumerate(rows)}
    links = set()
    for row, (_, *children) in found.items():
        for child in children:
            below = frozenset(part.user_index() for part in child.constituents())
            if below in place:
                links |= {(place[row], place[below]), (place[below], place[row])}
    edges = list(map(tuple, got.edges.t().tolist()))
    assert len(edges) == len(links)
    assert set(edges) == links


def test_splittings_and_edges_are_those_of_fastjet(fastjet) -> None:
    for count in [*range(1, 12), 25, 50, 90, 140, 200]:
        assert_same_as_fastjet(fastjet, jet(count))


def test_splittings_of_simulated_jets_are_those_of_fastjet(fastjet) -> None:
    constituents = Constituents.of(read("data_samples/top_qcd.root")[:60])
    columns = [getattr(constituents, name) for name in ("energy", "px", "py", "pz")]
    p4 = np.stack(columns, axis=1).astype(np.float64)
    p4[:, 0] = np.sqrt((p4[:, 1:] ** 2).sum(1) + 0.14**2)
    for start, stop in itertools.pairwise(constituents.offsets):
        assert_same_as_fastjet(fastjet, p4[start:stop])


def test_two_constituents_have_the_coordinates_of_the_formulas() -> None:
    one, other = [np.cosh(1) * 10, 10, 0, np.sinh(1) * 10], [np.cosh(1.3) * 2.5, 0, 0, 0]
    other[1:] = [2.5 * math.cos(0.4), 2.5 * math.sin(0.4), 2.5 * math.sinh(1.3)]
    got = lund_of([np.array([other, one])])
    mass = math.sqrt(2 * 10 * 2.5 * (math.cosh(0.3) - math.cos(0.4)))
    expected = [math.log(0.2), math.log(0.5), math.atan2(0.3, 0.4), math.log(mass), math.log(1.25)]
    np.testing.assert_allclose(got.x, [expected], rtol=1e-12)
    assert len(LUND_COORDINATES) == 5
    assert got.edges.shape == (2, 0)


def test_masses_of_near_and_massless_constituents_keep_their_digits() -> None:
    p4 = np.array([[0.0, 900, 0, 0], [0, 30 * math.cos(1e-8), 30 * math.sin(1e-8), 0]])
    p4[:, 0] = np.hypot(p4[:, 1], p4[:, 2])
    expected = math.log(math.sqrt(900 * 30) * 1e-8)
    assert float(lund_of([p4]).x[0, 3]) == pytest.approx(expected, rel=1e-9)


def test_jets_stand_end_to_end() -> None:
    jets = [jet(count) for count in (0, 1, 2, 30, 0, 7, 60)]
    together = lund_of(jets)
    assert together.ptr.tolist() == [0, 0, 0, 1, 30, 30, 36, 95]
    jet_of_edge = torch.bucketize(together.edges, together.ptr, right=True) - 1
    for number, (start, stop) in enumerate(itertools.pairwise(together.ptr.tolist())):
        alone = lund_of([jets[number]])
        torch.testing.assert_close(together.x[start:stop], alone.x, rtol=0, atol=0)
        edges = together.edges[:, jet_of_edge[0] == number]
        assert torch.equal(edges - start, alone.edges)


def test_they_do_not_depend_on_the_order_of_constituents() -> None:
    p4 = jet(70)
    expected = lund_of([p4])
    for seed in range(3):
        got = lund_of([p4[np.random.default_rng(seed).permutation(70)]])
        for one, other in zip(got, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_odd_momenta_have_finite_coordinates() -> None:
    odd = [[5.0, 0, 0, 5], [7, 0, 0, -7], [0, 0, 0, 0], [3, 0, 0, 0], [1, 1, 0, 0], [2, 2, 0, 0]]
    for rows in itertools.permutations(odd, 3):
        assert lund_of([np.array(rows)]).x.isfinite().all()
    assert lund_of([np.zeros((5, 4))]).x.isfinite().all()


def test_rapidities_are_those_of_fastjet(fastjet) -> None:
    for p4 in jet(50):
        energy, px, py, pz = p4.tolist()
        expected = fastjet.PseudoJet(px, py, pz, energy).rap()
        assert rapidity_of(p4) == pytest.approx(expected, rel=1e-13)
    assert rapidity_of(np.array([5.0, 0, 0, -5])) == -1e5
    assert rapidity_of(np.zeros(4)) == 0


def test_no_jets_have_no_splittings() -> None:
    for jets in ([], [jet(0)], [jet(1), jet(0)]):
        got = lund_of(jets)
        assert got.x.shape == (0, 5)
        assert got.edges.shape == (2, 0)
        assert got.ptr.tolist() == [0] * (len(jets) + 1)


def test_the_operator_follows_the_rules_of_torch() -> None:
    arguments = (torch.from_numpy(jet(9)).float(), torch.tensor([0, 4, 4, 9]))
    torch.library.opcheck(torch.ops.hepgen.lund_trees.default, arguments)
    assert not lund_trees(arguments[0].requires_grad_(), arguments[1]).x.requires_grad


def test_the_compiled_loop_can_be_called_from_python() -> None:
    arrays = decluster(jet(5), np.array([0, 5]))
    for got, expected in zip(arrays, lund_of([jet(5)]), strict=True):
        np.testing.assert_array_equal(got, expected)
