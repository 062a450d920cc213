"""The friend tree of one input file, row for row, or a copy of it with scores added.

ROOT joins a friend tree by entry (TTree::AddFriend, TChain, RDatasetSpec::WithGlobalFriends), so a
friend has every entry of its input in the same order. ROOT 6.40 knows no friends of an RNTuple;
scores of such a file go into a full copy of it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import awkward as ak
import numpy as np

from hepgen.io.columns import Jagged
from hepgen.io.copying import CopiedColumns
from hepgen.io.errors import InputError
from hepgen.io.files import FileSpec, PathLike, expand
from hepgen.io.friend_layout import FriendLayout, with_tree
from hepgen.io.jet_counts import JetCounts
from hepgen.io.root import RootSource
from hepgen.io.schema import Schema
from hepgen.io.schemas import find
from hepgen.io.scores import ScoredJets, branch_name, score_matrix
from hepgen.io.sources import open_source
from hepgen.io.whole import WholeFile
from hepgen.io.write import TreeWriter

__all__ = ["METADATA", "FriendWriter"]

METADATA = "hepgen_model"
"""Name of the text beside the tree: JSON with model, classes, branches and input."""

_STEP = "50 MB"
_ROWS = 100_000


class FriendWriter(WholeFile):
    """Writes the friend tree of one input file while its jets come by, in the order of the file.

    Use it in a ``with`` statement. Every entry of the input has a row. Where an entry is a jet, the
    branches are ``score_<class>``, float32, NaN for an entry without a scored jet. Where an entry
    is an event, they are lists ``<Jet>_<model>_<class>`` with all jets of the collection in the
    order of the input, NaN for a jet that was not scored (by a selection, say), an empty list where
    there are no jets. ``run``, ``luminosityBlock`` and ``event``, or what the input calls them, are
    copied where it has them.

    Args:
        path: the file to write.
        of: the input file, ``file.root:tree`` too.
        classes: names of the classes, and of other columns that a model gives.
        estimates: those of them that are no classes; where an entry is a jet their branches have
            their own names.
        schema: what the input follows, as for `hepgen.read`; None recognises it.
        collection: the jets, such as "FatJet"; None for the usual ones.
        one_per_entry: take each entry for a jet, without looking for a schema.
        tree: name of the friend tree; a copy keeps the name of the input's tree.
        name: name of the model in branches of lists.
        observers: further branches of the input to copy, or else fields of the jets (as float,
            placed as the scores are: ``<field>``, or ``<Jet>_<model>_<field>``).
        copy: write all columns of the input (TTree or RNTuple as it is) with the scores added,
            rather than a friend tree; None does so for an RNTuple only.
        overwrite: whether a file of that name may be replaced.
        compression: "zstd", "lz4" or "none".
        metadata: what to store about the model beside its name: hash, version.

    Attributes:
        path: the file that is written.
        classes: names of the classes.
        num_entries: entries of the input.
        num_scored: jets that came by so far.

    Raises:
        InputError: a friend of an RNTuple is asked for, the output is the input itself, or the
            input is unusable.
        MissingName: no such collection.
        OutputExists: the file exists and ``overwrite`` is false.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        of: PathLike,
        classes: Sequence[str],
        estimates: Sequence[str] = (),
        schema: Any = None,
        collection: str | None = None,
        one_per_entry: bool = False,
        tree: str = "hepgen",
        name: str | None = None,
        observers: Sequence[str] = (),
        copy: bool | None = False,
        overwrite: bool = False,
        compression: str = "zstd",
        metadata: Mapping[str, Any] | None = None,
    ) -> None:
        spec = with_tree(_one_file(of, path), None, schema)
        self.classes = tuple(classes)
        self._source = open_source(spec, None)
        try:
            if copy is None:
                copy = bool(getattr(self._source, "is_rntuple", False))
            self._copied = self._copy() if copy else None
            self._refuse_friend_of_rntuple()
            self._counts = None if one_per_entry else self._jet_counts(schema, collection)
            self._layout = FriendLayout(
                self._source,
                classes=self.classes,
                estimates=estimates,
                counts=self._counts,
                name=name or "hepgen",
                observers=observers,
            )
            counters = self._copied.counters if self._copied else {}
            self._writer = TreeWriter(
                path,
                tree=(self._source.tree_name or tree) if copy else tree,
                kind=self._copied.kind if self._copied else "ttree",
                overwrite=overwrite,
                compression=compression,
                counters=counters | self._layout.counters,
                metadata={METADATA: json.dumps(self._layout.about(metadata or {}))},
            )
        except BaseException:
            self._source.__exit__(None, None, None)
            raise
        self.path = self._writer.path
        self.num_entries = self._source.num_entries
        self.num_scored = 0
        self._last = (-1, 0)
        self._next_row = 0
        self._pending: list[ScoredJets] = []

    def _copy(self) -> CopiedColumns:
        if not isinstance(self._source, RootSource):
            raise InputError(
                f"{self._source.where} is no ROOT file, which a copy would be; write a friend"
            )
        return CopiedColumns(self._source)

    def _refuse_friend_of_rntuple(self) -> None:
        if self._copied is None and getattr(self._source, "is_rntuple", False):
            raise InputError(
                f"{self._source.where} is an RNTuple, of which ROOT knows no friends (6.40: "
                "neither AddFriend nor RDatasetSpec); copy=True writes all its columns with the "
                "scores"
            )

    def _jet_counts(self, schema: Any, collection: str | None) -> JetCounts | None:
        found: Schema = find(schema, self._source.names, where=self._source.where)
        counts = JetCounts(self._source, found, collection)
        return None if counts.one_per_entry else counts

    def extend(self, scores: Any, jets: ak.Array | None = None, *, sort: bool = False) -> None:
        """Add the scores of the next jets.

        Args:
            scores: (J, K) in the order of ``classes``, or a mapping of (J,) by class.
            jets: the jets, with ``entry`` and ``jet_index``, in the order of the file; None if they
                are all jets of the next J entries.
            sort: bring these jets into the order of the file first.

        Raises:
            InputError: another number of scores than of jets, a jet twice, out of order, or one
                that the file does not have.
            MissingName: an observer that is neither a branch of the input nor a field of the jets.
        """
        placed = self._placed(scores, jets)
        self._add(placed.sorted() if sort else placed)

    def _placed(self, scores: Any, jets: ak.Array | None) -> ScoredJets:
        matrix, names = score_matrix(scores, self.classes)
        if jets is None:
            entry = np.arange(self._last[0] + 1, self._last[0] + 1 + len(matrix))
            index = np.zeros(len(entry), dtype=np.int64)
            self._layout.check_fields(())
        else:
            if len(jets) != len(matrix):
                raise InputError(f"{len(matrix)} scores for {len(jets)} jets")
            self._layout.check_fields(jets.fields)
            entry, index = (np.asarray(jets[f], dtype=np.int64) for f in ("entry", "jet_index"))
        branches = self._layout.branches
        values: dict[str, Any] = {branches[c]: matrix[:, i] for i, c in enumerate(names)}
        if jets is not None:
            values |= {branches[f]: _as_float(jets[f]) for f in self._layout.from_jets}
        return ScoredJets(entry, index, values)

    def _add(self, jets: ScoredJets) -> None:
        jets.check(self._last, self._source.num_entries, self._source.where)
        if len(jets.entry) == 0:
            return
        self._last = (int(jets.entry[-1]), int(jets.jet_index[-1]))
        self.num_scored += len(jets.entry)
        self._pending.append(jets)
        # The last entry may go on in the next call.
        if self._last[0] - self._next_row >= _ROWS:
            self._flush(self._last[0])

    def _flush(self, stop: int) -> None:
        """Write the rows before ``stop``."""
        jets = ScoredJets.concatenate(self._pending or [self._nothing()])
        cut = int(np.searchsorted(jets.entry, stop))
        self._pending = [jets.select(slice(cut, None))]
        for start, end in self._steps(self._next_row, stop):
            low, high = np.searchsorted(jets.entry, (start, end))
            self._writer.extend(self._rows(jets.select(slice(low, high)), start, end))
        self._next_row = stop

    def _nothing(self) -> ScoredJets:
        none = np.zeros(0, dtype=np.int64)
        values = dict.fromkeys(self._layout.branches.values(), np.zeros(0, dtype=np.float32))
        return ScoredJets(none, none, values)

    def _steps(self, start: int, stop: int) -> Iterator[tuple[int, int]]:
        if self._copied is not None:
            return self._copied.steps(_STEP, start, stop)
        if self._layout.from_file:
            return self._source.steps(self._layout.from_file, _STEP, start, stop)
        return ((first, min(first + _ROWS, stop)) for first in range(start, stop, _ROWS))

    def _rows(self, jets: ScoredJets, start: int, stop: int) -> dict[str, Any]:
        if self._copied is not None:
            columns: dict[str, Any] = dict(self._copied.read(start, stop))
        else:
            read = self._source.read(self._layout.from_file, start, stop)
            columns = {branch_name(name): column for name, column in read.items()}
        if self._counts is None:
            added: dict[str, Any] = jets.of_entries(start, stop)
        else:
            offsets = self._counts.read(start, stop)
            placed = jets.of_jets(start, offsets, self._source.where)
            added = {name: Jagged(offsets, values) for name, values in placed.items()}
        for name in added:
            if name in columns:
                where = "copy" if self._copied else "friend tree"
                raise InputError(
                    f"the {where} would have two branches {name!r}; give another name= or class"
                )
        return columns | added

    def close(self) -> None:
        """Write the remaining rows, with NaN where no score came, and give the file its name.

        Raises:
            OSError: the disk is full.
        """
        try:
            num_entries = self._source.num_entries
            if num_entries:
                self._flush(num_entries)
            else:
                self._writer.extend(self._rows(self._nothing(), 0, 0))
            self._writer.close()
        except BaseException:
            self.discard()
            raise
        self._source.__exit__(None, None, None)

    def discard(self) -> None:
        """Give up: nothing of the output stays."""
        self._source.__exit__(None, None, None)
        self._writer.discard()


def _one_file(of: PathLike, path: str | os.PathLike[str]) -> FileSpec:
    specs = expand(of)
    if len(specs) > 1:
        raise InputError(f"a friend tree is of one file, but {of} is {len(specs)} files")
    both = os.path.exists(path) and os.path.exists(specs[0].path)
    if both and os.path.samefile(path, specs[0].path):
        raise InputError(f"the output {os.fspath(path)} is the input itself")
    return specs[0]


def _as_float(values: Any) -> Any:
    """A field of jets with room for NaN, without loss of digits."""
    values = np.asarray(values)
    return values.astype(np.result_type(values.dtype, np.float32), copy=False)
