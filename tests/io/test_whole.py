"""Files that are written piece by piece: whole in the end or not there."""

from __future__ import annotations

import pytest

from hepgen.calorimeter import ChallengeWriter, ShowerTreeWriter
from hepgen.io.friend_writer import FriendWriter
from hepgen.io.whole import WholeFile
from hepgen.io.write import TreeWriter


class Told(WholeFile):
    def __init__(self) -> None:
        self.told: list[str] = []

    def close(self) -> None:
        self.told.append("close")

    def discard(self) -> None:
        self.told.append("discard")


def test_a_block_that_ends_well_closes_the_file_and_another_gives_it_up() -> None:
    with Told() as well:
        pass
    assert well.told == ["close"]
    ill = Told()
    with pytest.raises(KeyboardInterrupt), ill:
        raise KeyboardInterrupt
    assert ill.told == ["discard"]


def test_all_writers_keep_to_it() -> None:
    for writer in (ChallengeWriter, ShowerTreeWriter, FriendWriter, TreeWriter):
        assert issubclass(writer, WholeFile)
