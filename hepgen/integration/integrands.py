r"""Integrands with known integrals, fixed before anything was measured on them.

They are the ones on which importance samplers are published: the tests of i-flow (C. Gao,
J. Isaacson and C. Krause, arXiv:2001.05486), those of ZüNIS (N. Deutschmann and N. Götz,
arXiv:2206.14573), and cross sections. All live on the unit cube, and work on float64 arrays.

Shapes: B points, D dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hepgen.integration.cuts import Cuts
from hepgen.integration.matrix_elements import many_gluons
from hepgen.integration.phase_space import PB_PER_INVERSE_GEV2
from hepgen.integration.rambo import RamboOnDiet

__all__ = ["INTEGRANDS", "Integrand"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Integrand:
    """A function on a box and its integral.

    Attributes:
        name: as in `INTEGRANDS`; it ends in the dimension.
        dimension: D.
        function: float64 points (B, D), C-contiguous, to values (B,).
        exact: its integral.
        error: how far ``exact`` may be off: one sigma where ``source`` names a Monte Carlo
            integral, a bound elsewhere.
        source: what the function is and how its integral is known.
        unit: of the values, "1" where they have none.
    """

    name: str
    dimension: int
    function: Callable[[Array], Array]
    exact: float
    error: float
    source: str
    unit: str = "1"

    @property
    def bounds(self) -> tuple[tuple[float, float], ...]:
        """Lower and upper end of each dimension: the unit cube for all integrands here."""
        return ((0.0, 1.0),) * self.dimension

    def __call__(self, x: NDArray[Any]) -> Array:
        """Values at points.

        Args:
            x: points in the unit cube, shape (B, D).

        Returns:
            Values, float64, shape (B,).

        Raises:
            ValueError: the points are not of shape (B, D).
        """
        points = np.ascontiguousarray(x, np.float64)
        if points.ndim != 2 or points.shape[1] != self.dimension:
            raise ValueError(
                f"{self.name} takes points of shape (B, {self.dimension}), not {points.shape}"
            )
        return self.function(points)


@njit(cache=True, nogil=True, error_model="numpy")
def _bumps(x: Array, centres: Array, exponent: float, height: float) -> Array:
    """Sum over centres c of height * exp(-exponent |x - (c, ..., c)|^2)."""
    values = np.empty(len(x))
    for row in range(len(x)):
        total = 0.0
        for centre in centres:
            squared = 0.0
            for axis in range(x.shape[1]):
                squared += (x[row, axis] - centre) ** 2
            total += math.exp(-exponent * squared)
        values[row] = height * total
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _ridge(x: Array, width: float) -> Array:
    """exp(-|x - mean(x)|^2 / 2 width^2): a tube around the main diagonal."""
    values = np.empty(len(x))
    for row in range(len(x)):
        mean = 0.0
        for axis in range(x.shape[1]):
            mean += x[row, axis]
        mean /= x.shape[1]
        squared = 0.0
        for axis in range(x.shape[1]):
            squared += (x[row, axis] - mean) ** 2
        values[row] = math.exp(-squared / (2 * width**2))
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _circles(x: Array) -> Array:
    values = np.empty(len(x))
    for row in range(len(x)):
        first, second = x[row, 0], x[row, 1]
        upper = abs((second - 0.6) ** 2 + (first - 0.4) ** 2 - 0.0625)
        lower = abs((second - 0.4) ** 2 + (first - 0.6) ** 2 - 0.0625)
        values[row] = second**3 * math.exp(-250 * upper) + (1 - second) ** 3 * math.exp(
            -250 * lower
        )
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _annulus(x: Array) -> Array:
    values = np.empty(len(x))
    for row in range(len(x)):
        squared = (x[row, 0] - 0.5) ** 2 + (x[row, 1] - 0.5) ** 2
        values[row] = 1.0 if 0.04 < squared < 0.2025 else 0.0
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _polynomial(x: Array) -> Array:
    values = np.empty(len(x))
    for row in range(len(x)):
        total = 0.0
        for axis in range(x.shape[1]):
            total += x[row, axis] * (1 - x[row, axis])
        values[row] = total
    return values


# The top loop of Higgs production, GeV: channels s12 = 130^2 and s23 = -130^2/2, one leg of 125.
_S12, _S23, _LEG, _TOP = 130.0**2, -(130.0**2) / 2, 125.0**2, 175.0**2


@njit(cache=True, nogil=True, error_model="numpy")
def _box(x: Array) -> Array:
    """Four primary sectors, one for each Feynman parameter that is the largest (and set to 1)."""
    values = np.empty(len(x))
    for row in range(len(x)):
        first, second, third = x[row, 0], x[row, 1], x[row, 2]
        mass = _TOP * (1 + first + second + third) ** 2
        straight = mass - _S12 * second - _S23 * first * third
        crossed = mass - _S23 * second - _S12 * first * third
        values[row] = (
            (straight - _LEG * third) ** -2
            + (crossed - _LEG * second * third) ** -2
            + (straight - _LEG * first * second) ** -2
            + (crossed - _LEG * first) ** -2
        )
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _triangle(x: Array) -> Array:
    """Three primary sectors of the loop with one leg of mass 125 GeV."""
    values = np.empty(len(x))
    for row in range(len(x)):
        first, second = x[row, 0], x[row, 1]
        total = 1 + first + second
        mass = _TOP * total**2
        values[row] = (
            -(
                1 / (mass - _LEG * first)
                + 1 / (mass - _LEG * second)
                + 1 / (mass - _LEG * first * second)
            )
            / total
        )
    return values


@njit(cache=True, nogil=True, error_model="numpy")
def _three_jets(x: Array, cut: float, coupling: float) -> Array:
    """(1/sigma_0) dsigma/dx1 dx2 of e+e- -> q qbar g, 0 where a pair has y = 1 - x_k < cut."""
    factor = coupling * 2 / (3 * math.pi)
    values = np.empty(len(x))
    for row in range(len(x)):
        quark, antiquark = x[row, 0], x[row, 1]
        # The third fraction is 2 - x1 - x2; the cut on it keeps points inside the physical triangle
        if 1 - quark < cut or 1 - antiquark < cut or quark + antiquark - 1 < cut:
            values[row] = 0.0
        else:
            values[row] = factor * (quark**2 + antiquark**2) / ((1 - quark) * (1 - antiquark))
    return values


_BLOCK = 2048  # points whose momenta stay in the cache
_ENERGY = 500.0
_BEAMS = np.array([[_ENERGY / 2, 0, 0, _ENERGY / 2], [_ENERGY / 2, 0, 0, -_ENERGY / 2]])
_SEPARATED = Cuts(min_pt=30.0, min_delta_r=0.4)
_THREE_GLUONS = RamboOnDiet([0.0, 0.0, 0.0])


def _three_gluons(x: Array) -> Array:
    """dsigma/du of g g -> g g g in pb at 500 GeV, alpha_s = 0.118, on the cube of RAMBO on diet."""
    values = np.zeros(len(x))
    for start in range(0, len(x), _BLOCK):
        p4, weight = _THREE_GLUONS.forward(x[start : start + _BLOCK], _ENERGY)
        passed = np.flatnonzero(_SEPARATED(p4))
        squares = many_gluons(_BEAMS, p4[passed], 0.118)
        # Flux 2s; 3! orders of identical gluons.
        part = squares * weight[passed] * PB_PER_INVERSE_GEV2 / (2 * _ENERGY**2) / 6
        values[start + passed] = part
    return values


def _gauss(dimension: int) -> Integrand:
    """One Gaussian of width 0.2 in the middle."""
    return Integrand(
        f"gauss{dimension}",
        dimension,
        partial(
            _bumps,
            centres=np.array([0.5]),
            exponent=25.0,
            height=(0.2 * math.sqrt(math.pi)) ** -dimension,
        ),
        math.erf(2.5) ** dimension,
        1e-15,
        "i-flow, arXiv:2001.05486 section IV; closed form erf(1/2a)^D, a = 0.2",
    )


def _camel(dimension: int) -> Integrand:
    """Two Gaussians of width 0.2 on the diagonal."""
    return Integrand(
        f"camel{dimension}",
        dimension,
        partial(
            _bumps,
            centres=np.array([1 / 3, 2 / 3]),
            exponent=25.0,
            height=0.5 * (0.2 * math.sqrt(math.pi)) ** -dimension,
        ),
        (0.5 * (math.erf(5 / 3) + math.erf(10 / 3))) ** dimension,
        1e-15,
        "i-flow, arXiv:2001.05486 section IV; closed form [(erf(1/3a) + erf(2/3a))/2]^D, a = 0.2",
    )


def _narrow_camel(width: float) -> Integrand:
    """Two Gaussians at 1/4 and 3/4 in four dimensions, as ZüNIS defines them."""
    side = width * math.sqrt(math.pi) / 2 * (math.erf(0.25 / width) + math.erf(0.75 / width))
    return Integrand(
        f"zunis_camel_{round(width * 1e4):05d}_4",
        4,
        partial(_bumps, centres=np.array([0.25, 0.75]), exponent=width**-2, height=1.0),
        2 * side**4,
        1e-15,
        f"ZüNIS, arXiv:2206.14573, width s = {width}; closed form "
        "2 [s sqrt(pi)/2 (erf(1/4s) + erf(3/4s))]^4",
    )


def _tube(dimension: int, exact: float) -> Integrand:
    """The ridge of width 0.1 along the main diagonal."""
    return Integrand(
        f"ridge{dimension}",
        dimension,
        partial(_ridge, width=0.1),
        exact,
        exact * 1e-15,
        "not factorisable; sqrt(D/2 pi s^2) int dz [s sqrt(pi/2) (erf(z/s sqrt2) + "
        "erf((1-z)/s sqrt2))]^D, s = 0.1, by mpmath.quad at 30 digits",
    )


def _sums(dimension: int) -> Integrand:
    return Integrand(
        f"polynomial{dimension}",
        dimension,
        _polynomial,
        dimension / 6,
        1e-15 * dimension,
        "i-flow, arXiv:2001.05486; closed form D/6",
    )


_LOW_DIMENSIONAL = (
    Integrand(
        "circles2",
        2,
        _circles,
        0.013684776724938,
        1e-14,
        "i-flow's entangled circles, arXiv:2001.05486; mpmath.quad at 15 digits with breaks on "
        "the circles (published: 0.0136848(1))",
    ),
    Integrand(
        "annulus2",
        2,
        _annulus,
        math.pi * (0.45**2 - 0.2**2),
        1e-15,
        "i-flow's annulus, arXiv:2001.05486; closed form pi (0.45^2 - 0.2^2)",
    ),
    Integrand(
        "box3",
        3,
        _box,
        1.936964023868336e-10,
        1e-24,
        "i-flow's scalar box, arXiv:2001.05486, GeV^-4; Gauss-Legendre of 30^3 to 50^3 points "
        "(published: 1.93696402386819e-10)",
    ),
    Integrand(
        "triangle2",
        2,
        _triangle,
        -2 / 125**2 * math.asin(125 / 350) ** 2,
        1e-19,
        "i-flow's scalar triangle, arXiv:2001.05486, GeV^-2; closed form "
        "-2/m^2 asin^2(m/2M), m = 125, M = 175",
    ),
    Integrand(
        "three_jets2",
        2,
        partial(_three_jets, cut=0.05, coupling=0.118),
        0.216541251308274713,
        1e-16,
        "e+e- -> q qbar g over sigma_0, all y_ij > 0.05, alpha_s = 0.118; closed form with a "
        "dilogarithm of G. Kramer and B. Lampe, Fortschr. Phys. 37 (1989) 161; mpmath.quad agrees",
    ),
)


_GLUONS = Integrand(
    "three_gluons5",
    5,
    _three_gluons,
    35879.9,
    3.3,
    "g g -> g g g at 500 GeV, pT > 30 GeV, delta R > 0.4, alpha_s = 0.118, exact at tree level; "
    "vegas 6.4.1 with frozen maps, mean of 15 seeds (chi2 10.3) by calls, 7.3e8 in all",
    "pb",
)


def _all() -> Mapping[str, Integrand]:
    listed = (
        *map(_gauss, (2, 4, 8, 16)),
        *map(_camel, (2, 4, 8, 9, 16)),
        *map(_tube, (4, 8), (0.0250143156464324549, 0.000125791291907711711)),
        *_LOW_DIMENSIONAL,
        _GLUONS,
        *map(_sums, (18, 54, 96)),
        *map(_narrow_camel, (0.0893, 0.1635, 0.3784, 0.5933, 0.7989, 1.047, 1.4496)),
    )
    return {integrand.name: integrand for integrand in listed}


INTEGRANDS: Mapping[str, Integrand] = _all()
"""All integrands by name."""
