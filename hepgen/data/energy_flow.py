r"""Energy flow polynomials of packed jets.

P. T. Komiske, E. M. Metodiev and J. Thaler, "Energy flow polynomials: a complete linear basis for
jet substructure", JHEP 04 (2018) 013, arXiv:1712.07124. Written from the paper.

``python -m benchmarks.energy_flow`` compares it with the authors' program.

Shapes: B jets, N constituents of all jets end to end, n of one jet, G graphs; offsets have B + 1
entries.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numba import njit
from numpy.typing import ArrayLike, NDArray

from hepgen.data.energy_flow_graphs import efp_factors
from hepgen.data.energy_flow_kernel import evaluate
from hepgen.data.energy_flow_program import APPLY, TIMES, program

__all__ = ["energy_flow_polynomials"]

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]


def energy_flow_polynomials(
    p4: ArrayLike,
    ptr: ArrayLike,
    max_degree: int = 7,
    beta: float = 0.5,
    kappa: float = 1.0,
) -> Doubles:
    r"""Energy flow polynomials of all graphs up to some number of edges.

    For a graph with V vertices

    .. math::
        \mathrm{EFP} = \sum_{i_1} \cdots \sum_{i_V} z_{i_1} \cdots z_{i_V}
        \prod_{(k, l)\,\mathrm{edge}} \theta_{i_k i_l}, \quad
        z_i = \Big(\frac{p_{\mathrm{T}i}}{\sum_j p_{\mathrm{T}j}}\Big)^\kappa, \quad
        \theta_{ij} = \big((y_i - y_j)^2 + (\phi_i - \phi_j)^2\big)^{\beta/2}

    with rapidities y and the difference in azimuth within pi: the authors' measure "hadr", normed.
    That of disconnected graphs is the product over their components. With kappa = 1 they do not
    change when a constituent becomes soft or splits into collinear ones of equal rapidity.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (N, 4); E > abs(pz), else the pseudorapidity
            takes the place of the rapidity.
        ptr: offsets of the jets in N, shape (B + 1,).
        max_degree: greatest number of edges d, 0 to 7.
        beta: exponent of the angles, > 0.
        kappa: exponent of the momentum fractions.

    Returns:
        Shape (B, G), float64, in the order of `efp_graphs`: 1000 for d <= 7, where the first is
        always 1. Of a jet without constituents, or without transverse momentum, all others are 0.

    Raises:
        ValueError: ``max_degree`` is not 0 to 7, beta <= 0, or the shapes do not fit.
    """
    momenta = np.ascontiguousarray(p4, np.float64)
    offsets = np.ascontiguousarray(ptr, np.int64)
    if momenta.ndim != 2 or momenta.shape[1] != 4:
        raise ValueError(f"p4 should have shape (N, 4), not {momenta.shape}")
    if (
        offsets.ndim != 1
        or not len(offsets)
        or offsets[0]
        or offsets[-1] != len(momenta)
        or np.any(np.diff(offsets) < 0)
    ):
        raise ValueError(f"ptr should rise from 0 to the {len(momenta)} rows of p4")
    if beta <= 0:
        raise ValueError(f"beta should be > 0, not {beta}")
    plan = _plan(max_degree)
    primes = np.zeros((len(offsets) - 1, len(plan.results)))
    evaluate(
        momenta,
        offsets,
        float(beta),
        float(kappa),
        max_degree,
        plan.code,
        plan.matrices,
        plan.vectors,
        plan.results,
        primes,
    )
    return _products(primes, plan.factors)


class _Plan:
    """A program with places for its values: vectors, and matrices whose place is used again."""

    def __init__(self, max_degree: int) -> None:
        made = program(max_degree)
        # z is vector 0, the powers of the angles are matrices 0 to D - 1.
        place = {-1: -1, 0: 0} | {i: i - 1 for i in range(1, max_degree + 1)}
        self.vectors, self.matrices = 1, max(1, max_degree)
        last = {operand: i for i, step in enumerate(made.steps) for operand in step[1:]}
        free: list[int] = []
        code = []
        for i, (kind, *operands) in enumerate(made.steps):
            value = max_degree + 1 + i
            if kind in (TIMES, APPLY):
                place[value] = self.vectors
                self.vectors += 1
            else:
                if not free:
                    free.append(self.matrices)
                    self.matrices += 1
                place[value] = free.pop()
            code.append((kind, place[value], *(place[operand] for operand in operands)))
            for operand in {operand for operand in operands if operand > max_degree}:
                vector = made.steps[operand - max_degree - 1][0] in (TIMES, APPLY)
                if last[operand] == i and not vector:
                    free.append(place[operand])
        self.code = np.array(code, np.int64).reshape(-1, 5)
        results = [(place[a], place[b]) for a, b in made.results]
        self.results = np.array(results, np.int64).reshape(-1, 2)
        factors = efp_factors(max_degree)
        self.factors = np.full((len(factors), max(1, max_degree)), -1, np.int64)
        for row, some in zip(self.factors, factors, strict=True):
            row[: len(some)] = some


@lru_cache
def _plan(max_degree: int) -> _Plan:
    return _Plan(max_degree)


@njit(cache=True, nogil=True)
def _products(primes: Doubles, factors: Indices) -> Doubles:
    """The polynomials (B, G) from those of the connected graphs."""
    result = np.ones((len(primes), len(factors)))
    for jet in range(len(primes)):
        for graph in range(len(factors)):
            for k in factors[graph]:
                if k < 0:
                    break
                result[jet, graph] *= primes[jet, k]
    return result
