"""The command line as a user types it: verbs, flags, exit codes, one-line errors."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot

from hepgen.cli import main
from hepgen.quickstart import bundled_sample, quickstart

SAMPLE = Path(__file__).parents[1] / "data_samples" / "top_qcd.root"
PIPELINE = """
data: {files: FILES, entries: 400, fractions: [0.6, 0.2, 0.2]}
features: {names: kinematics}
model: {class_path: ParticleNetLite, init_args: {k: 4}}
fit: {epochs: 1, batch_size: 64}
seed: 3
"""


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    path = tmp_path / "my.yaml"
    path.write_text(PIPELINE.replace("FILES", str(SAMPLE)))
    return path


def fails(capsys: pytest.CaptureFixture[str], *words: str | Path) -> str:
    """The one line that a verb says when it fails, with an exit code that is not 0."""
    assert main([str(word) for word in words]) != 0
    return capsys.readouterr().err.strip()


def test_no_verb_and_help_name_all_verbs(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"]):
        assert main(words) == 0
        said = capsys.readouterr().out
        for verb in ("quickstart", "inspect", "train", "predict", "evaluate", "compare"):
            assert f"\n  {verb} " in said


def test_version_is_that_of_the_package(capsys: pytest.CaptureFixture[str]) -> None:
    import hepgen

    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hepgen {hepgen.__version__}\n"


def test_a_misspelt_verb_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["predit", "m", "f"]) == 2
    assert "nearest: predict" in capsys.readouterr().err


@pytest.mark.parametrize(
    "verb", ["quickstart", "inspect", "train", "predict", "evaluate", "compare"]
)
def test_each_verb_explains_its_options(verb: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([verb, "--help"]) == 0
    assert f"hepgen {verb}" in capsys.readouterr().out


def test_inspect_prints_json_that_can_be_read(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["inspect", str(SAMPLE), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert "JetClass" in json.dumps(found)


def test_inspect_runs_without_torch() -> None:
    program = (
        "import sys; from hepgen.cli import main; "
        f"code = main(['inspect', {str(SAMPLE)!r}]); "
        "sys.exit(code or 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "10,000" in done.stdout


def test_train_predict_evaluate_compare(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    runs = []
    for k in ("4", "5"):
        runs.append(tmp_path / f"run{k}")
        words = ["train", pipeline, "--output", runs[-1], "--model.k", k, "--fit.progress", "false"]
        assert main([str(word) for word in words]) == 0
    folder = runs[1]
    model = folder / "model.safetensors"
    names = {"model.safetensors", "last.ckpt", "history.csv", "run.json", "pipeline.yaml"}
    assert names <= {path.name for path in folder.iterdir()}
    assert "k: 5" in (folder / "pipeline.yaml").read_text()
    with open(folder / "history.csv") as file:
        assert len(list(csv.DictReader(file))) == 1

    friend = tmp_path / "friend.root"
    words = ["predict", str(model), str(SAMPLE), "-o", str(friend), "--observers", "[jet_sdmass]"]
    assert main(words) == 0
    with uproot.open({str(friend): "hepgen"}) as tree, uproot.open({str(SAMPLE): "tree"}) as of:
        rows = tree.arrays()
        truth = of.arrays(["event", "jet_sdmass"])
    assert len(rows) == 10_000
    assert ak.all(rows.event == truth.event)
    assert ak.all(rows.jet_sdmass == truth.jet_sdmass)
    np.testing.assert_allclose(rows.score_top + rows.score_QCD, 1, atol=1e-6)

    assert "exists" in fails(capsys, *words)
    assert main([*words, "--overwrite"]) == 0
    assert main([*words, "--resume", "--batch-size", "99"]) == 0

    # The test jets have the scores of their entries in the friend tree.
    test = uproot.open({str(folder / "test.root"): "tree"}).arrays()
    assert len(test) == 80
    np.testing.assert_allclose(test.score_top, rows.score_top[test.entry], atol=1e-5)

    report = tmp_path / "report"
    words = ["evaluate", str(friend), "--of", str(SAMPLE), "-o", str(report), "--resamples", "10"]
    assert main(words) == 0
    assert "AUC" in capsys.readouterr().out
    assert json.loads((report / "results.json").read_text())
    assert "<html" in (report / "report.html").read_text()
    for run in runs:
        words = ["evaluate", str(run / "test.root"), "-o", str(run / "evaluation")]
        assert main([*words, "--resamples", "10"]) == 0
    folders = [str(run / "evaluation") for run in runs]
    assert main(["compare", *folders, "-o", str(tmp_path / "both")]) == 0
    assert "ParticleNetLite" in (tmp_path / "both" / "report.html").read_text()


def test_a_finished_run_is_not_trained_again_but_another_is_refused(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["train", pipeline, "--output", tmp_path / "run", "--fit.progress", "false"]
    assert main([str(word) for word in words]) == 0
    first = (tmp_path / "run" / "model.safetensors").read_bytes()
    assert main([str(word) for word in words]) == 0
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == first
    said = fails(capsys, *words, "--fit.lr", "0.1")
    assert "lr: 0.001 in the run, 0.1 now" in said


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("seed", "sead"), "no key 'sead' in {path}; nearest: seed"),
        (("epochs", "epoch"), "no key 'fit.epoch' in {path}; nearest: fit.epochs"),
        (("k: 4", "kk: 4"), "no key 'model.init_args.kk' in {path}; nearest: model.init_args.k"),
        (("epochs: 1", "epochs: many"), "fit.epochs"),
        (("ParticleNetLite", "ParticleNetLight"), "nearest: ParticleNetLite"),
        (("ParticleNetLite", "os.system"), "no tagger 'os.system' in hepgen.taggers"),
        (("data:", "data: ["), "is no YAML file"),
        (("fractions: [0.6, 0.2, 0.2]", "fractions: [0.6, 0.2, 0.3]"), "add up to 1"),
        (("kinematics", "kinematic"), "nearest: kinematics"),
        (("top_qcd.root", "top_qdc.root"), "top_qcd.root"),
        (("entries: 400", "entries: 400, where: pt > 1e6"), "is left after where="),
        (("entries: 400", "entries: 400, labels: [top, W]"), "label"),
        (("entries: 400", "entries: 400, labels: {a: pt > 0, b: pt > 600}"), "several"),
    ],
)
def test_a_wrong_pipeline_fails_with_one_clear_error_and_leaves_nothing(
    pipeline: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    change: tuple[str, str],
    said: str,
) -> None:
    pipeline.write_text(pipeline.read_text().replace(*change))
    error = fails(capsys, "train", pipeline, "--output", tmp_path / "run")
    assert said.format(path=pipeline) in error
    assert "Traceback" not in error
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--fit.epoch", "3"), "no option '--fit.epoch' in hepgen train; nearest: --fit.epochs"),
        (("--model.dropuot", "0"), "nearest: --model.dropout"),
        (("--model", "ParticleFlowNet"), "nearest: ParticleFlowNetwork"),
        (("--model=subprocess.Popen",), "no tagger 'subprocess.Popen'"),
    ],
)
def test_a_wrong_option_names_the_nearest(
    pipeline: Path, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], said: str
) -> None:
    assert said in fails(capsys, "train", pipeline, *words)


def test_a_pipeline_that_is_not_there_is_said_so(capsys: pytest.CaptureFixture[str]) -> None:
    assert "no pipeline nowhere.yaml" in fails(capsys, "train", "nowhere.yaml")


def test_a_model_file_cut_short_or_of_another_kind_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.safetensors"
    path.write_bytes(b"no model at all")
    error = fails(capsys, "predict", path, SAMPLE, "-o", tmp_path / "out.root")
    assert "model.safetensors" in error
    assert not (tmp_path / "out.root").exists()


def test_traceback_shows_where_an_error_was_raised(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        main(["inspect", str(tmp_path / "none.root"), "--traceback"])


def test_the_bundled_sample_is_found_and_another_is_not() -> None:
    assert bundled_sample() == SAMPLE
    with pytest.raises(FileNotFoundError, match=r"no sample none\.root"):
        bundled_sample("none.root")


@pytest.mark.slow
def test_quickstart_leaves_models_friends_plots_and_a_page(tmp_path: Path) -> None:
    quickstart(tmp_path / "q", entries=500)
    for tagger in ("ParticleFlowNetwork", "ParticleNetLite"):
        folder = tmp_path / "q" / tagger
        assert (folder / "model.safetensors").exists()
        assert (
            uproot.open({str(folder / "friends" / "top_qcd.root"): "hepgen"}).num_entries == 10_000
        )
        assert (folder / "evaluation" / "report.html").exists()
    assert (tmp_path / "q" / "comparison" / "report.html").exists()
    with uproot.open(tmp_path / "q" / "drell_yan" / "events.root") as events:
        assert events["events"].num_entries == 5000
    with uproot.open(tmp_path / "q" / "showers" / "showers.root") as showers:
        assert showers[showers.keys()[0]].num_entries == 10_000
    assert (tmp_path / "q" / "showers" / "evaluation" / "report.html").exists()
    with pytest.raises(FileExistsError, match="not empty"):
        quickstart(tmp_path / "q")
