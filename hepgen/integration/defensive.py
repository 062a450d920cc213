r"""Defensive mixtures: a fixed share of points from somewhere safe bounds every weight.

T. Hesterberg, "Weighted average importance sampling and defensive mixture distributions",
Technometrics 37 (1995) 185; with the balance heuristic of E. Veach and L. J. Guibas, SIGGRAPH 1995,
page 419.

Shapes: B points, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.joined import join
from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.uniform import Uniform

__all__ = ["Defensive"]

Array = NDArray[np.float64]


@final
class Defensive(Sampler):
    r"""A sampler with a share :math:`\epsilon` of its points from another, uniform by default.

    .. math:: q = (1 - \epsilon) q_1 + \epsilon q_0, \qquad f / q \le f / (\epsilon q_0)

    The split is deterministic and its parts are strata. A point counts as one of q whichever part
    drew it, so that neither part need cover the integrand alone.

    Args:
        sampler: what learns.
        share: epsilon.
        other: what is safe; uniform if not given. It learns too, if it can.

    Raises:
        ValueError: a share that is none, or samplers of different dimension.
    """

    def __init__(self, sampler: Sampler, share: float = 0.1, other: Sampler | None = None) -> None:
        if not 0 < share < 1:
            raise ValueError(f"share must lie between 0 and 1, got {share}")
        other = Uniform(sampler.dimension) if other is None else other
        if other.dimension != sampler.dimension:
            raise ValueError(
                f"samplers of dimension {sampler.dimension} and {other.dimension} cannot be mixed"
            )
        self.dimension = sampler.dimension
        self.sampler, self.other = sampler, other
        self.share = float(share)

    def draw(self, calls: int, rng: np.random.Generator) -> Draw:
        """Draw from both.

        Args:
            calls: how many at most.
            rng: where all random numbers come from.

        Raises:
            ValueError: too few calls for two of each, or for either sampler.
        """
        safe = max(round(self.share * calls), 2)
        if calls - safe < 2:
            raise ValueError(f"a defensive mixture needs 4 calls or more, got {calls}")
        draws = [self.sampler.draw(calls - safe, rng), self.other.draw(safe, rng)]
        points = np.concatenate([draw.x for draw in draws])
        first = len(draws[0]) * self.sampler.density(points)
        second = len(draws[1]) * self.other.density(points)
        shares = first / (first + second), second / (first + second)
        cut = len(draws[0])
        return join(draws, [shares[0][:cut], shares[1][cut:]])

    def density(self, x: Array) -> Array:
        """Density of the mixture, shape (B, D) to (B,).

        Raises:
            ValueError: as the samplers.
        """
        first, second = self.sampler.density(x), self.other.density(x)
        return (1 - self.share) * first + self.share * second

    def adapt(self, draw: Draw, values: Array) -> None:
        """Teach both.

        Raises:
            ValueError: as the samplers.
        """
        self.sampler.adapt(draw, values)
        self.other.adapt(draw, values)

    def state(self) -> Mapping[str, Any]:
        """The share, and the classes and states of both samplers."""
        return {
            "share": self.share,
            "classes": [type(self.sampler).__name__, type(self.other).__name__],
            "states": [self.sampler.state(), self.other.state()],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The sampler that gave a state.

        Raises:
            KeyError: the state is not of this class.
            AttributeError: it holds a sampler that is not one of hepgen.
        """
        import hepgen.integration

        parts: list[Sampler] = [
            getattr(hepgen.integration, name).from_state(part)
            for name, part in zip(state["classes"], state["states"], strict=True)
        ]
        return cls(parts[0], state["share"], parts[1])
