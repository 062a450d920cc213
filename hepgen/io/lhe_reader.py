"""Reading of Les Houches events; what they are and how they are written is in `hepgen.io.lhe`."""

from __future__ import annotations

import gzip
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO
from xml.sax.saxutils import unescape

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.io.errors import MissingFile, NotReadable
from hepgen.io.lhe import EVENT_FIELDS, INTEGERS, PARTICLE_FIELDS, LHEInfo, LHEProcess

__all__ = ["iterate_lhe", "read_lhe"]

_ATTRIBUTE = re.compile(r"""([\w-]+)\s*=\s*(?:"([^"]*)"|'([^']*)')""")
_WGT = re.compile(r"""<wgt\s+id\s*=\s*(?:"([^"]*)"|'([^']*)')\s*>([^<]*)</wgt>""")


def read_lhe(path: str | os.PathLike[str]) -> tuple[ak.Array, LHEInfo]:
    """Read a file of Les Houches events, of any version and any program.

    Args:
        path: the file; one that is compressed by gzip is recognised.

    Returns:
        Records with the fields named in `hepgen.io.lhe`, and what the file says of all of them.

    Raises:
        MissingFile: there is no such file.
        NotReadable: it is of another format, cut short or damaged; the message tells the line.
    """
    info = None
    parts = []
    for part, known in iterate_lhe(path):
        info = known
        parts.append(part)
    assert info is not None
    return (parts[0] if len(parts) == 1 else ak.concatenate(parts)), info


def iterate_lhe(
    path: str | os.PathLike[str], step: int = 20_000
) -> Iterator[tuple[ak.Array, LHEInfo]]:
    """Read a file of Les Houches events in parts.

    Args:
        path: the file.
        step: how many events a part has; the last one has fewer.

    Yields:
        Records and the information, as `read_lhe` gives them; a part without events if there are
        none in the file.

    Raises:
        MissingFile: there is no such file.
        NotReadable: it is of another format, cut short or damaged; the message tells the line.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"no file {path}")
    with path.open("rb") as raw:
        packed = raw.read(2) == b"\x1f\x8b"
    reader = _Reader(path)
    try:
        with (
            gzip.open(path, "rt", encoding="utf-8")
            if packed
            else path.open(encoding="utf-8") as file
        ):
            for part in reader.parts(file, step):
                assert reader.info is not None
                yield part, reader.info
    except (EOFError, gzip.BadGzipFile) as error:
        raise NotReadable(f"{path} is cut short or damaged: {error}") from None
    except UnicodeDecodeError as error:
        raise NotReadable(f"{path} is no file of Les Houches events: {error}") from None


class _Reader:
    """The lines of one file, counted, and the columns of the events since the last part."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.line = 0
        self.events = 0
        self.info: LHEInfo | None = None
        self.names: tuple[str, ...] = ()
        self._clear()

    def _clear(self) -> None:
        self.counts: list[int] = []
        self.tops: list[str] = []
        self.rows: list[str] = []
        self.weights: list[dict[str, float]] = []

    def _error(self, what: str) -> NotReadable:
        return NotReadable(f"{self.path}, line {self.line}, after {self.events} events: {what}")

    def _lines(self, file: TextIO) -> Iterator[str]:
        for line in file:
            self.line += 1
            yield line.strip()
        raise self._error("the file is cut short, no </LesHouchesEvents>")

    def parts(self, file: TextIO, step: int) -> Iterator[ak.Array]:
        lines = self._lines(file)
        for line in lines:
            if line.startswith("<LesHouchesEvents"):
                break
            if self.line > 100 or (line and not line.startswith("<")):
                raise self._error("no file of Les Houches events: wanted <LesHouchesEvents ...>")
        given = False
        for line in lines:
            if line.startswith("<event"):
                if self.info is None:
                    raise self._error("an event before <init>")
                self._event(lines)
                if len(self.counts) == step:
                    given = True
                    yield self._part()
            elif re.match(r"<init[\s>]", line):
                self._init(lines)
            elif line.startswith(("<weight ", "<weight\t")):
                self._name(line)
            elif line.startswith("<hepgen>"):
                self._header(lines)
            elif line.startswith("</LesHouchesEvents>"):
                break
        for _ in file:  # to the end, where a compressed file has its checksum
            self.line += 1
        if self.info is None:
            raise self._error("no <init>")
        if self.counts or not given:
            yield self._part()

    def _header(self, lines: Iterator[str]) -> None:
        text = []
        for line in lines:
            if line.startswith("</hepgen>"):
                break
            text.append(unescape(line))
        self.header = "\n".join(text)

    header = ""

    def _name(self, line: str) -> None:
        found = {m[1]: m[2] if m[2] is not None else m[3] for m in _ATTRIBUTE.finditer(line)}
        name = found.get("id", found.get("name"))
        if name is not None:
            self.names = (*self.names, _unquote(name))

    def _numbers(self, line: str, what: str, count: int, integers: set[int]) -> list[Any]:
        words = line.split()
        try:
            if len(words) < count:
                raise ValueError
            return [
                int(word) if place in integers else float(word.replace("D", "E").replace("d", "e"))
                for place, word in enumerate(words[:count])
            ]
        except ValueError:
            raise self._error(f"wanted {count} numbers for {what}, got {line[:120]!r}") from None

    def _init(self, lines: Iterator[str]) -> None:
        run = self._numbers(next(lines), "the beams", 10, {0, 1, 4, 5, 6, 7, 8, 9})
        processes = []
        for _ in range(run[9]):
            sigma, error, largest, number = self._numbers(next(lines), "a process", 4, {3})
            processes.append(LHEProcess(sigma, error, largest, number))
        generator = version = ""
        for line in lines:
            if line.startswith("</init"):
                break
            if line.startswith("<generator"):
                found = {m[1]: _unquote(m[2] or m[3] or "") for m in _ATTRIBUTE.finditer(line)}
                generator, version = found.get("name", ""), found.get("version", "")
        try:
            self.info = LHEInfo(
                beams=(run[0], run[1]),
                energies=(run[2], run[3]),
                processes=tuple(processes),
                strategy=run[8],
                pdf_sets=(run[6], run[7]),
                generator=generator,
                version=version,
                header=self.header,
                weight_names=self.names,
            )
        except ValueError as error:
            raise self._error(str(error)) from None

    def _event(self, lines: Iterator[str]) -> None:
        top = next(lines)
        number = top.split(maxsplit=1)[:1]
        if not number or not number[0].isdigit():
            raise self._error(f"wanted the numbers of an event, got {top[:120]!r}")
        count = int(number[0])
        for _ in range(count):
            self.rows.append(next(lines))
        weights: dict[str, float] = {}
        for line in lines:
            if line.startswith("</event"):
                break
            if line.startswith("<wgt"):
                for double, single, value in _WGT.findall(line):
                    weights[_unquote(double or single)] = self._numbers(
                        value, "a weight", 1, set()
                    )[0]
            elif line.startswith("<weights"):
                values = re.sub(r"<[^>]*>", " ", line).split()
                if len(values) != len(self.names):
                    raise self._error(f"wanted {len(self.names)} weights, got {len(values)}")
                weights.update(zip(self.names, map(float, values), strict=True))
        if self.weights and weights.keys() != self.weights[0].keys():
            raise self._error(
                f"wanted the weights {', '.join(self.weights[0])} of the events before, got "
                f"{', '.join(weights)}"
            )
        self.weights.append(weights)
        self.counts.append(count)
        self.tops.append(top)
        self.events += 1

    def _part(self) -> ak.Array:
        tops = self._columns(self.tops, 6, 2, "events")
        rows = self._columns(self.rows, len(PARTICLE_FIELDS), INTEGERS, "particles")
        offsets = ak.index.Index64(np.concatenate([[0], np.cumsum(self.counts)]).astype(np.int64))
        record = ak.contents.RecordArray(
            [ak.contents.NumpyArray(column) for column in rows],
            list(PARTICLE_FIELDS),
            parameters={"__record__": "Momentum4D"},
        )
        fields = {
            "particles": ak.Array(ak.contents.ListOffsetArray(offsets, record)),
            **dict(zip(EVENT_FIELDS, tops[1:], strict=True)),
        }
        if self.weights and self.weights[0]:
            names = list(self.weights[0])
            fields["weights"] = ak.zip(
                {name: np.array([event[name] for event in self.weights]) for name in names}
            )
        self._clear()
        return ak.zip(fields, depth_limit=1)

    def _columns(self, lines: list[str], count: int, integers: int, what: str) -> list[Any]:
        """Numbers of lines by column, the first ones integers."""
        try:
            table = _table(lines, count)
        except ValueError:
            # Slowly, to tell where; some programs write exponents as in Fortran.
            rows = []
            for place, line in enumerate(lines):
                try:
                    rows.append(_table([re.sub("[dD]", "E", line)], count))
                except ValueError:
                    raise self._error(
                        f"wanted {count} numbers for each of the {what} before this line, got "
                        f"{line[:120]!r} for number {place} of these {len(lines)}"
                    ) from None
            table = np.concatenate(rows)
        whole = table[:, :integers] == np.round(table[:, :integers])
        if not whole.all():
            line = lines[int((~whole).any(1).argmax())]
            raise self._error(
                f"wanted {integers} integers first for the {what} before this line, got "
                f"{line[:120]!r}"
            )
        return [
            np.ascontiguousarray(column, np.int64 if place < integers else np.float64)
            for place, column in enumerate(table.T)
        ]


def _table(lines: list[str], count: int) -> NDArray[np.float64]:
    """Numbers (rows, count); ValueError where they are none, or not so many in each line."""
    words = [line.split() for line in lines]
    if any(len(row) != count for row in words):
        raise ValueError
    return np.array(words, np.float64).reshape(len(lines), count)


def _unquote(text: str) -> str:
    return unescape(text, {"&quot;": '"', "&apos;": "'"})
