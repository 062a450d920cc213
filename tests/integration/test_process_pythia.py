"""Processes beside Pythia: cross sections, flavours, angles and colours with the same densities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks import cross_sections
from benchmarks.cross_sections import CASES, ENERGY, SET, Case
from hepgen.integration.beams import HadronBeams, head_on
from hepgen.integration.cuts import Cuts
from hepgen.integration.matrix_elements import many_gluons
from hepgen.integration.phase_space import PB_PER_INVERSE_GEV2
from hepgen.integration.process import Events, Process
from hepgen.integration.processes import DrellYan
from hepgen.integration.rambo import RamboOnDiet
from hepgen.integration.vegas import Vegas
from hepgen.kinematics import rapidity

Array = NDArray[np.float64]

pytest.importorskip("pythia8mc")

SHORT = {"top": CASES[0], "Drell-Yan": CASES[1], "gluons": CASES[2]}


@pytest.mark.parametrize("name", SHORT)
def test_cross_sections_are_pythias(name: str) -> None:
    case: Case = SHORT[name]
    ours, our_error = cross_sections.hepgen_cross_section(case.process(), 200_000, 1)
    theirs, their_error = cross_sections.pythia_cross_section(case.pythia, 40_000, 1)
    error = math.hypot(our_error, their_error)
    assert error < 0.005 * theirs
    assert our_error < 0.001 * ours
    # The seeds are fixed; another would fail once in 370 times.
    assert abs(ours - theirs) < 3 * error


def weighted(process: Process, count: int, seed: int) -> tuple[Array, Events]:
    """Weights in pb, whose sum is the cross section, and their events."""
    rng, sampler = np.random.default_rng(seed), Vegas(process.dimension)
    for _ in range(5):
        draw = sampler.draw(20_000, rng)
        sampler.adapt(draw, process(draw.x))
    draw = sampler.draw(count, rng)
    weight = draw.measure * process(draw.x)
    there = weight > 0
    return weight[there], process.events(draw.x[there], rng)


def generated(settings: tuple[str, ...], count: int, first: int) -> list[Any]:
    """Rows of (id, colour, anticolour, E, pz) of particles from ``first`` on, event by event."""
    pythia = cross_sections.start(settings, seed=3)
    rows = []
    for _ in range(count):
        assert pythia.next()
        record = pythia.process
        rows.append(
            [
                (p.id(), p.col(), p.acol(), p.e(), p.pz())
                for p in (record[place] for place in range(first, record.size()))
            ]
        )
    return rows


def shares(weight: Array, kinds: NDArray[Any], known: list[Any]) -> None:
    """Our weighted shares of kinds are those counted, each within 4 sigma (1 in 16 000)."""
    total = weight.sum()
    for kind in {*known, *kinds.tolist()}:
        ours = float(weight[kinds == kind].sum() / total)
        theirs = known.count(kind) / len(known)
        # Of weighted and of counted events.
        size = total**2 / (weight**2).sum()
        sigma = math.sqrt((ours * (1 - ours) + 1e-4) * (1 / size + 1 / len(known)))
        assert abs(ours - theirs) < 4 * sigma, (kind, ours, theirs)


@pytest.mark.parametrize("name", ["top", "Drell-Yan"])
def test_flavours_have_their_shares(name: str) -> None:
    case = SHORT[name]
    weight, events = weighted(case.process(), 60_000, seed=2)
    known = [row[0][0] for row in generated(case.pythia, 20_000, first=3)]
    shares(weight, events.pid[:, 0], known)


def connections(colours: NDArray[Any]) -> NDArray[np.int64]:
    """Which of the lines of four particles are the same, as one number each, shape (B,)."""
    # As if all went out.
    lines = colours.copy()
    lines[:, :2] = lines[:, :2, ::-1]
    number = np.zeros(len(lines), np.int64)
    for i in range(4):
        for j in range(4):
            joined = (lines[:, i, 0] == lines[:, j, 1]) & (lines[:, i, 0] > 0)
            number |= joined.astype(np.int64) << (4 * i + j)
    return number


@pytest.mark.parametrize("name", ["top", "gluons"])
def test_colours_have_pythias_shares(name: str) -> None:
    case = SHORT[name]
    weight, events = weighted(case.process(), 60_000, seed=3)
    gluons = events.pid[:, 0] == 21
    rows = [row for row in generated(case.pythia, 20_000, first=3) if row[0][0] == 21]
    known = connections(np.array([[[p[1], p[2]] for p in row[:4]] for row in rows]))
    shares(weight[gluons], connections(events.colours[gluons]), known.tolist())


def test_leptons_know_the_direction_of_the_quark() -> None:
    settings = (
        *(line for line in SHORT["Drell-Yan"].pythia if "mHat" not in line),
        "PhaseSpace:mHatMin = 120",
        "PhaseSpace:mHatMax = 300",
        "ProcessLevel:resonanceDecays = on",
    )
    process = DrellYan(SET, (120.0, 300.0), ENERGY, couplings=cross_sections.couplings())
    weight, events = weighted(process, 60_000, seed=4)

    def forward(minus: Array, plus: Array) -> NDArray[np.bool_]:
        """Is the negative lepton on the side to which the pair flies."""
        together: Array = rapidity(minus + plus) * (rapidity(minus) - rapidity(plus))
        return together > 0

    rows = generated(settings, 20_000, first=6)
    both = np.array([[[p[3], 0.0, 0.0, p[4]] for p in sorted(row, reverse=True)] for row in rows])
    # Transverse momenta cancel in what orders rapidities, but for the masses they give.
    order = (both[:, 0, 3] * both[:, 1, 0] - both[:, 1, 3] * both[:, 0, 0]) * both.sum(1)[:, 3] > 0
    ours = forward(events.p4[:, 3], events.p4[:, 4])
    assert float(weight[ours].sum() / weight.sum()) > 0.55
    shares(weight, ours, order.tolist())


@pytest.mark.slow
def test_three_gluons_have_pythias_cross_section() -> None:
    beams, phase_space = HadronBeams(SET, ENERGY), RamboOnDiet([0.0, 0.0, 0.0])
    cuts = Cuts(min_pt=50.0, min_delta_r=0.7)
    least = 200.0**2  # one gluon above 100 GeV, the two others above 50 GeV

    def integrand(u: Array) -> Array:
        """By x1, x2 and flat phase space, all scales 100 GeV, alpha_s = 0.12."""
        s = ENERGY**2 * (least / ENERGY**2) ** (1 - u[:, 0])
        edge = -0.5 * np.log(s / ENERGY**2)
        y = edge * (2 * u[:, 1] - 1)
        p4, weight = phase_space.forward(np.ascontiguousarray(u[:, 2:]), np.sqrt(s))
        hardest = np.hypot(p4[..., 1], p4[..., 2]).max(1) > 100
        rows = np.flatnonzero(cuts(p4) & hardest)
        root = np.sqrt(s[rows]) / ENERGY
        x1, x2 = (np.minimum(root * np.exp(sign * y[rows]), 1) for sign in (1, -1))
        incoming = np.stack([head_on(float(energy)) for energy in np.sqrt(s[rows])])
        values = np.zeros(len(u))
        jacobian = -math.log(least / ENERGY**2) * 2 * edge[rows] * weight[rows]
        squares = beams.gluons(x1, x2, np.full(len(rows), 1e4)) * many_gluons(
            incoming, p4[rows], 0.12
        )
        values[rows] = PB_PER_INVERSE_GEV2 * squares * jacobian / (2 * s[rows] * math.factorial(3))
        return values

    rng, sampler = np.random.default_rng(1), Vegas(7)
    for _ in range(8):
        draw = sampler.draw(100_000, rng)
        sampler.adapt(draw, integrand(draw.x))
    draw = sampler.draw(800_000, rng)
    value, covariance = draw.estimate(integrand(draw.x)[:, None])
    settings = (
        "HardQCD:gg2ggg = on",
        "SigmaProcess:alphaSvalue = 0.12",
        "SigmaProcess:alphaSorder = 0",
        "SigmaProcess:renormScale3 = 6",
        "SigmaProcess:factorScale3 = 6",
        "SigmaProcess:factorFixScale = 10000",
        "PhaseSpace:pTHat3Min = 100",
        "PhaseSpace:pTHat5Min = 50",
        "PhaseSpace:RsepMin = 0.7",
    )
    theirs, error = cross_sections.pythia_cross_section(settings, 5_000, 1)
    ours, our_error = float(value[0]), math.sqrt(covariance[0, 0])
    assert our_error < 0.006 * ours
    assert abs(ours - theirs) < 3 * math.hypot(our_error, error)
