"""Pipelines from Python, and those that are shipped."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from hepgen.data import Features, JetFiles, StreamedBatches
from hepgen.io import expand, write
from hepgen.io.errors import InputError, MissingName
from hepgen.pipeline import pipeline_parser, train, train_from_words
from hepgen.pipeline_keys import check_pipeline, find_tagger, open_parser, read_yaml
from hepgen.sample import JetSample, Parts
from hepgen.taggers import LorentzNet, ParticleNet
from hepgen.training import History

REPOSITORY = Path(__file__).parents[1]
SAMPLE = str(REPOSITORY / "data_samples" / "top_qcd.root")
# Those that compare taggers are tried in test_benchmark.py, processes in test_cross_section.py.
PIPELINES = sorted(
    path
    for path in (REPOSITORY / "pipelines").glob("*.yaml")
    if not path.stem.startswith("benchmark_")
    and path.stem != "drell_yan"
    and "calo_" not in path.stem
)


def test_parts_are_disjoint_complete_and_the_same_for_a_seed() -> None:
    sample = JetSample(SAMPLE, entries=300, fractions=(0.5, 0.2, 0.3))
    parts = sample.parts(Features("kinematics"), seed=4, progress=False)
    assert isinstance(parts, Parts)
    entries = [np.asarray(part.entry) for part in parts]
    assert [len(e) for e in entries] == [150, 60, 90]
    assert sorted(np.concatenate(entries)) == list(range(300))
    again = sample.parts(Features("kinematics"), seed=4, progress=False)
    assert all(ak.all(a.entry == b.entry) for a, b in zip(parts, again, strict=True))
    other = sample.parts(Features("kinematics"), seed=5, progress=False)
    assert not np.array_equal(other.train.entry, parts.train.entry)


def test_a_part_with_files_of_its_own_takes_nothing_from_the_others() -> None:
    sample = JetSample(SAMPLE, entries=200, validation_files=SAMPLE, fractions=(0.8, 0.1, 0.1))
    parts = sample.parts(Features("kinematics"), progress=False)
    assert (len(parts.train), len(parts.validation), len(parts.test)) == (180, 10_000, 20)


def test_only_the_branches_that_the_features_need_are_read() -> None:
    parts = JetSample(SAMPLE, entries=50).parts(Features("kinematics"), progress=False)
    assert "d0" not in parts.train.constituents.fields
    parts = JetSample(SAMPLE, entries=50).parts(Features("full"), progress=False)
    assert "d0" in parts.train.constituents.fields


def test_classes_come_from_labels_files_or_the_file() -> None:
    features = Features("kinematics")
    jets = JetSample(SAMPLE, entries=50).parts(features, progress=False).train
    assert JetSample(SAMPLE).classes(jets) == ("top", "QCD")
    assert JetSample(SAMPLE, labels=["QCD", "top"]).classes(jets) == ("QCD", "top")
    assert JetSample({"a": SAMPLE, "b": SAMPLE + ":tree"}).classes(jets) == ("a", "b")
    with pytest.raises(InputError, match="two classes or more"):
        JetSample(SAMPLE).classes(jets[["pt", "label_top"]])


def test_only_taggers_of_hepgen_can_be_named() -> None:
    assert find_tagger("ParticleNet") is ParticleNet
    assert find_tagger("hepgen.taggers.LorentzNet") is LorentzNet
    for name in ("Tagger", "torch.nn.Linear", "os.system", "ParticleNet2"):
        with pytest.raises(MissingName, match="no tagger"):
            find_tagger(name)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_each_shipped_pipeline_is_understood(path: Path) -> None:
    parser = pipeline_parser()
    check_pipeline(parser, read_yaml(path), [], where=str(path))
    chosen = parser.parse_args(["--config", str(path)])
    content = yaml.safe_load(path.read_text())
    assert chosen.model.class_path.endswith(content["model"])
    assert chosen.fit.epochs == content["fit"]["epochs"]


def test_a_pipeline_written_by_a_run_can_be_run_again(tmp_path: Path) -> None:
    words = ["--model", "ParticleFlowNetwork", "--data.files", SAMPLE, "--data.entries", "200"]
    words += ["--fit.epochs", "1", "--fit.progress", "false"]
    first = train_from_words([*words, "--output", str(tmp_path / "a")])
    again = train_from_words([str(first / "pipeline.yaml"), "--output", str(tmp_path / "b")])
    files = [folder / "model.safetensors" for folder in (first, again)]
    assert files[0].read_bytes()[-1000:] == files[1].read_bytes()[-1000:]


def test_test_jets_are_those_that_training_never_saw(tmp_path: Path) -> None:
    sample = JetSample(SAMPLE, entries=200, fractions=(0.5, 0.1, 0.4), keep=["jet_sdmass"])
    folder = train(
        sample,
        Features("kinematics"),
        "ParticleFlowNetwork",
        output=tmp_path / "run",
        seed=2,
        progress=False,
        epochs=1,
    )
    kept = sample.parts(Features("kinematics"), seed=2, progress=False).test
    rows = uproot.open({str(folder / "test.root"): "tree"}).arrays()
    assert np.array_equal(rows.entry, kept.entry)
    assert np.array_equal(rows.jet_sdmass, kept.jet_sdmass)
    assert np.array_equal(rows.label_top, kept.label_top)


@pytest.fixture
def many_files(tmp_path: Path) -> dict[str, list[str]]:
    """Four files of top jets and four of QCD jets, 50 jets each."""
    files: dict[str, list[str]] = {"top": [], "QCD": []}
    rows = uproot.open({SAMPLE: "tree"}).arrays(entry_stop=600)
    for name, paths in files.items():
        chosen = rows[rows[f"label_{name}"]]
        for i in range(4):
            path = tmp_path / f"{name}_{i}.root"
            columns = [f for f in chosen.fields if not f.startswith("label_") and f != "npart"]
            write(path, {f: chosen[f][50 * i : 50 * i + 50] for f in columns})
            paths.append(str(path))
    return files


def test_jets_that_stay_in_their_files_train_the_same_tagger_interface(
    many_files: dict[str, list[str]], tmp_path: Path
) -> None:
    sample = JetSample(many_files, by="file", fractions=(0.5, 0.25, 0.25), stream=True)
    parts = sample.parts(Features("kinematics"), seed=0)
    assert [len(expand(part.files)) for part in parts] == [4, 2, 2]
    assert {spec.label for spec in expand(parts.test.files)} == {"top", "QCD"}
    folder = train(
        sample,
        Features("kinematics"),
        "ParticleFlowNetwork",
        output=tmp_path / "run",
        epochs=2,
        batch_size=20,
        progress=False,
    )
    assert History.read(folder / "history.csv").rows[-1]["step"] == 20
    for spec in expand(parts.test.files):
        friend = uproot.open({str(folder / "test" / Path(spec.path).name): "hepgen"})
        assert friend.num_entries == 50


def test_streaming_divides_whole_files_only(many_files: dict[str, list[str]]) -> None:
    with pytest.raises(InputError, match="by: file"):
        JetSample(many_files, stream=True).parts(Features("kinematics"))
    with pytest.raises(InputError, match="no meaning with stream"):
        JetSample(many_files, stream=True, by="file", entries=3).parts(Features("kinematics"))
    batches = JetFiles(many_files, pool=2).batches(Features("kinematics"), ["QCD", "top"])
    assert isinstance(batches, StreamedBatches)
    assert sum(int(batch.y.sum()) for batch in batches.epoch(0)) == 200


def test_pipelines_of_all_verbs_begin_alike() -> None:
    parser = open_parser("bake", "--oven.heat 200", "Bake as a pipeline says.", seed="of the dough")
    chosen = parser.parse_args(["--output", "there"])
    assert (chosen.output, chosen.seed) == ("there", 0)
    told = " ".join(parser.format_help().split())
    assert "hepgen bake PIPELINE.yaml [--oven.heat 200 ...]" in told
    assert "Bake as a pipeline says. Options override keys of the YAML." in told
    assert "of the dough (type: int, default: 0)" in told
