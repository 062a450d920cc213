"""Times of simulators."""

from __future__ import annotations

import pytest
import torch

from hepgen.calorimeter import ShowerError
from hepgen.simulators import GenerationTime, Simulator, generation_times
from tests.simulators.samples import made


class Sleeper(Simulator):
    """Five thousandths of a second a batch, whatever its size, by a clock of its own."""

    now = 0.0

    def loss(self, batch):
        raise NotImplementedError

    def generate(self, incident_energy, context, generator):
        Sleeper.now += 5e-3
        return torch.zeros(len(incident_energy), self.geometry.num_voxels)


@pytest.fixture(autouse=True)
def still(monkeypatch):
    monkeypatch.setattr("hepgen.simulators.timing.time.perf_counter", lambda: Sleeper.now)


def test_times_are_those_of_a_shower():
    one, ten = generation_times(Sleeper.of(made(10)), (10, 1), repetitions=3)
    assert isinstance(one, GenerationTime)
    assert (one.batch, ten.batch, one.repetitions) == (1, 10, 3)
    assert one.milliseconds == pytest.approx(5.0)
    assert ten.milliseconds == pytest.approx(0.5)
    assert one.spread == pytest.approx(1)
    assert one.to_dict()["device"] == "cpu"


def test_batches_that_would_take_too_long_are_left_out():
    found = generation_times(Sleeper.of(made(10)), (1, 100_000), seconds=0.2)
    assert [time.batch for time in found] == [1]


def test_there_is_no_batch_of_none():
    with pytest.raises(ShowerError, match=r"batches=\[0\]"):
        generation_times(Sleeper.of(made(10)), (0,))
