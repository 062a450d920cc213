"""Several taggers side by side."""

from __future__ import annotations

import csv
import io
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from sklearn.metrics import accuracy_score, roc_auc_score

import hepgen
from hepgen import cli, plots
from hepgen.benchmark import Costs, Row, Table, benchmark, benchmark_from_words, costs
from hepgen.benchmark.plan import Entry, Plan, read_plan
from hepgen.benchmark.run import write_table
from hepgen.data import Features, PackedJets
from hepgen.io.errors import InputError, MissingName, WrongType
from hepgen.metrics import Estimate
from hepgen.taggers import ParticleFlowNetwork
from tests.taggers.jets import CLASSES, make_jets

REPOSITORY = Path(__file__).parents[1]
SAMPLE = str(REPOSITORY / "data_samples" / "top_qcd.root")
BENCHMARKS = sorted((REPOSITORY / "pipelines").glob("benchmark_*.yaml"))
NARROW = {"class_path": "ParticleFlowNetwork", "init_args": {"phi_channels": [8, 8]}}


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    content = {
        "data": {"files": SAMPLE, "entries": 300, "fractions": [0.5, 0.1, 0.4]},
        "fit": {"epochs": 1, "batch_size": 50, "accelerator": "cpu"},
        "seeds": [1, 2],
        "taggers": {
            "PFN": "ParticleFlowNetwork",
            "narrow": {
                "model": NARROW,
                "features": {"names": "full"},
                "fit": {"lr": 0.01},
                "published": {"AUC": "0.98 of the paper"},
            },
        },
    }
    path = tmp_path / "few.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_each_tagger_sees_the_same_jets_and_is_judged_as_scikit_learn_would(
    plan: Path, tmp_path: Path
) -> None:
    chosen = read_plan(plan, output=tmp_path / "out")
    table = benchmark(chosen, progress=False)
    assert isinstance(table, Table)
    assert [row.name for row in table.rows] == ["PFN", "narrow"]
    test = chosen.entries[0].pipeline.sample.parts(Features(), seed=0, progress=False).test
    top = np.asarray(test.label_top)
    for row in table.rows:
        assert isinstance(row, Row)
        for i, seed in enumerate((1, 2)):
            scores = np.load(tmp_path / "out" / row.name / f"seed_{seed}" / "scores.npy")
            # Classes come from the file as top, QCD.
            assert row.metrics["AUC"][i].value == pytest.approx(roc_auc_score(top, scores[:, 0]))
            expected = accuracy_score(top, scores[:, 0] > scores[:, 1])
            assert row.metrics["accuracy"][i].value == pytest.approx(expected)
    folder = tmp_path / "out"
    lines = list(csv.DictReader(io.StringIO((folder / "table.csv").read_text())))
    assert [(line["tagger"], line["seed"]) for line in lines] == [
        ("PFN", "1"),
        ("PFN", "2"),
        ("narrow", "1"),
        ("narrow", "2"),
    ]
    assert float(lines[0]["AUC"]) == table.rows[0].metrics["AUC"][0].value
    assert (folder / "table.md").read_text() == table.markdown()
    assert "0.98 of the paper" in str(table)
    assert (folder / "table.png").read_bytes().startswith(b"\x89PNG")


def test_what_is_done_is_kept_and_other_settings_are_refused(plan: Path, tmp_path: Path) -> None:
    words = [str(plan), "-o", str(tmp_path / "out"), "--taggers", "PFN"]
    first = benchmark_from_words([*words, "--seeds", "1"])
    weights = tmp_path / "out" / "PFN" / "seed_1" / "model.safetensors"
    before = weights.stat().st_mtime_ns
    second = benchmark_from_words(words)
    assert weights.stat().st_mtime_ns == before
    assert second.rows[0].metrics["AUC"][0] == first.rows[0].metrics["AUC"][0]
    assert second.rows[0].seeds == (1, 2)
    with pytest.raises(InputError, match=r"other settings.*: epochs: 1 there, epochs: 2 here$"):
        benchmark_from_words([*words, "--fit.epochs", "2"])
    (tmp_path / "out" / "PFN" / "seed_1" / "result.json").write_text("{")
    with pytest.raises(InputError, match=r"result\.json is damaged"):
        benchmark_from_words(words)


def test_the_command_line_prints_the_table(
    plan: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["benchmark", str(plan), "-o", str(tmp_path / "out"), "--taggers", "narrow"]
    assert cli.main([*words, "--seeds", "3"]) == 0
    assert "| narrow |" in capsys.readouterr().out
    assert cli.main([*words, "--fit.epoch", "3"]) == 1
    assert "nearest: --fit.epochs" in capsys.readouterr().err


def test_costs_are_counted_as_by_hand() -> None:
    torch.manual_seed(0)
    tagger = ParticleFlowNetwork(Features(), CLASSES, (10, 20), (5,))
    found = costs(tagger, make_jets([7] * 30))
    assert isinstance(found, Costs)
    assert found.parameters == sum(p.numel() for p in tagger.parameters())
    multiplications = 7 * (7 * 10 + 10 * 20) + 20 * 5 + 5 * 2
    assert found.megaflops == pytest.approx(2e-6 * multiplications)
    assert found.jets_per_second > 0
    assert found.device == "cpu"
    assert tagger.training
    with pytest.raises(ValueError, match="there are none"):
        costs(tagger, make_jets([]))
    packed = PackedJets.pack(make_jets([7] * 30), tagger.features)
    assert len(packed) == 30


def row(values: list[float], errors: list[float], limit: float | None = None) -> Row:
    estimates = [Estimate(v, e, limit) for v, e in zip(values, errors, strict=True)]
    numbers = dict.fromkeys(
        ["parameters", "megaflops", "train_seconds", "train_jets_per_second", "jets_per_second"],
        1.0,
    )
    return Row("a", "A", tuple(range(len(values))), {"AUC": estimates}, numbers, {})


def test_errors_of_seeds_and_of_the_sample_are_told_apart(tmp_path: Path) -> None:
    some = row([0.90, 0.92, 0.94], [0.01, 0.01, 0.01])
    assert some.mean("AUC") == pytest.approx(0.92)
    assert some.spread("AUC") == pytest.approx(0.02)
    assert some.sampling("AUC") == pytest.approx(0.01)
    assert some.text("AUC") == "0.920 ± 0.020 ± 0.010"
    assert row([0.9], [0.01]).text("AUC") == "0.900 ± 0.010"
    assert row([0.9, 0.9], [0.01, 0.01]).text("AUC") == "0.900 ± 0 ± 0.010"
    assert math.isnan(row([0.9], [0.01]).spread("AUC"))
    assert row([math.inf, 800.0], [math.nan, 300.0], 500.0).text("AUC").startswith("> 500")
    table = Table((some,), "Of nothing.")
    assert table.metrics == ("AUC",)
    write_table(table, tmp_path / "new")
    assert {p.name for p in (tmp_path / "new").iterdir()} == {"table.csv", "table.md", "table.png"}


def test_the_picture_has_a_panel_a_metric_and_a_line_a_tagger() -> None:
    columns = {
        "AUC": {"a": (0.9, 0.01, 0.02), "b": (0.8, math.nan, 0.02)},
        "rejection": {"a": (math.inf, 1.0, 1.0), "b": (50.0, 3.0, 2.0)},
    }
    figure = plots.taggers_side_by_side(columns)
    assert [ax.get_xlabel() for ax in figure.axes] == ["AUC", "rejection"]
    assert [t.get_text() for t in figure.axes[0].get_yticklabels()] == ["a", "b"]
    assert len(figure.axes[0].containers) == 3
    assert len(figure.axes[1].containers) == 2
    with pytest.raises(ValueError, match="no metric"):
        plots.taggers_side_by_side({})


@pytest.mark.parametrize("path", BENCHMARKS, ids=lambda path: path.stem)
def test_each_shipped_benchmark_is_understood_and_its_taggers_can_be_built(path: Path) -> None:
    chosen = read_plan(path)
    assert isinstance(chosen, Plan)
    for entry in chosen.entries:
        assert isinstance(entry, Entry)
        cls = getattr(hepgen.taggers, entry.pipeline.model)
        tagger = cls(entry.pipeline.features, CLASSES, **entry.pipeline.arguments)
        assert sum(p.numel() for p in tagger.parameters()) > 0


def _recipes() -> list[tuple[str, str, str]]:
    """All of the top-tagging set; of the other sets what is not among these."""
    samples = {"top": "top_qcd", "quark_gluon": "quark_gluon", "jetclass": "top_qcd"}
    few = {"quark_gluon": ["PFN", "LorentzNet"], "jetclass": ["ParticleNet"]}
    found = []
    for name, sample in samples.items():
        path = REPOSITORY / f"pipelines/benchmark_{name}.yaml"
        taggers = few.get(name, yaml.safe_load(path.read_text())["taggers"])
        found += [(name, tagger, sample) for tagger in taggers]
    return found


@pytest.mark.slow
@pytest.mark.parametrize(("name", "tagger", "sample"), _recipes())
def test_the_papers_recipes_run_on_the_bundled_samples(
    name: str, tagger: str, sample: str, tmp_path: Path
) -> None:
    words = ["--data.files", str(REPOSITORY / f"data_samples/{sample}.root")]
    words += ["--data.validation_files", "null", "--data.test_files", "null"]
    words += ["--data.fractions", "[0.4, 0.2, 0.4]", "--data.entries", "60"]
    words += ["--fit.epochs", "1", "--fit.batch_size", "12", "--fit.precision", "32-true"]
    path = REPOSITORY / f"pipelines/benchmark_{name}.yaml"
    plan = read_plan(path, words, taggers=[tagger], seeds=[1], output=tmp_path)
    table = benchmark(replace(plan, signal=None), progress=False)
    assert len(table.rows) == 1
    assert 0 <= table.rows[0].mean("AUC") <= 1
    assert table.rows[0].costs["megaflops"] > 0
    assert (tmp_path / tagger / "seed_1" / "result.json").is_file()


@pytest.mark.parametrize(
    ("change", "error", "match"),
    [
        ({"tagger": {}}, MissingName, "no key 'tagger'.*nearest: taggers"),
        ({"taggers": []}, WrongType, "taggers should be name: model"),
        ({"taggers": {"a": 3}}, WrongType, r"taggers\.a should be a model"),
        ({"taggers": {"a": "ParticleNett"}}, MissingName, "nearest: ParticleNet"),
        ({"taggers": {"a": {"model": "ParticleNet", "fits": 1}}}, MissingName, "nearest: fit"),
        ({"seeds": [1, 1]}, WrongType, "seeds should be different whole numbers"),
        ({"fit": {"epoch": 1}}, MissingName, "nearest: fit.epochs"),
        ({"seeds": 3}, WrongType, "seeds should be different whole numbers, not 3"),
        ({"split_seed": "a"}, WrongType, "split_seed should be a whole number, not 'a'"),
        ({"working_points": 0.5}, WrongType, r"working_points should be .*, not 0\.5"),
        ({"working_points": [50, 30]}, WrongType, r"above 0 and up to 1.*not \[50, 30\]"),
    ],
)
def test_a_plan_that_cannot_be_understood_is_told_where(
    plan: Path, change: dict, error: type[Exception], match: str
) -> None:
    plan.write_text(yaml.safe_dump({**yaml.safe_load(plan.read_text()), **change}))
    with pytest.raises(error, match=match):
        read_plan(plan)


def test_a_signal_that_is_no_class_is_told_before_the_training(plan: Path, tmp_path: Path) -> None:
    chosen = replace(read_plan(plan, output=tmp_path / "out"), signal="tpo")
    with pytest.raises(MissingName, match=r"no class \(signal\) 'tpo' in PFN.*nearest: top"):
        benchmark(chosen, progress=False)
    assert not (tmp_path / "out").exists()


def test_one_seed_for_all_trainings_is_refused_since_it_would_decide_nothing(plan: Path) -> None:
    for words in (["--seed", "3"], ["--seed=3"]):
        with pytest.raises(MissingName, match=r"no option '--seed'.*nearest: --seeds"):
            read_plan(plan, words)


def test_taggers_that_are_not_in_the_plan_and_missing_test_jets_are_told(plan: Path) -> None:
    with pytest.raises(MissingName, match=r"no tagger 'PF'.*nearest: PFN"):
        read_plan(plan, taggers=["PF"])
    words = ["--data.fractions", "[0.9, 0.1, 0.0]"]
    with pytest.raises(InputError, match="a benchmark needs test jets"):
        benchmark(read_plan(plan, words, output=plan.parent / "none"), progress=False)
