"""TTree and RNTuple: finding and opening the tree, and reading its branches by entry range.

uproot does the reading (J. Pivarski et al., https://github.com/scikit-hep/uproot5).
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any

import uproot

from hepgen.io.columns import Column, as_column
from hepgen.io.errors import EmptyInput, InputError, MissingFile, MissingName, NotReadable
from hepgen.io.files import FileSpec, PathLike, expand

__all__ = ["RootSource", "open_tree", "readable", "tree_names"]

# Of several trees these hold the events: NanoAOD, EDM4hep, Delphes, JetClass, PHYSLITE, TreeMaker.
_USUAL_TREES = ("Events", "events", "Delphes", "tree", "CollectionTree", "PreSelection")
_TREE_CLASSES = ("TTree", "TNtuple", "TNtupleD", "ROOT::RNTuple")


@contextlib.contextmanager
def readable(where: str) -> Iterator[None]:
    """Turn what uproot raises on a missing, foreign, cut or damaged file into errors that say so.

    Args:
        where: what is being read, for the message.

    Raises:
        MissingFile: there is no such file.
        NotReadable: anything else that goes wrong inside.
    """
    try:
        yield
    except (InputError, MemoryError):
        raise
    except FileNotFoundError as error:
        raise MissingFile(f"no file {where}") from error
    except Exception as error:
        # uproot passes on what decompressors and network layers raise: no common ancestor.
        reason = " ".join(str(error).split())
        if "not a ROOT file" in reason or _begins_otherwise(where):
            raise NotReadable(f"{where} is not a ROOT file") from error
        if "expected Chunk of length" in reason:
            raise NotReadable(
                f"{where} is cut short: its header promises more bytes than it holds"
            ) from error
        what = f"{type(error).__name__}: {reason[:300]}"
        raise NotReadable(f"{where} cannot be read, it may be damaged ({what})") from error


def _begins_otherwise(path: str) -> bool:
    """Whether this is a local file without the four letters that a ROOT file begins with."""
    if not os.path.isfile(path):
        return False
    with open(path, "rb") as file:
        return file.read(4) != b"root"


def tree_names(directory: Any) -> list[str]:
    """Names of the TTrees and RNTuples of an open file, with folders, without cycle numbers."""
    classes = directory.classnames(recursive=True, cycle=False)
    return [name for name, kind in classes.items() if kind in _TREE_CLASSES]


def open_tree(file: PathLike, *, tree: str | None = None) -> Any:
    """The TTree or RNTuple of a file, open; use it as a context manager, or close it.

    Args:
        file: path, URL, ``file.root:tree`` or `FileSpec`.
        tree: name of the tree; None takes the one in ``file``, else the only one, else the one of
            a usual name.

    Returns:
        uproot's TTree or RNTuple.

    Raises:
        MissingFile: there is no such file.
        NotReadable: it is not a ROOT file, is cut short or damaged.
        MissingName: it has no tree of that name.
        EmptyInput: it holds no tree.
        InputError: it holds several trees, none of a usual name.
    """
    spec = expand(file)[0]
    with readable(spec.path):
        # Without the mapping uproot would take a colon in the path for the beginning of a tree's
        # name. Arrays are read once: a cache would only hold memory.
        directory = uproot.open({spec.path: None}, array_cache=None)
    try:
        with readable(spec.path):
            _check_size(directory, spec)
            names = tree_names(directory)
        name = _choose(tree or spec.tree, names, spec)
        with readable(f"tree {name!r} of {spec.path}"):
            return directory[name]
    except BaseException:
        directory.close()
        raise


def _check_size(directory: Any, spec: FileSpec) -> None:
    """A file that lost its end can still be opened, and would fail in the middle of the reading."""
    if spec.is_url:
        return
    size, promised = os.path.getsize(spec.path), directory.file.fEND
    if size < promised:
        raise NotReadable(f"{spec.path} is cut short: {size} bytes of {promised}")


def _choose(name: str | None, names: list[str], spec: FileSpec) -> str:
    if name is not None:
        if name not in names:
            raise MissingName.among(name, names, kind="tree", where=spec.path)
        return name
    if not names:
        raise EmptyInput(f"no TTree or RNTuple in {spec.path}")
    if len(names) == 1:
        return names[0]
    for usual in _USUAL_TREES:
        if usual in names:
            return usual
    raise InputError(
        f"{spec.path} holds several trees ({', '.join(names)}); name one: {spec.name}:{names[0]}"
    )


class RootSource:
    """The branches of a TTree, or the fields of an RNTuple, by their own names.

    Args:
        spec: the file.
        tree: name of the tree, as for `open_tree`.

    Raises:
        InputError: as `open_tree`.
    """

    kind = "branch"

    def __init__(self, spec: FileSpec, tree: str | None = None) -> None:
        self.spec = spec
        self.tree = open_tree(spec, tree=tree)
        self.tree_name: str = self.tree.object_path.lstrip("/").split(";")[0]
        self.where = f"tree {self.tree_name!r} of {spec.name}"
        self.num_entries: int = self.tree.num_entries

    def __enter__(self) -> RootSource:
        return self

    def __exit__(self, *exception: object) -> None:
        self.tree.file.close()

    @property
    def is_rntuple(self) -> bool:
        """Whether this is an RNTuple, not a TTree."""
        return bool(self.tree.classname == "ROOT::RNTuple")

    @cached_property
    def _paths(self) -> dict[str, str]:
        if self.is_rntuple:
            return {name: name for name in self._rntuple_names()}
        paths: dict[str, str] = {}
        for path in self.tree.keys():  # noqa: SIM118
            # A split branch is 'Jet/Jet.PT', and everyone calls it 'Jet.PT'.
            paths.setdefault(path.rsplit("/", 1)[-1], path)
        return paths

    def _rntuple_names(self) -> Iterator[str]:
        # uproot's keys() and arrays() take time quadratic in the number of fields.
        records = self.tree.field_records
        inside: dict[int, list[int]] = {}
        for index, record in enumerate(records):
            if record.parent_field_id != index:
                inside.setdefault(record.parent_field_id, []).append(index)

        def members(index: int, prefix: str) -> Iterator[str]:
            for child in inside.get(index, ()):
                if records[child].field_name.startswith("_"):  # the items of a list
                    yield from members(child, prefix)
                else:
                    name = f"{prefix}.{records[child].field_name}"
                    yield name
                    yield from members(child, name)

        for index, record in enumerate(records):
            # What holds the columns of projected fields is not meant to be read itself.
            if record.parent_field_id == index and not record.field_name.startswith("_collection"):
                yield record.field_name
                yield from members(index, record.field_name)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all branches; those of split objects without the path, 'Jet.PT'."""
        return tuple(self._paths)

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """The values of some branches for entries start <= i < stop.

        Args:
            names: branches, among `names`.
            start: first entry.
            stop: entry after the last.

        Returns:
            A column for each name.

        Raises:
            NotReadable: the file is damaged.
        """
        paths = {name: self._paths[name] for name in names}
        with readable(f"{self.where} (entries {start} to {stop})"):
            if self.is_rntuple:
                arrays = {
                    path: self.tree[path].array(entry_start=start, entry_stop=stop)
                    for path in paths.values()
                }
            else:
                arrays = self.tree.arrays(
                    list(paths.values()), entry_start=start, entry_stop=stop, how=dict
                )
        return {name: as_column(arrays[path]) for name, path in paths.items()}

    def steps(
        self, names: Sequence[str], step: str | int, start: int, stop: int
    ) -> Iterator[tuple[int, int]]:
        """Entry ranges of about one size, that end where baskets or clusters do where possible.

        Args:
            names: the branches that will be read.
            step: number of entries, or uncompressed memory as "100 MB".
            start: first entry.
            stop: entry after the last.

        Yields:
            (first entry, entry after the last) of each range.
        """
        size = step if isinstance(step, int) else self._entries_for(names, step, start, stop)
        edges = [] if stop - start <= size else self._edges(names)
        while start < stop:
            end = min(start + size, stop)
            if end < stop:
                end = max((edge for edge in edges if start < edge <= end), default=end)
            yield start, end
            start = end

    def _entries_for(self, names: Sequence[str], memory: str, start: int, stop: int) -> int:
        paths = [self._paths[name] for name in names]
        with readable(self.where):
            count = self.tree.num_entries_for(memory, paths, entry_start=start, entry_stop=stop)
        return max(1, int(count))

    def _edges(self, names: Sequence[str]) -> list[int]:
        """Entries at which all these branches begin a basket, or the file a cluster."""
        if self.is_rntuple:
            return [cluster.num_first_entry for cluster in self.tree.cluster_summaries]
        starts = [set(self.tree[self._paths[name]].entry_offsets) for name in names]
        return sorted(set.intersection(*starts)) if starts else []
