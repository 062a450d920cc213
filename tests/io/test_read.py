"""`read` and `iterate` on files in the layout of JetClass."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
import vector

import hepgen.io
from hepgen.io import iterate, read
from hepgen.io.errors import EmptyInput, InputError, LabelError, MissingName, WrongType
from tests.io.jet_files import jet_columns, write_root


@pytest.fixture(params=["ttree", "rntuple"])
def file(tmp_path: Path, request: pytest.FixtureRequest) -> Path:
    return write_root(tmp_path / "jets.root", jet_columns(), kind=request.param, parts=4)


def same(first: ak.Array, second: ak.Array) -> bool:
    return bool(ak.array_equal(first, second, equal_nan=True, check_parameters=False))


def equal(first: Any, second: Any) -> bool:
    return np.array_equal(np.asarray(first), np.asarray(second))


def test_columns_come_under_standard_names_unchanged(file: Path) -> None:
    jets, columns = read(file), jet_columns()
    assert jets.attrs["schema"] == "JetClass"
    assert jets.attrs["files"] == [str(file)]
    assert jets.attrs["tree"] == "tree"
    assert jets.attrs["collection"] is None
    for field, name in (
        ("px", "part_px"),
        ("energy", "part_energy"),
        ("charge", "part_charge"),
        ("is_photon", "part_isPhoton"),
        ("d0", "part_d0val"),
        ("delta_eta", "part_deta"),
    ):
        assert same(jets.constituents[field], columns[name]), field
    assert equal(jets.pt, columns["jet_pt"])
    assert equal(jets.label_top, columns["label_top"] == 1)
    assert jets.label_top.type.content.primitive == "bool"


def test_momenta_have_vector_behaviour(file: Path) -> None:
    jets, columns = read(file), jet_columns()
    assert ak.parameters(jets)["__record__"] == "Momentum4D"
    assert ak.parameters(jets.constituents[1])["__record__"] == "Momentum4D"
    assert isinstance(jets.constituents, vector.backends.awkward.MomentumArray4D)
    assert np.allclose(jets.energy, columns["jet_energy"], rtol=1e-6)
    expected = np.hypot(columns["part_px"], columns["part_py"])
    assert ak.all(np.abs(jets.constituents.pt - expected) < 1e-4)


def test_the_mass_of_a_jet_follows_from_its_energy(file: Path) -> None:
    # The rounding of E = 1000 GeV to float32 moves a mass of 80.4 GeV by up to 0.4 GeV.
    assert np.allclose(read(file).mass, 80.4, atol=1.0)


def test_constituent_columns_share_one_offsets_array_without_a_copy(file: Path) -> None:
    layout = read(file).constituents.layout
    assert isinstance(layout, ak.contents.ListOffsetArray)
    assert isinstance(layout.content, ak.contents.RecordArray)
    assert all(
        isinstance(layout.content[name], ak.contents.NumpyArray) for name in layout.content.fields
    )
    assert layout.offsets[0] == 0
    assert layout.offsets[-1] == len(layout.content)


def test_entry_and_jet_index_put_results_back(file: Path) -> None:
    jets = read(file, entry_start=5, entry_stop=12, where="jet_sdmass > 50", keep=["event"])
    assert equal(jets.entry + 10_000, jets.event)
    assert jets.entry.type.content.primitive == "int64"
    assert np.all(np.asarray(jets.jet_index) == 0)


@pytest.mark.parametrize(
    "where", ["pt > 700", "jet_sdmass > 50", "num_constituents >= 5", "entry < 3"]
)
def test_a_selection_gives_what_indexing_gives(file: Path, where: str) -> None:
    columns, jets = jet_columns(), read(file)
    known = {
        "pt > 700": columns["jet_pt"] > 700,
        "jet_sdmass > 50": columns["jet_sdmass"] > 50,
        "num_constituents >= 5": ak.to_numpy(ak.num(columns["part_px"])) >= 5,
        "entry < 3": np.arange(20) < 3,
    }
    selected = read(file, where=where)
    assert same(selected, jets[known[where]])
    assert selected.constituents.layout.offsets[0] == 0


def test_only_fields_that_are_asked_for_are_there(file: Path) -> None:
    jets = read(file, fields=["charge", "delta_phi", "pt"])
    assert jets.constituents.fields == ["px", "py", "pz", "energy", "charge", "delta_phi"]
    assert read(file, fields=()).constituents.fields == ["px", "py", "pz", "energy"]


def test_a_flag_that_follows_from_the_pid_reads_the_pid(tmp_path: Path) -> None:
    columns = jet_columns()
    del columns["part_isPhoton"]
    columns["part_pid"] = ak.values_astype(ak.ones_like(columns["part_charge"]) * 211, "int32")
    file = write_root(tmp_path / "jets.root", columns)
    assert read(file, fields=["is_photon"]).constituents.fields[4:] == ["charge", "pid"]


@pytest.mark.parametrize("step", [1, 3, 7, 100, "1 kB", "100 MB"])
def test_chunks_put_together_are_the_whole(file: Path, step: int | str) -> None:
    chunks = list(iterate(file, step=step, where="pt > 600", keep=["jet_sdmass"]))
    assert all(len(chunk) for chunk in chunks)
    assert all(chunk.attrs["schema"] == "JetClass" for chunk in chunks)
    whole = read(file, where="pt > 600", keep=["jet_sdmass"])
    assert same(ak.concatenate(chunks), whole)


def test_chunks_end_where_baskets_do(tmp_path: Path) -> None:
    file = write_root(tmp_path / "jets.root", jet_columns(100), parts=5)
    assert [len(chunk) for chunk in iterate(file, step=50)] == [40, 40, 20]
    assert [len(chunk) for chunk in iterate(file, step=8)] == [8, 8, 4] * 5


def test_entry_ranges_count_through_all_files(tmp_path: Path) -> None:
    files = [write_root(tmp_path / f"{i}.root", jet_columns(10, seed=i)) for i in range(3)]
    jets = read(files)
    assert equal(jets.file_index, np.repeat([0, 1, 2], 10))
    assert equal(jets.entry, np.tile(np.arange(10), 3))
    assert same(read(files, entry_start=7, entry_stop=23), jets[7:23])
    assert same(read(str(tmp_path / "*.root")), jets)
    parts = list(iterate(files, step=4, entry_start=7, entry_stop=23))
    assert same(ak.concatenate(parts), jets[7:23])
    assert len({int(part.file_index[0]) for part in parts}) == 3


def test_the_tree_is_found_or_named(tmp_path: Path) -> None:
    file = tmp_path / "two.root"
    columns = jet_columns(4)
    with uproot.recreate(file) as out:
        out.mktree("first", {"jet_pt": np.dtype("f4")}).extend({"jet_pt": columns["jet_pt"]})
    other = write_root(tmp_path / "one.root", columns, tree="analysis")
    assert len(read(other)) == len(read(f"{other}:analysis")) == len(read(other, tree="analysis"))
    with pytest.raises(MissingName, match=r"no tree 'analysi' in .*one.root; nearest: analysis"):
        read(f"{other}:analysi")


def test_nan_and_inf_are_passed_on(tmp_path: Path) -> None:
    columns = jet_columns()
    values = ak.to_numpy(ak.flatten(columns["part_px"])).copy()
    values[:3] = [np.nan, np.inf, -np.inf]
    columns["part_px"] = ak.unflatten(values, ak.num(columns["part_px"]))
    columns["jet_pt"][2] = np.nan
    jets = read(write_root(tmp_path / "jets.root", columns))
    assert same(jets.constituents.px, columns["part_px"])
    assert np.isnan(jets.pt[2])
    selected = read(tmp_path / "jets.root", where="pt > 0")
    assert len(selected) == 19


def test_labels_come_by_name_by_expression_and_by_file(tmp_path: Path) -> None:
    columns = jet_columns()
    file = write_root(tmp_path / "jets.root", columns)
    for labels in (["top", "qcd"], {"top": "label_top == 1", "qcd": "label_qcd == 1"}):
        jets = read(file, labels=labels)
        assert equal(jets.label_top, columns["label_top"] == 1)
    heavy = read(file, labels={"heavy": "jet_sdmass > 100", "light": "jet_sdmass <= 100"})
    assert equal(heavy.label_heavy, columns["jet_sdmass"] > 100)
    other = write_root(tmp_path / "other.root", jet_columns(5))
    by_file = read({"signal": file, "background": [other]})
    assert equal(by_file.label_signal, np.repeat([True, False], [20, 5]))
    assert same(by_file, read([f"signal:{file}", f"background:{other}"]))
    assert "label_top" not in by_file.fields


def test_one_integer_label_tells_quarks_from_gluons_where_asked(tmp_path: Path) -> None:
    columns = jet_columns()
    columns["label"] = columns.pop("label_top")
    del columns["label_qcd"]
    file = write_root(tmp_path / "jets.root", columns)
    assert not [name for name in read(file).fields if name.startswith("label_")]
    jets = read(file, labels=["quark", "gluon"])
    assert equal(jets.label_quark, columns["label"] == 1)


def test_a_jet_in_no_class_or_two_is_an_error(tmp_path: Path) -> None:
    columns = jet_columns()
    columns["label_qcd"] = np.ones_like(columns["label_qcd"])
    columns["label_qcd"][3] = columns["label_top"][3] = 0
    file = write_root(tmp_path / "jets.root", columns)
    with pytest.raises(LabelError) as error:
        read(file, labels=["top", "qcd"])
    several = int(columns["label_top"].sum())
    assert "1 of 20 jets are in none of the classes top, qcd (entries 3)" in str(error.value)
    assert f"{several} of 20 jets are in several" in str(error.value)
    # A selection comes before the labels are checked.
    assert len(read(file, labels=["qcd"], where="label_qcd == 1")) == 19


def test_a_class_that_nothing_tells_names_the_nearest(file: Path) -> None:
    with pytest.raises(MissingName, match=r"no class or label column 'tob' .*nearest: top"):
        read(file, labels=["tob", "qcd"])
    with pytest.raises(WrongType, match="list of classes"):
        read(file, labels="top")


def test_a_label_column_that_is_not_0_or_1_is_an_error(tmp_path: Path) -> None:
    columns = jet_columns()
    columns["label_top"] = columns["label_top"] + 3
    file = write_root(tmp_path / "jets.root", columns)
    with pytest.raises(WrongType, match="wanted 0 or 1"):
        read(file, labels=["top", "qcd"])


def test_nothing_after_the_selection_says_how_many_there_were(file: Path) -> None:
    with pytest.raises(EmptyInput, match=r"none of 20 jets of jets.root .* where='pt > 1e5'"):
        read(file, where="pt > 1e5")
    with pytest.raises(EmptyInput, match="none of 20 jets"):
        list(iterate(file, step=3, where="pt > 1e5"))
    with pytest.raises(EmptyInput, match=r"no entry 50 in jets.root, which hold 20"):
        read(file, entry_start=50)


def test_an_empty_tree_is_an_error(tmp_path: Path) -> None:
    columns = {name: values[:0] for name, values in jet_columns().items()}
    file = write_root(tmp_path / "jets.root", columns)
    with pytest.raises(EmptyInput, match=r"no entries in jets.root"):
        read(file)
    full = write_root(tmp_path / "full.root", jet_columns())
    assert len(read([file, full])) == 20


def test_a_missing_name_names_the_nearest(file: Path) -> None:
    for arguments in ({"where": "jet_sdmas > 3"}, {"keep": ["jet_sdmas"]}):
        with pytest.raises(KeyError) as error:
            read(file, **arguments)
        assert str(error.value) == (
            "no branch 'jet_sdmas' in tree 'tree' of jets.root; nearest: "
            + str(error.value).split("nearest: ")[1]
        )
        assert str(error.value).split("nearest: ")[1].startswith("jet_sdmass")
    with pytest.raises(MissingName, match=r"no field of constituents 'charg' .*nearest: charge"):
        read(file, fields=["charg"])


def test_lists_of_different_lengths_are_an_error(tmp_path: Path) -> None:
    columns = jet_columns()
    columns["part_d0val"] = ak.concatenate([columns["part_d0val"][:-1], [[1.0] * 50]])
    columns["part_d0val"] = ak.values_astype(columns["part_d0val"], "float32")
    file = write_root(tmp_path / "jets.root", columns)
    with pytest.raises(
        InputError, match=r"'part_px' and branch 'part_d0val'.* in 1 entries; in entry 19"
    ):
        read(file)
    assert len(read(file, fields=["charge"])) == 20


def test_a_column_of_the_wrong_type_is_an_error(tmp_path: Path) -> None:
    columns = jet_columns()
    columns["part_d0val"] = columns["jet_pt"]
    file = write_root(tmp_path / "flat.root", columns)
    with pytest.raises(
        WrongType, match=r"'part_d0val' .* holds one float32 an entry, wanted a list"
    ):
        read(file)
    with pytest.raises(WrongType, match="gives no single value for a jet"):
        read(file, where="part_px > 0", fields=())


def test_different_branches_in_different_files_name_file_and_branch(tmp_path: Path) -> None:
    first = write_root(tmp_path / "a.root", jet_columns())
    columns = jet_columns()
    del columns["part_charge"]
    second = write_root(tmp_path / "b.root", columns)
    for files, lacking in (((first, second), "b"), ((second, first), "b")):
        with pytest.raises(InputError, match=rf"of {lacking}.root .* has no branch 'part_charge'"):
            read(files)
    assert len(read([first, second], fields=["d0"])) == 40
    del columns["part_px"]
    third = write_root(tmp_path / "c.root", columns)
    with pytest.raises(InputError, match=r"c.root is not JetClass: it misses part_px"):
        read([first, third])


@pytest.mark.parametrize(
    "arguments",
    [{"step": 0}, {"step": -3}, {"step": "many"}, {"step": "0 MB"}, {"step": 1.5}, {"step": True}],
)
def test_a_step_that_is_no_size_is_an_error_at_once(
    file: Path, arguments: dict[str, object]
) -> None:
    with pytest.raises(InputError, match=r"size|step"):
        iterate(file, **arguments)


def test_bad_entry_ranges_are_errors(file: Path) -> None:
    with pytest.raises(InputError, match="entry_start should not be negative, got -3"):
        read(file, entry_start=-3)
    with pytest.raises(EmptyInput, match="no entries from entry_start=5 to entry_stop=5"):
        read(file, entry_start=5, entry_stop=5)


def test_progress_goes_to_stderr(file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    read(file, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "reading" in captured.err


def test_a_weight_column_becomes_the_weight(tmp_path: Path) -> None:
    columns = jet_columns()
    columns["weight"] = np.linspace(-1, 1, 20).astype("f4")
    jets = read(write_root(tmp_path / "jets.root", columns), where="pt > 700")
    assert equal(jets.weight, columns["weight"][columns["jet_pt"] > 700])


def test_kept_lists_and_numbers_keep_their_names(file: Path) -> None:
    jets = read(file, keep=["jet_sdmass", "part_dphi"], where="pt > 700")
    chosen = jet_columns()["jet_pt"] > 700
    assert equal(jets.jet_sdmass, jet_columns()["jet_sdmass"][chosen])
    assert same(jets.part_dphi, jet_columns()["part_dphi"][chosen])
    with pytest.raises(InputError, match="'pt' cannot be kept"):
        read(file, keep=["pt"])
    columns = jet_columns()
    columns["tau"] = columns["jet_pt"]
    other = write_root(file.parent / "other.root", columns)
    with pytest.raises(InputError, match="'tau' cannot be kept: jets have a coordinate"):
        read(other, keep=["tau"])
    assert len(read(other, where="tau > 700")) == chosen.sum()


def test_the_public_names_are_there() -> None:
    assert set(hepgen.io.__all__) <= set(dir(hepgen.io))
    assert "charge" in hepgen.io.FIELDS
