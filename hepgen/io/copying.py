"""All columns of a ROOT tree as they are, to be written again with something added."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

import awkward as ak

from hepgen.io.errors import WrongType
from hepgen.io.root import RootSource, readable
from hepgen.io.storable import storable
from hepgen.io.write import Kind

__all__ = ["CopiedColumns"]


class CopiedColumns:
    """The columns of an open tree in the layout that `TreeWriter` takes.

    Lists of a TTree come out as arrays with a counter, also where they were a std::vector; counters
    keep their names where the file had any.

    Args:
        source: the open file.

    Attributes:
        kind: "ttree" or "rntuple", as the input.
        names: the columns at the top of the tree.
        counters: counter branch of each branch of lists that has one.

    Raises:
        WrongType: branches of a TTree that cannot be written again; the first ones are named.
        NotReadable: the file is damaged.
    """

    def __init__(self, source: RootSource) -> None:
        self._source = source
        self.kind: Kind = "rntuple" if source.is_rntuple else "ttree"
        self.counters: dict[str, str] = {}
        if source.is_rntuple:
            fields = [field.name for field in source.tree.fields]
            # Columns behind projected fields, which stand in the file beside these under "n...".
            self.names = [name for name in fields if not name.startswith("_collection")]
            return
        self.names = [branch.name for branch in source.tree.branches]
        for branch in source.tree.branches:
            # Not branch.count_branch, which searches all branches for each of them.
            counter = branch.member("fLeaves")[0].member("fLeafCount")
            if counter is not None:
                self.counters[branch.name] = counter.member("fName")
        self._check(source.tree.branches)

    def _check(self, branches: list[Any]) -> None:
        # A split object reads as its number of elements only, and would be lost without a word.
        refused = [branch.name for branch in branches if len(branch.branches) > 0]
        if not refused:
            for name, array in self.read(0, min(1, self._source.num_entries)).items():
                try:
                    storable({name: array}, self.kind)
                except WrongType:
                    refused.append(name)
        if refused:
            shown = ", ".join(refused[:5]) + (", ..." if len(refused) > 5 else "")
            raise WrongType(
                f"{self._source.where} cannot be copied: {len(refused)} of its "
                f"{len(branches)} branches hold objects or lists of lists ({shown}); "
                "write a friend tree instead"
            )

    def read(self, start: int, stop: int) -> Mapping[str, ak.Array]:
        """The columns for the entries start <= i < stop.

        Raises:
            NotReadable: the file is damaged.
        """
        with readable(f"{self._source.where} (entries {start} to {stop})"):
            arrays = self._source.tree.arrays(
                self.names, entry_start=start, entry_stop=stop, how=dict
            )
        return {name: arrays[name] for name in self.names}

    def steps(self, size: str, start: int, stop: int) -> Iterator[tuple[int, int]]:
        """Entry ranges of about one size in memory, given as "50 MB"; clusters of an RNTuple."""
        tree = self._source.tree
        if self.kind == "rntuple":
            # Asking uproot for sizes takes seconds with 1500 fields.
            starts = [cluster.num_first_entry for cluster in tree.cluster_summaries]
            edges = [start, *(edge for edge in starts if start < edge < stop), stop]
            yield from pairwise(edges)
            return
        rows = max(1, tree.num_entries_for(size, self.names, entry_start=start, entry_stop=stop))
        for first in range(start, stop, rows):
            yield first, min(first + rows, stop)
