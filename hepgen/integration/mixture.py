r"""Population Monte Carlo: a mixture of Gaussians or Student's t that follows the integrand.

O. Cappé, R. Douc, A. Guillin, J.-M. Marin and C. P. Robert, "Adaptive importance sampling in
general mixture classes", Stat. Comput. 18 (2008) 447, arXiv:0710.4242; M. Kilbinger et al.,
"Bayesian model comparison in cosmology with Population Monte Carlo", arXiv:0912.1614.

Shapes: B points, D dimensions, K components.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, replace
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.mixture_components import Components
from hepgen.integration.mixture_draw import draw_components
from hepgen.integration.mixture_fit import Settings, fit, temper, thin
from hepgen.integration.mixture_memory import Memory
from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.sizes import sizes_at

__all__ = ["Mixture"]

Array = NDArray[np.float64]

# Points that a fit looks at, at most.
FITTED = 12_000


@final
class Mixture(Sampler):
    r"""A mixture of truncated Gaussians (or Student's t) and a flat part, learnt as it is drawn.

    The first draw is uniform. Each call of `adapt` fits the mixture to all points seen so far,
    weighted by :math:`|f| / \bar q` with the mean density :math:`\bar q` of all draws. Where few
    points carry all of the weight, weights are taken to a power below one first, so that the
    mixture closes in step by step. The number of components is found from above, see
    `hepgen.integration.mixture_fit`.

    Masses of the components inside the cube are known to about 1e-5 (relative), which is a bias of
    that size in an integral.

    Args:
        dimension: D.
        components: K, at most.
        degrees: degrees of freedom of Student's t; 0 for Gaussians.
        flat: smallest share of points drawn uniformly; :math:`f / q \le f / \mathrm{flat}`.
        points: "sobol" for low-discrepancy sets, of which several independent ones tell the error,
            or "random".
        seed: of the random numbers in `adapt`, which do not touch the integral.

    Raises:
        ValueError: an argument out of range.
    """

    remembers = True

    def __init__(
        self,
        dimension: int,
        components: int = 32,
        degrees: float = 0.0,
        flat: float = 0.02,
        points: Literal["sobol", "random"] = "sobol",
        seed: int = 0,
    ) -> None:
        if dimension < 1 or components < 1:
            raise ValueError(
                f"dimension and components must be 1 or more, got {dimension} and {components}"
            )
        if not 0 < flat < 1:
            raise ValueError(f"flat must lie between 0 and 1, got {flat}")
        if degrees != 0 and not 0.5 <= degrees < np.inf:
            raise ValueError(f"degrees must be 0 (Gaussian) or 0.5 and more, got {degrees}")
        if points not in ("sobol", "random"):
            raise ValueError(f"points must be 'sobol' or 'random', got {points!r}")
        self.dimension = dimension
        self.components = components
        self.degrees = float(degrees)
        self.flat = float(flat)
        self.points = points
        self.seed = seed
        self._settings = Settings(components, self.degrees, self.flat)
        self._mixture = _uniform(dimension, self.degrees)
        self._memory = Memory(dimension)
        self._fitted_size = 0.0
        self._adapted = 0
        self.power = 1.0

    @property
    def mixture(self) -> Components:
        """What was learnt; no components before the first `adapt`."""
        return self._mixture

    def draw(self, calls: int, rng: np.random.Generator) -> Draw:
        """Draw points, a fixed number from each component.

        Args:
            calls: how many at most; of low-discrepancy sets a few per cent fewer are used.
            rng: where all random numbers come from.

        Raises:
            ValueError: fewer calls than two for each component and the flat part.
        """
        return draw_components(self._mixture, calls, rng, sobol=self.points == "sobol")

    def density(self, x: Array) -> Array:
        """Density of the mixture, shape (B, D) to (B,).

        Raises:
            ValueError: points of another dimension.
        """
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise ValueError(f"points must have shape (B, {self.dimension}), got {x.shape}")
        return self._mixture.density(x)

    def adapt(self, draw: Draw, values: Array) -> None:
        """Fit the mixture to all that was seen so far.

        Args:
            draw: points of this sampler or of any other.
            values: |f| at the points, shape (B,).

        Raises:
            ValueError: values of another shape, negative or not finite.
        """
        values = sizes_at(draw, values)
        self._memory.add(draw, values, self._mixture)
        x, weights = self._memory.weighted()
        if not weights.max(initial=0.0) > 0:
            return
        rng = np.random.default_rng((self.seed, self._adapted))
        weights, self.power = temper(weights, 20.0 * (self.dimension + 1))
        size = float(weights.sum())
        rows, kept = thin(weights, FITTED, rng)
        # A search from scratch where there is much more to see than at the last one, unless the
        # mixture is good already.
        totals = values * draw.measure
        good = totals.sum() ** 2 > 0.9 * len(draw) * (totals**2).sum()
        again = self.power < 1 or (size > 2 * self._fitted_size and not good)
        again = again or not len(self._mixture)
        start = None if again else self._mixture
        if again:
            self._fitted_size = size
        settings = self._settings
        if self.power < 1:
            # Tempered weights are nearly flat by themselves; peaks are looked for all the same.
            settings = replace(settings, most_flat=max(0.1, self.flat))
        self._mixture = fit(x[rows], kept, settings, rng, start)
        self._adapted += 1

    def state(self) -> Mapping[str, Any]:
        """Arguments and mixture; points seen so far are not kept."""
        names = ("dimension", "components", "degrees", "flat", "points", "seed")
        learnt = {k: v for k, v in asdict(self._mixture).items() if k != "degrees"}
        return {name: getattr(self, name) for name in names} | learnt

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The sampler that gave a state.

        Raises:
            KeyError: the state is not of this class.
        """
        names = ("dimension", "components", "degrees", "flat", "points", "seed")
        sampler = cls(*(state[name] for name in names))
        learnt = {name: np.array(state[name]) for name in ("shares", "means", "roots", "masses")}
        sampler._mixture = Components(**learnt, degrees=sampler.degrees)
        return sampler


def _uniform(dimension: int, degrees: float) -> Components:
    empty = np.empty(0)
    return Components(
        empty, np.empty((0, dimension)), np.empty((0, dimension, dimension)), empty, degrees
    )
