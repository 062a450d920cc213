"""Neighbours and pairs inside jets, against sklearn, torch and slow loops."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.neighbors import NearestNeighbors
from torch import Tensor
from torch_geometric.nn import EdgeConv

from hepgen.data import all_pairs, knn, knn_edges
from hepgen.data.graphs import knn_padded

sizes = st.lists(st.integers(0, 60), max_size=6)


def points(counts: list[int], dimension: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    ptr = torch.tensor([0, *np.cumsum(counts).tolist()])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(int(ptr[-1]), dimension, generator=generator), ptr


def slowly(x: Tensor, ptr: Tensor, k: int) -> list[list[int]]:
    """Exact neighbours with ties by position, by sorting in float64."""
    rows = []
    for start, stop in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        for i in range(start, stop):
            distance = ((x[start:stop].double() - x[i].double()) ** 2).sum(1).tolist()
            others = [j for j in range(start, stop) if j != i]
            near = sorted(others, key=lambda j: (distance[j - start], j))[:k]
            rows.append(near + [-1] * (k - len(near)))
    return rows


@pytest.mark.parametrize("method", [knn, knn_padded])
@pytest.mark.parametrize("dimension", [1, 2, 3, 5, 64, 128])
@pytest.mark.parametrize("k", [1, 7, 16])
def test_neighbours_are_those_of_sklearn(method: object, dimension: int, k: int) -> None:
    counts = [60, k + 1, 130]
    x, ptr = points(counts, dimension)
    found = method(x, ptr, k)  # type: ignore[operator]
    assert found.shape == (sum(counts), k)
    for start, stop in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        jet = x[start:stop].double().numpy()
        _, expected = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(jet).kneighbors()
        assert (found[start:stop].numpy() - start == expected).mean() > 0.999


@given(sizes, st.integers(1, 20), st.sampled_from([1, 2, 4, 9]))
def test_neighbours_are_those_of_a_slow_loop(counts: list[int], k: int, dimension: int) -> None:
    x, ptr = points(counts, dimension)
    # Coordinates on a coarse grid, so that many distances are equal, and exact in float32.
    x = torch.round(x * 4) / 4
    assert knn(x, ptr, k).tolist() == slowly(x, ptr, k)


@given(sizes, st.integers(1, 20))
def test_the_padded_form_finds_the_same_distances(counts: list[int], k: int) -> None:
    x, ptr = points(counts, 3)
    one, two = knn(x, ptr, k), knn_padded(x, ptr, k)
    assert torch.equal(one < 0, two < 0)
    distances = [((x[near] - x[:, None]) ** 2).sum(2) for near in (one, two)]
    there = one >= 0
    torch.testing.assert_close(distances[0][there], distances[1][there])


@pytest.mark.parametrize("count", [5, 33, 64, 200])
def test_equal_points_come_in_order(count: int) -> None:
    x, ptr = torch.zeros(count, 2), torch.tensor([0, count])
    expected = [[j for j in range(count) if j != i][:4] for i in range(count)]
    assert knn(x, ptr, 4).tolist() == expected


def test_neighbours_do_not_depend_on_the_other_jets() -> None:
    x, ptr = points([40, 70, 3, 50], 2)
    together = knn(x, ptr, 16)
    for start, stop in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True):
        alone = knn(x[start:stop], torch.tensor([0, stop - start]), 16)
        assert torch.equal(together[start:stop], torch.where(alone < 0, alone, alone + start))


def test_huge_and_missing_coordinates_make_no_false_neighbours() -> None:
    x, ptr = points([50], 2)
    x[7] = torch.nan
    x[8] = 1e30
    found = knn(x, ptr, 49)
    assert not (found[torch.arange(50) != 7] == 7).any()
    assert (found[7] == -1).all()
    assert found[0].tolist()[-2:] == [8, -1]


def test_other_precisions_and_strides_are_taken() -> None:
    x, ptr = points([30, 20], 6)
    assert torch.equal(knn(x.double(), ptr, 5), knn(x, ptr, 5))
    strided = x.t().contiguous().t()
    assert torch.equal(knn(strided, ptr, 5), knn(x, ptr, 5))
    assert knn(x.bfloat16(), ptr, 5).shape == (50, 5)
    assert not knn(x.requires_grad_(), ptr, 5).requires_grad


def test_k_below_one_is_refused() -> None:
    with pytest.raises(ValueError, match="k should be at least 1"):
        knn(*points([3], 2), 0)


def test_edges_go_from_neighbour_to_centre_and_feed_torch_geometric() -> None:
    x, ptr = points([20, 1, 0, 4], 2)
    edges = knn_edges(x, ptr, 3)
    near = knn(x, ptr, 3)
    expected = [(j, i) for i, row in enumerate(near.tolist()) for j in row if j >= 0]
    assert list(map(tuple, edges.t().tolist())) == expected
    assert EdgeConv(torch.nn.Linear(4, 5))(x, edges).shape == (25, 5)


@given(sizes, st.booleans())
def test_all_pairs_are_all_pairs(counts: list[int], loops: bool) -> None:
    ptr = torch.tensor([0, *np.cumsum(counts).tolist()])
    expected = [
        (i, j)
        for start, stop in zip(ptr[:-1].tolist(), ptr[1:].tolist(), strict=True)
        for i in range(start, stop)
        for j in range(start, stop)
        if i != j or loops
    ]
    assert list(map(tuple, all_pairs(ptr, loops=loops).t().tolist())) == expected


def test_operators_follow_the_rules_of_torch() -> None:
    x, ptr = points([10, 0, 5], 2)
    torch.library.opcheck(torch.ops.hepgen.knn.default, (x, ptr, 3))
    torch.library.opcheck(torch.ops.hepgen.all_pairs.default, (ptr,))
    torch.library.opcheck(torch.ops.hepgen.all_pairs.default, (ptr, True))


@pytest.mark.slow
def test_graphs_compile_without_a_break() -> None:
    x, ptr = points([10, 7], 2)
    compiled = torch.compile(
        lambda x, ptr: (knn(x, ptr, 4).sum(), all_pairs(ptr).sum()), fullgraph=True
    )
    assert compiled(x, ptr) == (knn(x, ptr, 4).sum(), all_pairs(ptr).sum())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_a_gpu_finds_the_same_graphs() -> None:
    x, ptr = points([60, 1, 0, 17], 2)
    assert torch.equal(knn(x.cuda(), ptr.cuda(), 16).cpu(), knn(x, ptr, 16))
    for loops in (False, True):
        assert torch.equal(all_pairs(ptr.cuda(), loops=loops).cpu(), all_pairs(ptr, loops=loops))
