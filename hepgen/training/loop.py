"""The training loop, to be read from ``fit`` down.

Its randomness is a pure function of (seed, epoch, batch, rank), its data order of (seed, epoch),
its learning rate of the step. A resumed run therefore needs the weights, the optimiser and its
place, and on a CPU ends with the same bits as one that was never killed.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from hepgen.training.devices import make_fabric
from hepgen.training.finite import loss_not_finite
from hepgen.training.history import History, Row
from hepgen.training.parameters import find_frozen, freezing, stop_statistics
from hepgen.training.prepare import prepare
from hepgen.training.randomness import isolated_randomness
from hepgen.training.run import Run
from hepgen.training.schedules import Schedule
from hepgen.training.sharpness import back_and_step, uphill
from hepgen.training.sources import jets_in
from hepgen.training.state import copy_of_weights

__all__ = ["fit"]

OptimizerName = Literal["adam", "adamw", "lion", "radam", "ranger", "sgd"]
ScheduleName = Literal[
    "constant",
    "cosine",
    "cosine_cycle",
    "flat_decay",
    "halving_triangles",
    "one_cycle",
    "warmup_cosine_restarts",
]


def fit(
    model: nn.Module,
    train: Any,
    *,
    validation: Any = None,
    epochs: int = 20,
    batch_size: int = 256,
    lr: float = 1e-3,
    optimizer: OptimizerName | Callable[[nn.Module], Optimizer] = "adamw",
    weight_decay: float = 1e-2,
    lr_factors: dict[str, float] | None = None,
    freeze: Sequence[str] = (),
    sharpness: float | None = None,
    ema: float | None = None,
    schedule: ScheduleName | Schedule = "one_cycle",
    schedule_options: dict[str, float] | None = None,
    clip: float | None = None,
    accumulate: int = 1,
    patience: int | None = None,
    class_weights: Literal["balanced"] | dict[str, float] | None = None,
    seed: int = 0,
    precision: str = "32-true",
    accelerator: str = "auto",
    devices: int | str | list[int] = "auto",
    compile: bool = False,
    output: str | Path | None = None,
    resume: Literal["auto"] | bool = "auto",
    checkpoint_minutes: float | None = 10.0,
    checkpoint_steps: int | None = None,
    progress: bool = True,
) -> History:
    """Train a model, and keep the run so that it can go on after a kill.

    At the end the model holds the weights of lowest validation loss (the last ones without
    validation), is in evaluation mode, and stays on the device it was trained on. The caller's
    random numbers are left as they were. Initial weights are the model's: build it after
    ``torch.manual_seed``.

    With ``output``, the folder gets ``model.safetensors`` (those weights), ``history.csv``,
    ``run.json`` (settings, versions, git commit, data sizes), ``tensorboard/``, and ``last.ckpt``,
    from which the same call goes on: after Ctrl-C, SIGTERM, kill -9 or a power cut, in the middle
    of an epoch. On a CPU with as many threads the result is the same bit for bit.

    Args:
        model: anything with ``loss(batch) -> scalar``. With ``batches(data, batch_size=, shuffle=,
            seed=, rank=, world_size=)`` it takes raw data; with ``accuracy(batch) -> scalar`` that
            is reported for the validation sample.
        train: raw data for ``model.batches``; or batches: something with ``len()`` and
            ``epoch(epoch, start)``, or a list.
        validation: likewise; without it the last weights are kept.
        epochs: passes over the training data.
        batch_size: jets in a batch on each device, where the model makes the batches.
        lr: peak learning rate.
        optimizer: its name, or a function of the model that makes it; then the learning rates of
            its groups are the peaks, and ``lr`` and ``weight_decay`` are not used.
        weight_decay: decoupled weight decay (in the gradient for adam and sgd).
        lr_factors: factors on the learning rate of parameters by patterns of their names, such as
            ``{"fc.*": 50}`` for a new head on trained blocks; the first pattern that fits counts.
        freeze: patterns of parameters that stay as they are, such as ``["edge_convs.*"]``; batch
            norms among them keep their running means too.
        sharpness: radius of sharpness-aware minimisation, such as 0.05; twice the time a step.
        ema: decay of an exponential moving average of the weights, such as 0.999. It is what is
            validated and kept as the result, and the training goes on beside it.
        schedule: its name, or a function (step, total steps) -> factor on the peak rate.
        schedule_options: keyword arguments of the schedule, see `hepgen.training.schedules`.
        clip: largest norm of the gradient; larger ones are scaled down to it.
        accumulate: batches whose gradients are averaged for one step.
        patience: stop after so many epochs without a lower validation loss.
        class_weights: handed to ``model.batches``; for taggers a factor on the loss of each class
            that is named, or "balanced" for classes that count alike.
        seed: decides the order of the data and all random numbers of the training.
        precision: "32-true", "bf16-mixed", "16-mixed", "64-true", as Lightning spells it.
        accelerator: "auto", "cpu", "cuda", "mps".
        devices: how many, or which; "auto" is one, or one a process under torchrun and srun.
        compile: pass the model's ``forward`` through ``torch.compile``.
        output: folder of the run.
        resume: "auto" goes on with a run in ``output``; True wants one there; False wants none.
        checkpoint_minutes: write ``last.ckpt`` this often, besides at the end of each epoch.
        checkpoint_steps: write it every so many steps as well.
        progress: show a bar on a terminal, one line an epoch elsewhere.

    Returns:
        The history, one row an epoch.

    Raises:
        ValueError: an argument makes no sense.
        TypeError: the model has no ``loss``, or the data are no data.
        NotFinite: the loss or the weights became NaN or infinite (a ValueError, like all below).
        DifferentRun: the run in ``output`` was begun with other settings, data or architecture.
        RunExists: ``output`` holds a run and ``resume`` is False.
        TrainingError: ``last.ckpt`` is damaged, or missing though ``resume`` is True.
        OSError: a file cannot be written.
        KeyboardInterrupt: Ctrl-C; the run is kept first.
    """
    arguments = dict(locals())
    fabric = make_fabric(accelerator, devices, precision)
    frozen = find_frozen(model, freeze)
    with isolated_randomness(fabric.device), freezing(model, frozen):
        run = prepare(arguments, fabric, frozen)
        try:
            with run.interruption:
                while not run.finished:
                    _train_epoch(run)
                    with run.averaged():
                        _end_epoch(run, _validate(run))
        finally:
            run.close()
    if run.best is not None:
        model.load_state_dict(run.best)
    elif run.average is not None:
        model.load_state_dict(run.average.weights)
    model.eval()
    return History(run.state.rows)


def _train_epoch(run: Run) -> None:
    """What is left of the epoch, one optimiser step after the other."""
    state = run.state
    run.model.train()
    stop_statistics(run.model, run.frozen)
    run.progress.begin(state.epoch + 1, run.epochs, len(run.train), state.batch)
    run.start_clock()
    if state.batch == len(run.train):  # the run was stopped during the validation
        return
    batches = run.train.epoch(state.epoch, state.batch)
    while group := list(islice(batches, run.accumulate)):
        _step(run, group)
        state.batch += len(group)
        state.step += 1
        run.after_step()
    if state.batch != len(run.train):
        raise RuntimeError(
            f"{type(run.train).__name__} has len() {len(run.train)}, but epoch {state.epoch} of it "
            f"ended after {state.batch} batches"
        )
    run.losses.settle()
    run.stop_clock(train=True)


def _step(run: Run, group: list[Any]) -> None:
    """One optimiser step on the mean gradient of a group of batches."""
    fabric, lr = run.fabric, run.set_lr()
    for i, loss in enumerate(_backward(run, group)):
        run.losses.add(loss, jets_in(group[i]), run.state.batch + i, run.state.step + 1, lr)
    # Before the step, so that on a CPU a loss that is not finite cannot spoil the weights.
    run.losses.settle_if_due()
    if run.sharp:
        with uphill(run.optimizer.optimizer, run.model):
            list(_backward(run, group))
    if run.clip is not None:
        fabric.clip_gradients(
            run.module, run.optimizer, max_norm=run.clip, error_if_nonfinite=False
        )
    if run.sharp:
        back_and_step(run.optimizer.optimizer)
    else:
        run.optimizer.step()
    run.optimizer.zero_grad()
    if run.average is not None:
        run.average.update(run.model, run.state.step + 1)


def _backward(run: Run, group: list[Any]) -> Iterator[Tensor]:
    """Add the mean gradient of a group of batches to that of the weights; their losses."""
    state, fabric = run.state, run.fabric
    for i, batch in enumerate(group):
        here = fabric.to_device(batch)
        run.seed_torch("train", state.epoch, state.batch + i)
        with fabric.no_backward_sync(run.module, enabled=i + 1 < len(group)):
            loss = run.module(lambda here=here: here)
            fabric.backward(loss / len(group))
        yield loss.detach()


def _validate(run: Run) -> Row:
    """Mean loss, and accuracy where the model has one, over the validation sample."""
    if run.validation is None:
        return {}
    run.share_buffers()
    run.model.eval()
    # Ranks may have different numbers of batches, so this goes past the wrapper of DDP, which waits
    # for all ranks at each batch.
    names = [name for name in ("loss", "accuracy") if hasattr(run.model, name)]
    values, jets = [], []
    with torch.no_grad(), run.fabric.autocast():
        for i, batch in enumerate(run.validation.epoch(0, 0)):
            here = run.fabric.to_device(batch)
            run.seed_torch("validation", i)
            values.append(torch.stack([getattr(run.model, name)(here) for name in names]))
            jets.append(jets_in(batch))
            run.stop_if_alone()
    table = torch.stack(values).tolist()
    for i, row in enumerate(table):
        if not math.isfinite(row[0]):
            bad = next(iter(run.validation.epoch(0, i)))
            raise loss_not_finite(row[0], run.model, bad, f"{run.place}, validation batch {i + 1}")
    columns = zip(*table, strict=True)
    sums = [math.fsum(map(operator.mul, column, jets)) for column in columns]
    total, *sums = run.sum_over_ranks(sum(jets), *sums)
    return {f"validation_{name}": value / total for name, value in zip(names, sums, strict=True)}


def _end_epoch(run: Run, validation: Row) -> None:
    """Note the epoch in the history, see whether it is the best, and keep the run."""
    state = run.state
    run.stop_clock()
    loss_sum, jets = run.sum_over_ranks(state.loss_sum, state.jets)
    row = {
        "epoch": state.epoch + 1,
        "step": state.step,
        "lr": run.lr,
        "train_loss": loss_sum / jets,
        **validation,
        "seconds": state.seconds,
        "jets_per_second": jets / state.train_seconds,
    }
    loss = validation.get("validation_loss")
    improved = loss is None or state.best_loss is None or loss < state.best_loss
    if loss is not None and improved:
        state.best_loss, run.best = loss, copy_of_weights(run.model)
    state.next_epoch(row, improved)
    run.keep_epoch(row, improved)
