r"""The inner loops of Gaussian and Student mixtures.

A component with mean :math:`\mu`, lower root L of its covariance (or scale matrix) and whitener
:math:`L^{-1}` has :math:`\delta^2 = |L^{-1}(x - \mu)|^2` and the density
:math:`e^{c - \delta^2/2}`, or :math:`e^c (1 + \delta^2/\nu)^{-(\nu + D)/2}` with :math:`\nu`
degrees of freedom. Points are taken in blocks, one row an axis, so that the loops over points are
what the processor vectorises. No fast arithmetic: what LLVM makes of it depends on what is inlined,
which is not the same where kernels are compiled and where they come from numba's cache, and a run
that goes on in another process shall end with the same bits.

Shapes: B points, D dimensions, K components.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

__all__ = ["expect", "mixture_density", "outside"]

Array = NDArray[np.float64]

BLOCK = 128
HALF, QUARTER = BLOCK // 2, BLOCK // 4


@njit(cache=True, nogil=True, error_model="numpy")
def _distances(block: Array, mean: Array, whitener: Array, off: Array, squared: Array) -> None:
    """Put the offsets (D, BLOCK) from a mean and their squared lengths (BLOCK,) in place."""
    for axis in range(len(mean)):
        for point in range(BLOCK):
            off[axis, point] = block[axis, point] - mean[axis]
    squared[:] = 0.0
    white = np.empty(BLOCK)
    for row in range(len(mean)):
        white[:] = 0.0
        for axis in range(row + 1):
            factor = whitener[row, axis]
            for point in range(BLOCK):
                white[point] += factor * off[axis, point]
        for point in range(BLOCK):
            squared[point] += white[point] * white[point]


@njit(cache=True, nogil=True, error_model="numpy")
def _dot(a: Array, b: Array, sums: Array) -> float:
    """Sum of the products of two blocks, in an order that vector registers can take."""
    for i in range(HALF):
        sums[i] = a[i] * b[i] + a[HALF + i] * b[HALF + i]
    for i in range(QUARTER):
        sums[i] += sums[QUARTER + i]
    for i in range(16):
        sums[i] += sums[16 + i]
    for i in range(8):
        sums[i] += sums[8 + i]
    for i in range(4):
        sums[i] += sums[4 + i]
    total: float = (sums[0] + sums[2]) + (sums[1] + sums[3])
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def _load(x: Array, first: int, block: Array) -> int:
    """Fill a block with points; what is left empty at the end repeats the last point."""
    count = min(BLOCK, len(x) - first)
    for axis in range(x.shape[1]):
        for point in range(BLOCK):
            block[axis, point] = x[first + min(point, count - 1), axis]
    return count


@njit(cache=True, nogil=True, error_model="numpy")
def _densities(squared: Array, constant: float, degrees: float, dimension: int) -> None:
    """Turn squared distances into densities, in place; degrees of zero mean a Gaussian."""
    if degrees > 0:
        power = -0.5 * (degrees + dimension)
        for point in range(BLOCK):
            squared[point] = math.exp(constant + power * math.log1p(squared[point] / degrees))
    else:
        for point in range(BLOCK):
            squared[point] = math.exp(constant - 0.5 * squared[point])


@njit(cache=True, nogil=True, error_model="numpy")
def mixture_density(
    x: Array, flat: float, constants: Array, means: Array, whiteners: Array, degrees: float
) -> Array:
    """Density of a mixture with a flat part.

    Args:
        x: points, C-contiguous, shape (B, D).
        flat: density of the flat part.
        constants: logarithms of the components' heights, shares included, shape (K,).
        means: shape (K, D).
        whiteners: inverses of the lower roots, shape (K, D, D).
        degrees: degrees of freedom; 0 for Gaussians.

    Returns:
        Densities, shape (B,).
    """
    dimension = x.shape[1]
    total = np.empty(len(x))
    block, off = np.empty((dimension, BLOCK)), np.empty((dimension, BLOCK))
    value, summed = np.empty(BLOCK), np.empty(BLOCK)
    for first in range(0, len(x), BLOCK):
        count = _load(x, first, block)
        summed[:] = flat
        for k in range(len(constants)):
            _distances(block, means[k], whiteners[k], off, value)
            _densities(value, constants[k], degrees, dimension)
            for point in range(BLOCK):
                summed[point] += value[point]
        total[first : first + count] = summed[:count]
    return total


@njit(cache=True, nogil=True, error_model="numpy")
def expect(
    x: Array,
    weights: Array,
    flat: float,
    constants: Array,
    means: Array,
    whiteners: Array,
    degrees: float,
) -> tuple[Array, Array, Array, Array, float]:
    r"""The expectation step of expectation-maximisation.

    With responsibilities r of a component for a point and, for Student's components, the scales
    :math:`u = (\nu + D)/(\nu + \delta^2)` (else 1), sums over points of ``w r``, ``w r u``,
    ``w r u d`` and ``w r u d d^T``, where d is the offset from the present mean.

    Args:
        x: points, C-contiguous, shape (B, D).
        weights: of the points, shape (B,).
        flat: density of the flat part, positive.
        constants: logarithms of the components' heights, shares included, shape (K,).
        means: shape (K, D).
        whiteners: inverses of the lower roots, shape (K, D, D).
        degrees: degrees of freedom; 0 for Gaussians.

    Returns:
        The sums of shapes (K,), (K,), (K, D) and (K, D, D), and the sum of ``w log density``.
    """
    number, dimension = means.shape
    counts, scaled = np.zeros(number), np.zeros(number)
    first_moments = np.zeros((number, dimension))
    second_moments = np.zeros((number, dimension, dimension))
    block, off = np.empty((dimension, BLOCK)), np.empty((number, dimension, BLOCK))
    value, scale, summed = np.empty((number, BLOCK)), np.ones((number, BLOCK)), np.empty(BLOCK)
    part, ones, sums = np.empty(BLOCK), np.ones(BLOCK), np.empty(HALF)
    likelihood = 0.0
    for first in range(0, len(x), BLOCK):
        count = _load(x, first, block)
        summed[:] = flat
        for k in range(number):
            _distances(block, means[k], whiteners[k], off[k], value[k])
            if degrees > 0:
                for point in range(BLOCK):
                    scale[k, point] = (degrees + dimension) / (degrees + value[k, point])
            _densities(value[k], constants[k], degrees, dimension)
            for point in range(BLOCK):
                summed[point] += value[k, point]
        for point in range(count):
            likelihood += weights[first + point] * math.log(summed[point])
            summed[point] = weights[first + point] / summed[point]
        summed[count:] = 0.0
        for k in range(number):
            for point in range(BLOCK):
                value[k, point] *= summed[point]
            mass = _dot(value[k], ones, sums)
            counts[k] += mass
            if mass < 1e-12:
                continue
            for point in range(BLOCK):
                value[k, point] *= scale[k, point]
            scaled[k] += _dot(value[k], ones, sums)
            for row in range(dimension):
                for point in range(BLOCK):
                    part[point] = value[k, point] * off[k, row, point]
                first_moments[k, row] += _dot(part, ones, sums)
                for axis in range(row + 1):
                    second_moments[k, row, axis] += _dot(part, off[k, axis], sums)
    for k in range(number):
        for row in range(dimension):
            for axis in range(row):
                second_moments[k, axis, row] = second_moments[k, row, axis]
    return counts, scaled, first_moments, second_moments, likelihood


@njit(cache=True, nogil=True, error_model="numpy")
def outside(
    latent: Array, scale: Array, means: Array, roots: Array
) -> tuple[Array, Array, Array, Array]:
    """What components hold outside the unit cube, for components of mass one.

    Args:
        latent: points of the standard distribution, C-contiguous, shape (B, D).
        scale: their scales u, one each for normal points, shape (B,).
        means: shape (K, D).
        roots: lower roots, shape (K, D, D).

    Returns:
        Means over the points of ``o``, ``o u``, ``o u d`` and ``o u d d^T`` with the offset d of a
        point from the mean of the component, and o one where it is outside: shapes (K,), (K,),
        (K, D) and (K, D, D).
    """
    number, dimension = means.shape
    masses, scaled = np.zeros(number), np.zeros(number)
    first_moments = np.zeros((number, dimension))
    second_moments = np.zeros((number, dimension, dimension))
    block, off = np.empty((dimension, BLOCK)), np.empty((dimension, BLOCK))
    far = np.empty(BLOCK)
    for first in range(0, len(latent), BLOCK):
        count = _load(latent, first, block)
        for k in range(number):
            off[:] = 0.0
            far[:] = 0.0
            for row in range(dimension):
                for axis in range(row + 1):
                    factor = roots[k, row, axis]
                    for point in range(BLOCK):
                        off[row, point] += factor * block[axis, point]
                mean = means[k, row]
                for point in range(BLOCK):
                    beyond = abs(off[row, point] + mean - 0.5) - 0.5
                    far[point] = max(far[point], beyond)
            for point in range(count):
                if far[point] > 0:
                    u = scale[first + point]
                    masses[k] += 1.0
                    scaled[k] += u
                    for row in range(dimension):
                        part = u * off[row, point]
                        first_moments[k, row] += part
                        for axis in range(row + 1):
                            second_moments[k, row, axis] += part * off[axis, point]
    size = len(latent)
    for k in range(number):
        for row in range(dimension):
            for axis in range(row):
                second_moments[k, axis, row] = second_moments[k, row, axis]
    return masses / size, scaled / size, first_moments / size, second_moments / size
