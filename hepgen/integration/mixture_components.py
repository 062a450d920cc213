r"""Truncated Gaussian or Student components in the unit cube, with a flat part.

.. math:: q(x) = a_0 + \sum_k a_k \, p_k(x), \qquad
   p_k(x) = \frac{N(x; \mu_k, L_k L_k^T)}{M_k} \text{ in the cube},
   \quad a_0 + \sum_k a_k = 1

with the mass :math:`M_k` of a component inside the cube, see `hepgen.integration.box_mass`.

Shapes: B points, D dimensions, K components.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.mixture_kernels import mixture_density

__all__ = ["Components"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Components:
    """A mixture, its parameters.

    Attributes:
        shares: of the components, a_k, shape (K,); the flat part has what is left.
        means: shape (K, D).
        roots: lower Cholesky roots of covariances (of scale matrices), shape (K, D, D).
        masses: of the components inside the cube before truncation, shape (K,).
        degrees: degrees of freedom of Student's t; 0 for Gaussians.
    """

    shares: Array
    means: Array
    roots: Array
    masses: Array
    degrees: float = 0.0

    def __len__(self) -> int:
        return len(self.shares)

    @property
    def flat(self) -> float:
        """Share of the flat part, a_0."""
        return max(1.0 - float(self.shares.sum()), 0.0)

    @property
    def whiteners(self) -> Array:
        """Inverses of the roots, shape (K, D, D)."""
        return np.ascontiguousarray(np.linalg.inv(self.roots)) if len(self) else self.roots

    @property
    def heights(self) -> Array:
        """Logarithms of the densities at the means, without shares, inside the cube, shape (K,)."""
        dimension, nu = self.means.shape[1], self.degrees
        spread = np.log(np.diagonal(self.roots, axis1=1, axis2=2)).sum(1)
        if nu == 0:
            peak = -0.5 * dimension * math.log(2 * math.pi)
        else:
            peak = math.lgamma((nu + dimension) / 2) - math.lgamma(nu / 2)
            peak -= 0.5 * dimension * math.log(nu * math.pi)
        heights: Array = peak - spread - np.log(self.masses)
        return heights

    def density(self, x: Array, shares: Array | None = None) -> Array:
        """Densities, shape (B, D) to (B,).

        Args:
            x: points in the unit cube.
            shares: of components and, last, of the flat part, in place of those learnt, (K + 1,).
        """
        if shares is None:
            shares = np.append(self.shares, self.flat)
        with np.errstate(divide="ignore"):
            constants = np.log(shares[:-1]) + self.heights
        return mixture_density(
            np.ascontiguousarray(x), shares[-1], constants, self.means, self.whiteners, self.degrees
        )

    def spread(self, k: int, latent: Array, scale: Array | None = None) -> tuple[Array, Array]:
        """Points of a component before truncation.

        Args:
            k: which component.
            latent: standard normal numbers, shape (B, D).
            scale: chi-squared numbers over the degrees of freedom, shape (B,); for Student's.

        Returns:
            Those that fall inside the cube, shape (inside, D), and which these are, bool (B,).
        """
        offset = latent @ self.roots[k].T
        if scale is not None:
            offset /= np.sqrt(scale)[:, None]
        x = self.means[k] + offset
        inside = ((x > 0) & (x < 1)).all(1)
        return x[inside], inside
