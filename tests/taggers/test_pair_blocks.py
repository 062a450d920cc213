"""Functions of pairs, some jets at a time, against the same of all jets at once."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from hepgen.taggers import pair_blocks
from hepgen.taggers.pair_blocks import Axis, Pairs, flipped, over_pairs

sizes = st.lists(st.integers(0, 12), min_size=1, max_size=6)


def offsets(counts: list[int]) -> Tensor:
    return torch.tensor([0, *np.cumsum(counts).tolist()])


@given(sizes, st.booleans())
def test_pairs_know_their_nodes_their_jets_and_each_other(counts: list[int], loops: bool) -> None:
    pairs = Pairs.of(offsets(counts), sum(counts), loops=loops)
    jet = np.repeat(np.arange(len(counts)), counts)
    assert pairs.counts.tolist() == [counts[i] for i in jet]
    listed = list(zip(pairs.first.tolist(), pairs.second.tolist(), strict=True))
    n = len(jet)
    expected = [
        (i, j) for i in range(n) for j in range(n) if jet[i] == jet[j] and (loops or i != j)
    ]
    assert listed == expected
    if loops:
        assert [listed[row] for row in pairs.diagonal()] == [(i, i) for i in range(n)]
        assert [listed[row] for row in pairs.flip()] == [(j, i) for i, j in listed]


@pytest.mark.parametrize("loops", [False, True])
def test_blocks_are_whole_jets_and_cover_all(loops: bool, monkeypatch) -> None:
    monkeypatch.setattr(pair_blocks, "BLOCK", 100)
    counts = [0, 3, 9, 0, 20, 1, 1, 7, 7, 7, 0]
    pairs = Pairs.of(offsets(counts), sum(counts), loops=loops)
    blocks = pairs.blocks()
    assert len(blocks) > 3
    nodes = [i for some, _ in blocks for i in range(some.start, some.stop)]
    rows = [i for _, some in blocks for i in range(some.start, some.stop)]
    assert nodes == list(range(sum(counts)))
    assert rows == list(range(len(pairs.first)))
    for some, these in blocks:
        inside = pairs.first[these]
        assert ((inside >= some.start) & (inside < some.stop)).all()
        assert (pairs.ptr == some.stop).any()


TAKES: tuple[Axis, ...] = ("node", "pair", "pair", "node", "all", "all")
GIVES: tuple[Axis, ...] = ("pair", "node", "all")


def work(first, second, x, z, flip, diagonal, weight, unused):
    """Something of every kind."""
    both = torch.tanh(x[first] * z + flipped(z, flip) @ weight)
    summed = torch.zeros_like(x).index_add(0, first, both) + both[diagonal]
    return both, summed, both.square().sum(dim=0)


def inputs(pairs: Pairs) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    made = [
        torch.randn(pairs.nodes, 3, generator=generator, dtype=torch.float64),
        torch.randn(len(pairs.first), 3, generator=generator, dtype=torch.float64),
        pairs.flip(),
        pairs.diagonal(),
        torch.randn(3, 3, generator=generator, dtype=torch.float64),
        torch.randn(2, generator=generator, dtype=torch.float64),
    ]
    return [t.requires_grad_() if t.is_floating_point() else t for t in made]


def results(pairs: Pairs, call) -> list[Tensor]:
    tensors = inputs(pairs)
    outputs = call(tensors)
    torch.stack(
        [(o * torch.arange(o.numel()).view(o.shape)).sum() for o in outputs]
    ).sum().backward()
    gradients = [t.grad for t in tensors[:-1] if t.requires_grad]
    assert tensors[-1].grad is None or not tensors[-1].grad.any()
    return [*outputs, *gradients]


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("size", [1, 60, 10**6])
def test_values_and_gradients_are_those_of_all_jets_at_once(size, threads, monkeypatch) -> None:
    counts = [4, 0, 7, 1, 0, 11, 3, 3, 3, 5, 0, 2, 2, 6, 0]
    pairs = Pairs.of(offsets(counts), sum(counts), loops=True)
    expected = results(pairs, lambda t: work(pairs.first, pairs.second, *t))
    monkeypatch.setattr(pair_blocks, "BLOCK", size)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(threads)
        got = results(pairs, lambda t: over_pairs(work, pairs, TAKES, GIVES, *t))
    finally:
        torch.set_num_threads(before)
    for one, two in zip(got, expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-12, atol=1e-12)


def test_no_pairs_give_nothing() -> None:
    for counts in ([], [0, 0]):
        pairs = Pairs.of(offsets(counts), 0, loops=True)
        both, summed, total = over_pairs(work, pairs, TAKES, GIVES, *inputs(pairs))
        assert both.shape == summed.shape == (0, 3)
        assert not total.any()


def test_only_what_is_given_is_kept_for_the_backward_pass() -> None:
    pairs = Pairs.of(offsets([30, 40]), 70, loops=True)
    tensors, kept = inputs(pairs), []
    with torch.autograd.graph.saved_tensors_hooks(lambda t: kept.append(t) or t, lambda t: t):
        over_pairs(work, pairs, TAKES, GIVES, *tensors)
    assert {t.data_ptr() for t in kept} == {t.data_ptr() for t in tensors}


def test_a_function_of_pairs_is_differentiated_as_its_finite_differences(monkeypatch) -> None:
    monkeypatch.setattr(pair_blocks, "BLOCK", 10)
    pairs = Pairs.of(offsets([3, 0, 2, 1]), 6, loops=True)
    x, z, flip, diagonal, weight, unused = inputs(pairs)

    def call(x, z, weight):
        return over_pairs(work, pairs, TAKES, GIVES, x, z, flip, diagonal, weight, unused)

    assert torch.autograd.gradcheck(call, (x, z, weight))
