"""From a function and its bounds to an integral: the loop, its budgets, its state on disk.

Shapes: B points, D dimensions, M values of a vector integrand.
"""

from __future__ import annotations

import json
import math
import time
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.choosing import strategy_for
from hepgen.integration.differential import Differential
from hepgen.integration.domain import Discrete, Domain
from hepgen.integration.evaluator import Evaluator
from hepgen.integration.integral import Batch, Integral, IntegrationWarning
from hepgen.integration.points import Points
from hepgen.integration.progress import Progress, make_progress
from hepgen.integration.sampler import Draw, Sampler
from hepgen.integration.saved import SavedStateError, load_state, save_state
from hepgen.integration.strategy import FEWEST_CALLS, FINAL_BATCHES, Budget, Stage, Strategy

__all__ = ["integrate"]

Array = NDArray[np.float64]
Function = Callable[[Any], Any]

CALLS = 100_000
# By how many a run with limited time is planned until its first batch has shown how long they take.
PROBE = 20_000


def integrate(
    integrand: Function,
    bounds: Domain | Sequence[tuple[float, float] | Sequence[float] | Discrete],
    *,
    calls: int | None = None,
    precision: float | None = None,
    seconds: float | None = None,
    sampler: str | Sampler | Strategy = "auto",
    axes: Sequence[Any] = (),
    observables: Function | None = None,
    seed: int = 0,
    state: str | Path | None = None,
    keep: int = 1_000_000,
    batches: int = FINAL_BATCHES,
    library: str | None = None,
    device: str | None = None,
    executor: Executor | None = None,
    workers: int = 1,
    batch_size: int | None = None,
    non_finite: str = "raise",
    progress: bool | None = None,
) -> Integral:
    """Integrate a function by importance sampling.

    Args:
        integrand: function of points (B, D) to values (B,) or (B, M) or a mapping of names to (B,),
            in numpy, numba or torch; `each` makes one of a function of a single point.
        bounds: (low, high) of each dimension, either of them infinite if need be, a `Discrete`
            dimension, or a `Domain`.
        calls: of the integrand in total, learning included; 100 000 unless precision or seconds are
            given, which then end the run.
        precision: relative error (of all values of a vector) at which to stop; where positive and
            negative values cancel to zero within three errors, relative to the integral of |f|.
        seconds: time after which no further batch begins, once there are two of the final stage.
        sampler: "auto" begins with VEGAS and takes something better where that pays; a name, such
            as "vegas", or a sampler of your own.
        axes: hist axes (or tuples of axes, for distributions of several variables) whose names are
            those of observables, or "x0", "x1", ... for the variables themselves; each gives a
            differential distribution of the (first value of the) integrand with errors.
        observables: function of points (B, D) to a mapping of names to (B,), called at the points
            of the final stage.
        seed: of all random numbers; the same seed gives the same result.
        state: file to write the state of the run to after each batch. A run that finds it goes on
            from there and gives what it would have given without interruption; with more calls or
            a higher precision it adds to what there is.
        keep: points kept with their weights at most, a random part where there are more.
        batches: independent estimates that the final stage is cut into. More of them tell more of
            whether they agree, and lose less by an interruption; fewer gain more from strata and
            low-discrepancy points.
        library: "numpy" or "torch", what the integrand takes; by default found from its type and
            annotations.
        device: where tensors are made, such as "cuda".
        executor: what runs the calls: a ``concurrent.futures`` pool or dask's
            ``client.get_executor()``.
        workers: pieces that the points of a batch are cut into for it.
        batch_size: points handed to the integrand at once.
        non_finite: "raise", or "zero" to count NaN and infinite values as zero.
        progress: whether to show progress; by default on terminals only.

    Returns:
        The integral with error, diagnostics, points and histograms.

    Raises:
        ValueError: bounds reversed, too few calls, an unknown sampler or option.
        BadIntegrand: values of a wrong shape or type, NaN or infinite.
        SavedStateError: the state file is damaged or of another run.
        TypeError: an argument of another kind, such as an integrand that cannot be called.
        KeyError: an axis that no observable has the name of.

    Warns:
        IntegrationWarning: the error should not be trusted, and why.
    """
    domain = bounds if isinstance(bounds, Domain) else Domain(bounds)
    calls = _checked_budget(calls, precision, seconds)
    if batches < 1:
        raise ValueError(f"batches: wanted one at least, got {batches}")
    if calls is None and precision is None and seconds is None:
        calls = CALLS
    evaluator = Evaluator(
        integrand,
        domain,
        observables=observables,
        library=library,
        device=device,
        executor=executor,
        workers=workers,
        batch_size=batch_size,
        non_finite=non_finite,
    )
    strategy = strategy_for(sampler, domain, seed)
    differentials = [Differential(a if isinstance(a, tuple) else (a,)) for a in axes]
    names = [differential.name for differential in differentials]
    if len(set(names)) < len(names):
        raise ValueError(f"axes: wanted each distribution once, got {', '.join(names)}")
    budget = Budget(calls, ends_early=precision is not None, batches=batches)
    run = _Run(evaluator, strategy, differentials, budget, seed, keep)
    settings = {"bounds": domain.to_list(), "scale": list(domain.scale), "seed": seed, "keep": keep}
    settings |= {"sampler": f"{strategy.final} ({type(strategy).__name__})"}
    settings |= {"axes": [list(map(repr, d.axes)) for d in differentials]}
    if state is not None:
        run.read(Path(state), settings)
    shown = make_progress(progress)
    try:
        run.finish(precision, seconds, shown, None if state is None else Path(state), settings)
    finally:
        shown.close()
    result = run.result()
    for doubt in result.warnings:
        warnings.warn(doubt, IntegrationWarning, stacklevel=2)
    return result


class _Run:
    """What an integration is at between two batches."""

    def __init__(
        self,
        evaluator: Evaluator,
        strategy: Strategy,
        differentials: list[Differential],
        budget: Budget,
        seed: int,
        keep: int,
    ) -> None:
        self.evaluator, self.strategy, self.differentials = evaluator, strategy, differentials
        self.budget, self.asked = budget, budget.calls
        self.rng = np.random.default_rng(seed)
        self.points = Points(keep, np.random.default_rng([seed, 0x6B656570]))
        self.batches: list[Batch] = []
        self.scale: Array | None = None
        self.seconds = 0.0
        # Calls a second of the last batch.
        self.rate = 0.0

    def finish(
        self,
        precision: float | None,
        seconds: float | None,
        shown: Progress,
        path: Path | None,
        settings: Mapping[str, Any],
    ) -> None:
        """Batch after batch until a budget is spent or the precision is reached."""
        start, before = time.perf_counter(), self.seconds
        while not self._precise(precision) and not self._late(seconds):
            if seconds is not None:
                self._limit(seconds)
            stage = self.strategy.next(self.budget)
            if stage is None:
                break
            self._batch(stage)
            now = before + time.perf_counter() - start
            self.rate = self.batches[-1].calls / max(now - self.seconds, 1e-9)
            self.seconds = now
            shown.show(stage, self.batches, self.budget)
            if path is not None:
                self.write(path, settings)

    def _batch(self, stage: Stage) -> None:
        draw = self.strategy.samplers[stage.sampler].draw(stage.calls, self.rng)
        if not self.batches and self.differentials:
            # A wrong name shall not come out when all learning is done.
            known = self.evaluator.observable_names(draw.x[:2])
            for differential in self.differentials:
                differential.check(known)
        wanted = stage.final and bool(self.differentials or self.evaluator.observables)
        seconds = self.evaluator.seconds
        found = self.evaluator(draw.x, with_observables=wanted)
        cost = (self.evaluator.seconds - seconds) / max(len(draw), 1)
        integral, covariance, freedom = draw.freedom(found.values)
        batch = Batch(len(draw), integral, covariance, stage.sampler, stage.final, freedom)
        self.batches.append(batch)
        self.budget.spent += len(draw)
        # The first call may compile the integrand, or import what it needs.
        self.budget.seconds_per_call = min(cost, self.budget.seconds_per_call or cost)
        if stage.final:
            self._count(draw, found.x, found.values, found.observables)
        self.strategy.learn(stage, draw, self._sizes(draw, found.values), self.budget)

    def _count(self, draw: Draw, x: Array, values: Array, observables: dict[str, Array]) -> None:
        if self.differentials:
            observables = {f"x{i}": column for i, column in enumerate(x.T)} | observables
            for differential in self.differentials:
                differential.add(draw, values[:, 0], observables)
        weights = values * (draw.measure * len(draw))[:, None]
        self.points.add(x, weights, observables if self.evaluator.observables else {})

    def _sizes(self, draw: Draw, values: Array) -> Array:
        """One absolute value a point to learn from, all components of equal standing."""
        sizes = np.abs(values)
        if sizes.shape[1] == 1:
            return sizes[:, 0]
        mean = draw.measure @ sizes
        # Scales settle with the first batch in which a component was seen.
        self.scale = mean if self.scale is None else np.where(self.scale > 0, self.scale, mean)
        return np.asarray((sizes / np.where(self.scale > 0, self.scale, 1)).sum(1))

    def _precise(self, precision: float | None) -> bool:
        """Whether the precision is reached; how many calls it takes otherwise."""
        if precision is None or not self.batches:
            return False
        final = sum(batch.final for batch in self.batches)
        if final:
            result = self.result()
            vector, covariance, calls = result.vector, result.covariance, result.final_calls
            absolute = np.abs(result.point_weights).mean(0)
        else:
            last = self.batches[-1]
            vector, covariance, calls = last.integral, last.covariance, last.calls
            absolute = np.abs(vector)
        errors = np.sqrt(np.diag(covariance))
        # An integral of zero has no relative error: that of what cancels in it is taken.
        size = np.where(np.abs(vector) < 3 * errors, absolute, np.abs(vector))
        relative = float((errors / np.where(size > 0, size, 1)).max())
        learning = self.budget.spent - calls if final else 0
        self.budget.needed = int(min(calls * (relative / precision) ** 2 + learning, 1e15))
        return final >= self.budget.batches and relative <= precision

    def _late(self, seconds: float | None) -> bool:
        enough = sum(batch.final for batch in self.batches) > 1
        return seconds is not None and enough and self.seconds >= seconds

    def _limit(self, seconds: float) -> None:
        """Calls that the time allows, by how long those of the last batch took."""
        affordable = PROBE
        if self.batches:
            more = self.rate * max(seconds - self.seconds, 0)
            affordable = self.budget.spent + max(int(min(more, 1e15)), FEWEST_CALLS)
        self.budget.calls = affordable if self.asked is None else min(affordable, self.asked)

    def result(self) -> Integral:
        """The integral as it stands."""
        strategy = self.strategy
        x, weights, observables = self.points.arrays()
        return Integral(
            batches=tuple(self.batches),
            domain=self.evaluator.domain,
            sampler=strategy.samplers[strategy.final],
            sampler_name=strategy.final,
            x=x,
            point_weights=weights,
            names=self.evaluator.names,
            scalar=self.evaluator.scalar,
            observables=observables,
            histograms={d.name: d.hist() for d in self.differentials},
            seconds=self.seconds,
            integrand_seconds=self.evaluator.seconds,
            non_finite_points=self.evaluator.non_finite_points,
            choice=strategy.choice,
            evaluator=self.evaluator,
        )

    def write(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Keep everything, whole or not at all."""
        save_state(path, {"settings": settings, "run": self._state()})

    def _state(self) -> dict[str, Any]:
        evaluator = self.evaluator
        return {
            "batches": [vars(batch) for batch in self.batches],
            "rng": self.rng.bit_generator.state,
            "points": self.points.state(),
            "strategy": self.strategy.state(),
            "differentials": [
                {"values": d.values, "variances": d.variances, "calls": d.calls}
                for d in self.differentials
            ],
            "scale": self.scale,
            "seconds": self.seconds,
            "spent": self.budget.spent,
            "seconds_per_call": self.budget.seconds_per_call,
            "rate": self.rate,
            "evaluator": {
                "calls": evaluator.calls,
                "seconds": evaluator.seconds,
                "non_finite_points": evaluator.non_finite_points,
                "names": evaluator.names,
                "scalar": evaluator.scalar,
            },
        }

    def read(self, path: Path, settings: Mapping[str, Any]) -> None:
        """Go on from a file, if there is one.

        Raises:
            SavedStateError: it is damaged or of a run with other settings.
        """
        if not path.exists():
            return
        tree = load_state(path)
        for name, wanted in settings.items():
            if tree["settings"].get(name) != json.loads(json.dumps(wanted)):
                raise SavedStateError(
                    f"{path} is the state of another run: its {name} is "
                    f"{tree['settings'].get(name)}, wanted {wanted}; delete it or name another file"
                )
        state = tree["run"]
        self.batches = [Batch(**batch) for batch in state["batches"]]
        self.rng.bit_generator.state = state["rng"]
        self.points.restore(state["points"])
        self.strategy.restore(state["strategy"])
        for differential, kept in zip(self.differentials, state["differentials"], strict=True):
            for name, value in kept.items():
                setattr(differential, name, value)
        self.scale, self.seconds = state["scale"], state["seconds"]
        self.budget.spent, self.rate = state["spent"], state["rate"]
        self.budget.seconds_per_call = state["seconds_per_call"]
        for name, value in state["evaluator"].items():
            setattr(self.evaluator, name, tuple(value) if isinstance(value, list) else value)


def _checked_budget(
    calls: int | None, precision: float | None, seconds: float | None
) -> int | None:
    """Calls as a whole number; the others are positive."""
    given: dict[str, Any] = {"calls": calls, "precision": precision, "seconds": seconds}
    for name, value in given.items():
        if value is not None and not isinstance(value, (int, float, np.number)):
            raise TypeError(f"{name}: wanted a number, got {value!r}")
    if calls is not None and not float(calls).is_integer():
        raise ValueError(f"calls: wanted a whole number, got {calls}")
    if calls is not None and calls < FEWEST_CALLS:
        raise ValueError(
            f"calls: {calls} are too few to learn from and to tell an error; "
            f"wanted at least {FEWEST_CALLS}"
        )
    for name, value in (("precision", precision), ("seconds", seconds)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ValueError(f"{name}: wanted a positive number, got {value}")
    return None if calls is None else int(calls)
