"""Showers of any file: guessed geometries, several files end to end, samples larger than memory."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

from hepgen.calorimeter import Geometry, GeometryError, Layer, ShowerError, Showers
from hepgen.calorimeter.binning import GeometryLike
from hepgen.calorimeter.challenge_writer import ChallengeWriter
from hepgen.calorimeter.files import ShowerFiles, iterate, read, write
from hepgen.io.errors import MissingFile, NotReadable, OutputExists
from hepgen.simulators import Conditions, ShowerBatches
from pipelines.samples.showers import coarse_showers

REPOSITORY = Path(__file__).resolve().parents[2]
SAMPLE = REPOSITORY / "data_samples" / "electrons.hdf5"
GEOMETRY = Geometry(tuple(Layer((0, 1, 2, 4), 2, i) for i in range(4)), "small", threshold=1e-5)


def showers(number: int, seed: int = 3) -> Showers:
    rng = np.random.default_rng(seed)
    energy = rng.uniform(1, 100, number)
    voxels = (rng.dirichlet(np.full(24, 0.3), number) * energy[:, None]).astype(np.float32)
    return Showers(GEOMETRY, energy, voxels, {"theta": rng.random(number)}, np.arange(number))


@pytest.fixture
def parts(tmp_path: Path) -> tuple[list[Path], Showers]:
    """Three files of one sample, and the sample."""
    some = showers(1000)
    edges = [0, 400, 401, 1000]
    paths = []
    for i, (a, b) in enumerate(pairwise(edges)):
        paths.append(write(tmp_path / f"part{i}.hdf5", some[a:b], dtype="float64"))
    return paths, some


def same(ours: Showers, wanted: Showers) -> bool:
    return (
        np.array_equal(ours.voxels, wanted.voxels)
        and np.allclose(ours.incident_energy, wanted.incident_energy, rtol=1e-15, atol=0)
        and np.array_equal(ours.conditions["theta"], wanted.conditions["theta"])
        and np.array_equal(ours.event, wanted.event)
    )


def test_the_sample_that_comes_with_hepgen_tells_its_geometry() -> None:
    sample = read(SAMPLE)
    geometry = sample.geometry
    assert len(sample) == 4000
    assert geometry.shape == (15, 8, 4)
    assert geometry.layers[0].r_edges == (0, 4.65, 9.3, 18.6, 41.85)
    assert (geometry.threshold, geometry.symmetric, geometry.particle) == (
        15.15e-6,
        True,
        "electron",
    )
    assert geometry.z.reshape(15, -1)[:, 0] == pytest.approx(10.2 * (np.arange(15) + 0.5))
    assert sample.incident_energy.min() >= 1
    assert sample.incident_energy.max() <= 100
    assert sample.response.mean() == pytest.approx(0.967, abs=0.001)
    assert sample.voxels[sample.voxels > 0].min() >= geometry.threshold
    assert SAMPLE.stat().st_size < 2_500_000


def test_the_sample_is_what_its_script_makes(real_data: Path) -> None:
    made = coarse_showers(real_data / "showers" / "electrons_1-100GeV_ds2.hdf5", 500)
    ours = read(SAMPLE, stop=500)
    assert made.geometry == ours.geometry
    assert np.array_equal(made.incident_energy, ours.incident_energy)
    np.testing.assert_allclose(ours.voxels, made.voxels, rtol=1.2e-7, atol=0)
    fine = read(real_data / "showers" / "electrons_1-100GeV_ds2.hdf5", stop=500)
    np.testing.assert_allclose(ours.total_energy, fine.total_energy, rtol=1.3e-4)


def test_files_are_read_end_to_end(parts: Any) -> None:
    paths, some = parts
    assert same(read(paths), some)
    assert same(read(paths[0].parent / "part*.hdf5"), some)
    assert same(read(paths, start=350, stop=420), some[350:420])
    assert same(read(paths, GEOMETRY, dtype="float32"), some)


@pytest.mark.parametrize(
    "which",
    [
        slice(None),
        slice(3, 900, 7),
        slice(-10, None),
        slice(400, 401),
        slice(5, 5),
        [0, 1, 399, 400, 401, 999],
        np.array([], dtype=np.int64),
        [],
        np.arange(1000) % 3 == 0,
        np.array([4, 4, 400, 400], dtype=np.uint16),
    ],
)
def test_showers_of_files_are_had_by_number_as_in_memory(parts: Any, which: Any) -> None:
    paths, some = parts
    files = ShowerFiles(paths)
    assert len(files) == 1000
    assert files.geometry == GEOMETRY
    wanted = some[np.asarray(which, np.int64) if isinstance(which, list) else which]
    assert same(files[which], wanted)


@pytest.mark.parametrize("which", [[3, 2], [-1, 4], [999, 1000], 5, [0.5], np.ones(7, bool)])
def test_numbers_that_are_not_there_or_do_not_rise_are_refused(parts: Any, which: Any) -> None:
    with pytest.raises(IndexError):
        ShowerFiles(parts[0])[which]


def test_showers_far_apart_are_read_without_what_lies_between(
    parts: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = 0
    original = h5py.Dataset.__getitem__

    def counting(self: Any, which: Any, *more: Any) -> Any:
        nonlocal rows
        if self.name == "/showers":
            rows += which.stop - which.start
        return original(self, which, *more)

    paths, some = parts
    files = ShowerFiles(paths)
    files._files[0].chunk = files._files[2].chunk = 50
    monkeypatch.setattr(h5py.Dataset, "__getitem__", counting)
    wanted = np.array([0, 10, 300, 950])
    assert same(files[wanted], some[wanted])
    assert rows == 11 + 1 + 1


@pytest.mark.parametrize("size", [1, 300, 1000, 5000])
def test_pieces_of_files_are_the_sample(parts: Any, size: int) -> None:
    paths, some = parts
    if size == 1:
        paths, some = paths[1:2], some[400:401]
    pieces = list(iterate(paths, size=size))
    assert [len(p) for p in pieces[:-1]] == [size] * (len(pieces) - 1)
    assert same(Showers.joined(pieces), some)
    with pytest.raises(ShowerError, match="size=0"):
        next(iterate(paths, size=0))


def test_batches_of_files_are_those_of_the_sample(parts: Any) -> None:
    paths, some = parts
    conditions = Conditions.of(some)
    files = ShowerFiles(paths)
    for shuffle in (False, True):
        batches = list(
            ShowerBatches(files, conditions, batch_size=64, shuffle=shuffle, seed=1).epoch(2)
        )
        numbers = np.concatenate(
            [batch.number.numpy() for batch in batches if batch.number is not None]
        )
        assert np.array_equal(np.sort(numbers), np.arange(1000))
        assert (np.diff(numbers) == 1).all() != shuffle
        voxels = np.concatenate([batch.voxels.numpy() for batch in batches])
        assert np.array_equal(voxels, some.above().voxels[numbers])
        energy = np.concatenate([batch.incident_energy.numpy() for batch in batches])
        assert np.array_equal(energy, some.incident_energy[numbers].astype(np.float32))


def test_small_pools_shuffle_files_too(parts: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    paths, some = parts
    monkeypatch.setattr(ShowerBatches, "pool", 128)
    monkeypatch.setattr(ShowerBatches, "neighbours", 16)
    batches = ShowerBatches(
        ShowerFiles(paths), Conditions.of(some), batch_size=50, shuffle=True, seed=1
    )
    numbers = [b.number.numpy() for b in batches.epoch(0) if b.number is not None]
    assert np.array_equal(np.sort(np.concatenate(numbers)), np.arange(1000))
    voxels = next(batches.epoch(0, start=7)).voxels.numpy()
    assert np.array_equal(voxels, some.above().voxels[numbers[7]])


def test_a_geometry_is_told_by_name_by_file_or_by_the_number_of_voxels(
    real_data: Path, tmp_path: Path
) -> None:
    folder = real_data / "showers"
    path = folder / "electrons_50GeV_ds2.hdf5"
    known: list[GeometryLike | None] = [None, "ds2", folder / "binning_dataset_2.xml"]
    for told in known:
        found = read(path, told, stop=5).geometry
        assert found.shape == (45, 16, 9)
    with pytest.raises(GeometryError, match=r"has 40500 voxels, ds2 .*ds3 would fit"):
        read(folder / "electrons_50GeV_ds3.hdf5", "ds2")
    with pytest.raises(GeometryError, match="no geometry is called 'ds22'; nearest: ds2"):
        read(path, "ds22")


def test_files_of_several_calorimeters_are_refused(parts: Any, tmp_path: Path) -> None:
    write(tmp_path / "coarse.hdf5", showers(5).merged(layers=2))
    with pytest.raises(GeometryError, match=r"part0.hdf5 is in small .*coarse.hdf5 in small, mer"):
        read([*parts[0], tmp_path / "coarse.hdf5"])


def test_files_that_are_no_showers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no file"):
        read(tmp_path / "a.hdf5")
    (tmp_path / "a.parquet").write_bytes(b"PAR1")
    with pytest.raises(NotReadable, match="is parquet; showers are"):
        read(tmp_path / "a.parquet")
    with pytest.raises(NotReadable, match=r"wanted the name of a file that ends in \.hdf5"):
        write(tmp_path / "a.csv", showers(3))


def test_a_file_appears_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a.hdf5"
    assert write(path, showers(3)) == path
    with pytest.raises(OutputExists, match="overwrite=True"):
        write(path, showers(4))
    assert len(read(path)) == 3
    write(path, showers(4), overwrite=True)
    assert len(read(path)) == 4
    with ChallengeWriter(tmp_path / "none.hdf5", GEOMETRY) as writer:
        writer.extend(showers(4)[:0])
    assert len(read(tmp_path / "none.hdf5")) == 0


def test_more_showers_than_fit_a_piece_are_read_a_chunk_at_a_time(real_data: Path) -> None:
    files = ShowerFiles(real_data / "showers" / "electrons_1-100GeV_ds2.hdf5", dtype="float64")
    rows = np.array([99, 100, 7777, 12999])
    some = files[rows]
    with h5py.File(real_data / "showers" / "electrons_1-100GeV_ds2.hdf5") as theirs:
        for i, row in enumerate(rows.tolist()):
            assert np.array_equal((some.voxels[i] * 1000).astype("f4"), theirs["showers"][row])
    some = files[950:2050]
    with h5py.File(real_data / "showers" / "electrons_1-100GeV_ds2.hdf5") as theirs:
        assert np.array_equal((some.voxels * 1000).astype("f4"), theirs["showers"][950:2050])
