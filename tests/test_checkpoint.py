"""A model file holds the whole model, runs no code, and says clearly what is wrong with it."""

from __future__ import annotations

import json
import struct
import subprocess
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from hepgen import checkpoint
from hepgen.atomic import replacing
from hepgen.checkpoint import CheckpointError, Description, describe, load, load_weights, save
from hepgen.data import Features


class Net(nn.Module):
    """What a tagger is to a checkpoint."""

    def __init__(self, features: Features, classes: tuple[str, ...], width: int = 4) -> None:
        super().__init__()
        self.features, self.classes, self.width = features, classes, width
        self.layers = nn.Sequential(
            nn.Linear(len(features), width), nn.BatchNorm1d(width), nn.Linear(width, len(classes))
        )

    def config(self) -> dict[str, Any]:
        return {"width": self.width}

    def forward(self, x: Tensor) -> Tensor:
        return self.layers(x)  # type: ignore[no-any-return]


def double_pt(c: Any) -> Any:
    return 2 * c.pt


@pytest.fixture
def simulators(monkeypatch: pytest.MonkeyPatch) -> types.ModuleType:
    """A subpackage of hepgen that holds the class above."""
    package = types.ModuleType("hepgen.simulators")
    package.__dict__.update({"Net": Net, "Narrow": Net, "unload": print})
    package.__dict__["__all__"] = ["Narrow", "Net", "unload"]
    monkeypatch.setitem(sys.modules, "hepgen.simulators", package)
    monkeypatch.setattr(Net, "__module__", "hepgen.simulators.net")
    return package


@pytest.fixture
def net() -> Net:
    """A net that has seen data, so that its running means are not those of a new one."""
    features = Features(["log_pt", "delta_eta", "delta_phi"])
    with torch.random.fork_rng():
        torch.manual_seed(3)
        net = Net(features, ("top", "qcd"), width=5)
        net(torch.randn(20, 3))
    return net.eval()


def changed(path: Path, change: Callable[[dict[str, Any]], None], **weights: Tensor) -> Path:
    """The same file with another header, as a newer or a hostile program could write it."""
    with safe_open(path, "pt") as file:
        header = json.loads(file.metadata()["hepgen"])
    change(header)
    other = path.with_name("changed.safetensors")
    save_file({**load_file(path), **weights}, other, metadata={"hepgen": json.dumps(header)})
    return other


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_scores_and_types_come_back_to_the_last_bit(
    simulators: types.ModuleType, net: Net, tmp_path: Path, dtype: torch.dtype
) -> None:
    path = tmp_path / "net.safetensors"
    net.to(dtype)
    save(net, path, training={"epoch": 3})
    before = torch.random.get_rng_state()
    again = load(path)
    assert torch.equal(torch.random.get_rng_state(), before)
    assert isinstance(again, Net)
    assert not again.training
    x = torch.randn(7, 3, dtype=dtype)
    assert torch.equal(again(x), net(x))
    torch.testing.assert_close(again.state_dict(), net.state_dict(), rtol=0, atol=0)
    assert again.classes == ("top", "qcd")
    assert again.features.to_dict() == net.features.to_dict()
    assert again.width == 5


def test_half_precision_weights_beside_whole_ones_keep_their_types(
    simulators: types.ModuleType, net: Net, tmp_path: Path
) -> None:
    net.layers[2].to(torch.float16)
    save(net, tmp_path / "net.safetensors")
    types = {name: t.dtype for name, t in load(tmp_path / "net.safetensors").state_dict().items()}
    assert types == {name: t.dtype for name, t in net.state_dict().items()}


def test_any_safetensors_reader_reads_the_weights(net: Net, tmp_path: Path) -> None:
    save(net, tmp_path / "net.safetensors")
    read = load_file(tmp_path / "net.safetensors")
    torch.testing.assert_close(read, dict(net.state_dict()), rtol=0, atol=0)


def test_tensors_with_two_names_are_saved_and_stay_one(tmp_path: Path) -> None:
    def tied() -> nn.Sequential:
        layers = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))
        layers[1].weight = layers[0].weight
        return layers

    one, two = tied(), tied()
    save(one, tmp_path / "tied.safetensors")
    load_weights(two, tmp_path / "tied.safetensors")
    assert two[0].weight is two[1].weight
    assert torch.equal(one[0].weight, two[0].weight)


def test_the_header_is_read_without_torch(net: Net, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(net, path, training={"epoch": 3, "validation_loss": 0.25})
    described = describe(path)
    assert isinstance(described, Description)
    assert (described.package, described.model, described.format) == (None, "Net", 1)
    assert described.config == {"width": 5}
    assert described.classes == ("top", "qcd")
    assert described.features == net.features.to_dict()
    assert described.training == {"epoch": 3, "validation_loss": 0.25}
    assert described.shapes["layers.0.weight"] == (5, 3)
    assert described.dtypes["layers.1.num_batches_tracked"] == "I64"
    assert described.size == path.stat().st_size
    script = f"""
import sys
from hepgen.checkpoint import describe
describe({str(path)!r})
assert "torch" not in sys.modules and "safetensors" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def test_a_feature_function_of_ones_own_must_be_given_again(
    simulators: types.ModuleType, tmp_path: Path
) -> None:
    path = tmp_path / "net.safetensors"
    net = Net(Features(["log_pt", double_pt]), ("top", "qcd"))
    save(net, path)
    with pytest.raises(ValueError, match="double_pt") as error:
        load(path)
    assert str(path) in str(error.value)
    again = load(path, functions=[double_pt])
    assert isinstance(again, Net)
    assert again.features.names == ("log_pt", "double_pt")


@pytest.mark.parametrize(
    ("content", "told"),
    [
        (b"", "(0 bytes) is no safetensors file"),
        (b"root\x00\x00\xf7\xb6" + 100 * b"\x00", "(108 bytes) is no safetensors file"),
        (struct.pack("<Q", 90) + b'{"weight"', "is cut short: 17 bytes, the header alone has 90"),
        (struct.pack("<Q", 9) + b'{"weight"', "has a damaged header"),
        (struct.pack("<Q", 8) + b'{"a": 3}', "has a damaged header"),
        (struct.pack("<Q", 2) + b"{}", "is a safetensors file, but none of hepgen's models"),
    ],
)
def test_other_files_are_told_from_models(tmp_path: Path, content: bytes, told: str) -> None:
    path = tmp_path / "other.safetensors"
    path.write_bytes(content)
    for read in (describe, load):
        with pytest.raises(CheckpointError) as error:
            read(path)
        assert told in str(error.value)
        assert str(path) in str(error.value)


@pytest.mark.parametrize("kept", [0.1, 0.5, 0.99])
def test_a_file_that_is_cut_short_is_named(net: Net, tmp_path: Path, kept: float) -> None:
    path = tmp_path / "net.safetensors"
    save(net, path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(kept * len(whole))])
    with pytest.raises(CheckpointError, match="is cut short"):
        load(path)
    path.write_bytes(whole + b"x")
    with pytest.raises(CheckpointError, match="has something behind its end"):
        load(path)


def test_a_missing_file_names_the_nearest(net: Net, tmp_path: Path) -> None:
    save(net, tmp_path / "particle_net.safetensors")
    with pytest.raises(FileNotFoundError, match=r"nearest: particle_net\.safetensors"):
        load(tmp_path / "particlenet.safetensors")


def test_a_newer_format_asks_for_an_upgrade(net: Net, tmp_path: Path) -> None:
    save(net, tmp_path / "net.safetensors")
    path = changed(tmp_path / "net.safetensors", lambda h: h.update(format=3, hepgen="2.1.0"))
    told = r"was written by hepgen 2\.1\.0 in format 3; this hepgen \S+ reads up to format 2; upgr"
    with pytest.raises(CheckpointError, match=told):
        load(path)


@pytest.mark.parametrize(
    ("header", "told"),
    [
        ({"class": "Nett"}, "needs 'Nett', which hepgen.simulators lacks; nearest: Net"),
        ({"class": "unload"}, "needs 'unload', which hepgen.simulators lacks"),
        ({"class": "__all__"}, "needs '__all__', which"),
        (
            {"package": "os"},
            "wants a class of 'os'; models are in taggers, certainty, simulators, flows",
        ),
        ({"package": "flows"}, "needs 'Net', which hepgen.flows lacks; nearest: "),
        ({"package": None}, "is no class of hepgen; make the model yourself and call"),
        ({"config": {"height": 3}}, "takes other arguments than that of this hepgen"),
    ],
)
def test_only_classes_of_hepgen_are_built(
    simulators: types.ModuleType, net: Net, tmp_path: Path, header: dict[str, Any], told: str
) -> None:
    save(net, tmp_path / "net.safetensors")
    path = changed(tmp_path / "net.safetensors", lambda h: h.update(header))
    with pytest.raises(CheckpointError) as error:
        load(path)
    assert told in str(error.value)


def test_a_part_of_hepgen_that_is_missing_is_named(
    simulators: types.ModuleType, net: Net, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save(net, tmp_path / "net.safetensors")
    monkeypatch.setattr(checkpoint, "PACKAGES", (*checkpoint.PACKAGES, "calorimetry"))

    def move(header: dict[str, Any]) -> None:
        header["package"] = "calorimetry"

    path = changed(tmp_path / "net.safetensors", move)
    with pytest.raises(CheckpointError, match=r"needs hepgen\.calorimetry, which this hepgen"):
        load(path)


def test_weights_that_do_not_fit_are_named(
    simulators: types.ModuleType, net: Net, tmp_path: Path
) -> None:
    save(net, tmp_path / "net.safetensors")
    path = changed(
        tmp_path / "net.safetensors",
        lambda header: header["config"].update(width=6),
        extra=torch.zeros(2),
    )
    with pytest.raises(CheckpointError, match="does not fit Net: unexpected: extra; ") as error:
        load(path)
    assert "layers.0.weight has shape (5, 3), wanted (6, 3)" in str(error.value)
    with pytest.raises(CheckpointError, match=r"missing: bias, weight; unexpected: layers\.0"):
        load_weights(nn.Linear(2, 2), tmp_path / "net.safetensors")


def test_a_model_that_cannot_be_written_leaves_the_file_before(net: Net, tmp_path: Path) -> None:
    path = tmp_path / "net.safetensors"
    save(net, path)
    before = path.read_bytes()
    net.width = np.array([1, 2])  # type: ignore[assignment]
    with pytest.raises(CheckpointError, match="Net cannot be saved: Object of type ndarray"):
        save(net, path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["net.safetensors"]


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_text("before")

    def fail() -> None:
        with replacing(path) as temporary:
            temporary.write_text("half")
            assert temporary.parent == tmp_path
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()
    assert path.read_text() == "before"
    with replacing(path) as temporary:
        temporary.write_text("after")
    assert path.read_text() == "after"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(FileNotFoundError), replacing(tmp_path / "no" / "file") as temporary:
        temporary.write_text("lost")


def test_the_packages_of_models_are_fixed() -> None:
    assert checkpoint.PACKAGES == ("taggers", "certainty", "simulators", "flows")
