"""Runs the steps of `hepgen.data.energy_flow_program`, compiled by numba; it releases the GIL.

Jet by jet, so that the matrices stay in the cache of a CPU core. All are padded with zeros, which
add nothing, to a multiple of 8 rows and columns: so loops run in vector registers to their end.

What runs with fast arithmetic, and what calls it, is inlined into `evaluate` by force. A function
that is left to stand alone is compiled twice, by itself and into its caller, with sums and products
joined in other ways; which of the two runs depends on what came from numba's cache, and so would
the last bits.

Shapes: B jets, N constituents of all jets end to end, n of one jet, and s with padding; offsets
have B + 1 entries.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from hepgen.data.energy_flow_program import APPLY, CHAIN, FLIP, JOIN, TIMES

__all__ = ["evaluate"]

Doubles = NDArray[np.float64]
Indices = NDArray[np.int64]

_LANES = 8
# Columns that a product of matrices takes at a time.
_PANEL = 64


@njit(cache=True, nogil=True)
def evaluate(
    p4: Doubles,
    offsets: Indices,
    beta: float,
    kappa: float,
    degree: int,
    code: Indices,
    matrices: int,
    vectors: int,
    results: Indices,
    primes: Doubles,
) -> None:
    """Polynomials of connected graphs.

    Args:
        p4: (N, 4) four-momenta.
        offsets: (B + 1,) jets in N.
        beta: exponent of the angles.
        kappa: exponent of the momentum fractions.
        degree: number of powers of the angles.
        code: (steps, 5) kind, place of the result, places of three operands or -1. Vector 0 is z,
            matrices 0 to ``degree`` - 1 are the powers of the angles.
        matrices: number of places for matrices.
        vectors: number of places for vectors.
        results: (graphs, 2) vectors whose scalar products are wanted.
        primes: (B, graphs), written; jets without transverse momentum are left out.
    """
    most = 0
    for jet in range(len(offsets) - 1):
        most = max(most, offsets[jet + 1] - offsets[jet])
    most = (most + _LANES - 1) // _LANES * _LANES
    matrix_memory = np.empty(matrices * most * most)
    vector_memory = np.empty(vectors * most)
    panel = np.empty(4 * _PANEL)
    for jet in range(len(offsets) - 1):
        n = offsets[jet + 1] - offsets[jet]
        size = (n + _LANES - 1) // _LANES * _LANES
        # Beyond n everything is 0, and adds nothing.
        m = matrix_memory[: matrices * size * size].reshape(matrices, size, size)
        v = vector_memory[: vectors * size].reshape(vectors, size)
        if not _measure(p4[offsets[jet] : offsets[jet + 1]], beta, kappa, degree, v[0], m):
            continue
        for kind, out, a, b, c in code:
            if kind == TIMES:
                for i in range(size):
                    v[out, i] = v[a, i] * v[b, i]
            elif kind == APPLY:
                if b < 0:
                    _apply(m[a], v[c], v[out])
                else:
                    _apply_both(m[a], m[b], v[c], v[out])
            elif kind == JOIN:
                _join(m[a], m[b], m[out])
            elif kind == CHAIN:
                _chain(m[a], v[c], m[b], m[out], panel)
            elif kind == FLIP:
                m[out] = m[a].T
            else:
                _tetra(m[0], v[0], m[out], panel)
        for graph in range(len(results)):
            one, other = v[results[graph, 0]], v[results[graph, 1]]
            primes[jet, graph] = _dot(one, other)


@njit(cache=True, nogil=True)
def _measure(p4: Doubles, beta: float, kappa: float, degree: int, z: Doubles, m: Doubles) -> bool:
    """Writes fractions and powers of the angles; False if there is no transverse momentum."""
    n = len(p4)
    total = 0.0
    y, phi = np.empty(n), np.empty(n)
    for i in range(n):
        energy, px, py, pz = p4[i, 0], p4[i, 1], p4[i, 2], p4[i, 3]
        z[i] = np.sqrt(px * px + py * py)
        total += z[i]
        phi[i] = np.arctan2(py, px)
        if energy > abs(pz):
            y[i] = 0.5 * np.log((energy + pz) / (energy - pz))
        elif z[i] > 0:
            y[i] = np.arcsinh(pz / z[i])
        else:
            y[i] = 0.0
    if not total > 0:
        return False
    z[n:] = 0
    for i in range(n):
        z[i] = (z[i] / total) ** kappa
    m[0, n:] = 0
    m[0, :, n:] = 0
    for i in range(n):
        for j in range(i):
            difference = abs(phi[i] - phi[j])
            difference = min(difference, 2 * np.pi - difference)
            square = (y[i] - y[j]) ** 2 + difference**2
            if beta == 0.5:
                m[0, i, j] = np.sqrt(np.sqrt(square))
            elif beta == 1:
                m[0, i, j] = np.sqrt(square)
            else:
                m[0, i, j] = square ** (0.5 * beta)
            m[0, j, i] = m[0, i, j]
        m[0, i, i] = 0
    for k in range(1, degree):
        _join(m[k - 1], m[0], m[k])
    return True


@njit(cache=True, nogil=True)
def _join(a: Doubles, b: Doubles, out: Doubles) -> None:
    one, other, product = a.reshape(-1), b.reshape(-1), out.reshape(-1)
    for i in range(len(product)):
        product[i] = one[i] * other[i]


@njit(cache=True, nogil=True, forceinline=True, fastmath={"contract", "reassoc"})
def _dot(a: Doubles, b: Doubles) -> float:
    total = 0.0
    for i in range(len(a)):
        total += a[i] * b[i]
    return total


@njit(cache=True, nogil=True, forceinline=True, fastmath={"contract", "reassoc"})
def _apply(a: Doubles, v: Doubles, out: Doubles) -> None:
    for i in range(0, len(out), 4):
        a0, a1, a2, a3 = a[i], a[i + 1], a[i + 2], a[i + 3]
        t0 = t1 = t2 = t3 = 0.0
        for j in range(len(v)):
            t0 += a0[j] * v[j]
            t1 += a1[j] * v[j]
            t2 += a2[j] * v[j]
            t3 += a3[j] * v[j]
        out[i], out[i + 1], out[i + 2], out[i + 3] = t0, t1, t2, t3


@njit(cache=True, nogil=True, forceinline=True, fastmath={"contract", "reassoc"})
def _apply_both(a: Doubles, b: Doubles, v: Doubles, out: Doubles) -> None:
    for i in range(0, len(out), 4):
        a0, a1, a2, a3 = a[i], a[i + 1], a[i + 2], a[i + 3]
        b0, b1, b2, b3 = b[i], b[i + 1], b[i + 2], b[i + 3]
        t0 = t1 = t2 = t3 = 0.0
        for j in range(len(v)):
            t0 += a0[j] * b0[j] * v[j]
            t1 += a1[j] * b1[j] * v[j]
            t2 += a2[j] * b2[j] * v[j]
            t3 += a3[j] * b3[j] * v[j]
        out[i], out[i + 1], out[i + 2], out[i + 3] = t0, t1, t2, t3


@njit(cache=True, nogil=True, forceinline=True)
def _chain(a: Doubles, w: Doubles, b: Doubles, out: Doubles, panel: Doubles) -> None:
    for i in range(0, len(w), 4):
        for first in range(0, len(w), _PANEL):
            last = min(first + _PANEL, len(w))
            _four_rows(a, w, b, i, first, last, 0, panel)
            for r in range(4):
                for j in range(first, last):
                    out[i + r, j] = panel[r * _PANEL + j - first]


@njit(cache=True, nogil=True, forceinline=True)
def _tetra(t: Doubles, z: Doubles, out: Doubles, panel: Doubles) -> None:
    """Sums over k and l of z_k z_l T_ik T_il T_jk T_jl T_kl.

    The first of the constituents i, j, k, l, called a, is i or j, or it is k or l, which gives the
    same twice. With w_c = z_c T_ac, sums over those after a and H_bd = sum_c T_bc w_c T_cd, which
    is symmetric, the parts are sum_d T_bd w_d H_bd for (i, j) = (a, b) and z_a T_ab T_ad H_bd for
    (b, d). So an eighth of all is enough. Where i = j, k or l can be first in their own right.
    """
    size = len(z)
    w, rows = np.empty(size), np.empty(size)
    out[:] = 0
    for a in range(size):
        w[: a + 1] = 0
        for c in range(a + 1, size):
            w[c] = z[c] * t[a, c]
        rows[:] = 0
        start = a // _LANES * _LANES
        for b in range(start, size, 4):
            for first in range(b // _LANES * _LANES, size, _PANEL):
                last = min(first + _PANEL, size)
                _four_rows(t, w, t, b, first, last, start, panel)
                for r in range(4):
                    h = panel[r * _PANEL : (r + 1) * _PANEL]
                    _tetra_row(t[a], t[b + r], w, z[a], h, a, b + r, first, last, out[b + r], rows)
        for b in range(a + 1, size):
            out[a, b] += rows[b]
    for a in range(size):
        out[a, a] = 0
        for c in range(a):
            out[a, c] = out[c, a]
    _tetra_diagonal(t, z, out)


@njit(cache=True, nogil=True, forceinline=True, fastmath={"contract", "reassoc"})
def _tetra_row(
    ta: Doubles,
    tb: Doubles,
    w: Doubles,
    za: float,
    h: Doubles,
    a: int,
    b: int,
    first: int,
    last: int,
    out: Doubles,
    rows: Doubles,
) -> None:
    """What a row b of H adds, of the columns from first to last and after b."""
    if b <= a:
        return
    factor, own, total = 2 * za * ta[b], w[b], 0.0
    for d in range(max(first, b + 1), last):
        value = h[d - first]
        out[d] += factor * ta[d] * value
        value *= tb[d]
        rows[d] += own * value
        total += w[d] * value
    rows[b] += total


@njit(cache=True, nogil=True, forceinline=True, fastmath={"contract", "reassoc"})
def _tetra_diagonal(t: Doubles, z: Doubles, out: Doubles) -> None:
    size = len(z)
    w = np.empty(size)
    for a in range(size):
        for c in range(size):
            w[c] = z[c] * t[a, c] * t[a, c]
        total = 0.0
        for c in range(size):
            part, row = 0.0, t[c]
            for d in range(size):
                part += row[d] * w[d]
            total += w[c] * part
        out[a, a] = total


@njit(cache=True, nogil=True, forceinline=True, fastmath={"contract"})
def _four_rows(
    a: Doubles,
    w: Doubles,
    b: Doubles,
    i: int,
    first: int,
    last: int,
    start: int,
    panel: Doubles,
) -> None:
    """Some columns of rows i to i + 3 of the product of a, w and b, where w begins at start.

    Four rows of b are added to four rows of the panel at a time: loads and stores of the sums,
    which are as many as products without that, become a quarter.
    """
    a0, a1, a2, a3 = a[i], a[i + 1], a[i + 2], a[i + 3]
    for r in range(4):
        panel[r * _PANEL : r * _PANEL + last - first] = 0
    for k in range(start, len(w), 4):
        x0, x1, x2, x3 = w[k], w[k + 1], w[k + 2], w[k + 3]
        a00, a01, a02, a03 = a0[k] * x0, a0[k + 1] * x1, a0[k + 2] * x2, a0[k + 3] * x3
        a10, a11, a12, a13 = a1[k] * x0, a1[k + 1] * x1, a1[k + 2] * x2, a1[k + 3] * x3
        a20, a21, a22, a23 = a2[k] * x0, a2[k + 1] * x1, a2[k + 2] * x2, a2[k + 3] * x3
        a30, a31, a32, a33 = a3[k] * x0, a3[k + 1] * x1, a3[k + 2] * x2, a3[k + 3] * x3
        b0, b1, b2, b3 = b[k, first:], b[k + 1, first:], b[k + 2, first:], b[k + 3, first:]
        for j in range(last - first):
            y0, y1, y2, y3 = b0[j], b1[j], b2[j], b3[j]
            panel[j] += a00 * y0 + a01 * y1 + a02 * y2 + a03 * y3
            panel[_PANEL + j] += a10 * y0 + a11 * y1 + a12 * y2 + a13 * y3
            panel[2 * _PANEL + j] += a20 * y0 + a21 * y1 + a22 * y2 + a23 * y3
            panel[3 * _PANEL + j] += a30 * y0 + a31 * y1 + a32 * y2 + a33 * y3
