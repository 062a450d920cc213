"""Models that are kept in files."""

from __future__ import annotations

import pytest
import torch

from hepgen.checkpoint import CheckpointError
from hepgen.simulators import CaloVAE, Correction, Simulator
from hepgen.simulators.kept import Kept
from tests.simulators.samples import made
from tests.simulators.sizes import SIZES


def test_a_file_gives_back_the_class_that_is_asked_for_or_says_what_it_holds(tmp_path):
    model = CaloVAE.of(made(20), **SIZES["CaloVAE"])
    model.save(tmp_path / "model.safetensors", training={"epochs": 0})
    for cls in (Kept, Simulator, CaloVAE):
        again = cls.load(tmp_path / "model.safetensors")
        assert type(again) is CaloVAE
        for name, tensor in model.state_dict().items():
            assert torch.equal(again.state_dict()[name], tensor)
    with pytest.raises(CheckpointError, match="holds CaloVAE, wanted Correction"):
        Correction.load(tmp_path / "model.safetensors")
