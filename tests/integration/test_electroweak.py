"""Photon and Z against the peak, the photon alone, the asymmetry and measured widths."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepgen.integration.electroweak import ElectroweakCouplings, fermion_pairs
from hepgen.integration.matrix_elements import electrons_to_muons
from hepgen.integration.phase_space import PB_PER_INVERSE_GEV2

COUPLINGS = ElectroweakCouplings()
NODES, WEIGHTS = np.polynomial.legendre.leggauss(8)


def cross_section(s: float, incoming: int, outgoing: int, couplings: ElectroweakCouplings) -> float:
    squares = fermion_pairs(s, -s / 2 * (1 - NODES), incoming, outgoing, couplings)
    return float(WEIGHTS @ squares) / (32 * math.pi * s)


def test_without_a_z_there_is_the_photon() -> None:
    photon = ElectroweakCouplings(z_mass=math.inf)
    s, t = 8315.0, -8315.0 * np.linspace(0.1, 0.9, 5)
    expected = electrons_to_muons(s, t, photon.alpha)
    np.testing.assert_allclose(fermion_pairs(s, t, 11, 13, photon), expected, rtol=1e-14)
    np.testing.assert_allclose(fermion_pairs(s, t, 2, 13, photon), expected * 4 / 27, rtol=1e-14)
    np.testing.assert_allclose(fermion_pairs(s, t, 11, 1, photon), expected * 3 / 9, rtol=1e-14)
    far = ElectroweakCouplings(z_mass=1e9)
    np.testing.assert_allclose(fermion_pairs(s, t, 11, 13, far), expected, rtol=1e-12)


@pytest.mark.parametrize("outgoing", [13, 12, 3, 4])
@pytest.mark.parametrize("incoming", [11, 1, 2])
def test_the_peak_is_that_of_breit_and_wigner(incoming: int, outgoing: int) -> None:
    # 12 pi Gamma_in Gamma_out / (M Gamma)^2 over the colours of the initial state squared.
    s = COUPLINGS.z_mass**2
    widths = COUPLINGS.partial_width(incoming) * COUPLINGS.partial_width(outgoing)
    peak = 12 * math.pi * widths / (s * COUPLINGS.z_width**2)
    peak /= 9 if incoming < 10 else 1
    # On the peak Z and photon differ by a quarter turn, so that squares add.
    photon = ElectroweakCouplings(alpha=COUPLINGS.alpha, z_mass=math.inf)
    squares = peak + cross_section(s, incoming, outgoing, photon)
    assert cross_section(s, incoming, outgoing, COUPLINGS) == pytest.approx(squares, rel=1e-12)


def test_the_hadronic_peak_is_near_what_lep_measured() -> None:
    # 41.48 nb; QCD and electroweak corrections to lowest order are some per cent.
    s = COUPLINGS.z_mass**2
    hadrons = sum(cross_section(s, 11, quark, COUPLINGS) for quark in range(1, 6))
    assert hadrons * PB_PER_INVERSE_GEV2 == pytest.approx(41480, rel=0.05)


def test_the_width_is_that_of_its_decays_but_for_corrections() -> None:
    fermions = (1, 2, 3, 4, 5, 11, 12, 13, 14, 15, 16)
    assert sum(map(COUPLINGS.partial_width, fermions)) == pytest.approx(2.4952, rel=0.035)
    # Invisible: 499.0(1.5) MeV measured.
    assert 3 * COUPLINGS.partial_width(12) == pytest.approx(0.499, rel=0.01)


def test_the_asymmetry_on_the_peak_is_three_quarters_of_the_polarisations() -> None:
    # Of the Z alone: with a photon that hardly couples only the Z's own squares are left.
    s = COUPLINGS.z_mass**2
    nodes, weights = (NODES + 1) / 2, WEIGHTS / 2

    def asymmetry(value: float) -> float:
        left, right = ElectroweakCouplings(sin2_theta_w=value).chiral(11)
        return (left**2 - right**2) / (left**2 + right**2)

    forward, backward = (
        float(weights @ fermion_pairs(s, -s / 2 * (1 - sign * nodes), 11, 13, COUPLINGS))
        for sign in (1, -1)
    )
    widths = COUPLINGS.partial_width(11) * COUPLINGS.partial_width(13)
    peak = 12 * math.pi * widths / (s * COUPLINGS.z_width**2)
    of_the_z = (forward - backward) * s / (32 * math.pi * s**2)
    left_in, right_in = COUPLINGS.chiral(11)
    # The interference of the photon with the Z's real part vanishes on the peak.
    expected = 0.75 * asymmetry(COUPLINGS.sin2_theta_w) ** 2
    assert of_the_z / peak == pytest.approx(expected, rel=1e-9)
    assert (left_in, right_in) == pytest.approx((-0.2688, 0.2312))


@pytest.mark.parametrize(("energy", "sign"), [(60.0, -1), (130.0, 1)])
def test_the_asymmetry_changes_sign_across_the_peak(energy: float, sign: int) -> None:
    # Below it interference throws muons back, above it forward, as TRISTAN and LEP 2 saw.
    s = energy**2
    forward, backward = (
        float(fermion_pairs(s, -s / 2 * (1 - cosine), 11, 13, COUPLINGS)) for cosine in (0.7, -0.7)
    )
    assert (forward - backward) * sign > 0


def test_the_asymmetry_has_its_closed_form_everywhere() -> None:
    # chi is the ratio of propagators, charges -1: (v^2 + a^2) and 2va of both currents.
    s = 70.0**2
    mixing = COUPLINGS.sin2_theta_w
    vector, axial = -0.5 + 2 * mixing, -0.5
    strength = 1 / (4 * mixing * (1 - mixing))
    gap = s - COUPLINGS.z_mass**2
    turn = COUPLINGS.z_mass * COUPLINGS.z_width
    chi = strength * s / complex(gap, turn)
    even = 1 + 2 * vector**2 * chi.real + (vector**2 + axial**2) ** 2 * abs(chi) ** 2
    odd = 4 * axial**2 * chi.real + 8 * vector**2 * axial**2 * abs(chi) ** 2
    cosine = np.linspace(-0.9, 0.9, 7)
    expected = (4 * math.pi * COUPLINGS.alpha) ** 2 * (even * (1 + cosine**2) + odd * cosine)
    found = fermion_pairs(s, -s / 2 * (1 - cosine), 11, 13, COUPLINGS)
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_running_width_is_a_shift_of_mass_and_width() -> None:
    # D. Bardin et al., PLB 206 (1988) 539: M -> M / sqrt(1 + g^2), and so the width; g = width/M.
    ratio = COUPLINGS.z_width / COUPLINGS.z_mass
    root = math.sqrt(1 + ratio**2)
    running = ElectroweakCouplings(running_width=True)
    shifted = ElectroweakCouplings(z_mass=COUPLINGS.z_mass / root, z_width=COUPLINGS.z_width / root)
    s = np.array([60.0, 91.0, 91.2, 120.0]) ** 2
    # The residue becomes complex; compare where only the modulus counts: neutrinos have no photon.
    of_running = fermion_pairs(s, -0.3 * s, 12, 14, running)
    of_shifted = fermion_pairs(s, -0.3 * s, 12, 14, shifted) / (1 + ratio**2)
    np.testing.assert_allclose(of_running, of_shifted, rtol=1e-12)


def test_antiparticles_turn_the_angle_around() -> None:
    s, t = 70.0**2, -(70.0**2) * 0.2
    straight = fermion_pairs(s, t, 2, 13, COUPLINGS)
    assert fermion_pairs(s, t, -2, -13, COUPLINGS) == straight
    assert fermion_pairs(s, -s - t, -2, 13, COUPLINGS) == straight
    assert fermion_pairs(s, -s - t, 2, -13, COUPLINGS) == straight


def test_the_fermi_constant_sets_the_couplings() -> None:
    scheme = ElectroweakCouplings.from_fermi_constant()
    assert scheme.sin2_theta_w == pytest.approx(1 - (80.369 / 91.1876) ** 2)
    # 132.2 in the G_mu scheme.
    assert 1 / scheme.alpha == pytest.approx(132.2, abs=0.2)


def test_impossible_couplings_and_fermions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"sin2_theta_w must be between 0 and 1, not 1\.5"):
        ElectroweakCouplings(sin2_theta_w=1.5)
    with pytest.raises(ValueError, match="alpha must be positive"):
        ElectroweakCouplings(alpha=0.0)
    with pytest.raises(ValueError, match="z_width must not be negative"):
        ElectroweakCouplings(z_width=-1.0)
    with pytest.raises(ValueError, match="must be lighter than the Z"):
        ElectroweakCouplings.from_fermi_constant(w_mass=100.0)
    with pytest.raises(ValueError, match="no fermion of PDG identifier 21"):
        fermion_pairs(1.0, -0.5, 21, 13, COUPLINGS)
    with pytest.raises(ValueError, match="are of one flavour"):
        fermion_pairs(1.0, -0.5, 11, -11, COUPLINGS)
