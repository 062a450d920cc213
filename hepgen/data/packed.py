"""Jets as contiguous numpy arrays in memory, from which batches are cut.

Shapes: B jets, N constituents of all jets end to end, F features, K classes, T targets;
offsets have B + 1 entries, from 0 to N.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import awkward as ak
import numpy as np
import torch
from numpy.typing import NDArray

from hepgen.data import kernels
from hepgen.data.batches import Batch, make_batch
from hepgen.data.constituents import Constituents
from hepgen.data.features import ANGLES, MOMENTUM, Features
from hepgen.data.labels import ClassWeights, class_index, class_sums, jet_weights, normalisation
from hepgen.data.targets import constituent_labels as labels_of
from hepgen.data.targets import target_values, with_label_columns

__all__ = ["Memory", "PackedJets", "compute", "join", "rows_of"]

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

PER_CONSTITUENT = ("x", "pos", "p4", "constituent_y")
PER_JET = ("y", "weight", "targets")


@dataclass(frozen=True)
class PackedJets:
    """Features and momenta of B jets.

    Attributes:
        x: standardised features, shape (N, F).
        pos: (delta_eta, delta_phi) to the jet axis, shape (N, 2).
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        offsets: the jets in N, shape (B + 1,).
        y: class of each jet, shape (B,); None without classes.
        weight: weight of each jet in the loss, shape (B,); None where nothing is to be learnt.
        targets: further numbers to learn, shape (B, T); None if there are none.
        constituent_y: label of each constituent, shape (N,); None if there are none.
    """

    x: Floats = field(repr=False)
    pos: Floats = field(repr=False)
    p4: Floats = field(repr=False)
    offsets: Indices = field(repr=False)
    y: Indices | None = field(repr=False, default=None)
    weight: Floats | None = field(repr=False, default=None)
    targets: Floats | None = field(repr=False, default=None)
    constituent_y: Indices | None = field(repr=False, default=None)

    @classmethod
    def pack(
        cls,
        jets: ak.Array,
        features: Features,
        classes: Sequence[str] | None = None,
        *,
        class_weights: ClassWeights = None,
        targets: Sequence[str] = (),
        constituent_labels: str | None = None,
    ) -> PackedJets:
        """The arrays of some jets.

        Args:
            jets: as `hepgen.io.read` gives them.
            features: what ``x`` holds.
            classes: names of the classes, for ``y``; None leaves it out.
            class_weights: "balanced" gives each class the same sum of absolute weights; a mapping
                multiplies the weights of the classes that it names. Weights are those of the file,
                or 1; afterwards they are scaled to a mean absolute weight of 1.
            targets: T expressions over fields of the jets, for ``targets``, such as "mass" or
                "log(gen_mass)".
            constituent_labels: an expression over fields of the constituents that gives whole
                numbers, for ``constituent_y``.

        Raises:
            NonFinite: NaN or infinities among features, momenta, weights or targets.
            LabelError: a jet belongs to none of the classes, or to several.
            MissingName: the jets lack a field.
            ExpressionError: an expression is none.
            InputError: labels of constituents that are no whole numbers.
        """
        if isinstance(targets, str):
            raise TypeError(f"targets should be a sequence of expressions, not {targets!r}")
        y = weight = table = labels = None
        if classes is not None:
            y = class_index(jets, classes)
        if classes is not None or targets or constituent_labels is not None:
            raw = jet_weights(jets)
            index = np.zeros(len(jets), np.int64) if y is None else y
            if len(jets):
                sums = class_sums(raw, index, len(classes or "1"))
                raw *= normalisation(*sums, classes or (), class_weights)[index]
            weight = raw.astype(np.float32)
        if targets:
            table = target_values(jets, targets)
        chosen = features.constituents(with_label_columns(jets, constituent_labels))
        if constituent_labels is not None:
            labels = labels_of(chosen, constituent_labels)
        return cls(*compute(features, chosen), y, weight, table, labels)

    def fields(self, names: Sequence[str]) -> dict[str, NDArray[Any]]:
        """Those of some arrays that there are.

        Args:
            names: such as `PER_JET`.
        """
        found = {name: getattr(self, name) for name in names}
        return {name: values for name, values in found.items() if values is not None}

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def batch(self, jets: slice | Indices) -> Batch:
        """A batch of some of the jets.

        Args:
            jets: a slice without step, for a batch that shares the memory of these arrays, or
                indices, shape (b,), for one that is a copy.
        """
        if not isinstance(jets, slice):
            return self._gather(np.asarray(jets, np.int64))
        start, stop, step = jets.indices(len(self))
        if step != 1:
            raise ValueError(f"a slice of jets should have no step, not {step}")
        stop = max(start, stop)
        rows = slice(self.offsets[start], self.offsets[stop])
        tensors = {n: _tensor(v[rows]) for n, v in self.fields(PER_CONSTITUENT).items()}
        tensors |= {n: _tensor(v[start:stop]) for n, v in self.fields(PER_JET).items()}
        return make_batch(ptr=_tensor(self.offsets[start : stop + 1] - rows.start), **tensors)

    def _gather(self, jets: Indices) -> Batch:
        ptr = np.zeros(len(jets) + 1, np.int64)
        np.cumsum(self.offsets[jets + 1] - self.offsets[jets], out=ptr[1:])
        tensors = {}
        for name in ("x", "pos", "p4"):
            values = getattr(self, name)
            rows = np.empty((ptr[-1], values.shape[1]), np.float32)
            kernels.gather(values, self.offsets, jets, rows, ptr)
            tensors[name] = _tensor(rows)
        if self.constituent_y is not None:
            places = rows_of(self.offsets, jets, ptr)
            tensors["constituent_y"] = _tensor(self.constituent_y[places])
        tensors |= {n: _tensor(v[jets]) for n, v in self.fields(PER_JET).items()}
        return make_batch(ptr=_tensor(ptr), **tensors)


def rows_of(offsets: Indices, jets: Indices, ptr: Indices) -> Indices:
    """Rows of the constituents of some jets, in the order of the jets.

    Args:
        offsets: of all jets, shape (B + 1,).
        jets: which, shape (b,).
        ptr: offsets of these jets end to end, shape (b + 1,).

    Returns:
        Shape (n,).
    """
    return np.arange(ptr[-1]) + np.repeat(offsets[jets] - ptr[:-1], np.diff(ptr))


def join(pieces: Sequence[tuple[PackedJets, slice]]) -> Batch:
    """One batch of jets from packed samples of the same features and classes; a copy.

    Args:
        pieces: samples, and which of their jets, slices (start, stop), in the order of the batch.
    """
    rows = [slice(*packed.offsets[[jets.start, jets.stop]]) for packed, jets in pieces]
    tensors = {}
    for name in pieces[0][0].fields(PER_CONSTITUENT):
        parts = [getattr(packed, name)[row] for (packed, _), row in zip(pieces, rows, strict=True)]
        tensors[name] = _tensor(np.concatenate(parts))
    for name in pieces[0][0].fields(PER_JET):
        parts = [getattr(packed, name)[jets] for packed, jets in pieces]
        tensors[name] = _tensor(np.concatenate(parts))
    counts = [np.diff(packed.offsets[jets.start : jets.stop + 1]) for packed, jets in pieces]
    ptr = np.concatenate([[0], *counts]).cumsum()
    return make_batch(ptr=_tensor(ptr), **tensors)


class Memory:
    """Arrays that are written again and again.

    A fresh array of many megabytes costs more for the pages that the system clears than for what is
    written there, so that the chunks of a stream are packed into the same memory in turn.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Floats] = {}

    def rows(self, name: str, count: int, width: int) -> Floats:
        """The array of this name, shape (count, width), with what was there before."""
        kept = self._arrays.get(name)
        if kept is None or len(kept) < count or kept.shape[1] != width:
            kept = self._arrays[name] = np.empty((count + count // 8, width), np.float32)
        return kept[:count]


def compute(
    features: Features,
    constituents: Constituents,
    *,
    order: Indices | None = None,
    memory: Memory | None = None,
) -> tuple[Floats, Floats, Floats, Indices]:
    """Features, angles to the jet axis, and momenta of some constituents.

    Args:
        features: which.
        constituents: those that enter (`Features.constituents`).
        order: the jets that are wanted, each once at most, in the order wanted, shape (b,); None
            takes all as they are.
        memory: where to put the arrays; new ones if not given.

    Returns:
        ``x``, ``pos``, ``p4`` and ``offsets`` as in `PackedJets`.

    Raises:
        NonFinite: NaN or infinities among them.
        MissingName: the jets lack a field.
    """
    offsets = constituents.offsets
    starts = offsets[:-1]
    if order is not None:
        offsets = np.zeros(len(order) + 1, np.int64)
        np.cumsum(constituents.counts[order], out=offsets[1:])
        starts = np.full(constituents.num_jets, -1)
        starts[order] = offsets[:-1]
    memory = memory or Memory()
    widths = {"x": len(features), "pos": len(ANGLES), "p4": len(MOMENTUM)}
    rows = [memory.rows(name, int(offsets[-1]), width) for name, width in widths.items()]
    for first, block, columns in features.columns(constituents, {**ANGLES, **MOMENTUM}):
        parts = np.split(columns, np.cumsum([*widths.values()])[:-1])
        for part, target in zip(parts, rows, strict=True):
            where = starts[first : first + block.num_jets]
            kernels.scatter(part, block.offsets, where, target)
    x, pos, p4 = rows
    return x, pos, p4, offsets


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values)
