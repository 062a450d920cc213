r"""VEGAS: a map of each axis, and strata or low-discrepancy points, learnt from the integrand.

G. P. Lepage, J. Comput. Phys. 27 (1978) 192, and "Adaptive multidimensional integration: VEGAS
enhanced", arXiv:2009.05112 (VEGAS+), from which this departs in three ways: the map has continuous
slopes; strata are boxes of a tree instead of equal hypercubes; and where they have shown to do
better, scrambled Sobol nets take the place of strata.

Shapes: B points, D dimensions, K bins.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, Literal, Self, final

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.low_discrepancy import replicates, scrambled_sobol
from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.sizes import sizes_at
from hepgen.integration.strata import Strata
from hepgen.integration.strategy import LESSONS
from hepgen.integration.vegas_map import VegasMap

__all__ = ["Vegas"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

Points = Literal["auto", "strata", "sobol"]
POINTS = ("auto", "strata", "sobol")
COUNTERS = ("chosen", "adapted", "calls", "unclear", "learnt", "new")

# Points, and coordinates of points, that are remembered for the strata at most.
REMEMBERED, COORDINATES = 100_000, 1_000_000
# A map is learnt from n points with n^POWER bins, and on few axes n^(ONE_AXIS / D) times that.
POWER, ONE_AXIS = 0.36, 0.14
# Shares of the calls to learn from, draw by draw: on few axes a map settles sooner.
FEW_AXES, LEARNING_FEW = 3, (0.03, 0.07, 0.15)
# The ratio of variances of both schemes at which one trial is enough, the relative error above
# which a trial tells nothing, and the calls below which none is spent on trying.
CLEAR, UNRESOLVED, FEWEST = 10.0, 0.1, 256
# Map and strata are learnt anew once new points are this share of those learnt from.
NEW_SHARE = 0.5


@final
class Vegas(Sampler):
    r"""Importance sampling by a product of one-dimensional maps, stratified in its own space.

    Each axis has a density, :math:`x = x_d(y_d)`. In the y cube points are drawn in strata, small
    where :math:`f\,dx/dy` varies, or as scrambled Sobol nets. The first are better where the
    integrand has edges or is no product (peaks off the axes), the second where it is smooth. Left
    to choose, the sampler draws half of its points one way and half the other from its second draw
    to its third (fourth in more than three dimensions), and stays with what had the smaller
    variance (with strata where neither had an error below 10 %).

    Every `adapt` changes what comes next only, so each draw is unbiased. Leave `adapt` out, and the
    sampler stays as it is. Calls are best spent in a few growing draws to learn from, see
    `learning`, and one large last one.

    Args:
        dimension: D.
        num_bins: bins of each axis at most; fewer where calls are few.
        alpha: how fast the map follows the integrand, 0 not at all.
        beta: how strongly points gather where the integrand varies: in proportion to
            :math:`V \sigma^\beta`, 0 not at all.
        points: "strata", "sobol", or "auto" to try both.

    Raises:
        ValueError: an argument out of range.
    """

    def __init__(
        self,
        dimension: int,
        num_bins: int = 1000,
        alpha: float = 1.0,
        beta: float = 1.0,
        points: Points = "auto",
    ) -> None:
        if dimension < 1 or num_bins < 2:
            raise ValueError(
                f"wanted dimension >= 1 and num_bins >= 2, got {dimension} and {num_bins}"
            )
        if not (0 <= alpha < np.inf and 0 <= beta < np.inf):
            raise ValueError(f"alpha and beta must not be negative, got {alpha} and {beta}")
        if points not in POINTS:
            near = get_close_matches(str(points), POINTS, n=1, cutoff=0.0)
            raise ValueError(f"no points {points!r}; nearest: {near[0]!r}")
        self.dimension = dimension
        self.num_bins = num_bins
        self.alpha = float(alpha)
        self.beta = float(beta)
        self.points = points
        self.map = VegasMap.identity(dimension)
        # Logarithms of the variance of strata over that of Sobol nets.
        self._trials: list[float] = []
        self._chosen: str = points
        self._adapted = self._calls = self._unclear = 0
        # Points that the strata have learnt from, and those that came since.
        self._learnt = self._new = 0
        self._most_trials = 2 if dimension <= FEW_AXES else 3
        # Points, the volume that each stands for, and |f| there, of each draw.
        self._rounds: list[tuple[Array, Array, Array]] = []
        # None while the last rounds have not been looked at.
        self._strata: Strata | None = Strata.whole()
        self._last: tuple[Draw, Array, Array, int] | None = None

    @property
    def learning(self) -> tuple[float, ...]:
        """Shares of all calls to learn from, one a draw; what is left is best drawn at once."""
        return LEARNING_FEW if self.dimension <= FEW_AXES else LESSONS

    @property
    def chosen(self) -> str:
        """What points are drawn: "strata", "sobol", or "auto" as long as both are tried."""
        return self._chosen

    @property
    def strata(self) -> Strata:
        """The strata as learnt so far."""
        if self._strata is None:
            self._strata = Strata.grown(self.map.points(self._rounds), self.beta)
        return self._strata

    def draw(self, calls: int, rng: np.random.Generator) -> Draw:
        """Draw points.

        Args:
            calls: how many; Sobol nets use up to 6 % fewer.
            rng: where all random numbers come from.

        Raises:
            ValueError: fewer than two calls.
        """
        if calls < 2:
            raise ValueError(f"a draw of vegas needs 2 calls or more, got {calls}")
        self._calls = calls
        placed, number, size = self._shares(calls)
        count = placed + number * size
        y = np.empty((count, self.dimension))
        measure, unit, stratum = np.empty(count), None, None
        if placed:
            rng.random(out=y[:placed])
            measure[:placed], stratum = self.strata.place(y[:placed])
        if number:
            y[placed:] = scrambled_sobol(self.dimension, number, size, rng)
            measure[placed:] = 1 / (number * size)
            unit = np.repeat(np.arange(placed, placed + number), size)
            if stratum is not None:
                # Either part is an estimate of its own; they count for a half each.
                measure *= 0.5
                unit = np.concatenate([np.arange(placed), unit])
                stratum = np.append(stratum, np.full(number, stratum[-1] + 1))
        x, jacobian = self.map.forward(y)
        measure *= jacobian
        drawn = Draw(x, measure, unit, stratum)
        self._last = drawn, y, jacobian, placed if number else 0
        return drawn

    def density(self, x: Array) -> Array:
        """Density of a point picked at random from the last draw, or from the next before any.

        Args:
            x: points, shape (B, D).

        Returns:
            Densities, shape (B,).

        Raises:
            ValueError: points of another dimension.
        """
        y, jacobian = self._invert(x)
        calls = max(self._calls, 2)
        placed, number, size = self._shares(calls)
        density = np.full(len(y), number * size / (placed + number * size))
        if placed:
            density += self.strata.density(y, placed) * (1 - density)
        return density / jacobian

    def adapt(self, draw: Draw, values: Array) -> None:
        """Refine map and strata, and judge which points are better.

        Args:
            draw: the points; quickest if they are of this sampler's own last draw.
            values: |f| at the points, shape (B,).

        Raises:
            ValueError: values of another shape, negative or not finite.
        """
        values = sizes_at(draw, values)
        largest = values.max(initial=0.0)
        if self._last is not None and self._last[0] is draw:
            _, y, jacobian, placed = self._last
            if placed:
                # Scaled, as squares of the smallest and largest numbers are none.
                self._compare(draw, values / largest if largest > 0 else values, placed)
        else:
            y, jacobian = self._invert(draw.x)
            self._unclear += self._chosen == "auto"
        if self._chosen == "auto" and self._unclear >= self._most_trials:
            self._chosen = "strata"
        self._last = None
        self._adapted += 1
        if self._chosen != "sobol" and not self._remember(draw, values):
            return
        if largest > 0 and self.alpha > 0:
            bins = int(len(draw) ** (POWER + ONE_AXIS / self.dimension))
            bins = max(min(self.num_bins, bins), 2)
            self.map = self.map.refined(y, jacobian, draw.measure, values, self.alpha, bins)

    def state(self) -> Mapping[str, Any]:
        """Arguments, map, strata, and the points remembered."""
        strata = None if self._strata is None else self._strata.state()
        return {
            "dimension": self.dimension,
            "num_bins": self.num_bins,
            "alpha": self.alpha,
            "beta": self.beta,
            "points": self.points,
            "map": self.map.state(),
            "strata": strata,
            "trials": list(self._trials),
            **{name: getattr(self, f"_{name}") for name in COUNTERS},
            "rounds": [list(arrays) for arrays in self._rounds],
        }

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Self:
        """The sampler that gave a state.

        Raises:
            KeyError: the state is not of this class.
        """
        arguments = ("dimension", "num_bins", "alpha", "beta", "points")
        sampler = cls(*(state[name] for name in arguments))
        sampler.map = VegasMap.from_state(state["map"])
        strata = state["strata"]
        sampler._strata = None if strata is None else Strata.from_state(strata)
        sampler._trials = list(state["trials"])
        for name in COUNTERS:
            setattr(sampler, f"_{name}", state[name])
        sampler._rounds = [(x, volume, values) for x, volume, values in state["rounds"]]
        return sampler

    def _shares(self, calls: int) -> tuple[int, int, int]:
        """Points in strata, number of nets and their size."""
        if self._chosen == "strata" or (self._chosen == "auto" and calls < FEWEST):
            return calls, 0, 0
        # Strata have nothing to offer before the first points are seen.
        placed = calls // 2 if self._chosen == "auto" and self._adapted else 0
        return placed, *replicates(calls - placed)

    def _compare(self, draw: Draw, values: Array, placed: int) -> None:
        """Keep the variances of both parts of a draw, and choose once they are clear."""
        assert draw.unit is not None
        assert draw.stratum is not None
        first = Draw(draw.x[:placed], draw.measure[:placed], stratum=draw.stratum[:placed])
        second = Draw(draw.x[placed:], draw.measure[placed:], draw.unit[placed:] - placed)
        scores = []
        for part, found in ((first, values[:placed]), (second, values[placed:])):
            integral, covariance = part.estimate(found[:, None])
            if not 0 < covariance[0, 0] < (UNRESOLVED * integral[0]) ** 2:
                self._unclear += 1
                return
            scores.append(float(np.log(covariance[0, 0] * len(part))))
        self._trials.append(scores[0] - scores[1])
        # Later trials are closer to what is to come.
        ratio = np.average(self._trials, weights=np.arange(1, len(self._trials) + 1))
        if len(self._trials) + self._unclear >= self._most_trials or abs(ratio) > np.log(CLEAR):
            self._chosen = "strata" if ratio < 0 else "sobol"
            if self._chosen == "sobol":
                self._rounds, self._strata = [], Strata.whole()

    def _remembered(self) -> int:
        return sum(len(x) for x, _, _ in self._rounds)

    def _remember(self, draw: Draw, values: Array) -> bool:
        """Keep points for the strata, forget the earliest of too many; whether to learn now."""
        most = max(min(REMEMBERED, COORDINATES // self.dimension), 1)
        step = -(-len(draw) // most)
        volume = draw.measure[::step] * (step * len(draw))
        self._rounds.append((np.ascontiguousarray(draw.x[::step]), volume, values[::step].copy()))
        self._new += len(volume)
        while len(self._rounds) > 1 and self._remembered() > most:
            del self._rounds[0]
        if self._chosen == "strata" and self._new < NEW_SHARE * self._learnt:
            return False
        self._learnt, self._new = self._remembered(), 0
        # Looked at when next drawn from.
        self._strata = None
        return True

    def _invert(self, x: Array) -> tuple[Array, Array]:
        if x.ndim != 2 or x.shape[1] != self.dimension:
            raise ValueError(f"points must have shape (B, {self.dimension}), got {x.shape}")
        return self.map.inverse(x)
