"""A number with its statistical error, as everything in ``hepgen.metrics`` comes back."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

__all__ = ["Estimate"]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value and its error of one standard deviation, in the unit of the value.

    ``str(estimate)`` rounds the error to two significant digits and the value to the same place:
    ``1262 ± 49``, ``0.98441 ± 0.00012``; a rejection where no background passes is a limit,
    ``> 2600 (90 % CL)``.

    Attributes:
        value: the estimate; infinite for a rejection where no background passes.
        error: standard error; NaN where the sample does not tell.
        lower_limit: what the true value exceeds at 90 % confidence; given where ``value`` is
            infinite.
        floor: what statistics alone give on average where the true value is zero; given by metrics
            that cannot be negative, such as a divergence: a value near its floor shows no effect.
    """

    value: float
    error: float
    lower_limit: float | None = None
    floor: float | None = None

    def __float__(self) -> float:
        """The value alone, so that an estimate goes where a number goes."""
        return self.value

    def __str__(self) -> str:
        if math.isinf(self.value) and self.lower_limit is not None:
            digits = 1 - math.floor(math.log10(self.lower_limit)) if self.lower_limit > 0 else 0
            return f"> {round(self.lower_limit, digits):.{max(digits, 0)}f} (90 % CL)"
        text = rounded(self.value, self.error)
        return text if self.floor is None else f"{text} (floor {self.floor:.2g})"

    def to_dict(self) -> dict[str, Any]:
        """The fields that are set, as a mapping that JSON takes.

        JSON knows neither NaN nor infinity: they become ``None`` and the strings ``"inf"``,
        ``"-inf"``.
        """
        found = {"value": self.value, "error": self.error}
        extra = {"lower_limit": self.lower_limit, "floor": self.floor}
        found |= {name: number for name, number in extra.items() if number is not None}
        return {name: to_json(number) for name, number in found.items()}

    @classmethod
    def from_dict(cls, fields: Mapping[str, Any]) -> Estimate:
        """The estimate that :meth:`to_dict` wrote.

        Raises:
            KeyError: ``value`` or ``error`` is missing.
            ValueError: a field is neither a number, ``None``, ``"inf"`` nor ``"-inf"``.
        """
        extra = {
            name: from_json(fields[name]) for name in ("lower_limit", "floor") if name in fields
        }
        return cls(from_json(fields["value"]), from_json(fields["error"]), **extra)


def to_json(number: float) -> float | str | None:
    """The number, or what stands for it in JSON: ``None`` for NaN, ``"inf"`` and ``"-inf"``."""
    if math.isnan(number):
        return None
    return float(number) if math.isfinite(number) else str(float(number))


def from_json(number: float | str | None) -> float:
    """The number that :func:`to_json` wrote.

    Raises:
        ValueError: a string that is no number.
    """
    return math.nan if number is None else float(number)


def rounded(value: float, error: float) -> str:
    """``value ± error`` with two significant digits of the error.

    Four significant digits stand for the value where the error is zero, NaN or infinite.
    """
    if math.isinf(value) or math.isnan(value):
        return f"{value:.4g}" if math.isnan(error) else f"{value:.4g} ± {error:.2g}"
    if not (math.isfinite(error) and error > 0):
        return f"{value:.4g} ± {'0' if error == 0 else 'unknown'}"
    if max(abs(value), error) >= 1e7 or max(abs(value), error) < 1e-4:
        exponent = math.floor(math.log10(max(abs(value), error)))
        scale = 10.0**exponent
        return f"({rounded(value / scale, error / scale)})e{exponent:+03d}"
    decimals = 1 - math.floor(math.log10(float(f"{error:.1e}")))
    places = max(decimals, 0)
    return f"{round(value, decimals):.{places}f} ± {round(error, decimals):.{places}f}"
