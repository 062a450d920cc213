r"""Columns of a table: what kind of number each holds, and how it becomes one that a flow takes.

A value x becomes :math:`u = x`, :math:`\log(x - a)` or :math:`\Phi^{-1}\frac{x - a}{b - a}`, by its
kind, and :math:`z = (u - c)/s` with centre c and scale s of the sample. :math:`\Phi^{-1}` are the
quantiles of the normal distribution: what is flat between its ends becomes Gaussian, as the base of
most flows is, where the logit would leave longer tails. Whole numbers are
spread over :math:`[k, k + 1)` first, by uniform noise (B. Uria, I. Murray and H. Larochelle,
arXiv:1306.0186, section 5.1), so that the density of what is spread, integrated over the interval,
is the probability of k.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from difflib import get_close_matches
from typing import Any, Literal, get_args

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

__all__ = ["Column", "as_column", "read_columns"]

Kind = Literal["real", "positive", "bounded", "discrete"]
Values = NDArray[np.float64]


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Args:
        name: of the column.
        kind: "real"; "positive" for numbers above ``low``; "bounded" for those between ``low`` and
            ``high``; "discrete" for whole numbers from ``low`` to ``high``.
        low: the lower end; 0 for "positive" and the smallest of the sample for "discrete", if not
            given.
        high: the upper end; the largest of the sample for "discrete", if not given.
        centre: of the standardisation; from the sample, if not given.
        scale: likewise.

    Raises:
        ValueError: there is no such kind, an end is missing or of no use to this kind, or the
            upper one is not above the lower.
    """

    name: str
    kind: Kind = "real"
    low: float | None = None
    high: float | None = None
    centre: float | None = None
    scale: float | None = None

    def __post_init__(self) -> None:
        kinds: tuple[str, ...] = get_args(Kind)
        told = f"column {self.name!r}"
        if self.kind not in kinds:
            near = get_close_matches(str(self.kind), kinds, n=1, cutoff=0.0)[0]
            raise ValueError(f"{told}: no kind {self.kind!r}; nearest: {near}; of {kinds}")
        if self.kind == "positive" and self.low is None:
            object.__setattr__(self, "low", 0.0)
        if self.kind == "bounded" and (self.low is None or self.high is None):
            raise ValueError(f"{told} is bounded, so it needs low= and high=")
        if self.kind == "real" and not (self.low is None and self.high is None):
            raise ValueError(f"{told} has ends; wanted kind='positive' or 'bounded', not 'real'")
        if self.kind == "positive" and self.high is not None:
            raise ValueError(f"{told} has high={self.high}; wanted kind='bounded', not 'positive'")
        ends = [end for end in (self.low, self.high) if end is not None]
        if not all(math.isfinite(end) for end in ends):
            raise ValueError(f"{told}: its ends are {ends}; wanted finite numbers")
        if self.kind == "discrete" and any(end != int(end) for end in ends):
            raise ValueError(f"{told}: its ends are {ends}; wanted whole numbers")
        if len(ends) == 2 and not ends[0] < ends[1]:
            raise ValueError(f"{told}: low={self.low} is not below high={self.high}")
        if self.scale is not None and not 0 < self.scale < math.inf:
            raise ValueError(f"{told}: scale={self.scale}; wanted a number above 0")

    @property
    def fitted(self) -> bool:
        """Whether nothing is left to take from a sample."""
        known = self.centre is not None and self.scale is not None
        return known and (self.kind != "discrete" or None not in (self.low, self.high))

    def check(self, values: Values) -> None:
        """Refuse values that are no values of this column.

        Args:
            values: shape (N,).

        Raises:
            ValueError: some are NaN or infinite, on the ends or beyond, or no whole numbers; the
                message counts them and tells the first.
        """
        self._refuse(values, ~np.isfinite(values), "are not finite")
        if self.kind == "discrete":
            self._refuse(values, values != np.floor(values), "are no whole numbers")
        outside, wanted = ~self._inside(values), f"{self.low} to {self.high}"
        if self.kind == "positive":
            wanted = f"numbers above {self.low}"
        elif self.kind == "bounded":
            wanted = f"numbers between {self.low} and {self.high}, neither of which has a density"
        self._refuse(values, outside, f"are outside: wanted {wanted}")

    def _refuse(self, values: Values, bad: NDArray[np.bool_], told: str) -> None:
        if bad.any():
            first = int(bad.argmax())
            raise ValueError(
                f"column {self.name!r}: {int(bad.sum()):,} of {len(values):,} values {told}; "
                f"the first is {values[first]} in row {first}"
            )

    def _inside(self, values: Values) -> NDArray[np.bool_]:
        """Where this column can have a density at all."""
        low = -math.inf if self.low is None else self.low
        high = math.inf if self.high is None else self.high
        inside: NDArray[np.bool_] = (values > low) & (values < high)
        if self.kind == "discrete":
            inside = (values >= low) & (values <= high) & (values == np.floor(values))
        return inside

    def fit(self, values: Values, weights: Values | None = None) -> Column:
        """Take what is not given yet from a sample.

        Args:
            values: shape (N,).
            weights: shape (N,); their absolute values count.

        Returns:
            A column that is fitted.

        Raises:
            ValueError: of `check`, or the column holds one value only.
        """
        self.check(values)
        if values.min() == values.max():
            raise ValueError(
                f"column {self.name!r} holds nothing but {values[0]}, which has no density; "
                "leave it out"
            )
        column = self
        if self.kind == "discrete":
            low = values.min() if self.low is None else self.low
            high = values.max() if self.high is None else self.high
            column = replace(self, low=float(low), high=float(high))
        u, _ = column.unfold(values, 0.5)
        shares = None if weights is None else np.abs(weights)
        mean = float(np.average(u, weights=shares))
        width = math.sqrt(float(np.average((u - mean) ** 2, weights=shares)))
        if not 0 < width < math.inf:
            raise ValueError(
                f"column {self.name!r} has a spread of {width} around {mean}: too little for its "
                "type, or without weight; shift it to 0, or leave it out"
            )
        centre = mean if self.centre is None else self.centre
        return replace(column, centre=centre, scale=width if self.scale is None else self.scale)

    def unfold(self, values: Values, noise: float | Values = 0.0) -> tuple[Values, Values]:
        """Values without ends, before the standardisation.

        Args:
            values: inside the ends, shape (N,).
            noise: from 0 to 1, added to whole numbers.

        Returns:
            They and the logarithms of the slope, both of shape (N,).
        """
        if self.kind == "real":
            return values, np.zeros_like(values)
        low, high = self.low or 0.0, self.high or 0.0
        if self.kind == "positive":
            u = np.log(values - low)
            return u, -u
        if self.kind == "discrete":
            values, high = values + noise, high + 1
        # From the nearer end, as 1 - p is coarse near 1.
        lower = values - low < high - values
        u = _probit(np.where(lower, values - low, high - values) / (high - low))
        slope = (u * u + math.log(2 * math.pi)) / 2 - math.log(high - low)
        return np.where(lower, u, -u), slope

    def encode(self, values: Values, noise: float | Values = 0.5) -> tuple[Values, Values]:
        """What a flow takes.

        Args:
            values: shape (N,).
            noise: between 0 and 1, added to whole numbers.

        Returns:
            Standardised numbers, and the logarithms of the slope; those of values outside the ends
            are 0 and minus infinity. Both of shape (N,).
        """
        assert self.centre is not None
        assert self.scale is not None
        inside = self._inside(values)
        # Some value inside stands for those outside.
        low, high = self.low or 0.0, self.high or 0.0
        some = {"real": low, "positive": low + 1, "bounded": (low + high) / 2, "discrete": low}
        u, slope = self.unfold(np.where(inside, values, some[self.kind]), noise)
        z = np.where(inside, (u - self.centre) / self.scale, 0.0)
        return z, np.where(inside, slope - math.log(self.scale), -np.inf)

    def decode(self, z: Values) -> NDArray[Any]:
        """Values of the column, of what a flow gives.

        Args:
            z: standardised numbers, shape (N,).

        Returns:
            Shape (N,), whole numbers as int64.
        """
        assert self.centre is not None
        assert self.scale is not None
        u = self.centre + self.scale * np.asarray(z, np.float64)
        if self.kind == "real":
            return u
        low, high = self.low or 0.0, self.high or 0.0
        if self.kind == "positive":
            above: Values = np.maximum(low + np.exp(u), np.nextafter(low, np.inf))
            return above
        width = high - low + (self.kind == "discrete")
        # Half an erfc, as torch's ndtr is 0 from -8.3 on.
        share = width * torch.special.erfc(torch.from_numpy(np.abs(u) / math.sqrt(2))).numpy() / 2
        values = np.where(u < 0, low + share, low + width - share)
        if self.kind == "discrete":
            whole: NDArray[np.int64] = np.clip(np.floor(values), low, high).astype(np.int64)
            return whole
        # The nearest numbers that are inside, where rounding gave an end.
        inside: Values = np.clip(values, np.nextafter(low, high), np.nextafter(high, low))
        return inside

    def to_dict(self) -> dict[str, Any]:
        """What JSON can hold; ``Column(**to_dict())`` is the same."""
        return asdict(self)


def _probit(p: Values) -> Values:
    quantiles: Values = torch.special.ndtri(torch.from_numpy(p)).numpy()
    return quantiles


def as_column(told: Column | str | Mapping[str, Any]) -> Column:
    """A column of what a user writes.

    Args:
        told: a column, its name, or its arguments by name.

    Raises:
        ValueError: `Column` takes no such argument.
        TypeError: it is none of these.
    """
    if isinstance(told, Column):
        return told
    if isinstance(told, str):
        return Column(told)
    if not isinstance(told, Mapping):
        raise TypeError(f"{told!r} is no column: wanted its name, a Column, or its arguments")
    known = [field.name for field in fields(Column)]
    for name in told:
        if name not in known:
            near = get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise ValueError(f"a column has no {name!r}; nearest: {near}")
    return Column(**told)


def read_columns(table: Any, names: Sequence[str]) -> dict[str, Values]:
    """Some columns of a table.

    Args:
        table: a mapping of names to arrays, a structured numpy array, a pandas DataFrame, an
            awkward record array; or an array or tensor of shape (N, columns) whose columns are
            those of ``names``, in their order.
        names: which.

    Returns:
        Name -> shape (N,), float64.

    Raises:
        ValueError: a column is missing, no numbers, of another length than the others, or jagged.
    """
    own = column_names(table)
    if own is None:
        matrix = as_array(table, "the table")
        if matrix.ndim != 2 or matrix.shape[1] != len(names):
            raise ValueError(
                f"an array of shape {matrix.shape} is no table of the {len(names)} columns "
                f"{', '.join(names)}"
            )
        return {name: matrix[:, i] for i, name in enumerate(names)}
    for name in names:
        if name not in own:
            near = get_close_matches(name, own, n=3, cutoff=0.0)
            raise ValueError(f"no column {name!r} in the table; nearest: {', '.join(near)}")
    read = {name: as_array(table[name], f"column {name!r}") for name in names}
    for name, values in read.items():
        if values.ndim != 1:
            raise ValueError(f"column {name!r} has shape {values.shape}; wanted one number a row")
    lengths = {name: len(values) for name, values in read.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"the columns have different lengths: {lengths}")
    return read


def column_names(table: Any) -> list[str] | None:
    """Names of the columns of a table; None for one without names.

    Args:
        table: as of `read_columns`.
    """
    if isinstance(table, Mapping):
        return [str(name) for name in table]
    of_type = getattr(getattr(table, "dtype", None), "names", None)
    for found in (of_type, getattr(table, "columns", None), getattr(table, "fields", None)):
        if found is not None and not callable(found) and len(found):
            return [str(name) for name in found]
    return None


def as_array(values: ArrayLike | Any, what: str) -> Values:
    """Numbers as a float64 array.

    Args:
        values: an array of any library, or a tensor on any device.
        what: for the message.

    Raises:
        ValueError: they are no numbers, or have no one shape.
    """
    if hasattr(values, "detach"):
        values = values.detach().cpu()
    try:
        return np.asarray(values).astype(np.float64)
    except (ValueError, TypeError) as error:
        raise ValueError(f"{what} does not hold one number a row: {error}") from error
