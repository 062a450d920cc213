"""Pipelines that learn something else than classes."""

from __future__ import annotations

import json
from pathlib import Path

import awkward as ak
import pytest
import uproot
import yaml

from hepgen import checkpoint
from hepgen.data import Features
from hepgen.io import write
from hepgen.io.errors import InputError
from hepgen.pipeline import train, train_from_words
from hepgen.pipeline_head import HeadSpec, head_for, parts_for, sample_for
from hepgen.prediction import predict_files
from hepgen.sample import JetSample

SAMPLE = str(Path(__file__).parents[1] / "data_samples" / "top_qcd.root")


def test_a_pipeline_names_what_is_learnt(tmp_path: Path) -> None:
    pipeline = tmp_path / "mass.yaml"
    head = {"joint": {"heads": {"tag": "classification", "mass": regression_of("jet_sdmass")}}}
    content = {
        "data": {"files": SAMPLE, "entries": 300, "fractions": [0.6, 0.2, 0.2]},
        "model": "ParticleFlowNetwork",
        "head": head,
        "fit": {"epochs": 1},
    }
    pipeline.write_text(yaml.safe_dump(content, sort_keys=False))
    run = train_from_words([str(pipeline), "--output", str(tmp_path / "run")])
    loaded = checkpoint.load(run / "model.safetensors")
    assert loaded.score_names == ("top", "QCD", "m_q16", "m_q50", "m_q84")
    assert float(loaded.head.heads["mass"].scale) > 1
    with uproot.open(run / "test.root") as file:
        columns = file["tree" if "tree" in file else file.keys()[0]].arrays(library="np")
    assert {"score_top", "score_QCD", "m_q16", "m_q50", "m_q84", "jet_sdmass"} <= set(columns)
    assert (columns["m_q16"] <= columns["m_q84"]).all()
    (friend,) = predict_files(
        run / "model.safetensors", SAMPLE, tmp_path / "scores.root", progress=False
    )
    with uproot.open(friend) as file:
        assert {"score_top", "m_q50"} <= set(file["hepgen"].keys())
        assert json.loads(str(file["hepgen_model"]))["classes"] == ["top", "QCD"]


def test_a_regression_writes_the_labels_that_its_jets_have(tmp_path: Path) -> None:
    sample = JetSample(files=SAMPLE, entries=60, fractions=(0.5, 0.0, 0.5))
    head: HeadSpec = {"regression": {"targets": ["mass"]}}
    run = train(
        sample,
        Features(),
        "ParticleFlowNetwork",
        output=tmp_path / "run",
        head=head,
        epochs=1,
        progress=False,
    )
    with uproot.open(run / "test.root") as file:
        names = set(file[file.keys()[0]].keys())
    assert {"mass_mean", "mass_sigma", "label_top", "label_QCD", "mass"} <= names


def regression_of(column: str) -> HeadSpec:
    return {"regression": {"targets": {"m": column}, "kind": "quantile"}}


def test_a_head_reads_its_columns_and_needs_labels_only_for_classes() -> None:
    sample = JetSample(files=SAMPLE, entries=50)
    regression = regression_of("log(jet_sdmass + 1)")
    labelled = {"auxiliary_labels": {"labels": "is_muon", "label_names": ["no", "yes"]}}
    for head in (regression, labelled):
        chosen = sample_for(sample, head)
        assert chosen.keep == (["jet_sdmass"] if head is regression else [])
        parts = parts_for(chosen, Features(["log_pt"]), head, seed=0, progress=False)
        assert ("is_muon" in ak.fields(parts.train.constituents)) == (head is labelled)
        assert ("jet_sdmass" in ak.fields(parts.train)) == (head is regression)
        made = head_for(head, chosen, parts.train, seed=0)
        assert made.classes == (() if head is regression else ("top", "QCD"))
    assert head_for(None, sample, parts.train, seed=0) == ("top", "QCD")
    with pytest.raises(InputError, match="no head 'regresion'"):
        head_for("regresion", sample, parts.train, seed=0)
    negative = {"regression": {"targets": ["eta"], "space": "log"}}
    with pytest.raises(InputError, match="head: target 'eta' in log units should be above 0"):
        head_for(negative, sample, parts.train, seed=0)


def test_a_mass_is_learnt_from_jets_that_stay_in_their_files(
    tmp_path: Path,
) -> None:
    rows = uproot.open({SAMPLE: "tree"}).arrays(entry_stop=200)
    columns = [name for name in rows.fields if name != "npart"]
    for i in range(4):
        write(tmp_path / f"{i}.root", {f: rows[f][50 * i : 50 * i + 50] for f in columns})
    sample = JetSample(
        files=str(tmp_path / "*.root"), stream=True, by="file", fractions=(0.5, 0.25, 0.25)
    )
    head = {"regression": {"targets": ["mass"]}}
    run = train(
        sample, Features(), "ParticleFlowNetwork", output=tmp_path / "run", head=head, epochs=1
    )
    (scores,) = (run / "test").iterdir()
    with uproot.open(scores) as file:
        assert {"mass_mean", "mass_sigma"} <= set(file["hepgen"].keys())
