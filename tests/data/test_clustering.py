"""Sequential recombination against FastJet."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch

from hepgen.data.clustering import POWERS, Trees, cluster, recombine
from hepgen.data.constituents import Constituents
from hepgen.io import read
from tests.data.momenta import components, fastjet_sequence, jet, offsets_of, splittings

HARD = [1.0, 0.0, -1.0, 0.5]


@pytest.fixture(scope="module")
def fastjet() -> Any:
    return pytest.importorskip("fastjet", reason="needs FastJet: pip install 'hepgen[pythia]'")


def trees_of(jets: list[np.ndarray], power: float, radius: float | None = None) -> Trees:
    momenta = torch.from_numpy(np.concatenate([np.empty((0, 4)), *jets]))
    return cluster(momenta, torch.from_numpy(offsets_of(jets)), power, radius)


def nodes_of(trees: Trees) -> dict[frozenset[int], int]:
    """Rows of all constituents below a merging -> its row."""
    below = [frozenset([row]) for row in range(len(trees.levels) // 2)]
    below += [frozenset()] * len(below)
    found = {}
    for row, level in enumerate(trees.levels.tolist()):
        if level > 0:
            one, other = trees.children[row].tolist()
            below[row] = below[one] | below[other]
            found[below[row]] = row
    return found


def assert_same_as_fastjet(fastjet: Any, p4: np.ndarray, power: float, radius: float | None):
    trees = trees_of([p4], power, radius)
    sequence = fastjet_sequence(fastjet, p4, power, radius)
    jets = sequence.inclusive_jets()
    expected, got = splittings(fastjet, jets), nodes_of(trees)
    assert got.keys() == expected.keys()
    for rows, (node, harder, softer) in expected.items():
        pair = trees.p4[trees.children[got[rows]]]
        np.testing.assert_allclose(trees.p4[got[rows]], components(node), rtol=1e-11, atol=1e-11)
        np.testing.assert_allclose(
            pair, [components(harder), components(softer)], rtol=1e-11, atol=1e-11
        )
    inclusive = trees.p4[trees.roots].numpy()
    assert len(inclusive) == len(jets)
    by_energy = sorted(map(components, jets))
    np.testing.assert_allclose(inclusive[inclusive[:, 0].argsort()], by_energy, rtol=1e-11)


@pytest.mark.parametrize("radius", [None, 0.2, 1.0])
@pytest.mark.parametrize("power", HARD)
def test_histories_and_momenta_are_those_of_fastjet(fastjet, power, radius) -> None:
    for count in [*range(1, 12), 19, 30, 47, 64, 101, 150, 200]:
        assert_same_as_fastjet(fastjet, jet(count), power, radius)


@pytest.mark.parametrize("radius", [None, 0.3])
@pytest.mark.parametrize("power", HARD)
def test_jets_of_simulated_events_are_those_of_fastjet(fastjet, power, radius) -> None:
    constituents = Constituents.of(read("data_samples/top_qcd.root")[:50])
    columns = [getattr(constituents, name) for name in ("energy", "px", "py", "pz")]
    p4 = np.stack(columns, axis=1).astype(np.float64)
    for start, stop in itertools.pairwise(constituents.offsets):
        assert_same_as_fastjet(fastjet, p4[start:stop], power, radius)


@pytest.mark.parametrize("power", POWERS.values(), ids=list(POWERS))
@pytest.mark.parametrize("radius", [None, 0.4])
def test_the_arrays_describe_trees(power, radius) -> None:
    counts = [0, 1, 2, 3, 50, 0, 120]
    jets = [jet(count) for count in counts]
    offsets = offsets_of(jets)
    trees = trees_of(jets, power, radius)
    size = sum(counts)
    torch.testing.assert_close(trees.p4[:size], torch.from_numpy(np.concatenate(jets)))
    assert (trees.levels[:size] == 0).all()
    assert (trees.children[:size] == -1).all()
    for number, (start, stop) in enumerate(itertools.pairwise(offsets.tolist())):
        rows = range(size + start, size + stop)
        made = [row for row in rows if trees.levels[row] > 0]
        assert made == list(rows)[: len(made)]
        roots = int(trees.roots[start:stop].sum() + trees.roots[rows].sum())
        assert len(made) + roots == counts[number]
        assert radius is not None or roots == min(1, counts[number])
        for row in made:
            children = trees.children[row].tolist()
            assert all(start <= child < stop or size + start <= child < row for child in children)
            assert trees.parents[children].tolist() == [row, row]
            assert trees.levels[row] == 1 + trees.levels[children].max()
            torch.testing.assert_close(trees.p4[row], trees.p4[children].sum(0), rtol=0, atol=0)
            hard, soft = trees.p4[children, 1:3].square().sum(1)
            assert hard >= soft
    nothing = trees.levels < 0
    assert (trees.parents[nothing] == -1).all()
    assert (trees.p4[nothing] == 0).all()
    assert not trees.roots[nothing].any()


def on_a_grid(count: int, seed: int) -> np.ndarray:
    """Constituents in the cells of a calorimeter: many distances and momenta are equal."""
    rng = np.random.default_rng([seed, count])
    y, phi = rng.integers(-3, 4, (2, count)) * 0.125
    pt = rng.integers(1, 4, count) * 1.0
    return np.stack([pt * np.cosh(y), pt * np.cos(phi), pt * np.sin(phi), pt * np.sinh(y)], axis=1)


@pytest.mark.parametrize("power", HARD)
@pytest.mark.parametrize("radius", [None, 0.25])
def test_trees_do_not_depend_on_the_order_of_constituents(power, radius) -> None:
    for count in (2, 5, 60):
        p4 = on_a_grid(count, 1)
        momenta = []
        for seed in range(4):
            order = np.random.default_rng(seed).permutation(count)
            trees = trees_of([p4[order]], power, radius)
            momenta.append(trees.p4[count:])
        for other in momenta[1:]:
            torch.testing.assert_close(other, momenta[0], rtol=0, atol=0)


def test_trees_do_not_depend_on_the_other_jets() -> None:
    jets = [jet(count) for count in (30, 1, 0, 60, 45)]
    together, size = trees_of(jets, 0.0), sum(map(len, jets))
    for number, (start, stop) in enumerate(itertools.pairwise(offsets_of(jets).tolist())):
        alone = trees_of([jets[number]], 0.0)
        rows = [*range(start, stop), *range(size + start, size + stop)]
        torch.testing.assert_close(together.p4[rows], alone.p4, rtol=0, atol=0)
        torch.testing.assert_close(together.levels[rows], alone.levels, rtol=0, atol=0)


def test_of_equal_distances_that_of_the_hardest_is_first() -> None:
    # Four of the same direction, two of the same momentum: all distances are zero.
    p4 = np.array([[1.0], [3.0], [2.0], [3.0]]) * [np.cosh(0.5), 1, 0, np.sinh(0.5)]
    assert trees_of([p4], 0.0).children[4].tolist() == [1, 3]


@pytest.mark.parametrize("power", [*HARD, -0.5, 2.0])
@pytest.mark.parametrize("radius", [None, 0.4])
def test_odd_momenta_are_clustered_all_the_same(power, radius) -> None:
    odd = np.array(
        [
            [5.0, 0, 0, 5],  # along the beam
            [7.0, 0, 0, -7],
            [7.0, 0, 0, 7],
            [4.999, 0, 0, 5],  # below its mass shell
            [0.0, 0, 0, 0],
            [0.0, 0, 0, 0],
            [3.0, 0, 0, 0],  # at rest
            [1.0, 1, 0, 0],  # massless
            [2.0, 2, 0, 0],  # and exactly collinear
            [1e-30, 1e-30, 0, 0],
            [1e-200, 0, 1e-200, 0],
            [1e8, 0, 1e8, 0],
            [-1.0, 0.5, 0, 0.5],
            [-5.0, 1, 0, 2],
        ]
    )
    for rows in itertools.chain(
        itertools.combinations(range(len(odd)), 1),
        itertools.combinations(range(len(odd)), 2),
        [range(len(odd)), range(4), range(7), range(4, 12)],
    ):
        p4 = odd[list(rows)]
        trees = trees_of([p4, jet(3)], power, radius)
        merged = int((trees.levels[len(p4) + 3 :] > 0).sum())
        assert merged + int(trees.roots.sum()) == len(p4) + 3
        if radius is None:
            assert int(trees.roots.sum()) == 2


def test_what_is_not_a_number_is_clustered_too() -> None:
    p4 = jet(6)
    p4[2] = np.nan
    p4[4, 0] = np.inf
    for power in HARD:
        assert int(trees_of([p4], power).roots.sum()) == 1
    assert int(trees_of([p4 * np.nan], 1.0).roots.sum()) == 1


def test_no_jets_have_no_trees() -> None:
    for jets in ([], [jet(0)], [jet(0), jet(0)]):
        trees = trees_of(jets, 1.0)
        assert [len(part) for part in trees] == [0, 0, 0, 0]


def test_float32_momenta_are_taken_and_no_gradient_flows() -> None:
    p4 = torch.from_numpy(jet(20)).float().requires_grad_()
    trees = cluster(p4, torch.tensor([0, 20]), 0.0)
    assert trees.p4.dtype == torch.float64
    assert not trees.p4.requires_grad
    expected = cluster(p4.double(), torch.tensor([0, 20]), 0.0)
    torch.testing.assert_close(trees.p4, expected.p4, rtol=0, atol=0)


@pytest.mark.parametrize("radius", [0.0, -1.0, float("nan")])
def test_a_radius_below_zero_is_refused(radius) -> None:
    with pytest.raises(ValueError, match="radius should be above 0"):
        cluster(torch.zeros(3, 4), torch.tensor([0, 3]), 1.0, radius)


def test_the_operator_follows_the_rules_of_torch() -> None:
    arguments = (torch.from_numpy(jet(9)).float(), torch.tensor([0, 4, 4, 9]), -1.0, 0.4)
    torch.library.opcheck(torch.ops.hepgen.cluster.default, arguments)


def test_the_compiled_loop_can_be_called_from_python() -> None:
    arrays = recombine(jet(5), np.array([0, 5]), 1.0, np.inf)
    for got, expected in zip(arrays, trees_of([jet(5)], 1.0), strict=True):
        np.testing.assert_array_equal(got, expected)
