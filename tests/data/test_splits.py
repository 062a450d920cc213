"""Divisions of jets."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hepgen.data import split
from hepgen.io.errors import EmptyInput, MissingName


def jets_of_files(sizes: dict[str, int], per_entry: int = 1) -> ak.Array:
    files = list(sizes)
    entry = [np.arange(size).repeat(per_entry) for size in sizes.values()]
    index = [np.full(len(e), i) for i, e in enumerate(entry)]
    fields = {"entry": np.concatenate(entry), "file_index": np.concatenate(index)}
    return ak.Array(fields, attrs={"files": files})


def names(jets: ak.Array) -> set[tuple[str, int]]:
    files = jets.attrs["files"]
    return {
        (files[i], e) for i, e in zip(jets.file_index.tolist(), jets.entry.tolist(), strict=True)
    }


@given(st.integers(8, 300), st.integers(0, 2**40))
def test_parts_are_disjoint_complete_and_of_the_wanted_size(count: int, seed: int) -> None:
    parts = split(count, (0.5, 0.25, 0.25), seed=seed)
    assert sorted(np.concatenate(parts).tolist()) == list(range(count))
    for part, share in zip(parts, (0.5, 0.25, 0.25), strict=True):
        assert abs(len(part) - share * count) <= 1
        assert (np.diff(part) > 0).all()


def test_a_seed_always_gives_the_same_division() -> None:
    # These numbers are the contract: a model trained yesterday must not see its test jets tomorrow.
    assert split(12, (0.5, 0.5), seed=0)[1].tolist() == [0, 1, 2, 6, 8, 9]
    assert split(12, (0.5, 0.5), seed=1)[1].tolist() != [0, 1, 2, 6, 8, 9]


def test_parts_are_random() -> None:
    first, second = split(100_000, (0.5, 0.5), seed=3)
    # Neighbours are in the same part half of the time: 0.5 +- 0.0016, here within 4 sigma.
    side = np.zeros(100_000)
    side[second] = 1
    assert abs((side[1:] == side[:-1]).mean() - 0.5) < 0.0064
    assert abs(first.mean() - 50_000) < 4 * 100_000 / np.sqrt(12 * 100_000)


def test_the_order_of_the_files_changes_nothing() -> None:
    one = split(jets_of_files({"d/a.root": 50, "d/b.root": 70}), (0.6, 0.4), seed=5)
    two = split(jets_of_files({"e/b.root": 70, "e/a.root": 50}), (0.6, 0.4), seed=5)
    for part, other in zip(one, two, strict=True):
        renamed = {(name.replace("e/", "d/"), entry) for name, entry in names(other)}
        assert names(part) == renamed


def test_files_of_the_same_name_are_told_apart() -> None:
    jets = jets_of_files({"top/jets.root": 50, "qcd/jets.root": 50})
    assert len(split(jets, (0.5, 0.5), by="file")) == 2


def test_jets_of_one_entry_stay_together() -> None:
    parts = split(jets_of_files({"a.root": 100, "b.root": 30}, per_entry=3), (0.7, 0.3), seed=1)
    assert not names(parts[0]) & names(parts[1])
    assert sum(map(len, parts)) == 390
    assert len(parts[1]) == 39 * 3


def test_whole_files_are_shared_out() -> None:
    jets = jets_of_files({f"{i}.root": 10 + i for i in range(20)})
    parts = split(jets, (0.8, 0.1, 0.1), by="file", seed=1)
    files = [{name for name, _ in names(part)} for part in parts]
    assert sum(map(len, files)) == len(set.union(*files)) == 20
    for part, share in zip(parts, (0.8, 0.1, 0.1), strict=True):
        assert abs(len(part) / len(jets) - share) < 0.05


def test_jets_that_tell_no_files_are_divided_by_position() -> None:
    jets = ak.Array({"pt": np.arange(10.0)})
    parts = split(jets, (0.5, 0.5), seed=2)
    assert [part.pt.tolist() for part in parts] == [
        p.tolist() for p in split(10, (0.5, 0.5), seed=2)
    ]


def test_unusable_divisions_are_refused() -> None:
    with pytest.raises(ValueError, match="add up to 1"):
        split(10, (0.5, 0.6))
    with pytest.raises(ValueError, match="add up to 1"):
        split(10, (1.5, -0.5))
    with pytest.raises(ValueError, match="'entry' or 'file'"):
        split(10, (0.5, 0.5), by="event")  # type: ignore[call-overload]
    with pytest.raises(ValueError, match="by file"):
        split(10, (0.5, 0.5), by="file")
    with pytest.raises(EmptyInput, match=r"share 0\.1 gets none of 2 jets"):
        split(2, (0.9, 0.1))
    with pytest.raises(MissingName, match="file_index"):
        split(ak.Array({"pt": [1.0]}), (1.0,), by="file")
    assert [len(part) for part in split(2, (1.0, 0.0))] == [2, 0]
