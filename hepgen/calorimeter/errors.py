"""What can be wrong with showers and with what they are in."""

from __future__ import annotations

from hepgen.io.errors import InputError

__all__ = ["EnergyRangeWarning", "GeometryError", "ShowerError"]


class GeometryError(InputError):
    """A geometry that makes no sense, or that does not go with the data."""


class ShowerError(InputError):
    """Showers that no calorimeter gives: NaN, negative energies, sizes that do not go together."""


class EnergyRangeWarning(UserWarning):
    """Showers are wanted of energies or other conditions that a simulator was not trained on."""
