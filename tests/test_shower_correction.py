"""``hepgen correct``: weights into files, and what they do."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hepgen import calorimeter
from hepgen.calorimeter import GeometryError
from hepgen.cli import main
from hepgen.io.errors import InputError, MissingFile, NotReadable, OutputExists
from hepgen.shower_correction import correct_showers
from hepgen.simulators import Correction
from tests.simulators.samples import IRREGULAR, made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("correct")
    truth, wrong = made(800, seed=1), made(800, seed=2)
    # Too many empty voxels in half of the showers: a mixture with 1600 of which some are right.
    holes = np.random.default_rng(3).random(wrong.voxels.shape) < 0.6
    bad = replace(wrong, voxels=wrong.voxels * holes)
    generated = calorimeter.Showers.joined([wrong[:400], bad[400:]])
    calorimeter.write(folder / "true.hdf5", truth)
    calorimeter.write(folder / "generated.hdf5", generated)
    return folder


def test_wrong_showers_get_small_weights(files, capsys):
    words = [str(files / "generated.hdf5"), "--reference", str(files / "true.hdf5")]
    words += ["-o", str(files / "correction.safetensors"), "--weighted", str(files / "w.root")]
    assert main(["correct", *words, "--progress", "false"]) == 0
    told = capsys.readouterr().out
    assert "effective" in told or "worth" in told
    geometry = made(1).geometry
    weight = calorimeter.read(files / "w.root", geometry).weight
    assert weight is not None
    assert weight[:400].mean() > 5 * weight[400:].mean()
    correction = Correction.load(files / "correction.safetensors")
    generated = calorimeter.read(files / "generated.hdf5")
    np.testing.assert_allclose(correction.weights(generated), weight, rtol=1e-3)


def test_nothing_is_overwritten_unasked(files, tmp_path):
    (tmp_path / "there.safetensors").touch()
    pair = [str(files / "generated.hdf5"), str(files / "true.hdf5")]
    with pytest.raises(OutputExists, match=r"there\.safetensors exists"):
        correct_showers(*pair, output=tmp_path / "there.safetensors")
    with pytest.raises(InputError, match=r"closure=1\.0"):
        correct_showers(*pair, output=tmp_path / "new.safetensors", closure=1.0)


def test_what_cannot_be_written_is_told_before_training(files, tmp_path, monkeypatch):
    monkeypatch.setattr(Correction, "fit", lambda *_, **__: pytest.fail("it was trained"))
    pair = [str(files / "generated.hdf5"), str(files / "true.hdf5")]
    model = tmp_path / "new.safetensors"
    with pytest.raises(NotReadable, match=r"w\.txt: wanted the name of a file that ends in"):
        correct_showers(*pair, output=model, weighted=tmp_path / "w.txt")
    with pytest.raises(NotReadable, match=r"new\.pt: wanted .* \.safetensors"):
        correct_showers(*pair, output=tmp_path / "new.pt")
    with pytest.raises(MissingFile, match=r"there is no folder .*nowhere"):
        correct_showers(*pair, output=tmp_path / "nowhere" / "new.safetensors")
    with pytest.raises(MissingFile, match=r"there is no folder .*nowhere"):
        correct_showers(*pair, output=model, weighted=tmp_path / "nowhere" / "w.root")
    with pytest.raises(OutputExists, match=r"true\.hdf5 exists"):
        correct_showers(*pair, output=model, weighted=files / "true.hdf5")
    calorimeter.write(tmp_path / "odd.hdf5", made(200, IRREGULAR))
    with pytest.raises(GeometryError, match="cannot be compared to"):
        correct_showers(pair[0], str(tmp_path / "odd.hdf5"), output=model)
