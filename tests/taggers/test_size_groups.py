"""Groups of jets of about the same size."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import nn

from hepgen.data.pairs import unordered_pairs
from hepgen.taggers.size_groups import SizeGroups, groups_apply

PTR = torch.tensor([0, 5, 5, 8, 18, 20, 21])


def test_groups_are_of_like_jets_none_too_large() -> None:
    groups = SizeGroups(PTR, 21, 6)
    sizes = [group.diff().tolist() for group in groups.groups]
    assert sizes == [[0, 1, 2, 3], [5], [10]]
    assert groups.ptr.diff().tolist() == [0, 1, 2, 3, 5, 10]


def test_what_was_sorted_comes_back_in_the_order_of_the_batch() -> None:
    groups = SizeGroups(PTR, 21, 6)
    values = torch.arange(42.0).view(21, 2)
    torch.testing.assert_close(groups.join_rows(groups.rows(groups.sort(values))), values)
    sums = [
        torch.stack([part[a:b].sum() for a, b in pairwise(ptr)])
        for part, ptr in zip(groups.rows(groups.sort(values)), groups.groups, strict=True)
    ]
    expected = torch.stack([values[a:b].sum() for a, b in pairwise(PTR)])
    torch.testing.assert_close(groups.join_jets(sums), expected)


def test_pairs_are_those_of_the_sorted_jets() -> None:
    groups = SizeGroups(PTR, 21, 6)
    pairs = groups.pairs(unordered_pairs(groups.ptr).T)
    for part, ptr in zip(pairs, groups.groups, strict=True):
        expected = unordered_pairs(ptr).T
        torch.testing.assert_close(part - part[:1], expected - expected[:1])


def test_threads_give_the_same_with_gradients_and_without() -> None:
    groups = SizeGroups(PTR, 21, 6)
    module = nn.Linear(2, 3)
    parts = groups.rows(groups.sort(torch.randn(21, 2)))
    expected = [module(part) * len(ptr) for part, ptr in zip(parts, groups.groups, strict=True)]
    work = lambda x, ptr: module(x) * len(ptr)  # noqa: E731
    with torch.no_grad():
        plain = groups.map(work, parts)
    alone = groups.map(work, parts, threads=False)
    for results in (plain, alone, groups.map_trained(module, work, parts)):
        for one, other in zip(results, expected, strict=True):
            torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_no_jets_are_one_group() -> None:
    groups = SizeGroups(torch.tensor([0]), 0, 6)
    assert [group.tolist() for group in groups.groups] == [[0]]
    assert groups.join_rows(groups.rows(torch.zeros(0, 3))).shape == (0, 3)


def test_groups_are_for_constituents_on_a_cpu() -> None:
    assert groups_apply(torch.zeros(1, 2))
    assert not groups_apply(torch.zeros(0, 2))
    assert not groups_apply(torch.zeros(1, 2, device="meta"))
