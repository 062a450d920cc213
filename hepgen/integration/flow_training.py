r"""How a flow learns an integrand: from weighted points, by likelihood, then by guarded variance.

With points i of weights :math:`w_i = |f_i| m_i` the flow first lowers the cross-entropy
:math:`-\sum w_i \log q(x_i)`, the Kullback-Leibler divergence of the integrand from it but for a
constant, on batches drawn in proportion to the weights. Then it may lower
:math:`\sum w_i |f_i| / q(x_i)`, which is the variance. That loss hangs on few points and can ruin a
flow (N. Deutschmann and N. Götz, arXiv:2206.14573, have processes of either kind), so the weights
are kept only where points held out say so. Buffered points as in T. Heimel et al., "MadNIS",
arXiv:2212.06172.

Shapes: B points, D dimensions.
"""

from __future__ import annotations

import copy
import functools
import math
import time
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from hepgen.flows import Flow, NeuralSplineFlow
from hepgen.integration.mixture_fit import temper

__all__ = ["Lesson", "Scores", "predicted_seconds", "teach"]

Array = NDArray[np.float64]
Indices = NDArray[np.int64]

# Points held out that a look at the scores takes, at most.
JUDGED = 8192


@dataclass(frozen=True)
class Lesson:
    """How to train.

    Attributes:
        steps: of likelihood.
        variance_steps: of variance, afterwards.
        batch: points a step.
        rate: largest learning rate; it falls to zero as a cosine.
        least: effective number of points that weights are tempered to have at least.
    """

    steps: int = 300
    variance_steps: int = 0
    batch: int = 1024
    rate: float = 3e-3
    least: float = 1000.0


@dataclass(frozen=True)
class Scores:
    r"""Of a flow on points held out.

    Attributes:
        entropy: mean of minus log density under the (tempered) weights.
        variance: :math:`\sum m f^2 / q / (\sum m f)^2`: one for a perfect flow, and one over the
            share of effective points of a draw.
    """

    entropy: float
    variance: float


def teach(
    flow: Flow, x: Array, weights: Array, sizes: Array, lesson: Lesson, rng: np.random.Generator
) -> Scores:
    """Train a flow in place.

    Args:
        flow: of float32 weights, on the unit cube.
        x: points, shape (B, D).
        weights: how much of the integral each carries, |f| times its measure, shape (B,).
        sizes: |f|, shape (B,), in the same unit.
        lesson: how.
        rng: draws batches, and which fifth of the points is held out.

    Returns:
        Scores on the points held out; weights of the flow are the best seen.
    """
    device = next(flow.parameters()).device
    held = rng.random(len(x)) < 0.2
    tempered, _ = temper(weights, min(lesson.least, 0.2 * np.count_nonzero(weights)))
    points = torch.from_numpy(x).to(device, torch.float32).clamp(1e-7, 1 - 1e-7)
    judged = np.flatnonzero(held)[:JUDGED]
    at = torch.from_numpy(judged).to(device)
    scaled = sizes[judged] / weights.sum()
    judge = Judge(points[at], weights[judged], tempered[judged], scaled)
    rows = np.flatnonzero(~held & (tempered > 0))
    share = np.cumsum(tempered[rows])
    course = Course(flow, points, lesson, rng)
    best, found = judge(flow), copy.deepcopy(flow.state_dict())
    # Few effective points are learnt by heart sooner or later: the best of a row of looks is kept.
    for steps in course.parts(lesson.steps):
        course.likelihood(rows, share, steps)
        scores = judge(flow)
        if scores.entropy < best.entropy:
            best, found = scores, copy.deepcopy(flow.state_dict())
    flow.load_state_dict(found)
    if lesson.variance_steps:
        course = Course(flow, points, replace(lesson, rate=0.1 * lesson.rate), rng)
        kept = np.flatnonzero(~held & (weights > 0))
        carried = np.cumsum(weights[kept])
        logs = torch.from_numpy(np.log(np.maximum(sizes, 1e-300))).to(device, torch.float32)
        for steps in course.parts(lesson.variance_steps):
            course.variance(kept, carried, steps, logs)
            scores = judge(flow)
            if scores.variance < best.variance:
                best, found = scores, copy.deepcopy(flow.state_dict())
        flow.load_state_dict(found)
    return best


class Judge:
    """Scores on points held out.

    Args:
        x: points, shape (B, D).
        weights: what each carries of the integral, shape (B,).
        tempered: the same to a power, shape (B,).
        sizes: |f| over the integral, shape (B,).
    """

    def __init__(self, x: Tensor, weights: Array, tempered: Array, sizes: Array) -> None:
        self.x, self.weights, self.tempered, self.sizes = x, weights, tempered, sizes

    @torch.no_grad()
    def __call__(self, flow: Flow) -> Scores:
        """The scores; infinite where there is nothing to judge on."""
        if not self.tempered.sum() > 0:
            return Scores(math.inf, math.inf)
        parts = [flow.log_prob(part) for part in torch.split(self.x, JUDGED)]
        logs = torch.cat(parts).double().cpu().numpy()
        logs = np.maximum(logs, -300.0)
        entropy = -float(self.tempered @ logs) / float(self.tempered.sum())
        mean = self.weights @ (self.sizes * np.exp(-logs)) / max(self.weights.sum(), 1e-300)
        variance = float(mean)
        return Scores(entropy, variance)


class Course:
    """Gradient descent with a learning rate that falls to zero as a cosine.

    Args:
        flow: changed in place.
        x: points, shape (B, D).
        lesson: how.
        rng: draws batches.
    """

    LOOKS = 8

    def __init__(self, flow: Flow, x: Tensor, lesson: Lesson, rng: np.random.Generator) -> None:
        self.flow, self.x, self.lesson, self.rng = flow, x, lesson, rng
        self.optimizer = torch.optim.Adam(flow.parameters(), lesson.rate)
        self.done, self.total = 0, 1

    def parts(self, steps: int) -> list[int]:
        """Steps between one look at the scores and the next."""
        self.total = steps
        ends = [steps * (look + 1) // self.LOOKS for look in range(self.LOOKS)]
        return [end - start for start, end in zip([0, *ends[:-1]], ends, strict=True)]

    def likelihood(self, rows: Indices, share: Array, steps: int) -> None:
        """Lower the cross-entropy of points drawn in proportion to the steps of ``share``."""
        for _ in range(steps):
            self._step(-self.flow.log_prob(self.x[self._pick(rows, share)]).mean())

    def variance(self, rows: Indices, share: Array, steps: int, log_sizes: Tensor) -> None:
        """Lower the logarithm of the mean of f / q, which is the variance but for a constant."""
        for _ in range(steps):
            picked = self._pick(rows, share)
            log_density = self.flow.log_prob(self.x[picked])
            self._step(torch.logsumexp(log_sizes[picked] - log_density, 0))

    def _pick(self, rows: Indices, share: Array) -> Tensor:
        chosen = np.searchsorted(share, self.rng.random(self.lesson.batch) * share[-1])
        return torch.from_numpy(rows[np.minimum(chosen, len(rows) - 1)]).to(self.x.device)

    def _step(self, loss: Tensor) -> None:
        for group in self.optimizer.param_groups:
            falling = 1 + math.cos(math.pi * min(self.done / self.total, 1))
            group["lr"] = self.lesson.rate * 0.5 * falling
        self.done += 1
        self.optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        norm = torch.nn.utils.clip_grad_norm_(self.flow.parameters(), 10.0)
        # A batch whose gradient overflows teaches nothing.
        if torch.isfinite(norm):
            self.optimizer.step()


@functools.cache
def _seconds_a_step(dimension: int, hidden: int, num_bins: int, batch: int, device: str) -> float:
    flow = NeuralSplineFlow(dimension, hidden=hidden, num_bins=num_bins).to(device)
    rng = np.random.default_rng(0)
    x = torch.from_numpy(rng.random((batch, dimension))).to(device, torch.float32)
    course = Course(flow, x, Lesson(batch=batch), rng)
    rows, share = np.arange(batch), np.cumsum(np.ones(batch))
    seconds = []
    for _ in range(4):
        start = time.perf_counter()
        course.likelihood(rows, share, 1)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def predicted_seconds(
    dimension: int,
    training_calls: int,
    *,
    hidden: int = 32,
    num_bins: int = 8,
    steps: int = 1200,
    batch: int = 1024,
    device: str = "cpu",
) -> float:
    """Wall time that a `FlowSampler` needs to learn, from a few steps made here and now.

    The first call for an architecture takes about a tenth of a second, later ones nothing.

    Args:
        dimension: D.
        training_calls: points that it learns from, in four rounds.
        hidden: width of the networks.
        num_bins: of the splines.
        steps: of training in all.
        batch: points a step.
        device: where.

    Returns:
        Seconds, at the load that the machine has now.

    Raises:
        ValueError: a negative number of calls.
    """
    if training_calls < 0:
        raise ValueError(f"training_calls must not be negative, got {training_calls}")
    step = _seconds_a_step(dimension, hidden, num_bins, batch, device)
    # A forward pass is a third of a step. A round looks at the points held out ten times or so.
    looks = 4 * 10 * min(0.2 * training_calls, JUDGED) / batch / 3
    return step * (steps + looks)
