r"""What a calorimeter is made of: one material, or layers that repeat.

A shower sees a sampling calorimeter as one effective material and two numbers more: how often it
samples, :math:`F_S`, and how far the Z of absorber and active material are apart, :math:`\hat e`.
G. Grindhammer and S. Peters, hep-ex/0001020, sections 2.2 and 3.2.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from hepgen.calorimeter.materials import MATERIALS, Material, MaterialError, material
from hepgen.io.errors import nearest_names

__all__ = ["Calorimeter", "Homogeneous", "Sampling", "calorimeter_from_dict"]

# Scale of multiple scattering as the paper has it for layers of several materials, in GeV.
SCATTERING = 21.2e-3


@dataclass(frozen=True)
class Homogeneous:
    """A calorimeter of one material, all of which is active.

    Attributes:
        material: a `Material` or its name.
        sampling_term: relative width of the measured energy at 1 GeV, such as that of the light
            in a crystal; it falls with the root of the energy. 0 for none.

    Raises:
        MissingName: a material that is not known.
        MaterialError: a negative term.
    """

    material: Material
    sampling_term: float = 0.0

    def __post_init__(self) -> None:
        object.__setattr__(self, "material", material(self.material))
        if not 0 <= self.sampling_term < math.inf:
            raise MaterialError(f"sampling_term={self.sampling_term}: wanted a number from 0 on")

    @property
    def atomic_number(self) -> float:
        """Z."""
        return self.material.atomic_number

    @property
    def radiation_length(self) -> float:
        """X0 in mm."""
        return self.material.radiation_length

    @property
    def moliere_radius(self) -> float:
        """R_M in mm."""
        return self.material.moliere_radius

    @property
    def critical_energy(self) -> float:
        """E_c in GeV."""
        return self.material.critical_energy

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold; `calorimeter_from_dict` reads it."""
        return {"material": _plain(self.material), "sampling_term": self.sampling_term}


@dataclass(frozen=True)
class Sampling:
    r"""A calorimeter of layers that repeat, one of which is active.

    Attributes:
        layers: material, or its name, and thickness in mm of each layer of one period.
        sampling_term: relative width c of the measured energy at 1 GeV that comes from sampling;
            it falls with the root of the energy. No formula gives it well enough; take the
            detector's.
        active: which of the materials is read out; the last if not given.

    Raises:
        MissingName: a material that is not known.
        MaterialError: fewer than two layers, thicknesses or a term not above 0, or an active
            material that is not among the layers.
    """

    layers: tuple[tuple[Material, float], ...]
    sampling_term: float
    active: str | None = None

    def __post_init__(self) -> None:
        layers = tuple((material(one), float(thickness)) for one, thickness in self.layers)
        object.__setattr__(self, "layers", layers)
        for one, thickness in layers:
            if not 0 < thickness < math.inf:
                raise MaterialError(
                    f"a layer of {one.name} is {thickness} mm thick: wanted a number above 0"
                )
        if not 0 < self.sampling_term < math.inf:
            raise MaterialError(f"sampling_term={self.sampling_term}: wanted a number above 0")
        names = [one.name for one, _ in layers]
        if self.active is None and names:
            object.__setattr__(self, "active", names[-1])
        if self.active is not None:
            object.__setattr__(self, "active", material(self.active).name)
        if self.active not in names:
            raise MaterialError(f"active={self.active!r} is none of the layers: {names}")
        if set(names) == {self.active}:
            raise MaterialError(f"a sampling calorimeter needs an absorber too, got {names}")

    @property
    def _shares(self) -> list[tuple[Material, float]]:
        """Share of the mass of each layer."""
        total = sum(one.density * d for one, d in self.layers)
        return [(one, one.density * d / total) for one, d in self.layers]

    @property
    def density(self) -> float:
        """Of the whole, in g/cm^3."""
        return sum(one.density * d for one, d in self.layers) / self.period

    @property
    def period(self) -> float:
        """Thickness of all layers together, in mm."""
        return sum(d for _, d in self.layers)

    @property
    def atomic_number(self) -> float:
        """Z_eff, weighted by mass."""
        return sum(share * one.atomic_number for one, share in self._shares)

    @property
    def atomic_weight(self) -> float:
        """A_eff, weighted by mass."""
        return sum(share * one.atomic_weight for one, share in self._shares)

    @property
    def radiation_length(self) -> float:
        """X0_eff in mm."""
        inverse = sum(share / one.radiation_depth for one, share in self._shares)
        return 10 / (self.density * inverse)

    @property
    def _energy_per_depth(self) -> float:
        """Sum of w E_c / X0, in GeV cm^2/g."""
        return sum(s * one.critical_energy / one.radiation_depth for one, s in self._shares)

    @property
    def moliere_radius(self) -> float:
        """R_M,eff in mm."""
        return 10 * SCATTERING / self._energy_per_depth / self.density

    @property
    def critical_energy(self) -> float:
        """E_c,eff in GeV."""
        return self.radiation_length / 10 * self.density * self._energy_per_depth

    @property
    def sampling_frequency(self) -> float:
        """F_S: samples in one radiation length."""
        return self.radiation_length / self.period

    @property
    def e_hat(self) -> float:
        """1 / (1 + 0.007 (Z_p - Z_a)): response to electrons over that to muons, about."""
        active = sum(share for one, share in self._shares if one.name == self.active)
        passive = [(one, s) for one, s in self._shares if one.name != self.active]
        z_passive = sum(s * one.atomic_number for one, s in passive) / (1 - active)
        z_active = material_of(self.layers, self.active).atomic_number
        return 1 / (1 + 0.007 * (z_passive - z_active))

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold; `calorimeter_from_dict` reads it."""
        return {
            "layers": [[_plain(one), thickness] for one, thickness in self.layers],
            "sampling_term": self.sampling_term,
            "active": self.active,
        }


Calorimeter: TypeAlias = Homogeneous | Sampling


def calorimeter_from_dict(content: Mapping[str, Any] | Calorimeter) -> Calorimeter:
    """The calorimeter that ``to_dict`` gave, or that somebody wrote as YAML.

    Args:
        content: ``material`` of a homogeneous one, or ``layers`` of a sampling one, a list of pairs
            of material and thickness in mm; ``sampling_term``, ``active``. A calorimeter comes
            back as it is.

    Raises:
        MissingName: a material that is not known.
        MaterialError: a key that is not known, or values that make no sense.
    """
    if isinstance(content, Homogeneous | Sampling):
        return content
    known = ("material", "sampling_term") if "material" in content else FIELDS
    for name in content:
        if name not in known:
            near = ", ".join(nearest_names(str(name), [*FIELDS, "material"]))
            raise MaterialError(f"a calorimeter has no key {name!r}; nearest: {near}")
    if "material" in content:
        return Homogeneous(**content)
    told = content.get("layers")
    if not isinstance(told, Sequence) or any(len(one) != 2 for one in told):
        raise MaterialError(f"layers: wanted pairs of material and thickness in mm, got {told!r}")
    if "sampling_term" not in content:
        raise MaterialError("a sampling calorimeter needs its sampling_term")
    layers = tuple((one, thickness) for one, thickness in told)
    return Sampling(layers, content["sampling_term"], content.get("active"))


FIELDS = ("layers", "sampling_term", "active")


def material_of(layers: Sequence[tuple[Material, float]], name: str | None) -> Material:
    """The material of this name among layers that have it."""
    return next(one for one, _ in layers if one.name == name)


def _plain(one: Material) -> str | dict[str, Any]:
    """The name is enough of what stands in the table."""
    return one.name if MATERIALS.get(one.name) == one else one.to_dict()
