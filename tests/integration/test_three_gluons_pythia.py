"""Three gluons of colliding protons: phase space, fractions, cuts and amplitudes beside Pythia."""

from __future__ import annotations

import math

import numpy as np
import pytest
import pythia8mc as pythia8
import vegas

from hepgen.integration.collinear import MomentumFractions
from hepgen.integration.cuts import Cuts
from hepgen.integration.invariants import Power
from hepgen.integration.matrix_elements import many_gluons
from hepgen.integration.pdf import PDF
from hepgen.integration.phase_space import PB_PER_INVERSE_GEV2, boost_along_beam
from hepgen.integration.rambo import RamboOnDiet

SET, ENERGY, ALPHA_S, SCALE = "NNPDF31_lo_as_0130", 13_000.0, 0.13, 100.0
MIN_PT, MIN_R = 50.0, 0.5

pytestmark = pytest.mark.slow


def by_pythia() -> tuple[float, float]:
    pythia = pythia8.Pythia("", False)
    for line in (
        "Print:quiet = on",
        f"Beams:eCM = {ENERGY}",
        f"PDF:pSet = LHAGrid1:{SET}_0000.dat",
        f"SigmaProcess:alphaSvalue = {ALPHA_S}",
        "SigmaProcess:alphaSorder = 0",
        "SigmaProcess:renormScale3 = 6",
        "SigmaProcess:factorScale3 = 6",
        f"SigmaProcess:renormFixScale = {SCALE**2}",
        f"SigmaProcess:factorFixScale = {SCALE**2}",
        "HardQCD:gg2ggg = on",
        f"PhaseSpace:pTHat3Min = {MIN_PT}",
        f"PhaseSpace:pTHat5Min = {MIN_PT}",
        f"PhaseSpace:RsepMin = {MIN_R}",
        "PartonLevel:all = off",
        "HadronLevel:all = off",
        "Check:event = off",
        "Random:setSeed = on",
        "Random:seed = 5",
    ):
        assert pythia.readString(line), line
    assert pythia.init()
    for _ in range(1500):
        assert pythia.next()
    return pythia.infoPython().sigmaGen() * 1e9, pythia.infoPython().sigmaErr() * 1e9


def by_hepgen() -> tuple[float, float]:
    densities = PDF(SET)
    fractions = MomentumFractions(ENERGY, (3 * MIN_PT) ** 2, None, Power(2.0))
    space = RamboOnDiet([0.0, 0.0, 0.0])
    cuts = Cuts(min_pt=MIN_PT, min_delta_r=MIN_R)

    @vegas.lbatchintegrand
    def cross_section(u: np.ndarray) -> np.ndarray:
        x, jacobian = fractions.forward(u[:, :2])
        s = x.prod(1) * ENERGY**2
        p4, weight = space.forward(u[:, 2:], np.sqrt(s))
        lab = boost_along_beam(p4, (x[:, 0] - x[:, 1]) / x.sum(1))
        rows = np.flatnonzero(cuts(lab))
        half = np.sqrt(s[rows]) / 2
        beams = np.zeros((len(rows), 2, 4))
        beams[:, :, 0] = half[:, None]
        beams[:, 0, 3], beams[:, 1, 3] = half, -half
        values = many_gluons(beams, p4[rows], ALPHA_S) * weight[rows] * jacobian[rows]
        for beam in (0, 1):
            gluons = densities.xfx([21], x[rows, beam], np.full(len(rows), SCALE**2))
            values *= np.asarray(gluons)[:, 0] / x[rows, beam]
        result = np.zeros(len(u))
        result[rows] = values * PB_PER_INVERSE_GEV2 / (2 * s[rows]) / math.factorial(3)
        return result

    generator = np.random.default_rng(6)
    integrator = vegas.Integrator([(0, 1)] * 7, ran_array_generator=generator.random)
    integrator(cross_section, nitn=8, neval=50_000)
    result = integrator(cross_section, nitn=10, neval=150_000, adapt=False)
    means = np.array([one.mean for one in result.itn_results])
    return float(means.mean()), float(means.std(ddof=1) / math.sqrt(len(means)))


def test_three_gluons_have_the_cross_section_of_pythia() -> None:
    # 3.5 sigma, the error of ten runs with 9 degrees of freedom: one seed of about 150 fails.
    ours, error = by_hepgen()
    theirs, other = by_pythia()
    assert math.hypot(error, other) < 0.01 * theirs
    assert abs(ours - theirs) < 3.5 * math.hypot(error, other)
