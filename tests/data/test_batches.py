"""Packed batches: contents, order, ranks; torch_geometric and torch.compile take them."""

from __future__ import annotations

from itertools import chain

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from torch_geometric.data import Batch, Data
from torch_geometric.nn import global_add_pool

import hepgen.data
from hepgen.data import Batches, Features, NonFinite, PackedJets, make_batch
from hepgen.data.epochs import Steps, permutation
from hepgen.data.packed import Memory, compute, join
from hepgen.io.errors import EmptyInput
from tests.data.jet_samples import some_jets

CLASSES = ["top", "qcd"]
COUNTS = [3, 0, 40, 1, 7, 2]


def packed_jets(counts: list[int] | None = None) -> PackedJets:
    return PackedJets.pack(some_jets(counts or COUNTS), Features(), CLASSES)


def numbered(count: int) -> PackedJets:
    """Jets of one constituent, whose feature is their number."""
    x = np.arange(count, dtype=np.float32)[:, None]
    rest = np.zeros((count, 4), np.float32)
    return PackedJets(x, rest[:, :2].copy(), rest, np.arange(count + 1))


def order(batches: Batches, epoch: int, start: int = 0) -> list[list[int]]:
    return [batch.x[:, 0].int().tolist() for batch in batches.epoch(epoch, start)]


def test_a_batch_is_what_torch_geometric_would_collate() -> None:
    packed = packed_jets()
    batch = packed.batch(slice(None))
    graphs = []
    for i in range(len(packed)):
        rows = slice(*packed.offsets[i : i + 2])
        fields = {name: torch.tensor(getattr(packed, name)[rows]) for name in ("x", "pos", "p4")}
        y, weight = torch.tensor(packed.y[[i]]), torch.tensor(packed.weight[[i]])
        graphs.append(Data(**fields, y=y, weight=weight))
    expected = Batch.from_data_list(graphs)
    for name in ("x", "pos", "p4", "y", "weight", "ptr", "batch"):
        assert torch.equal(batch[name], expected[name]), name
    assert batch.num_graphs == expected.num_graphs == 6
    assert len(batch.to_data_list()) == 6
    for i in range(6):
        for name in ("x", "pos", "p4", "y", "weight"):
            assert torch.equal(batch[i][name], graphs[i][name]), name
    assert global_add_pool(batch.x, batch.batch).shape == (6, 7)


def test_types_and_shapes_are_those_of_the_contract() -> None:
    batch = packed_jets().batch(np.array([2, 0]))
    expected = {"x": 7, "pos": 2, "p4": 4}
    for name, width in expected.items():
        assert (batch[name].shape, batch[name].dtype) == ((43, width), torch.float32)
    assert (batch.y.dtype, batch.weight.dtype) == (torch.int64, torch.float32)
    assert (batch.ptr.tolist(), batch.ptr.dtype) == ([0, 40, 43], torch.int64)
    mass = batch.p4[:, 0] ** 2 - (batch.p4[:, 1:] ** 2).sum(1)
    assert (mass > -1).all()
    assert "y" not in PackedJets.pack(some_jets([2]), Features()).batch(slice(0, 1))


@given(st.lists(st.integers(0, 5), max_size=8))
def test_indices_and_slices_give_the_same_jets(jets: list[int]) -> None:
    packed = packed_jets()
    batch = packed.batch(np.array(jets, np.int64))
    singles = [packed.batch(slice(i, i + 1)) for i in jets]
    assert batch.num_graphs == len(jets)
    for name in ("x", "pos", "p4", "y", "weight") if jets else ():
        assert torch.equal(batch[name], torch.cat([single[name] for single in singles])), name


def test_slices_share_memory_and_indices_copy() -> None:
    packed = packed_jets()
    assert np.shares_memory(packed.batch(slice(2, 5)).x.numpy(), packed.x)
    assert not np.shares_memory(packed.batch(np.array([2])).x.numpy(), packed.x)
    with pytest.raises(ValueError, match="no step"):
        packed.batch(slice(0, 4, 2))


def test_computed_jets_come_in_the_order_wanted_and_in_used_memory() -> None:
    features, memory, order = Features(), Memory(), np.array([4, 0, 2])
    compute(features, features.constituents(some_jets([90])), memory=memory)
    constituents = features.constituents(some_jets(COUNTS))
    made = PackedJets(*compute(features, constituents, order=order, memory=memory))
    expected = packed_jets().batch(order)
    for name in ("x", "pos", "p4"):
        assert torch.equal(made.batch(slice(None))[name], expected[name]), name
        assert np.shares_memory(getattr(made, name), memory.rows(name, 1, expected[name].shape[1]))


def test_joined_samples_are_one_batch() -> None:
    packed = packed_jets()
    joined = join([(packed, slice(4, 6)), (packed, slice(0, 3))])
    expected = packed.batch(np.array([4, 5, 0, 1, 2]))
    for name in ("x", "pos", "p4", "y", "weight", "ptr", "batch"):
        assert torch.equal(joined[name], expected[name]), name


def test_momenta_that_no_feature_sees_are_checked_too() -> None:
    jets = some_jets([3, 2])
    jets["constituents", "pz"] = jets.constituents.pz * np.nan
    with pytest.raises(NonFinite, match="'pz' in 5 of 5 constituents"):
        PackedJets.pack(jets, Features(["charge"]))
    with pytest.warns(UserWarning, match="5 of 5 constituents"):
        assert len(PackedJets.pack(jets, Features(["charge"], non_finite="drop")).x) == 0


@given(st.integers(1, 400), st.integers(1, 70), st.integers(1, 5))
def test_ranks_share_all_jets_in_equally_many_batches(jets: int, size: int, world: int) -> None:
    if jets < world:
        with pytest.raises(EmptyInput, match="too few"):
            Steps(jets, size, 0, world)
        return
    ranks = [Steps(jets, size, rank, world) for rank in range(world)]
    cuts = [list(steps.from_step(0)) for steps in ranks]
    assert len({len(steps) for steps in ranks}) == 1
    assert all(len(cut) == len(steps) for cut, steps in zip(cuts, ranks, strict=True))
    flat = [i for cut in cuts for low, high in cut for i in range(low, high)]
    assert flat == list(range(jets))
    sizes = [high - low for cut in cuts for low, high in cut]
    assert max(sizes) - min(sizes) <= 1
    assert max(sizes) <= size + (world > 1 and jets < len(ranks[0]) * world + world)
    assert list(ranks[0].from_step(len(ranks[0]))) == []


def test_steps_of_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match="batch_size"):
        Steps(10, 0)
    with pytest.raises(ValueError, match="rank should be in 0 to 1"):
        Steps(10, 2, 2, 2)
    with pytest.raises(ValueError, match="start should be in 0 to 5"):
        list(Steps(10, 2).from_step(6))


def test_an_order_is_that_of_its_seed_and_epoch() -> None:
    assert permutation(8, 1, 2).tolist() == [7, 1, 3, 0, 4, 2, 6, 5]
    batches = Batches(numbered(100), 16, seed=4)
    assert order(batches, 3) == order(Batches(numbered(100), 16, seed=4), 3)
    assert order(batches, 3) != order(batches, 4)
    assert order(batches, 3) != order(Batches(numbered(100), 16, seed=5), 3)
    assert sorted(chain(*order(batches, 3))) == list(range(100))


def test_an_epoch_can_be_taken_up_at_any_batch() -> None:
    batches = Batches(numbered(100), 16, seed=4)
    assert len(batches) == 7
    for start in range(8):
        assert order(batches, 1, start) == order(batches, 1)[start:]


def test_without_shuffling_jets_come_in_order() -> None:
    batches = Batches(numbered(50), 16, shuffle=False)
    assert list(chain(*order(batches, 0))) == list(chain(*order(batches, 1))) == list(range(50))


def test_ranks_see_different_jets_of_one_order() -> None:
    ranks = [Batches(numbered(101), 16, seed=4, rank=rank, world_size=3) for rank in range(3)]
    seen = [list(chain(*order(batches, 2))) for batches in ranks]
    assert sorted(chain(*seen)) == list(range(101))
    assert list(chain(*seen)) == permutation(101, 4, 2).tolist()


def test_a_permutation_is_uniform() -> None:
    places = np.array([permutation(5, 0, epoch)[0] for epoch in range(5000)])
    counts = np.bincount(places, minlength=5)
    # chi2 with 4 degrees of freedom; above 23.5 with a chance of 1e-4, and the seed is fixed.
    assert ((counts - 1000) ** 2 / 1000).sum() < 23.5


class Sums(torch.nn.Module):
    def forward(self, jets: Batch) -> Tensor:
        return torch.segment_reduce(jets.x, "sum", offsets=jets.ptr) + jets.p4.sum()


@pytest.mark.slow
def test_a_module_on_batches_compiles_without_a_break() -> None:
    model = Sums()
    compiled = torch.compile(model, fullgraph=True, backend="eager")
    for jets in (slice(None), np.array([2, 0])):
        batch = packed_jets().batch(jets)
        torch.testing.assert_close(compiled(batch), model(batch))


def test_a_batch_without_momenta_can_be_made() -> None:
    batch = make_batch(torch.zeros(3, 2), torch.tensor([0, 2, 2, 3]))
    assert batch.batch.tolist() == [0, 0, 2]
    assert batch.keys() == ["batch", "ptr", "x"] or set(batch.keys()) == {"batch", "ptr", "x"}
    assert isinstance(batch, hepgen.data.Batch)


def test_a_batch_moves_as_one() -> None:
    batch = packed_jets().batch(slice(None))
    assert batch.to("cpu").num_graphs == 6
