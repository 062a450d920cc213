"""The way to ratios and shares and back."""

from __future__ import annotations

import copy
import time

import h5py
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from hepgen.calorimeter import Geometry, Layer, ShowerError, Showers
from hepgen.simulators.layer_ratios import LayerRatios
from hepgen.simulators.preprocessing import RECIPES, Preprocessing
from hepgen.simulators.symmetry import turns
from tests.simulators.samples import IRREGULAR, REGULAR, made

# A logit of 14, the greatest for alpha = 1e-6, has a spacing of 1e-6 in float32, its exponential a
# relative error of half of that; the map, the standardisation and their inverses each round once,
# and alpha makes twice as much of it for shares as small as alpha. Without logits it is the widest
# voxels, of some GeV, whose rounding counts.
SINGLE = 1e-5
DOUBLE = 1e-12
APART = {"noise": 0.2, "normalise": "GeV", "empty_layers": "apart"}
OPTIONS = [
    {},
    {"normalise": "incident"},
    {"logit": False, "standardise": False, "noise": 0},
    {"total_logit": True, "total_scale": 2.0},
    {"noise": 5e-6, "noise_unit": "incident"},
    {"noise": 1e-6, "noise_unit": "GeV"},
    {"noise": 5e-6, "noise_unit": "layer"},
    {"noise": 0.2, "normalise": "GeV"},
    {"noise": 0.2, "normalise": "GeV", "empty_layers": "apart"},
    {"normalise": "GeV", "logit": False, "noise": 0},
]


def tensors(showers: Showers, dtype: torch.dtype = torch.float32) -> tuple[torch.Tensor, ...]:
    return torch.from_numpy(showers.voxels).to(dtype), torch.from_numpy(showers.incident_energy).to(
        dtype
    )


def there_and_back(showers: Showers, dtype: torch.dtype, **options: object) -> torch.Tensor:
    numbers = Preprocessing(showers.geometry, **options).fit(showers).to(dtype)
    voxels, energy = tensors(showers, dtype)
    u, x = numbers(voxels, energy)
    assert u.dtype == x.dtype == dtype
    return numbers.inverse(u, x, energy)


@pytest.mark.parametrize("geometry", [REGULAR, IRREGULAR])
@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_showers_come_back_as_they_were(geometry, options):
    showers = made(300, geometry)
    for dtype, tolerance in ((torch.float32, SINGLE), (torch.float64, DOUBLE)):
        back = there_and_back(showers, dtype, **options).numpy()
        # Empty voxels are empty, layers keep their energies.
        np.testing.assert_array_equal(back > 0, showers.voxels > 0)
        absolute = 1e-6 if dtype == torch.float32 and not options.get("logit", True) else 0.0
        np.testing.assert_allclose(back, showers.voxels, rtol=tolerance, atol=absolute)
        again = Showers(geometry, showers.incident_energy, back)
        np.testing.assert_allclose(
            again.layer_energies, showers.layer_energies, rtol=tolerance, atol=1e-12
        )


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_with_noise_everywhere_keep_layers_and_voxels_above_the_noise(name):
    showers = made(300)
    numbers = Preprocessing(REGULAR, **RECIPES[name]).fit(showers)
    voxels, energy = tensors(showers)
    back = numbers.inverse(*numbers(voxels, energy), energy)
    torch.testing.assert_close(numbers.sums(back), numbers.sums(voxels), rtol=SINGLE, atol=1e-9)
    recipe = RECIPES[name]
    width = recipe["noise"] * (energy if recipe["noise_unit"] == "incident" else energy / energy)
    width = torch.clamp(width, min=REGULAR.threshold)[:, None]
    # Its own noise, and the share of all noise in the layer; the same once more for what is cut.
    share = voxels / numbers.spread(numbers.sums(voxels).clamp(min=1e-9))
    bound = 2 * width + 12 * width * share + SINGLE * voxels
    assert bool(((back - voxels).abs() <= bound).all())


def test_showers_of_geant4_come_back_as_they_were(real_data):
    with h5py.File(real_data / "showers" / "electrons_1-100GeV_ds2.hdf5") as file:
        voxels = file["showers"][:200] / 1000
        energy = file["incident_energies"][:200].astype(np.float64) / 1000
    rings = tuple(4.65 * i for i in range(10))
    layers = tuple(Layer(rings, 16, i, 3.4 * (i + 0.5)) for i in range(45))
    showers = Showers(Geometry(layers, "ds2", "electron", 15.15e-6, True), energy, voxels)
    back = there_and_back(showers, torch.float32).numpy()
    np.testing.assert_array_equal(back > 0, showers.voxels > 0)
    np.testing.assert_allclose(back, showers.voxels, rtol=SINGLE, atol=0)


FITTED = {
    g.name: [Preprocessing(g, **options).fit(made(100, g)) for options in ({}, APART)]
    for g in (REGULAR, IRREGULAR)
}


@settings(max_examples=50)
@given(
    st.integers(0, 2**31),
    st.sampled_from([REGULAR, IRREGULAR]),
    st.floats(1e-4, 1e3),
    st.sampled_from([0, 1]),
)
def test_whatever_numbers_come_voxels_are_empty_or_above_the_threshold_and_sum_to_their_layers(
    seed, geometry, energy, which
):
    generator = torch.Generator().manual_seed(seed)
    numbers = FITTED[geometry.name][which]
    u = 4 * torch.randn(20, geometry.num_layers, generator=generator)
    x = 4 * torch.randn(20, geometry.num_voxels, generator=generator)
    incident = torch.full((20,), energy)
    voxels, layers = numbers.inverse(u, x, incident), numbers.layers(u, incident)
    assert bool(torch.isfinite(voxels).all())
    assert bool(((voxels == 0) | (voxels >= geometry.threshold)).all())
    assert bool(((layers == 0) | (layers >= geometry.threshold * 0.9999)).all())
    torch.testing.assert_close(numbers.sums(voxels), layers, rtol=5e-5, atol=0)


def test_ratios_are_those_of_the_papers():
    showers = made(50, IRREGULAR)
    plain = Preprocessing(
        IRREGULAR, noise=0, logit=False, ratio_logit=False, standardise=False
    ).double()
    voxels, energy = tensors(showers, torch.float64)
    u, x = plain(voxels, energy)
    layers = showers.layer_energies
    np.testing.assert_allclose(u[:, 0], layers.sum(1) / showers.incident_energy)
    for i in (1, 2):
        np.testing.assert_allclose(u[:, i], layers[:, i - 1] / layers[:, i - 1 :].sum(1))
    np.testing.assert_allclose(
        x, showers.voxels / np.maximum(layers, 1e-12)[:, IRREGULAR.layer_of], rtol=1e-6
    )
    assert bool((u >= 0).all())
    assert bool((u[:, 1:] <= 1).all())
    torch.testing.assert_close(plain.ratios(voxels, energy), u)
    np.testing.assert_allclose(plain.layers(u, energy), layers, rtol=1e-12)
    logit = Preprocessing(IRREGULAR, noise=0, standardise=False, alpha=1e-3).double()
    np.testing.assert_allclose(
        logit(voxels, energy)[1], torch.logit(1e-3 + (1 - 2e-3) * x), rtol=1e-12
    )


def test_ratios_beyond_their_bounds_are_clipped_and_the_last_layer_has_the_remainder():
    plain = Preprocessing(REGULAR, ratio_logit=False, standardise=False)
    u = torch.tensor([[0.9, 1.7, 0.5, 0.5], [0.9, -0.2, 0.25, 0.5], [-0.1, 0.5, 0.5, 0.5]])
    layers = plain.layers(u, torch.full((3,), 10.0))
    wanted = [[9.0, 0, 0, 0], [0, 2.25, 3.375, 3.375], [0, 0, 0, 0]]
    torch.testing.assert_close(layers, torch.tensor(wanted))


def test_after_fit_numbers_have_mean_0_and_width_1():
    showers = made(2000)
    numbers = Preprocessing(REGULAR).fit(showers)
    # As likely as the sample are its turns, over which the means are taken.
    turned = showers.voxels[:, turns(REGULAR)].reshape(-1, REGULAR.num_voxels)
    energy = np.repeat(showers.incident_energy, len(turns(REGULAR)))
    u, x = numbers(*tensors(Showers(REGULAR, energy, turned)))
    # Noise is drawn anew: its mean over 16 000 showers differs by 0.8 %, one sigma.
    for values in (u, x):
        assert values.mean(0).abs().max() < 0.04
        assert (values.std(0) - 1).abs().max() < 0.04


def test_extreme_showers_come_back_as_they_were():
    voxels = np.zeros((5, REGULAR.num_voxels), np.float32)
    # None, one voxel, one layer, the last layer only, one layer at the threshold after a great one.
    voxels[1, 17] = 3.0
    voxels[2, 12:24] = 0.5
    voxels[3, 36:] = 0.25
    voxels[4, 0], voxels[4, 13] = 80.0, REGULAR.threshold
    showers = Showers(REGULAR, np.array([1.0, 4, 7, 3, 100]), voxels)
    for dtype, tolerance in ((torch.float32, SINGLE), (torch.float64, DOUBLE)):
        for options in ({}, {"normalise": "incident"}, {"noise": 0}, APART):
            numbers = Preprocessing(REGULAR, **options).fit(made(100)).to(dtype)
            given_, energy = tensors(showers, dtype)
            u, x = numbers(given_, energy)
            assert bool(torch.isfinite(u).all())
            assert bool(torch.isfinite(x).all())
            back = numbers.inverse(u, x, energy).numpy()
            # In float32 a layer of 1e-7 of the energy is known to a tenth of itself only.
            np.testing.assert_allclose(back[:4], voxels[:4], rtol=tolerance, atol=0)
            np.testing.assert_allclose(back[4, 0], 80, rtol=1e-6)


def test_empty_layers_are_apart_from_all_others():
    showers = made(500)
    voxels = showers.voxels.copy()
    voxels[:100, 12:24] = 0  # layer 1 is empty
    voxels[100:200, 24:] = 0  # nothing after layer 1
    numbers = LayerRatios(4, apart=True)
    layers = Showers(REGULAR, showers.incident_energy, voxels).layer_energies
    numbers.fit(torch.from_numpy(layers))
    noise = torch.rand(500, 3, generator=torch.Generator().manual_seed(1))
    energy = torch.from_numpy(showers.incident_energy)
    u = numbers(torch.from_numpy(layers), energy, noise)[:, 2]
    inside = u[200:]
    # Bands of the width of a standard deviation, half of one away, that no other reaches.
    scale = float(inside.std())
    for band, side in ((u[:100], -1), (u[100:200], 1)):
        edge = side * (side * inside).max()
        beyond = side * (band - edge)
        assert float(beyond.min()) > 0.9 * scale
        assert float(beyond.max()) < 2.1 * scale
    back = numbers.inverse(numbers(torch.from_numpy(layers), energy, noise), energy)
    np.testing.assert_allclose(back, layers, rtol=1e-9, atol=0)


def test_ratios_beyond_those_of_fit_come_back_too():
    numbers = LayerRatios(2, apart=True)
    numbers.fit(torch.tensor([[1.0, 1.0], [1.0, 2.0], [2.0, 1.0]]))
    layers = torch.tensor([[1e-5, 10.0], [10.0, 1e-5], [0.3, 0.7]], dtype=torch.float64)
    energy, noise = torch.full((3,), 12.0, dtype=torch.float64), torch.rand(3, 1)
    back = numbers.double().inverse(numbers(layers, energy, noise), energy)
    torch.testing.assert_close(back, layers, rtol=1e-8, atol=0)


def test_noise_is_below_the_threshold_and_only_in_empty_voxels():
    showers = made(200)
    voxels, energy = tensors(showers, torch.float64)
    plain = Preprocessing(REGULAR, noise=0, logit=False, standardise=False).double()
    noisy = Preprocessing(REGULAR, noise=7, logit=False, standardise=False).double()
    x, y = plain(voxels, energy)[1], noisy(voxels, energy)[1]
    torch.testing.assert_close(x[voxels > 0], y[voxels > 0])
    unit = noisy.spread(noisy.sums(voxels).clamp(min=REGULAR.threshold))
    noise = (y * unit)[voxels == 0]
    assert float(noise.max()) < REGULAR.threshold
    # Uniform: of thousands the mean is known to 1 %, five sigma.
    assert float(noise.mean()) == pytest.approx(REGULAR.threshold / 2, rel=0.05)
    torch.testing.assert_close(noisy.inverse(*noisy(voxels, energy), energy), voxels)


def test_noise_comes_from_the_generator_or_from_torch():
    numbers = Preprocessing(REGULAR)
    given_ = tensors(made(10))
    first, second = (numbers(*given_, torch.Generator().manual_seed(4))[1] for _ in range(2))
    assert torch.equal(first, second)
    with torch.random.fork_rng():
        torch.manual_seed(4)
        assert torch.equal(numbers(*given_)[1], numbers_again(numbers, given_))
    assert not torch.equal(numbers(*given_)[1], first)


def numbers_again(numbers: Preprocessing, given_: tuple[torch.Tensor, ...]) -> torch.Tensor:
    torch.manual_seed(4)
    return numbers(*given_)[1]


def test_no_showers_are_no_harm_and_no_sample():
    numbers = Preprocessing(IRREGULAR)
    u, x = numbers(torch.zeros(0, 18), torch.zeros(0))
    assert (u.shape, x.shape) == ((0, 3), (0, 18))
    assert numbers.inverse(u, x, torch.zeros(0)).shape == (0, 18)
    with pytest.raises(ShowerError, match="no showers to take means and widths of"):
        numbers.fit(made(5, IRREGULAR)[:0])


def test_arguments_out_of_their_range_are_told():
    for options, told in (
        ({"noise": -1}, "noise=-1"),
        ({"alpha": 0}, "alpha=0"),
        ({"alpha": 0.5}, "alpha=0.5"),
        ({"total_scale": 0}, "total_scale=0"),
        ({"noise_unit": "MeV"}, "noise_unit='MeV': wanted one of GeV, layer"),
        ({"noise_in": "some"}, "noise_in='some'"),
        ({"normalise": "all"}, "normalise='all'"),
        ({"empty_layers": "no"}, "empty_layers='no'"),
        ({"empty_layers": "apart", "ratio_logit": False}, "kept apart by logits"),
    ):
        with pytest.raises(ValueError, match=told):
            Preprocessing(REGULAR, **options)


def test_what_was_fitted_is_in_the_state():
    numbers = Preprocessing(IRREGULAR).fit(made(100, IRREGULAR))
    other = Preprocessing(IRREGULAR)
    other.load_state_dict(copy.deepcopy(numbers.state_dict()))
    voxels, energy = tensors(made(20, IRREGULAR, seed=1))
    first = numbers(voxels, energy, torch.Generator().manual_seed(1))
    second = other(voxels, energy, torch.Generator().manual_seed(1))
    assert all(map(torch.equal, first, second))
    assert set(numbers.state_dict()) == {"u_mean", "u_std", "x_mean", "x_std"}


@pytest.mark.parametrize("geometry", [REGULAR, IRREGULAR])
def test_torch_compiles_both_ways_without_a_break(geometry):
    numbers = Preprocessing(geometry).fit(made(100, geometry))
    voxels, energy = tensors(made(20, geometry))
    u, x = torch.compile(numbers, fullgraph=True, backend="eager")(voxels, energy)
    back = torch.compile(numbers.inverse, fullgraph=True, backend="eager")(u, x, energy)
    torch.testing.assert_close(back, voxels, rtol=SINGLE, atol=0)


def test_gradients_are_finite_through_the_way_back():
    numbers = Preprocessing(REGULAR).fit(made(100))
    voxels, energy = tensors(made(20))
    u, x = (t.requires_grad_() for t in numbers(voxels, energy))
    numbers.inverse(u, x, energy).square().sum().backward()
    assert bool(torch.isfinite(u.grad).all())
    assert bool(torch.isfinite(x.grad).all())


def test_showers_of_40500_voxels_are_fast():
    layers = tuple(Layer(tuple(2.325 * i for i in range(19)), 50, i) for i in range(45))
    geometry = Geometry(layers, "ds3", threshold=15.15e-6)
    numbers = Preprocessing(geometry)
    u, x = torch.randn(20, 45), torch.randn(20, 40500)
    taken: list[list[float]] = [[], []]
    for _ in range(4):
        start = time.thread_time()
        voxels = numbers.inverse(u, x, torch.full((20,), 50.0))
        numbers(voxels, torch.full((20,), 50.0))
        between = time.thread_time()
        for _ in range(10):
            x.exp()
        taken[0].append(between - start)
        taken[1].append(time.thread_time() - between)
    # Measured: 1 ms a shower for both ways, three times as long as ten exponentials of all voxels.
    assert min(taken[0]) < 10 * min(taken[1])
