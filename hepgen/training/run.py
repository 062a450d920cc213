"""One run under way: what it holds, and how it is kept on disk and shown."""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from hepgen import checkpoint
from hepgen.training.average import Average
from hepgen.training.finite import check_weights
from hepgen.training.history import History, Row
from hepgen.training.interruption import Interruption
from hepgen.training.losses import Losses
from hepgen.training.progress import Progress
from hepgen.training.randomness import seed_of, seed_torch
from hepgen.training.run_folder import Resume, RunFolder
from hepgen.training.sources import BatchSource
from hepgen.training.state import State, read_checkpoint, write_checkpoint

if TYPE_CHECKING:
    from lightning.fabric import Fabric
    from lightning.fabric.loggers.tensorboard import TensorBoardLogger
    from lightning.fabric.wrappers import _FabricModule, _FabricOptimizer

__all__ = ["Run"]

# Ranks agree on what their clocks and signals ask for once in so many steps.
AGREE_EVERY = 32
TIMES = ("seconds", "jets_per_second")
# TensorBoard gets the loss of one step in so many.
LOG_EVERY = 20


@dataclass
class Run:
    """Everything that one call of ``fit`` works with.

    Attributes:
        fabric: devices, precision and ranks.
        model: the caller's model.
        module: function that gives a batch -> its loss, wrapped by Fabric.
        optimizer: the optimiser, wrapped by Fabric.
        train: training batches of this rank.
        validation: validation batches of this rank, if any.
        lr_factor: factor on the peak learning rate at a step.
        settings: what decides the result, flat and JSON-able.
        folder: where files go, if anywhere.
        state: where the run stands.
        losses: sums of the epoch's losses.
        progress: what the user sees.
        interruption: signals that came.
        epochs: and the next six: see ``fit``.
        best: weights of the best epoch so far, where there is validation.
        frozen: names of the parameters that stay as they are.
        sharp: whether the optimiser looks for flat minima, see `hepgen.training.sharpness`.
        average: moving average of the weights, if wanted.
        tensorboard: the logger of rank 0, if there is a folder.
    """

    fabric: Fabric
    model: nn.Module
    module: _FabricModule
    optimizer: _FabricOptimizer
    train: BatchSource
    validation: BatchSource | None
    lr_factor: Callable[[int], float]
    settings: dict[str, Any]
    folder: RunFolder | None
    state: State
    losses: Losses
    progress: Progress
    interruption: Interruption
    epochs: int
    accumulate: int
    clip: float | None
    patience: int | None
    seed: int
    checkpoint_minutes: float | None
    checkpoint_steps: int | None
    best: dict[str, Tensor] | None = None
    frozen: tuple[str, ...] = ()
    sharp: bool = False
    average: Average | None = None
    tensorboard: TensorBoardLogger | None = None
    _clock: float = field(default_factory=time.perf_counter)
    _saved: float = field(default_factory=time.monotonic)

    def open(self, resume: Resume) -> None:
        """Open the folder and go on with the run in it, or begin one.

        Args:
            resume: see ``fit``.

        Raises:
            TrainingError: the folder holds another run, or not what ``resume`` wants.
            OSError: it cannot be used.
        """
        folder = self.folder
        if folder is None:
            return
        # Every rank looks before the first one writes.
        there = folder.open(resume)
        self.fabric.barrier()
        if there and folder.last.exists():
            self.restore()
            self.progress.say(f"going on from step {self.state.step} of {folder.last}")
        elif there:
            folder.check(self.settings, folder.read_settings(), folder.run)
        if not self.fabric.is_global_zero:
            return
        if not there:
            folder.write_run(self.settings)
        if find_spec("tensorboard") is None:
            self.progress.say("tensorboard is not installed; its event files are left out")
            return
        from lightning.fabric.loggers.tensorboard import TensorBoardLogger

        # Events of steps that a killed run took after its last checkpoint are not shown twice.
        self.tensorboard = TensorBoardLogger(
            folder.tensorboard, name="", version="", purge_step=self.state.step + 1
        )

    def close(self) -> None:
        """Give back what the run took, however it ended."""
        self.progress.close()
        if self.tensorboard is not None:
            self.tensorboard.finalize("")
        self.model._compiled_call_impl = None

    @property
    def finished(self) -> bool:
        """Whether all epochs are done, or the validation loss has not fallen for too long."""
        stale = self.patience is not None and self.state.stale >= self.patience
        return stale or self.state.epoch >= self.epochs

    @property
    def lr(self) -> float:
        """Learning rate of the first parameter group."""
        return float(self.optimizer.param_groups[0]["lr"])

    @property
    def place(self) -> str:
        """Step, epoch and learning rate, in words."""
        return f"step {self.state.step}, epoch {self.state.epoch + 1}, lr {self.lr:.3g}"

    def set_lr(self) -> float:
        """Give the optimiser the learning rate of the coming step.

        Returns:
            That of the first parameter group.
        """
        factor = self.lr_factor(self.state.step)
        for group in self.optimizer.param_groups:
            group["lr"] = group["initial_lr"] * factor
        return self.lr

    def seed_torch(self, *where: object) -> None:
        """Make the random numbers that follow a function of the seed, the place and the rank.

        Args:
            *where: names and numbers of the place.
        """
        seed_torch(seed_of(self.seed, *where, self.fabric.global_rank), self.fabric.device)

    def share_buffers(self) -> None:
        """Give all ranks the buffers of rank 0, as running means of batch norms differ."""
        if self.fabric.world_size == 1:
            return
        averages = {} if self.average is None else self.average.weights
        for name, buffer in self.model.named_buffers():
            torch.distributed.broadcast(buffer, 0)
            if name in averages:
                torch.distributed.broadcast(averages[name], 0)

    def start_clock(self) -> None:
        """Count time from now on."""
        self._clock = time.perf_counter()

    def stop_clock(self, *, train: bool = False) -> None:
        """Add the time since then to that of the epoch, and count from now on.

        Args:
            train: whether it was spent on training.
        """
        now = time.perf_counter()
        self.state.seconds += now - self._clock
        self.state.train_seconds += train * (now - self._clock)
        self._clock = now

    def sum_over_ranks(self, *values: float) -> list[float]:
        """Sums over all ranks of some numbers.

        Args:
            *values: numbers of this rank.

        Returns:
            The sums, the same on every rank.
        """
        if self.fabric.world_size == 1:
            return list(values)
        mine = torch.tensor(values, dtype=torch.float64, device=self.fabric.device)
        torch.distributed.all_reduce(mine)
        return [float(value) for value in mine]

    def after_step(self) -> None:
        """Keep the run if it is time to, and stop it if a signal asks for that."""
        if self.tensorboard is not None and self.state.step % LOG_EVERY == 0:
            self.losses.settle()
            numbers = {"step_loss": self.losses.last, "step_lr": self.lr}
            self.tensorboard.log_metrics(numbers, self.state.step)
        steps, minutes = self.checkpoint_steps, self.checkpoint_minutes
        save = steps is not None and self.state.step % steps == 0
        late = minutes is not None and time.monotonic() - self._saved > 60 * minutes
        stop = bool(self.interruption.signal)
        if self.fabric.world_size > 1:
            agreed = [0.0, 0.0]
            if self.state.step % AGREE_EVERY == 0:
                agreed = self.sum_over_ranks(late, stop)
            late, stop = agreed[0] > 0, agreed[1] > 0
        if save or late or stop:
            self.losses.settle()
            self.stop_clock(train=True)
            self.save()
        if stop:
            self.stop()

    def stop_if_alone(self) -> None:
        """Stop during a validation, if a signal came and no other rank would wait for this one."""
        if self.interruption.signal and self.fabric.world_size == 1:
            self.stop_clock()
            self.save()
            self.stop()

    def stop(self) -> None:
        """Tell the user where things stand and act on the signal; the run is saved already."""
        place = f"stopped after step {self.state.step}, in epoch {self.state.epoch + 1}"
        if self.folder is None:
            self.progress.say(f"{place}; without an output folder nothing is kept")
        else:
            self.progress.say(f"{place}; the same call goes on from {self.folder.last}")
        self.interruption.act()
        raise KeyboardInterrupt  # another rank got the signal

    def save(self) -> None:
        """Write ``last.ckpt``."""
        check_weights(self.model, self.place)
        self._saved = time.monotonic()
        if self.folder is None:
            return
        content = {
            "model": self._own_weights(),
            "average": None if self.average is None else self.average.weights,
            "optimizer": self.optimizer.state_dict(),
            "precision": self.fabric.strategy.precision.state_dict(),
            "best": self.best,
            "state": self.state,
            "sums": self._sums_of_ranks(),
        }
        if self.fabric.is_global_zero:
            write_checkpoint(self.folder.last, content, self.settings)
        self.fabric.barrier()

    def averaged(self) -> AbstractContextManager[None]:
        """The model holds the average of its weights for a while, if there is one."""
        self.share_buffers()
        return nullcontext() if self.average is None else self.average.inside(self.model)

    def _own_weights(self) -> dict[str, Tensor]:
        """Those that the training goes on from, also while the model holds the average."""
        if self.average is not None and self.average.aside is not None:
            return self.average.aside
        return self.model.state_dict()

    def _sums_of_ranks(self) -> list[list[float]]:
        """Loss and number of jets of the epoch so far, of each rank: they add them up apart."""
        mine = [self.state.loss_sum, float(self.state.jets)]
        if self.fabric.world_size == 1:
            return [mine]
        everyone: list[list[float]] = [[]] * self.fabric.world_size
        torch.distributed.all_gather_object(everyone, mine)
        return everyone

    def restore(self) -> None:
        """Go back to where ``last.ckpt`` stands.

        Raises:
            DifferentRun: it is of a run with other settings.
            TrainingError: it is damaged.
        """
        assert self.folder is not None
        content, settings = read_checkpoint(self.folder.last)
        self.folder.check(self.settings, settings, self.folder.last)
        self.model.load_state_dict(content["model"])
        self.optimizer.load_state_dict(content["optimizer"])
        if self.average is not None:
            self.average.load(content["average"])
        self.fabric.strategy.precision.load_state_dict(content["precision"])
        self.best = content["best"]
        self.state = self.losses.state = content["state"]
        loss_sum, jets = content["sums"][self.fabric.global_rank]
        self.state.loss_sum, self.state.jets = loss_sum, int(jets)

    def keep_epoch(self, row: Row, improved: bool) -> None:
        """Write what belongs to a complete epoch, ``last.ckpt`` last of all.

        Args:
            row: the row of the history.
            improved: whether the weights are the best so far.
        """
        self.progress.end(row)
        if self.tensorboard is not None:
            numbers = {k: v for k, v in row.items() if k not in ("epoch", "step")}
            self.tensorboard.log_metrics(numbers, step=int(row["step"]))
        check_weights(self.model, self.place)
        if self.folder is not None and self.fabric.is_global_zero:
            if improved:
                # Without the times, so that the file is the same after a resume.
                summary = {k: v for k, v in row.items() if k not in TIMES}
                checkpoint.save(self.model, self.folder.model, training=summary)
            History(self.state.rows).write(self.folder.history)
        self.save()
