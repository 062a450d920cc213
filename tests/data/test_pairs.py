"""Unordered pairs against Python loops."""

from __future__ import annotations

import torch

from hepgen.data.pairs import pair_places, unordered_pairs
from hepgen.taggers.dense import places

PTR = torch.tensor([0, 3, 3, 4, 8])


def test_pairs_are_the_lower_triangle_of_each_jet() -> None:
    expected = [
        (i, j)
        for start, stop in zip(PTR[:-1].tolist(), PTR[1:].tolist(), strict=True)
        for i in range(start, stop)
        for j in range(start, i + 1)
    ]
    assert unordered_pairs(PTR).T.tolist() == [list(pair) for pair in expected]


def test_places_of_pairs_are_symmetric_and_empty_where_a_constituent_lacks() -> None:
    pairs, rows = unordered_pairs(PTR), pair_places(PTR, places(PTR))
    assert rows.shape == (4, 4, 4)
    assert (rows == rows.mT).all()
    for jet, (start, stop) in enumerate(zip(PTR[:-1].tolist(), PTR[1:].tolist(), strict=True)):
        for i in range(4):
            for j in range(4):
                row = int(rows[jet, i, j])
                if max(i, j) >= stop - start:
                    assert row == -1
                else:
                    assert pairs[:, row].tolist() == [start + max(i, j), start + min(i, j)]


def test_no_jets_have_no_pairs() -> None:
    assert unordered_pairs(torch.tensor([0])).shape == (2, 0)
    for ptr, expected in ((torch.tensor([0]), []), (torch.tensor([0, 0]), [[[-1, -1], [-1, -1]]])):
        assert pair_places(ptr, places(ptr)).tolist() == expected


def test_the_operator_keeps_the_rules_of_torch() -> None:
    torch.library.opcheck(torch.ops.hepgen.unordered_pairs.default, (PTR,))
