"""Which branches a friend tree has, and what each is called."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

from hepgen.io.errors import MissingName
from hepgen.io.files import FileSpec
from hepgen.io.jet_counts import JetCounts
from hepgen.io.mapping import from_mapping, from_yaml
from hepgen.io.schema import Source
from hepgen.io.scores import branch_name

__all__ = ["EVENT_NUMBERS", "FriendLayout", "with_tree"]

EVENT_NUMBERS = (
    *("run", "luminosityBlock", "event"),
    *("runNumber", "lumiBlock", "eventNumber"),
    *("RunNum", "LumiBlockNum", "EvtNum"),
    *("EventInfoAuxDyn.runNumber", "EventInfoAuxDyn.lumiBlock", "EventInfoAuxDyn.eventNumber"),
)
"""Run, block and event as NanoAOD, plain ATLAS ntuples, TreeMaker and PHYSLITE call them."""


def with_tree(spec: FileSpec, tree: str | None, schema: Any = None) -> FileSpec:
    """A file with the name of its tree, where something gives it.

    Args:
        spec: the file; the tree that it names itself comes first.
        tree: the name, if the user gave one.
        schema: what the user gave as schema; one of their own may name a tree.

    Returns:
        The file, with ``tree`` still None where nothing names it.

    Raises:
        InputError: the schema is a YAML file or mapping that cannot be read.
    """
    name = spec.tree or tree
    if name is None and isinstance(schema, Mapping):
        name = from_mapping(schema).tree
    elif name is None and str(schema).endswith((".yaml", ".yml")):
        name = from_yaml(schema).tree
    elif name is None:
        name = getattr(schema, "tree", None)
    return replace(spec, tree=name)


class FriendLayout:
    """The branches of the friend tree of one file.

    Args:
        source: the input.
        classes: names of the classes, and of other columns that a model gives.
        estimates: those of them that are no classes.
        counts: jets of the entries; None where each entry is a jet.
        name: name of the model, in branches of lists.
        observers: further columns, branches of the input or else fields of the jets.

    Attributes:
        branches: branch of each class, and of each observer that is a field of the jets.
        from_file: columns of the input that are copied.
        from_jets: observers that are fields of the jets.
        counters: counter branch of the branches of lists.
    """

    def __init__(
        self,
        source: Source,
        *,
        classes: Sequence[str],
        counts: JetCounts | None,
        name: str,
        observers: Sequence[str],
        estimates: Sequence[str] = (),
    ) -> None:
        self._source = source
        self._classes = tuple(name for name in classes if name not in estimates)
        self._name = name
        self._collection = counts.collection if counts else None
        columns = set(source.names)
        self.from_jets = [column for column in observers if column not in columns]
        event = [column for column in EVENT_NUMBERS if column in columns]
        copied = [column for column in observers if column in columns]
        self.from_file = list(dict.fromkeys([*event, *copied]))
        self.counters: dict[str, str] = {}
        if counts is None:
            self.branches = {name: branch_name("score", name) for name in self._classes}
            self.branches |= {name: branch_name(name) for name in (*estimates, *self.from_jets)}
        else:
            prefix = branch_name(counts.collection or "Jet", name)
            own = [*classes, *self.from_jets]
            self.branches = {column: branch_name(prefix, column) for column in own}
            self.counters = dict.fromkeys(self.branches.values(), f"n{prefix}")

    def check_fields(self, fields: Sequence[str]) -> None:
        """See that the jets have all observers that are not in the file.

        Raises:
            MissingName: they do not.
        """
        for name in self.from_jets:
            if name not in fields:
                known = [*self._source.names, *fields]
                where = f"{self._source.where}, nor a field of its jets"
                raise MissingName.among(name, known, kind="column", where=where)

    def about(self, metadata: Mapping[str, Any]) -> dict[str, Any]:
        """What is told of the model and of the input beside the tree."""
        return {
            "model": self._name,
            "classes": list(self._classes),
            "branches": {name: self.branches[name] for name in self._classes},
            "collection": self._collection,
            "input": self._source.spec.name,
            "input_tree": self._source.tree_name,
            **metadata,
        }
