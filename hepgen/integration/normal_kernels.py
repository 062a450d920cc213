r"""The normal distribution function and its inverse, one number at a time, for loops in numba.

Shapes: any.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["normal_cdf", "normal_quantiles", "rough_quantile"]

_ROOT_HALF = math.sqrt(0.5)
_ROOT_TWO_PI = math.sqrt(2 * math.pi)


@njit(cache=True, nogil=True, error_model="numpy")
def normal_cdf(x: float) -> float:
    r""":math:`\Phi(x)`, with full relative precision in the lower tail."""
    return 0.5 * math.erfc(-x * _ROOT_HALF)


@njit(cache=True, nogil=True, error_model="numpy")
def rough_quantile(p: float) -> float:
    r""":math:`\Phi^{-1}(p)` to 1e-9 by P. J. Acklam's rational approximation, for 0 < p <= 1/2."""
    if p < 0.02425:
        q = math.sqrt(-2 * math.log(p))
        top = -7.784894002430293e-03 * q - 3.223964580411365e-01
        top = (top * q - 2.400758277161838e00) * q - 2.549732539343734e00
        top = (top * q + 4.374664141464968e00) * q + 2.938163982698783e00
        bottom = (7.784695709041462e-03 * q + 3.224671290700398e-01) * q + 2.445134137142996e00
        return top / ((bottom * q + 3.754408661907416e00) * q + 1)
    q = p - 0.5
    r = q * q
    top = (-3.969683028665376e01 * r + 2.209460984245205e02) * r - 2.759285104469687e02
    top = (top * r + 1.383577518672690e02) * r - 3.066479806614716e01
    top = (top * r + 2.506628277459239e00) * q
    bottom = (-5.447609879822406e01 * r + 1.615858368580409e02) * r - 1.556989798598866e02
    bottom = (bottom * r + 6.680131188771972e01) * r - 1.328068155288572e01
    return top / (bottom * r + 1)


@njit(cache=True, nogil=True, error_model="numpy")
def normal_quantile(u: float) -> float:
    r""":math:`\Phi^{-1}(u)`, to 1e-14 (relative to one or to the value, the larger).

    `rough_quantile` and a step of Halley's method.
    Infinite at 0 and 1, NaN beyond.
    """
    if u <= 0 or u >= 1:
        if u == 0:
            return -math.inf
        return math.inf if u == 1 else math.nan
    p = min(u, 1 - u)
    x = rough_quantile(p)
    # x is negative here, where the distribution function keeps its relative precision.
    off = (normal_cdf(x) - p) * _ROOT_TWO_PI * math.exp(0.5 * x * x)
    x -= off / (1 + 0.5 * x * off)
    return x if u < 0.5 else -x


@njit(cache=True, nogil=True, error_model="numpy")
def normal_quantiles(u: NDArray[np.float64]) -> NDArray[np.float64]:
    r""":math:`\Phi^{-1}` of each element of an array."""
    quantiles = np.empty(u.size)
    for row, one in enumerate(u.flat):
        quantiles[row] = normal_quantile(one)
    return quantiles.reshape(u.shape)
