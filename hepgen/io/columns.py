"""One column of a file as flat values and offsets: the layout of ROOT, awkward and torch_geometric.

Shapes: B entries or jets, N values of all of them end to end; offsets (B + 1), from 0 to N.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, TypeAlias

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.io.errors import InputError, WrongType

__all__ = ["Jagged", "as_column", "describe", "flat_columns"]

Values: TypeAlias = NDArray[Any]
Offsets: TypeAlias = NDArray[np.int64]


class Jagged(NamedTuple):
    """Lists of numbers: those of entry i are ``values[offsets[i]:offsets[i + 1]]``.

    Attributes:
        offsets: (B + 1,) int64, from 0 to N.
        values: (N, ...).
    """

    offsets: Offsets
    values: Values


Column: TypeAlias = Values | Jagged | ak.Array


def as_column(array: ak.Array) -> Column:
    """A column as read by uproot, pyarrow or h5py, without a copy where memory allows.

    Args:
        array: numbers (B, ...) or lists of numbers (B, var).

    Returns:
        numpy values for numbers, `Jagged` for lists of numbers, and the array itself for anything
        else (strings, records, lists of lists, or numbers with missing values).
    """
    layout = _without_option(ak.to_layout(array))
    if layout.is_list and not layout.is_regular and layout.parameter("__array__") is None:
        layout = layout.to_ListOffsetArray64(True)
        offsets = np.asarray(layout.offsets.data, dtype=np.int64)
        # uproot reads whole clusters of an RNTuple and shows a part of them through the offsets.
        content = _without_option(layout.content[offsets[0] : offsets[-1]])
        if content.is_unknown:
            content = content.to_NumpyArray(np.dtype(np.float64))
        if content.is_numpy:
            return Jagged(offsets - offsets[0], content.data)
    elif layout.is_numpy:
        return np.asarray(layout.data)
    elif layout.is_regular and layout.purelist_isregular:
        return np.asarray(ak.to_numpy(ak.Array(layout)))
    return ak.Array(layout)


def _without_option(layout: ak.contents.Content) -> ak.contents.Content:
    """The same without the mark "may be missing" or an index, where nothing is missing."""
    if layout.is_option and not layout.mask_as_bool(valid_when=False).any():
        layout = layout.project()
    return layout.project() if layout.is_indexed and not layout.is_option else layout


def flat_columns(
    columns: Mapping[str, Column], *, kind: str, where: str
) -> tuple[Offsets, dict[str, Values]]:
    """The flat values of several columns of lists, which all have lists of the same lengths.

    Args:
        columns: the columns, by the names that the file has for them.
        kind: what they are, "branch" or "dataset", for messages.
        where: in what: "tree 'tree' of jets.root".

    Returns:
        The offsets (B + 1,) that they share, and the values (N,) of each.

    Raises:
        WrongType: a column that does not hold lists of numbers.
        InputError: two columns with different numbers of values in an entry.
    """
    offsets: Offsets | None = None
    first = ""
    for name, column in columns.items():
        if not isinstance(column, Jagged):
            raise WrongType(
                f"{kind} {name!r} of {where} holds {describe(column)}, "
                "wanted a list of numbers an entry"
            )
        if offsets is None:
            first, offsets = name, column.offsets
        elif column.offsets is not offsets and not np.array_equal(column.offsets, offsets):
            raise _uneven(first, offsets, name, column.offsets, kind=kind, where=where)
    if offsets is None:
        raise InputError(f"no columns of lists were asked for of {where}")
    return offsets, {
        name: column.values for name, column in columns.items() if isinstance(column, Jagged)
    }


def _uneven(
    name: str, offsets: Offsets, other: str, others: Offsets, *, kind: str, where: str
) -> InputError:
    counts, other_counts = np.diff(offsets), np.diff(others)
    entries = np.flatnonzero(counts != other_counts)
    entry = entries[0]
    return InputError(
        f"{kind} {name!r} and {kind} {other!r} of {where} have lists of different lengths in "
        f"{len(entries)} entries; in entry {entry} of those read: {counts[entry]} and "
        f"{other_counts[entry]} values"
    )


def describe(column: Column) -> str:
    """The type of a column in words, for messages: "one float32 an entry"."""
    if isinstance(column, Jagged):
        return f"a list of {column.values.dtype} an entry"
    if isinstance(column, ak.Array):
        return f"{column.type.content} an entry"
    if column.ndim == 1:
        return f"one {column.dtype} an entry"
    return f"{column.shape[1:]} {column.dtype} an entry"
