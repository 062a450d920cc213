"""Several processes train one model: the same as one process with larger batches, and resumable."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from hepgen.training import History
from hepgen.training.ranks import is_first_rank
from hepgen.training.state import read_checkpoint
from tests import small_training as small

REPOSITORY = Path(__file__).resolve().parents[1]

SCRIPT = """
import os, signal, sys
from pathlib import Path
from tests import small_training as small

model, calls = small.net(kind=small.Plain), iter(range(10_000))

def loss(batch):
    if os.environ.get("TERM_AT") == str(next(calls)) and os.environ["RANK"] == "1":
        os.kill(os.getpid(), signal.SIGTERM)
    return small.Plain.loss(model, batch)

model.loss = loss
small.train_plain(Path(sys.argv[1]), 10, model)
"""


# With batch norm, whose running means differ between ranks, and nothing that is validated.
AVERAGED = """
import os, sys
from pathlib import Path
import torch
from tests import small_training as small

model, options = small.net(), {"epochs": 2, "batch_size": 10, "patience": None, "ema": 0.9}
small.train(model, Path(sys.argv[1]), validation=None, **options)
torch.save(model.state_dict(), Path(sys.argv[1]).parent / f"rank{os.environ['RANK']}.pt")
"""


def launch(tmp_path: Path, name: str, text: str = SCRIPT, **more: str) -> tuple[int, str]:
    """Run the script on two ranks; its exit code and what it said."""
    script = tmp_path / "script.py"
    script.write_text(text)
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    run = subprocess.run(
        [sys.executable, *torchrun, script, tmp_path / name],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **more},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    return run.returncode, run.stderr


@pytest.mark.slow
def test_two_ranks_are_one_with_batches_twice_as_large_and_stop_and_resume(tmp_path: Path) -> None:
    one = small.train_plain(tmp_path / "one", 20)
    code, said = launch(tmp_path, "two")
    assert code == 0, said
    assert said.count("epoch 8/8") == 1, "only one rank speaks"
    two = History.read(tmp_path / "two" / "history.csv")
    for column in ("step", "lr", "train_loss", "validation_loss", "validation_accuracy"):
        assert two[column] == pytest.approx(one[column], rel=1e-7)  # accuracies are float32
    weights = [read_checkpoint(tmp_path / n / "last.ckpt")[0]["model"] for n in ("one", "two")]
    torch.testing.assert_close(weights[0], weights[1], rtol=1e-8, atol=1e-10)

    # Rank 1 alone is told to stop in the 35th step; both agree on it after the 64th.
    code, said = launch(tmp_path, "stopped", TERM_AT="64")
    assert code != 0
    assert read_checkpoint(tmp_path / "stopped" / "last.ckpt")[0]["state"].step == 64
    code, said = launch(tmp_path, "stopped")
    assert code == 0, said
    assert "going on from step 64" in said
    files = [(tmp_path / name / "model.safetensors").read_bytes() for name in ("two", "stopped")]
    assert files[0] == files[1]
    again = History.read(tmp_path / "stopped" / "history.csv")
    assert again["train_loss"] == two["train_loss"]


@pytest.mark.slow
def test_averages_with_running_means_are_the_same_on_all_ranks(tmp_path: Path) -> None:
    code, said = launch(tmp_path, "run", AVERAGED)
    assert code == 0, said
    first, second = (torch.load(tmp_path / f"rank{i}.pt", weights_only=True) for i in (0, 1))
    torch.testing.assert_close(first, second, rtol=0, atol=0)
    kept = read_checkpoint(tmp_path / "run" / "last.ckpt")[0]
    torch.testing.assert_close(kept["average"], first, rtol=0, atol=0)
    assert not torch.equal(kept["model"]["layers.1.running_mean"], first["layers.1.running_mean"])


@pytest.mark.slow
@pytest.mark.parametrize(
    ("pipeline", "steps", "noun", "made"),
    [
        ("sample_calo_inn", 2, "showers", ["generated.hdf5", "test.hdf5", "model.safetensors"]),
        ("sample_particle_flow_network", 1, "jets", ["test.root", "model.safetensors"]),
    ],
)
def test_the_first_of_several_ranks_does_what_follows_training(
    pipeline: str, steps: int, noun: str, made: list[str], tmp_path: Path
) -> None:
    words = ["hepgen.cli", "train", REPOSITORY / "pipelines" / f"{pipeline}.yaml"]
    options = ["--fit.epochs=1", "--fit.accelerator=cpu", "--fit.devices=2"]
    torchrun = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", "-m"]
    run = subprocess.run(
        [sys.executable, *torchrun, *words, *options, "--output", tmp_path / "run"],
        cwd=REPOSITORY,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.count("next: hepgen ") == steps, "only one rank speaks"
    assert f"{noun}/s" in run.stderr
    for name in made:
        assert (tmp_path / "run" / name).is_file()
    assert not list((tmp_path / "run").glob(".*"))


def test_one_process_is_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    monkeypatch.delenv("LOCAL_RANK", raising=False)
    assert is_first_rank()
    for name in ("LOCAL_RANK", "RANK"):
        monkeypatch.setenv(name, "1")
        assert not is_first_rank()
    monkeypatch.setenv("RANK", "0")
    assert is_first_rank()
