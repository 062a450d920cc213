"""The loop: what it computes, what it keeps, and how it says that something is wrong."""

from __future__ import annotations

import inspect
import json
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch_geometric.data import Batch

from hepgen import checkpoint
from hepgen.data.batches import make_batch
from hepgen.training import OPTIMIZERS, History, NotFinite, fit
from hepgen.training.devices import launched_ranks, make_fabric
from hepgen.training.finite import check_weights, loss_not_finite
from hepgen.training.history import Row
from hepgen.training.losses import Losses
from hepgen.training.optimizers import make_optimizer
from hepgen.training.prepare import DECIDING, describe, prepare
from hepgen.training.progress import Bar, Lines, Progress, make_progress, row_text
from hepgen.training.randomness import isolated_randomness, seed_of, seed_torch
from hepgen.training.run import Run
from hepgen.training.sources import BatchSource, batch_source, fingerprint, jets_in, tensors
from hepgen.training.state import State
from tests import small_training as small

CPU = torch.device("cpu")


class Linear(nn.Module):
    """A linear model with a quadratic loss, which torch alone can train as well."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 1).double()
        with torch.no_grad():
            self.layer.weight.copy_(torch.tensor([[0.3, 0.2, -0.1]]))
            self.layer.bias.fill_(0.4)

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return ((self.layer(batch[0])[:, 0] - batch[1]) ** 2).mean()


def linear_batches(number: int = 7) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(3)
    x = torch.randn(number, 10, 3, generator=generator, dtype=torch.float64)
    return [(one, one @ torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)) for one in x]


class InOrder:
    """A source that does not shuffle."""

    def __init__(self, batches: list[Any]) -> None:
        self.batches = batches

    def __len__(self) -> int:
        return len(self.batches)

    def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
        return iter(self.batches[start:])


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("clip", [None, 0.3])
def test_the_steps_are_those_of_a_bare_torch_loop(accumulate: int, clip: float | None) -> None:
    ours, theirs, batches = Linear(), Linear(), linear_batches()
    theirs.load_state_dict(ours.state_dict())
    fit(
        ours,
        InOrder(batches),
        epochs=4,
        lr=0.05,
        weight_decay=0.1,
        schedule="cosine",
        clip=clip,
        accumulate=accumulate,
        progress=False,
    )
    optimizer = torch.optim.AdamW(theirs.parameters(), lr=0.05, weight_decay=0.1)
    steps = 4 * math.ceil(7 / accumulate)
    scheduler = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    for _ in range(4):
        for i in range(0, 7, accumulate):
            group = batches[i : i + accumulate]
            torch.stack([theirs.loss(batch) for batch in group]).mean().backward()
            if clip is not None:
                nn.utils.clip_grad_norm_(theirs.parameters(), clip)
            optimizer.step()
            optimizer.zero_grad()
            scheduler.step()
    torch.testing.assert_close(ours.state_dict(), theirs.state_dict(), rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_every_optimizer_learns(name: Any) -> None:
    model, batches = Linear(), linear_batches()
    before = sum(float(model.loss(batch).detach()) for batch in batches)
    # Ranger goes half the way back at each sixth step.
    lr = 0.2 if name == "ranger" else 0.05
    fit(model, batches, epochs=60, lr=lr, optimizer=name, progress=False)
    assert sum(float(model.loss(batch).detach()) for batch in batches) < 0.2 * before


def test_an_optimizer_of_ones_own_keeps_the_rates_of_its_groups() -> None:
    rates: dict[str, list[float]] = {"low": [], "high": []}

    class Watched(torch.optim.SGD):
        def step(self, closure: Any = None) -> None:
            for group in self.param_groups:
                rates[group["name"]].append(group["lr"])
            super().step(closure)

    def make(model: nn.Module) -> torch.optim.Optimizer:
        weight, bias = model.parameters()
        low = {"params": [weight], "lr": 1e-4, "name": "low"}
        return Watched([low, {"params": [bias], "lr": 5e-3, "name": "high"}])

    fit(Linear(), linear_batches(), epochs=2, optimizer=make, progress=False)
    assert rates["high"] == pytest.approx([50 * rate for rate in rates["low"]])
    assert max(rates["low"]) == pytest.approx(1e-4, rel=0.2)


def test_frozen_weights_stay_and_nothing_to_train_is_an_error() -> None:
    model = Linear()
    model.layer.weight.requires_grad_(False)
    before = model.layer.weight.clone()
    fit(model, linear_batches(), epochs=1, progress=False)
    assert torch.equal(model.layer.weight, before)
    model.layer.bias.requires_grad_(False)
    with pytest.raises(ValueError, match="Linear has no parameter that requires a gradient"):
        make_optimizer("adamw", model, lr=1e-3, weight_decay=0.0)


def test_the_model_ends_with_the_best_weights_and_in_evaluation_mode(tmp_path: Path) -> None:
    model = small.net()
    history = small.train(model, tmp_path)
    assert not model.training
    batches = list(small.Batches(small.jets(200, 8), batch_size=20, shuffle=False, seed=0).epoch(0))
    with torch.no_grad():
        loss = sum(float(model.loss(batch)) for batch in batches) / len(batches)
        accuracy = sum(float(model.accuracy(batch)) for batch in batches) / len(batches)
    assert loss == pytest.approx(min(history["validation_loss"]), rel=1e-6)
    assert accuracy == pytest.approx(history.best["validation_accuracy"])
    other = small.net(seed=3)
    checkpoint.load_weights(other, tmp_path / "model.safetensors")
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)
    described = checkpoint.describe(tmp_path / "model.safetensors")
    assert described.training["epoch"] == history.best["epoch"]


def test_without_validation_the_last_weights_are_kept(tmp_path: Path) -> None:
    model = small.net()
    history = small.train(model, tmp_path, validation=None, patience=None, epochs=3)
    assert history.columns == (
        "epoch", "step", "lr", "train_loss", "seconds", "jets_per_second",
    )  # fmt: skip
    assert history.best["epoch"] == 3
    other = small.net(seed=3)
    checkpoint.load_weights(other, tmp_path / "model.safetensors")
    torch.testing.assert_close(other.state_dict(), model.state_dict(), rtol=0, atol=0)


def test_the_history_is_that_of_the_losses() -> None:
    model, losses = small.net(), []
    plain = model.loss

    def loss(batch: Any) -> Tensor:
        value = plain(batch)
        if model.training:
            losses.append(float(value.detach()))
        return value

    model.loss = loss  # type: ignore[method-assign]
    history = small.train(model, epochs=3, patience=None)
    means = [sum(losses[i : i + 10]) / 10 for i in (0, 10, 20)]
    assert history["train_loss"] == pytest.approx(means, rel=1e-12)
    assert history["epoch"] == [1, 2, 3]
    assert history["step"] == [10, 20, 30]
    assert all(seconds > 0 for seconds in history["seconds"])
    assert all(speed > 0 for speed in history["jets_per_second"])


def test_early_stopping_waits_for_its_patience() -> None:
    history = small.train(small.net(), patience=2)
    assert len(history) == history.best["epoch"] + 2


def test_the_seed_alone_decides_and_the_callers_numbers_stay() -> None:
    runs = []
    for seed, disturbance in ((5, 1), (5, 2), (6, 1)):
        torch.manual_seed(disturbance)
        wanted = torch.rand(3)
        torch.manual_seed(disturbance)
        model = small.net()
        small.train(model, epochs=2, seed=seed)
        assert torch.equal(torch.rand(3), wanted)
        runs.append(model.state_dict())
    torch.testing.assert_close(runs[0], runs[1], rtol=0, atol=0)
    assert not torch.equal(runs[0]["layers.0.weight"], runs[2]["layers.0.weight"])


def test_validation_and_progress_do_not_change_the_training() -> None:
    models = [small.net() for _ in range(3)]
    small.train(models[0], validation=None, patience=None, epochs=2)
    small.train(models[1], validation=small.jets(40, 1), patience=None, epochs=2)
    losses = []
    for model in models[:2]:
        model.eval()
        losses.append(float(model.loss(small.jets(50, 3)).detach()))
    history = small.train(models[2], validation=None, patience=None, epochs=2, progress=True)
    torch.testing.assert_close(models[2].state_dict(), models[0].state_dict(), rtol=0, atol=0)
    assert len(history) == 2


def test_negative_weights_pull_the_other_way() -> None:
    # Jets of weight -1 in the wrong class, beside three times as many right ones.
    jets = small.jets(400, 1)
    jets["y"] = (jets["x"][:, 0] > 0).long()
    jets["weight"] = torch.ones(400)
    jets["y"][:100], jets["weight"][:100] = 1 - jets["y"][:100], -1.0
    model = small.net()
    small.train(model, train=jets, validation=None, patience=None, epochs=5, lr=1e-2)
    test = {**small.jets(400, 2), "weight": torch.ones(400)}
    test["y"] = (test["x"][:, 0] > 0).long()
    assert float(model.accuracy(test)) > 0.9


class Sum(nn.Module):
    """A tagger on torch_geometric batches."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 2)

    def forward(self, jets: Batch) -> Tensor:
        summed = torch.zeros(jets.num_graphs, 2, dtype=jets.x.dtype).index_add(
            0, jets.batch, jets.x
        )
        return self.layer(summed)  # type: ignore[no-any-return]

    def loss(self, jets: Batch) -> Tensor:
        return nn.functional.cross_entropy(self(jets), jets.y)


def graph(bad: float | None = None) -> Batch:
    x = torch.arange(10.0).reshape(5, 2) / 10
    if bad is not None:
        x[3, 1] = bad
    return make_batch(x, torch.tensor([0, 2, 2, 5]), y=torch.tensor([0, 1, 1]))


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_the_run_and_names_the_place(
    bad: float, tmp_path: Path
) -> None:
    batches = InOrder([graph(), graph(), graph(bad)])
    model = Sum()
    told = (
        r"loss is nan at step 6, batch 3 of epoch 2, lr \S+: "
        r"1 of the 10 values of 'x' are not finite$"
    )

    class Later(InOrder):
        def epoch(self, epoch: int, start: int = 0) -> Iterator[Any]:
            good = [graph()] * 3
            return iter((good if epoch == 0 else batches.batches)[start:])

    with pytest.raises(NotFinite, match=told) as error:
        fit(model, Later(batches.batches), epochs=3, output=tmp_path, progress=False)
    assert isinstance(error.value, ValueError)
    assert isinstance(error.value, ArithmeticError)
    assert all(p.isfinite().all() for p in model.parameters()), "the bad step was not taken"
    assert len(History.read(tmp_path / "history.csv").rows) == 1


def test_a_validation_loss_that_is_not_finite_names_its_batch() -> None:
    with pytest.raises(NotFinite, match=r"validation batch 2: 1 of the 10 values of 'x'"):
        fit(Sum(), [graph()], validation=[graph(), graph(math.nan)], progress=False)


def test_gradients_that_overflow_are_told_from_bad_data(tmp_path: Path) -> None:
    class Overflow(Sum):
        def loss(self, jets: Batch) -> Tensor:
            loss = super().loss(jets)
            return loss + torch.sqrt((self.layer.weight * 0).abs().sum())

    with pytest.raises(NotFinite, match=r"the weights layer\.weight are not finite either"):
        fit(Overflow(), [graph()] * 3, epochs=1, progress=False)
    with pytest.raises(NotFinite, match=r"after step 1, .* although the loss was"):
        fit(Overflow(), [graph()], epochs=1, output=tmp_path, progress=False)
    assert not (tmp_path / "model.safetensors").exists()
    assert not (tmp_path / "last.ckpt").exists()


def test_the_blame_is_laid_only_where_it_belongs() -> None:
    model = Sum()
    check_weights(model, "step 1")
    error = loss_not_finite(math.nan, model, graph(), "step 1")
    assert str(error).endswith("all values of the batch and all weights are finite")


def test_losses_are_fetched_late_from_an_accelerator_and_blamed_on_the_right_step() -> None:
    state, batches = State(epoch=1), InOrder([graph(), graph(math.nan)])
    losses = Losses(state, Sum(), batches, Progress(), at_once=False)
    losses.add(torch.tensor(2.0), 3, 0, 11, 1e-3)
    losses.settle_if_due()
    assert state.jets == 0
    losses.settle()
    assert (state.jets, state.loss_sum, losses.last) == (3, 6.0, 2.0)
    losses.add(torch.tensor(math.nan), 3, 1, 12, 1e-3)
    for batch in range(2, 18):
        losses.add(torch.tensor(1.0), 3, batch, 11 + batch, 1e-3)
    with pytest.raises(NotFinite, match=r"step 12, batch 2 of epoch 2, lr 0\.001: 1 of the 10"):
        losses.settle_if_due()


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"epochs": 0}, "epochs=0: wanted a whole number, at least 1"),
        ({"batch_size": 2.5}, "batch_size=2.5: wanted a whole number"),
        ({"lr": -1.0}, "lr=-1.0: wanted a number above 0"),
        ({"lr": "1e-3"}, "lr='1e-3': wanted a number above 0"),
        ({"clip": 0.0}, "clip=0.0: wanted a number above 0"),
        ({"patience": 3}, "patience=3 needs a validation sample"),
        ({"resume": True}, "resume=True needs the output folder"),
        ({"optimizer": "adamww"}, "no optimizer 'adamww'; nearest: adamw"),
        ({"schedule": "cosin"}, "no schedule 'cosin'; nearest: cosine"),
        ({"class_weights": [1, 2]}, r"class_weights=\[1, 2\] needs raw data and a model with"),
    ],
)
def test_arguments_that_make_no_sense_are_named(options: dict[str, Any], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        fit(Linear(), linear_batches(), **{"progress": False, **options})


def test_a_source_that_ends_early_is_an_error() -> None:
    class Short(InOrder):
        def __len__(self) -> int:
            return len(self.batches) + 1

    with pytest.raises(RuntimeError, match=r"Short has len\(\) 8, .* ended after 7 batches"):
        fit(Linear(), Short(linear_batches()), progress=False)


def test_a_model_or_data_of_the_wrong_kind_is_named() -> None:
    with pytest.raises(TypeError, match=r"ReLU is no torch module with a method loss\(batch\)"):
        fit(nn.ReLU(), [], progress=False)
    with pytest.raises(TypeError, match=r"train is int; wanted a list of batches, .* Linear lacks"):
        fit(Linear(), 3, progress=False)
    with pytest.raises(ValueError, match="train holds not one batch of 256"):
        fit(Linear(), [], progress=False)

    class Vector(Linear):
        def loss(self, batch: Any) -> Tensor:
            return self.layer(batch[0])[:, 0]  # type: ignore[no-any-return]

    with pytest.raises(TypeError, match=r"Vector\.loss gives shape \(10,\); wanted a scalar"):
        fit(Vector(), linear_batches(), progress=False)


@pytest.mark.parametrize("precision", ["bf16-mixed", "64-true"])
def test_other_precisions_train_and_leave_the_inputs_alone(precision: str) -> None:
    seen: list[tuple[torch.dtype, torch.dtype]] = []
    model = small.net()
    plain = model.layers[0].forward

    def forward(x: Tensor) -> Tensor:
        y: Tensor = plain(x.to(model.layers[0].weight.dtype))
        seen.append((x.dtype, y.dtype))
        return y

    model.layers[0].forward = forward
    history = small.train(model, epochs=2, patience=None, precision=precision)
    dtype = {"bf16-mixed": torch.bfloat16, "64-true": torch.float64}[precision]
    assert set(seen) == {(torch.float32, dtype)}
    assert history["train_loss"][1] < history["train_loss"][0]


@pytest.mark.slow
def test_a_compiled_model_gives_the_same_losses() -> None:
    compiled, plain = Compilable(), Compilable()
    plain.load_state_dict(compiled.state_dict())
    options: dict[str, Any] = {"epochs": 2, "lr": 1e-2, "progress": False}
    one = fit(compiled, linear_batches(3), compile=True, **options)
    two = fit(plain, linear_batches(3), **options)
    assert one["train_loss"] == pytest.approx(two["train_loss"], rel=1e-9)
    assert compiled._compiled_call_impl is None


class Compilable(Linear):
    def forward(self, x: Tensor) -> Tensor:
        return self.layer(x)[:, 0]  # type: ignore[no-any-return]

    def loss(self, batch: tuple[Tensor, Tensor]) -> Tensor:
        return ((self(batch[0]) - batch[1]) ** 2).mean()


def test_a_run_is_prepared_to_begin_at_the_beginning() -> None:
    defaults = inspect.signature(fit).parameters.items()
    arguments = {name: parameter.default for name, parameter in defaults}
    arguments |= {"model": Linear(), "train": linear_batches(), "progress": False}
    run = prepare(arguments, make_fabric("cpu", "auto", "32-true"))
    assert isinstance(run, Run)
    assert run.state == State()
    assert run.set_lr() == pytest.approx(1e-4)  # a tenth of the peak, as one_cycle begins
    assert not run.finished
    assert run.place == "step 0, epoch 1, lr 0.0001"


def test_settings_are_told_by_name_whatever_they_are() -> None:
    def mine(step: int, total: int) -> float:
        return 1.0

    arguments: dict[str, Any] = dict.fromkeys(DECIDING)
    arguments |= {"model": small.net(), "train": linear_batches(), "schedule": mine}
    arguments |= {"lr": 0.1 + 0.2, "optimizer": torch.optim.Adam}
    told = describe(arguments, 2, InOrder(linear_batches()), None)
    assert told["schedule"].endswith("mine")
    assert told["optimizer"] == "Adam"
    assert json.loads(json.dumps(told)) == told
    assert (told["lr"], told["processes"], told["train.length"]) == (0.1 + 0.2, 2, 7)
    assert (told["model.width"], told["model.parameters"]) == (16, 178)


def test_run_json_tells_settings_versions_and_data(tmp_path: Path) -> None:
    small.train(small.net(), tmp_path, epochs=1)
    run = json.loads((tmp_path / "run.json").read_text())
    assert run["settings"]["lr"] == 0.03
    assert run["settings"]["train.batches"] == 10
    assert run["settings"]["model"] == "Net"
    assert run["settings"]["model.width"] == 16
    assert run["versions"]["torch"] == torch.__version__
    assert run["settings"]["seed"] == 5
    commit = subprocess.run(
        ["git", "rev-parse", "HEAD"], capture_output=True, text=True, check=False
    )
    if commit.returncode == 0:
        assert run["git"]["commit"] == commit.stdout.strip()
    else:
        assert run["git"] is None


def test_a_history_comes_back_from_its_table(tmp_path: Path) -> None:
    history = small.train(small.net(), tmp_path, epochs=2, patience=None)
    assert History.read(tmp_path / "history.csv").rows == history.rows
    assert len(history) == 2
    with pytest.raises(KeyError, match=r"no column 'val_loss' in the history; nearest: \w*loss"):
        history["val_loss"]
    with pytest.raises(ValueError, match="no complete epoch"):
        History().best  # noqa: B018


def test_one_line_an_epoch_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    history = small.train(small.net(), epochs=2, patience=None, progress=True)
    captured = capsys.readouterr()
    assert captured.out == ""
    assert captured.err.splitlines() == [row_text(row, 2) for row in history]
    assert captured.err.startswith("epoch 1/2  train loss 0.")
    small.train(small.net(), epochs=1, patience=None, progress=False)
    assert capsys.readouterr() == ("", "")


def test_a_bar_where_there_is_a_terminal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    bar = make_progress(True)
    assert isinstance(bar, Bar)
    bar.begin(1, 2, 10, 4)
    bar.advance(1, 100, 0.5, 1e-3)
    row: Row = {"epoch": 1, "train_loss": 0.25, "lr": 1e-3, "jets_per_second": 10, "seconds": 1.5}
    bar.end(row)
    bar.close()
    assert "epoch 1/2  train loss 0.2500  lr 1.00e-03  10 jets/s  1.5 s" in capsys.readouterr().err
    monkeypatch.setattr(sys.stderr, "isatty", lambda: False, raising=False)
    assert isinstance(make_progress(True), Lines)
    assert type(make_progress(False)) is Progress


def test_tensors_and_jets_of_any_batch_are_found() -> None:
    assert [name for name, _ in tensors(graph())] == ["x", "y", "ptr", "batch"]
    names = [name for name, _ in tensors([torch.zeros(2), {"p4": torch.zeros(1)}, "text"])]
    assert names == ["batch[0]", "p4"]
    assert jets_in(graph()) == 3
    assert jets_in((torch.zeros(4, 2), torch.zeros(4))) == 4
    assert jets_in("text") == 1


def test_a_list_of_batches_is_shuffled_by_seed_and_epoch_and_skips() -> None:
    def order(seed: int, epoch: int, start: int = 0) -> list[int]:
        source = batch_source(
            Linear(), list(range(20)), what="train", batch_size=1, shuffle=True, seed=seed
        )
        return list(source.epoch(epoch, start))

    assert sorted(order(1, 1)) == list(range(20))
    assert order(1, 1) == order(1, 1) != order(1, 2)
    assert order(1, 1) != order(2, 1)
    assert order(1, 1, 7) == order(1, 1)[7:]


def test_ranks_share_the_batches_of_a_plain_source() -> None:
    def share(rank: int, start: int = 0) -> list[int]:
        source = batch_source(
            Linear(),
            InOrder(list(range(11))),
            what="train",
            batch_size=1,
            shuffle=True,
            seed=0,
            rank=rank,
            world_size=3,
        )
        assert isinstance(source, BatchSource)
        assert len(source) == 3
        return list(source.epoch(0, start))

    assert [share(rank) for rank in range(3)] == [[0, 3, 6], [1, 4, 7], [2, 5, 8]]
    assert share(1, 2) == [7]


def test_the_fingerprint_sees_shapes_and_labels_but_no_rounding() -> None:
    one = fingerprint(InOrder([graph()]))
    assert one == fingerprint(InOrder([graph(bad=0.7000001)]))
    other = graph()
    other.y = torch.tensor([1, 1, 0])
    assert one != fingerprint(InOrder([other]))


def test_random_numbers_are_a_function_of_the_place() -> None:
    assert seed_of("train", 0, 1) != seed_of("train", 1, 0) != seed_of("validation", 0, 1)
    assert 0 <= seed_of(3) < 2**63
    before = torch.random.get_rng_state()
    with isolated_randomness(CPU):
        seed_torch(4, CPU)
        one = torch.rand(2)
        seed_torch(4, CPU)
        assert torch.equal(torch.rand(2), one)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize(
    ("environment", "ranks"),
    [
        ({}, None),
        ({"TORCHELASTIC_RUN_ID": "x", "LOCAL_WORLD_SIZE": "4", "WORLD_SIZE": "8"}, (4, 2)),
        ({"SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "2", "SLURM_JOB_NAME": "train"}, (4, 2)),
        ({"SLURM_NTASKS_PER_NODE": "4", "SLURM_NNODES": "1", "SLURM_JOB_NAME": "bash"}, None),
    ],
)
def test_processes_of_a_launcher_are_counted(
    environment: dict[str, str], ranks: tuple[int, int] | None
) -> None:
    assert launched_ranks(environment) == ranks


def test_an_unknown_accelerator_or_precision_is_an_error() -> None:
    with pytest.raises(ValueError, match="tpuu"):
        make_fabric("tpuu", "auto", "32-true")
    with pytest.raises(ValueError, match="33-true"):
        make_fabric("cpu", "auto", "33-true")


def test_importing_the_training_does_not_import_lightning() -> None:
    script = "import sys, hepgen.training; assert 'lightning' not in sys.modules"
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_full_disk_is_an_error_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    small.train(small.net(), tmp_path, epochs=1, patience=None, schedule="constant")
    before = (tmp_path / "last.ckpt").read_bytes()
    script = f"""
import resource, signal
from pathlib import Path
from tests import small_training as small
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (8000, 8000))  # the checkpoint is larger
small.train(small.net(), Path({str(tmp_path)!r}), patience=None, epochs=3, schedule="constant")
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert "OSError: [Errno 27] File too large" in run.stderr
    assert (tmp_path / "last.ckpt").read_bytes() == before
    assert not list(tmp_path.glob(".*.part"))
