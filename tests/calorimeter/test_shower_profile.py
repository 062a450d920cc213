"""Parametrised showers: their formulas against scipy, their fluctuations, and bad input."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

from hepgen.calorimeter import Geometry, GeometryError, Layer, ShowerError
from hepgen.calorimeter.mean_profile import (
    longitudinal_containment,
    longitudinal_profile,
    radial_containment,
    radial_profile,
)
from hepgen.calorimeter.random_kernels import keys_of
from hepgen.calorimeter.shower_kernels import (
    Parameters,
    Voxels,
    fill_showers,
    longitudinal,
    lower_gamma,
    radial,
)
from hepgen.calorimeter.shower_parameters import (
    ShowerTuning,
    check_energies,
    kernel_parameters,
)
from hepgen.calorimeter.shower_profile import (
    PARTICLES,
    layer_edges,
    simulate_showers,
    simulate_voxels,
)
from hepgen.calorimeter.stack import Homogeneous, Sampling

TUNGSTEN = Sampling((("W", 1.4), ("Si", 0.3)), 0.135)
CRYSTAL = Homogeneous("PbWO4")
BOTH = pytest.mark.parametrize("calorimeter", [TUNGSTEN, CRYSTAL], ids=["layers", "crystal"])
RINGS = tuple(4.65 * i for i in range(10))
CHALLENGE = Geometry(
    tuple(Layer(RINGS, 16, i, 3.4 * (i + 0.5)) for i in range(45)), "ds2", "electron", 15.15e-6
)
# No fluctuations but those of spots, of which there are few where there is but one ring.
STEADY = ShowerTuning(depth_width=0.0, shape_width=0.0, sampling_term=0.0, spots=0.01)


def slices(calorimeter, step: float, depth: float, radius: float = 1e7) -> Geometry:
    """Layers of some radiation lengths, of one voxel each."""
    pitch = step * calorimeter.radiation_length
    number = round(depth / step)
    return Geometry(tuple(Layer((0, radius), 1, i, pitch * (i + 0.5)) for i in range(number)))


def test_the_incomplete_gamma_function_is_that_of_scipy():
    for a in (1.1, 1.5, 2.0, 3.7, 8.0, 25.0):
        x = np.concatenate([[0.0], np.geomspace(1e-6, 200, 300)])
        found = [lower_gamma(a, one, math.lgamma(a)) for one in x]
        np.testing.assert_allclose(found, scipy.special.gammainc(a, x), rtol=1e-11, atol=1e-13)
    assert lower_gamma(2.0, -1.0, 0.0) == 0


def mean_shape(energy: float, calorimeter) -> tuple[float, float]:
    """T and alpha of the mean profile, written from the paper a second time."""
    y, z = energy / calorimeter.critical_energy, calorimeter.atomic_number
    t, alpha = math.log(y) - 0.858, 0.21 + (0.492 + 2.38 / z) * math.log(y)
    if calorimeter is TUNGSTEN:
        f, e = 2.4819669577707892, 1 / 1.42
        t, alpha = t - 0.59 / f - 0.53 * (1 - e), alpha - 0.444 / f
    return t, alpha


@BOTH
@pytest.mark.parametrize("energy", [1.0, 20.0, 300.0])
def test_the_mean_profile_in_depth_is_scipys_gamma_distribution(calorimeter, energy):
    depth, alpha = mean_shape(energy, calorimeter)
    expected = scipy.stats.gamma(alpha, scale=depth / (alpha - 1))
    t = np.linspace(0.01, 40, 200)
    found = longitudinal_profile(t, energy, calorimeter)
    np.testing.assert_allclose(found, expected.pdf(t), rtol=1e-9)
    found = longitudinal_containment(t, energy, calorimeter)
    np.testing.assert_allclose(found, expected.cdf(t), rtol=1e-9, atol=1e-12)
    assert longitudinal_profile(-1.0, energy, calorimeter) == 0
    # The greatest is at T.
    near = longitudinal_profile([depth - 0.01, depth, depth + 0.01], energy, calorimeter)
    assert near.argmax() == 1


@BOTH
@pytest.mark.parametrize("t", [0.5, 3.0, 8.0, 20.0])
def test_the_profile_in_radius_is_one_in_all_and_its_integral_is_the_containment(calorimeter, t):
    def profile(r: float) -> float:
        return float(radial_profile(r, t, 20.0, calorimeter))

    inner = scipy.integrate.quad(profile, 0, 0.3, epsabs=1e-10)[0]
    assert radial_containment(0.3, t, 20.0, calorimeter) == pytest.approx(inner, abs=1e-8)
    rest = scipy.integrate.quad(profile, 0.3, np.inf, epsabs=1e-10)[0]
    assert inner + rest == pytest.approx(1, abs=1e-6)


def test_radii_of_a_crystal_are_those_of_the_paper():
    # Lead, 30 GeV at the maximum: the equations of appendix A.1.2 by hand.
    log, z, tau = math.log(30), 82.0, 1.0
    core = 0.0251 + 0.00319 * log + (0.1162 - 0.000381 * z) * tau
    k1, k4 = 0.659 - 0.00309 * z, 0.3585 + 0.0421 * log
    tail = k1 * (math.exp(-2.59 * (tau - 0.645)) + math.exp(k4 * (tau - 0.645)))
    x = (0.401 + 0.00187 * z - tau) / (1.313 - 0.0686 * log)
    weight = (2.632 - 0.00094 * z) * math.exp(x - math.exp(x))
    found = radial(30.0, tau, kernel_parameters(Homogeneous("Pb"), ShowerTuning()))
    assert found == pytest.approx((core, tail, weight), rel=1e-12)


@BOTH
def test_energies_of_layers_are_the_gamma_distribution_where_nothing_fluctuates(calorimeter):
    geometry = slices(calorimeter, 0.8, 36)
    found = simulate_showers(geometry, calorimeter, [20.0], tuning=STEADY)
    log_t, log_alpha, *_ = longitudinal(20.0, kernel_parameters(calorimeter, STEADY))
    alpha, depth = math.exp(log_alpha), math.exp(log_t)
    edges = layer_edges(geometry) / calorimeter.radiation_length
    expected = 20 * np.diff(scipy.stats.gamma(alpha, scale=depth / (alpha - 1)).cdf(edges))
    # Rings end at 10 km, beyond which some 1e-9 of the tail is.
    np.testing.assert_allclose(found.voxels[0], expected, rtol=1e-6, atol=1e-9)
    doubled = simulate_showers(geometry, calorimeter, [20.0], tuning=STEADY, response=2)
    np.testing.assert_allclose(doubled.voxels[0], 2 * expected, rtol=1e-6, atol=1e-9)


@BOTH
def test_depth_and_shape_of_single_showers_fluctuate_and_go_together_as_in_the_paper(calorimeter):
    energy, number = 50.0, 3000
    geometry = slices(calorimeter, 0.1, 90)
    calm = ShowerTuning(sampling_term=0.0, spots=1e-6)
    showers = simulate_showers(geometry, calorimeter, np.full(number, energy), tuning=calm)
    # Mean alpha / beta and variance alpha / beta^2 of each give back its own parameters; T is at
    # (alpha - 1) / beta. Slices of 0.1 radiation lengths add a variance of 0.1^2 / 12.
    t = layer_edges(geometry)[:-1] / calorimeter.radiation_length + 0.05
    share = showers.voxels / showers.total_energy[:, None]
    mean = share @ t
    variance = share @ t**2 - mean**2 - 0.01 / 12
    alpha, beta = mean**2 / variance, mean / variance
    logs = np.stack([np.log((alpha - 1) / beta), np.log(alpha)])
    log_t, log_alpha, width_t, width_alpha, rho = longitudinal(
        energy, kernel_parameters(calorimeter, calm)
    )
    # Four sigma of each; all five fail by chance in 3e-4 of seeds.
    root = math.sqrt(number)
    assert logs[0].mean() == pytest.approx(log_t, abs=4 * width_t / root)
    assert logs[1].mean() == pytest.approx(log_alpha, abs=4 * width_alpha / root)
    assert logs[0].std() == pytest.approx(width_t, rel=4 / math.sqrt(2) / root)
    assert logs[1].std() == pytest.approx(width_alpha, rel=4 / math.sqrt(2) / root)
    assert np.corrcoef(logs)[0, 1] == pytest.approx(rho, abs=4 * (1 - rho**2) / root)


def test_widths_and_means_are_those_of_the_paper():
    log_y = math.log(50 / TUNGSTEN.critical_energy)
    f, e, z = TUNGSTEN.sampling_frequency, TUNGSTEN.e_hat, TUNGSTEN.atomic_number
    expected = (
        math.log(log_y - 0.812 - 0.55 / f - 0.69 * (1 - e)),
        math.log(0.81 + (0.458 + 2.26 / z) * log_y - 0.476 / f),
        1 / (-2.5 + 1.25 * log_y),
        1 / (-0.82 + 0.79 * log_y),
        0.784 - 0.023 * log_y,
    )
    found = longitudinal(50.0, kernel_parameters(TUNGSTEN, ShowerTuning()))
    assert found == pytest.approx(expected, rel=1e-12)
    log_y, z = math.log(50 / CRYSTAL.critical_energy), CRYSTAL.atomic_number
    expected = (
        math.log(log_y - 0.812),
        math.log(0.81 + (0.458 + 2.26 / z) * log_y),
        1 / (-1.4 + 1.26 * log_y),
        1 / (-0.58 + 0.86 * log_y),
        0.705 - 0.023 * log_y,
    )
    found = longitudinal(50.0, kernel_parameters(CRYSTAL, ShowerTuning()))
    assert found == pytest.approx(expected, rel=1e-12)


@BOTH
def test_energies_of_rings_are_the_radial_profile(calorimeter):
    energy, number = 20.0, 400
    radius = calorimeter.moliere_radius
    # One layer of half a radiation length at the maximum, in three rings and two sectors.
    edges = (0.0, 0.1 * radius, 0.5 * radius, 2 * radius)
    geometry = Geometry((Layer(edges, 2, 0, 1.0),))
    log_t, *_ = longitudinal(energy, kernel_parameters(calorimeter, STEADY))
    middle = math.exp(log_t)
    ends = [(middle - 0.25), (middle + 0.25)]
    showers = simulate_showers(
        geometry,
        calorimeter,
        np.full(number, energy),
        tuning=STEADY,
        z_edges=[end * calorimeter.radiation_length for end in ends],
    )
    log_alpha = longitudinal(energy, kernel_parameters(calorimeter, STEADY))[1]
    alpha = math.exp(log_alpha)
    # t over <t>, times alpha / (alpha - 1): 1 at the maximum.
    core, tail, weight = radial(energy, 1.0, kernel_parameters(calorimeter, STEADY))
    scaled = np.array(edges) / radius
    inside = weight * scaled**2 / (scaled**2 + core**2)
    inside += (1 - weight) * scaled**2 / (scaled**2 + tail**2)
    cdf = scipy.stats.gamma(alpha, scale=middle / (alpha - 1)).cdf
    expected = energy * (cdf(ends[1]) - cdf(ends[0])) * np.diff(inside) / 2
    voxels = showers.voxels.astype(np.float64)
    error = voxels.std(axis=0) / math.sqrt(number)
    pulls = (voxels.mean(axis=0) - np.tile(expected, 2)) / error
    # Six voxels of which the most is beyond 4 sigma in 4e-4 of seeds.
    assert np.abs(pulls).max() < 4


@pytest.mark.parametrize("energy", [2.0, 50.0])
def test_the_width_of_the_response_is_the_sampling_term(energy):
    number = 4000
    showers = simulate_showers(
        slices(TUNGSTEN, 0.8, 60), TUNGSTEN, np.full(number, energy), response=0.967
    )
    assert showers.response.mean() == pytest.approx(
        0.967, abs=4 * 0.135 / math.sqrt(energy * number)
    )
    width = showers.response.std() / showers.response.mean() * math.sqrt(energy)
    # Four sigma: 6e-5 by chance.
    assert width == pytest.approx(0.135, rel=4 / math.sqrt(2 * number))


def test_photons_convert_after_nine_sevenths_of_a_radiation_length():
    number = 5000
    geometry = slices(CRYSTAL, 0.1, 40)
    calm = ShowerTuning(depth_width=0.0, shape_width=0.0, spots=1e-6)
    photons = simulate_showers(
        geometry, CRYSTAL, np.full(number, 10.0), particle="photon", tuning=calm
    )
    for depth in (0.5, 1.0, 3.0):
        # Nothing at all before the conversion. In the next step something, if little.
        whole = round(depth / 0.1)
        empty = (photons.voxels[:, :whole] == 0).all(axis=1).mean()
        expected = math.exp(-7 / 9 * depth)
        error = math.sqrt(expected * (1 - expected) / number)
        assert empty == pytest.approx(expected, abs=4 * error + 1e-9)
    # One that never converts is not seen; all others give all that they have.
    assert photons.response.max() == pytest.approx(1, abs=1e-3)
    thin = simulate_showers(
        slices(CRYSTAL, 0.1, 0.2), CRYSTAL, np.full(1000, 10.0), particle="photon"
    )
    assert (thin.total_energy == 0).mean() == pytest.approx(math.exp(-0.2 * 7 / 9), abs=0.045)


def test_a_shower_does_not_depend_on_its_batch_or_on_threads():
    energy = np.geomspace(1, 50, 60)
    whole = simulate_showers(CHALLENGE, TUNGSTEN, energy, seed=4)
    threads = simulate_showers(CHALLENGE, TUNGSTEN, energy, seed=4, threads=3)
    np.testing.assert_array_equal(threads.voxels, whole.voxels)
    piece = simulate_showers(CHALLENGE, TUNGSTEN, energy[17:40], seed=4, first=17)
    np.testing.assert_array_equal(piece.voxels, whole.voxels[17:40])
    assert piece.event.tolist() == list(range(17, 40))
    other = simulate_showers(CHALLENGE, TUNGSTEN, energy, seed=5)
    assert not np.array_equal(other.voxels, whole.voxels)


def test_particles_of_a_sample_may_differ():
    energy = np.full(30, 10.0)
    pdg = np.tile(list(PARTICLES.values()), 10)
    mixed = simulate_showers(CHALLENGE, TUNGSTEN, energy, particle=pdg)
    assert mixed.conditions["pdg"].tolist() == pdg.tolist()
    photons = simulate_showers(CHALLENGE, TUNGSTEN, energy, particle="photon")
    electrons = simulate_showers(CHALLENGE, TUNGSTEN, energy, particle="positron")
    np.testing.assert_array_equal(mixed.voxels[2::3], photons.voxels[2::3])
    np.testing.assert_array_equal(mixed.voxels[::3], electrons.voxels[::3])
    np.testing.assert_array_equal(mixed.voxels[1::3], electrons.voxels[1::3])


def test_voxels_below_the_threshold_are_empty():
    energy = np.full(50, 3.0)
    low = simulate_showers(CHALLENGE, TUNGSTEN, energy, threshold=0.0)
    cut = simulate_showers(CHALLENGE, TUNGSTEN, energy, threshold=1e-3)
    np.testing.assert_array_equal(cut.voxels, np.where(low.voxels >= 1e-3, low.voxels, 0))
    usual = simulate_showers(CHALLENGE, TUNGSTEN, energy)
    np.testing.assert_array_equal(usual.voxels, low.above(CHALLENGE.threshold).voxels)


def test_thick_layers_are_the_sum_of_thin_ones():
    energy = np.full(3000, 20.0)
    thin = simulate_showers(CHALLENGE, TUNGSTEN, energy, seed=1).merged(layers=9)
    thick = simulate_showers(thin.geometry, TUNGSTEN, energy, seed=2)
    a, b = thin.voxels.astype(np.float64), thick.voxels.astype(np.float64)
    for one, other in ((thin.layer_energies, thick.layer_energies), (a, b)):
        error = np.sqrt((one.var(axis=0) + other.var(axis=0)) / len(energy))
        seen = error > 1e-4 * error.max()
        # Each step of up to a radiation length has the profile of its middle, which is good to a
        # per cent or so of what is in a voxel.
        difference = np.abs(one.mean(axis=0) - other.mean(axis=0)) - 0.01 * one.mean(axis=0)
        assert (difference[seen] < 4.5 * error[seen]).all()


def test_what_is_before_the_first_layer_is_lost():
    geometry = slices(CRYSTAL, 1.0, 30)
    edges = layer_edges(geometry)
    whole = simulate_showers(geometry, CRYSTAL, [10.0], tuning=STEADY)
    late = Geometry(geometry.layers[4:])
    rest = simulate_showers(late, CRYSTAL, [10.0], tuning=STEADY, z_edges=edges[4:])
    np.testing.assert_allclose(rest.voxels[0], whole.voxels[0, 4:], rtol=1e-6, atol=1e-9)


def test_kernels_take_parameters_and_voxels_by_name():
    assert Parameters._fields[:3] == ("z", "critical_energy", "moliere_radius")
    assert Voxels._fields[0] == "steps"
    assert fill_showers.py_func.__doc__.startswith("Showers of some particles")
    keys = keys_of(0, 0, 5)
    energy = np.full(5, 10.0)
    found = simulate_voxels(
        CHALLENGE, TUNGSTEN, energy, np.zeros(5, dtype=bool), keys, tuning=ShowerTuning()
    )
    same = simulate_showers(CHALLENGE, TUNGSTEN, energy)
    np.testing.assert_array_equal(found, same.voxels)


def test_edges_of_layers_are_half_way_between_their_middles():
    np.testing.assert_allclose(layer_edges(CHALLENGE), 3.4 * np.arange(46), rtol=1e-12)
    assert layer_edges(CHALLENGE)[0] == 0
    layers = tuple(Layer((0, 1), 1, i, z) for i, z in enumerate((5.0, 10.0, 20.0)))
    np.testing.assert_allclose(layer_edges(Geometry(layers)), [2.5, 7.5, 15, 25])


@pytest.mark.parametrize(
    ("depths", "edges", "told"),
    [
        ((1.0, None), None, r"no depth z of 1 of its 2 layers, the first is layer 1"),
        ((1.0,), None, "one layer, whose thickness is unknown"),
        ((2.0, 1.0), None, "should rise from 0 on"),
        ((-3.0, 1.0), None, "should rise from 0 on"),
        ((1.0, 2.0), (0.0, 1.0), "2 layers have 3 edges"),
        ((1.0, 2.0), (0.0, 0.0, 1.0), "should rise from 0 on"),
        ((1.0, 2.0), (0.0, 1.0, math.nan), "should rise from 0 on"),
    ],
)
def test_layers_without_places_in_depth_are_refused(depths, edges, told):
    geometry = Geometry(tuple(Layer((0, 1), 1, i, z) for i, z in enumerate(depths)))
    with pytest.raises(GeometryError, match=told):
        simulate_showers(geometry, CRYSTAL, [10.0], z_edges=edges)


def test_energies_below_the_reach_of_the_formulas_are_refused():
    for wrong in (0.01, 0.0, -1.0, math.nan, math.inf):
        with pytest.raises(ShowerError, match=r"1 of 2 incident energies are not from 0\.0369 GeV"):
            simulate_showers(CHALLENGE, TUNGSTEN, [10.0, wrong])
    with pytest.raises(ShowerError, match="not from"):
        longitudinal_profile(1.0, 0.01, TUNGSTEN)
    check_energies(TUNGSTEN, np.array([0.0369]))
    with pytest.raises(ShowerError, match="wanted one a shower"):
        simulate_showers(CHALLENGE, TUNGSTEN, [[10.0]])
    at_the_end = simulate_showers(CHALLENGE, TUNGSTEN, np.full(100, 0.0369), particle="photon")
    assert np.isfinite(at_the_end.voxels).all()


def test_particles_that_make_no_such_shower_are_refused():
    with pytest.raises(ShowerError, match=r"particle='pion' makes no .*nearest: positron"):
        simulate_showers(CHALLENGE, TUNGSTEN, [10.0], particle="pion")
    with pytest.raises(ShowerError, match="particle 211: wanted PDG numbers"):
        simulate_showers(CHALLENGE, TUNGSTEN, [10.0, 10.0], particle=[11, 211])
    with pytest.raises(ShowerError, match="there are 1 energies"):
        simulate_showers(CHALLENGE, TUNGSTEN, [10.0], particle=[11, 22])


@pytest.mark.parametrize(
    "wrong",
    [{"response": 0.0}, {"depth": -1.0}, {"core": math.nan}, {"shape": math.inf}, {"spots": 0}],
)
def test_factors_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ShowerError, match=f"{next(iter(wrong))}=.* makes no sense"):
        ShowerTuning(**wrong)


def test_thresholds_and_threads_that_are_none_are_refused():
    with pytest.raises(ShowerError, match="threshold=-1"):
        simulate_showers(CHALLENGE, TUNGSTEN, [10.0], threshold=-1)
    with pytest.raises(ShowerError, match="threads=0"):
        simulate_showers(CHALLENGE, TUNGSTEN, [10.0], threads=0)
