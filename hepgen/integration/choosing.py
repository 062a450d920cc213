"""Samplers by name, and the default: VEGAS first, something better where that pays."""

from __future__ import annotations

import math
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.domain import Domain
from hepgen.integration.mixture import Mixture
from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.strategy import (
    LARGEST_BATCH,
    LESSONS,
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

# Training a flow takes longer than this on any machine.
LEAST_FLOW_SECONDS = 3.0
# Points that tell something of a sampler.
LEAST_ROUND = 100

# Weights at the points of VEGAS this many times those at its own: the sampler has missed something.
MISSED = 3.0

SAMPLERS = ("auto", "flow", "mixture", "uniform", "vegas")


class Auto(Strategy):
    r"""VEGAS first; then a mixture, then a flow, each where it pays; the best by its errors.

    VEGAS leaves a share e of effective points. What learns correlations is expected to leave
    :math:`\sqrt e` (the rule of thumb that a dozen integrands gave), so that as many calls do as
    well as :math:`1 + 1/\sqrt e` times as many with VEGAS. It is tried if these would take more
    time than learning does; a mixture also where its second of learning is all that it costs and
    there are dimensions enough for correlations. A mixture begins with the first, uniform points,
    as those of a poor VEGAS may all lie at one of several peaks.

    Each is judged by draws that it had not learnt from, and by the last points of VEGAS: what
    missed a peak looks good to itself, and has huge weights where VEGAS saw the peak. As the time
    of a call is measured, a function for which a flow hardly pays may be given one in one run and
    none in the next: name the sampler where that matters.

    Args:
        dimension: D.
        seed: of the samplers' own random numbers.
    """

    # Shares of the calls for a trial, and trials at most.
    TRIAL, TRIALS = {"mixture": 0.05, "flow": 0.08}, {"mixture": 5, "flow": 4}
    # Above this share of effective points, or below this relative variance of a call, there is
    # nothing to gain.
    GOOD_SHARE, GOOD_VARIANCE = 0.5, 0.05
    # Seconds that a mixture takes to learn; and that nobody minds, from these dimensions on.
    MIXTURE_SECONDS, PATIENCE, PATIENT_DIMENSIONS = 1.0, 1.0, 4
    MOST_MIXTURE_DIMENSIONS = 32

    def __init__(self, dimension: int, seed: int = 0) -> None:
        super().__init__()
        self.dimension, self.seed = dimension, seed
        self.samplers = {"vegas": Vegas(dimension)}
        self.final = self.trial = "vegas"
        self.rounds = {"vegas": 0}
        self.done = 0
        self.decided = False
        self.scores: dict[str, float] = {}
        self.shares: dict[str, float] = {}
        # Points, measures and sizes of the first and the last draw of VEGAS, until decided.
        self.seen: dict[str, list[Array]] = {}
        self.warned = False

    def next(self, budget: Budget) -> Stage | None:
        """Rounds of VEGAS, trials of others, then the final batches of the best."""
        if not self.decided:
            number = self.rounds[self.trial]
            share = LESSONS[number] if self.trial == "vegas" else self.TRIAL[self.trial]
            size = int(share * budget.planned)
            # With few calls rounds are longer, but leave half of them for the final stage.
            size = max(size, min(LEAST_ROUND, budget.planned // (2 * len(LESSONS))))
            return Stage(self.trial, min(size, LARGEST_BATCH), False)
        calls = final_calls(budget, self.done)
        return None if calls is None else Stage(self.final, calls, True)

    def learn(self, stage: Stage, draw: Draw, sizes: Array, budget: Budget) -> None:
        """Judge, teach, decide."""
        name = stage.sampler
        if stage.final:
            self.done += 1
            if name == "vegas":
                self.teach(name, draw, sizes)
            return
        self.rounds[name] += 1
        before = self.scores.get(name)
        self.scores[name] = relative_variance(draw, sizes)
        self.shares[name] = effective_sample_size(sizes * draw.measure) / len(draw)
        missed = 1.0 if name == "vegas" else self._missed(name, draw, sizes)
        self.teach(name, draw, sizes)
        if name == "vegas":
            self.seen["last"] = [draw.x, draw.measure, sizes]
            self.seen.setdefault("first", self.seen["last"])
        elif missed > MISSED:
            self.scores[name] *= missed
            if not self.warned and self.rounds[name] < self.TRIALS[name]:
                self.warned = True
                self._teach_seen(name, "last")
                return
        if self._goes_on(name, before):
            return
        self._next_trial(draw, sizes, budget)

    def _goes_on(self, name: str, before: float | None) -> bool:
        """Whether a sampler learns in a further round."""
        if name == "vegas":
            return self.rounds[name] < len(LESSONS)
        if self.rounds[name] >= self.TRIALS[name]:
            return False
        # A flow trains in all of its rounds; a mixture stops once it no longer improves.
        return name == "flow" or before is None or self.scores[name] < 0.8 * before

    def _next_trial(self, draw: Draw, sizes: Array, budget: Budget) -> None:
        """Begin to try another sampler on what was seen last, or decide."""
        for name, worth in (("mixture", self._worth_a_mixture), ("flow", self._worth_a_flow)):
            enough = self.TRIAL[name] * budget.planned >= LEAST_ROUND
            if name not in self.rounds and enough and sizes.any() and worth(budget):
                self.trial, self.rounds[name] = name, 0
                self._begin(name)
                first = name == "mixture" and self.seen["first"][2].any()
                self._teach_seen(name, "first" if first else "last")
                return
        self.decided, self.seen = True, {}
        self.final = min(self.scores, key=lambda name: self.scores[name])
        shown = ", ".join(f"{name} {score:.3g}" for name, score in self.scores.items())
        gain = "nothing to gain over VEGAS that would pay"
        self.choice = f"relative variance of a call: {shown}" if len(self.scores) > 1 else gain
        self.graduate()

    def _teach_seen(self, name: str, which: str) -> None:
        x, measure, sizes = self.seen[which]
        self.teach(name, Draw(x, measure), sizes)

    def _missed(self, name: str, draw: Draw, sizes: Array) -> float:
        """By how much weights at the last points of VEGAS exceed those at the sampler's own."""
        x, measure, seen = self.seen["last"]
        own, others = sizes * draw.measure, seen * measure
        if not own.any() or not others.any():
            return 1.0
        expected = float(len(draw) * (own**2).sum() / own.sum())
        weights = seen / np.maximum(self.samplers[name].density(x), 1e-300)
        return float(others @ weights / others.sum()) / expected

    def _begin(self, name: str) -> None:
        if name == "mixture":
            self.samplers[name] = Mixture(self.dimension, seed=self.seed)
        else:
            from hepgen.integration.flow_sampler import FlowSampler

            self.samplers[name] = FlowSampler(
                self.dimension, rounds=self.TRIALS[name] + 1, seed=self.seed
            )

    def _saved_seconds(self, budget: Budget) -> float:
        """Time of the calls that a sampler with the square root of the lost points would save."""
        share = max(self.shares.values())
        best = min(self.scores.values())
        if share > self.GOOD_SHARE or best < self.GOOD_VARIANCE or self.dimension < 2:
            return 0.0
        return budget.expected / math.sqrt(max(share, 1e-12)) * budget.seconds_per_call

    def _worth_a_mixture(self, budget: Budget) -> bool:
        saved = self._saved_seconds(budget)
        patience = self.PATIENCE if self.dimension >= self.PATIENT_DIMENSIONS else 0.0
        few = self.dimension <= self.MOST_MIXTURE_DIMENSIONS
        return few and saved > 0 and saved + patience > self.MIXTURE_SECONDS

    def _worth_a_flow(self, budget: Budget) -> bool:
        saved = self._saved_seconds(budget)
        if saved < LEAST_FLOW_SECONDS:
            return False
        from hepgen.integration.flow_training import predicted_seconds

        training = int(budget.planned * self.TRIAL["flow"] * self.TRIALS["flow"])
        return saved > predicted_seconds(self.dimension, training)

    def state(self) -> Mapping[str, Any]:
        """Everything."""
        kept = {name: getattr(self, name) for name in self._KEPT}
        return kept | {"taught": self.taught()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        for name in self._KEPT:
            setattr(self, name, state[name])
        for name in self.rounds:
            if name not in self.samplers:
                self._begin(name)
        self.learn_again(state["taught"])

    _KEPT = (
        *("rounds", "done", "decided", "scores", "shares"),
        *("final", "trial", "choice", "seen", "warned"),
    )


def relative_variance(draw: Draw, sizes: Array) -> float:
    """Variance of the estimate times its calls, over the integral squared; infinite for zeros."""
    largest = float(sizes.max(initial=0.0))
    if not largest > 0:
        return math.inf
    # Squares of very small or large values would be none.
    integral, covariance = draw.estimate(sizes[:, None] / largest)
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
        return OneSampler(
            "mixture", Mixture(dimension, seed=seed), lessons=[0.08] * 5, keep_learning=False
        )
    if sampler == "flow":
        from hepgen.integration.flow_sampler import FlowSampler

        flow = FlowSampler(dimension, seed=seed)
        return OneSampler("flow", flow, lessons=[0.1] * flow.rounds, keep_learning=False)
    if sampler == "uniform":
        return OneSampler("uniform", Uniform(dimension), lessons=())
    near = get_close_matches(str(sampler), SAMPLERS, n=3, cutoff=0.0)
    raise ValueError(f"no sampler {sampler!r}; nearest: {', '.join(near)}")
