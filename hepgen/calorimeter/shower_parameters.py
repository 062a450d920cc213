"""What the kernel of parametrised showers is told, and by how much a sample may differ from it.

G. Grindhammer and S. Peters, hep-ex/0001020.

Shapes: B showers.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, fields

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.errors import ShowerError
from hepgen.calorimeter.shower_kernels import Parameters
from hepgen.calorimeter.stack import Calorimeter, Sampling

__all__ = ["ShowerTuning", "check_energies", "kernel_parameters"]

# ln(E / E_c) from which on the parametrisation was tuned; below, ln T has no sense.
LEAST_LOG = 1.5


@dataclass(frozen=True)
class ShowerTuning:
    """By how much a sample differs from the published formulas; the default is not at all.

    Attributes:
        response: visible over incident energy of a shower that is contained.
        sampling_term: relative width at 1 GeV; None for that of the calorimeter.
        depth: factor of the depth of the maximum.
        shape: added to the mean of alpha.
        depth_width: factor of the width of the logarithm of the depth.
        shape_width: factor of the width of the logarithm of alpha.
        core: factor of the radius of the core.
        tail: factor of the radius of the tail.
        core_weight: added to the share of the core in the energy.
        spots: factor of the number of spots.
        spot_power: added to the power of the energy with which their number grows.

    Raises:
        ShowerError: a number that is not finite, or a factor that is not above 0.
    """

    response: float = 1.0
    sampling_term: float | None = None
    depth: float = 1.0
    shape: float = 0.0
    depth_width: float = 1.0
    shape_width: float = 1.0
    core: float = 1.0
    tail: float = 1.0
    core_weight: float = 0.0
    spots: float = 1.0
    spot_power: float = 0.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if value is None and field.name == "sampling_term":
                continue
            least = -math.inf if field.default == 0.0 else 0.0
            # Nothing may be left of a width, or of the fluctuations of a homogeneous calorimeter.
            allowed = field.name in ("depth_width", "shape_width", "sampling_term") and value == 0
            if not (least < value < math.inf or allowed):
                raise ShowerError(f"{field.name}={value} makes no sense for showers")

    def to_dict(self) -> dict[str, float | None]:
        """The same as what JSON can hold."""
        return asdict(self)


def kernel_parameters(calorimeter: Calorimeter, tuning: ShowerTuning) -> Parameters:
    """The numbers of the formulas.

    Args:
        calorimeter: what it is made of.
        tuning: changes to the formulas.
    """
    term = calorimeter.sampling_term if tuning.sampling_term is None else tuning.sampling_term
    z = calorimeter.atomic_number
    sampling, frequency, contrast, spots = False, math.inf, 0.0, 93 * math.log(z)
    if isinstance(calorimeter, Sampling):
        sampling, frequency = True, calorimeter.sampling_frequency
        contrast = 1 - calorimeter.e_hat
        # One tuned to no fluctuations at all still has spots.
        spots = 10.3 / max(term, 1e-3)
    return Parameters(
        z=z,
        critical_energy=calorimeter.critical_energy,
        moliere_radius=calorimeter.moliere_radius,
        sampling=sampling,
        inverse_frequency=1 / frequency,
        contrast=contrast,
        variance=float(term) ** 2,
        spot_number=spots * tuning.spots,
        spot_power=(0.959 if sampling else 0.876) + float(tuning.spot_power),
        response=float(tuning.response),
        depth=float(tuning.depth),
        shape=float(tuning.shape),
        depth_width=float(tuning.depth_width),
        shape_width=float(tuning.shape_width),
        core=float(tuning.core),
        tail=float(tuning.tail),
        core_weight=float(tuning.core_weight),
    )


def check_energies(calorimeter: Calorimeter, energy: NDArray[np.float64]) -> None:
    """Refuse energies that the formulas do not reach.

    Args:
        calorimeter: what it is made of.
        energy: in GeV, shape (B,).

    Raises:
        ShowerError: energies below 4.5 critical energies, or not one a shower.
    """
    if energy.ndim != 1:
        raise ShowerError(f"incident energies have shape {energy.shape}; wanted one a shower")
    least = calorimeter.critical_energy * math.exp(LEAST_LOG)
    wrong = np.flatnonzero(~((energy >= least) & (energy < math.inf)))
    if len(wrong):
        raise ShowerError(
            f"{len(wrong)} of {len(energy)} incident energies are not from {least:.3g} GeV on, "
            "where the parametrisation of showers in this calorimeter begins; "
            f"the first is {energy[wrong[0]]:.4g} GeV"
        )
