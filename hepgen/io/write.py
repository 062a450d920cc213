"""Columns into ROOT files, as a TTree or an RNTuple, at once or as a stream.

uproot writes the bytes (J. Pivarski et al., https://github.com/scikit-hep/uproot5). A file appears
under its name only when it is complete; an error, Ctrl-C or a full disk leaves nothing behind.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Literal

import awkward as ak
import uproot

from hepgen.io.errors import InputError, MissingName, WrongType
from hepgen.io.partial import PartialFile
from hepgen.io.storable import storable
from hepgen.io.whole import WholeFile

__all__ = ["COMPRESSIONS", "Kind", "TreeWriter", "write"]

Kind = Literal["ttree", "rntuple"]

# No ZLIB, though it is uproot's default: 50 MB take 2.5 s with it, 0.3 s with ZSTD, 0.1 s with LZ4.
COMPRESSIONS = {"zstd": uproot.ZSTD(5), "lz4": uproot.LZ4(4), "none": None}

# A basket (cluster) an extend: small ones make files large and slow to read.
_LEAST_ROWS = 10_000
_BASKET_BYTES = 32_000_000
_MOST_BYTES = 500_000_000


def write(
    path: str | os.PathLike[str],
    columns: Mapping[str, Any] | ak.Array,
    *,
    tree: str = "tree",
    kind: Kind = "ttree",
    overwrite: bool = False,
    compression: str = "zstd",
    metadata: Mapping[str, str] | None = None,
) -> Path:
    """Write columns to a new ROOT file.

    Args:
        path: the file.
        columns: arrays of equal length by name (numpy; awkward, also jagged or of records), or an
            awkward record array such as jets. In a TTree a record ``Jet`` becomes ``Jet_pt`` and so
            on, and lists get a counter branch, ``nJet``; in an RNTuple they stay as they are.
        tree: name of the TTree or RNTuple.
        kind: "ttree", which every ROOT reads, or "rntuple", which holds lists of lists too.
        overwrite: whether a file of that name may be replaced.
        compression: "zstd" (level 5), "lz4" (level 4; larger, and faster to read) or "none".
        metadata: texts to store beside the tree, as TObjString by name.

    Returns:
        The path.

    Raises:
        OutputExists: the file exists and ``overwrite`` is false (a FileExistsError too).
        MissingFile: there is no such folder.
        WrongType: a column that ROOT cannot store.
        InputError: columns of different length, or an unknown kind or compression.
        OSError: the disk is full, or writing is not allowed.
    """
    with TreeWriter(
        path,
        tree=tree,
        kind=kind,
        overwrite=overwrite,
        compression=compression,
        metadata=metadata,
    ) as writer:
        writer.extend(columns)
    return Path(path)


class TreeWriter(WholeFile):
    """Writes a tree piece by piece; use it in a ``with`` statement, which closes or discards it.

    Pieces are gathered until a basket is worth writing: at least 10 000 rows and about 32 MB, but
    no more than 500 MB. The first piece fixes names and types.

    Args:
        path: the file.
        tree: name of the TTree or RNTuple.
        kind: "ttree" or "rntuple".
        overwrite: whether a file of that name may be replaced.
        compression: "zstd", "lz4" or "none".
        counters: for a TTree, the counter branch of columns of lists, such as
            ``{"Jet_pt": "nJet", "Jet_eta": "nJet"}``; others get an n before their name.
        metadata: texts to store beside the tree, as TObjString by name.

    Raises:
        OutputExists: the file exists and ``overwrite`` is false.
        MissingFile: there is no such folder.
        InputError: an unknown kind or compression, or a text with the name of the tree.
        OSError: writing is not allowed there.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        tree: str = "tree",
        kind: Kind = "ttree",
        overwrite: bool = False,
        compression: str = "zstd",
        counters: Mapping[str, str] | None = None,
        metadata: Mapping[str, str] | None = None,
    ) -> None:
        _among("kind", kind, ("ttree", "rntuple"))
        _among("compression", compression, COMPRESSIONS)
        self._metadata = dict(metadata or {})
        if tree in self._metadata:
            raise InputError(f"{tree!r} cannot be the name of the tree and of a text beside it")
        self.tree = tree
        self.kind = kind
        self.num_rows = 0
        self._counters = dict(counters or {})
        self._types: dict[str, Any] = {}
        self._pending: list[dict[str, ak.Array]] = []
        self._num_pending = 0
        self._partial = PartialFile(path, overwrite=overwrite)
        self.path = self._partial.path
        with self._reported():
            self._file = uproot.recreate(
                self._partial.temporary, compression=COMPRESSIONS[compression]
            )

    def extend(self, columns: Mapping[str, Any] | ak.Array) -> None:
        """Add rows.

        Args:
            columns: as for `write`; names and types as in the first call.

        Raises:
            WrongType: a column that ROOT cannot store, or of another type than before.
            MissingName: a column that is missing, or was not there before.
            OSError: the disk is full.
        """
        piece = storable(columns, self.kind)
        if self._pending or self._types:
            self._check_names(piece)
        self._pending.append(piece)
        self._num_pending += len(next(iter(piece.values())))
        rows = self._rows_per_basket(piece)
        if self._num_pending >= rows:
            self._flush(rows, everything=False)

    def close(self) -> None:
        """Write what is left and give the file its name; doing so twice is doing so once.

        Raises:
            InputError: no columns were ever given.
            OSError: the disk is full.
        """
        if self._file.closed:
            return
        try:
            if not self._pending and not self._types:
                raise InputError(f"{self.path} was given no columns, not even empty ones")
            self._flush(max(self._num_pending, 1), everything=True)
            with self._reported():
                for name, text in self._metadata.items():
                    self._file[name] = text
                self._file.close()
                self._partial.sync()
            self._partial.keep()
        except BaseException:
            self.discard()
            raise

    def discard(self) -> None:
        """Give up: nothing of this file stays, and one that was to be replaced stays as it was."""
        # Closing writes the directory; on a full disk it fails again, with nothing left to lose.
        with contextlib.suppress(OSError):
            self._file.close()
        self._partial.discard()

    def _check_names(self, piece: Mapping[str, Any]) -> None:
        known = self._types or self._pending[0]
        for names, others, where in ((known, piece, "next"), (piece, known, "first")):
            for name in names:
                if name not in others:
                    where = f"the {where} rows for {self.path}"
                    raise MissingName.among(name, others, kind="column", where=where)

    def _rows_per_basket(self, piece: Mapping[str, ak.Array]) -> int:
        size = sum(array.nbytes for array in piece.values())
        row = max(1.0, size / max(1, len(next(iter(piece.values())))))
        wanted = max(_LEAST_ROWS, int(_BASKET_BYTES / row))
        return max(1, min(wanted, int(_MOST_BYTES / row)))

    def _flush(self, rows: int, *, everything: bool) -> None:
        """Write the pending rows in baskets of ``rows``; a smaller rest waits unless everything."""
        if not self._pending:
            return
        names = list(self._pending[0])
        merged = {name: self._merged(name) for name in names}
        self._pending = []
        if not self._types:
            self._make_tree(merged)
        merged = {name: self._of_first_type(name, array) for name, array in merged.items()}
        start = 0
        while self._num_pending >= rows or (everything and self._num_pending):
            stop = start + min(rows, self._num_pending)
            with self._reported():
                self._file[self.tree].extend(
                    {name: ak.to_packed(array[start:stop]) for name, array in merged.items()}
                )
            self.num_rows += stop - start
            self._num_pending -= stop - start
            start = stop
        if self._num_pending:
            self._pending = [{name: array[start:] for name, array in merged.items()}]

    def _merged(self, name: str) -> ak.Array:
        pieces = [piece[name] for piece in self._pending]
        types = {str(piece.type.content) for piece in pieces}
        known = {text for text in types if "unknown" not in text}
        if len(known) > 1:
            raise WrongType(
                f"column {name!r} of {self.path} is {' and '.join(sorted(known))} in turn"
            )
        return pieces[0] if len(pieces) == 1 else ak.concatenate(pieces)

    def _of_first_type(self, name: str, array: ak.Array) -> ak.Array:
        first, now = self._types[name], array.type.content
        if str(now) == str(first):
            return array
        if "unknown" in str(now):
            return ak.enforce_type(array, first)
        raise WrongType(f"column {name!r} of {self.path} was {first} at first and is {now} now")

    def _make_tree(self, columns: Mapping[str, ak.Array]) -> None:
        # Lists that are all empty have no type; those of ROOT need one.
        typed = {
            name: ak.values_astype(array, "float64", including_unknown=True)
            if "unknown" in str(array.type)
            else array
            for name, array in columns.items()
        }
        self._types = {name: array.type.content for name, array in typed.items()}
        with self._reported():
            if self.kind == "rntuple":
                form = ak.zip(typed, depth_limit=1).layout.form
                self._file.mkrntuple(self.tree, form)
            else:
                self._file.mktree(
                    self.tree,
                    {name: _branch_type(array) for name, array in typed.items()},
                    counter_name=lambda column: self._counters.get(column, f"n{column}"),
                )

    @contextlib.contextmanager
    def _reported(self) -> Iterator[None]:
        """What the system says when it cannot write, with the name of the file the user gave."""
        try:
            yield
        except OSError as error:
            raise OSError(
                error.errno,
                f"{error.strerror or error} after {self.num_rows} rows; nothing is left of it",
                str(self.path),
            ) from error


def _branch_type(array: ak.Array) -> Any:
    """The type of a branch as uproot wants it."""
    layout = array.layout
    if layout.is_numpy or (layout.is_regular and not layout.parameter("__array__")):
        flat = ak.to_numpy(array[:0])
        return flat.dtype if flat.ndim == 1 else (flat.dtype, flat.shape[1:])
    return array.type.content


def _among(what: str, value: str, allowed: Any) -> None:
    if value not in allowed:
        raise InputError(f"{what} {value!r} is not known; one of {', '.join(allowed)}")
