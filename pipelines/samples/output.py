"""A ROOT file of jets, written a chunk at a time under a temporary name."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import awkward as ak
import uproot

from pipelines.samples.jets import Jets

PART = "part_"


@contextmanager
def writing(output: Path, kind: str) -> Iterator[Callable[[Jets], None]]:
    """Open `output` for writing; what is yielded appends jets to it.

    The file gets its name when the block ends without an error and is removed otherwise. It is
    compressed with LZMA, which gives files a fifth smaller than ZSTD for floats of few mantissa
    bits.

    Args:
        output: the file to write.
        kind: "ttree" or "rntuple"; the object is named `tree` in both.

    Raises:
        ValueError: `kind` is neither.
        OSError: the file cannot be written.
    """
    if kind not in ("ttree", "rntuple"):
        raise ValueError(f"kind must be 'ttree' or 'rntuple', got {kind!r}")
    partial = output.with_name(f".{output.name}.{os.getpid()}.part")
    try:
        with uproot.recreate(partial, compression=uproot.LZMA(7)) as file:
            yield _writer(file, kind)
        os.replace(partial, output)
    finally:
        partial.unlink(missing_ok=True)


def _writer(file: Any, kind: str) -> Callable[[Jets], None]:
    """A function that appends jets to `tree` of an open file."""
    tree: Any = None

    def extend(jets: Jets) -> None:
        nonlocal tree
        columns = _tree_columns(jets) if kind == "ttree" else _fields(jets)
        if tree is None and kind == "ttree":
            tree = file.mktree(
                "tree", {name: ak.type(ak.Array(c)).content for name, c in columns.items()}
            )
        elif tree is None:
            tree = file.mkrntuple("tree", columns)
            return
        tree.extend(columns)

    return extend


def _fields(jets: Jets) -> dict[str, ak.Array]:
    """One array a column, jagged for constituents."""
    offsets = ak.index.Index64(jets.offsets)
    return {
        name: ak.Array(ak.contents.ListOffsetArray(offsets, ak.contents.NumpyArray(column)))
        if name.startswith(PART)
        else ak.Array(column)
        for name, column in jets.columns.items()
    }


def _tree_columns(jets: Jets) -> dict[str, ak.Array]:
    """The same for a TTree: all constituent branches share the counter `npart`."""
    fields = _fields(jets)
    part = {
        name.removeprefix(PART): fields.pop(name) for name in list(fields) if name.startswith(PART)
    }
    return {"part": ak.zip(part), **fields}
