"""weaver's data configurations; what their features give is in test_features_weaver.py."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import yaml

import hepgen
from hepgen.data import Features
from hepgen.data.constituents import Constituents
from hepgen.data.formulas import Formula, is_formula, recognise
from hepgen.data.weaver import JETCLASS_NAMES, Variable, WeaverConfig, read_weaver_config
from hepgen.io.errors import InputError, MissingFile, MissingName, SchemaError
from hepgen.io.expressions import ExpressionError
from tests.taggers.jets import make_jets

CONFIGS = "weaver_configs/particle_transformer"
MINIMAL = {
    "new_variables": {"log_px2": "np.log(twice)", "twice": "2 * part_px**2", "same": "same"},
    "inputs": {"pf_features": {"length": 50, "vars": [["log_px2", 1, 2, -3, 4], "part_charge"]}},
    "labels": {"type": "simple", "value": ["label_top", "label_QCD"]},
}


def write(path: Path, content: dict) -> Path:
    path.write_text(yaml.safe_dump(content))
    return path


def test_features_that_hepgen_has_are_recognised_however_they_are_written() -> None:
    spellings = {
        "np.log(np.hypot(px, py))": "log_pt",
        "0.5 * log(px**2 + py**2)": "log_pt",
        "log(hypot(px, py) / jet_pt)": "log_pt_fraction",
        "np.tanh(d0)": "tanh_d0",
        "charge": "charge",
    }
    assert {text: recognise(text) for text in spellings} == spellings
    assert recognise("log(pt) + 0.01") is None
    assert recognise("jet_sdmass * px") is None


def test_a_formula_is_a_feature_like_any_other() -> None:
    jets = make_jets([3, 0, 5])
    text = "log(hypot(px, py)) - log(jet_pt) + 0 * charge"
    got = Features([text, "log_pt"]).transform(jets)
    flat = Constituents.of(jets)
    expected = np.log(np.hypot(flat.px, flat.py) / flat.spread(flat.jet_pt))
    np.testing.assert_allclose(got[:, 0], expected, rtol=1e-5, atol=1e-6)
    features = Features([text, "3.5 + 0 * px"])
    assert features.fields == ("charge", "delta_eta", "delta_phi")
    np.testing.assert_array_equal(features.transform(jets)[:, 1], 3.5)
    again = Features.from_dict(json.loads(json.dumps(features.to_dict())))
    np.testing.assert_array_equal(again.transform(jets), features.transform(jets))
    assert Formula(text) == Formula(text)
    assert hash(Formula(text)) == hash(Formula(text))
    assert is_formula(text)
    assert not is_formula("log_pt")
    assert not is_formula("log(")


def test_what_is_no_formula_or_no_column_is_told() -> None:
    with pytest.raises(ExpressionError):
        Features(["__import__('os')"])
    with pytest.raises(MissingName, match="no field 'd1'"):
        Features(["abs(d1)"]).transform(make_jets([3]))
    with pytest.raises(MissingName, match="no feature 'log_pz'"):
        Features(["log_pz"])


@pytest.mark.parametrize("name", ["kin", "kinpid", "full"])
def test_the_published_configurations_are_the_sets_of_hepgen(real_data: Path, name: str) -> None:
    config = read_weaver_config(real_data / CONFIGS / f"JetClass/JetClass_{name}.yaml")
    assert isinstance(config, WeaverConfig)
    known = Features({"kin": "kinematics", "kinpid": "kinematics+pid", "full": "full"}[name])
    found = config.features()
    assert found.names == known.names
    assert found.max_constituents == 128
    for key in ("centre", "scale"):
        np.testing.assert_array_equal(getattr(found, key), getattr(known, key))
    config.check_coordinates()
    assert config.classes[:2] == ("QCD", "Hbb")
    assert len(config.classes) == 10


def test_labels_and_selection_read_a_file_as_weaver_does(real_data: Path) -> None:
    config = read_weaver_config(real_data / CONFIGS / "QuarkGluon/qg_kin.yaml")
    assert config.reading() == {
        "labels": {"jet_isQ": "label", "jet_isG": "1 - label"},
        "where": None,
    }
    second = read_weaver_config(
        real_data / "weaver_configs/sophon/data/JetClassII/JetClassII_full.yaml"
    )
    reading = second.reading()
    assert reading["where"].startswith("(jet_pt > 200) & (jet_pt < 2500)")
    file = real_data / "root/sophon_JetClassII_example.root"
    jets = hepgen.read(file, where=reading["where"], keep=["jet_sdmass"])
    assert 0 < len(jets) <= 100
    assert ak.all(jets.jet_sdmass > 20)


def test_other_momenta_than_those_of_batches_are_refused(real_data: Path) -> None:
    path = real_data / "weaver_configs/sophon/data/JetClassII/JetClassII_full.yaml"
    config = read_weaver_config(path)
    names = config.features().names
    assert names[0] == "np.log(np.hypot(px / jet_pt * 500, py / jet_pt * 500))"
    with pytest.raises(SchemaError, match=r"pf_vectors is px / jet_pt \* 500, .* as they are"):
        config.check_coordinates()


def test_new_variables_standardisation_and_length_are_those_of_the_file(tmp_path: Path) -> None:
    config = read_weaver_config(write(tmp_path / "a.yaml", MINIMAL))
    assert config.inputs["pf_features"] == (
        Variable("log_px2", 1.0, 2.0, -3.0, 4.0),
        Variable("part_charge", None),
    )
    assert config.expression("log_px2") == "np.log(2 * px ** 2)"
    features = config.features()
    assert features.names == ("np.log(2 * px ** 2)", "charge")
    jets = make_jets([20])
    px = np.asarray(ak.flatten(jets.constituents.px), np.float64)
    expected = np.clip((np.log(2 * px**2) - 1) * 2, -3, 4)
    np.testing.assert_allclose(features.transform(jets)[:, 0], expected, rtol=1e-4, atol=1e-5)
    assert JETCLASS_NAMES["part_px"] == "px"


def test_the_exported_numbers_are_those_of_the_yaml(real_data: Path, tmp_path: Path) -> None:
    config = read_weaver_config(real_data / CONFIGS / "JetClass/JetClass_full.yaml")
    groups = {}
    for name, variables in config.inputs.items():
        infos = {}
        for v in variables:
            plain = v.centre is None
            infos[v.name] = {
                "median": 0 if plain else v.centre,
                "norm_factor": 1 if plain else v.scale,
                "replace_inf_value": 0,
                "lower_bound": -1e32 if plain else v.low,
                "upper_bound": 1e32 if plain else v.high,
                "pad": 0,
            }
        names = [v.name for v in variables]
        groups[name] = {"var_names": names, "var_length": 128, "var_infos": infos}
    content = {"input_names": list(groups), "output_names": ["softmax"], **groups}
    (tmp_path / "preprocess.json").write_text(json.dumps(content))
    read = read_weaver_config(tmp_path / "preprocess.json")
    assert read.classes == ()
    assert read.features().to_dict() == config.features().to_dict()
    read.check_coordinates()


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"input": {}}, MissingName, "no key 'input'.*nearest: inputs"),
        ({"inputs": None}, InputError, "is no data configuration of weaver"),
        ({"inputs": {"pf_features": {"vars": []}}, "preprocess": {"method": "auto"}}, None, ""),
        (
            {"inputs": {"pf_features": {"vars": [["part_px", 1, None]]}}},
            InputError,
            r"'part_px' has \[1, None\]; wanted numbers after the centre",
        ),
        (
            {"inputs": {"pf_features": {"vars": [["part_px", "one"]]}}},
            InputError,
            r"a\.yaml is no data configuration of weaver: .*'one'",
        ),
        (
            {"inputs": {"pf_features": {"vars": ["part_px"]}}, "preprocess": {"method": "auto"}},
            InputError,
            "'part_px' is to be standardised automatically",
        ),
    ],
)
def test_what_cannot_be_understood_is_told(
    tmp_path: Path, change: dict, error: type[Exception] | None, match: str
) -> None:
    path = write(tmp_path / "a.yaml", {**MINIMAL, **change})
    if error is None:
        assert read_weaver_config(path).inputs == {"pf_features": ()}
        return
    with pytest.raises(error, match=match):
        read_weaver_config(path)


def test_circles_and_unknown_branches_are_told(tmp_path: Path) -> None:
    circle = {**MINIMAL, "new_variables": {"log_px2": "a + 1", "a": "2 * b", "b": "a"}}
    with pytest.raises(InputError, match="log_px2 -> a -> b -> a is a circle"):
        read_weaver_config(write(tmp_path / "a.yaml", circle)).features()
    own = {**MINIMAL, "new_variables": {"log_px2": "np.log(pfcand_pt)"}}
    path = write(tmp_path / "b.yaml", own)
    with pytest.raises(MissingName, match=r"'pfcand_pt'.*give names=\{branch: field\}"):
        read_weaver_config(path).features()
    assert read_weaver_config(path, names={"pfcand_pt": "pt"}).features().names[0] == "log_pt"
    with pytest.raises(MissingName, match=r"no input 'pf_feature'.*nearest: pf_features"):
        read_weaver_config(path).features("pf_feature")
    bad = {**MINIMAL, "new_variables": {"log_px2": "np.log("}}
    with pytest.raises(InputError, match=r"log_px2: .*never closed"):
        read_weaver_config(write(tmp_path / "c.yaml", bad)).features()
    with pytest.raises(MissingFile, match="wanted a YAML of weaver"):
        read_weaver_config(tmp_path / "none.yaml")
    (tmp_path / "d.json").write_text("{")
    with pytest.raises(InputError, match=r"d\.json cannot be read"):
        read_weaver_config(tmp_path / "d.json")
    (tmp_path / "e.yaml").write_text("- 1")
    with pytest.raises(InputError, match="should hold keys and values"):
        read_weaver_config(tmp_path / "e.yaml")
