"""What `hepgen.inspect` finds in a file, and how it is shown."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from hepgen.io.storage import StoredColumn, codec_of

if TYPE_CHECKING:
    from rich.console import RenderableType

__all__ = ["Inspection", "JetSummary", "NonFinite", "TreeSummary"]

_MOST_LINES = 80


@dataclass(frozen=True)
class NonFinite:
    """How many of the values of a column in the sample are not finite.

    Args:
        values: how many there are.
        nan: how many are NaN.
        inf: how many are infinite.
    """

    values: int
    nan: int
    inf: int

    @property
    def share(self) -> float:
        """Share of NaN and inf among the values, 0 where there are none."""
        return (self.nan + self.inf) / self.values if self.values else 0.0


@dataclass(frozen=True)
class JetSummary:
    """The jets of the sample, before any selection.

    Args:
        collection: which jets; None where each entry is a jet.
        entries: entries of the sample.
        jets: jets in them.
        mean_constituents: mean number of constituents of a jet; None without constituents or jets.
        min_constituents: the least.
        max_constituents: the most.
    """

    collection: str | None
    entries: int
    jets: int
    mean_constituents: float | None = None
    min_constituents: int | None = None
    max_constituents: int | None = None


@dataclass(frozen=True)
class TreeSummary:
    """One tree, or the columns of a file of another format.

    Args:
        name: name of the tree; None where the format has none.
        kind: "TTree", "RNTuple", "HDF5", "Parquet" or "npz".
        entries: number of entries.
        columns: the branches.
        compressed: bytes of all branches in the file.
        uncompressed: bytes of all branches when unpacked.
        sampled: how many entries, the first ones, were read for what follows; 0 where none were.
        non_finite: NaN and inf of the columns of floats, by name.
        schema: the schema that it follows, None where none was found.
        collections: collections of jets, if entries are events.
        jets: the jets of the sample.
        problem: why there is no schema, or no jets.
        unreadable: columns of floats that could not be read, with the reason.
    """

    name: str | None
    kind: str
    entries: int
    columns: tuple[StoredColumn, ...]
    compressed: int
    uncompressed: int
    sampled: int = 0
    non_finite: dict[str, NonFinite] | None = None
    schema: str | None = None
    collections: tuple[str, ...] = ()
    jets: JetSummary | None = None
    problem: str | None = None
    unreadable: dict[str, str] | None = None

    @property
    def codec(self) -> str:
        """Codec of the branches, "ZSTD(5)"; several where they differ."""
        return codec_of(self.columns)


@dataclass(frozen=True)
class Inspection:
    """What is in a file; ``rich.print`` shows it as tables.

    Args:
        path: the file.
        format: "root", "hdf5", "parquet" or "npz".
        size: bytes of the file; None for a URL.
        trees: the trees, the one that jets are read from first.
        objects: class of each other object at the top of a ROOT file, by name.
    """

    path: str
    format: str
    size: int | None
    trees: tuple[TreeSummary, ...]
    objects: dict[str, str]

    def to_dict(self) -> dict[str, Any]:
        """All of it as plain numbers, texts, lists and dictionaries, for JSON."""
        found = asdict(self)
        for tree, plain in zip(self.trees, found["trees"], strict=True):
            plain["codec"] = tree.codec
        return found

    def __rich__(self) -> RenderableType:
        """Tables of the trees, of the jets and of the columns of the first tree."""
        from rich.console import Group

        return Group(*self._parts())

    def _parts(self) -> Iterator[RenderableType]:
        from rich.table import Table
        from rich.text import Text

        size = "" if self.size is None else f", {_bytes(self.size)}"
        yield Text.assemble((self.path, "bold"), f" ({self.format}{size})")
        table = Table("tree", "kind", *_right("entries", "columns", "stored", "unpacked"), "codec")
        for tree in self.trees:
            sizes = (_bytes(tree.compressed), _bytes(tree.uncompressed))
            counts = (f"{tree.entries:,}", str(len(tree.columns)))
            table.add_row(tree.name or "", tree.kind, *counts, *sizes, tree.codec)
        yield table if self.trees else Text("no tree")
        if self.objects:
            others = [f"{name} ({kind})" for name, kind in list(self.objects.items())[:8]]
            more = f" and {len(self.objects) - 8} more" if len(self.objects) > 8 else ""
            yield Text(f"other objects: {', '.join(others)}{more}")
        if self.trees:
            yield from (Text(line) for line in _jet_lines(self.trees[0]))
            yield _column_table(self.trees[0])


def _right(*titles: str) -> list[Any]:
    from rich.table import Column

    return [Column(title, justify="right") for title in titles]


def _jet_lines(tree: TreeSummary) -> Iterator[str]:
    if tree.schema is not None:
        of = f"; collections {', '.join(tree.collections)}" if tree.collections else ""
        yield f"schema: {tree.schema}{of}"
    if tree.problem is not None:
        yield tree.problem
    for name, reason in list((tree.unreadable or {}).items())[:5]:
        yield f"column {name} cannot be read: {reason}"
    jets = tree.jets
    if jets is None:
        return
    which = f" of {jets.collection}" if jets.collection else ""
    part = "all" if jets.entries == tree.entries else "the first"
    yield f"jets{which}: {jets.jets:,} in {part} {jets.entries:,} entries"
    if jets.mean_constituents is not None:
        yield (
            f"constituents a jet: mean {jets.mean_constituents:.1f}, "
            f"from {jets.min_constituents} to {jets.max_constituents}"
        )


def _column_table(tree: TreeSummary) -> RenderableType:
    from rich.table import Table

    part = "" if tree.sampled == tree.entries else f" in the first {tree.sampled:,} entries"
    table = Table("column", "type", *_right("stored", "unpacked", f"NaN or inf{part}"))
    for name, columns in _lines(tree.columns):
        bad = [
            tree.non_finite[column.name]
            for column in columns
            if tree.non_finite and column.name in tree.non_finite
        ]
        kinds = dict.fromkeys(column.type for column in columns)
        # The longest words of C++ say nothing here.
        shown = (
            next(iter(kinds)).replace("std::", "") if len(kinds) == 1 else f"{len(columns)} columns"
        )
        stored = [column.compressed for column in columns]
        unpacked = [column.uncompressed for column in columns]
        table.add_row(name, shown, _total(stored), _total(unpacked), _share(bad))
    return table


def _lines(columns: tuple[StoredColumn, ...]) -> Iterator[tuple[str, list[StoredColumn]]]:
    """Each column, or those of one prefix together where there are too many to read."""
    if len(columns) <= _MOST_LINES:
        yield from ((column.name, [column]) for column in columns)
        return
    groups: dict[str, list[StoredColumn]] = {}
    for column in columns:
        prefix = min(column.name.split(mark, 1)[0] for mark in "_.")
        groups.setdefault(prefix, []).append(column)
    for prefix, members in groups.items():
        yield (members[0].name if len(members) == 1 else f"{prefix}*"), members


def _share(found: list[NonFinite]) -> str:
    if not found:
        return ""
    nan, inf = sum(one.nan for one in found), sum(one.inf for one in found)
    total = NonFinite(sum(one.values for one in found), nan, inf)
    if not nan + inf:
        return "0"
    return f"{100 * total.share:.3g} % ({nan:,} NaN, {inf:,} inf)"


def _total(sizes: list[int | None]) -> str:
    known = [size for size in sizes if size is not None]
    return _bytes(sum(known)) if known else ""


def _bytes(number: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if number < 1000:
            return f"{number:.0f} {unit}" if unit == "B" else f"{number:.3g} {unit}"
        number /= 1000
    return f"{number:.3g} TB"
