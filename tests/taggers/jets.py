"""Random jets with given numbers of constituents, as awkward arrays and as batches."""

from __future__ import annotations

from collections.abc import Sequence

import awkward as ak
import numpy as np
import torch
import vector

from hepgen.data import Batch, Features, PackedJets, make_batch

vector.register_awkward()

CLASSES = ("top", "qcd")


def make_jets(counts: Sequence[int], seed: int = 0) -> ak.Array:
    """Jets of massless constituents around random axes, as `hepgen.io.read` gives them.

    Jets of the class top have two cores, those of qcd one.
    """
    rng = np.random.default_rng(seed)
    counts = np.asarray(counts, np.int64)
    label = rng.integers(2, size=len(counts)).astype(bool)
    jet = np.repeat(np.arange(len(counts)), counts)
    eta, phi = rng.uniform(-2, 2, len(counts)), rng.uniform(-np.pi, np.pi, len(counts))
    core = np.where(label, 0.3, 0.0)[jet] * rng.choice([-1, 1], len(jet))
    pt = rng.exponential(10, len(jet)) + 0.5
    x = eta[jet] + core + rng.normal(0, 0.1, len(jet))
    y = phi[jet] + rng.normal(0, 0.1, len(jet))
    columns = {
        "px": pt * np.cos(y),
        "py": pt * np.sin(y),
        "pz": pt * np.sinh(x),
        "energy": pt * np.cosh(x),
        "charge": rng.integers(-1, 2, len(jet)).astype(float),
    }
    columns = {name: values.astype(np.float32) for name, values in columns.items()}
    constituents = ak.Array(
        ak.contents.ListOffsetArray(
            ak.index.Index64(np.concatenate([[0], np.cumsum(counts)])),
            ak.contents.RecordArray(
                [ak.contents.NumpyArray(values) for values in columns.values()],
                list(columns),
                parameters={"__record__": "Momentum4D"},
            ),
        ),
        behavior=vector.backends.awkward.behavior,
    )
    fields = {
        "pt": np.bincount(jet, pt, len(counts)) + 1,
        "eta": eta,
        "phi": phi,
        "mass": np.full(len(counts), 80.0),
        "constituents": constituents,
        "label_top": label,
        "label_qcd": ~label,
    }
    return ak.zip(fields, depth_limit=1, with_name="Momentum4D")


def make_packed(counts: Sequence[int], seed: int = 0, labels: bool = True) -> PackedJets:
    """The same jets with features, momenta and positions."""
    return PackedJets.pack(make_jets(counts, seed), Features(), CLASSES if labels else None)


def make(counts: Sequence[int], seed: int = 0, dtype: torch.dtype = torch.float32) -> Batch:
    """A batch of these jets."""
    batch = make_packed(counts, seed).batch(slice(None))
    return make_batch(
        batch.x.to(dtype),
        batch.ptr,
        p4=batch.p4.to(dtype),
        pos=batch.pos.to(dtype),
        y=batch.y,
        weight=batch.weight.to(dtype),
    )


def reordered(batch: Batch, order: torch.Tensor) -> Batch:
    """The batch with its constituents in another order, which keeps the jets together."""
    per_constituent = {name: batch[name][order] for name in ("x", "p4", "pos")}
    return make_batch(ptr=batch.ptr, y=batch.y, weight=batch.weight, **per_constituent)


def shuffled(batch: Batch, seed: int = 0) -> Batch:
    """The batch with the constituents of each jet in a random order."""
    generator = torch.Generator().manual_seed(seed)
    order = torch.randperm(batch.x.shape[0], generator=generator)
    return reordered(batch, order[batch.batch[order].argsort(stable=True)])


def one(batch: Batch, jet: int) -> Batch:
    """One jet of the batch, alone."""
    part = slice(int(batch.ptr[jet]), int(batch.ptr[jet + 1]))
    return make_batch(
        batch.x[part],
        torch.tensor([0, part.stop - part.start]),
        p4=batch.p4[part],
        pos=batch.pos[part],
        y=batch.y[jet : jet + 1],
        weight=batch.weight[jet : jet + 1],
    )
