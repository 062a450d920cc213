"""Jets for training, validation and test, divided by a hash and not by position.

Where a jet goes depends on the seed, the name of its file and its entry there. The order of the
files, and whether they were read together, changes nothing about the order of the hashes; jets of
one event go together.

Shapes: B jets, G groups of jets that go together.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Any, Literal, overload

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.io.errors import EmptyInput, MissingName

__all__ = ["split"]

Indices = NDArray[np.int64]
Hashes = NDArray[np.uint64]


@overload
def split(
    jets: int, fractions: Sequence[float], *, by: Literal["entry", "file"] = ..., seed: int = ...
) -> tuple[Indices, ...]: ...


@overload
def split(
    jets: ak.Array,
    fractions: Sequence[float],
    *,
    by: Literal["entry", "file"] = ...,
    seed: int = ...,
) -> tuple[Any, ...]: ...


def split(
    jets: int | ak.Array,
    fractions: Sequence[float],
    *,
    by: Literal["entry", "file"] = "entry",
    seed: int = 0,
) -> tuple[Any, ...]:
    """Divides jets into disjoint parts that are all of them.

    Args:
        jets: as `hepgen.io.read` gives them, or the number of jets B.
        fractions: share of each part; they add up to 1.
        by: "entry" divides the entries of the files, to the nearest whole one, and jets of one
            entry go together; "file" divides the files, so that the shares of jets are met only
            as well as whole files allow.
        seed: another one gives another division; >= 0.

    Returns:
        One part for each fraction, in the order that the jets have: jets, or for a number of jets
        their indices, int64.

    Raises:
        ValueError: fractions that are negative or do not add up to 1, or an unknown ``by``.
        EmptyInput: a part with a share above 0 gets no jets.
        MissingName: division by file, and the jets do not tell their files.
    """
    shares = np.asarray(fractions, np.float64)
    if shares.ndim != 1 or not (shares >= 0).all() or abs(shares.sum() - 1) > 1e-6:
        raise ValueError(f"fractions should be 0 or more and add up to 1, not {list(fractions)}")
    if by not in ("entry", "file"):
        raise ValueError(f"by should be 'entry' or 'file', not {by!r}")
    if isinstance(jets, (int, np.integer)):
        if by == "file":
            raise ValueError("a number of jets cannot be divided by file; give the jets")
        hashes = _mix(np.arange(jets, dtype=np.uint64), seed)
        part = _by_rank(hashes, shares)
    elif by == "entry":
        part = _by_rank(_entry_hashes(jets, seed), shares)
    else:
        part = _by_file(_file_hashes(jets, seed), shares)
    indices = [np.flatnonzero(part == i) for i in range(len(shares))]
    for index, share in zip(indices, shares, strict=True):
        if share > 0 and len(index) == 0:
            total = jets if isinstance(jets, (int, np.integer)) else len(jets)
            raise EmptyInput(f"a part of share {share:g} gets none of {total} jets (by {by})")
    if isinstance(jets, (int, np.integer)):
        return tuple(indices)
    return tuple(jets[index] for index in indices)


def _by_rank(hashes: Hashes, shares: NDArray[np.float64]) -> Indices:
    """Part of each jet: the groups of equal hash, in the order of the hashes, are cut to shares."""
    groups, group = np.unique(hashes, return_inverse=True)
    edges = np.rint(np.cumsum(shares) * len(groups))
    return np.searchsorted(edges[:-1], np.arange(len(groups)), "right")[group]


def _by_file(hashes: Hashes, shares: NDArray[np.float64]) -> Indices:
    """Part of each jet: file by file, largest first, to the part that lacks most of its share."""
    _, file, counts = np.unique(hashes, return_inverse=True, return_counts=True)
    lacking = shares * len(hashes)
    part = np.zeros(len(counts), np.int64)
    for i in np.argsort(-counts, kind="stable"):
        part[i] = np.argmax(lacking)
        lacking[part[i]] -= counts[i]
    return part[file]


def _entry_hashes(jets: ak.Array, seed: int) -> Hashes:
    if "entry" not in ak.fields(jets):
        return _mix(np.arange(len(jets), dtype=np.uint64), seed)
    entry = ak.to_numpy(jets["entry"]).astype(np.uint64)
    if "file_index" in ak.fields(jets):
        return _mix(entry, _file_hashes(jets, seed))
    return _mix(entry, seed)


def _file_hashes(jets: ak.Array, seed: int) -> Hashes:
    if "file_index" not in ak.fields(jets):
        raise MissingName.among("file_index", ak.fields(jets), kind="field", where="these jets")
    index = ak.to_numpy(jets["file_index"]).astype(np.int64)
    names = _names([str(file) for file in jets.attrs.get("files", [])])
    names += [str(i) for i in range(len(names), int(index.max(initial=-1)) + 1)]
    digests = [hashlib.blake2b(name.encode(), digest_size=8).digest() for name in names]
    table = np.array([int.from_bytes(digest, "little") for digest in digests], np.uint64)
    return _mix(table[index], seed)


def _names(files: Sequence[str]) -> list[str]:
    """The files without folders, for they may be moved, as far as that tells them apart."""
    names: list[str] = []
    for depth in range(1, max((file.count("/") for file in files), default=0) + 2):
        names = ["/".join(PurePosixPath(file).parts[-depth:]) for file in files]
        if len(set(names)) == len(names):
            break
    return names


def _mix(values: Hashes, key: int | Hashes) -> Hashes:
    """Well mixed 64-bit numbers, one for each value (the finaliser of splitmix64)."""
    with np.errstate(over="ignore"):
        mixed = values + np.asarray(key, np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        mixed += np.uint64(0x9E3779B97F4A7C15)
        mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(mixed ^ (mixed >> np.uint64(31)))
