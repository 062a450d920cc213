"""CaloMatching: scales and their way back, what is matched, stages, steps, the published sizes."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

import hepgen
from hepgen.calorimeter import Geometry, Layer, ShowerError, Showers
from hepgen.simulators import CaloMatching
from hepgen.simulators.calo_matching import METHODS, RECIPES
from hepgen.simulators.layer_scale import LayerScale
from hepgen.simulators.ratio_networks import MatchedRatios, RatioNetwork, SplineRatios
from hepgen.simulators.shower_scales import LogScales, ShareScales, ShowerScales
from hepgen.simulators.voxel_scale import EDGE, HIGHEST, UNIT, VoxelScale, bell
from tests.simulators.samples import IRREGULAR, REGULAR, made
from tests.simulators.sizes import SIZES

SMALL = SIZES["CaloMatching"]
DS2 = Geometry(
    tuple(Layer(tuple(4.65 * i for i in range(10)), 16, i, 3.4 * (i + 0.5)) for i in range(45)),
    "ds2",
    "electron",
    15.15e-6,
    symmetric=True,
)


def matching(showers: Showers, seed: int = 0, **arguments: object) -> CaloMatching:
    """Prepared, with weights that matter."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        simulator = CaloMatching.of(showers, **{**SMALL, **arguments})
        simulator.prepare(showers)
        for parameter in simulator.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return simulator.eval()


def batch_of(simulator: CaloMatching, showers: Showers):
    return next(iter(simulator.batches(showers, batch_size=len(showers)).epoch(0)))


@pytest.mark.parametrize("geometry", [REGULAR, IRREGULAR])
@pytest.mark.parametrize("scales", [LogScales, ShareScales])
def test_showers_come_back_from_the_numbers_that_are_learnt(geometry, scales):
    showers = made(300, geometry)
    simulator = matching(showers, voxels="log" if scales is LogScales else "logit")
    assert isinstance(simulator.scales, scales)
    assert isinstance(simulator.scales, ShowerScales)
    if scales is LogScales:
        # So that the rarest voxels are kept.
        simulator.scales.voxels.cut.fill_(EDGE)
    batch = batch_of(simulator, showers)
    x, condition = simulator.scales(batch)
    energies = simulator.scales.energies(batch)
    assert energies.shape == (300, simulator.scales.num_energies)
    assert condition.shape == (300, 1 + simulator.scales.num_conditions)
    found = simulator.scales.inverse(energies, x, batch.incident_energy).numpy()
    layers = Showers(geometry, showers.incident_energy, found).layer_energies
    wanted = showers.layer_energies
    # The paper's noise is in all voxels.
    exact = scales is LogScales
    assert np.abs(layers - wanted).max() < (1e-5 if exact else 0.02) * wanted.max()
    away = np.abs(found - showers.voxels) / showers.incident_energy[:, None]
    assert away.max() < 2e-6 if exact else np.quantile(away, 0.9) < 1e-3
    again = simulator.scales.condition(energies, batch.incident_energy, batch.context)
    assert again.shape == condition.shape
    if exact:
        torch.testing.assert_close(again, condition, rtol=1e-3, atol=2e-3)


def test_voxels_are_standardised_in_the_mean_of_all_turns():
    showers = made(2000)
    scale = VoxelScale(REGULAR).fit(showers)
    y = scale(torch.from_numpy(showers.voxels), torch.Generator().manual_seed(1))
    by_ring = y.view(2000, 4, 4, 3).transpose(1, 2).reshape(2000, 4, 4, 3)
    mean, std = by_ring.mean((0, 1)), by_ring.pow(2).mean((0, 1)).sqrt()
    torch.testing.assert_close(mean, torch.zeros(4, 3), rtol=0, atol=0.02)
    torch.testing.assert_close(std, torch.ones(4, 3), rtol=0, atol=0.02)
    raw = y * scale.std + scale.mean
    filled = torch.from_numpy(showers.voxels > 0)
    floor = float(np.float32(REGULAR.threshold))
    expected = np.log(1 + showers.voxels[showers.voxels > 0].astype(float) / (UNIT * floor))
    np.testing.assert_allclose(raw[filled].numpy(), expected, rtol=1e-4, atol=1e-5)
    assert raw[~filled].max() < EDGE < raw[filled].min() + 1e-5
    # Five in a thousand of the filled voxels are below the cut.
    below = float((raw[filled] < scale.cut).float().mean())
    assert below == pytest.approx(0.005, abs=5e-4)


def test_whatever_a_network_gives_layers_keep_their_energy():
    scale = VoxelScale(IRREGULAR).fit(made(200, IRREGULAR))
    torch.manual_seed(0)
    y = 30 * torch.randn(500, 18)
    y[:50] = -40.0
    y[50:100] = 40.0
    layers = torch.rand(500, 3).pow(4) * 10
    layers = torch.where(layers < 1e-5, 0.0, layers)
    layers[::3, 1] = 0
    layers[1::3, 0] = 1.00001e-5
    voxels = scale.inverse(y, layers)
    sums = torch.stack([part.sum(1) for part in torch.split(voxels, [2, 15, 1], 1)], 1)
    torch.testing.assert_close(sums, layers, rtol=1e-5, atol=1e-9)
    assert ((voxels == 0) | (voxels >= 1e-5 * (1 - 1e-6))).all()
    assert math.log(1e6) < HIGHEST
    torch.manual_seed(3)
    assert bell(torch.zeros(1000)).max() <= EDGE


def test_layer_energies_come_back_and_their_sum_has_the_last_word():
    showers = made(500)
    voxels = showers.voxels.copy()
    voxels[:20, 36:] = 0
    voxels[20:30] = 0
    showers = Showers(REGULAR, showers.incident_energy, voxels)
    scale = LayerScale(REGULAR).fit(showers)
    layers = torch.from_numpy(showers.layer_energies)
    energy = torch.from_numpy(showers.incident_energy)
    w = scale(layers, energy, torch.Generator().manual_seed(1))
    assert w.shape == (500, 5)
    torch.testing.assert_close(w.mean(0), torch.zeros(5).double(), rtol=0, atol=0.05)
    back = scale.inverse(w, energy)
    torch.testing.assert_close(back, layers, rtol=1e-5, atol=1e-5)
    assert (back[:20, 3] == 0).all()
    assert (back[20:30] == 0).all()
    # Layers that are drawn too high by a tenth are brought back to the sum.
    unit = UNIT * float(scale.floor)
    raw = w * scale.std + scale.mean
    more = torch.where(raw > EDGE, torch.log1p(1.1 * torch.expm1(raw)), raw)
    more[:, 0] = raw[:, 0]
    again = scale.inverse((more - scale.mean) / scale.std, energy)
    torch.testing.assert_close(again.sum(1), layers.sum(1), rtol=1e-5, atol=unit)
    # Layers and voxels have one threshold, whatever the sample's geometry says.
    unsaid = replace(showers, geometry=replace(REGULAR, threshold=0.0))
    assert LayerScale(REGULAR).fit(unsaid).floor == VoxelScale(REGULAR).fit(unsaid).floor
    with pytest.raises(ShowerError, match="no showers"):
        LayerScale(REGULAR).fit(showers[:0])
    with pytest.raises(ShowerError, match="no showers"):
        VoxelScale(REGULAR).fit(showers[:0])


def test_without_a_threshold_the_least_energy_of_the_sample_is_one():
    bare = Geometry(REGULAR.layers, "bare", symmetric=True)
    showers = made(200)
    showers = Showers(bare, showers.incident_energy, showers.voxels)
    simulator = matching(showers)
    least = float(showers.voxels[showers.voxels > 0].min())
    assert float(simulator.scales.voxels.floor) == pytest.approx(least)
    drawn = simulator.sample(20).voxels
    assert drawn[drawn > 0].min() >= least * (1 - 1e-6)


def test_what_is_matched_is_the_way_from_noise_to_showers(monkeypatch):
    showers = made(64)
    simulator = matching(showers)
    batch = batch_of(simulator, showers)
    seen = []
    stage = simulator.shape_stage

    def nothing(t, x, condition):
        seen.append((t, x))
        return torch.zeros_like(x)

    monkeypatch.setattr(stage.network, "forward", nothing)
    torch.manual_seed(5)
    loss = stage.loss(batch)
    ((t, place),) = seen
    torch.manual_seed(5)
    x = simulator.scales(batch)[0]
    # With places on straight lines that end at x, the velocity is (x - place) / (1 - t).
    velocity = (x - place) / (1 - t)[:, None]
    assert float(loss) == pytest.approx(float(velocity.square().mean()), rel=1e-4)
    noise = place - t[:, None] * velocity
    assert float(noise.mean()) == pytest.approx(0, abs=5 / math.sqrt(noise.numel()))
    assert float(noise.std()) == pytest.approx(1, abs=5 / math.sqrt(2 * noise.numel()))
    assert t.min() >= 0
    assert t.max() < 1


@pytest.mark.parametrize(("method", "order"), [("euler", 1), ("midpoint", 2), ("rk4", 4)])
def test_the_error_of_a_way_falls_with_its_order(method, order):
    simulator = matching(made(50)).double()
    generator = torch.Generator().manual_seed(1)
    noise = torch.randn(20, 48, generator=generator, dtype=torch.float64)
    condition = torch.randn(
        20, 1 + simulator.scales.num_conditions, generator=generator, dtype=torch.float64
    )
    # Slow waves: those of the time turn so fast that small steps would be needed to see orders.
    simulator.shape_stage.network.frequencies /= 300

    def moved(method: str, steps: int) -> torch.Tensor:
        simulator.method, simulator.steps = method, steps
        with torch.no_grad():
            return simulator.move(noise, condition)

    end = moved("rk4", 128)
    coarse, fine = ((moved(method, n) - end).square().mean().sqrt() for n in (16, 32))
    assert float(torch.log2(coarse / fine)) == pytest.approx(order, abs=0.15)


def test_the_published_recipe_has_the_published_size_and_runs():
    showers = Showers(DS2, np.array([1.0, 10.0, 1000.0]), np.full((3, 6480), 1e-3, np.float32))
    recipe = RECIPES["CaloDREAM ds2"]
    torch.manual_seed(0)
    simulator = CaloMatching.of(showers, **recipe["model"])
    simulator.prepare(showers)
    network, ratios = simulator.shape_stage.network, simulator.energy_stage.ratios
    assert network.patches.grid == (15, 1, 9)
    # By hand, with D = 480: blocks, end, time, condition, patches in and out.
    width = 480
    block = 3 * width**2 + width**2 + 8 * width**2 + 6 * width**2 + (3 + 1 + 5 + 6) * width
    end = 2 * width**2 + 2 * width
    told = (256 + width + 46 + width + 4) * width
    patches = 48 * width + width + width * 48 + 48
    assert sum(p.numel() for p in network.parameters()) == 6 * block + end + told + patches
    count = sum(p.numel() for p in simulator.parameters())
    assert count == 28_421_009
    assert round(count / 1e6, 1) == 28.4
    assert isinstance(ratios, MatchedRatios)
    assert isinstance(ratios, RatioNetwork)
    assert sum(p.numel() for p in ratios.parameters()) == 2_378_561
    loss = simulator.loss(batch_of(simulator, showers))
    loss.backward()
    assert bool(torch.isfinite(loss))


def test_the_published_training_is_one_that_fit_takes():
    showers = made(40)
    published = RECIPES["CaloDREAM ds2"]["fit"]
    short = {"epochs": 1, "batch_size": 20}
    stages = {name: {**more, **short} for name, more in published["stages"].items()}
    simulator = CaloMatching.of(showers, width=8, heads=2, depth=1, voxels="logit")
    given = {**published, **short, "stages": stages}
    histories = simulator.fit(showers, **given, validation=None, progress=False)
    assert [len(history.rows) for history in histories.values()] == [1, 1]


def test_sectors_know_where_they_are_once_particles_come_from_an_angle():
    assert matching(made(20)).shape_stage.network.position is None
    aimed = matching(made(20, conditions=True)).shape_stage.network
    assert aimed.position is not None
    assert aimed.position.shape == (4, SMALL["width"])


def test_ratios_are_read_one_after_the_other():
    torch.manual_seed(0)
    network = MatchedRatios(3, 1, width=8, heads=2, depth=1, feedforward=8, hidden=8, layers=3)
    network.eval()
    noise, context = torch.randn(6, 3), torch.randn(6, 1)
    with torch.no_grad():
        drawn = network.draw(noise, context)
        later = noise.clone()
        later[:, 2] += 1
        changed = network.draw(later, context) != drawn
        told = network._read(drawn[:, :-1], context)
        other = network._read(drawn[:, :-1] + torch.tensor([0.0, 1.0]), context)
    assert not changed[:, :2].any()
    assert changed[:, 2].all()
    torch.testing.assert_close(other[:, :2], told[:, :2])
    assert ((other - told)[:, 2].abs() > 1e-6).any()
    assert network.losses(drawn, context).shape == (6,)
    with pytest.raises(ValueError, match="width=4: wanted 5 at least"):
        MatchedRatios(3, 1, width=4, heads=2)


def test_noise_is_all_the_randomness_there_is():
    showers = made(40)
    for arguments in ({}, {"energy": "matching", "voxels": "logit", "method": "euler"}):
        simulator = matching(showers, **arguments)
        context = torch.from_numpy(simulator.conditions.encode(showers.incident_energy))
        energy = torch.from_numpy(showers.incident_energy).float()
        noise = torch.randn(40, simulator.noise_width, generator=torch.Generator().manual_seed(4))
        with torch.inference_mode():
            found = simulator.from_noise(noise, energy, context)
            again = simulator.generate(energy, context, torch.Generator().manual_seed(4))
        assert torch.equal(found, again)
        assert found.shape == (40, 48)


@pytest.mark.parametrize("method", ["midpoint", "jumps"])
def test_drawing_is_compiled_whole(method):
    showers = made(8)
    simulator = matching(showers, method=method)
    context = torch.from_numpy(simulator.conditions.encode(showers.incident_energy))
    energy = torch.from_numpy(showers.incident_energy).float()
    noise = torch.randn(8, simulator.noise_width, generator=torch.Generator().manual_seed(4))
    torch._dynamo.reset()
    compiled = torch.compile(simulator.from_noise, fullgraph=True, backend="eager")
    with torch.inference_mode():
        found = compiled(noise, energy, context)
        torch.testing.assert_close(found, simulator.from_noise(noise, energy, context))


def test_three_stages_are_trained_and_steps_are_kept_with_the_model(tmp_path):
    showers = made(96)
    torch.manual_seed(0)
    simulator = CaloMatching.of(showers, **SMALL)
    assert isinstance(simulator.energy_stage.ratios, SplineRatios)
    before = {name: tensor.clone() for name, tensor in simulator.state_dict().items()}
    histories = simulator.fit(showers, epochs=1, batch_size=32, progress=False)
    assert list(histories) == ["energy", "shape", "few_steps"]
    for stage in ("energy_stage", "shape_stage", "few_steps_stage"):
        moved = [
            name
            for name, tensor in simulator.state_dict().items()
            if name.startswith(stage) and not torch.equal(tensor, before[name])
        ]
        assert len(moved) > 5, stage
    assert list(CaloMatching.of(showers, width=8, heads=2).stages()) == ["energy", "shape"]
    simulator.method, simulator.steps = "jumps", 4
    simulator.save(tmp_path / "model.safetensors")
    again = hepgen.load(tmp_path / "model.safetensors")
    assert (again.method, again.steps) == ("jumps", 4)
    np.testing.assert_array_equal(
        again.sample(5, seed=1).voxels, simulator.sample(5, seed=1).voxels
    )
    simulator.steps = 2
    assert not np.array_equal(simulator.sample(5, seed=1).voxels, again.sample(5, seed=1).voxels)


def test_what_there_is_not_is_refused():
    showers = made(20)
    with pytest.raises(ValueError, match="method='mid'; nearest: midpoint"):
        CaloMatching.of(showers, method="mid")
    with pytest.raises(ValueError, match="voxels='logits'; nearest: logit"):
        CaloMatching.of(showers, voxels="logits")
    with pytest.raises(ValueError, match="energy='splines'; nearest: spline"):
        CaloMatching.of(showers, energy="splines")
    with pytest.raises(ValueError, match="needs a distilled network"):
        CaloMatching.of(showers, method="jumps")
    assert METHODS == ("euler", "midpoint", "rk4", "jumps")
    simulator = matching(showers)
    simulator.steps = 0
    with pytest.raises(ValueError, match="steps=0: wanted at least 1"):
        simulator.sample(2, 10.0)
