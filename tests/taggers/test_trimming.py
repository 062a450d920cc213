"""Random trimming of long jets."""

from __future__ import annotations

import torch

from hepgen.taggers.trimming import trimmed
from tests.taggers.jets import make


def test_only_the_longest_jets_lose_constituents_and_order_is_kept() -> None:
    torch.manual_seed(0)
    batch = make([0, 10, 20, 30, 100])
    lengths = set()
    for _ in range(20):
        cut = trimmed(batch, 0.5)
        counts, before = cut.ptr.diff(), batch.ptr.diff()
        assert (counts[:3] == before[:3]).all()
        most = int(counts.max())
        lengths.add(most)
        assert (counts == before.clamp(max=most)).all()
        for jet in range(5):
            kept = cut.x[cut.ptr[jet] : cut.ptr[jet + 1]]
            all_of_it = batch.x[batch.ptr[jet] : batch.ptr[jet + 1]]
            where = [int((all_of_it == row).all(dim=1).nonzero()[0]) for row in kept]
            assert where == sorted(set(where))
        assert (cut.y == batch.y).all()
        assert cut.p4.shape[0] == cut.x.shape[0] == cut.pos.shape[0]
    assert min(lengths) < 40 < max(lengths)


def test_each_constituent_has_the_same_chance() -> None:
    torch.manual_seed(1)
    batch = make([10, 10, 10, 40])
    seen = torch.zeros(40)
    for _ in range(400):
        cut = trimmed(batch, 0.5)
        last = cut.x[cut.ptr[3] :]
        if len(last) < 30:
            seen += (batch.x[batch.ptr[3] :, None] == last).all(dim=2).any(dim=1)
    # Binomial with at least 100 tries: 5 sigma hold for 40 constituents with 1 - 2e-5.
    mean = float(seen.mean())
    assert mean > 50
    assert (seen - mean).abs().max() < 5 * mean**0.5


def test_no_jets_stay_none() -> None:
    assert trimmed(make([]), 0.9).ptr.tolist() == [0]
    assert trimmed(make([0, 0]), 0.9).ptr.tolist() == [0, 0, 0]
