"""Constituents that a file keeps as lists in lists, or in rows padded to one length.

Shapes: E entries, J jets, N constituents of all jets end to end, P columns of a padded array.
"""

from __future__ import annotations

from collections.abc import Mapping

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.io.columns import Column, Jagged, Offsets, Values, as_column, describe, flat_columns
from hepgen.io.errors import InputError, WrongType

__all__ = ["nested_columns", "unpad", "unpadded_columns"]


def nested_columns(
    columns: Mapping[str, Column], per_entry: Offsets, *, kind: str, where: str
) -> tuple[Offsets, dict[str, Values]]:
    """Flat values of columns that hold, for each entry, a list for each jet.

    Args:
        columns: the columns, by the names that the file has for them.
        per_entry: offsets of the jets of each entry, (E + 1,).
        kind: what they are, "branch" or "dataset", for messages.
        where: in what, for messages.

    Returns:
        The offsets (J + 1,) of the constituents of each jet, and the values (N,) of each column.

    Raises:
        WrongType: a column that does not hold lists of lists of numbers.
        InputError: other numbers of lists than of jets, or lists of different lengths.
    """
    lists = {}
    for name, column in columns.items():
        if not isinstance(column, ak.Array) or column.ndim != 3:
            raise WrongType(
                f"{kind} {name!r} of {where} holds {describe(column)}, "
                "wanted a list of numbers for each jet of an entry"
            )
        if not np.array_equal(np.asarray(ak.num(column)), np.diff(per_entry)):
            raise InputError(f"{kind} {name!r} of {where} has not as many lists as there are jets")
        lists[name] = as_column(ak.flatten(column, axis=1))
    return flat_columns(lists, kind=kind, where=where)


def unpad(
    real: NDArray[np.bool_], columns: Mapping[str, Values]
) -> tuple[Offsets, dict[str, Values]]:
    """The real constituents out of padded arrays.

    Args:
        real: (J, P), True where there is a constituent.
        columns: (J, P) each.

    Returns:
        Offsets (J + 1,) and the values (N,) of each column, jet after jet.
    """
    offsets = np.zeros(len(real) + 1, dtype=np.int64)
    np.cumsum(real.sum(axis=1), out=offsets[1:])
    return offsets, {name: values[real] for name, values in columns.items()}


def unpadded_columns(columns: Mapping[str, Column], *, kind: str, where: str) -> dict[str, Column]:
    """Lists out of padded arrays, of which those places are padding where every column is 0.

    Args:
        columns: (J, P) each, by the names that the file has for them.
        kind: what they are, "branch" or "dataset", for messages.
        where: in what, for messages.

    Returns:
        The columns as lists; NaN is not padding.

    Raises:
        WrongType: a column that has not two axes, or another length than the first.
    """
    arrays: dict[str, Values] = {}
    for name, column in columns.items():
        shape = next(iter(arrays.values())).shape if arrays else None
        if (
            not isinstance(column, np.ndarray)
            or column.ndim != 2
            or shape not in (None, column.shape)
        ):
            wanted = "a row of numbers" if shape is None else f"{shape[1]} numbers"
            raise WrongType(
                f"{kind} {name!r} of {where} holds {describe(column)}, wanted {wanted} an entry"
            )
        arrays[name] = column
    real = np.any([array != 0 for array in arrays.values()], axis=0)
    offsets, flat = unpad(real, arrays)
    return {name: Jagged(offsets, values) for name, values in flat.items()}
