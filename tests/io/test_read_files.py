"""Which files are meant, and what opening them finds."""

from __future__ import annotations

import os
import pickle
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot

from hepgen.io import FileSpec, InputError, expand, read
from hepgen.io import errors as all_errors
from hepgen.io.columns import Jagged, as_column, describe, flat_columns
from hepgen.io.errors import (
    EmptyInput,
    MissingFile,
    MissingName,
    NotReadable,
    OutputExists,
    WrongType,
    nearest_names,
)
from hepgen.io.nested import nested_columns, unpad, unpadded_columns
from hepgen.io.root import RootSource, open_tree, readable, tree_names
from tests.io.jet_files import jet_columns, write_root


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("a_1.root", "a_2.root", "b_1.root", "sub/a_3.root"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def paths(files: Any) -> list[str]:
    return [spec.path for spec in expand(files)]


def test_globs_are_sorted_and_lists_keep_their_order(folder: Path) -> None:
    assert paths("a_*.root") == ["a_1.root", "a_2.root"]
    assert paths("**/a_*.root") == ["a_1.root", "a_2.root", "sub/a_3.root"]
    assert paths(["b_1.root", "a_*.root"]) == ["b_1.root", "a_1.root", "a_2.root"]
    assert paths(folder / "b_1.root") == [str(folder / "b_1.root")]
    assert paths(FileSpec("b_1.root")) == ["b_1.root"]


def test_trees_and_classes_stand_before_and_behind(folder: Path) -> None:
    del folder
    assert expand("a_1.root:dir/tree") == [FileSpec("a_1.root", "dir/tree")]
    assert expand("top:a_*.root:tree") == [
        FileSpec("a_1.root", "tree", "top"),
        FileSpec("a_2.root", "tree", "top"),
    ]
    mapping = {"top": "a_*.root", "qcd": ["b_1.root:tree"]}
    assert [(spec.path, spec.label) for spec in expand(mapping)] == [
        ("a_1.root", "top"),
        ("a_2.root", "top"),
        ("b_1.root", "qcd"),
    ]


def test_a_colon_in_a_name_that_exists_is_part_of_it(tmp_path: Path) -> None:
    path = write_root(tmp_path / "qcd:jets.root", jet_columns())
    assert expand(str(path)) == [FileSpec(str(path))]
    assert len(read(path)) == 20


@pytest.mark.parametrize(
    "url", ["root://host//data/a_*.root", "https://host/a.root?token=b:c", "s3://bucket/a.root"]
)
def test_urls_are_passed_on_untouched(url: str) -> None:
    assert expand(url) == [FileSpec(url)]
    assert expand(f"top:{url}") == [FileSpec(url, None, "top")]
    assert FileSpec(url).is_url
    if url.endswith(".root"):
        assert expand(f"{url}:tree") == [FileSpec(url, "tree")]


def test_a_url_that_does_not_answer_is_one_error() -> None:
    with pytest.raises(InputError, match=r"http://127.0.0.1:9/jets.root"):
        read("http://127.0.0.1:9/jets.root")


def test_missing_files_name_the_nearest(folder: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file 'a_4.root'; nearest in that folder: a_"):
        expand("a_4.root")
    with pytest.raises(MissingFile, match=r"no file matches 'c_\*.root'"):
        expand("c_*.root")
    with pytest.raises(MissingFile, match="there is no folder 'nowhere'"):
        expand("nowhere/a.root")
    with pytest.raises(MissingFile, match="no files at all"):
        expand([])
    with pytest.raises(NotReadable, match="is a folder, wanted a file"):
        expand(folder)


def test_files_given_twice_or_half_labelled_are_errors(folder: Path) -> None:
    del folder
    with pytest.raises(InputError, match=r"a_1.root is given twice"):
        expand(["a_1.root", "a_*.root"])
    with pytest.raises(InputError, match=r"but none for b_1.root"):
        expand(["top:a_1.root", "b_1.root"])
    for wrong in (3, [3], {"top": 3}, None):
        with pytest.raises(WrongType, match="wanted a path"):
            expand(wrong)


def test_the_tree_is_chosen_by_name_or_by_being_the_only_one(tmp_path: Path) -> None:
    path = tmp_path / "trees.root"
    with uproot.recreate(path) as file:
        for name in ("Runs", "more/Events", "LuminosityBlocks"):
            file.mktree(name, {"x": np.dtype("f4")}).extend({"x": np.zeros(3, "f4")})
    with uproot.open(path) as file:
        assert sorted(tree_names(file)) == ["LuminosityBlocks", "Runs", "more/Events"]
    with pytest.raises(InputError, match="holds several trees"):
        open_tree(path)
    with open_tree(f"{path}:more/Events") as tree:
        assert tree.num_entries == 3
    with RootSource(FileSpec(str(path), "Runs")) as source:
        assert source.names == ("x",)
        assert not source.is_rntuple
        assert source.tree_name == "Runs"
    with pytest.raises(KeyError, match="nearest: Runs"):
        open_tree(path, tree="Run")
    with uproot.recreate(path) as file:
        file["histogram"] = np.histogram([1.0])
    with pytest.raises(EmptyInput, match="no TTree or RNTuple"):
        open_tree(path)


def test_of_several_trees_the_usual_one_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "nano.root"
    with uproot.recreate(path) as file:
        for name in ("Runs", "Events"):
            file.mktree(name, {"x": np.dtype("f4")}).extend({"x": np.zeros(3, "f4")})
    with open_tree(path) as tree:
        assert tree.name == "Events"


@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_files_cut_anywhere_are_errors(tmp_path: Path, kind: str) -> None:
    whole = write_root(tmp_path / "jets.root", jet_columns(200), kind=kind).read_bytes()
    for size in (0, 3, 60, len(whole) // 3, len(whole) - 200, len(whole) - 1):
        path = tmp_path / "cut.root"
        path.write_bytes(whole[:size])
        with pytest.raises(NotReadable, match=r"cut.root") as error:
            read(path)
        assert "\n" not in str(error.value)


def test_a_damaged_basket_is_an_error(tmp_path: Path) -> None:
    path = write_root(tmp_path / "jets.root", jet_columns(2000))
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 3000] = b"\x77" * 3000
    path.write_bytes(content)
    with pytest.raises(NotReadable, match=r"jets.root \(entries 0 to 2000\) cannot be read"):
        read(path)


def test_what_may_not_be_read_is_an_error() -> None:
    with pytest.raises(NotReadable, match="x cannot be read, it may be damaged"), readable("x"):
        raise PermissionError("no")
    with pytest.raises(MissingFile), readable("x"):
        raise FileNotFoundError("x")
    with pytest.raises(WrongType), readable("x"):
        raise WrongType("as it is")


@pytest.mark.parametrize("name", all_errors.__all__)
def test_errors_keep_their_message_and_kind(name: str) -> None:
    kind = getattr(all_errors, name)
    if not isinstance(kind, type):
        return
    error = kind("what, where")
    assert isinstance(error, InputError)
    assert isinstance(error, ValueError)
    assert str(error) == "what, where"
    assert str(pickle.loads(pickle.dumps(error))) == "what, where"


def test_errors_are_what_usual_handlers_catch() -> None:
    error = MissingName.among(
        "part_p_x",
        ["jet_pt", "part_pz", "part_px", "part_py"],
        kind="branch",
        where="tree 'tree' of jets.root",
    )
    assert isinstance(error, KeyError)
    assert str(error) == (
        "no branch 'part_p_x' in tree 'tree' of jets.root; nearest: part_px, part_pz, part_py"
    )
    assert str(MissingName.among("a", [], kind="tree", where="x")).endswith("there are none at all")
    assert isinstance(MissingFile("x"), FileNotFoundError)
    assert isinstance(OutputExists("x"), FileExistsError)
    assert nearest_names("JET_PT", ["eta", "jet_pt"]) == ["jet_pt", "eta"]


@pytest.mark.parametrize(
    ("values", "kind", "words"),
    [
        ([1.0, 2.0], np.ndarray, "one float64 an entry"),
        ([[1.0, 2.0], []], Jagged, "a list of float64 an entry"),
        ([[True], []], Jagged, "a list of bool an entry"),
        ([[], []], Jagged, "a list of float64 an entry"),
        ([["a"], []], ak.Array, "var * string an entry"),
        ([[[1.0]], []], ak.Array, "var * var * float64 an entry"),
        ([{"x": 1}], ak.Array, "{x: int64} an entry"),
        ([[1.0, None]], ak.Array, "var * ?float64 an entry"),
        (np.ones((2, 3)), np.ndarray, "(3,) float64 an entry"),
    ],
)
def test_columns_are_numbers_or_lists_of_numbers(values: Any, kind: type, words: str) -> None:
    array = ak.from_numpy(values) if isinstance(values, np.ndarray) else ak.Array(values)
    column = as_column(array)
    assert isinstance(column, kind)
    assert describe(column) == words


def test_a_part_of_an_array_becomes_lists_from_zero() -> None:
    array = ak.Array([[1.0, 2.0], [3.0], [], [4.0, 5.0]])
    for part in (array[1:], array[[3, 0]], array[:0]):
        column = as_column(part)
        assert isinstance(column, Jagged)
        assert column.offsets[0] == 0
        assert ak.unflatten(column.values, np.diff(column.offsets)).to_list() == part.to_list()


def test_flat_columns_share_offsets() -> None:
    a, b = as_column(ak.Array([[1.0], [2.0, 3.0]])), as_column(ak.Array([[4], [5, 6]]))
    offsets, flat = flat_columns({"a": a, "b": b}, kind="branch", where="x")
    assert offsets.tolist() == [0, 1, 3]
    assert flat["b"].tolist() == [4, 5, 6]
    c = as_column(ak.Array([[1.0, 2.0], [3.0]]))
    with pytest.raises(InputError, match=r"'a' and branch 'c' of x .* in 2 entries; in entry 0"):
        flat_columns({"a": a, "c": c}, kind="branch", where="x")


def test_nested_and_padded_columns_become_flat() -> None:
    lists = ak.Array([[[1.0, 2.0], []], [], [[3.0]]])
    options = {"kind": "branch", "where": "x"}
    offsets, flat = nested_columns({"a": lists}, np.array([0, 2, 2, 3]), **options)
    assert offsets.tolist() == [0, 2, 2, 3]
    assert flat["a"].tolist() == [1, 2, 3]
    with pytest.raises(InputError, match="not as many lists as there are jets"):
        nested_columns({"a": lists}, np.array([0, 1, 2, 3]), **options)
    with pytest.raises(WrongType, match="wanted a list of numbers for each jet"):
        nested_columns({"a": np.zeros(3)}, np.array([0, 1, 2, 3]), **options)
    padded = {"a": np.array([[1.0, 0.0], [np.nan, 0.0]]), "b": np.array([[0.0, 2.0], [0.0, 0.0]])}
    columns = unpadded_columns(padded, **options)
    assert columns["a"].offsets.tolist() == [0, 2, 3]
    assert columns["b"].values.tolist() == [0, 2, 0]
    assert unpad(np.array([[True, False]]), {"a": padded["a"][:1]})[1]["a"].tolist() == [1]
    with pytest.raises(WrongType, match="wanted 2 numbers an entry"):
        unpadded_columns({**padded, "c": np.zeros((2, 3))}, **options)


def test_reading_leaves_no_file_open(tmp_path: Path) -> None:
    path = write_root(tmp_path / "jets.root", jet_columns())
    descriptors = "/proc/self/fd"
    if not os.path.isdir(descriptors):
        pytest.skip("no /proc")
    read(path)
    held = [
        os.readlink(os.path.join(descriptors, fd))
        for fd in os.listdir(descriptors)
        if os.path.exists(os.path.join(descriptors, fd))
    ]
    assert str(path) not in held
