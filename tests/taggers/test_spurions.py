"""The fixed vectors."""

from __future__ import annotations

import pytest
import torch

from hepgen.kinematics import mass_squared
from hepgen.taggers.spurions import SPURIONS, check_spurions, spurion_vectors


def test_beams_are_lightlike_or_of_unit_mass_and_time_is_at_rest() -> None:
    vectors = spurion_vectors(["beams", "massive_beams", "time"], torch.zeros(1).double())
    expected = torch.tensor([0, 0, 1, 1, 1]).double()
    torch.testing.assert_close(mass_squared(vectors), expected)
    assert spurion_vectors([], torch.zeros(1)).shape == (0, 4)


def test_an_unknown_spurion_is_named_with_the_nearest() -> None:
    with pytest.raises(ValueError, match="no spurion 'beam'; nearest: beams"):
        check_spurions(["beam"])
    with pytest.raises(ValueError, match=r"such as \['time'\]"):
        check_spurions("time")
    assert check_spurions(["time"]) == ("time",)
    assert set(SPURIONS) == {"beams", "massive_beams", "time"}
