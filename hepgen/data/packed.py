"""Jets as contiguous numpy arrays in memory, from which batches are cut.

Shapes: B jets, N constituents of all jets end to end, F features, K classes; offsets have B + 1
entries, from 0 to N.
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
from hepgen.data.features import MOMENTUM, Features
from hepgen.data.finite import non_finite_error
from hepgen.data.labels import ClassWeights, class_index, class_sums, jet_weights, normalisation

__all__ = ["Memory", "PackedJets", "gather"]

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]


class Memory:
    """Arrays that are written again and again.

    A fresh array of many megabytes costs more for the pages that the system clears than for what is
    written there, so that chunks of a stream are packed into the same memory in turn.
    """

    def __init__(self) -> None:
        self._arrays: dict[str, Floats] = {}

    def rows(self, name: str, count: int, width: int) -> Floats:
        """The array of this name, shape (count, width), with what was there before."""
        kept = self._arrays.get(name)
        if kept is None or len(kept) < count or kept.shape[1] != width:
            kept = self._arrays[name] = np.empty((count + count // 8, width), np.float32)
        return kept[:count]


@dataclass(frozen=True)
class PackedJets:
    """Features and momenta of B jets.

    Attributes:
        x: standardised features, shape (N, F).
        pos: (delta_eta, delta_phi) to the jet axis, shape (N, 2).
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        offsets: the jets in N, shape (B + 1,).
        y: class of each jet, shape (B,); None without classes.
        weight: weight of each jet in the loss, shape (B,); None without classes.
    """

    x: Floats = field(repr=False)
    pos: Floats = field(repr=False)
    p4: Floats = field(repr=False)
    offsets: Indices = field(repr=False)
    y: Indices | None = field(repr=False, default=None)
    weight: Floats | None = field(repr=False, default=None)

    @classmethod
    def pack(
        cls,
        jets: ak.Array,
        features: Features,
        classes: Sequence[str] | None = None,
        *,
        class_weights: ClassWeights = None,
        factors: NDArray[np.float64] | None = None,
        memory: Memory | None = None,
    ) -> PackedJets:
        """The arrays of some jets.

        Args:
            jets: as `hepgen.io.read` gives them.
            features: what ``x`` holds.
            classes: names of the classes, for ``y`` and ``weight``; None leaves both out.
            class_weights: "balanced" gives each class the same sum of absolute weights; a mapping
                multiplies the weights of the classes that it names. Weights are those of the file,
                or 1; afterwards they are scaled to a mean absolute weight of 1.
            factors: (K,) what the weights of each class are multiplied by in place of that, where
                these jets are a part of a sample (`hepgen.data.labels.normalisation`).
            memory: where to put ``x``, ``pos`` and ``p4``; new arrays if not given.

        Raises:
            NonFinite: NaN or infinities among features, momenta or weights.
            LabelError: a jet belongs to none of the classes, or to several.
            MissingName: the jets lack a field.
        """
        memory = memory or Memory()
        y = weight = None
        if classes is not None:
            y = class_index(jets, classes)
            raw = jet_weights(jets)
            if factors is None and len(jets):
                factors = normalisation(*class_sums(raw, y, len(classes)), classes, class_weights)
            weight = (raw if factors is None else raw * factors[y]).astype(np.float32)
        constituents = features.constituents(jets)
        x = memory.rows("x", len(constituents), len(features))
        pos = memory.rows("pos", len(constituents), 2)
        p4 = memory.rows("p4", len(constituents), 4)
        for start, block in features.fill(x, constituents):
            part = slice(start, start + len(block))
            with np.errstate(all="ignore"):  # what is not finite is counted and reported
                pos[part, 0], pos[part, 1] = block.delta_eta, block.delta_phi
                for i, component in enumerate(MOMENTUM.values()):
                    p4[part, i] = component(block)
            if not (np.isfinite(p4[part]).all() and np.isfinite(pos[part]).all()):
                angles = {"delta_eta": lambda c: c.delta_eta, "delta_phi": lambda c: c.delta_phi}
                raise non_finite_error(constituents, {**MOMENTUM, **angles})
        return cls(x, pos, p4, constituents.offsets, y, weight)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def batch(self, jets: slice | Indices) -> Batch:
        """A batch of some of the jets.

        Args:
            jets: a slice without step, for a batch that shares the memory of these arrays, or
                indices, shape (b,), for one that is a copy.
        """
        if not isinstance(jets, slice):
            return gather([(self, np.asarray(jets, np.int64))])
        start, stop, step = jets.indices(len(self))
        if step != 1:
            raise ValueError(f"a slice of jets should have no step, not {step}")
        stop = max(start, stop)
        rows = slice(self.offsets[start], self.offsets[stop])
        tensors = {name: _tensor(getattr(self, name)[rows]) for name in ("x", "pos", "p4")}
        if self.y is not None and self.weight is not None:
            tensors["y"] = _tensor(self.y[start:stop])
            tensors["weight"] = _tensor(self.weight[start:stop])
        return make_batch(ptr=_tensor(self.offsets[start : stop + 1] - rows.start), **tensors)


def gather(pieces: Sequence[tuple[PackedJets, Indices]]) -> Batch:
    """One batch of jets from one or several packed samples, of the same features and classes.

    Args:
        pieces: samples, and which of their jets, shape (b,), in the order of the batch.
    """
    counts = [packed.offsets[jets + 1] - packed.offsets[jets] for packed, jets in pieces]
    ptr = np.zeros(sum(map(len, counts)) + 1, np.int64)
    np.cumsum(np.concatenate(counts), out=ptr[1:])
    tensors = {}
    for name in ("x", "pos", "p4"):
        width = getattr(pieces[0][0], name).shape[1]
        rows = np.empty((ptr[-1], width), np.float32)
        place = 0
        for packed, jets in pieces:
            where = ptr[place : place + len(jets) + 1]
            kernels.gather(getattr(packed, name), packed.offsets, jets, rows, where)
            place += len(jets)
        tensors[name] = _tensor(rows)
    if pieces[0][0].y is not None:
        for name in ("y", "weight"):
            values = [getattr(packed, name)[jets] for packed, jets in pieces]
            tensors[name] = _tensor(np.concatenate(values))
    return make_batch(ptr=_tensor(ptr), **tensors)


def _tensor(values: NDArray[Any]) -> torch.Tensor:
    return torch.from_numpy(values)
