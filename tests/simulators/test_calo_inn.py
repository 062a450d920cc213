"""CaloINN: what it is besides what every simulator keeps (test_contract.py)."""

from __future__ import annotations

import copy
import dataclasses
import math
import time

import numpy as np
import pytest
import torch

from hepgen.calorimeter import Geometry, Layer, Showers
from hepgen.flows import RationalQuadraticSpline
from hepgen.simulators import CaloINN, Conditions
from hepgen.simulators.calo_inn_kernels import draw_voxels
from hepgen.simulators.calo_inn_light import (
    LayerMap,
    NeighbourCoupling,
    draw,
    grid_of,
    kernels_suit,
    light_couplings,
)
from hepgen.simulators.calo_inn_neighbours import (
    add_neighbours,
    neighbours,
    neighbours_by_kernels,
    undo_coupling,
)
from hepgen.simulators.calo_inn_networks import (
    LayerCoupling,
    alike,
    checkerboard,
    halves,
    halves_of_layers,
)
from hepgen.simulators.par04_export import Par04Model, export_par04
from tests.simulators.samples import IRREGULAR, REGULAR, made

ONE_TO_100 = Conditions((1.0, 100.0))


def divided(*layers: tuple[int, int]) -> Geometry:
    """Layers of so many sectors and rings."""
    return Geometry(
        tuple(Layer(tuple(range(r + 1)), a, i) for i, (a, r) in enumerate(layers)), threshold=1e-3
    )


# binning_dataset_1_photons.xml and _pions.xml of the CaloChallenge.
PHOTONS = divided((1, 8), (10, 16), (10, 19), (1, 5), (1, 5))
PIONS = divided((1, 8), (10, 10), (10, 10), (1, 5), (10, 15), (10, 16), (1, 10))


def shaken(simulator: CaloINN, size: float = 0.1) -> CaloINN:
    """With weights that are no identity."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in simulator.parameters():
            parameter += size * torch.randn(parameter.shape, generator=generator)
    return simulator.eval()


def one_batch(simulator: CaloINN, number: int = 16):
    showers = made(number, simulator.geometry)
    return next(iter(simulator.batches(showers, batch_size=number).epoch(0)))


def parameters(simulator: CaloINN) -> int:
    return sum(p.numel() for p in simulator.parameters())


@pytest.mark.parametrize(
    ("geometry", "voxels", "number", "millions"),
    # arXiv:2410.21611, tables of the data sets.
    [(PHOTONS, 368, 18_794_712, 18.8), (PIONS, 533, 26_562_312, 26.6)],
    ids=["photons", "pions"],
)
def test_the_published_flow_has_as_many_parameters_as_are_published(
    geometry, voxels, number, millions
):
    assert geometry.num_voxels == voxels
    simulator = CaloINN.published(geometry, ONE_TO_100)
    assert parameters(simulator) == number
    assert round(number / 1e6, 1) == millions
    # By hand: 12 couplings of four linear layers, 3 * 10 - 1 numbers for each of half of the
    # dimensions.
    size = voxels + geometry.num_layers
    mapped = size // 2
    kept = size - mapped
    one = (kept + 2) * 256 + 2 * 257 * 256 + 257 * 29 * mapped
    assert 12 * one == number


def test_the_published_flow_runs_and_is_conditional_on_the_energy():
    showers = made(64, IRREGULAR)
    simulator = CaloINN.published(IRREGULAR, Conditions.of(showers), hidden=16)
    assert simulator.joint
    assert simulator.num_blocks == 12
    simulator.fit(showers, epochs=1, batch_size=32, progress=False, lr=1e-4, ema=None)
    few, many = simulator.sample(20, 2.0), simulator.sample(20, 90.0)
    assert np.isfinite(few.voxels).all()
    assert many.total_energy.mean() > 10 * few.total_energy.mean()
    assert list(simulator.stages()) == ["model"]


@pytest.mark.parametrize("geometry", [REGULAR, IRREGULAR], ids=["regular", "irregular"])
@pytest.mark.parametrize("options", [{}, {"layers": 2}, {"joint": True}], ids=str)
def test_the_density_is_that_of_the_way_back(geometry, options):
    showers = made(100, geometry)
    simulator = CaloINN.of(showers, **options, hidden=16, width=4, energy_hidden=16).double()
    joint = "joint" in options
    simulator.prepare(showers)
    shaken(simulator)
    context = torch.randn(3, simulator.conditions.width, dtype=torch.float64)
    flow = simulator.shapes
    told = context if joint else torch.cat([context, torch.randn(3, geometry.num_layers)], 1)
    z = torch.randn(3, flow.dimension, dtype=torch.float64)
    x, logabsdet = flow.transform.inverse(z, told)
    back, forward = flow.transform(x, told)
    torch.testing.assert_close(back, z, rtol=1e-9, atol=1e-9)
    torch.testing.assert_close(forward, -logabsdet, rtol=1e-9, atol=1e-9)
    # The Jacobian by automatic differentiation.
    for i in range(3):
        jacobian = torch.autograd.functional.jacobian(
            lambda p, i=i: flow.transform(p[None], told[i : i + 1])[0][0], x[i]
        )
        torch.testing.assert_close(
            torch.linalg.slogdet(jacobian)[1], forward[i], rtol=1e-8, atol=1e-8
        )
    assert not torch.allclose(x, z)


def test_the_log_density_is_the_sum_of_both_flows():
    simulator = CaloINN.of(made(100), hidden=16, width=4)
    simulator.prepare(made(100))
    batch = one_batch(shaken(simulator))
    torch.manual_seed(3)
    found = simulator.log_prob(batch)
    torch.manual_seed(3)
    u, x = simulator.numbers(batch.voxels, batch.incident_energy)
    logs = torch.log1p(torch.from_numpy(made(16).layer_energies).float() / 1e-5) / 6 - 1
    told = torch.cat([batch.context, logs], dim=1)
    both = simulator.energies.log_prob(u, batch.context) + simulator.shapes.log_prob(x, told)
    torch.testing.assert_close(found, both, rtol=1e-4, atol=1e-2)
    torch.manual_seed(3)
    torch.testing.assert_close(simulator.loss(batch), -found.mean())


def test_untrained_it_draws_numbers_as_they_were_standardised():
    # All begins as the identity: what is drawn has the mean response of the sample.
    showers = made(2000)
    simulator = CaloINN.of(showers, hidden=8, width=4)
    simulator.prepare(showers)
    drawn = simulator.sample(2000, "1:100")
    # Ten percent in one shower: five sigma are 1.1 %.
    assert drawn.response.mean() == pytest.approx(showers.response.mean(), rel=0.02)


@pytest.mark.slow
def test_training_brings_response_and_depth_to_those_of_the_sample():
    showers = made(3000)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        simulator = CaloINN.of(showers, hidden=32, width=8, energy_hidden=128, num_blocks=3)
    # So few steps need a shorter average than those of a real training.
    stages = {"energies": {"epochs": 80}}
    simulator.fit(showers, epochs=8, progress=False, batch_size=128, ema=0.98, stages=stages)
    drawn, more = simulator.sample(3000, "1:100"), made(3000, seed=1)
    layers = np.arange(4)
    for low, high in ((1, 5), (5, 25), (25, 100)):
        a, b = (s[(s.incident_energy >= low) & (s.incident_energy < high)] for s in (drawn, more))
        # 1000 showers of 10 % at most: five sigma of the difference are 2.2 %.
        assert a.response.mean() == pytest.approx(b.response.mean(), rel=0.022)
        # Rare showers that lack a layer are no part of this width; four sigma are 20 %.
        widths = [np.subtract(*np.quantile(s.response, [0.84, 0.16])) for s in (a, b)]
        assert widths[0] == pytest.approx(widths[1], rel=0.2)
        depth = [(s.layer_energies @ layers / s.total_energy) for s in (a, b)]
        error = math.hypot(*(d.std() / len(d) ** 0.5 for d in depth))
        assert abs(depth[0].mean() - depth[1].mean()) < 5 * error + 0.02
        # How many voxels are filled takes longer to learn, to a few of 48 within these epochs.
        filled = [(s.voxels > 0).mean() for s in (a, b)]
        assert filled[0] == pytest.approx(filled[1], abs=0.06)


def test_masks_map_each_voxel_given_each_other():
    layer_of = REGULAR.layer_of
    masks = halves_of_layers(layer_of, 8, seed=3)
    assert len(masks) == 8
    for mask, other in zip(masks[::2], masks[1::2], strict=True):
        np.testing.assert_array_equal(mask, ~other)
        assert np.bincount(layer_of, mask).tolist() == [6, 6, 6, 6]
    assert not np.array_equal(masks[0], masks[2])
    for one in halves(373, 5, seed=0):
        assert one.sum() == 186
    np.testing.assert_array_equal(halves(20, 3, seed=7), halves(20, 3, seed=7))
    board = checkerboard(REGULAR).reshape(4, 4, 3)
    # No neighbours are of one colour: in depth, angle (which closes) and radius.
    assert (board[1:] != board[:-1]).all()
    assert (board != np.roll(board, 1, axis=1)).all()
    assert (board[..., 1:] != board[..., :-1]).all()


def test_layers_that_are_not_alike_are_told_apart():
    assert alike(REGULAR, checkerboard(REGULAR))
    assert alike(REGULAR, np.ones(48, np.bool_))
    assert not alike(REGULAR, np.zeros(48, np.bool_))
    assert not alike(REGULAR, np.arange(48) < 24)
    assert not alike(IRREGULAR, np.ones(18, np.bool_))
    with pytest.raises(ValueError, match="as many mapped voxels"):
        LayerCoupling(IRREGULAR, np.ones(18, np.bool_), RationalQuadraticSpline(4, 5.0), context=4)


def test_a_coupling_of_layers_sees_neighbours_and_the_context_and_leaves_the_rest():
    board = checkerboard(REGULAR)
    spline = RationalQuadraticSpline(4, 5.0)
    coupling = LayerCoupling(REGULAR, board, spline, context=5, hidden=8, width=4)
    x, context = torch.randn(6, 48), torch.randn(6, 5)
    same, logabsdet = coupling(x, context)
    torch.testing.assert_close(same, x)
    torch.testing.assert_close(logabsdet, torch.zeros(6), atol=1e-5, rtol=0)
    with torch.no_grad():
        coupling.out.normal_()
    y, _ = coupling(x, context)
    assert torch.equal(y[:, ~board], x[:, ~board])
    changed = x.clone()
    changed[:, np.flatnonzero(~board)[0]] += 1
    assert not torch.allclose(coupling(changed, context)[0][:, board], y[:, board])
    assert not torch.allclose(coupling(x, context + 1)[0][:, board], y[:, board])


@pytest.mark.parametrize(
    ("geometry", "layers"), [(REGULAR, None), (REGULAR, 2), (IRREGULAR, None)], ids=str
)
def test_torch_compiles_generation_and_loss_without_a_break(geometry, layers):
    showers = made(40, geometry)
    simulator = CaloINN.of(
        showers, num_blocks=2, hidden=8, layers=layers, width=4, energy_hidden=16
    )
    simulator.prepare(showers)
    shaken(simulator)
    z = torch.randn(8, geometry.num_voxels)
    told = torch.randn(8, simulator.shapes.context)
    inverse = torch.compile(simulator.shapes.transform.inverse, fullgraph=True, backend="eager")
    torch.testing.assert_close(inverse(z, told)[0], simulator.shapes.transform.inverse(z, told)[0])
    batch = one_batch(simulator)
    compiled = torch.compile(simulator.log_prob, fullgraph=True, backend="eager")
    assert torch.isfinite(compiled(batch)).all()


@pytest.mark.parametrize("sizes", [((1, 1),), ((1, 4),), ((4, 1), (4, 1)), ((3, 3), (3, 3))])
def test_calorimeters_of_few_voxels_are_no_exception(sizes):
    geometry = divided(*sizes)
    showers = made(64, geometry)
    for joint in (False, True):
        simulator = CaloINN.of(showers, joint=joint, hidden=8, width=4, energy_hidden=8)
        simulator.fit(showers, epochs=1, progress=False)
        assert np.isfinite(simulator.sample(5).voxels).all()


def test_a_flow_of_no_couplings_is_refused():
    with pytest.raises(ValueError, match="num_blocks=0"):
        CaloINN(REGULAR, ONE_TO_100, num_blocks=0)


def test_showers_of_6480_voxels_take_few_milliseconds():
    geometry = divided(*[(16, 9)] * 45)
    simulator = shaken(CaloINN(geometry, ONE_TO_100), 0.01)
    energy = torch.full((100,), 50.0)
    context = torch.from_numpy(ONE_TO_100.encode(energy.numpy()))
    voxels = torch.randn(100, 6480)
    taken, beside = [], []
    with torch.inference_mode():
        for _ in range(4):
            start = time.thread_time()
            simulator.generate(energy, context, torch.Generator().manual_seed(1))
            between = time.thread_time()
            for _ in range(10):
                voxels.exp()
            taken.append(between - start)
            beside.append(time.thread_time() - between)
    # Measured: 1 ms of one core, 16 times as long as ten exponentials of all voxels; and 60 ms for
    # the challenge's CaloINN. Ours should stay below 5, which are 80 times as long there.
    assert min(taken) < 80 * min(beside)


@pytest.mark.parametrize("joint", [False, True])
def test_showers_are_a_function_of_gaussian_numbers(joint):
    showers = made(64)
    simulator = CaloINN.of(showers, joint=joint, num_blocks=2, hidden=8, width=4, energy_hidden=16)
    simulator.prepare(showers)
    shaken(simulator, 0.05)
    # More than are made at a time.
    energy = torch.full((150,), 20.0)
    context = torch.from_numpy(simulator.conditions.encode(energy.numpy()))
    noise = torch.randn(150, simulator.noise_width, generator=torch.Generator().manual_seed(4))
    assert simulator.noise_width == 48 + 4
    with torch.inference_mode():
        drawn = simulator.generate(energy, context, torch.Generator().manual_seed(4))
        whole = simulator.from_noise(noise, energy, context)
        changed = simulator.from_noise(noise.roll(1, 0), energy, context)
    assert whole.sum() > 0
    # Products of matrices of other sizes round differently, and a voxel at the threshold may be
    # lost by that.
    near = torch.isclose(drawn, whole, rtol=1e-3, atol=1e-6)
    assert near.float().mean() > 0.999
    assert not torch.isclose(changed, whole, rtol=1e-3, atol=1e-6).all()


def test_generation_traces_into_onnx_whatever_the_batch(tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs hepgen[onnx]")
    pytest.importorskip("onnxscript", reason="needs hepgen[onnx]")
    geometry = Geometry(tuple(Layer((0, 2, 4), 4, i, i + 0.5) for i in range(2)), threshold=1e-3)
    showers = made(64, geometry)
    simulator = CaloINN.of(showers, num_blocks=2, hidden=8, width=4, energy_hidden=8)
    simulator.prepare(showers)
    shaken(simulator, 0.05)
    export_par04(simulator, tmp_path / "a.onnx", dynamic=True)
    session = onnxruntime.InferenceSession(str(tmp_path / "a.onnx"))
    model = Par04Model(simulator).eval()
    hits = 0
    for rows in (1, 5):
        generator = torch.Generator().manual_seed(rows)
        vector = torch.randn(rows, simulator.noise_width + 4, generator=generator)
        vector[:, -4:] = torch.tensor([20_000 / 1_024_000, 1.0, 0.0, 1.0])
        with torch.inference_mode():
            wanted = model(vector).numpy()
        (name,) = [one.name for one in session.get_inputs()]
        found = session.run(None, {name: vector.numpy()})[0]
        # Of the incident energy; a spline of steep slopes carries the last bits of float32 so far.
        np.testing.assert_allclose(found, wanted, rtol=1e-3, atol=2e-5)
        hits += int((found > 0).sum())
    assert hits > 0


SMALL = {"context": 5, "hidden": 4, "width": 2}


def light_of(showers: Showers, size: float = 0.05) -> CaloINN:
    simulator = CaloINN.of(showers, hidden=16, width=8, energy_hidden=16)
    simulator.prepare(showers)
    assert simulator.light
    return shaken(simulator, size)


def noise_for(simulator: CaloINN, number: int, energy: float) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(8)
    noise = torch.randn(number, simulator.noise_width, generator=generator)
    energies = torch.full((number,), energy)
    return noise, energies, torch.from_numpy(simulator.conditions.encode(energies.numpy()))


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize(("sectors", "rings"), [(4, 3), (2, 5), (1, 7), (6, 1)])
def test_kernels_draw_the_showers_that_torch_draws(symmetric, sectors, rings):
    geometry = dataclasses.replace(divided(*[(sectors, rings)] * 3), symmetric=symmetric)
    simulator = light_of(made(200, geometry))
    assert kernels_suit(simulator.numbers)
    noise, energies, context = noise_for(simulator, 100, 1.5)
    # Among them layers whose energy is below what any voxel of them would have, and empty ones.
    noise[:50, geometry.num_voxels :] *= 3
    noise[50:60, : geometry.num_voxels] -= 4
    with torch.inference_mode():
        u = simulator.energies.transform.inverse(noise[:, geometry.num_voxels :], context)[0]
        layers = simulator.numbers.layers(u, energies)
        logs = torch.log1p(layers / 1e-3) / 6 - 1
        transforms = [*simulator.shapes.transform._transforms]
        given = noise[:, : geometry.num_voxels]
        found = draw(transforms, simulator.numbers, given, torch.cat([context, logs], 1), layers)
        wanted = simulator.from_noise(noise, energies, context)
    assert (layers == 0).any()
    assert 0.05 < (wanted > 0).float().mean() < 0.95
    # Voxels at the threshold may be on either side of it.
    different = (found > 0) != (wanted > 0)
    assert different.sum() <= 2
    same = ~different.any(dim=1)
    torch.testing.assert_close(found[same], wanted[same], rtol=3e-4, atol=1e-6)
    torch.testing.assert_close(simulator.numbers.sums(found), layers, rtol=1e-5, atol=1e-6)


def test_generation_is_by_kernels_and_does_not_depend_on_the_rows_at_a_time():
    simulator = light_of(made(200))
    noise, energies, context = noise_for(simulator, 300, 30.0)
    with torch.inference_mode():
        found = simulator.generate(energies, context, torch.Generator().manual_seed(8))
        wanted = simulator.from_noise(noise, energies, context)
    near = torch.isclose(found, wanted, rtol=1e-3, atol=1e-6)
    assert near.float().mean() > 0.999
    assert found.sum() > 0


def test_neighbours_have_the_gradients_of_torch():
    for grid in ((3, 4, 3), (2, 1, 5), (4, 6, 1)):
        layers, sectors, rings = grid
        geometry = divided(*[(sectors, rings)] * layers)
        coupling = NeighbourCoupling(
            geometry, checkerboard(geometry), context=layers + 1, hidden=4, width=2
        )
        with torch.no_grad():
            coupling.near.normal_()
            coupling.begin.normal_()
            coupling.out.normal_(std=0.1)
        x, context = torch.randn(5, geometry.num_voxels), torch.randn(5, layers + 1)
        wanted = copy.deepcopy(coupling).double()
        results = []
        for module, dtype in ((coupling, torch.float32), (wanted, torch.float64)):
            given = x.detach().to(dtype, copy=True).requires_grad_()
            y, logabsdet = module(given, context.to(dtype))
            (y.square().sum() + logabsdet.sum()).backward()
            results.append([y, logabsdet, given.grad, *(p.grad for p in module.parameters())])
        for single, double in zip(*results, strict=True):
            assert single.dtype == torch.float32
            torch.testing.assert_close(single.double(), double, rtol=1e-4, atol=1e-4)


def test_shifts_come_from_the_six_neighbours():
    # By hand: one voxel that stays, and what its neighbours get of it.
    grid = (3, 4, 3)
    assert len(light_couplings(REGULAR, RationalQuadraticSpline(4, 5.0), 3, **SMALL)) == 4
    near = torch.zeros(3, 6, 3, 12)
    near[:, :, 0] = torch.arange(1.0, 7.0)[:, None]
    x = torch.zeros(1, *grid)
    x[0, 1, 0, 1] = 1
    shift = neighbours(x.view(1, 3, 12), near, torch.full((3, 12), 9.0), grid)[0, :, 0].view(grid)
    wanted = torch.zeros(grid)
    wanted[2, 0, 1], wanted[0, 0, 1] = 1, 2
    wanted[1, 1, 1], wanted[1, 3, 1] = 3, 4
    wanted[1, 0, 2], wanted[1, 0, 0] = 5, 6
    assert torch.equal(shift, wanted)
    begin = torch.full((3, 12), 9.0)
    sums = neighbours_by_kernels(x.view(1, 3, 12), near, begin, 3)
    inner = sums[0, :, 0].view(grid)
    # At the innermost and outermost ring weights are zero, as `NeighbourCoupling` has them.
    assert torch.equal(inner[:, :, 1], wanted[:, :, 1])
    one = np.zeros((2, 12), np.float32)
    memory = np.zeros((3, 18), np.float32)
    add_neighbours(x[0].view(3, 12).numpy(), near.numpy(), begin.numpy(), 3, 1, *one, memory)
    np.testing.assert_array_equal(one, sums[0, 1].numpy())
    # These are compared with torch above, through `draw`.
    assert all(callable(kernel) for kernel in (undo_coupling, draw_voxels))


def test_light_couplings_are_for_layers_divided_alike_and_others_have_splines():
    assert grid_of(REGULAR) == (4, 4, 3)
    assert grid_of(IRREGULAR) is None
    # A checkerboard of three sectors does not close.
    assert grid_of(divided((3, 3), (3, 3))) is None
    kinds = lambda s: {type(t).__name__ for t in s.shapes.transform._transforms}  # noqa: E731
    small = {"hidden": 8, "width": 4, "energy_hidden": 8}
    light = CaloINN(REGULAR, ONE_TO_100, **small)
    assert kinds(light) == {"LayerMap", "NeighbourCoupling"}
    assert light.config()["layers"] is None
    assert kinds(CaloINN(REGULAR, ONE_TO_100, layers=2, **small)) == {"LayerCoupling"}
    assert kinds(CaloINN(IRREGULAR, ONE_TO_100, **small)) == {"Coupling"}
    # What files of before have: all sizes, and layers=2 among them.
    old = {"num_blocks": 6, "num_bins": 8, "tail_bound": 10.0, "hidden": 128, "layers": 2}
    assert kinds(CaloINN(REGULAR, ONE_TO_100, width=32, **old)) == {"LayerCoupling"}


def test_sectors_share_splines_where_the_geometry_is_symmetric():
    spline = RationalQuadraticSpline(4, 5.0)
    symmetric = dataclasses.replace(REGULAR, symmetric=True)
    for geometry, sectors in ((REGULAR, REGULAR.symmetric), (symmetric, True)):
        own = LayerMap(geometry, spline, context=5, hidden=4, depth=1, width=2)
        assert own.shared == sectors
        shape = own.parameters_of(torch.randn(2, 5)).shape
        assert shape == (4, 2, 1 if sectors else 4, 3, spline.num_parameters)
