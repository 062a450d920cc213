"""A model's arguments are what it keeps under their names."""

from __future__ import annotations

import pytest

from hepgen.arguments import kept_arguments
from hepgen.paper import Paper


class Model:
    def __init__(self, width: int, channels: tuple[int, ...] = (1, 2), act: object = None) -> None:
        self.width, self.channels, self.act = width, channels, act


class Forgetful:
    def __init__(self, width: int) -> None:
        pass


class Loose:
    def __init__(self, **more: int) -> None:
        pass


def test_arguments_come_back_as_json_has_them() -> None:
    assert kept_arguments(Model(3)) == {"width": 3, "channels": [1, 2], "act": None}
    assert kept_arguments(Model(3), without=("act", "width")) == {"channels": [1, 2]}


def test_what_cannot_be_kept_is_named() -> None:
    with pytest.raises(TypeError, match="'act' of Model should be what JSON can hold"):
        kept_arguments(Model(3, act=object()))
    with pytest.raises(TypeError, match=r"'width' of Forgetful should be kept as self\.width"):
        kept_arguments(Forgetful(3))
    with pytest.raises(TypeError, match="'more' of Loose should be a named one"):
        kept_arguments(Loose(a=3))


def test_the_number_on_arxiv_tells_the_year() -> None:
    assert Paper("K. Cranmer", "A title", "Journal 1 (2018) 1", "1810.05165").year == 2018
    assert Paper("K. Cranmer", "A title", "Journal 1 (2009) 1", "0706.0001").year == 2007
