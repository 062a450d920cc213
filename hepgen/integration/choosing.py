"""Samplers by name, and the default: VEGAS first, something better where that pays."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.domain import Domain
from hepgen.integration.mixture import Mixture
from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.strategy import (
    OPEN_WARM_UP,
    Budget,
    OneSampler,
    Stage,
    Strategy,
    final_calls,
)
from hepgen.integration.uniform import Uniform
from hepgen.integration.vegas import Vegas
from hepgen.metrics import effective_sample_size

__all__ = ["SAMPLERS", "Auto", "strategy_for"]

Array = NDArray[np.float64]

SAMPLERS = ("auto", "flow", "mixture", "uniform", "vegas")


class Auto(Strategy):
    """VEGAS first; then a mixture where VEGAS leaves much to gain; the better one by its errors.

    Args:
        dimension: D.
        seed: of the samplers' own random numbers.
    """

    # Shares of the calls: a round of VEGAS, a round of the mixture.
    ROUND, TRIAL = 0.04, 0.05
    ROUNDS, TRIALS = 5, 5
    # Above this share of effective points, or below this relative variance of a call, VEGAS is good
    # enough.
    GOOD_SHARE, GOOD_VARIANCE = 0.5, 0.05

    def __init__(self, dimension: int, seed: int = 0) -> None:
        self.samplers = {"vegas": Vegas(dimension), "mixture": Mixture(dimension, seed=seed)}
        self.final = "vegas"
        self.rounds = {"vegas": 0, "mixture": 0}
        self.done = 0
        self.decided = False
        self.scores: dict[str, float] = {}

    def next(self, budget: Budget) -> Stage | None:
        """Rounds of VEGAS, trials of the mixture, then the final batches of the better."""
        total = 2.5 * OPEN_WARM_UP if budget.calls is None else budget.calls
        if self.rounds["vegas"] < self.ROUNDS:
            return Stage("vegas", max(int(self.ROUND * total), 2), False)
        if not self.decided:
            return Stage("mixture", max(int(self.TRIAL * total), 100), False)
        calls = final_calls(budget, self.done)
        return None if calls is None else Stage(self.final, calls, True)

    def learn(self, stage: Stage, draw: Draw, sizes: Array, budget: Budget) -> None:
        """Teach, keep the score, decide."""
        name = stage.sampler
        if stage.final:
            self.done += 1
            if name == "vegas":
                self.samplers[name].adapt(draw, sizes)
            return
        self.rounds[name] += 1
        before = self.scores.get(name)
        self.scores[name] = relative_variance(draw, sizes)
        self.samplers[name].adapt(draw, sizes)
        if name == "vegas":
            if self._worth_a_mixture(draw, sizes):
                self.samplers["mixture"].adapt(draw, sizes)
            elif self.rounds["vegas"] == self.ROUNDS:
                self._decide("nothing to gain over VEGAS")
        elif self.rounds[name] == self.TRIALS or (
            before is not None and self.scores[name] > 0.8 * before
        ):
            self._decide("relative variance of a call: ")

    def _worth_a_mixture(self, draw: Draw, sizes: Array) -> bool:
        if self.rounds["vegas"] < self.ROUNDS - 2 or not sizes.any():
            return False
        share = effective_sample_size(sizes * draw.measure) / len(draw)
        return share < self.GOOD_SHARE and self.scores["vegas"] > self.GOOD_VARIANCE

    def _decide(self, why: str) -> None:
        self.decided = True
        self.final = min(self.scores, key=lambda name: self.scores[name])
        shown = ", ".join(f"{name} {score:.3g}" for name, score in self.scores.items())
        self.choice = f"{why}{shown if len(self.scores) > 1 else ''}"

    def state(self) -> Mapping[str, Any]:
        """Everything."""
        return {
            "samplers": {name: sampler.state() for name, sampler in self.samplers.items()},
            "rounds": self.rounds,
            "done": self.done,
            "decided": self.decided,
            "scores": self.scores,
            "final": self.final,
            "choice": self.choice,
        }

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        for name, sampler in self.samplers.items():
            self.samplers[name] = type(sampler).from_state(state["samplers"][name])
        for name in ("rounds", "done", "decided", "scores", "final", "choice"):
            setattr(self, name, state[name])


def relative_variance(draw: Draw, sizes: Array) -> float:
    """Variance of the estimate times its calls, over the integral squared; infinite for zeros."""
    integral, covariance = draw.estimate(sizes[:, None])
    if integral[0] <= 0:
        return float("inf")
    return float(covariance[0, 0] / integral[0] ** 2 * len(draw))


def strategy_for(sampler: str | Sampler | Strategy, domain: Domain, seed: int) -> Strategy:
    """The strategy that a name, or a sampler, stands for.

    Args:
        sampler: one of `SAMPLERS`, a sampler, or a strategy of the user's own.
        domain: of the integrand.
        seed: of the samplers' own random numbers.

    Returns:
        The strategy, as yet without experience.

    Raises:
        ValueError: no such name, or a sampler of another dimension.
    """
    dimension = domain.dimension
    if isinstance(sampler, Strategy):
        return sampler
    if isinstance(sampler, Sampler):
        if sampler.dimension != dimension:
            raise ValueError(
                f"the sampler has dimension {sampler.dimension}, the bounds have {dimension}"
            )
        return OneSampler(type(sampler).__name__, sampler)
    if sampler == "auto":
        return Auto(dimension, seed)
    if sampler == "vegas":
        return OneSampler("vegas", Vegas(dimension))
    if sampler == "mixture":
        return OneSampler("mixture", Mixture(dimension, seed=seed), keep_learning=False)
    if sampler == "uniform":
        return OneSampler("uniform", Uniform(dimension), warm_up=0.0)
    near = get_close_matches(sampler, SAMPLERS, n=3, cutoff=0.0)
    raise ValueError(f"no sampler {sampler!r}; nearest: {', '.join(near)}")
