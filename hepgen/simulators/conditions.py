"""What a shower depends on before it begins: energy, and whatever else the sample tells.

Shapes: B showers, C numbers of the context.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.calorimeter import EnergyRangeWarning, ShowerError, Showers
from hepgen.io.errors import nearest_names

__all__ = ["Conditions"]

# Angles about the beam, whose two ends are one direction.
CYCLIC = ("phi",)
# Each label is a column of the context.
MOST_LABELS = 32


@dataclass(frozen=True)
class Conditions:
    """What a simulator is conditional on, and within which bounds it was trained.

    Attributes:
        energy_range: least and greatest incident energy in GeV.
        ranges: name -> least and greatest value of each continuous condition.
        categories: name -> values of each condition that is a label, such as ``pdg``.

    Raises:
        ShowerError: a range that is none, or no values of a label.
    """

    energy_range: tuple[float, float]
    ranges: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    categories: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        low, high = map(float, self.energy_range)
        if not 0 < low <= high < math.inf:
            raise ShowerError(f"energies from {low} to {high} GeV: wanted 0 < low <= high")
        object.__setattr__(self, "energy_range", (low, high))
        ranges = {name: (float(a), float(b)) for name, (a, b) in self.ranges.items()}
        object.__setattr__(self, "ranges", ranges)
        labels = {name: tuple(map(int, values)) for name, values in self.categories.items()}
        object.__setattr__(self, "categories", labels)
        for name, (a, b) in ranges.items():
            if not a <= b:
                raise ShowerError(f"{name} from {a} to {b}: wanted low <= high")
        for name, values in labels.items():
            if not values:
                raise ShowerError(f"{name} has no values")

    @classmethod
    def of(
        cls, showers: Showers, *, labels: Collection[str] = (), numbers: Collection[str] = ()
    ) -> Conditions:
        """The conditions of a sample, and their bounds in it.

        Args:
            showers: whole numbers among its conditions are labels, if they have 32 different values
                at most.
            labels: conditions of whole numbers that are labels, however many values they have.
            numbers: conditions of whole numbers that are numbers: one that is 5 is between 4 and 6.

        Raises:
            ShowerError: there are no showers; more than 32 different whole numbers of what is in
                neither list; a name in both, or that no condition has; a label that is not whole.
        """
        energy = showers.incident_energy
        if not len(energy):
            raise ShowerError("no showers to find conditions in")
        for name in (*labels, *numbers):
            if name not in showers.conditions:
                near = ", ".join(nearest_names(name, showers.conditions)) or "none"
                raise ShowerError(f"no condition {name!r} in these showers; nearest: {near}")
            if name in labels and name in numbers:
                raise ShowerError(f"{name} cannot be both a label and a number")
        ranges, categories = {}, {}
        for name, values in showers.conditions.items():
            whole = np.issubdtype(values.dtype, np.integer)
            if name in labels or (whole and name not in numbers):
                different = np.unique(values)
                if np.any(different != np.round(different)):
                    raise ShowerError(f"{name} is {different[0]} and so on: labels are whole")
                categories[name] = tuple(map(int, different))
            else:
                ranges[name] = (float(values.min()), float(values.max()))
        _check_few(categories, labels)
        return cls((float(energy.min()), float(energy.max())), ranges, categories)

    @staticmethod
    def joined(pieces: Sequence[Conditions], *, labels: Collection[str] = ()) -> Conditions:
        """The conditions of several samples together.

        Args:
            pieces: those of each.
            labels: as of `of`.

        Raises:
            ShowerError: there are none, they have other names, or more than 32 values of a label
                that is not in the list.
        """
        if not pieces or len({piece.names for piece in pieces}) > 1:
            raise ShowerError("conditions of other names, or none, cannot be joined")

        def span(pairs: Sequence[tuple[float, float]]) -> tuple[float, float]:
            return min(low for low, _ in pairs), max(high for _, high in pairs)

        first = pieces[0]
        categories = {
            name: tuple(sorted({v for piece in pieces for v in piece.categories[name]}))
            for name in first.categories
        }
        _check_few(categories, labels)
        return Conditions(
            span([piece.energy_range for piece in pieces]),
            {name: span([piece.ranges[name] for piece in pieces]) for name in first.ranges},
            categories,
        )

    @property
    def names(self) -> tuple[str, ...]:
        """Of the conditions besides the energy."""
        return (*self.ranges, *self.categories)

    @property
    def width(self) -> int:
        """C: the logarithm of the energy, one number a range (two of an angle phi), one a label."""
        ranges = sum(2 if name in CYCLIC else 1 for name in self.ranges)
        return 1 + ranges + sum(len(v) for v in self.categories.values() if len(v) > 1)

    def encode(
        self, incident_energy: ArrayLike, conditions: Mapping[str, ArrayLike] | None = None
    ) -> NDArray[np.float32]:
        """Conditions as a network takes them, ranges and the logarithm of the energy in [-1, 1].

        Args:
            incident_energy: in GeV, shape (B,).
            conditions: name -> values, of shape (B,).

        Returns:
            Shape (B, C).

        Raises:
            ShowerError: a condition is missing or not known, or a label that was not trained on.

        Warns:
            EnergyRangeWarning: energies or other values are outside their ranges.
        """
        energy = np.asarray(incident_energy, dtype=np.float64)
        given = {name: np.asarray(v) for name, v in (conditions or {}).items()}
        self._check_names(given)
        low, high = self.energy_range
        _warn_outside(energy, (low, high), (1e-3 * low, 1e-3 * high), "incident energies", " GeV")
        columns = [_scaled(np.log(energy), math.log(low), math.log(high))]
        for name, (a, b) in self.ranges.items():
            values = given[name].astype(np.float64)
            if not np.isfinite(values).all():
                row = int(np.flatnonzero(~np.isfinite(values))[0])
                raise ShowerError(f"{name} of shower {row} is {values[row]}: wanted a number")
            if name in CYCLIC:
                columns += [np.cos(values), np.sin(values)]
                continue
            slack = 1e-3 * (b - a) or 1e-6 * abs(a)
            _warn_outside(values, (a, b), (slack, slack), name, "")
            columns.append(_scaled(values, a, b))
        for name, labels in self.categories.items():
            unknown = np.setdiff1d(given[name], labels)
            if len(unknown):
                known = ", ".join(map(str, labels))
                raise ShowerError(f"{name} {unknown[0]} was not trained on; there are {known}")
            if len(labels) > 1:
                columns += [given[name] == label for label in labels]
        return np.stack([np.asarray(c, dtype=np.float32) for c in columns], axis=1)

    def complete(self, conditions: Mapping[str, Any] | None, size: int) -> dict[str, NDArray[Any]]:
        """Conditions written out for some showers; what has only one value need not be given.

        Args:
            conditions: name -> one value, or one for each shower.
            size: number of showers B.

        Raises:
            ShowerError: a condition is missing or not known, or of another number of showers.
        """
        given = dict(conditions or {})
        for name, (a, b) in self.ranges.items():
            if a == b:
                given.setdefault(name, a)
        for name, labels in self.categories.items():
            if len(labels) == 1:
                given.setdefault(name, labels[0])
        self._check_names(given)
        found = {}
        for name in self.names:
            values = np.asarray(given[name])
            if values.ndim and values.shape != (size,):
                raise ShowerError(f"{name} has shape {values.shape}; wanted one, or {size}")
            found[name] = np.broadcast_to(values, (size,)).astype(self._kind(name, values))
        return found

    def _kind(self, name: str, values: NDArray[Any]) -> type[np.generic]:
        """Type of a condition in samples: a label that is 22.0 on the command line is 22."""
        if name in self.ranges:
            return np.float64
        whole = values.dtype.kind in "iu" or bool(np.all(values == np.round(values)))
        return np.int64 if whole else np.float64

    def _check_names(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in self.names:
                near = ", ".join(nearest_names(name, self.names)) if self.names else "none"
                raise ShowerError(f"no condition {name!r} was trained on; nearest: {near}")
        missing = [name for name in self.names if name not in given]
        if missing:
            raise ShowerError(f"this simulator needs conditions besides the energy: {missing}")

    def to_dict(self) -> dict[str, Any]:
        """The same as what JSON can hold."""
        return {
            "energy_range": list(self.energy_range),
            "ranges": {name: list(pair) for name, pair in self.ranges.items()},
            "categories": {name: list(values) for name, values in self.categories.items()},
        }

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Conditions:
        """The conditions that `to_dict` gave.

        Args:
            content: ``energy_range``, ``ranges``, ``categories``.

        Raises:
            KeyError: no ``energy_range``.
            ShowerError: values that make no sense.
        """
        ranges: Mapping[str, Sequence[float]] = content.get("ranges", {})
        return cls(
            tuple(content["energy_range"]),
            {name: (pair[0], pair[1]) for name, pair in ranges.items()},
            {name: tuple(values) for name, values in content.get("categories", {}).items()},
        )


def _check_few(categories: Mapping[str, Sequence[int]], declared: Collection[str]) -> None:
    """Refuse whole numbers that nobody called labels and that are hardly such: a run number."""
    for name, values in categories.items():
        if len(values) > MOST_LABELS and name not in declared:
            raise ShowerError(
                f"{name} has {len(values)} different whole numbers from {values[0]} to "
                f"{values[-1]}; more than {MOST_LABELS} are taken for labels only where that is "
                f"said. In a pipeline, data.labels: [{name}] makes each a label, data.numbers: "
                f"[{name}] takes them as numbers, and data.conditions lists what is used at all; "
                f"in Python, Conditions.of(showers, labels=[{name!r}]) or numbers=[{name!r}]"
            )


def _scaled(values: NDArray[Any], low: float, high: float) -> NDArray[Any]:
    return (2 * values - low - high) / (high - low) if high > low else np.zeros_like(values)


def _warn_outside(
    values: NDArray[Any],
    span: tuple[float, float],
    slack: tuple[float, float],
    what: str,
    unit: str,
) -> None:
    # Sums and units of files round; a thousandth is no extrapolation.
    low, high = span
    outside = (values < low - slack[0]) | (values > high + slack[1])
    if outside.any():
        warnings.warn(
            f"{what} of {int(outside.sum())} of {len(values)} showers are outside the trained "
            f"range from {low:g} to {high:g}{unit}, the first {values[outside][0]:g}{unit}: what "
            "comes out there is a guess",
            EnergyRangeWarning,
            stacklevel=4,
        )
