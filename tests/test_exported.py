"""Exported programs and their files; what they compute is in the contract of the taggers."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest
import torch

import hepgen
from hepgen import cli
from hepgen.checkpoint import CheckpointError
from hepgen.data import Features
from hepgen.exported import Exported, export, load_exported
from hepgen.taggers import ParticleFlowNetwork, Tagger
from tests.taggers.jets import CLASSES, make, make_packed


class Stubborn(Tagger):
    """A tagger that looks at a number on its way."""

    def __init__(self, features: Features, classes: tuple[str, ...]) -> None:
        super().__init__(features, classes)
        self.layer = torch.nn.Linear(len(features), self.width)

    def forward(self, jets):
        if float(jets.x.sum()) > 0:
            return self.layer(jets.x[: jets.num_graphs])
        return -self.layer(jets.x[: jets.num_graphs])


def test_the_file_tells_what_goes_in_and_what_comes_out(tmp_path: Path) -> None:
    tagger = ParticleFlowNetwork(Features(), CLASSES, phi_channels=(8, 8))
    export(tagger, tmp_path / "model.pt2")
    program = load_exported(tmp_path / "model.pt2")
    assert isinstance(program, Exported)
    assert program.about["scores"] == ["top", "qcd"]
    assert program.about["inputs"] == ["x", "ptr", "pos", "p4"]
    assert program.about["config"]["phi_channels"] == [8, 8]
    features = Features.from_dict(program.about["features"])
    assert features.names == tagger.features.names
    packed = make_packed([4, 0, 9])
    tensors = (torch.from_numpy(a) for a in (packed.x, packed.offsets, packed.pos, packed.p4))
    torch.testing.assert_close(program(*tensors), torch.from_numpy(tagger.predict(packed)))


def test_the_command_line_exports(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tagger = ParticleFlowNetwork(Features(), CLASSES, phi_channels=(8, 8)).eval()
    tagger.save(tmp_path / "model.safetensors")
    out = str(tmp_path / "model.pt2")
    assert cli.main(["export", str(tmp_path / "model.safetensors"), "-o", out]) == 0
    assert capsys.readouterr().out.strip() == out
    batch = make([3, 5])
    got = hepgen.load_exported(out)(batch.x, batch.ptr, batch.pos, batch.p4)
    torch.testing.assert_close(got, tagger(batch).detach().softmax(1))


def test_what_cannot_be_followed_is_told_and_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"torch\.export cannot follow Stubborn"):
        hepgen.export(Stubborn(Features(), CLASSES), tmp_path / "model.pt2")
    assert list(tmp_path.iterdir()) == []


def test_other_files_are_refused(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"no file .*model\.pt2"):
        load_exported(tmp_path / "model.pt2")
    (tmp_path / "text.pt2").write_text("hello")
    with pytest.raises(CheckpointError, match=r"text\.pt2 is no program of torch\.export"):
        load_exported(tmp_path / "text.pt2")
    whole = tmp_path / "whole.pt2"
    export(ParticleFlowNetwork(Features(), CLASSES, phi_channels=(8, 8)), whole)
    content = bytearray(whole.read_bytes())
    with zipfile.ZipFile(whole) as archive:
        largest = max(archive.infolist(), key=lambda info: info.file_size)
    content[largest.header_offset + largest.file_size // 2] ^= 1
    (tmp_path / "flipped.pt2").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"flipped\.pt2 is damaged: .* is not what was"):
        load_exported(tmp_path / "flipped.pt2")
    (tmp_path / "short.pt2").write_bytes(whole.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"short\.pt2 is no program of torch\.export"):
        load_exported(tmp_path / "short.pt2")
    program = torch.export.export(torch.nn.Linear(2, 2), (torch.zeros(3, 2),))
    torch.export.save(program, tmp_path / "other.pt2")
    with pytest.raises(CheckpointError, match="but none of hepgen's"):
        load_exported(tmp_path / "other.pt2")
