r"""Distillation: a flow that draws fast learns what a slow one knows.

A continuous flow follows an equation for each draw, an autoregressive one maps dimension after
dimension; a coupling flow does with a few networks. The student learns from draws x of the teacher,
by maximum likelihood, which is the smallest Kullback-Leibler divergence from teacher to student. A
teacher also knows its own latent points z and densities. With ``transport`` the student's map is
drawn to the teacher's, the regression of D. Rehman et al., "Efficient regression-based training of
normalizing flows for Boltzmann generators", arXiv:2506.01158; with ``density`` its log density is:

.. math:: L = -\langle \log q(x) \rangle
   + a\, \langle |T_q^{-1}(z) - x|^2 \rangle + b\, \langle (\log q(x) - \log p(x))^2 \rangle .

Shapes: N draws, D dimensions, C context.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor, nn

from hepgen import checkpoint, training
from hepgen.flows.fitting import check_names
from hepgen.flows.flow import Flow
from hepgen.flows.rows import RowBatches, Rows
from hepgen.training import History
from hepgen.training.randomness import seed_of

__all__ = ["Distilled", "Divergence", "Teacher", "distil"]

# Draws at a time.
PORTION = 8192
# Each sampler is timed so often, in turns; the fastest counts.
TIMES = 3


class Teacher(Protocol):
    """Whatever can be learnt from: ``log_prob`` and ``sample`` as of `Flow`."""

    def log_prob(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        """Logarithm of the density, (N,), of points (N, D)."""
        ...

    def sample(self, num_samples: int, context: Tensor | None = None) -> Tensor:
        """Points (num_samples, D), or (N, num_samples, D) with a context (N, C)."""
        ...


class Divergence(NamedTuple):
    """A Kullback-Leibler divergence in nats, and one standard deviation of its estimate."""

    value: float
    error: float

    def __str__(self) -> str:
        return f"{self.value:.4f} +- {self.error:.4f}"


@dataclass(frozen=True)
class Distilled:
    """What came of it, measured with draws that no training saw.

    Attributes:
        before: divergence from teacher to student, the mean of log p/q over draws of the teacher,
            before the training.
        after: the same after it.
        back: divergence from student to teacher after it, over draws of the student; where the
            student is and the teacher is not.
        efficiency: effective share of the student's draws when they are weighted by p/q.
        speed: how many times faster than the teacher the student draws, on this machine.
        history: of the training.
    """

    before: Divergence
    after: Divergence
    back: Divergence
    efficiency: float
    speed: float
    history: History

    def __str__(self) -> str:
        return (
            f"KL(teacher|student) {self.before} -> {self.after}, KL(student|teacher) {self.back}, "
            f"effective share of draws {self.efficiency:.3f}, {self.speed:.3g} times as fast"
        )


def distil(
    teacher: Teacher | Flow,
    student: Flow,
    *,
    samples: int = 100_000,
    context: Tensor | None = None,
    transport: float = 0.0,
    density: float = 0.0,
    held_out: int = 10_000,
    epochs: int = 50,
    batch_size: int = 512,
    lr: float = 1e-3,
    optimizer: Any = "adam",
    weight_decay: float = 0.0,
    schedule: Any = "cosine",
    clip: float | None = 10.0,
    seed: int = 0,
    output: str | Path | None = None,
    progress: bool = True,
    **more: Any,
) -> Distilled:
    """Train a flow on what another one, or any density with draws, knows.

    Args:
        teacher: whatever has ``sample`` and ``log_prob``; a `Flow` if ``transport`` is wanted.
        student: a flow of as many dimensions, such as `NeuralSplineFlow`; it is trained in place
            and left in evaluation mode.
        samples: N, draws to learn from; a tenth of them validate.
        context: what the densities are conditional on, (rows, C); draws go round its rows.
        transport: a, weight of the regression on the teacher's map; it needs equal bases.
        density: b, weight of the regression on the teacher's log density.
        held_out: draws of each for the figures before and after.
        epochs: passes over the draws.
        batch_size: greatest number of draws in a batch.
        lr: peak learning rate.
        optimizer: see `hepgen.fit`.
        weight_decay: see `hepgen.fit`.
        schedule: see `hepgen.fit`.
        clip: largest norm of the gradient.
        seed: of the draws and the training.
        output: folder of the run, which the same call takes up after a kill; its
            ``model.safetensors`` is the student.
        progress: show a bar, or one line an epoch.
        **more: other arguments of `hepgen.fit`, such as ``ema``, ``patience``, ``accelerator``.

    Returns:
        Divergences with errors, effective share, and speed. ``print`` shows them in a line.

    Raises:
        ValueError: numbers that make no sense; other dimensions; a context of one but not of the
            other; ``transport`` without a `Flow` of the same base; draws that are not finite.
        TypeError: the student is no `Flow`, or `hepgen.fit` has no such argument.
        TrainingError: as of `hepgen.fit`.
    """
    check_names(more)
    _check(teacher, student, samples, held_out, transport, density)
    rows = _draw(teacher, student, samples, context, seed_of("draws", seed), transport > 0)
    if rows.x.shape[1] != student.dimension:
        raise ValueError(
            f"the teacher draws {rows.x.shape[1]} dimensions, the student has {student.dimension}"
        )
    test = _draw(teacher, student, held_out, context, seed_of("held out", seed), False)
    before = _forward(student, test)
    number = max(1, samples // 10)
    dtype = student.base.origin.dtype
    shared: dict[str, Any] = {"batch_size": batch_size, "seed": seed, "dtype": dtype}
    some = rows.take(slice(number)).to(student.base.origin.device).to(dtype)
    student.initialize(some.x, some.context)
    history = training.fit(
        _Lesson(student, transport, density),
        RowBatches(rows.take(slice(number, None)), shuffle=True, **shared),
        validation=RowBatches(rows.take(slice(number)), shuffle=False, **shared),
        epochs=epochs,
        batch_size=batch_size,
        lr=lr,
        optimizer=optimizer,
        weight_decay=weight_decay,
        schedule=schedule,
        clip=clip,
        seed=seed,
        output=output,
        progress=progress,
        **more,
    )
    student.eval()
    if output is not None:
        # The trainer has put the lesson there.
        last = {k: v for k, v in history.best.items() if k not in ("seconds", "jets_per_second")}
        checkpoint.save(student, Path(output) / "model.safetensors", training=last)
    back, efficiency = _backward(teacher, student, held_out, context, seed_of("back", seed))
    return Distilled(
        before=before,
        after=_forward(student, test),
        back=back,
        efficiency=efficiency,
        speed=_speed(teacher, student, min(held_out, PORTION), context),
        history=history,
    )


class _Lesson(nn.Module):
    """The student with the loss that it learns by."""

    def __init__(self, student: Flow, transport: float, density: float) -> None:
        super().__init__()
        self.student, self.transport, self.density = student, transport, density

    def loss(self, batch: Rows) -> Tensor:
        log_prob: Tensor = self.student(batch.x, batch.context)  # (B,)
        loss = -log_prob.mean()
        if self.density and batch.log_density is not None:
            loss = loss + self.density * (log_prob - batch.log_density).square().mean()
        if self.transport and batch.latent is not None:
            x, _ = self.student.transform.inverse(batch.latent, batch.context)
            loss = loss + self.transport * (x - batch.x).square().sum(1).mean()
        return loss

    def config(self) -> dict[str, Any]:
        """For the settings of the run."""
        return {
            "transport": self.transport,
            "density": self.density,
            "student": type(self.student).__name__,
        }


def _check(
    teacher: Teacher | Flow,
    student: Flow,
    samples: int,
    held_out: int,
    transport: float,
    density: float,
) -> None:
    if not isinstance(student, Flow):
        raise TypeError(f"the student is {type(student).__name__}; wanted a hepgen.flows.Flow")
    for name, wanted in (("sample", samples), ("log_prob", held_out)):
        if not callable(getattr(teacher, name, None)):
            raise TypeError(f"the teacher is {type(teacher).__name__}, which has no {name}")
        if wanted < 20:
            raise ValueError(f"samples={samples}, held_out={held_out}: wanted 20 at least")
    for name, factor in (("transport", transport), ("density", density)):
        if not 0 <= factor < math.inf:
            raise ValueError(f"{name}={factor}: wanted a number, 0 at least")
    if transport > 0:
        if not isinstance(teacher, Flow):
            raise ValueError(
                f"transport={transport} needs a Flow; {type(teacher).__name__} is none"
            )
        bases = type(teacher.base).__name__, type(student.base).__name__
        if bases[0] != bases[1]:
            raise ValueError(
                f"transport={transport} needs equal bases: that of the teacher is {bases[0]}, that "
                f"of the student {bases[1]}"
            )


@contextmanager
def _seeded(seed: int, device: torch.device) -> Iterator[None]:
    """Torch's own random numbers of a seed; the caller's afterwards."""
    devices = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(devices), torch.no_grad():
        torch.manual_seed(seed)
        yield


def _place(model: Any) -> tuple[torch.device, torch.dtype]:
    """Where a density is, and of which type."""
    tensors = [*model.parameters(), *model.buffers()] if isinstance(model, nn.Module) else []
    floats = [tensor for tensor in tensors if tensor.is_floating_point()]
    if not floats:
        return torch.device("cpu"), torch.get_default_dtype()
    return floats[0].device, floats[0].dtype


def _portions(
    number: int, context: Tensor | None, where: tuple[torch.device, torch.dtype]
) -> Iterator[tuple[int, Tensor | None]]:
    """So many draws in parts, with a row of the context for each."""
    for first in range(0, number, PORTION):
        count = min(PORTION, number - first)
        some = None
        if context is not None:
            some = context[torch.arange(first, first + count) % len(context)].to(*where)
        yield count, some


def _draw(
    teacher: Teacher | Flow,
    student: Flow,
    number: int,
    context: Tensor | None,
    seed: int,
    latent: bool,
) -> Rows:
    """Draws of the teacher with all that it knows of them, float64, on the CPU."""
    if (context is None) != (student.context == 0):
        raise ValueError(
            f"the student has context={student.context}; "
            + ("none is given" if context is None else f"one of {tuple(context.shape)} is given")
        )
    parts, where = [], _place(teacher)
    with _seeded(seed, where[0]):
        for count, some in _portions(number, context, where):
            rows = _draw_some(teacher, count, some, latent)
            parts.append(rows.to("cpu", torch.float64).to_dict())
    whole = Rows(**{name: torch.cat([part[name] for part in parts]) for name in parts[0]})
    for name, tensor in whole.to_dict().items():
        if not bool(tensor.isfinite().all()):
            bad = int((~tensor.isfinite()).sum())
            raise ValueError(
                f"{bad} of {tensor.numel()} numbers of the teacher's {name} are not finite"
            )
    return whole


def _draw_some(teacher: Teacher | Flow, count: int, context: Tensor | None, latent: bool) -> Rows:
    if isinstance(teacher, Flow):
        z = teacher.base.sample(count)
        x, logabsdet = teacher.transform.inverse(z, context)
        log_density = teacher.base.log_prob(z) - logabsdet
        return Rows(x, context, latent=z if latent else None, log_density=log_density)
    x = teacher.sample(count) if context is None else teacher.sample(1, context)[:, 0]
    return Rows(x, context, log_density=teacher.log_prob(x, context))


def _forward(student: Flow, rows: Rows) -> Divergence:
    """From teacher to student, over draws of the teacher."""
    device, dtype = _place(student)
    parts = []
    with torch.no_grad():
        for first in range(0, len(rows), PORTION):
            some = rows.take(slice(first, first + PORTION)).to(device, dtype)
            parts.append(student.log_prob(some.x, some.context).double().cpu())
    assert rows.log_density is not None
    return _mean(rows.log_density - torch.cat(parts))


def _backward(
    teacher: Teacher | Flow, student: Flow, number: int, context: Tensor | None, seed: int
) -> tuple[Divergence, float]:
    """From student to teacher, over draws of the student; the effective share of these."""
    place, where, parts = _place(teacher), _place(student), []
    with _seeded(seed, where[0]):
        for count, some in _portions(number, context, where):
            rows = _draw_some(student, count, some, latent=False)
            there = replace(rows, log_density=None).to(*place)
            known = teacher.log_prob(there.x, there.context).double().cpu()
            assert rows.log_density is not None
            parts.append(rows.log_density.double().cpu() - known)
    logs = -torch.cat(parts)  # log p/q
    weights = (logs - logs.max()).exp()
    share = float(weights.sum() ** 2 / weights.square().sum() / len(weights))
    return _mean(-logs), share


def _mean(values: Tensor) -> Divergence:
    return Divergence(float(values.mean()), float(values.std()) / math.sqrt(len(values)))


def _speed(teacher: Teacher | Flow, student: Flow, number: int, context: Tensor | None) -> float:
    """Time of the teacher's draws over that of the student's."""
    fastest = [math.inf, math.inf]
    for _ in range(TIMES):
        for i, model in enumerate((teacher, student)):
            where = _place(model)
            with _seeded(0, where[0]):
                begun = time.perf_counter()
                for count, some in _portions(number, context, where):
                    drawn = model.sample(count) if some is None else model.sample(1, some)
                    float(drawn.sum())  # waits for an accelerator
                fastest[i] = min(fastest[i], time.perf_counter() - begun)
    return fastest[0] / fastest[1]
