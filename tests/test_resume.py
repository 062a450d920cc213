"""A run that was killed and went on ends with the same bits as one that was not."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from hepgen.training import DifferentRun, History, RunExists, TrainingError
from hepgen.training.interruption import Interruption
from hepgen.training.run_folder import RunFolder, differences
from hepgen.training.state import State, copy_of_weights, read_checkpoint, write_checkpoint
from tests import small_training as small

REPOSITORY = Path(__file__).resolve().parents[1]
TIMES = ("seconds", "jets_per_second")


def without_times(history: History) -> list[dict[str, float]]:
    return [{k: v for k, v in row.items() if k not in TIMES} for row in history]


def same(one: Any, other: Any) -> bool:
    """Whether two nested containers of tensors and values are equal to the last bit."""
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[k], other[k]) for k in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)


def start(output: Path, place: str, number: int) -> subprocess.Popen[str]:
    """A training process that has come to the given place and waits there."""
    process = subprocess.Popen(
        [sys.executable, "tests/small_training.py", str(output), place, str(number)],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == f"at {place}\n", process.communicate()
    return process


def kill(output: Path, place: str, number: int) -> None:
    process = start(output, place, number)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.communicate()


@pytest.fixture(scope="module")
def uninterrupted(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, History, small.Net]:
    output, model = tmp_path_factory.mktemp("whole") / "run", small.net()
    history = small.train(model, output)
    assert 4 < len(history) < small.OPTIONS["epochs"], "it should stop early"
    assert history.best["epoch"] < len(history), "the best epoch should not be the last"
    return output, history, model


# The loss is asked for 10 batches of training and 10 of validation in each epoch, and last.ckpt is
# written after steps 4 and 8 of each epoch of 10 and at its end.
@pytest.mark.parametrize(
    ("place", "number"),
    [
        pytest.param("loss", 3, marks=pytest.mark.slow, id="before any checkpoint"),
        pytest.param("loss", 47, id="mid-epoch, past a checkpoint"),
        pytest.param("accuracy", 15, marks=pytest.mark.slow, id="during a validation"),
        pytest.param("write", 6, marks=pytest.mark.slow, id="half a checkpoint written"),
    ],
)
def test_a_killed_run_goes_on_to_the_same_bits(
    uninterrupted: tuple[Path, History, small.Net], tmp_path: Path, place: str, number: int
) -> None:
    whole, history, model = uninterrupted
    output, other = tmp_path / "run", small.net()
    kill(output, place, number)
    assert (output / "last.ckpt").exists() == (number != 3)
    again = small.train(other, output)
    assert same(other.state_dict(), model.state_dict())
    assert without_times(again) == without_times(history)
    assert (output / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()
    table = History.read(output / "history.csv")
    assert without_times(table) == without_times(history)
    (one, settings), (two, _) = (read_checkpoint(f / "last.ckpt") for f in (output, whole))
    for name in ("model", "optimizer", "precision", "best", "sums"):
        assert same(one[name], two[name]), name
    assert settings == json.loads((output / "run.json").read_text())["settings"]


def test_a_run_killed_again_and_again_ends_with_the_same_bits(
    uninterrupted: tuple[Path, History, small.Net], tmp_path: Path
) -> None:
    # In one process: the interruption is an exception that nothing but the kill would cause.
    class Killed(Exception):
        pass

    output = tmp_path / "run"
    for number in (13, 19, 2, 31, 25):
        model = small.net()
        calls = iter(range(1, number + 1))

        def loss(
            batch: Any, model: small.Net = model, calls: Any = calls, number: int = number
        ) -> torch.Tensor:
            if next(calls) == number:
                raise Killed
            return small.Net.loss(model, batch)

        model.loss = loss  # type: ignore[method-assign]
        with pytest.raises(Killed):
            small.train(model, output)
    model = small.net()
    small.train(model, output)
    assert same(model.state_dict(), uninterrupted[2].state_dict())


@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 1), (signal.SIGTERM, 128 + signal.SIGTERM)]
)
def test_a_signal_keeps_the_run_and_says_so(
    uninterrupted: tuple[Path, History, small.Net],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    number: signal.Signals,
    code: int,
) -> None:
    output, model = tmp_path / "run", small.net()
    calls = iter(range(1, 1000))

    def loss(batch: Any) -> torch.Tensor:
        if next(calls) == 26:  # step 6 of the second epoch
            os.kill(os.getpid(), number)
        return small.Net.loss(model, batch)

    monkeypatch.setattr(model, "loss", loss)
    before = signal.getsignal(number)
    with pytest.raises((KeyboardInterrupt, SystemExit)) as stopped:
        small.train(model, output, progress=True)
    assert signal.getsignal(number) == before
    if number == signal.SIGTERM:
        assert stopped.value.code == code  # type: ignore[union-attr]
    assert f"stopped after step 16, in epoch 2; the same call goes on from {output}" in (
        capsys.readouterr().err
    )
    assert read_checkpoint(output / "last.ckpt")[0]["state"].batch == 6
    other = small.net()
    small.train(other, output)
    assert same(other.state_dict(), uninterrupted[2].state_dict())


def test_a_signal_during_a_validation_does_not_repeat_the_training(
    uninterrupted: tuple[Path, History, small.Net], tmp_path: Path
) -> None:
    output, model = tmp_path / "run", small.net()
    calls = iter(range(1, 1000))

    def accuracy(batch: Any) -> torch.Tensor:
        if next(calls) == 13:  # the third batch of the second validation
            os.kill(os.getpid(), signal.SIGINT)
        return small.Net.accuracy(model, batch)

    model.accuracy = accuracy  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        small.train(model, output)
    state = read_checkpoint(output / "last.ckpt")[0]["state"]
    assert (state.epoch, state.batch, state.step) == (1, 10, 20)
    other = small.net()
    history = small.train(other, output)
    assert same(other.state_dict(), uninterrupted[2].state_dict())
    assert without_times(history) == without_times(uninterrupted[1])


def test_a_signal_without_a_folder_says_that_nothing_is_kept(
    capsys: pytest.CaptureFixture[str],
) -> None:
    model = small.net()

    def loss(batch: Any) -> torch.Tensor:
        os.kill(os.getpid(), signal.SIGINT)
        return small.Net.loss(model, batch)

    model.loss = loss  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        small.train(model, progress=True)
    told = "stopped after step 1, in epoch 1; without an output folder nothing is kept\n"
    assert capsys.readouterr().err == told


def test_accumulated_batches_resume_at_a_whole_step(tmp_path: Path) -> None:
    whole, killed = small.net(), small.net()
    changes = {"accumulate": 3, "epochs": 3, "checkpoint_steps": 1}
    history = small.train(whole, **changes)
    assert history["step"] == [4, 8, 12]  # 10 batches: three groups of 3 and one of 1
    calls = iter(range(1, 1000))

    def loss(batch: Any) -> torch.Tensor:
        if next(calls) == 28:  # 20 of the first epoch, then the second batch of its third group
            raise RuntimeError("killed")
        return small.Net.loss(killed, batch)

    killed.loss = loss  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        small.train(killed, tmp_path, **changes)
    assert read_checkpoint(tmp_path / "last.ckpt")[0]["state"].batch == 6
    other = small.net()
    small.train(other, tmp_path, **changes)
    assert same(other.state_dict(), whole.state_dict())


def test_minutes_between_checkpoints_are_kept_to(tmp_path: Path) -> None:
    for minutes, batches in ((1e-9, 6), (60.0, None)):
        model, calls = small.net(), iter(range(1, 1000))

        def loss(batch: Any, model: small.Net = model, calls: Any = calls) -> torch.Tensor:
            if next(calls) == 7:
                raise RuntimeError("killed")
            return small.Net.loss(model, batch)

        model.loss = loss  # type: ignore[method-assign]
        output = tmp_path / str(minutes)
        with pytest.raises(RuntimeError, match="killed"):
            small.train(model, output, checkpoint_steps=None, checkpoint_minutes=minutes)
        last = output / "last.ckpt"
        assert (read_checkpoint(last)[0]["state"].batch if last.exists() else None) == batches


def test_a_complete_run_gives_its_result_without_training(
    uninterrupted: tuple[Path, History, small.Net], capsys: pytest.CaptureFixture[str]
) -> None:
    output, history, model = uninterrupted
    other = small.net(seed=99)
    other.batches = _no_epochs  # type: ignore[method-assign]
    again = small.train(other, output, resume=True)
    assert again.rows == history.rows
    assert same(other.state_dict(), model.state_dict())


def _no_epochs(jets: Any, **options: Any) -> Any:
    class First(small.Batches):
        def epoch(self, epoch: int, start: int = 0) -> Any:
            assert (epoch, start) == (0, 0), "only the first batch is looked at"
            return super().epoch(epoch, start)

    return First(jets, **options)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"lr": 1e-2}, "lr: 0.03 in the run, 0.01 now"),
        ({"schedule": "one_cycle"}, "schedule: cosine in the run, one_cycle now"),
        ({"batch_size": 10}, "train.batches: 10 in the run, 20 now"),
        ({"seed": 6}, "seed: 5 in the run, 6 now"),
        ({"epochs": 20}, "epochs: 12 in the run, 20 now"),
        ({"train": small.jets(200, 9)}, "train.fingerprint: "),
        ({"validation": small.jets(100, 8)}, "validation.batches: 10 in the run, 5 now"),
        ({"validation": None, "patience": None}, "validation.batches: 10 in the run, absent now"),
    ],
)
def test_another_run_in_the_folder_is_refused_and_left(
    uninterrupted: tuple[Path, History, small.Net], changes: dict[str, Any], told: str
) -> None:
    output = uninterrupted[0]
    before = {path: path.read_bytes() for path in output.glob("*.*")}
    with pytest.raises(DifferentRun, match="with other settings; name another output") as error:
        small.train(small.net(), output, **changes)
    assert told in str(error.value)
    assert {path: path.read_bytes() for path in output.glob("*.*")} == before


def test_another_architecture_is_refused(uninterrupted: tuple[Path, History, small.Net]) -> None:
    with pytest.raises(DifferentRun, match=r"model\.width: 16 in the run, 8 now"):
        small.train(small.net(width=8), uninterrupted[0])


def test_a_folder_with_a_run_is_never_written_over(
    uninterrupted: tuple[Path, History, small.Net], tmp_path: Path
) -> None:
    with pytest.raises(RunExists, match=r"holds a run already \(model\.safetensors, last\.ckpt"):
        small.train(small.net(), uninterrupted[0], resume=False)
    with pytest.raises(TrainingError, match=r"nothing to resume: no last\.ckpt"):
        small.train(small.net(), tmp_path, resume=True)
    assert not list(tmp_path.iterdir())
    (tmp_path / "model.safetensors").write_text("somebody else's")
    with pytest.raises(RunExists, match=r"but no run\.json") as error:
        small.train(small.net(), tmp_path)
    assert isinstance(error.value, FileExistsError)
    assert (tmp_path / "model.safetensors").read_text() == "somebody else's"


def test_other_files_in_the_folder_are_left_alone(tmp_path: Path) -> None:
    (tmp_path / "pipeline.yaml").write_text("model: ParticleNet\n")
    small.train(small.net(), tmp_path, epochs=1)
    assert (tmp_path / "pipeline.yaml").read_text() == "model: ParticleNet\n"
    names = {path.name for path in tmp_path.iterdir()}
    ours = {"model.safetensors", "last.ckpt", "history.csv", "run.json", "tensorboard"}
    assert names == {"pipeline.yaml", *ours}


def test_a_run_of_constant_rate_can_be_made_longer(tmp_path: Path) -> None:
    changes = {"schedule": "constant", "patience": None, "checkpoint_steps": None}
    small.train(small.net(), tmp_path, epochs=2, **changes)
    longer, whole = small.net(), small.net()
    history = small.train(longer, tmp_path, epochs=4, **changes)
    assert without_times(history) == without_times(small.train(whole, epochs=4, **changes))
    assert same(longer.state_dict(), whole.state_dict())
    assert differences({"schedule": "cosine", "epochs": 2}, {"schedule": "cosine", "epochs": 4})


def test_a_run_that_was_begun_before_an_argument_existed_goes_on_without_it() -> None:
    assert differences({"lr": 1.0}, {"lr": 1.0, "freeze": (), "lr_factors": {}, "ema": None}) == []
    assert differences({"lr": 0}, {"lr": None}) == ["lr: 0 in the run, None now"]
    assert differences({}, {"freeze": ["a"]}) == ["freeze: absent in the run, ['a'] now"]


def test_a_damaged_checkpoint_is_named_not_ignored(tmp_path: Path) -> None:
    small.train(small.net(), tmp_path, epochs=1)
    last = RunFolder(tmp_path).last
    whole = last.read_bytes()
    for damaged in (whole[: len(whole) // 2], b"", b"not a checkpoint"):
        last.write_bytes(damaged)
        with pytest.raises(TrainingError, match=r"last\.ckpt is no complete checkpoint of hepgen"):
            small.train(small.net(), tmp_path, epochs=1)


def test_a_checkpoint_that_would_run_code_is_refused(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> tuple[Any, ...]:
            return (os.mkdir, (str(tmp_path / "it ran"),))

    torch.save({"format": 1, "state": Bomb()}, tmp_path / "last.ckpt")
    with pytest.raises(TrainingError, match="no complete checkpoint"):
        read_checkpoint(tmp_path / "last.ckpt")
    assert not (tmp_path / "it ran").exists()


def test_a_checkpoint_of_a_newer_format_is_refused(tmp_path: Path) -> None:
    torch.save({"format": 7, "state": "{}", "settings": "{}"}, tmp_path / "last.ckpt")
    with pytest.raises(TrainingError, match=r"has format 7; this hepgen reads up to 1"):
        read_checkpoint(tmp_path / "last.ckpt")


def test_floats_of_the_state_come_back_to_the_last_bit(tmp_path: Path) -> None:
    model = small.net()
    state = State(loss_sum=0.1 + 0.2, best_loss=float("nan"), rows=[{"lr": 5e-7 / 3}])
    content = {"state": state, "model": copy_of_weights(model)}
    write_checkpoint(tmp_path / "last.ckpt", content, {"lr": 1 / 3})
    again, settings = read_checkpoint(tmp_path / "last.ckpt")
    assert repr(again["state"]) == repr(state)
    assert same(again["model"], model.state_dict())
    assert settings == {"lr": 1 / 3}


def test_tensorboard_goes_on_where_the_checkpoint_stands(tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    model = small.net()
    calls = iter(range(1, 1000))

    def loss(batch: Any) -> torch.Tensor:
        if next(calls) == 48:  # after step 27 of the run; the checkpoint is of step 24
            raise RuntimeError("killed")
        return small.Net.loss(model, batch)

    model.loss = loss  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match="killed"):
        small.train(model, tmp_path)
    history = small.train(small.net(), tmp_path)
    events = EventAccumulator(str(tmp_path / "tensorboard"), purge_orphaned_data=True)
    events.Reload()
    shown = [(e.step, e.value) for e in events.Scalars("validation_loss")]
    assert [step for step, _ in shown] == history["step"]
    assert [v for _, v in shown] == pytest.approx(history["validation_loss"], rel=1e-6)
    steps = [e.step for e in events.Scalars("step_lr")]
    assert steps == list(range(20, int(history["step"][-1]) + 1, 20))


def test_a_second_signal_acts_at_once() -> None:
    with Interruption() as interruption:
        interruption.act()  # nothing came yet
        os.kill(os.getpid(), signal.SIGINT)
        assert interruption.signal == signal.SIGINT
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            interruption.act()
