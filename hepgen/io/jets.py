"""Jets as flat numpy columns, and as the awkward record array that `read` returns.

Columns are selected and put together while they are flat; awkward only wraps them at the end, so
that the values of a constituent field stay one contiguous array behind one offsets array.

Shapes: J jets, N constituents of all jets end to end, E entries of the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
import vector
from numpy.typing import NDArray

from hepgen.io.columns import Column, Jagged, Offsets, Values

__all__ = ["JetTable", "jet_momenta", "sum_momenta"]

vector.register_awkward()

MOMENTUM = ("pt", "eta", "phi", "mass")


@dataclass
class JetTable:
    """Some jets, column by column.

    Attributes:
        jets: columns with one value a jet, by standard name.
        entry: row of the file that each jet comes from, (J,) int64.
        jet_index: position of each jet among those of its row, (J,) int32.
        per_entry: offsets of the jets of each entry, (E + 1,), None where each entry is one jet.
        offsets: offsets of the constituents of each jet, (J + 1,), None without constituents.
        constituents: columns with one value a constituent, (N,), by standard name.
    """

    jets: dict[str, Column]
    entry: NDArray[np.int64]
    jet_index: NDArray[np.int32]
    per_entry: Offsets | None = None
    offsets: Offsets | None = None
    constituents: dict[str, Values] = field(default_factory=dict)

    @classmethod
    def one_per_entry(
        cls,
        jets: Mapping[str, Values],
        offsets: Offsets | None = None,
        constituents: Mapping[str, Values] | None = None,
    ) -> JetTable:
        """The table of a file whose entries are jets.

        Args:
            jets: columns with one value a jet.
            offsets: offsets of the constituents, (J + 1,).
            constituents: their columns, (N,).

        Returns:
            The table, with ``entry`` counted from 0.
        """
        entry = np.arange(len(jets["pt"]), dtype=np.int64)
        index = np.zeros(len(entry), dtype=np.int32)
        return cls(dict(jets), entry, index, None, offsets, dict(constituents or {}))

    @classmethod
    def several_per_entry(
        cls,
        jets: Mapping[str, Column],
        per_entry: Offsets,
        offsets: Offsets | None = None,
        constituents: Mapping[str, Values] | None = None,
    ) -> JetTable:
        """The table of a file whose entries are events with jets.

        Args:
            jets: columns with one value a jet, those of all events end to end.
            per_entry: offsets of the jets of each event, (E + 1,).
            offsets: offsets of the constituents, (J + 1,).
            constituents: their columns, (N,).

        Returns:
            The table, with ``entry`` counted from 0.
        """
        counts = np.diff(per_entry)
        entry = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
        index = (np.arange(len(entry)) - np.repeat(per_entry[:-1], counts)).astype(np.int32)
        return cls(dict(jets), entry, index, per_entry, offsets, dict(constituents or {}))

    def __len__(self) -> int:
        return len(self.entry)

    def select(self, mask: NDArray[np.bool_]) -> JetTable:
        """The jets where a mask (J,) is True; their constituents are moved together."""
        if mask.all():
            return self
        table = JetTable(
            {name: _select(column, mask) for name, column in self.jets.items()},
            self.entry[mask],
            self.jet_index[mask],
        )
        if self.offsets is not None:
            counts = np.diff(self.offsets)
            rows = np.flatnonzero(np.repeat(mask, counts))
            table.offsets = _offsets(counts[mask])
            table.constituents = {name: v.take(rows) for name, v in self.constituents.items()}
        return table

    @staticmethod
    def concatenate(tables: Sequence[JetTable]) -> JetTable:
        """The jets of several tables with the same columns, one table after the other."""
        if len(tables) == 1:
            return tables[0]
        first = tables[0]
        table = JetTable(
            {name: _concatenate([t.jets[name] for t in tables]) for name in first.jets},
            np.concatenate([t.entry for t in tables]),
            np.concatenate([t.jet_index for t in tables]),
        )
        if first.offsets is not None:
            parts = [t.offsets for t in tables if t.offsets is not None]
            table.offsets = _offsets(np.concatenate([np.diff(part) for part in parts]))
            table.constituents = {
                name: np.concatenate([t.constituents[name] for t in tables])
                for name in first.constituents
            }
        return table

    def to_awkward(self, attrs: Mapping[str, Any]) -> ak.Array:
        """The array that `read` returns, which shares memory with this table.

        Args:
            attrs: what stands in ``jets.attrs``.

        Returns:
            Records "Momentum4D": the columns of the jets, ``constituents`` where there are any,
            ``entry`` and ``jet_index``.
        """
        columns = {name: _layout(column) for name, column in self.jets.items()}
        if self.offsets is not None:
            columns["constituents"] = ak.contents.ListOffsetArray(
                ak.index.Index64(self.offsets),
                _records({name: _layout(v) for name, v in self.constituents.items()}),
            )
        columns["entry"] = _layout(self.entry)
        columns["jet_index"] = _layout(self.jet_index)
        return ak.Array(_records(columns), attrs=dict(attrs))


def _records(columns: Mapping[str, ak.contents.Content]) -> ak.contents.RecordArray:
    return ak.contents.RecordArray(
        list(columns.values()), list(columns), parameters={"__record__": "Momentum4D"}
    )


def _layout(column: Column) -> ak.contents.Content:
    if isinstance(column, Jagged):
        return ak.contents.ListOffsetArray(
            ak.index.Index64(column.offsets), ak.contents.NumpyArray(column.values)
        )
    return ak.to_layout(column)


def _offsets(counts: NDArray[np.integer[Any]]) -> Offsets:
    offsets = np.zeros(len(counts) + 1, dtype=np.int64)
    np.cumsum(counts, out=offsets[1:])
    return offsets


def _select(column: Column, mask: NDArray[np.bool_]) -> Column:
    if not isinstance(column, Jagged):
        return column[mask]
    counts = np.diff(column.offsets)
    return Jagged(_offsets(counts[mask]), column.values[np.repeat(mask, counts)])


def _concatenate(columns: Sequence[Column]) -> Column:
    if all(isinstance(column, np.ndarray) for column in columns):
        return np.concatenate(columns)
    return ak.concatenate([ak.Array(_layout(column)) for column in columns])


def jet_momenta(columns: Mapping[str, Values]) -> dict[str, Values]:
    r"""pt, eta, phi and mass of jets or constituents from whichever components a file has.

    Args:
        columns: four of (pt, eta, phi, mass), (pt, eta, phi, energy) or (px, py, pz, energy), in
            GeV and radians, shapes (...).

    Returns:
        Nothing for no columns; else ``pt``, ``eta``, ``phi``, ``mass`` in the precision of the
        first column. The mass is
        :math:`\sqrt{E^2 - |\mathbf p|^2}`, computed in float64, and negative where rounding leaves
        E < |p|, as in ROOT and vector.
    """
    if not columns or all(name in columns for name in MOMENTUM):
        return {name: columns[name] for name in MOMENTUM if name in columns}
    dtype = np.result_type(next(iter(columns.values())), np.float32)
    exact = {name: np.asarray(values, dtype=np.float64) for name, values in columns.items()}
    with np.errstate(all="ignore"):  # NaN and inf of the file stay what they are
        if "px" in exact:
            pt = np.hypot(exact["px"], exact["py"])
            ratio = np.divide(exact["pz"], pt, out=np.copysign(np.inf, exact["pz"]), where=pt != 0)
            momenta = {"pt": pt, "eta": np.arcsinh(ratio)}
            momenta["phi"] = np.arctan2(exact["py"], exact["px"])
            momentum = np.hypot(pt, exact["pz"])
        else:
            momenta = {name: exact[name] for name in ("pt", "eta", "phi")}
            momentum = exact["pt"] * np.cosh(exact["eta"])
        square = (exact["energy"] - momentum) * (exact["energy"] + momentum)
        momenta["mass"] = np.copysign(np.sqrt(np.abs(square)), square)
    return {name: values.astype(dtype, copy=False) for name, values in momenta.items()}


def sum_momenta(offsets: Offsets, columns: Mapping[str, Values]) -> dict[str, Values]:
    """Jets as the sums of their constituents.

    Args:
        offsets: offsets of the constituents of each jet, (J + 1,).
        columns: ``px``, ``py``, ``pz``, ``energy`` of the constituents in GeV, (N,).

    Returns:
        ``pt``, ``eta``, ``phi``, ``mass`` (J,) in GeV and radians, zero for a jet without any.
    """
    filled = offsets[1:] > offsets[:-1]
    sums = {}
    for name in ("px", "py", "pz", "energy"):
        sums[name] = np.zeros(len(offsets) - 1)
        values = np.asarray(columns[name], dtype=np.float64)
        if filled.any():
            sums[name][filled] = np.add.reduceat(values, offsets[:-1][filled])
    momenta = jet_momenta(sums)
    momenta["eta"] = np.where(filled, momenta["eta"], 0.0)
    dtype = columns["px"].dtype
    return {name: values.astype(dtype, copy=False) for name, values in momenta.items()}
