"""The functions that an expression may call: element by element, or over the list of each entry.

Names and meanings are those of NumPy; angles are in radians and `delta_phi` lies in [-pi, pi).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import awkward as ak
import numpy as np

__all__ = ["CONSTANTS", "FUNCTIONS", "PREFIXES", "Function"]

PREFIXES = ("", "np", "numpy", "ak", "awkward", "math")
CONSTANTS: dict[str, float] = {
    f"{prefix}.{name}": value
    for prefix in PREFIXES[1:]
    for name, value in {"pi": math.pi, "e": math.e, "inf": math.inf, "nan": math.nan}.items()
}


@dataclass(frozen=True)
class Function:
    """A function of an expression.

    Args:
        call: what it does.
        arguments: how many arguments it takes.
        reduces: whether it turns a list into one value; then it takes ``axis=`` too, needed for
            lists of lists only.
    """

    call: Callable[..., Any]
    arguments: int = 1
    reduces: bool = False

    def __call__(self, *arguments: Any, axis: int | None = None) -> Any:
        """The value for each entry; shapes as those of the arguments, one axis less if it reduces.

        Raises:
            TypeError: it reduces, and the argument has one value an entry, or lists of lists and no
                axis is given.
        """
        if not self.reduces:
            return self.call(*arguments)
        (values,) = arguments
        if not isinstance(values, ak.Array) or values.ndim < 2:
            raise TypeError("one value an entry where a list is needed")
        if axis is None and values.ndim > 2:
            raise TypeError(
                "lists of lists; say axis=1 for the outer or axis=-1 for the inner ones"
            )
        return self.call(values, axis=-1 if axis is None else axis)


def _clip(x: Any, low: Any, high: Any) -> Any:
    return np.minimum(np.maximum(x, low), high)


def _where(condition: Any, if_true: Any, if_false: Any) -> Any:
    arguments = (condition, if_true, if_false)
    jagged = any(isinstance(argument, ak.Array) for argument in arguments)
    return ak.where(*arguments) if jagged else np.where(*arguments)


def _delta_phi(phi_1: Any, phi_2: Any) -> Any:
    return (phi_1 - phi_2 + np.pi) % (2 * np.pi) - np.pi


def _delta_r(eta_1: Any, phi_1: Any, eta_2: Any, phi_2: Any) -> Any:
    return np.hypot(eta_1 - eta_2, _delta_phi(phi_1, phi_2))


def _ones_like(x: Any) -> Any:
    return ak.ones_like(x) if isinstance(x, ak.Array) else np.ones_like(x)


def _zeros_like(x: Any) -> Any:
    return ak.zeros_like(x) if isinstance(x, ak.Array) else np.zeros_like(x)


def _round(x: Any) -> Any:
    # np.round is no ufunc and would need a rectangular array; rint is, with the same rounding of
    # halves to even.
    return np.rint(x)


def _filled(reducer: Callable[..., Any]) -> Callable[..., Any]:
    """A reducer without a value for empty lists, with NaN there rather than a missing value."""

    def reduce(x: Any, axis: int) -> Any:
        result = reducer(x, axis=axis)
        empty = ak.any(ak.is_none(result, axis=-1), axis=None)
        return ak.fill_none(result, np.nan, axis=-1) if empty else ak.drop_none(result, axis=-1)

    return reduce


def _first(x: Any, axis: int) -> Any:
    return ak.firsts(x, axis=axis)


_ONE = (
    "sqrt cbrt square exp expm1 log log2 log10 log1p sin cos tan arcsin arccos arctan sinh cosh"
    " tanh arcsinh arccosh arctanh degrees radians floor ceil sign isnan isinf isfinite logical_not"
)
_TWO = "arctan2 hypot minimum maximum fmod logical_and logical_or"

FUNCTIONS: dict[str, Function] = {
    "abs": Function(np.abs),
    "round": Function(_round),
    **{name: Function(getattr(np, name)) for name in _ONE.split()},
    **{name: Function(getattr(np, name), 2) for name in _TWO.split()},
    "clip": Function(_clip, 3),
    "where": Function(_where, 3),
    "delta_phi": Function(_delta_phi, 2),
    "delta_r": Function(_delta_r, 4),
    "ones_like": Function(_ones_like),
    "zeros_like": Function(_zeros_like),
    "num": Function(ak.num, reduces=True),
    "sum": Function(ak.sum, reduces=True),
    "any": Function(ak.any, reduces=True),
    "all": Function(ak.all, reduces=True),
    "min": Function(_filled(ak.min), reduces=True),
    "max": Function(_filled(ak.max), reduces=True),
    "mean": Function(_filled(ak.mean), reduces=True),
    "firsts": Function(_filled(_first), reduces=True),
}
