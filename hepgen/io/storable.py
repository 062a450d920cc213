"""Which columns ROOT can store, and in which layout: checked before any byte is written.

A TTree holds numbers, fixed-length arrays of numbers, strings, and lists of numbers (or of records
of numbers) of one depth. An RNTuple holds lists and records of any depth, and missing values too.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from hepgen.io.columns import Jagged
from hepgen.io.errors import InputError, WrongType

__all__ = ["NUMBERS", "storable"]

NUMBERS = frozenset(
    np.dtype(code) for code in ("?", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f4", "f8")
)


def storable(columns: Mapping[str, Any] | ak.Array, kind: str) -> dict[str, ak.Array]:
    """The columns as they will be stored.

    Args:
        columns: arrays (or `Jagged`) of equal length by name, or an awkward record array.
        kind: "ttree" or "rntuple". For a TTree a record is split into its fields, ``Jet_pt``.

    Returns:
        Packed awkward arrays of one length by name.

    Raises:
        InputError: no columns, columns of different length, or two of one name.
        WrongType: a column that the format cannot store; the message names it and the way out.
    """
    if isinstance(columns, ak.Array):
        if not columns.fields:
            raise WrongType(f"wanted columns by name, got an array of type {columns.type}")
        columns = {name: columns[name] for name in columns.fields}
    prepared: dict[str, ak.Array] = {}
    for name, values in columns.items():
        array = _array(name, values, kind)
        for branch, part in _split(name, array) if kind == "ttree" else [(name, array)]:
            if branch in prepared:
                raise InputError(f"two columns would be called {branch!r}")
            _check(branch, part.layout, kind)
            prepared[branch] = part
    lengths = {name: len(array) for name, array in prepared.items()}
    if not lengths:
        raise InputError("no columns to write")
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name} {length}" for name, length in lengths.items())
        raise InputError(f"columns of different length: {listed}")
    return prepared


def _array(name: str, values: Any, kind: str) -> ak.Array:
    """One column as a packed awkward array in the byte order of the machine."""
    if isinstance(values, Jagged):
        offsets = ak.index.Index64(values.offsets)
        content = ak.contents.NumpyArray(np.ascontiguousarray(values.values))
        values = ak.Array(ak.contents.ListOffsetArray(offsets, content))
    if not isinstance(values, ak.Array):
        values = np.asarray(values)
        if values.dtype.kind in "iuf" and not values.dtype.isnative:
            values = values.astype(values.dtype.newbyteorder("="))
        if values.ndim == 0 or values.dtype.kind not in "biufU":
            raise WrongType(
                f"column {name!r}: wanted an array of numbers or strings, one row an entry, got "
                f"shape {values.shape} of {values.dtype}"
            )
        values = ak.from_numpy(values, regulararray=True)
    packed = ak.to_packed(values)
    # Only here: in an RNTuple a later piece may hold missing values where the first holds none.
    optional = any(mark in str(packed.type) for mark in ("?", "option["))
    if kind == "ttree" and optional and not _has_missing(packed.layout):
        packed = ak.to_packed(ak.drop_none(packed, axis=None))
    return packed


def _has_missing(layout: Any) -> bool:
    if layout.is_option and np.any(layout.mask_as_bool(valid_when=False)):
        return True
    if layout.is_record or layout.is_union:
        return any(_has_missing(content) for content in layout.contents)
    return hasattr(layout, "content") and _has_missing(layout.content)


def _split(name: str, array: ak.Array) -> list[tuple[str, ak.Array]]:
    """The fields of a record as columns of their own; lists of records stay together."""
    if not array.layout.is_record:
        return [(name, array)]
    return [column for field in array.fields for column in _split(f"{name}_{field}", array[field])]


def _check(name: str, layout: Any, kind: str, inside: str = "") -> None:
    """Raises WrongType unless ROOT can store the column; ``inside`` names the lists around it."""

    def refusal(what: str, remedy: str) -> WrongType:
        return WrongType(f"column {name!r}: {what} cannot be stored in a {kind}; {remedy}")

    flat_only = kind == "ttree"
    if layout.is_union:
        raise refusal("a mixture of types", "make all its values of one type")
    if layout.is_option:
        if flat_only:
            raise refusal("missing values", "fill them with ak.fill_none or use kind='rntuple'")
        _check(name, layout.content, kind, inside)
    elif layout.is_numpy:
        if layout.dtype not in NUMBERS:
            raise refusal(f"{layout.dtype}", "convert it with ak.values_astype, say to float32")
    elif layout.is_record:
        if flat_only and inside != "list":
            raise refusal("records within records or arrays", "use kind='rntuple'")
        for field in layout.fields:
            _check(f"{name}.{field}", layout[field], kind, inside + " of records")
    elif layout.is_list:
        # Arrays of fixed length may nest; anything within a list may not.
        text = layout.parameter("__array__") in ("string", "bytestring")
        if flat_only and inside and not (inside == "array" and layout.is_regular):
            what = "lists of strings" if text else "lists of lists"
            raise refusal(what, "use kind='rntuple'")
        if not text:
            _check(name, layout.content, kind, "array" if layout.is_regular else "list")
