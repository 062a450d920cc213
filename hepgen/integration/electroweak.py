r"""Pairs of massless fermions by a photon and a Z boson, at lowest order.

With :math:`g_L = T_3 - Q \sin^2\theta_W` and :math:`g_R = -Q \sin^2\theta_W` the amplitude of
helicities i, j of the two currents is

.. math:: A_{ij} = e^2 \Big[\frac{Q Q'}{s} + \frac{g_i g'_j}{\sin^2\theta_W \cos^2\theta_W}
   \frac{1}{s - M_Z^2 + i M_Z \Gamma_Z}\Big], \qquad
   \overline{|M|^2} = u^2 (|A_{LL}|^2 + |A_{RR}|^2) + t^2 (|A_{LR}|^2 + |A_{RL}|^2)

times the number of colours of the final state over that of the initial one. Particle Data Group,
"Electroweak model and constraints on new physics". Fermions are named by their PDG identifiers.

Shapes: arguments broadcast to (B,).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

__all__ = ["ElectroweakCouplings", "fermion_pairs"]

Array = NDArray[np.float64]

# Charge, third component of the weak isospin, colours.
_DOWN, _UP, _CHARGED, _NEUTRINO = (-1 / 3, -0.5, 3), (2 / 3, 0.5, 3), (-1.0, -0.5, 1), (0.0, 0.5, 1)
_FERMIONS = {
    **dict.fromkeys((1, 3, 5), _DOWN),
    **dict.fromkeys((2, 4, 6), _UP),
    **dict.fromkeys((11, 13, 15), _CHARGED),
    **dict.fromkeys((12, 14, 16), _NEUTRINO),
}


@dataclass(frozen=True)
class ElectroweakCouplings:
    """Inputs of the exchange of a photon and a Z boson, all free of each other.

    Attributes:
        alpha: electromagnetic coupling.
        sin2_theta_w: of the weak mixing angle; where it is 1 - (M_W/M_Z)^2 the set is on-shell.
        z_mass: in GeV; infinity leaves the photon alone.
        z_width: total, in GeV.
        running_width: put s / M_Z^2 on the width in the propagator, as Pythia does and LEP did.
    """

    alpha: float = 1 / 127.95
    sin2_theta_w: float = 0.2312
    z_mass: float = 91.1876
    z_width: float = 2.4952
    running_width: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.sin2_theta_w < 1:
            raise ValueError(f"sin2_theta_w must be between 0 and 1, not {self.sin2_theta_w}")
        for name in ("alpha", "z_mass"):
            if not getattr(self, name) > 0:
                raise ValueError(f"{name} must be positive, not {getattr(self, name)}")
        if not self.z_width >= 0:
            raise ValueError(f"z_width must not be negative, got {self.z_width} GeV")

    @classmethod
    def from_fermi_constant(
        cls,
        fermi_constant: float = 1.1663788e-5,
        w_mass: float = 80.369,
        z_mass: float = 91.1876,
        z_width: float = 2.4952,
        *,
        running_width: bool = False,
    ) -> ElectroweakCouplings:
        r"""The G_mu scheme.

        :math:`\sin^2\theta_W = 1 - M_W^2/M_Z^2`,
        :math:`\alpha = \sqrt2\, G_\mu M_W^2 \sin^2\theta_W / \pi`.

        Args:
            fermi_constant: of the decay of the muon in GeV^-2.
            w_mass: in GeV, below ``z_mass``.
            z_mass: in GeV.
            z_width: in GeV.
            running_width: as in the class.

        Raises:
            ValueError: the W is not lighter than the Z.
        """
        if not 0 < w_mass < z_mass:
            raise ValueError(f"the W ({w_mass} GeV) must be lighter than the Z ({z_mass} GeV)")
        mixing = 1 - (w_mass / z_mass) ** 2
        alpha = math.sqrt(2) * fermi_constant * w_mass**2 * mixing / math.pi
        return cls(alpha, mixing, z_mass, z_width, running_width)

    def chiral(self, fermion: int) -> tuple[float, float]:
        """Couplings g_L and g_R of a fermion to the Z, without the factor e / (sin cos).

        Args:
            fermion: PDG identifier, its sign left aside.

        Raises:
            ValueError: not a quark or a lepton.
        """
        charge, isospin, _ = _properties(fermion)
        return isospin - charge * self.sin2_theta_w, -charge * self.sin2_theta_w

    def partial_width(self, fermion: int) -> float:
        r"""Width of the decay of the Z into a massless fermion and its antifermion, in GeV.

        :math:`N_c \alpha M_Z (g_L^2 + g_R^2) / 6 \sin^2\theta_W \cos^2\theta_W`.

        Args:
            fermion: PDG identifier, its sign left aside.

        Raises:
            ValueError: not a quark or a lepton.
        """
        left, right = self.chiral(fermion)
        strength = self.alpha / (self.sin2_theta_w * (1 - self.sin2_theta_w))
        return _properties(fermion)[2] * strength * self.z_mass * (left**2 + right**2) / 6


def fermion_pairs(
    s: ArrayLike,
    t: ArrayLike,
    incoming: int,
    outgoing: int,
    couplings: ElectroweakCouplings,
) -> Array:
    """Fermion and antifermion by photon and Z to another pair: e+e- to muons, Drell-Yan.

    Args:
        s: energy squared in GeV^2.
        t: (p1 - p3)^2 in GeV^2, p1 the first incoming and p3 the first outgoing particle.
        incoming: PDG identifier of p1; p2 is its antiparticle.
        outgoing: PDG identifier of p3; p4 is its antiparticle. Another flavour than ``incoming``,
            so that nothing is exchanged between the two.
        couplings: charges and the Z.

    Returns:
        Averaged squares without a unit, shape (B,).

    Raises:
        ValueError: not quarks or leptons, or twice the same flavour.
    """
    charge_in, _, colours_in = _properties(incoming)
    charge_out, _, colours_out = _properties(outgoing)
    if abs(incoming) == abs(outgoing):
        raise ValueError(
            f"fermions {incoming} and {outgoing} are of one flavour and scatter in t as well"
        )
    strength = 1 / (couplings.sin2_theta_w * (1 - couplings.sin2_theta_w))
    weak = np.outer(couplings.chiral(incoming), couplings.chiral(outgoing)).ravel() * strength
    squared: Array = np.asarray(s, np.float64)
    transfer: Array = np.asarray(t, np.float64)
    if incoming * outgoing < 0:
        transfer = -squared - transfer
    # Copies: broadcast views may not be written to and would be compiled for anew.
    shape = np.broadcast_shapes(squared.shape, transfer.shape)
    values = _exchange(
        np.array(np.broadcast_to(squared, shape)).ravel(),
        np.array(np.broadcast_to(transfer, shape)).ravel(),
        charge_in * charge_out,
        weak,
        couplings.z_mass,
        couplings.z_width,
        couplings.running_width,
    )
    factor = (4 * math.pi * couplings.alpha) ** 2 * colours_out / colours_in
    result: Array = (factor * values).reshape(shape)
    return result


def _properties(fermion: int) -> tuple[float, float, int]:
    if abs(fermion) not in _FERMIONS:
        known = ", ".join(map(str, _FERMIONS))
        raise ValueError(f"no fermion of PDG identifier {fermion}; there are {known}")
    return _FERMIONS[abs(fermion)]


@njit(cache=True, nogil=True, error_model="numpy")
def _exchange(
    s: Array, t: Array, electric: float, weak: Array, mass: float, width: float, running: bool
) -> Array:
    """u^2 (|A_LL|^2 + |A_RR|^2) + t^2 (|A_LR|^2 + |A_RL|^2) for e = 1; weak is LL, LR, RL, RR."""
    values = np.empty(len(s))
    for row in range(len(s)):
        photon = electric / s[row]
        off = s[row] - mass**2
        absorbed = width * (s[row] / mass if running else mass)
        below = off**2 + absorbed**2
        # An infinite mass makes this nan, not the 0 that it tends to.
        real = off / below if mass < math.inf else 0.0
        imaginary = -absorbed / below if mass < math.inf else 0.0
        total = 0.0
        for pair in range(4):
            side = t[row] if 0 < pair < 3 else -s[row] - t[row]
            amplitude = (photon + weak[pair] * real) ** 2 + (weak[pair] * imaginary) ** 2
            total += side**2 * amplitude
        values[row] = total
    return values
