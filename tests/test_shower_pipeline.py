"""Simulators from a YAML: every pipeline that is shipped, and one from end to end."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import yaml

import hepgen
from hepgen import calorimeter
from hepgen.calorimeter import GeometryError
from hepgen.cli import main
from hepgen.io.errors import InputError, MissingFile, MissingName, WrongType
from hepgen.pipeline_folder import told_in
from hepgen.shower_pipeline import (
    ShowerPipeline,
    find_simulator,
    names_simulator,
    read_shower_pipeline,
    shower_parser,
    train_simulator,
)
from hepgen.shower_sample import Merge, ShowerParts, ShowerSample
from hepgen.simulators import CaloFlow, CaloVAE, ParametrisedShowers, Simulator
from hepgen.simulators.calo_flow_recipes import caloflow_recipe
from hepgen.simulators.calo_inn import PUBLISHED
from hepgen.simulators.calo_matching import RECIPES
from tests.simulators.samples import made
from tests.simulators.sizes import SIZES

PIPELINES = sorted((Path(__file__).resolve().parents[1] / "pipelines").glob("*calo_*.yaml"))


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    path = tmp_path_factory.mktemp("showers") / "showers.hdf5"
    return calorimeter.write(path, made(400))


@pytest.fixture
def pipeline(file, tmp_path):
    content = {
        "data": {"files": str(file), "fractions": [0.6, 0.2, 0.2]},
        "model": {"class_path": "CaloVAE", "init_args": SIZES["CaloVAE"]},
        "fit": {"epochs": 2, "batch_size": 64},
        "seed": 3,
        "output": str(tmp_path / "run"),
    }
    path = tmp_path / "vae.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_shipped_pipelines_name_what_exists(path):
    assert names_simulator([str(path)])
    found = read_shower_pipeline([str(path)])
    assert isinstance(found, ShowerPipeline)
    assert issubclass(find_simulator(found.model), Simulator)
    again = shower_parser().parse_string(found.resolved)
    assert again.model.class_path.endswith(found.model)
    if path.stem.startswith("sample_"):
        parts = found.sample.parts(seed=found.seed)
        find_simulator(found.model).of(parts.train, **found.arguments)


@pytest.mark.parametrize("path", PIPELINES, ids=lambda path: path.stem)
def test_shipped_pipelines_train_as_they_say(path):
    """Small networks and samples, one epoch; schedules, optimisers and precision as in the file."""
    found = read_shower_pipeline([str(path)])
    options = {**found.options, "epochs": 1, "batch_size": 32}
    options["stages"] = {
        stage: {**one, **{name: options[name] for name in ("epochs", "batch_size") if name in one}}
        for stage, one in options.get("stages", {}).items()
    }
    simulator = find_simulator(found.model).of(made(60), **SIZES[found.model])
    for history in simulator.fit(made(60), progress=False, **options).values():
        assert np.isfinite(history["train_loss"]).all()


@pytest.mark.parametrize("particle", ["photons", "pions"])
def test_published_recipes_are_those_of_their_pipelines(particle):
    here = Path(__file__).resolve().parents[1] / "pipelines"
    flow = read_shower_pipeline([str(here / f"ds1_{particle}_calo_flow.yaml")])
    recipe = caloflow_recipe(particle)
    assert recipe.arguments.items() <= flow.arguments.items()
    assert flow.options.pop("stages") == {
        name: {**({"epochs": 100} if particle == "photons" and name == "student" else {}), **one}
        for name, one in recipe.training["stages"].items()
    }
    assert flow.options == {k: v for k, v in recipe.training.items() if k != "stages"}
    inn = read_shower_pipeline([str(here / f"ds1_{particle}_calo_inn.yaml")])
    assert dict(PUBLISHED).items() <= inn.arguments.items()


def test_the_published_transformer_is_that_of_its_pipeline():
    path = next(path for path in PIPELINES if path.stem == "ds2_calo_matching")
    found = read_shower_pipeline([str(path)])
    recipe = RECIPES["CaloDREAM ds2"]
    assert dict(recipe["model"]).items() <= found.arguments.items()
    for name in ("epochs", "batch_size", "lr", "schedule", "augment", "stages"):
        assert found.options[name] == recipe["fit"][name]


def test_a_pipeline_leaves_a_simulator_and_its_showers(pipeline, tmp_path, capsys):
    assert main(["train", str(pipeline)]) == 0
    run = tmp_path / "run"
    told = capsys.readouterr().out
    assert "240 to train on, 80 for validation, 80 for the test" in told
    simulator = hepgen.load(run / "model.safetensors")
    assert isinstance(simulator, CaloVAE)
    truth = calorimeter.read(run / "test.hdf5")
    generated = calorimeter.read(run / "generated.hdf5")
    np.testing.assert_allclose(generated.incident_energy, truth.incident_energy, rtol=1e-6)
    kept = yaml.safe_load((run / "pipeline.yaml").read_text())
    assert kept["fit"]["epochs"] == 2
    # The same again finds the run finished, and gives the same showers.
    assert main(["train", str(pipeline), "--fit.progress", "false"]) == 0
    again = calorimeter.read(run / "generated.hdf5")
    np.testing.assert_array_equal(again.voxels, generated.voxels)


def test_stages_have_folders_of_their_own(file, tmp_path):
    words = ["--data.files", str(file), "--model", "CaloFlow", "--output", str(tmp_path / "run")]
    words += [f"--model.{name}={value}" for name, value in SIZES["CaloFlow"].items()]
    words += ["--fit.epochs", "1", "--fit.stages", "{student: {epochs: 2}}"]
    folder = train_simulator(read_shower_pipeline(words), progress=False)
    histories = {
        p.parent.name: len(p.read_text().splitlines()) for p in folder.glob("*/history.csv")
    }
    assert histories == {"energy": 2, "teacher": 2, "student": 3}
    assert isinstance(hepgen.load(folder / "model.safetensors"), CaloFlow)
    assert (folder / "pipeline.yaml").exists()


def test_showers_may_stay_in_their_files(file, pipeline, tmp_path):
    found = read_shower_pipeline([str(pipeline), "--data.stream", "true"])
    folder = train_simulator(found, progress=False)
    streamed = hepgen.load(folder / "model.safetensors")
    assert streamed.conditions.energy_range[1] <= 100


def test_samples_are_divided_merged_and_cut(file):
    sample = ShowerSample(str(file), fractions=(0.5, 0.25, 0.25))
    parts = sample.parts(seed=1)
    assert isinstance(parts, ShowerParts)
    assert [len(part) for part in parts] == [200, 100, 100]
    energies = np.concatenate([part[:].incident_energy for part in parts])
    assert len(np.unique(energies)) == 400
    other = ShowerSample(str(file), fractions=(0.5, 0.25, 0.25)).parts(seed=2)
    assert not np.array_equal(other.train.incident_energy, parts.train.incident_energy)
    merged = ShowerSample(str(file), merge=Merge(layers=2, sectors=2, rings=[1, 2]), stream=True)
    some = merged.parts().train[:5]
    assert some.geometry.shape == (2, 2, 2)
    cut = ShowerSample(str(file), threshold=0.5, entries=50, start=10).parts().train
    assert len(cut) == 40
    assert cut.voxels[cut.voxels > 0].min() >= 0.5 * (1 - 1e-6)
    # So that a simulator empties the same.
    assert cut.geometry.threshold == 0.5
    few = ShowerSample(str(file), fractions=(0.2, 0.1, 0.1)).parts()
    assert [len(part) for part in few] == [80, 40, 40]
    judged = ShowerSample(str(file), test_files=str(file)).parts()
    assert [len(part) for part in judged] == [360, 40, 400]
    described = ShowerSample(str(file), geometry=made(1).geometry.to_dict()).parts()
    assert described.train.geometry.same_voxels(made(1).geometry)


def test_conditions_are_those_of_all_showers_however_files_are_sorted(file, tmp_path, monkeypatch):
    some = calorimeter.read(file)
    sorted_file = calorimeter.write(
        tmp_path / "sorted.hdf5", some[np.argsort(some.incident_energy)]
    )
    words = ["--data.files", str(sorted_file), "--model", "ParametrisedShowers"]
    words += ["--data.fractions", "[1, 0, 0]", "--output", str(tmp_path / "run")]
    monkeypatch.setattr(ParametrisedShowers, "prepare", lambda self, showers: None)
    for stream in ("true", "false"):
        found = read_shower_pipeline([*words, "--data.stream", stream])
        folder = train_simulator(found, progress=False)
        simulator = hepgen.load(folder / "model.safetensors")
        low, high = simulator.conditions.energy_range
        assert low == pytest.approx(some.incident_energy.min())
        assert high == pytest.approx(some.incident_energy.max())


def test_the_folder_says_which_pipeline_it_is_of_once_the_run_has_begun(tmp_path):
    folder = tmp_path / "run"
    with told_in(folder, "seed: 1"):
        assert (folder / "pipeline.yaml").read_text() == "seed: 1"
        (folder / "first").mkdir()
        (folder / "first" / "run.json").touch()
    assert (folder / "pipeline.yaml").read_text() == "seed: 1"
    with told_in(folder, "seed: 2"):
        pass
    assert (folder / "pipeline.yaml").read_text() == "seed: 1"
    with pytest.raises(ValueError, match="why"), told_in(tmp_path / "other", "seed: 1"):
        raise ValueError("why")
    assert not (tmp_path / "other").exists()
    # What else stands there is left, and hides no error.
    fails = told_in(tmp_path / "third", "seed: 1")
    fails.__enter__()
    (tmp_path / "third" / "notes.txt").touch()
    error = ValueError("why")
    assert not fails.__exit__(ValueError, error, None)
    assert [p.name for p in (tmp_path / "third").iterdir()] == ["notes.txt"]


def test_what_a_pipeline_should_not_say_is_told_with_the_nearest(file, pipeline, tmp_path):
    with pytest.raises(MissingName, match=r"fit\.epoch.*nearest: --fit\.epochs"):
        read_shower_pipeline([str(pipeline), "--fit.epoch", "3"])
    with pytest.raises(MissingName, match=r"model\.widht.*nearest: .*--model\.width"):
        read_shower_pipeline([str(pipeline), "--model.widht", "3"])
    with pytest.raises(MissingName, match=r"no simulator 'CaloIN'.*nearest: CaloINN"):
        find_simulator("CaloIN")
    with pytest.raises(MissingName, match=r"no simulator 'os\.system'"):
        read_shower_pipeline([str(pipeline), "--model", "os.system"])
    with pytest.raises(WrongType, match="many"):
        read_shower_pipeline([str(pipeline), "--fit.epochs", "many"])
    with pytest.raises(InputError, match="shares of 1"):
        ShowerSample(str(file), fractions=(0, 1, 0)).parts()
    with pytest.raises(InputError, match="start=500"):
        ShowerSample(str(file), start=500).parts()
    with pytest.raises(MissingFile):
        ShowerSample(str(tmp_path / "none.hdf5")).parts()
    with pytest.raises(GeometryError, match="48"):
        ShowerSample(str(file), geometry="ds2").parts()
    assert not names_simulator(["--model", "ParticleNet"])
    assert not names_simulator([])


def test_a_pipeline_that_does_not_begin_leaves_nothing(pipeline, tmp_path):
    words = [str(pipeline), "--fit.schedule", "cosin", "--fit.progress", "false"]
    assert main(["train", *words]) == 1
    assert not (tmp_path / "run").exists()
