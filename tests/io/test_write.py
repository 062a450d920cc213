"""Files as uproot and ROOT read them back, and what is left when writing fails."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import vector
from hypothesis import given
from hypothesis import strategies as st

from hepgen.io.errors import InputError, MissingFile, MissingName, OutputExists, WrongType
from hepgen.io.partial import PartialFile
from hepgen.io.storable import NUMBERS, storable
from hepgen.io.write import COMPRESSIONS, Kind, TreeWriter, write

vector.register_awkward()
KINDS: list[Kind] = ["ttree", "rntuple"]


def columns_of(rows: int, seed: int = 1) -> dict[str, Any]:
    rng = np.random.default_rng(seed)
    counts = rng.integers(0, 5, rows)
    lists = ak.unflatten(rng.normal(size=counts.sum()).astype(np.float32), counts)
    return {
        "jet_pt": rng.exponential(100, rows).astype(np.float32),
        "event": np.arange(rows, dtype=np.uint64) + 2**63,
        "is_top": rng.random(rows) < 0.5,
        "p4": rng.normal(size=(rows, 4)),
        "part_pt": lists,
        "Jet": ak.zip({"pt": lists * 2, "charge": ak.values_astype(lists, "int32")}),
        "name": ak.Array([f"jet {i}" for i in range(rows)]),
    }


def read(path: Path, tree: str = "tree") -> ak.Array:
    with uproot.open(path) as file:
        return file[tree].arrays()


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("kind", KINDS)
def test_uproot_reads_back_what_was_written(tmp_path: Path, kind: Kind, compression: str) -> None:
    columns = columns_of(50)
    path = write(tmp_path / "x.root", columns, kind=kind, compression=compression)
    with uproot.open(path) as file:
        assert file.classnames() == {"tree;1": "TTree" if kind == "ttree" else "ROOT::RNTuple"}
        if compression != "none":
            assert file.file.compression.name == compression.upper()
    back = read(path)
    jet = (
        back["Jet"] if kind == "rntuple" else ak.zip({"pt": back.Jet_pt, "charge": back.Jet_charge})
    )
    for name, values in columns.items():
        result = jet if name == "Jet" else back[name]
        assert result.to_list() == ak.Array(values).to_list()
        assert str(result.type).removeprefix("50 *") == str(ak.Array(values).type).removeprefix(
            "50 *"
        )


@pytest.mark.parametrize("kind", KINDS)
def test_root_reads_back_what_was_written(tmp_path: Path, root: Any, kind: Kind) -> None:
    columns = columns_of(50)
    path = write(tmp_path / "x.root", columns, kind=kind)
    frame = root.RDataFrame("tree", str(path))
    # A TTree holds text as an array of characters, which AsNumpy cannot show.
    frame = frame.Define("text", "std::string(name.data())" if kind == "ttree" else "name")
    pt = "Jet_pt" if kind == "ttree" else "Jet.pt"
    back = frame.AsNumpy(["jet_pt", "event", "is_top", "part_pt", "p4", "text", pt])
    for name in ("jet_pt", "event", "is_top"):
        np.testing.assert_array_equal(back[name], columns[name])
    assert [list(row) for row in back["part_pt"]] == columns["part_pt"].to_list()
    assert [list(row) for row in back["p4"]] == columns["p4"].tolist()
    assert [str(row) for row in back["text"]] == columns["name"].to_list()
    assert [list(row) for row in back[pt]] == columns["Jet"].pt.to_list()


def test_jets_with_constituents_are_written_as_they_are(tmp_path: Path) -> None:
    counts = np.array([2, 0, 1])
    part = ak.unflatten(ak.zip({k: np.arange(3.0) for k in ("px", "py", "pz", "energy")}), counts)
    part = ak.with_name(part, "Momentum4D")
    jets = ak.zip({"pt": np.ones(3), "constituents": part}, depth_limit=1)
    flat = read(write(tmp_path / "flat.root", jets[::-1]))
    assert flat.fields == ["pt", "nconstituents", *(f"constituents_{f}" for f in part.fields)]
    assert flat.constituents_px.to_list() == part.px.to_list()[::-1]
    nested = read(write(tmp_path / "nested.root", jets, kind="rntuple"))
    assert nested.constituents.to_list() == part.to_list()


@given(
    pieces=st.lists(st.integers(0, 30), min_size=1, max_size=6),
    kind=st.sampled_from(KINDS),
)
def test_a_stream_gives_the_same_rows_as_one_write(
    tmp_path_factory: pytest.TempPathFactory, pieces: list[int], kind: Kind
) -> None:
    columns = columns_of(sum(pieces))
    path = tmp_path_factory.mktemp("stream") / "x.root"
    with TreeWriter(path, kind=kind) as writer:
        for start, rows in zip(np.cumsum([0, *pieces]), pieces, strict=False):
            writer.extend({name: column[start : start + rows] for name, column in columns.items()})
    assert writer.num_rows == sum(pieces)
    whole = write(path.parent / "whole.root", columns, kind=kind)
    assert read(path).to_list() == read(whole).to_list()


@pytest.mark.parametrize("kind", KINDS)
def test_small_pieces_are_gathered_into_baskets_of_ten_thousand_rows(
    tmp_path: Path, kind: Kind
) -> None:
    # 4 kB a row, so that 10 000 rows are more than the size wanted of a basket.
    row = np.zeros((500, 1000), dtype=np.float32)
    with TreeWriter(tmp_path / "x.root", kind=kind, compression="lz4") as writer:
        for _ in range(46):
            writer.extend({"x": row})
    with uproot.open({tmp_path / "x.root": "tree"}) as tree:
        if kind == "ttree":
            assert tree["x"].entry_offsets == [0, 10_000, 20_000, 23_000]
        else:
            starts = [cluster.num_first_entry for cluster in tree.cluster_summaries]
            assert starts == [0, 10_000, 20_000]


def test_columns_can_share_a_counter_as_in_nanoaod(tmp_path: Path, root: Any) -> None:
    pt = ak.Array([[1.0, 2.0], [], [3.0]])
    path = tmp_path / "x.root"
    with TreeWriter(path, counters={"Jet_pt": "nJet", "Jet_eta": "nJet"}) as writer:
        writer.extend({"Jet_pt": pt, "Jet_eta": -pt, "Mu_pt": pt})
    assert read(path).fields == ["nJet", "Jet_pt", "Jet_eta", "nMu_pt", "Mu_pt"]
    frame = root.RDataFrame("tree", str(path)).Define("x", "Jet_pt[Jet_eta < -1.5]")
    assert [list(row) for row in frame.AsNumpy(["x"])["x"]] == [[2.0], [], [3.0]]


def test_lists_that_are_empty_at_first_take_the_type_of_later_rows(tmp_path: Path) -> None:
    with TreeWriter(tmp_path / "x.root") as writer:
        writer.extend({"x": ak.Array([[], []])})
        writer.extend({"x": ak.Array([[], [1, 2]])})
    assert str(read(tmp_path / "x.root").x.type) == "4 * var * int64"


@pytest.mark.parametrize("kind", KINDS)
def test_no_rows_make_an_empty_tree_with_all_its_branches(tmp_path: Path, kind: Kind) -> None:
    columns = {name: column[:0] for name, column in columns_of(5).items()}
    back = read(write(tmp_path / "x.root", columns, kind=kind))
    assert len(back) == 0
    assert {"jet_pt", "part_pt"} <= set(back.fields)


def test_texts_stand_beside_the_tree(tmp_path: Path, root: Any) -> None:
    path = write(tmp_path / "x.root", {"x": [1]}, metadata={"hepgen_model": '{"k": 16}'})
    with root.TFile.Open(str(path)) as file:
        assert file.Get("hepgen_model").GetString().Data() == '{"k": 16}'


def test_big_endian_and_sliced_columns_are_written_by_value(tmp_path: Path) -> None:
    lists = ak.Array([[1.0, 2.0], [], [3.0]])
    back = read(write(tmp_path / "x.root", {"a": np.arange(2, dtype=">f4"), "b": lists[[2, 0]]}))
    assert back.a.to_list() == [0, 1]
    assert back.b.to_list() == [[3.0], [1.0, 2.0]]


NOT_FOR_A_TTREE = {
    "float16": (np.ones(2, np.float16), "float16 .* say to float32"),
    "complex": (np.ones(2, complex), "complex128"),
    "missing": (ak.Array([1, None]), "missing values .* ak.fill_none"),
    "deep": (ak.Array([[[1], []], []]), "lists of lists .* kind='rntuple'"),
    "deep_record": (ak.Array([[{"a": [1]}], []]), "'deep_record.a': lists of lists"),
    "nested_record": (ak.Array([[{"a": {"b": 1}}], []]), "records within records"),
    "texts": (ak.Array([["a"], []]), "lists of strings"),
    "mixture": (ak.Array([1, "a"]), "a mixture of types"),
    "scalar": (3.0, "one row an entry"),
    "objects": (np.array([None, 1]), "object"),
}


@pytest.mark.parametrize("name", NOT_FOR_A_TTREE)
def test_a_column_that_a_ttree_cannot_hold_is_named_and_no_file_appears(
    tmp_path: Path, name: str
) -> None:
    values, message = NOT_FOR_A_TTREE[name]
    with pytest.raises(WrongType, match=message) as caught:
        write(tmp_path / "x.root", {"jet_pt": np.ones(2), name: values})
    assert name in str(caught.value)
    assert list(tmp_path.iterdir()) == []


def test_missing_values_and_deep_lists_go_to_an_rntuple(tmp_path: Path) -> None:
    columns = {"a": ak.Array([1, None]), "b": ak.Array([[["x"], []], []])}
    assert read(write(tmp_path / "x.root", columns, kind="rntuple")).to_list() == [
        {"a": 1, "b": [["x"], []]},
        {"a": None, "b": []},
    ]


def test_an_option_type_without_missing_values_goes_to_a_ttree() -> None:
    assert str(storable({"x": ak.Array([1.5, None])[:1]}, "ttree")["x"].type) == "1 * float64"
    assert np.dtype("float32") in NUMBERS


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ({}, "no columns"),
        ({"x": [1], "y": [1, 2]}, "different length: x 1, y 2"),
        ({"a_b": [1], "a": ak.Array([{"b": 1}])}, "two columns would be called 'a_b'"),
        (ak.Array([1, 2]), "wanted columns by name"),
    ],
)
def test_columns_that_make_no_table_are_refused(tmp_path: Path, columns: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        write(tmp_path / "x.root", columns)


def test_an_unknown_kind_or_compression_is_refused_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"compression 'zlib' is not known.*zstd"):
        write(tmp_path / "x.root", {"x": [1]}, compression="zlib")
    with pytest.raises(InputError, match="kind 'tree' is not known; one of ttree"):
        write(tmp_path / "x.root", {"x": [1]}, kind="tree")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="name of the tree and of a text"):
        write(tmp_path / "x.root", {"x": [1]}, metadata={"tree": ""})


PIECES_THAT_DIFFER = {
    "soon": (np.ones(2), {"x": np.ones(2, int)}, WrongType, "float64 and int64 in turn"),
    "later": (
        np.ones((20_000, 200)),
        {"x": np.ones((20_000, 200), int)},
        WrongType,
        r"was 200 \* float64 at first and is 200 \* int64 now",
    ),
    "missing": (np.ones(2), {"y": [1, 2]}, MissingName, "no column 'x' in the next rows"),
    "new": (np.ones(2), {"x": np.ones(2), "y": [1, 2]}, MissingName, "no column 'y' in the first"),
}


@pytest.mark.parametrize("case", PIECES_THAT_DIFFER)
def test_pieces_of_another_type_or_with_other_names_are_refused(tmp_path: Path, case: str) -> None:
    first, second, error, message = PIECES_THAT_DIFFER[case]
    writer = TreeWriter(tmp_path / "x.root")
    writer.extend({"x": first})
    with pytest.raises(error, match=message), writer:
        writer.extend(second)
    assert list(tmp_path.iterdir()) == []


def test_a_stream_without_columns_is_refused_and_a_closed_one_may_be_closed(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="given no columns"), TreeWriter(tmp_path / "x.root"):
        pass
    assert list(tmp_path.iterdir()) == []
    writer = TreeWriter(tmp_path / "x.root")
    writer.extend({"x": [1]})
    writer.close()
    writer.close()
    assert len(read(tmp_path / "x.root")) == 1


def test_an_output_that_exists_is_refused_and_kept_unless_told_otherwise(tmp_path: Path) -> None:
    path = write(tmp_path / "x.root", {"x": [1]})
    before = path.read_bytes()
    with pytest.raises(OutputExists, match=r"x\.root exists; overwrite=True"):
        write(path, {"x": [2]})
    with pytest.raises(FileExistsError, match="is a folder"):
        write(tmp_path, {"x": [2]})
    with pytest.raises(MissingFile, match="no folder"):
        write(tmp_path / "nowhere" / "x.root", {"x": [2]})
    assert path.read_bytes() == before
    write(path, {"x": [2]}, overwrite=True)
    assert read(path).x.to_list() == [2]


def test_a_file_written_meanwhile_by_another_program_is_not_replaced(tmp_path: Path) -> None:
    partial = PartialFile(tmp_path / "x.root")
    partial.temporary.write_text("ours")
    partial.sync()
    partial.path.write_text("theirs")
    with pytest.raises(OutputExists):
        partial.keep()
    assert [path.read_text() for path in tmp_path.iterdir()] == ["theirs"]


@pytest.mark.parametrize("error", [KeyboardInterrupt, RuntimeError, OSError])
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_or_ctrl_c_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, kind: Kind, error: type[BaseException]
) -> None:
    path = write(tmp_path / "x.root", {"x": [1]})
    writer = TreeWriter(path, kind=kind, overwrite=True)
    writer.extend({"x": np.ones(1_000_000)})
    assert len(list(tmp_path.iterdir())) == 2
    with pytest.raises(error, match="stop"), writer:
        raise error("stop")
    assert list(tmp_path.iterdir()) == [path]
    assert read(path).x.to_list() == [1]


@pytest.mark.parametrize("kind", KINDS)
def test_a_disk_that_is_full_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: Kind
) -> None:
    def no_space(*_: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    writer = TreeWriter(tmp_path / "x.root", kind=kind)
    writer.extend({"x": np.ones(10)})
    monkeypatch.setattr(uproot.sink.file.FileSink, "write", no_space)
    with pytest.raises(OSError, match="No space left on device after 0 rows") as caught, writer:
        pass
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "x.root")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_file_beyond_the_systems_limit_ends_the_program_and_leaves_nothing(
    tmp_path: Path, kind: Kind
) -> None:
    # The kernel itself stops the writing in the middle of a basket, as on a full disk or quota.
    program = f"""
        import resource, signal
        import numpy as np
        from hepgen.io.write import TreeWriter
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (3_000_000, resource.RLIM_INFINITY))
        with TreeWriter("x.root", kind={kind!r}, compression="none") as writer:
            for _ in range(20):
                writer.extend({{"x": np.random.default_rng(1).random((10_000, 40))}})
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "File too large after" in done.stderr.splitlines()[-1]
    assert list(tmp_path.iterdir()) == []
