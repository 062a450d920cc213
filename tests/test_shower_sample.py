"""What the showers of a training run are conditional on, and how that is declared."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from hepgen import calorimeter
from hepgen.calorimeter import ShowerError
from hepgen.io.errors import MissingName
from hepgen.shower_sample import ShowerSample
from hepgen.simulators import Conditions
from tests.simulators.samples import made


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Showers with a run number of 200 values and a label of two, sorted by run."""
    path = tmp_path_factory.mktemp("sample") / "runs.hdf5"
    some = made(200)
    told = {"run": np.arange(200), "pdg": np.repeat([11, 22], 100)}
    calorimeter.write(path, replace(some, conditions=told))
    return str(path)


def law(sample):
    return sample.law([part for part in sample.parts() if part is not None])


def test_few_whole_numbers_are_labels_and_many_have_to_be_declared(files):
    with pytest.raises(ShowerError, match=r"run has \d+ different.*data\.labels: \[run\].*numbers"):
        law(ShowerSample(files))
    labelled = law(ShowerSample(files, labels=["run"]))
    assert labelled.categories == {"run": tuple(range(200)), "pdg": (11, 22)}
    number = law(ShowerSample(files, numbers=["run"]))
    assert number.ranges == {"run": (0.0, 199.0)}
    assert number.width == 1 + 1 + 2
    assert law(ShowerSample(files, conditions=["pdg"])).names == ("pdg",)
    assert law(ShowerSample(files, conditions=[])).names == ()


def test_labels_are_counted_over_all_pieces_of_a_sample(files):
    some = calorimeter.read(files)
    pieces = [Conditions.of(some[a : a + 20]) for a in range(0, 200, 20)]
    with pytest.raises(ShowerError, match="run has 200 different whole numbers"):
        Conditions.joined(pieces)
    assert len(Conditions.joined(pieces, labels=["run"]).categories["run"]) == 200
    streamed = ShowerSample(files, stream=True, labels=["run"])
    assert law(streamed) == law(ShowerSample(files, labels=["run"]))


def test_declarations_that_make_no_sense_are_refused(files):
    with pytest.raises(ShowerError, match="no condition 'rum' in these showers; nearest: run"):
        law(ShowerSample(files, labels=["rum"]))
    with pytest.raises(ShowerError, match="run cannot be both a label and a number"):
        law(ShowerSample(files, labels=["run"], numbers=["run"]))
    with pytest.raises(MissingName, match="rum"):
        ShowerSample(files, conditions=["rum"]).parts()
    half = replace(made(20), conditions={"pdg": np.full(20, 11.5)})
    with pytest.raises(ShowerError, match=r"pdg is 11\.5 and so on: labels are whole"):
        Conditions.of(half, labels=["pdg"])
    whole = replace(half, conditions={"pdg": np.full(20, 11.0)})
    assert Conditions.of(whole, labels=["pdg"]).categories == {"pdg": (11,)}
