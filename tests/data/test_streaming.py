"""Batches from files larger than memory, against the same files read at once."""

from __future__ import annotations

import threading
from itertools import chain
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
from torch_geometric.data import Batch

from hepgen.data import Batches, Features, PackedJets, StreamedBatches
from hepgen.data.chunks import Chunk, ChunkReader, Scan, scan
from hepgen.io import read
from hepgen.io.errors import InputError, LabelError, MissingName
from tests.io.jet_files import jet_columns, write_root

CLASSES = ["top", "qcd"]
FEATURES = Features(["log_pt", "charge", "delta_eta"])
SIZES = (300, 170, 220)


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    folder = tmp_path_factory.mktemp("streams")
    return [
        write_root(folder / f"{i}.root", jet_columns(size, seed=i), parts=3)
        for i, size in enumerate(SIZES)
    ]


def stream(files: Any, **options: Any) -> StreamedBatches:
    chosen = {"batch_size": 32, "step": 40, "pool": 3, "seed": 7} | options
    return StreamedBatches(files, FEATURES, CLASSES, **chosen)


def rows(batch: Batch) -> list[tuple[float, ...]]:
    """What is in each jet, so that jets can be told apart."""
    kept = [(float(g.weight), float(g.y), *g.p4.flatten().tolist()) for g in batch.to_data_list()]
    return sorted(kept)


def contents(batches: StreamedBatches | Batches, epoch: int, start: int = 0) -> list[list[Any]]:
    return [rows(batch) for batch in batches.epoch(epoch, start)]


def in_memory(files: list[Path]) -> PackedJets:
    return PackedJets.pack(read(files, labels=CLASSES), FEATURES, CLASSES)


def test_without_shuffling_the_batches_are_those_of_jets_in_memory(files: list[Path]) -> None:
    streamed = stream(files, shuffle=False)
    expected = Batches(in_memory(files), 32, shuffle=False)
    assert len(streamed) == len(expected)
    for one, two in zip(streamed.epoch(0), expected.epoch(0), strict=True):
        for name in ("x", "pos", "p4", "y", "ptr", "batch"):
            assert np.array_equal(one[name], two[name]), name
        np.testing.assert_allclose(one.weight, two.weight, rtol=1e-6)


def test_each_epoch_has_all_jets_in_its_own_order(files: list[Path]) -> None:
    streamed = stream(files)
    everything = rows(in_memory(files).batch(slice(None)))
    epochs = [contents(streamed, epoch) for epoch in (0, 1)]
    for epoch in epochs:
        assert sorted(chain(*epoch)) == everything
    assert epochs[0] != epochs[1]
    assert contents(stream(files), 1) == epochs[1]
    assert contents(stream(files, seed=8), 1) != epochs[1]


def test_an_epoch_can_be_taken_up_at_any_batch(files: list[Path]) -> None:
    whole = contents(stream(files), 3)
    for start in (1, 7, 11, len(whole)):
        assert contents(stream(files), 3, start) == whole[start:]


@pytest.mark.parametrize("world", [2, 3])
def test_ranks_share_all_jets_in_equally_many_batches(files: list[Path], world: int) -> None:
    ranks = [stream(files, rank=rank, world_size=world) for rank in range(world)]
    seen = [contents(streamed, 2) for streamed in ranks]
    assert len({len(batches) for batches in seen}) == 1
    assert sorted(chain(*chain(*seen))) == rows(in_memory(files).batch(slice(None)))
    assert contents(ranks[1], 2, 3) == seen[1][3:]


def test_a_batch_mixes_chunks_and_classes_of_files(files: list[Path]) -> None:
    by_class = {"top": files[0], "qcd": files[1]}
    streamed = stream(by_class, pool=8, batch_size=64)
    mixed = [len(set(batch.y.tolist())) for batch in streamed.epoch(0)]
    assert np.mean(mixed) > 1.8
    counts = np.bincount(np.concatenate([batch.y for batch in streamed.epoch(0)]))
    assert counts.tolist() == [300, 170]


def test_balanced_classes_weigh_the_same(files: list[Path]) -> None:
    streamed = stream({"top": files[0], "qcd": files[1]}, class_weights="balanced")
    batches = list(streamed.epoch(0))
    y = np.concatenate([batch.y for batch in batches])
    weight = np.concatenate([batch.weight for batch in batches]).astype(float)
    assert weight.mean() == pytest.approx(1)
    assert weight[y == 0].sum() == pytest.approx(weight[y == 1].sum())


def test_a_selection_holds_for_the_count_and_for_the_jets(files: list[Path]) -> None:
    jets = read(files, labels=CLASSES, where="jet_pt > 700")
    streamed = stream(files, where="jet_pt > 700")
    assert sum(batch.num_graphs for batch in streamed.epoch(0)) == len(jets)


def test_streams_without_classes_have_no_labels(files: list[Path]) -> None:
    batch = next(StreamedBatches(files, FEATURES).epoch(0))
    assert "y" not in batch
    assert "weight" not in batch


def test_threads_end_when_an_epoch_is_left_early(files: list[Path]) -> None:
    before = threading.active_count()
    epoch = stream(files).epoch(0)
    next(epoch)
    epoch.close()
    assert threading.active_count() == before


def test_errors_of_the_reading_thread_reach_the_training(files: list[Path], tmp_path: Path) -> None:
    path = write_root(tmp_path / "changing.root", jet_columns(200, seed=9))
    streamed = stream(path)
    write_root(path, jet_columns(150, seed=9))
    with pytest.raises(InputError):
        list(streamed.epoch(0))


def test_wrong_input_is_known_at_the_beginning(files: list[Path]) -> None:
    with pytest.raises(MissingName, match="no class or label column 'tpo'"):
        StreamedBatches(files, FEATURES, ["tpo", "qcd"])
    with pytest.raises(LabelError):
        StreamedBatches(files, FEATURES, ["top"])
    with pytest.raises(ValueError, match="step and pool"):
        stream(files, pool=0)


def test_chunks_are_the_entries_of_the_files(files: list[Path]) -> None:
    seen = scan(files, CLASSES, step=50, options={"labels": CLASSES})
    assert isinstance(seen, Scan)
    assert all(isinstance(chunk, Chunk) for chunk in seen.chunks)
    assert seen.counts.sum() == sum(SIZES) == sum(chunk.num_jets for chunk in seen.chunks)
    for file, size in enumerate(SIZES):
        chunks = [chunk for chunk in seen.chunks if chunk.file == file]
        edges = [(chunk.start, chunk.stop) for chunk in chunks]
        assert [start for start, _ in edges] == [0, *(stop for _, stop in edges[:-1])]
        assert edges[-1][1] == size
    reader = ChunkReader(files, labels=CLASSES, fields=("charge",))
    for chunk in (seen.chunks[-1], seen.chunks[1]):
        jets = reader.read(chunk)
        expected = read(files[chunk.file], entry_start=chunk.start, entry_stop=chunk.stop)
        assert ak.almost_equal(jets.constituents.charge, expected.constituents.charge)
        assert jets.entry.tolist() == expected.entry.tolist()
    reader.close()
