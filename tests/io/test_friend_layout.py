"""Which tree of a file is meant, where several may say so."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from hepgen.io.files import FileSpec
from hepgen.io.friend_layout import with_tree

MAPPING = {"tree": "said", "jets": {"pt": "a", "eta": "b", "phi": "c", "mass": "d"}}


@pytest.mark.parametrize(
    ("own", "asked", "schema", "expected"),
    [
        ("own", "asked", MAPPING, "own"),
        (None, "asked", MAPPING, "asked"),
        (None, None, MAPPING, "said"),
        (None, None, "NanoAOD", None),
        (None, None, None, None),
    ],
)
def test_the_file_names_its_tree_before_the_user_and_the_user_before_the_schema(
    own: str | None, asked: str | None, schema: Any, expected: str | None
) -> None:
    assert with_tree(FileSpec("jets.root", own), asked, schema).tree == expected


def test_a_schema_in_yaml_names_the_tree_too(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("tree: said\njets: {pt: a, eta: b, phi: c, mass: d}\n")
    assert with_tree(FileSpec("jets.root"), None, str(path)).tree == "said"
