"""Which sampler draws how many points next: what separates samplers from the loop that calls them.

A strategy first spends calls on teaching, then on the final stage, whose batches make the result.
It never sees anything of a batch before deciding on it, so no choice biases its estimate; only a
run that a precision ends stops where the error happens to be small, after two batches at least.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.sampler import Draw, Sampler

__all__ = ["Budget", "OneSampler", "Stage", "Strategy"]

Array = NDArray[np.float64]

# Batches of the final stage by default: enough for a chi2, and few, as strata and low-discrepancy
# points gain more than in proportion to their number.
FINAL_BATCHES = 2
# Of a run that a precision may end: by how many calls learning is planned, and a first final batch.
OPEN_CALLS, OPEN_BATCH = 250_000, 50_000
# Points of a batch at most: more would fill memory and gain nothing.
LARGEST_BATCH = 1 << 22
# Shares of the calls for rounds of teaching: small first ones, whose points lie badly.
LESSONS = (0.02, 0.03, 0.04, 0.06, 0.10)
# Below this a sampler cannot learn and estimate.
FEWEST_CALLS = 500


@dataclass
class Budget:
    """Calls and what is known of their cost.

    Attributes:
        calls: in total; None where only precision or time ends the run.
        spent: so far.
        seconds_per_call: of the integrand, as measured so far; zero before the first call.
        needed: calls that the wanted precision probably takes in all, learning included; None where
            none is wanted or nothing is known.
        ends_early: whether a wanted precision may end the run before the calls are spent.
        batches: of the final stage.
    """

    calls: int | None
    spent: int = 0
    seconds_per_call: float = 0.0
    needed: int | None = None
    ends_early: bool = False
    batches: int = FINAL_BATCHES

    @property
    def left(self) -> int | None:
        """Calls that may still be spent."""
        return None if self.calls is None else max(self.calls - self.spent, 0)

    @property
    def planned(self) -> int:
        """Calls by which learning is planned: all, or fewer where the run may end early."""
        if self.calls is None:
            return OPEN_CALLS
        return min(self.calls, OPEN_CALLS) if self.ends_early else self.calls

    @property
    def expected(self) -> int:
        """Calls that will probably still be spent."""
        if self.left is not None and not self.ends_early:
            return self.left
        wanted = self.spent if self.needed is None else max(self.needed - self.spent, OPEN_BATCH)
        return wanted if self.left is None else min(wanted, self.left)


@dataclass(frozen=True)
class Stage:
    """One batch to come.

    Attributes:
        sampler: name of the sampler that draws it.
        calls: how many points.
        final: whether it counts for the result.
    """

    sampler: str
    calls: int
    final: bool


class Strategy(ABC):
    """Decides what to do next.

    Attributes:
        samplers: by name.
        final: name of the sampler of the final stage, as far as decided.
        choice: why it was taken, in words.
    """

    samplers: dict[str, Sampler]
    final: str
    choice: str = ""

    def __init__(self) -> None:
        self._lessons: list[tuple[str, Draw, Array]] = []

    def teach(self, name: str, draw: Draw, sizes: Array) -> None:
        """Hand points to a sampler, and keep them if it needs them again after an interruption."""
        if self.samplers[name].remembers:
            self._lessons.append((name, draw, sizes))
        self.samplers[name].adapt(draw, sizes)

    def taught(self) -> dict[str, Any]:
        """What the samplers have learnt, for `learn_again`; of those that remember, the lessons."""
        lessons = [
            {"sampler": name, "x": draw.x, "measure": draw.measure, "sizes": sizes}
            for name, draw, sizes in self._lessons
        ]
        learning = {name for name, _, _ in self._lessons}
        states = {n: s.state() for n, s in self.samplers.items() if n not in learning}
        return {"states": states, "lessons": lessons}

    def learn_again(self, kept: Mapping[str, Any]) -> None:
        """Bring fresh samplers to where `taught` found others."""
        for name, state in kept["states"].items():
            self.samplers[name] = type(self.samplers[name]).from_state(state)
        for lesson in kept["lessons"]:
            self.teach(lesson["sampler"], Draw(lesson["x"], lesson["measure"]), lesson["sizes"])

    def graduate(self) -> None:
        """Forget the lessons: nothing will be learnt from earlier points any more."""
        self._lessons.clear()

    @abstractmethod
    def next(self, budget: Budget) -> Stage | None:
        """The next batch; None when the budget is spent."""

    @abstractmethod
    def learn(self, stage: Stage, draw: Draw, sizes: Array, budget: Budget) -> None:
        """Take in what a batch has shown.

        Args:
            stage: the batch.
            draw: its points.
            sizes: absolute values of the integrand there, shape (B,).
            budget: as it stands after the batch.
        """

    @abstractmethod
    def state(self) -> Mapping[str, Any]:
        """All that decides what comes next."""

    @abstractmethod
    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on where `state` was taken."""


class OneSampler(Strategy):
    """Teaches one sampler with a share of the calls, then uses it.

    Args:
        name: of the sampler.
        sampler: the sampler.
        lessons: share of the calls of each round of teaching; none for a sampler that cannot learn
            or has learnt.
        keep_learning: whether the sampler learns between the batches of the final stage too.
    """

    def __init__(
        self,
        name: str,
        sampler: Sampler,
        *,
        lessons: Sequence[float] = LESSONS,
        keep_learning: bool = True,
    ) -> None:
        super().__init__()
        self.samplers = {name: sampler}
        self.final = name
        self.lessons, self.keep_learning = tuple(lessons), keep_learning
        self.rounds_done = self.done = 0

    def next(self, budget: Budget) -> Stage | None:
        """Rounds of teaching, then the final batches."""
        if self.rounds_done < len(self.lessons):
            part = int(self.lessons[self.rounds_done] * budget.planned)
            return Stage(self.final, min(max(part, 2), LARGEST_BATCH), False)
        calls = final_calls(budget, self.done)
        return None if calls is None else Stage(self.final, calls, True)

    def learn(self, stage: Stage, draw: Draw, sizes: Array, budget: Budget) -> None:
        """Hand it to the sampler."""
        if stage.final:
            self.done += 1
        else:
            self.rounds_done += 1
        if self.lessons and (not stage.final or self.keep_learning):
            self.teach(stage.sampler, draw, sizes)
        if self.rounds_done == len(self.lessons) and not self.keep_learning:
            self.graduate()

    def state(self) -> Mapping[str, Any]:
        """Counters and what the sampler has learnt."""
        return {"rounds_done": self.rounds_done, "done": self.done, "taught": self.taught()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """Go on from there."""
        self.rounds_done, self.done = state["rounds_done"], state["done"]
        self.learn_again(state["taught"])


def final_calls(budget: Budget, done: int) -> int | None:
    """Size of the next batch of the final stage.

    Args:
        budget: what is left.
        done: final batches so far.

    Returns:
        Equal parts of what is left; where a precision may end the run, first batches and then what
        it needs, at most as much as was spent so far; None where nothing worth a batch is left.
    """
    left = budget.left
    size = LARGEST_BATCH
    if left is not None:
        # What nets have left over would make a small batch, whose error is large for its calls.
        if left < 2 or (done >= budget.batches and left < max(FEWEST_CALLS, budget.spent // 10)):
            return None
        part = left // (budget.batches - done % budget.batches)
        size = min(size, part if part >= 2 else left)
    if left is None or budget.ends_early:
        wanted = OPEN_BATCH
        if budget.needed is not None and done >= budget.batches:
            wanted = max(int(1.05 * (budget.needed - budget.spent)), OPEN_BATCH)
        size = min(size, wanted, max(budget.spent, OPEN_BATCH))
    return size
