"""Masses of momenta that come with few digits.

Shapes: N momenta.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hepgen.kinematics import mass_squared

__all__ = ["rounded_mass_squared"]


def rounded_mass_squared(p4: Tensor, given: torch.dtype) -> Tensor:
    """Squared masses; one that the rounding of the momenta could have made counts as 0.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4).
        given: the type in which the momenta were given before they were made ``p4``.

    Returns:
        GeV^2, shape (N,); negative for space-like momenta.
    """
    square = mass_squared(p4)
    # Half a unit in the last place of E and of |p| changes m^2 by as much.
    noise = 2 * torch.finfo(given).eps * p4[:, 0].square()
    return torch.where(square.abs() > noise, square, 0)
