"""Scores back into ROOT: friend trees beside the files that the jets come from.

ROOT joins a friend tree by entry (TTree::AddFriend, TChain, RDatasetSpec::WithGlobalFriends), so a
friend has every entry of its input in the same order. ROOT 6.40 knows no friends of an RNTuple;
scores of such a file go into a full copy of it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np

from hepgen.io.errors import InputError, MissingFile
from hepgen.io.files import FileSpec, expand
from hepgen.io.friend_layout import with_tree
from hepgen.io.friend_writer import METADATA, FriendWriter
from hepgen.io.schemas import SCHEMAS
from hepgen.io.scores import score_matrix
from hepgen.io.sources import open_source

__all__ = ["METADATA", "FriendWriter", "output_paths", "write_friend"]


def write_friend(
    path: str | os.PathLike[str],
    scores: Any,
    *,
    of: Any,
    classes: Sequence[str] | None = None,
    jets: ak.Array | None = None,
    schema: Any = None,
    collection: str | None = None,
    tree: str = "hepgen",
    name: str | None = None,
    observers: Sequence[str] = (),
    copy: bool | None = False,
    overwrite: bool = False,
    compression: str = "zstd",
    metadata: Mapping[str, Any] | None = None,
) -> list[Path]:
    """Write scores as friend trees of the files that the jets come from.

    What stands in them is told by `FriendWriter`; the jets may come in any order.

    Args:
        path: the file to write; with several inputs a folder, for files of the names of the inputs.
        scores: (B, K), or (B,) for one class, or a mapping of (B,) by class.
        of: the input file or files, as for `hepgen.read`.
        classes: names of the K classes; those of the mapping, else "0", "1", ..., if None.
        jets: the scored jets, as `hepgen.read` gave them, also after a selection, a split or a
            shuffle; None if there is one score for each entry of the files, in their order.
        schema: see `FriendWriter`; by default that of ``jets``.
        collection: see `FriendWriter`; by default that of ``jets``.
        tree: name of the friend tree.
        name: name of the model.
        observers: further columns, see `FriendWriter`.
        copy: a copy of the input with the scores, see `FriendWriter`.
        overwrite: whether files that exist may be replaced.
        compression: "zstd", "lz4" or "none".
        metadata: what to store about the model.

    Returns:
        The files written, one for each input.

    Raises:
        InputError: scores that do not fit the jets or the entries, jets of other files than ``of``,
            two inputs of one name, or a friend of an RNTuple.
        OutputExists: a file exists and ``overwrite`` is false.
    """
    specs = expand(of)
    matrix, names = score_matrix(scores, classes)
    if jets is not None and len(jets) != len(matrix):
        raise InputError(f"{len(matrix)} scores for {len(jets)} jets")
    attrs = {} if jets is None else jets.attrs
    rows = _rows_of_files(specs, len(matrix), jets)
    outputs = output_paths(path, specs)
    for spec, output, selected in zip(specs, outputs, rows, strict=True):
        with FriendWriter(
            output,
            of=with_tree(spec, attrs.get("tree")),
            classes=names,
            schema=_schema(schema, attrs),
            one_per_entry=jets is None,
            collection=collection or attrs.get("collection"),
            tree=tree,
            name=name,
            observers=observers,
            copy=copy,
            overwrite=overwrite,
            compression=compression,
            metadata=metadata,
        ) as writer:
            some = None if jets is None else jets[selected]
            writer.extend(matrix[selected], some, sort=True)
    return outputs


def output_paths(path: str | os.PathLike[str], specs: Sequence[FileSpec]) -> list[Path]:
    """Where the output of each input goes.

    Args:
        path: a file, for one input, or a folder that exists.
        specs: the inputs.

    Returns:
        The file, or files in the folder with the names of the inputs and the suffix ".root".

    Raises:
        MissingFile: several inputs, and no such folder.
        InputError: two inputs of one name, the outputs of which would be one file.
    """
    folder = Path(path)
    if not folder.is_dir():
        if len(specs) == 1:
            return [folder]
        raise MissingFile(f"no folder {str(folder)!r} to write {len(specs)} files to")
    outputs = [folder / Path(spec.name).with_suffix(".root") for spec in specs]
    for i, output in enumerate(outputs):
        if output in outputs[:i]:
            other = specs[outputs.index(output)]
            raise InputError(f"{other.path} and {specs[i].path} would both be written to {output}")
    return outputs


def _schema(schema: Any, attrs: Mapping[str, Any]) -> Any:
    name = attrs.get("schema")
    if schema is None and name is not None and name not in SCHEMAS:
        raise InputError(f"the jets were read with a schema of your own, {name!r}; give schema=")
    return name if schema is None else schema


def _rows_of_files(specs: list[FileSpec], rows: int, jets: ak.Array | None) -> list[Any]:
    """Which of the scores belong to each input."""
    if jets is None:
        return _slices_of_files(specs, rows)
    files = [str(file) for file in jets.attrs.get("files", [spec.path for spec in specs])]
    paths = [spec.path for spec in specs]
    index = np.asarray(jets["file_index"]) if "file_index" in jets.fields else np.zeros(rows, int)
    for number in np.unique(index):
        if files[number] not in paths:
            raise InputError(
                f"{np.sum(index == number)} of the jets come from {files[number]}, which is not "
                f"among the inputs ({', '.join(paths)})"
            )
    return [np.flatnonzero(index == files.index(path)) if path in files else [] for path in paths]


def _slices_of_files(specs: list[FileSpec], rows: int) -> list[slice]:
    slices, start = [], 0
    for spec in specs:
        with open_source(spec, None) as source:
            slices.append(slice(start, start + source.num_entries))
            start += source.num_entries
    if start != rows:
        raise InputError(
            f"{rows} scores for the {start} entries of {', '.join(spec.name for spec in specs)}; "
            "give jets=, the jets that were scored, so that each score finds its entry"
        )
    return slices
