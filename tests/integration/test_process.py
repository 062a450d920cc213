"""Every process keeps the contract, and its cross section is that of quadrature or closed forms."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from hepgen.integration import processes
from hepgen.integration.alpha_s import AlphaS
from hepgen.integration.beams import PARTONS, HadronBeams, head_on
from hepgen.integration.colour_flow import colours_of_order, gluon_orders, order_shares
from hepgen.integration.cuts import Cuts
from hepgen.integration.electroweak import ElectroweakCouplings
from hepgen.integration.matrix_elements import gluons_to_gluons
from hepgen.integration.pdf import PDF, ToyPDF
from hepgen.integration.process import INCOMING, INTERMEDIATE, OUTGOING, Events, Process, choose
from hepgen.integration.processes import (
    DrellYan,
    ElectronPositronToMuons,
    ElectronPositronToQuarksGluon,
    Gluons,
    GluonScattering,
    TopPair,
)
from hepgen.integration.processes.hadronic_pair import (
    HadronicPair,
    PairPoints,
    transverse_kinematics,
)
from hepgen.integration.run import integrate
from hepgen.integration.scale import Scale
from hepgen.integration.vegas import Vegas
from hepgen.io.errors import InputError, MissingName
from hepgen.kinematics import mass, pt, rapidity

Array = NDArray[np.float64]

PB = 3.893793721e8
FIXED = Scale("fixed", 100.0)
PHOTON = ElectroweakCouplings(alpha=1 / 128, z_mass=math.inf)

CASES: dict[str, Callable[[], Process]] = {
    "DrellYan": lambda: DrellYan(ToyPDF(), cuts=Cuts(min_pt=20, max_eta=2.5)),
    "DrellYan log": lambda: DrellYan(ToyPDF(), (10, 50), beams=("p", "pbar"), lepton=11),
    "ElectronPositronToMuons": lambda: ElectronPositronToMuons(200.0, cos_theta_max=0.9),
    "ElectronPositronToQuarksGluon": lambda: ElectronPositronToQuarksGluon(cuts=Cuts(min_pt=2)),
    "GluonScattering": lambda: GluonScattering(ToyPDF(), 30.0, cuts=Cuts(max_eta=3)),
    "Gluons 2": lambda: Gluons(2, 500.0, Cuts(min_pt=30)),
    "Gluons 3": lambda: Gluons(3, 500.0, Cuts(min_pt=30, min_angle=0.4)),
    "Gluons 5": lambda: Gluons(5, 500.0, Cuts(min_pt=20, min_delta_r=0.4), alpha_s=0.1),
    "TopPair": lambda: TopPair(ToyPDF(), 1960.0, ("p", "pbar")),
    "TopPair gluons": lambda: TopPair(ToyPDF(), initial="gluons"),
}


def kept(process: Process, count: int, seed: int = 1) -> Array:
    """Points where there is a cross section."""
    u = np.random.default_rng(seed).random((count, process.dimension))
    return u[process(u) > 0]


def vegas(process: Process, calls: int, seed: int) -> tuple[float, float]:
    rng, sampler = np.random.default_rng(seed), Vegas(process.dimension)
    for _ in range(5):
        draw = sampler.draw(calls // 10, rng)
        sampler.adapt(draw, process(draw.x))
    draw = sampler.draw(calls // 2, rng)
    value, covariance = draw.estimate(process(draw.x)[:, None])
    return float(value[0]), math.sqrt(covariance[0, 0])


def agree(process: Process, known: float, calls: int = 200_000, precision: float = 0.005) -> None:
    """Within 4 sigma, false once in 16 000 times, and known to a given precision."""
    value, error = vegas(process, calls, seed=5)
    assert error < precision * value
    assert abs(value - known) < 4 * error + 1e-9 * known


def test_every_process_is_tried() -> None:
    assert {name.split()[0] for name in CASES} == set(processes.__all__)


@pytest.mark.parametrize("name", CASES)
def test_cross_sections_are_finite_and_positive_and_repeat(name: str) -> None:
    process = CASES[name]()
    u = np.random.default_rng(2).random((2000, process.dimension))
    u[:4] = [[0.0], [1.0], [0.5], [0.25]]  # corners, the middle
    values = process(u)
    assert values.dtype == np.float64
    assert np.isfinite(values).all()
    assert (values >= 0).all()
    assert (values > 0).any()
    # Point by point and in one call, whatever the size of blocks.
    np.testing.assert_array_equal(process(np.tile(u, (6, 1))), np.tile(values, 6))
    assert process(np.empty((0, process.dimension))).shape == (0,)


@pytest.mark.parametrize("name", CASES)
def test_points_that_mean_nothing_are_refused(name: str) -> None:
    process = CASES[name]()
    dimension = process.dimension
    with pytest.raises(ValueError, match=rf"takes points of shape \(B, {dimension}\), got \(2, 1"):
        process(np.zeros((2, dimension + 1 if dimension > 9 else 10 + dimension % 10)))
    bad = np.full((3, dimension), 0.5)
    bad[1, 0] = 1.5
    with pytest.raises(ValueError, match=r"takes points of the unit cube, got \[1.5.* at point 1"):
        process(bad)
    bad[1, 0] = np.nan
    with pytest.raises(ValueError, match=r"takes points of the unit cube, got \[nan.* at point 1"):
        process.events(bad, np.random.default_rng(1))


@pytest.mark.parametrize("name", CASES)
def test_events_conserve_momentum_and_colour(name: str) -> None:
    process = CASES[name]()
    u = kept(process, 3000)
    events: Events = process.events(u, np.random.default_rng(3))
    assert len(events) == len(u) == len(events[:10]) + len(events[10:])
    incoming, final = events.status == INCOMING, events.status == OUTGOING
    scale = events.p4[:, incoming, 0].sum(1)[:, None]
    lost = events.p4[:, incoming].sum(1) - events.p4[:, final].sum(1)
    assert (abs(lost) < 1e-11 * scale).all()
    assert (abs(mass(events.p4[:, incoming])) < 1e-6 * scale).all()
    np.testing.assert_allclose(events.p4[:, 0, 0], events.x1 * process.beam_energies[0])
    np.testing.assert_allclose(events.p4[:, 1, 0], events.x2 * process.beam_energies[1])
    for place in np.flatnonzero(final):
        expected = 172.5 if name.startswith("TopPair") else 0.0
        tolerance = 1e-6 * events.p4[:, place, 0]
        assert (abs(mass(events.p4[:, place]) - expected) < tolerance).all()
    # Each line begins and ends once, where what comes in counts the other way round.
    lines = np.where(incoming[None, :, None], events.colours[..., ::-1], events.colours)
    outer = lines[:, events.status != INTERMEDIATE]
    np.testing.assert_array_equal(np.sort(outer[..., 0]), np.sort(outer[..., 1]))
    coloured = (abs(events.pid) <= 6) | (events.pid == 21)
    np.testing.assert_array_equal(coloured, events.colours.any(2))
    wanted = np.stack(
        [(events.pid > 0) & coloured, coloured & ((events.pid < 0) | (events.pid == 21))], 2
    )
    np.testing.assert_array_equal(events.colours > 0, wanted)
    assert (events.alpha_s > 0).all()
    assert (events.scale > 0).all()


def test_points_without_cross_section_are_no_events() -> None:
    process = Gluons(2, 500.0, Cuts(min_pt=30))
    u = np.array([[0.5, 0.5], [1.0, 0.5]])
    with pytest.raises(
        ValueError, match=r"Gluons has no event at point 1, \[1.0, 0.5\], .* \(1 of 2"
    ):
        process.events(u, np.random.default_rng(1))
    assert len(process.events(u[:0], np.random.default_rng(1))) == 0
    assert len(process.events(u[:0], np.random.default_rng(1)).to_awkward()) == 0


@pytest.mark.parametrize("name", CASES)
def test_events_obey_cuts_and_observables_are_theirs(name: str) -> None:
    process: Any = CASES[name]()
    u = kept(process, 2000)
    events = process.events(u, np.random.default_rng(4))
    final = events.p4[:, events.status == OUTGOING]
    if getattr(process, "cuts", None) is not None:
        assert process.cuts(final).all()
    known = process.observables(u)
    assert all(values.shape == (len(u),) for values in known.values())
    pair = final[:, 0] + final[:, 1]
    checks = {
        "mass": mass(pair),
        "rapidity": rapidity(pair),
        "pt": pt(final[:, 0]),
        "rapidity_3": rapidity(final[:, 0]),
        "rapidity_4": rapidity(final[:, 1]),
        "x1": events.x1,
        "x2": events.x2,
        "ht": pt(final).sum(1),
        "pt_1": pt(final).max(1),
        "x_g": 2 * final[:, -1, 0] / events.p4[:, 0, 0] / 2,
    }
    for observable in checks.keys() & known.keys():
        np.testing.assert_allclose(known[observable], checks[observable], rtol=1e-6, atol=1e-7)
    assert process.observables(u[:0]).keys() == known.keys()


def test_shares_are_chosen_as_often_as_they_say() -> None:
    shares = np.tile([1.0, 0.0, 3.0, 0.0], (40_000, 1))
    counts = np.bincount(choose(shares, np.random.default_rng(5)), minlength=4)
    assert counts[[1, 3]].tolist() == [0, 0]
    # Within 4 sigma, false once in 16 000 times.
    assert abs(counts[0] - 10_000) < 4 * math.sqrt(7_500)
    with pytest.raises(
        ValueError, match=r"nothing to choose from at point 1: its shares are \[0.0"
    ):
        choose(np.array([[1.0, 1.0], [0.0, 0.0]]), np.random.default_rng(5))
    with pytest.raises(ValueError, match="nothing to choose from at point 0"):
        choose(np.array([[1.0, -1.0]]), np.random.default_rng(5))


def test_scales_are_what_their_names_say() -> None:
    s, masses = np.array([100.0, 400.0]), np.array([[2.0, 8.0], [3.0, 3.0]])
    assert Scale("fixed", 5.0, factor=2.0).squared(s, masses).tolist() == [100, 100]
    assert Scale("sqrt_s_hat", factor=0.5).squared(s, masses).tolist() == [25, 100]
    assert Scale().squared(s, masses).tolist() == [16, 9]
    assert Scale("half_ht").squared(s, masses).tolist() == [25, 9]
    three = np.array([[1.0, 2.0, 4.0]])
    np.testing.assert_allclose(Scale().squared(s[:1], three), [4.0])
    with pytest.raises(MissingName, match="no scale 'ht' in hepgen; nearest: half_ht"):
        Scale("ht")  # type: ignore[arg-type]
    with pytest.raises(
        InputError, match="wanted a value in GeV with the scale 'fixed' and with no"
    ):
        Scale("fixed")
    with pytest.raises(InputError, match=r"got value=91.0 with 'sqrt_s_hat'"):
        Scale("sqrt_s_hat", 91.0)
    with pytest.raises(InputError, match="wanted a positive factor of the scale, got 0"):
        Scale(factor=0.0)


def test_beams_hold_antiprotons_and_missing_flavours() -> None:
    x, q2 = np.array([0.1, 0.3]), np.full(2, 1e4)
    proton, antiproton = HadronBeams(ToyPDF(), 1960.0, ("p", "pbar")).densities(x, x, q2)
    np.testing.assert_array_equal(proton, antiproton[:, ::-1])
    np.testing.assert_array_equal(proton, ToyPDF().xfx(PARTONS, x, q2))

    few = ToyPDF()
    few.flavours = (21, 2, -2)
    beams = HadronBeams(few, 1000.0)
    found, _ = beams.densities(x, x, q2)
    assert (found[:, PARTONS.index(3)] == 0).all()
    products = beams.conjugate_pairs(x, x, q2)
    gluons = beams.gluons(x, x, q2)
    np.testing.assert_allclose(products[:, PARTONS.index(21)], gluons)
    np.testing.assert_allclose(
        products[:, PARTONS.index(2)], (ToyPDF().xfx([2, -2], x, q2)).prod(1)
    )
    assert head_on(10.0).tolist() == [[5, 0, 0, 5], [5, 0, 0, -5]]


# Cross sections of partons in closed form, in pb.


def tops(s: Array, mass_: float, alpha: float) -> tuple[Array, Array]:
    """Nason, Dawson and Ellis, Nucl. Phys. B303 (1988) 607: quarks and gluons."""
    rho = 4 * mass_**2 / s
    beta = np.sqrt(1 - rho)
    factor = PB * alpha**2 / mass_**2 * np.pi * beta * rho
    log = np.log((1 + beta) / (1 - beta)) / beta
    quarks = factor / 27 * (2 + rho)
    return quarks, factor / 192 * ((rho**2 + 16 * rho + 16) * log - 28 - 31 * rho)


def luminosity(
    energy: float, low: float, high: float, hat: Callable[[Array], tuple[Array, Array]]
) -> float:
    """Quadrature of x f x f of the toy times closed forms over ln s_hat and y."""
    nodes, weights = np.polynomial.legendre.leggauss(200)
    log = math.log(low) + (nodes + 1) / 2 * math.log(high / low)
    total = 0.0
    for place, weight in zip(np.exp(log), weights * math.log(high / low) / 2, strict=True):
        edge = -0.5 * math.log(place / energy**2)
        # y = edge sin(...) puts nodes where densities fall.
        y = edge * np.sin(np.pi / 2 * nodes)
        measure = weights * edge * np.pi / 2 * np.cos(np.pi / 2 * nodes)
        root = math.sqrt(place) / energy
        first, second = (
            ToyPDF().xfx(PARTONS, np.minimum(root * np.exp(sign * y), 1), 1e4) for sign in (1, -1)
        )
        pairs = measure @ (first * second[:, ::-1])
        quarks, gluons = hat(np.array(place))
        charges = quarks if quarks.ndim else np.full(len(PARTONS), quarks)
        charges = np.where(np.array(PARTONS) == 21, gluons, charges)
        total += float(weight * (pairs * charges).sum())
    return total


@pytest.mark.parametrize("initial", ["quarks", "gluons", "all"])
def test_top_pairs_are_densities_times_closed_forms(initial: Any) -> None:
    alpha = AlphaS(0.11, order=0)
    process = TopPair(ToyPDF(), 1960.0, alpha_s=alpha, factorisation_scale=FIXED, initial=initial)

    def hat(s: Array) -> tuple[Array, Array]:
        quarks, gluons = tops(s, 172.5, 0.11)
        return quarks * (initial != "gluons"), gluons * (initial != "quarks")

    low = 4 * 172.5**2
    agree(process, luminosity(1960.0, low * (1 + 1e-12), 1960.0**2, hat), precision=0.002)


@pytest.mark.parametrize("window", [(20.0, 60.0), (60.0, 120.0)])
def test_drell_yan_is_densities_times_closed_forms(window: tuple[float, float]) -> None:
    # Photon alone: 4 pi alpha^2 Q^2 / 9 s.
    squared = np.array([(1 / 9 if f % 2 else 4 / 9) if f != 21 else 0 for f in PARTONS])

    def hat(s: Array) -> tuple[Array, Array]:
        return PB * 4 * np.pi / 128**2 / (9 * s) * squared, np.zeros(())

    known = luminosity(8000.0, window[0] ** 2, window[1] ** 2, hat)
    process = DrellYan(ToyPDF(), window, 8000.0, couplings=PHOTON)
    agree(process, known, precision=0.001)


def test_both_maps_of_the_mass_give_the_same_drell_yan() -> None:
    ours = {
        choice: vegas(DrellYan(ToyPDF(), mass_map=choice), 200_000, 6)
        for choice in ("log", "breit_wigner")
    }
    (first, error), (second, other) = ours.values()
    assert abs(first - second) < 4 * math.hypot(error, other)
    assert error < 0.003 * first


CUT: dict[str, tuple[Callable[[Cuts | None], Process], Cuts]] = {
    "Drell-Yan": (
        lambda cuts: DrellYan(ToyPDF(), (40.0, 200.0), cuts=cuts),
        Cuts(min_pt=25, max_eta=2.5, min_mass=55),
    ),
    "one lepton": (
        lambda cuts: DrellYan(ToyPDF(), (20.0, 60.0), cuts=cuts),
        Cuts(min_pt=15, max_pt=27, max_rapidity=2, particles=(1,)),
    ),
    "tops": (
        lambda cuts: TopPair(ToyPDF(), cuts=cuts),
        Cuts(min_pt=100, max_pt=300, max_rapidity=1.5, max_eta=2.0),
    ),
    "gluons": (
        lambda cuts: GluonScattering(ToyPDF(), 50.0, cuts=cuts),
        Cuts(min_pt=60, max_pt=150, max_eta=2, min_delta_r=3.3),
    ),
}


@pytest.mark.parametrize("name", CUT)
def test_cuts_leave_what_they_would_leave_afterwards(name: str) -> None:
    make, cuts = CUT[name]
    plain, rng, sampler = make(None), np.random.default_rng(11), Vegas(3)
    for calls in (20_000, 20_000, 20_000, 400_000):
        draw = sampler.draw(calls, rng)
        values = plain(draw.x)
        sampler.adapt(draw, values)
        there = np.flatnonzero(values)
        passed = cuts(plain.events(draw.x[there], rng).p4[:, -2:])
        values[there[~passed]] = 0
    value, covariance = draw.estimate(values[:, None])
    process = make(cuts)
    ours, error = vegas(process, 100_000, seed=12)
    other = math.sqrt(covariance[0, 0])
    # Within 4 sigma, false once in 16 000 times.
    assert abs(ours - value[0]) < 4 * math.hypot(error, other)
    assert math.hypot(error, other) < 0.005 * ours


def test_gluon_scattering_is_a_quadrature_over_other_variables() -> None:
    energy, smallest, alpha = 2000.0, 100.0, 0.12
    nodes, weights = np.polynomial.legendre.leggauss(60)

    def hat(s: Array) -> tuple[Array, Array]:
        # In ln((1 + c) / (1 - c)), twice the rapidity in the partons' frame.
        widest = np.arctanh(np.sqrt(np.maximum(1 - 4 * smallest**2 / s, 0)))
        cosine = np.tanh(widest * nodes)
        squares = gluons_to_gluons(s, -s / 2 * (1 - cosine), alpha)
        jacobian = widest * (1 - cosine**2) * s / 2
        integral = (weights * jacobian * squares).sum() / (16 * np.pi * s**2)
        return np.zeros(()), 0.5 * PB * integral

    known = luminosity(energy, 4 * smallest**2 * (1 + 1e-12), energy**2, hat)
    process = GluonScattering(
        ToyPDF(), smallest, energy, alpha_s=AlphaS(alpha, order=0), factorisation_scale=FIXED
    )
    agree(process, known, precision=0.001)


def test_muons_have_the_total_of_quantum_electrodynamics() -> None:
    process = ElectronPositronToMuons(40.0, PHOTON)
    known = PB * 4 * np.pi / 128**2 / (3 * 40.0**2)
    agree(process, known, precision=0.001)


def test_muons_at_the_z_have_its_peak() -> None:
    couplings = ElectroweakCouplings()
    width = couplings.partial_width(11)
    peak = PB * 12 * np.pi * width**2 / (couplings.z_mass * couplings.z_width) ** 2
    photon = PB * 4 * np.pi * couplings.alpha**2 / (3 * couplings.z_mass**2)
    # There the photon does not interfere with the Z but for a real part that vanishes.
    agree(ElectronPositronToMuons(couplings=couplings), peak + photon, precision=0.001)


def test_three_partons_have_the_total_of_their_energy_fractions() -> None:
    # C_F alpha_s / 2 pi (x1^2 + x2^2) / (1 - x1)(1 - x2) over all 1 - x > y_cut.
    process = ElectronPositronToQuarksGluon(40.0, 0.05, 5, 1 / 137.0, 0.118)
    nodes, weights = np.polynomial.legendre.leggauss(60)
    known = 0.0
    for node, weight in zip(nodes, weights, strict=True):
        x1 = 0.525 + 0.425 * node  # from 2 y_cut to 1 - y_cut
        low, high = 1.05 - x1, 0.95  # 1 - x2 and 1 - x3 = x1 + x2 - 1 above y_cut
        x2 = (high + low) / 2 + (high - low) / 2 * nodes
        inner = (weights * (x1**2 + x2**2) / ((1 - x1) * (1 - x2))).sum() * (high - low) / 2
        known += weight * 0.425 * inner
    known *= 4 / 3 * 0.118 / (2 * np.pi)
    assert known == pytest.approx(0.216541, abs=2e-6)
    born = PB * 4 * np.pi / 137.0**2 / (3 * 40.0**2) * 3 * 11 / 9
    agree(process, known * born)


def test_two_gluons_have_the_integral_over_the_angle() -> None:
    widest = math.sqrt(1 - (2 * 30 / 500) ** 2)
    nodes, weights = np.polynomial.legendre.leggauss(100)
    s, rapidities = 500.0**2, math.atanh(widest) * nodes
    cosine = np.tanh(rapidities)
    squares = gluons_to_gluons(s, -s / 2 * (1 - cosine), 0.118)
    jacobian = math.atanh(widest) * (1 - cosine**2) * s / 2
    known = 0.5 * PB * (weights * jacobian * squares).sum() / (16 * np.pi * s**2)
    agree(Gluons(2, 500.0, Cuts(min_pt=30)), float(known))


def test_processes_can_be_handed_to_integrate() -> None:
    process = DrellYan(ToyPDF())
    result = integrate(process, [(0, 1)] * 3, calls=50_000, sampler="vegas", seed=3)
    value, error = vegas(process, 100_000, seed=8)
    assert abs(result.integral - value) < 4 * math.hypot(error, result.error)


def test_colours_of_two_gluons_follow_the_squares_of_their_orders() -> None:
    orders = gluon_orders(4)
    assert orders.tolist() == [[0, 1, 2, 3], [0, 1, 3, 2], [0, 2, 1, 3]]
    assert len(gluon_orders(6)) == 60
    p4 = np.concatenate([head_on(2.0), [[1, 0.6, 0, 0.8], [1, -0.6, 0, -0.8]]])[None]
    s, t, u = 4.0, -0.4, -3.6
    shares = order_shares(p4, orders)[0]
    known = np.array([1 / (s * u) ** 2, 1 / (s * t) ** 2, 1 / (t * u) ** 2])
    np.testing.assert_allclose(shares / shares.sum(), known / known.sum(), rtol=1e-12)
    colours = colours_of_order(np.tile(orders[1], (50, 1)), np.random.default_rng(9))
    # 0, 1, 3, 2: the outgoing ones are joined to each other, the incoming to each other.
    joined = (colours[:, 2, 0] == colours[:, 3, 1]) | (colours[:, 2, 1] == colours[:, 3, 0])
    assert joined.all()
    assert 10 < (colours[:, 2, 0] == colours[:, 3, 1]).sum() < 40


def test_kinematics_of_pairs_cover_all_of_their_space_once() -> None:
    # The volume of pT^2, y3 and y4 by other means: rectangles cut by x1, x2 < 1.
    u = np.random.default_rng(10).random((400_000, 3))
    points = PairPoints(*transverse_kinematics(u, 100.0**2, 5.0, 2.0, math.inf, math.inf))
    assert (np.maximum(points.x1, points.x2) <= 1).all()
    np.testing.assert_allclose(points.x1 * points.x2 * 1e4, points.s, rtol=1e-9)
    weights = points.measure / points.transverse_mass**6
    grid = np.linspace(29.0, 2500.0, 200_001)
    squared = (grid[1:] + grid[:-1]) / 2
    half = np.linspace(-3.0, 3.0, 601)
    volume = 0.0
    # For each y* the mass is bound by 4 mT^2 cosh^2 y* < s, and y by ln(1 / tau).
    for y_star in (half[1:] + half[:-1]) / 2:
        tau = 4 * squared * math.cosh(y_star) ** 2 / 1e4
        inside = np.where(tau < 1, -np.log(tau), 0.0)
        volume += 0.01 * 2 * float((inside / squared**3).sum()) * (grid[1] - grid[0])
    mean, error = weights.mean(), weights.std() / math.sqrt(len(weights))
    assert abs(mean - volume) < 4 * error + 1e-4 * volume
    assert issubclass(TopPair, HadronicPair)


def test_arguments_without_sense_are_refused() -> None:
    toy = ToyPDF()
    wrong: dict[str, Callable[[], Any]] = {
        "wanted a positive energy in GeV, got -1": lambda: HadronBeams(toy, -1.0),
        r"wanted two beams of 'p' and 'pbar', got \('p', 'e'\)": lambda: HadronBeams(
            toy,
            1.0,
            ("p", "e"),  # type: ignore[arg-type]
        ),
        r"wanted a mass above 0 and below half the energy \(150.0 GeV\)": lambda: TopPair(
            toy, 300.0
        ),
        "initial must be 'all', 'quarks' or 'gluons', got 'up'": lambda: TopPair(
            toy,
            initial="up",  # type: ignore[arg-type]
        ),
        "nothing passes the cuts: two particles of 172.5 GeV with transverse momenta of 7000": (
            lambda: TopPair(toy, cuts=Cuts(min_pt=7000))
        ),
        "nothing passes the cuts: pt_min is 50 GeV, max_pt 40 GeV": lambda: GluonScattering(
            toy, 50, cuts=Cuts(max_pt=40)
        ),
        "wanted pt_min above 0 and below half the energy": lambda: GluonScattering(toy, 0.0),
        r"wanted 0 < smallest < largest mass <= 13000.0 GeV, got \(9, 5\)": lambda: DrellYan(
            toy, (9, 5)
        ),
        "wanted a lepton of PDG id 11, 13 or 15, got 12": lambda: DrellYan(
            toy,
            lepton=12,  # type: ignore[arg-type]
        ),
        "mass_map 'breit_wigner' wants a Z of some width within the window": lambda: DrellYan(
            toy, (10, 20), mass_map="breit_wigner"
        ),
        "mass_map must be 'log' or 'breit_wigner', got 'flat'": lambda: DrellYan(
            toy,
            mass_map="flat",  # type: ignore[arg-type]
        ),
        r"wanted cos_theta_max in \(0, 1\], got 2": lambda: ElectronPositronToMuons(
            cos_theta_max=2.0
        ),
        "wanted y_cut above 0 and below 1/3, got 0.5": lambda: ElectronPositronToQuarksGluon(
            y_cut=0.5
        ),
        "wanted 1 to 5 quarks, got 6": lambda: ElectronPositronToQuarksGluon(quarks=6),
        "wanted a positive alpha_s, got 0": lambda: Gluons(2, 500.0, Cuts(min_pt=30), alpha_s=0.0),
        "wanted 2 to 5 outgoing gluons, got 6": lambda: Gluons(6, 500.0, Cuts(min_pt=30)),
        "the cross section is infinite: wanted cuts on all gluons, min_pt and, from three": (
            lambda: Gluons(3, 500.0, Cuts(min_pt=30))
        ),
    }
    for message, make in wrong.items():
        with pytest.raises(InputError, match=message):
            make()


def test_densities_may_be_named() -> None:
    pytest.importorskip("pythia8mc")
    named = TopPair("NNPDF31_lo_as_0130")
    given = TopPair(PDF("NNPDF31_lo_as_0130"))
    u = np.random.default_rng(1).random((10, 3))
    np.testing.assert_array_equal(named(u), given(u))
