"""Mean profiles of electromagnetic showers of electrons, to look at and to reckon with.

G. Grindhammer and S. Peters, hep-ex/0001020: the mean profile in depth has constants of its own,
which are not the means of those of single showers.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.calorimeter.shower_kernels import lower_gamma, radial
from hepgen.calorimeter.shower_parameters import (
    ShowerTuning,
    check_energies,
    kernel_parameters,
)
from hepgen.calorimeter.stack import Calorimeter, Sampling

__all__ = [
    "longitudinal_containment",
    "longitudinal_profile",
    "radial_containment",
    "radial_profile",
]

Doubles = NDArray[np.float64]


def longitudinal_profile(t: ArrayLike, incident_energy: float, calorimeter: Calorimeter) -> Doubles:
    r"""The mean profile in depth of electrons, dE / (E dt).

    Args:
        t: depth in radiation lengths, any shape.
        incident_energy: in GeV.
        calorimeter: what it is made of.

    Returns:
        The gamma distribution :math:`(\beta t)^{\alpha-1}\beta e^{-\beta t}/\Gamma(\alpha)`, per
        radiation length; 0 before the face.

    Raises:
        ShowerError: an energy below the reach of the formulas.
    """
    alpha, beta = _mean_shape(incident_energy, calorimeter)
    depth = np.maximum(np.asarray(t, dtype=np.float64), 0.0)
    with np.errstate(divide="ignore"):
        log = (alpha - 1) * np.log(beta * depth) - beta * depth - math.lgamma(alpha)
    return np.asarray(beta * np.exp(log))


def longitudinal_containment(
    t: ArrayLike, incident_energy: float, calorimeter: Calorimeter
) -> Doubles:
    """The share of the energy up to some depth, of the mean profile of electrons.

    Args:
        t: depth in radiation lengths, any shape.
        incident_energy: in GeV.
        calorimeter: what it is made of.

    Raises:
        ShowerError: an energy below the reach of the formulas.
    """
    alpha, beta = _mean_shape(incident_energy, calorimeter)
    depth = np.asarray(t, dtype=np.float64)
    shares = [lower_gamma(alpha, beta * d, math.lgamma(alpha)) for d in depth.ravel().tolist()]
    return np.array(shares, dtype=np.float64).reshape(depth.shape)


def radial_profile(
    r: ArrayLike, t: float, incident_energy: float, calorimeter: Calorimeter
) -> Doubles:
    r"""The mean profile in radius of electrons at some depth, dE / (E dr).

    Args:
        r: radius in Moliere radii, any shape.
        t: depth in radiation lengths.
        incident_energy: in GeV.
        calorimeter: what it is made of.

    Returns:
        :math:`p\,2rR_C^2/(r^2+R_C^2)^2 + (1-p)\,2rR_T^2/(r^2+R_T^2)^2`, per Moliere radius.

    Raises:
        ShowerError: an energy below the reach of the formulas.
    """
    core, tail, weight = _mean_radial(t, incident_energy, calorimeter)
    radius = np.asarray(r, dtype=np.float64)
    of_core = 2 * radius * core**2 / (radius**2 + core**2) ** 2
    of_tail = 2 * radius * tail**2 / (radius**2 + tail**2) ** 2
    return np.asarray(weight * of_core + (1 - weight) * of_tail)


def radial_containment(
    r: ArrayLike, t: float, incident_energy: float, calorimeter: Calorimeter
) -> Doubles:
    """The share of the energy at some depth within a radius, of the mean profile of electrons.

    Args:
        r: radius in Moliere radii, any shape.
        t: depth in radiation lengths.
        incident_energy: in GeV.
        calorimeter: what it is made of.

    Raises:
        ShowerError: an energy below the reach of the formulas.
    """
    core, tail, weight = _mean_radial(t, incident_energy, calorimeter)
    square = np.asarray(r, dtype=np.float64) ** 2
    of_core, of_tail = square / (square + core**2), square / (square + tail**2)
    return np.asarray(weight * of_core + (1 - weight) * of_tail)


def _mean_shape(energy: float, calorimeter: Calorimeter) -> tuple[float, float]:
    """Alpha and beta of the mean profile, which has constants of its own in the paper."""
    check_energies(calorimeter, np.array([energy]))
    log_y = math.log(energy / calorimeter.critical_energy)
    depth = log_y - 0.858
    alpha = 0.21 + (0.492 + 2.38 / calorimeter.atomic_number) * log_y
    if isinstance(calorimeter, Sampling):
        depth -= 0.59 / calorimeter.sampling_frequency + 0.53 * (1 - calorimeter.e_hat)
        alpha -= 0.444 / calorimeter.sampling_frequency
    depth, alpha = max(0.1, depth), max(1.1, alpha)
    return alpha, (alpha - 1) / depth


def _mean_radial(t: float, energy: float, calorimeter: Calorimeter) -> tuple[float, float, float]:
    alpha, beta = _mean_shape(energy, calorimeter)
    tau = t * beta / (alpha - 1)
    found: tuple[float, float, float] = radial(
        energy, tau, kernel_parameters(calorimeter, ShowerTuning())
    )
    return found
