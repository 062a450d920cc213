"""What the schemas of events share: collections of jets, and constituents found through links.

Shapes: E events, J jets of all events end to end, C candidates of all events, N constituents.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from hepgen.io.columns import Column, Offsets, Values, flat_columns
from hepgen.io.errors import InputError, MissingName
from hepgen.io.jets import jet_momenta
from hepgen.io.schema import Source

__all__ = ["choose_collection", "flat", "jets_of", "scaled", "sorted_by_jet"]

Rows = NDArray[np.int64]


def choose_collection(
    asked: str | None,
    collections: Sequence[str],
    with_constituents: Collection[str],
    *,
    where: str,
) -> str:
    """The collection of jets to read.

    Args:
        asked: what the user wants; None for the usual one: of those with constituents, or of all
            where none has, FatJet, else Jet, else the first that is not of generator level.
        collections: those that the file has.
        with_constituents: those of them whose constituents are in the file too.
        where: the file, for messages.

    Raises:
        MissingName: the file has no such collection, or none at all.
    """
    if asked is None and not collections:
        asked = "Jet"
    if asked is not None:
        if asked not in collections:
            raise MissingName.among(asked, collections, kind="collection of jets", where=where)
        return asked
    choice = [name for name in collections if name in with_constituents] or list(collections)

    def rank(name: str) -> tuple[bool, bool, bool, bool]:
        generated = "gen" in name.lower() or "truth" in name.lower()
        return generated, name != "FatJet", "AK8" not in name, name != "Jet"

    return min(choice, key=rank)


def flat(
    columns: Mapping[str, str], values: Mapping[str, Column], source: Source
) -> tuple[Offsets, dict[str, Values]]:
    """The values of some columns of lists under their standard names, and their offsets.

    Args:
        columns: column of each standard field.
        values: the columns as read.
        source: the file, for messages.

    Raises:
        InputError: lists of different lengths, or no lists.
    """
    lists = {column: values[column] for column in columns.values()}
    offsets, arrays = flat_columns(lists, kind=source.kind, where=source.where)
    return offsets, {std: arrays[column] for std, column in columns.items()}


def jets_of(
    columns: Mapping[str, str], values: Mapping[str, Column], source: Source
) -> tuple[Offsets, dict[str, Values]]:
    """Offsets (E + 1,) of the jets of each event, and pt, eta, phi, mass (J,) in file units."""
    offsets, arrays = flat(columns, values, source)
    return offsets, jet_momenta(arrays)


def sorted_by_jet(jet: Rows, row: Rows, count: int) -> tuple[Offsets, Rows]:
    """Rows of candidates ordered by the jet that they belong to, in the order of the links.

    Args:
        jet: for each link the jet, counted over all events, (N,).
        row: for each link the row of the candidate, (N,).
        count: number of jets J.

    Returns:
        Offsets (J + 1,) of the constituents of each jet, and the rows (N,).
    """
    offsets = np.zeros(count + 1, dtype=np.int64)
    np.cumsum(np.bincount(jet, minlength=count), out=offsets[1:])
    if np.all(jet[1:] >= jet[:-1]):
        return offsets, row
    return offsets, row[np.argsort(jet, kind="stable")]


def scaled(columns: Mapping[str, Values], units: Mapping[str, float]) -> dict[str, Values]:
    """Columns times the unit of each, of those that have another than the standard one."""
    return {
        name: values * values.dtype.type(units[name]) if name in units else values
        for name, values in columns.items()
    }


def check_inside(index: Values, count: Values, *, what: str, where: str) -> None:
    """Raise unless 0 <= index < count everywhere.

    Raises:
        InputError: an index points outside.
    """
    outside = (index < 0) | (index >= count)
    if np.any(outside):
        first = int(np.flatnonzero(outside)[0])
        raise InputError(
            f"{np.count_nonzero(outside)} of {len(index)} values of {what} of {where} point "
            f"outside; the first is {index[first]}, wanted 0 to {count[first] - 1}"
        )
