"""Energy flow polynomials: numbers of the authors' package, sums over all indices, safety."""

from __future__ import annotations

from functools import cache
from hashlib import sha256
from itertools import product
from pathlib import Path

import networkx
import numpy as np
import pytest

from hepgen.data import efp_graphs, energy_flow_polynomials
from hepgen.data.energy_flow_graphs import Graph, efp_factors, is_isomorphic, prime_graphs
from hepgen.data.energy_flow_program import (
    APPLY,
    CHAIN,
    FLIP,
    JOIN,
    TETRA,
    TIMES,
    Program,
    Step,
    program,
)

REFERENCE = Path(__file__).parents[1] / "reference" / "energy_flow_polynomials.npz"
PRIME = [1, 2, 5, 12, 33, 103, 333]  # OEIS A076864 and table 1 of the paper
ALL = [1, 1, 3, 8, 23, 66, 212, 686]  # OEIS A050535


def jet(count: int, seed: int = 0) -> np.ndarray:
    """Four-momenta (E, px, py, pz) around phi = pi."""
    rng = np.random.default_rng(seed)
    pt, mass = rng.exponential(10, count) + 0.5, rng.uniform(0, 1, count)
    return momenta(pt, rng.normal(0.4, 0.3, count), rng.normal(np.pi, 0.3, count), mass)


def momenta(pt, y, phi, mass) -> np.ndarray:
    transverse = np.hypot(pt, mass)
    columns = [transverse * np.cosh(y), pt * np.cos(phi), pt * np.sin(phi), transverse * np.sinh(y)]
    return np.stack(np.broadcast_arrays(*columns), axis=-1)


def polynomials(p4: np.ndarray, max_degree: int = 7, **measure: float) -> np.ndarray:
    result: np.ndarray = energy_flow_polynomials(p4, [0, len(p4)], max_degree, **measure)[0]
    return result


@cache
def as_networkx(graph: Graph) -> networkx.Graph:
    made = networkx.Graph()
    for edge in graph:
        weight = made.edges[edge]["weight"] + 1 if made.has_edge(*edge) else 1
        made.add_edge(*edge, weight=weight)
    return made


def same(one: Graph, other: Graph) -> bool:
    """Isomorphism as networkx finds it."""
    weights = networkx.algorithms.isomorphism.categorical_edge_match("weight", 0)
    return networkx.is_isomorphic(as_networkx(one), as_networkx(other), edge_match=weights)


def places(reference: np.lib.npyio.NpzFile, number: int, max_degree: int) -> list[int]:
    """Where our graphs stand among those of the authors."""
    edges, starts = reference[f"edges_{number}"].tolist(), reference[f"graphs_{number}"]
    alike: dict[object, list[tuple[int, Graph]]] = {}
    for i in range(len(starts) - 1):
        theirs = tuple((a, b) for a, b in edges[starts[i] : starts[i + 1]])
        alike.setdefault(traits(theirs), []).append((i, theirs))
    result = []
    for graph in efp_graphs(max_degree):
        matches = [i for i, theirs in alike[traits(graph)] if same(graph, theirs)]
        assert len(matches) == 1, graph
        result += matches
    assert sorted(result) == list(range(len(starts) - 1))
    return result


def traits(graph: Graph) -> object:
    """What isomorphic graphs share, to compare few of them."""
    return networkx.weisfeiler_lehman_graph_hash(as_networkx(graph), edge_attr="weight")


class TestGraphs:
    @pytest.mark.parametrize("degree", range(8))
    def test_there_are_as_many_as_published(self, degree) -> None:
        graphs = efp_graphs(degree)
        assert [sum(len(graph) == d for graph in graphs) for d in range(degree + 1)] == (
            ALL[: degree + 1]
        )
        primes = prime_graphs(degree)
        assert [sum(len(graph) == d for graph in primes) for d in range(1, degree + 1)] == (
            PRIME[:degree]
        )

    def test_1000_up_to_7_edges_of_which_the_first_is_empty(self) -> None:
        assert len(efp_graphs()) == 1000
        assert efp_graphs()[0] == ()

    def test_those_of_few_edges_come_first(self) -> None:
        for degree in range(7):
            assert efp_graphs(degree) == efp_graphs(7)[: sum(ALL[: degree + 1])]

    def test_their_order_stays_as_saved_models_have_it(self) -> None:
        digest = sha256(repr(efp_graphs()).encode()).hexdigest()
        assert digest == "62591717494b11975e8807d49b19aa28acfcb5c761c8a40f6e7685f5f6ba3e89"

    def test_connected_ones_come_first_and_then_products_of_them(self) -> None:
        for graph, factors in zip(efp_graphs(6), efp_factors(6), strict=True):
            parts = sorted(map(len, networkx.connected_components(as_networkx(graph))))
            sizes = [1 + max(map(max, prime_graphs(6)[k])) for k in factors]
            assert sorted(sizes) == parts
        for degree in range(1, 7):
            connected = [len(f) == 1 for g, f in zip(efp_graphs(6), efp_factors(6), strict=True)
                         if len(g) == degree]  # fmt: skip
            assert connected == sorted(connected, reverse=True)

    def test_isomorphism_is_that_of_networkx(self) -> None:
        graphs = [graph for graph in efp_graphs(5) if len(graph) == 5]
        for one, other in product(graphs, graphs):
            assert is_isomorphic(one, other) == same(one, other) == (one == other)

    @pytest.mark.parametrize("seed", range(3))
    def test_names_of_vertices_and_order_of_edges_make_no_difference(self, seed) -> None:
        rng = np.random.default_rng(seed)
        for graph in prime_graphs(6):
            names = rng.permutation(1 + max(map(max, graph))).tolist()
            other = [(names[j], names[i]) for i, j in rng.permutation(graph)]
            assert is_isomorphic(graph, other)

    @pytest.mark.parametrize("degree", [-1, 8, 2.5])
    def test_other_degrees_are_refused(self, degree) -> None:
        for function in (efp_graphs, prime_graphs, efp_factors, program):
            with pytest.raises(ValueError, match=f"max_degree should be 0 to 7, not {degree}"):
                function(degree)


class TestProgram:
    def test_each_step_comes_after_those_that_it_needs(self) -> None:
        made: Program = program(7)
        for i, step in enumerate(made.steps):
            one: Step = step
            assert max(one[1:]) < 8 + i
        assert max(map(max, made.results)) < 8 + len(made.steps)

    def test_489_graphs_share_few_steps(self) -> None:
        kinds = [step[0] for step in program(7).steps]
        counts = {kind: kinds.count(kind) for kind in (TIMES, APPLY, JOIN, CHAIN, FLIP, TETRA)}
        assert len(program(7).results) == 489
        assert counts[APPLY] <= 130
        assert counts[CHAIN] <= 11
        assert counts[TETRA] == 1


class TestValues:
    @pytest.mark.parametrize(("number", "max_degree"), [(0, 7), (1, 4), (2, 4)])
    def test_they_are_those_of_energyflow(self, number, max_degree) -> None:
        reference = np.load(REFERENCE)
        beta, kappa = reference[f"measure_{number}"]
        p4, offsets = reference["p4"], reference["offsets"]
        assert np.diff(offsets).tolist() == [1, 2, 5, 30, 100, 200]
        order = places(reference, number, max_degree)
        expected = reference[f"polynomials_{number}"][:, order]
        got = energy_flow_polynomials(p4, offsets, max_degree, beta, kappa)
        # The empty graph has no vertex here, and one, with the sum of z, there.
        np.testing.assert_allclose(got[:, 1:], expected[:, 1:], rtol=1e-9, atol=0)
        np.testing.assert_array_equal(got[:, 0], 1)

    @pytest.mark.parametrize("count", [1, 2, 3, 6])
    @pytest.mark.parametrize(("beta", "kappa"), [(0.5, 1), (1, 1), (2, 1), (1.3, 2)])
    def test_they_are_sums_over_all_indices(self, count, beta, kappa) -> None:
        p4 = jet(count, seed=count)
        few = [i for i, graph in enumerate(efp_graphs(4)) if max(map(max, graph), default=0) < 5]
        expected = [by_definition(efp_graphs(4)[i], p4, beta, kappa) for i in few]
        got = polynomials(p4, 4, beta=beta, kappa=kappa)[few]
        np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-300)

    def test_graphs_of_7_edges_are_sums_over_all_indices_too(self) -> None:
        p4 = jet(3, seed=1)
        got = polynomials(p4)
        for graph, value in zip(efp_graphs(), got, strict=True):
            if len(graph) > 5 and max(map(max, graph)) < 6:
                assert value == pytest.approx(by_definition(graph, p4, 0.5, 1), rel=1e-12)

    def test_the_complete_graph_of_four_has_its_own_way_for_any_number(self) -> None:
        graphs = efp_graphs()
        complete = ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
        for more in ((), ((0, 1),), ((0, 4),)):
            place = next(i for i, g in enumerate(graphs) if is_isomorphic(g, (*complete, *more)))
            for count in (4, 9, 17, 66):
                z, theta = measure(jet(count), 0.5, 1)
                t, weight = theta.copy(), z.copy()
                if more == ((0, 1),):
                    t = theta**2
                elif more:
                    weight = z * (theta @ z)
                expected = np.einsum(
                    "a,b,c,d,ab,ac,ad,bc,bd,cd->",
                    *(weight, z, z, z), *(t, theta, theta, theta, theta, theta),
                    optimize=True,
                )  # fmt: skip
                assert polynomials(jet(count))[place] == pytest.approx(expected, rel=1e-12)

    def test_jets_of_a_batch_do_not_know_of_one_another(self) -> None:
        counts = [0, 1, 40, 3, 0, 90, 8, 64, 65, 2]
        jets = [jet(count, seed=i) for i, count in enumerate(counts)]
        together = energy_flow_polynomials(np.concatenate(jets), np.cumsum([0, *counts]), 6)
        alone = [polynomials(one, 6) for one in jets]
        np.testing.assert_array_equal(together, alone)

    def test_the_order_of_constituents_makes_no_difference(self) -> None:
        p4 = jet(50)
        shuffled = p4[np.random.default_rng(0).permutation(50)]
        np.testing.assert_allclose(polynomials(shuffled), polynomials(p4), rtol=1e-12)

    def test_without_constituents_or_with_one_only_the_empty_graph_counts(self) -> None:
        for p4 in (jet(0), jet(1), np.zeros((3, 4))):
            np.testing.assert_array_equal(polynomials(p4), np.eye(1000)[0])

    def test_no_jets_have_no_polynomials(self) -> None:
        assert energy_flow_polynomials(np.zeros((0, 4)), [0]).shape == (0, 1000)
        assert energy_flow_polynomials(jet(3), [0, 3], 0).tolist() == [[1.0]]

    def test_momenta_in_float32_are_taken_as_they_are(self) -> None:
        p4 = jet(20).astype(np.float32)
        np.testing.assert_array_equal(polynomials(p4), polynomials(p4.astype(np.float64)))

    def test_where_rounding_left_no_rapidity_the_pseudorapidity_is_taken(self) -> None:
        forward = np.array([[1000.0, 0.01, 0, 1000.0], [10, 9, 0, 4]])
        massless = forward.copy()
        massless[0, 0] = np.hypot(0.01, 1000)
        np.testing.assert_allclose(polynomials(forward, 3), polynomials(massless, 3), rtol=1e-6)


class TestSafety:
    """Infrared and collinear, with kappa = 1."""

    @pytest.mark.parametrize("beta", [0.5, 1, 2])
    def test_a_soft_constituent_makes_no_difference(self, beta) -> None:
        p4 = jet(25)
        soft = momenta(1e-12, 1.0, 2.0, 0.0)[None]
        got = polynomials(np.concatenate([p4[:7], soft, p4[7:]]), beta=beta)
        np.testing.assert_allclose(got, polynomials(p4, beta=beta), rtol=1e-10, atol=0)

    @pytest.mark.parametrize("beta", [0.5, 1, 2])
    @pytest.mark.parametrize("share", [0.5, 0.9, 0.01])
    def test_a_collinear_splitting_makes_no_difference(self, beta, share) -> None:
        p4 = jet(25)
        for i in (0, 24):
            split = np.concatenate([p4[:i], [share * p4[i]], p4[i + 1 :], [(1 - share) * p4[i]]])
            # Of the angle between the two, which is 0, rounding leaves 1e-16, which matters to a
            # power of 0.25.
            got, expected = polynomials(split, beta=beta), polynomials(p4, beta=beta)
            np.testing.assert_allclose(got, expected, rtol=1e-10 if beta > 0.5 else 1e-7, atol=0)

    def test_a_collinear_splitting_without_rounding_makes_no_difference(self) -> None:
        p4 = jet(25)
        split = np.concatenate([p4[1:], [0.5 * p4[0]], [0.25 * p4[0]], [0.25 * p4[0]]])
        np.testing.assert_allclose(polynomials(split), polynomials(p4), rtol=1e-10, atol=0)

    def test_with_kappa_2_they_are_not_safe(self) -> None:
        p4 = jet(25)
        split = np.concatenate([p4[1:], [0.5 * p4[0]], [0.5 * p4[0]]])
        got, expected = polynomials(split, 3, kappa=2), polynomials(p4, 3, kappa=2)
        assert np.all(np.abs(got - expected)[1:] > 1e-3 * expected[1:])

    def test_boosts_and_rotations_about_the_beam_make_no_difference(self) -> None:
        p4 = jet(25)
        e, px, py, pz = p4.T
        c, s, ch, sh = np.cos(2), np.sin(2), np.cosh(0.7), np.sinh(0.7)
        turned = np.stack([ch * e + sh * pz, c * px - s * py, s * px + c * py, sh * e + ch * pz], 1)
        np.testing.assert_allclose(polynomials(turned), polynomials(p4), rtol=1e-10)


@pytest.mark.parametrize(
    ("p4", "ptr", "told"),
    [
        (np.zeros((3, 3)), [0, 3], r"p4 should have shape \(N, 4\), not \(3, 3\)"),
        (np.zeros(4), [0, 1], "p4 should have shape"),
        (np.zeros((3, 4)), [0, 2], "from 0 to the 3 rows"),
        (np.zeros((3, 4)), [1, 3], "from 0 to the 3 rows"),
        (np.zeros((3, 4)), [0, 2, 1, 3], "from 0 to the 3 rows"),
        (np.zeros((3, 4)), [], "from 0 to the 3 rows"),
    ],
)
def test_shapes_that_do_not_fit_are_told(p4, ptr, told) -> None:
    with pytest.raises(ValueError, match=told):
        energy_flow_polynomials(p4, ptr)


def test_beta_is_positive() -> None:
    with pytest.raises(ValueError, match="beta should be > 0, not 0"):
        energy_flow_polynomials(jet(3), [0, 3], beta=0)


def measure(p4: np.ndarray, beta: float, kappa: float) -> tuple[np.ndarray, np.ndarray]:
    pt, y = np.hypot(p4[:, 1], p4[:, 2]), np.arctanh(p4[:, 3] / p4[:, 0])
    azimuth = np.arctan2(p4[:, 2], p4[:, 1])
    turns = np.exp(1j * (azimuth[:, None] - azimuth))
    theta = ((y[:, None] - y) ** 2 + np.angle(turns) ** 2) ** (beta / 2)
    np.fill_diagonal(theta, 0)
    return (pt / pt.sum()) ** kappa, theta


def by_definition(graph: Graph, p4: np.ndarray, beta: float, kappa: float) -> float:
    z, theta = measure(p4, beta, kappa)
    total = 0.0
    vertices = 1 + max(map(max, graph), default=-1)
    for indices in product(range(len(p4)), repeat=vertices):
        term = np.prod([z[i] for i in indices])
        for k, j in graph:
            term *= theta[indices[k], indices[j]]
        total += term
    return total
