"""What `inspect` tells of a file, against what uproot, h5py, numpy and pyarrow say of it."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import awkward as ak
import h5py
import numpy as np
import pytest
import rich.console
import uproot

from hepgen.io.errors import InputError, MissingFile, MissingName, NotReadable
from hepgen.io.files import FileSpec
from hepgen.io.inspect import inspect
from hepgen.io.inspection import Inspection, JetSummary, NonFinite, TreeSummary
from hepgen.io.root import RootSource
from hepgen.io.sources import open_source
from hepgen.io.storage import (
    StoredColumn,
    codec_of,
    rntuple_fields,
    stored_columns,
    ttree_branches,
)
from tests.io.friend_files import write_events, write_jets


def shown(found: Inspection, width: int = 140) -> str:
    console = rich.console.Console(width=width, record=True, file=io.StringIO())
    console.print(found)
    return console.export_text()


def test_a_jet_file_is_told_as_uproot_and_numpy_see_it(real_data: Path) -> None:
    path = real_data / "root" / "sophon_JetClassII_example.root"
    found = inspect(path)
    (tree,) = found.trees
    with uproot.open({path: "tree"}) as opened:
        assert tree.entries == opened.num_entries
        assert [column.name for column in tree.columns] == opened.keys()
        assert tree.compressed == sum(b.compressed_bytes for b in opened.branches)
        assert tree.uncompressed == sum(b.uncompressed_bytes for b in opened.branches)
        counts = ak.num(opened["part_px"].array())
    assert (found.size, found.format, tree.kind) == (os.path.getsize(path), "root", "TTree")
    assert tree.schema == "JetClass-II"
    assert tree.codec == "ZLIB(1)"
    assert tree.jets == JetSummary(
        None, 100, 100, float(np.mean(counts)), int(np.min(counts)), int(np.max(counts))
    )
    assert tree.sampled == 100
    assert tree.non_finite is not None
    floats = [column.name for column in tree.columns if column.is_float]
    assert list(tree.non_finite) == floats
    assert tree.non_finite["part_px"].values == int(np.sum(counts))


def test_the_same_jets_are_told_alike_in_root_and_parquet(real_data: Path) -> None:
    one, other = (
        inspect(real_data / "root" / f"sophon_JetClassII_example.{suffix}").trees[0]
        for suffix in ("root", "parquet")
    )
    assert one.jets == other.jets
    assert one.non_finite == other.non_finite
    assert {c.name for c in one.columns} == {c.name for c in other.columns}
    assert (other.kind, other.codec, other.name) == ("Parquet", "ZSTD", None)


@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_nan_and_inf_are_counted_in_the_sample_only(tmp_path: Path, kind: str) -> None:
    columns = {
        "x": np.array([1.0, np.nan, np.inf, 4.0, np.nan], dtype=np.float32),
        "lists": ak.Array([[np.nan, 1.0], [], [np.inf, -np.inf], [2.0], [np.nan]]),
        "n": np.arange(5),
    }
    path = tmp_path / "x.root"
    with uproot.recreate(path) as file:
        (file.mkrntuple if kind == "rntuple" else file.mktree)("t", columns)
    whole, first = inspect(path).trees[0], inspect(path, sample=3).trees[0]
    assert whole.non_finite == {"x": NonFinite(5, 2, 1), "lists": NonFinite(6, 2, 2)}
    assert first.non_finite == {"x": NonFinite(3, 1, 1), "lists": NonFinite(4, 1, 2)}
    assert (whole.sampled, first.sampled) == (5, 3)
    assert whole.non_finite["x"].share == pytest.approx(0.6)
    assert NonFinite(0, 0, 0).share == 0
    assert "in the first 3 entries" in shown(inspect(path, sample=3))
    assert "60 % (2 NaN, 1 inf)" in shown(inspect(path))
    assert "follow no schema" in str(whole.problem)


def test_sizes_of_an_rntuple_are_those_of_its_pages(real_data: Path) -> None:
    path = real_data / "root" / "coffea_nano_dy_rntuple.root"
    found = inspect(path)
    (tree,) = found.trees
    with uproot.open({path: "Events"}) as opened:
        pages = [page for columns in opened.page_link_list[0] for page in columns.pages]
        assert tree.compressed == sum(page.locator.num_bytes for page in pages)
        assert {c.name for c in tree.columns} <= set(opened.keys(recursive=False))
        with RootSource(FileSpec(str(path))) as source:
            assert stored_columns(source) == rntuple_fields(opened) == list(tree.columns)
    assert (tree.kind, tree.codec, tree.schema) == ("RNTuple", "ZSTD(5)", "NanoAOD")
    pt = next(column for column in tree.columns if column.name == "Jet_pt")
    assert (pt.type, pt.is_float) == ("ROOT::VecOps::RVec<float>", True)


def test_events_are_told_with_their_collections_and_other_trees(real_data: Path) -> None:
    found = inspect(real_data / "root" / "coffea_pfnano.root")
    events = found.trees[0]
    assert [tree.name for tree in found.trees][:2] == ["Events", "LuminosityBlocks"]
    assert {"FatJet", "Jet"} <= set(events.collections)
    assert events.jets is not None
    assert (events.jets.collection, events.jets.jets) == ("FatJet", 24)
    assert found.objects == {"tag": "TObjString"}
    ak4 = inspect(real_data / "root" / "coffea_pfnano.root", collection="Jet").trees[0].jets
    assert ak4 is not None
    assert ak4.jets == 64
    text = shown(found)
    assert "schema: PFNano" in text
    assert "jets of FatJet: 24 in all 10 entries" in text
    assert "tag (TObjString)" in text
    # 1802 branches in 80 lines or so: those of one collection stand together.
    assert "FatJetPFCands*" in text
    assert len(text.splitlines()) < 800


def test_hdf5_and_npz_are_told_as_h5py_and_zip_say(tmp_path: Path, real_data: Path) -> None:
    path = real_data / "showers" / "electrons_50GeV_ds2.hdf5"
    (tree,) = inspect(path).trees
    with h5py.File(path) as file:
        for column in tree.columns:
            assert column.compressed == file[column.name].id.get_storage_size()
            assert column.uncompressed == file[column.name].nbytes
            assert tree.entries == len(file[column.name])
    np.savez_compressed(tmp_path / "x.npz", X=np.zeros((50, 3, 4)), y=np.ones(50, int))
    found = inspect(tmp_path / "x.npz")
    (tree,) = found.trees
    with zipfile.ZipFile(tmp_path / "x.npz") as archive:
        stored = {info.filename: info.compress_size for info in archive.infolist()}
    assert [(c.name, c.compressed) for c in tree.columns] == [
        ("X", stored["X.npy"]),
        ("y", stored["y.npy"]),
    ]
    assert (tree.entries, tree.kind, tree.codec) == (50, "npz", "deflate")
    assert tree.columns[0].type == "(3, 4) float64"


def test_all_of_it_is_json(real_data: Path, tmp_path: Path) -> None:
    for name in ("coffea_nano_tt_v15.root", "sophon_JetClassII_example.parquet"):
        found = inspect(real_data / "root" / name)
        again = json.loads(json.dumps(found.to_dict()))
        assert again["trees"][0]["entries"] == found.trees[0].entries
        assert again["trees"][0]["codec"] == found.trees[0].codec
        assert again["trees"][0]["jets"]["jets"] == found.trees[0].jets.jets  # type: ignore[union-attr]


def test_a_file_of_several_trees_is_told_by_the_longest_or_the_one_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "x.root"
    with uproot.recreate(path) as file:
        for name, rows in {"short": 3, "long": 7, "folder/other": 5}.items():
            file.mktree(name, {"x": np.arange(float(rows))})
        file["h"] = np.histogram(np.arange(3))
    found = inspect(path)
    assert [tree.name for tree in found.trees] == ["long", "short", "folder/other"]
    assert found.objects == {"folder": "TDirectory", "h": "TH1D"}
    assert [tree.sampled for tree in found.trees] == [7, 0, 0]
    assert inspect(path, tree="short").trees[0].name == "short"
    assert inspect(f"{path}:short").trees[0].name == "short"
    with pytest.raises(MissingName, match="no tree 'shorter'"):
        inspect(path, tree="shorter")


def test_a_file_without_a_tree_or_without_entries_is_told_so(tmp_path: Path) -> None:
    with uproot.recreate(tmp_path / "h.root") as file:
        file["h"] = np.histogram(np.arange(3))
    found = inspect(tmp_path / "h.root")
    assert (found.trees, found.objects) == ((), {"h": "TH1D"})
    assert "no tree" in shown(found)
    write_jets(tmp_path / "empty.root", 0)
    (tree,) = inspect(tmp_path / "empty.root").trees
    assert (tree.entries, tree.sampled, tree.schema) == (0, 0, "JetClass")
    assert tree.jets is not None
    assert (tree.jets.jets, tree.jets.mean_constituents) == (0, None)
    assert "0 in all 0 entries" in shown(inspect(tmp_path / "empty.root"))


def test_a_schema_of_the_user_is_followed(tmp_path: Path) -> None:
    write_events(tmp_path / "events.root", 40)
    schema = tmp_path / "mine.yaml"
    schema.write_text("jets: {pt: Jet_pt, eta: Jet_eta, phi: Jet_phi, mass: Jet_mass}")
    (tree,) = inspect(tmp_path / "events.root", schema=str(schema)).trees
    with uproot.open({tmp_path / "events.root": "Events"}) as opened:
        jets = int(ak.sum(opened["nJet"].array()))
    assert tree.jets is not None
    assert tree.jets.jets == jets


WRONG: dict[str, Any] = {
    "missing": ("nowhere.root", MissingFile, "no file"),
    "text": ("text.root", NotReadable, "not a ROOT file"),
    "cut": ("cut.root", NotReadable, "cut short|damaged"),
    "several": ("*.root", InputError, "one file is inspected at a time"),
    "unknown": ("text.txt", NotReadable, "no format that hepgen reads"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_file_that_cannot_be_inspected_is_an_error(tmp_path: Path, case: str) -> None:
    write_jets(tmp_path / "good.root", 500)
    (tmp_path / "text.root").write_text("no trees here\n" * 100)
    (tmp_path / "text.txt").write_text("no trees here\n" * 100)
    (tmp_path / "cut.root").write_bytes((tmp_path / "good.root").read_bytes()[:3000])
    name, error, message = WRONG[case]
    with pytest.raises(error, match=message):
        inspect(str(tmp_path / name))
    with pytest.raises(InputError, match="at least one entry"):
        inspect(tmp_path / "good.root", sample=0)


def test_a_damaged_basket_is_told_with_its_branch(tmp_path: Path) -> None:
    write_jets(tmp_path / "x.root", 500)
    with uproot.open({tmp_path / "x.root": "tree"}) as tree:
        place = int(tree["jet_eta"].member("fBasketSeek")[0])
        size = int(tree["jet_eta"].compressed_bytes)
    damaged = bytearray((tmp_path / "x.root").read_bytes())
    damaged[place + 80 : place + size] = b"\0" * (size - 80)
    (tmp_path / "x.root").write_bytes(damaged)
    (tree,) = inspect(tmp_path / "x.root").trees
    assert list(tree.unreadable or {}) == ["jet_eta"]
    assert "jet_pt" in (tree.non_finite or {})
    assert "jets cannot be read" in str(tree.problem)
    assert "column jet_eta cannot be read" in shown(inspect(tmp_path / "x.root"))


def test_a_large_file_is_told_from_a_bounded_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read, rows_read = RootSource.read, []

    def watched(source: RootSource, names: Any, start: int, stop: int) -> Any:
        rows_read.append(stop - start)
        return read(source, names, start, stop)

    monkeypatch.setattr(RootSource, "read", watched)
    path = tmp_path / "large.root"
    with uproot.recreate(path, compression=uproot.LZ4(1)) as file:
        tree = file.mktree("t", {"x": ("f4", (1000,)), "event": "i8"})
        rows = np.random.default_rng(1).random((10_000, 1000), dtype=np.float32)
        for _ in range(5):
            tree.extend({"x": rows, "event": np.arange(10_000)})
    (found,) = inspect(path).trees
    assert found.entries == 50_000
    # 50 MB in rows of 4008 bytes.
    assert 12_000 > found.sampled > 9_000
    assert max(rows_read) == found.sampled
    assert found.non_finite is not None
    assert found.non_finite["x"].values == found.sampled * 1000


def test_inspecting_imports_no_torch(tmp_path: Path) -> None:
    write_jets(tmp_path / "x.root", 5)
    program = (
        "import sys, rich; from hepgen.io.inspect import inspect; rich.print(inspect('x.root'));"
        "sys.exit('torch' in sys.modules or 'lightning' in sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "schema: JetClass" in done.stdout


def test_codecs_are_told_by_their_bytes() -> None:
    def column(codec: str, size: int) -> StoredColumn:
        return StoredColumn("x", "float", True, size, size, codec)

    assert codec_of([column("none", 1), column("LZ4(4)", 600), column("ZSTD(5)", 400)]) == (
        "LZ4(4), ZSTD(5)"
    )
    assert codec_of([]) == "none"
    tree = TreeSummary("t", "TTree", 0, (column("none", 1),), 1, 1)
    assert tree.codec == "none"


def test_branches_of_objects_are_told_by_their_leaves(real_data: Path) -> None:
    path = real_data / "root" / "sophon_events_delphes_example.root"
    with open_source(FileSpec(str(path))) as source:
        names = [column.name for column in ttree_branches(source.tree)]
    assert "JetPUPPIAK8.PT" in names
    assert "JetPUPPIAK8" not in names
