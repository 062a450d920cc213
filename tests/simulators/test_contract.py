"""What every simulator keeps: over all of ``hepgen.simulators.__all__``."""

from __future__ import annotations

import inspect
import warnings

import numpy as np
import pytest
import torch

import hepgen
from hepgen import simulators
from hepgen.calorimeter import EnergyRangeWarning, GeometryError, ShowerError, Showers
from hepgen.simulators import Simulator
from tests.simulators.samples import IRREGULAR, REGULAR, made
from tests.simulators.sizes import SIZES

NAMES = [
    name
    for name in simulators.__all__
    if inspect.isclass(getattr(simulators, name))
    and issubclass(getattr(simulators, name), Simulator)
    and not inspect.isabstract(getattr(simulators, name))
]


def make(name: str, showers: Showers, seed: int = 0) -> Simulator:
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return getattr(simulators, name).of(showers, **SIZES[name])


def trained(name: str, showers: Showers) -> Simulator:
    simulator = make(name, showers)
    simulator.fit(showers, epochs=1, batch_size=64, progress=False, validation=None)
    return simulator


@pytest.fixture(scope="module", params=NAMES)
def name(request):
    return request.param


@pytest.fixture(scope="module")
def simulator(name):
    return trained(name, made(256))


def test_a_seed_gives_the_same_showers_however_many_are_asked_for(simulator):
    few = simulator.sample(5, "2:50", seed=3, block=8)
    many = simulator.sample(19, "2:50", seed=3, block=8)
    np.testing.assert_array_equal(many.voxels[:5], few.voxels)
    np.testing.assert_array_equal(many.incident_energy[:5], few.incident_energy)
    pieces = list(simulator.stream(19, "2:50", seed=3, block=8))
    np.testing.assert_array_equal(np.concatenate([p.voxels for p in pieces]), many.voxels)
    assert many.event.tolist() == list(range(19))
    other = simulator.sample(5, "2:50", seed=4, block=8)
    assert not np.array_equal(other.voxels, few.voxels)


def test_torch_random_numbers_of_the_caller_do_not_matter_and_are_left_alone(simulator):
    torch.manual_seed(1)
    first = simulator.sample(4, 10.0, block=4)
    here = torch.rand(3)
    torch.manual_seed(1)
    assert torch.equal(torch.rand(3), here)
    torch.manual_seed(2)
    np.testing.assert_array_equal(simulator.sample(4, 10.0, block=4).voxels, first.voxels)


def test_voxels_are_empty_or_above_the_threshold(simulator):
    voxels = simulator.sample(64, seed=1).voxels
    assert voxels.shape == (64, REGULAR.num_voxels)
    assert np.isfinite(voxels).all()
    assert ((voxels == 0) | (voxels >= REGULAR.threshold * (1 - 1e-5))).all()
    assert voxels.sum() > 0


def test_a_saved_simulator_is_the_same(simulator, tmp_path):
    simulator.save(tmp_path / "model.safetensors")
    again = hepgen.load(tmp_path / "model.safetensors")
    assert type(again) is type(simulator)
    assert again.config() == simulator.config()
    assert again.geometry == simulator.geometry
    for seed in (0, 1):
        here, there = simulator.sample(9, seed=seed), again.sample(9, seed=seed)
        np.testing.assert_array_equal(there.voxels, here.voxels)
    assert type(simulator).load(tmp_path / "model.safetensors").config() == again.config()


def test_particles_of_other_angles_and_kinds_are_learnt_apart(name):
    showers = made(200, conditions=True)
    simulator = trained(name, showers)
    conditions = {"theta": 0.2, "pdg": 22}
    found = simulator.sample(6, 20.0, conditions=conditions)
    assert found.conditions["pdg"].tolist() == [22] * 6
    if name != "ParametrisedShowers":
        other = simulator.sample(6, 20.0, conditions={"theta": 0.2, "pdg": 11})
        assert not np.array_equal(other.voxels, found.voxels)
    with pytest.raises(ShowerError, match=r"needs conditions besides the energy.*pdg"):
        simulator.sample(6, 20.0, conditions={"theta": 0.2})
    with pytest.raises(ShowerError, match="pdg 13 was not trained on; there are 11, 22"):
        simulator.sample(6, 20.0, conditions={"theta": 0.2, "pdg": 13})
    with pytest.raises(ShowerError, match=r"no condition 'thet'.*nearest: theta"):
        simulator.sample(6, 20.0, conditions={"thet": 0.2, "pdg": 22})


def test_layers_may_be_divided_differently(name):
    if name == "ParametrisedShowers":
        pytest.skip("needs layers whose depths are known")
    simulator = trained(name, made(128, IRREGULAR))
    assert simulator.sample(7).voxels.shape == (7, IRREGULAR.num_voxels)


def test_empty_showers_are_learnt_from_without_harm(name):
    showers = made(128)
    voxels = showers.voxels.copy()
    voxels[:20] = 0
    # All in one layer.
    voxels[20:40, 12:] = 0
    simulator = trained(name, Showers(REGULAR, showers.incident_energy, voxels))
    assert np.isfinite(simulator.sample(16).voxels).all()
    for tensor in simulator.state_dict().values():
        assert not tensor.is_floating_point() or bool(torch.isfinite(tensor).all())


def test_energies_that_were_not_trained_on_are_told(simulator):
    with pytest.warns(EnergyRangeWarning, match="outside the trained range from .* the first 500"):
        simulator.sample(3, 500.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        simulator.sample(3, 50.0)


def test_showers_of_another_calorimeter_are_refused(simulator):
    with pytest.raises(GeometryError, match=r"48 voxels.*irregular \(18 voxels"):
        simulator.fit(made(32, IRREGULAR), epochs=1)


def test_nothing_is_made_of_energies_that_are_none(simulator):
    for energy, told in ((0.0, "above 0"), (np.nan, "above 0"), ("10:1", "wanted GeV")):
        with pytest.raises(ShowerError, match=told):
            simulator.sample(3, energy)
    with pytest.raises(ShowerError, match="n=0"):
        simulator.sample(0, 10.0)
    with pytest.raises(ShowerError, match="n is needed"):
        simulator.sample(incident_energy=10.0)
