"""Names of runs that are set side by side."""

from __future__ import annotations

from hepgen.run_names import names_apart


def test_runs_of_one_name_are_told_apart_by_what_differs_in_their_paths() -> None:
    assert names_apart(["a", "b"], ["runs/1/x", "runs/2/x"]) == ["a", "b"]
    assert names_apart(["a", "a"], ["runs/1/x", "runs/2/x"]) == ["a (1)", "a (2)"]
    assert names_apart(["a", "a"], [None, "/runs"])[0] == "a"
    assert names_apart([], []) == []
