"""What compiled kernels give, as digests: a process that tests/test_kernel_bits.py starts twice."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np

import hepgen
from hepgen.data import energy_flow_polynomials
from hepgen.data.neighbours import nearest
from hepgen.integration import IntegrationWarning, Mixture
from hepgen.integration.mixture_kernels import expect, mixture_density, outside
from hepgen.integration.strata_kernels import grow


def mixtures() -> Iterator[tuple[str, Any]]:
    for seed in range(60):
        rng = np.random.default_rng(seed)
        dimension, number = int(rng.integers(1, 13)), int(rng.integers(1, 9))
        x, weights = rng.random((2000, dimension)), rng.random(2000)
        means = rng.random((number, dimension))
        roots = np.tril(0.1 * rng.normal(size=(number, dimension, dimension)))
        roots += 0.3 * np.eye(dimension)
        whiteners = np.ascontiguousarray(np.tril(np.linalg.inv(roots)))
        mixture = (0.1, rng.normal(size=number), means, whiteners)
        for degrees in (0.0, 3.0):
            yield f"density {seed} {degrees}", [mixture_density(x, *mixture, degrees)]
            yield f"expect {seed} {degrees}", expect(x, weights, *mixture, degrees)
        yield f"outside {seed}", outside(x - 0.5, weights, means, roots)


def strata() -> Iterator[tuple[str, Any]]:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        dimension, number = int(rng.integers(1, 13)), int(rng.integers(200, 5000))
        x = rng.random((number, dimension))
        values = np.exp(-20 * ((x - 0.4) ** 2).sum(1)) * (1 + rng.random(number))
        points = np.column_stack([x, 0.5 + rng.random(number), values]).astype(np.float32)
        axis, child = np.zeros((2, 4 * number), np.int64)
        share = np.zeros(4 * number)
        nodes = grow(points, 20, 1.0, 1e-9, axis, child, share)
        yield f"strata {seed}", [axis[:nodes], child[:nodes], share[:nodes]]


def integrals() -> Iterator[tuple[str, Any]]:
    def ridge(x: np.ndarray) -> np.ndarray:
        return np.exp(-100 * (x[:, 0] - x[:, 1]) ** 2) + x[:, 2]

    for sampler in ("vegas", "mixture", Mixture(3, degrees=3.0)):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", IntegrationWarning)
            found = hepgen.integrate(ridge, [(0, 1)] * 3, calls=8000, seed=2, sampler=sampler)
        yield f"integral {sampler}"[:20], [found.integral, found.error]


def jets() -> Iterator[tuple[str, Any]]:
    for seed in range(8):
        rng = np.random.default_rng(seed)
        counts = rng.integers(0, 90, 20)
        offsets = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        # On a grid that binary numbers do not have: many are almost equally near.
        points = rng.integers(-9, 9, (offsets[-1], 2 + seed)).astype(np.float32) * np.float32(0.1)
        yield f"neighbours {seed}", [nearest(points, offsets, 16)]
        momenta = rng.normal(size=(offsets[-1], 3))
        energy = np.sqrt((momenta**2).sum(1) + 0.01)
        p4 = np.column_stack([energy, momenta])
        yield f"polynomials {seed}", [energy_flow_polynomials(p4, offsets, 5, beta=0.5 + seed / 8)]


def main() -> None:
    for part in (mixtures, strata, integrals, jets):
        for name, arrays in part():
            digest = hashlib.sha256()
            for array in arrays:
                digest.update(np.ascontiguousarray(array).tobytes())
            print(name, digest.hexdigest()[:16])


if __name__ == "__main__":
    main()
