"""Training a simulator stage by stage: what is kept, taken up again, and refused."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch

import hepgen
from hepgen import training
from hepgen.calorimeter import GeometryError, ShowerError
from hepgen.simulators import CaloFlow, Conditions, ParametrisedShowers
from hepgen.simulators.stages import Part, fit_stages
from hepgen.training import TrainingError
from tests.simulators.samples import IRREGULAR, made
from tests.simulators.sizes import SIZES

OPTIONS = {"epochs": 2, "batch_size": 32, "progress": False, "validation": 0.2}


@pytest.fixture(scope="module")
def showers():
    return made(80)


def untrained(showers) -> CaloFlow:
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return CaloFlow.of(showers, **SIZES["CaloFlow"])


@pytest.fixture(scope="module")
def whole(showers, tmp_path_factory):
    output = tmp_path_factory.mktemp("whole") / "run"
    simulator = untrained(showers)
    return output, simulator, simulator.fit(showers, output=output, **OPTIONS)


def test_a_run_that_ended_in_the_second_stage_goes_on_to_the_same_bits(
    showers, whole, tmp_path, monkeypatch
):
    # Counted in batches: the first stage has two epochs of two.
    stage = type(whole[1].stages()["teacher"])
    loss, calls = stage.loss, []

    def dies(self, batch):
        calls.append(len(batch))
        if len(calls) == 4:
            raise RuntimeError("the power went")
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(stage, "loss", dies)
        with pytest.raises(RuntimeError, match="power"):
            untrained(showers).fit(showers, output=tmp_path / "run", **OPTIONS)
    assert not (tmp_path / "run" / "model.safetensors").exists()
    again = untrained(showers)
    histories = again.fit(showers, output=tmp_path / "run", **OPTIONS)
    for name, tensor in whole[1].state_dict().items():
        assert torch.equal(again.state_dict()[name], tensor), name
    for name, history in whole[2].items():
        assert len(histories[name].rows) == len(history.rows) == 2
    kept = hepgen.load(tmp_path / "run" / "model.safetensors")
    np.testing.assert_array_equal(kept.sample(5).voxels, whole[1].sample(5).voxels)


def test_a_run_is_not_taken_up_with_other_showers(showers, whole):
    output = whole[0]
    other = made(80, seed=7)
    with pytest.raises(TrainingError, match="another sample: digest was"):
        untrained(showers).fit(other, output=output, **OPTIONS)
    with pytest.raises(TrainingError, match="another sample: showers was 64, now 48"):
        untrained(showers).fit(showers[:60], output=output, **OPTIONS)
    with pytest.raises(TrainingError, match="another sample: augment was True, now False"):
        untrained(showers).fit(showers, output=output, augment=False, **OPTIONS)
    # The same once more finds the run finished.
    same = untrained(showers)
    same.fit(showers, output=output, **OPTIONS)
    np.testing.assert_array_equal(same.sample(3).voxels, whole[1].sample(3).voxels)
    assert json.loads((output / "sample.json").read_text())["showers"] == 64


def test_stages_have_arguments_of_their_own(showers):
    stages = {"teacher": {"epochs": 1}, "student": {"epochs": 1, "batch_size": 16}}
    found = untrained(showers).fit(showers, stages=stages, **OPTIONS)
    assert {name: len(one.rows) for name, one in found.items()} == {
        "energy": 2,
        "teacher": 1,
        "student": 1,
    }


def test_validation_showers_are_a_share_that_no_training_sees(showers, monkeypatch):
    seen = []

    def told(module, train, *, validation, **more):
        rows = [
            np.concatenate([b.incident_energy for b in s.epoch(0)]) for s in (train, validation)
        ]
        seen.append(rows)

    monkeypatch.setattr(training, "fit", told)
    untrained(showers).fit(showers, validation=0.25, seed=1, progress=False)
    untrained(showers).fit(showers, validation=0.25, seed=2, progress=False)
    for train, held_out in seen:
        assert len(held_out) == 20
        assert not set(train) & set(held_out)
        assert len({*train, *held_out}) == 80
    # All stages of a run hold back the same showers; another seed holds back others.
    assert set(seen[0][1]) == set(seen[2][1])
    assert set(seen[0][1]) != set(seen[3][1])


def test_a_long_sample_is_prepared_for_from_all_over_it(monkeypatch):
    # Files of the field are sorted by energy.
    monkeypatch.setattr("hepgen.simulators.stages.PREPARING", 40)
    some = made(400)
    some = some[np.argsort(some.incident_energy)]
    seen = []
    monkeypatch.setattr(ParametrisedShowers, "prepare", lambda self, showers: seen.append(showers))
    ParametrisedShowers.of(some).fit(some, validation=None)
    assert len(seen[0]) <= 40
    energy = seen[0].incident_energy
    assert energy.min() == some.incident_energy.min()
    assert energy.max() == some.incident_energy.max()


def test_of_showers_with_many_voxels_fewer_are_prepared_for(monkeypatch):
    some = made(900)
    kept = 4 * some.geometry.num_voxels * 600
    monkeypatch.setattr("hepgen.simulators.stages.PREPARING_BYTES", kept)
    seen = []
    monkeypatch.setattr(ParametrisedShowers, "prepare", lambda self, showers: seen.append(showers))
    ParametrisedShowers.of(some).fit(some, validation=None)
    assert len(seen[0]) == 600
    assert seen[0].incident_energy[0] == some.incident_energy[0]
    assert seen[0].incident_energy[-1] == some.incident_energy[-1]


def test_all_is_learnt_from_showers_cut_at_the_threshold_of_the_simulator(showers, monkeypatch):
    cut = float(np.median(showers.voxels[showers.voxels > 0]))
    simulator = CaloFlow(
        replace(showers.geometry, threshold=cut), Conditions.of(showers), **SIZES["CaloFlow"]
    )
    prepared, learnt = [], []
    monkeypatch.setattr(CaloFlow, "prepare", lambda self, showers: prepared.append(showers))

    def told(module, train, *, validation, **more):
        learnt.append(train), learnt.append(validation)

    monkeypatch.setattr(training, "fit", told)
    simulator.fit(showers, validation=0.2, progress=False)
    found = [prepared[0].voxels, *(b.voxels.numpy() for some in learnt for b in some.epoch(0))]
    for voxels in found:
        assert voxels[voxels > 0].min() >= cut * (1 - 1e-6)
    assert prepared[0].geometry.threshold == cut


def test_a_simulator_without_stages_is_kept(tmp_path):
    some = made(200)
    simulator = ParametrisedShowers.of(some, number=200)
    assert simulator.fit(some, output=tmp_path / "run") == {}
    kept = hepgen.load(tmp_path / "run" / "model.safetensors")
    np.testing.assert_array_equal(kept.sample(5).voxels, simulator.sample(5).voxels)


def test_part_of_a_sample_has_rows_of_its_own(showers):
    part = Part(showers, np.array([3, 5, 9]))
    assert len(part) == 3
    np.testing.assert_array_equal(part[1:].voxels, showers.voxels[[5, 9]])


def test_what_cannot_be_trained_is_refused_before_it_begins(showers, tmp_path):
    simulator = untrained(showers)
    output = tmp_path / "run"
    for arguments, error, told in (
        ({"epoch": 3}, TypeError, "no argument 'epoch'; nearest: epochs"),
        ({"stages": {"pupil": {}}}, TypeError, "no stage 'pupil'; its stages are energy, teacher"),
        ({"stages": {"student": {"epoch": 3}}}, TypeError, "nearest: epochs"),
        ({"validation": 1.5}, ShowerError, r"validation=1\.5: wanted a share"),
        ({"validation": made(20, IRREGULAR)}, GeometryError, "irregular"),
    ):
        with pytest.raises(error, match=told):
            simulator.fit(showers, **{**OPTIONS, "output": output, **arguments})
    with pytest.raises(ShowerError, match="5 showers are too few to learn from, wanted 10"):
        simulator.fit(showers[:5], **OPTIONS)
    with pytest.raises(ShowerError, match="no condition 'theta' was trained on"):
        simulator.fit(replace(showers, conditions={"theta": np.ones(80)}), **OPTIONS)
    assert not output.exists()
    assert fit_stages.__doc__


def test_a_refused_run_leaves_nothing_that_would_refuse_the_right_one(showers, whole, tmp_path):
    output = tmp_path / "run"
    shutil.copytree(whole[0], output)
    # As runs of earlier versions, which kept no word of their sample.
    (output / "sample.json").unlink()
    with pytest.raises(training.DifferentRun):
        untrained(showers).fit(made(80, seed=7), output=output, **OPTIONS | {"lr": 1e-4})
    assert not (output / "sample.json").exists()
    untrained(showers).fit(showers, output=output, **OPTIONS)
    assert (output / "sample.json").exists()


def test_stages_and_showers_are_called_by_their_names(showers, capsys):
    untrained(showers).fit(showers, **OPTIONS | {"progress": True, "epochs": 1})
    said = capsys.readouterr().err
    stages = list(untrained(showers).stages())
    for number, name in enumerate(stages, 1):
        assert f"stage {number} of {len(stages)}: {name}\n" in said
    assert " showers/s " in said
    assert "jets" not in said
