r"""Parton densities in the files of LHAPDF6: a grid (.dat), and what its set says (.info).

A. Buckley et al., "LHAPDF6: parton density access in the LHC precision era", Eur. Phys. J. C 75
(2015) 132, arXiv:1412.7420, section 3: a header in YAML, then for each subgrid the knots in x and
in Q (GeV), the flavours by PDG id and a row of x f for each pair of knots, Q running fastest.

Shapes: N knots of an axis, F flavours.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from numpy.typing import NDArray

from hepgen.io.errors import MissingFile, NotReadable, nearest_names

__all__ = ["Grid", "find_grid", "read_grid"]

Array = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """The content of a grid file.

    Attributes:
        path: where it was read.
        flavours: PDG ids, the gluon is 21.
        x: knots, rising, shape (Nx,).
        q: knots in GeV, rising but for the boundaries of subgrids, which stand twice, shape (Nq,).
        values: x f at the knots, shape (Nx, Nq, F).
        info: what the header and the file of the set say, by LHAPDF's names.
    """

    path: Path
    flavours: tuple[int, ...]
    x: Array
    q: Array
    values: Array
    info: Mapping[str, Any] = field(default_factory=dict)


def find_grid(name: str | os.PathLike[str], member: int = 0) -> Path:
    """Find the grid file of a set.

    Args:
        name: the path of a .dat file, or the name of a set or of such a file, which are looked for
            in the folders of LHAPDF_DATA_PATH, as LHAPDF does, and among the grids that an
            installed Pythia brings.
        member: which member of a set given by name.

    Returns:
        The path of the grid file.

    Raises:
        MissingFile: there is none; the message tells where was looked and the nearest names.
    """
    path = Path(name)
    if path.is_file():
        return path
    if path.parent != Path():
        raise MissingFile(f"no grid file {path}")
    file = path.name if path.suffix == ".dat" else f"{path.name}_{member:04}.dat"
    folders = [Path(f) for f in os.environ.get("LHAPDF_DATA_PATH", "").split(":") if f]
    for folder in folders:
        for candidate in (folder / file.rpartition("_")[0] / file, folder / file):
            if candidate.is_file():
                return candidate
    ours = {found.name: found for found in _pythia_grids()}
    if file in ours:
        return ours[file]
    there = {found.name for folder in folders for found in folder.rglob("*_????.dat")} | set(ours)
    near = nearest_names(file, there)
    raise MissingFile(
        f"no grid file {file} in LHAPDF_DATA_PATH ({len(folders)} folders) nor among the "
        f"{len(ours)} grids of an installed Pythia"
        + (f"; nearest: {', '.join(near)}" if near else "; `pip install pythia8mc` brings some")
    )


def _pythia_grids() -> Iterator[Path]:
    """Grids in the shared folder of the wheel of Pythia, which is not imported for this."""
    for package in ("pythia8mc", "pythia8"):
        try:
            files = metadata.files(package) or []
        except metadata.PackageNotFoundError:
            continue
        for file in files:
            if file.parent.name == "pdfdata" and file.name.endswith("_0000.dat"):
                yield Path(str(file.locate())).resolve()


def read_grid(path: str | os.PathLike[str]) -> Grid:
    """Read a grid file, and the .info of its set where that stands beside it.

    Args:
        path: of a .dat file.

    Returns:
        Its content, subgrids joined along Q.

    Raises:
        MissingFile: there is no such file.
        NotReadable: it is of another format, cut short or damaged.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"no grid file {path}")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise NotReadable(f"{path} is not a grid of LHAPDF6: it is no text ({error})") from None
    blocks = _blocks(text)
    info = {**_set_info(path), **_header(path, blocks[0])}
    if info.get("Format") != "lhagrid1":
        raise NotReadable(
            f"wanted a grid of LHAPDF6 ('Format: lhagrid1' in its header), "
            f"got {info.get('Format')!r} in {path}"
        )
    if len(blocks) < 2:
        raise NotReadable(f"{path} is cut short: it holds a header and no subgrid")
    parts = [_subgrid(path, number, block) for number, block in enumerate(blocks[1:], 1)]
    x, _, flavours, _ = parts[0]
    for number, (other_x, other_q, other, _) in enumerate(parts[1:], 2):
        before = parts[number - 2][1][-1]
        if other != flavours or not np.array_equal(other_x, x):
            raise NotReadable(f"subgrid {number} of {path} has other flavours or knots in x")
        if other_q[0] != before:
            raise NotReadable(
                f"subgrid {number} of {path} begins at Q = {other_q[0]} GeV, "
                f"the one before ends at {before} GeV"
            )
    q = np.concatenate([part[1] for part in parts])
    wanted = info.get("QMax")
    if isinstance(wanted, int | float) and q[-1] < wanted * (1 - 1e-3):
        raise NotReadable(
            f"{path} is cut short: it ends at Q = {q[-1]} GeV, its set says QMax: {wanted}"
        )
    return Grid(path, flavours, x, q, np.concatenate([part[3] for part in parts], 1), info)


def _blocks(text: str) -> list[list[str]]:
    blocks: list[list[str]] = [[]]
    for line in text.splitlines():
        if line.strip() == "---":
            blocks.append([])
        elif line.strip():
            blocks[-1].append(line)
    if not blocks[-1]:
        blocks.pop()
    return blocks or [[]]


def _yaml(path: Path, text: str) -> dict[str, Any]:
    try:
        found = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise NotReadable(f"wanted YAML in {path}: {error}") from None
    if not isinstance(found, dict):
        raise NotReadable(f"wanted `key: value` lines in {path}, got {text[:60]!r}")
    return found


def _header(path: Path, lines: list[str]) -> dict[str, Any]:
    if not any(":" in line for line in lines):
        start = lines[0][:60] if lines else ""
        raise NotReadable(
            f"wanted a grid of LHAPDF6, which begins with `key: value` lines and '---'; "
            f"{path} begins with {start!r}"
        )
    return _yaml(path, "\n".join(lines))


def _set_info(path: Path) -> dict[str, Any]:
    stem = path.stem
    name = stem[:-5] if stem[-5:-4] == "_" and stem[-4:].isdigit() else stem
    info = path.with_name(f"{name}.info")
    return _yaml(info, info.read_text(encoding="utf-8")) if info.is_file() else {}


def _subgrid(
    path: Path, number: int, lines: list[str]
) -> tuple[Array, Array, tuple[int, ...], Array]:
    """Knots in x and Q, flavours, values (Nx, Nq, F) of one subgrid."""
    where = f"subgrid {number} of {path}"
    if len(lines) < 4:
        raise NotReadable(f"{where} is cut short: {len(lines)} lines")
    try:
        x = np.array(lines[0].split(), np.float64)
        q = np.array(lines[1].split(), np.float64)
        flavours = tuple(int(name) for name in lines[2].split())
    except ValueError as error:
        raise NotReadable(f"{where}: {error}, in its lines of knots and flavours") from None
    for name, knots, fewest in (("x", x, 4), ("Q", q, 2)):
        if len(knots) < fewest or (np.diff(knots) <= 0).any() or knots[0] <= 0:
            place = int(np.argmax(np.diff(knots) <= 0)) if len(knots) > 1 else 0
            raise NotReadable(
                f"{where}: wanted at least {fewest} rising, positive knots in {name}, got "
                f"{len(knots)}, of which {name}[{place}:{place + 2}] = "
                f"{knots[place : place + 2].tolist()}"
            )
    if len(set(flavours)) < len(flavours):
        raise NotReadable(f"{where} names a flavour twice: {flavours}")
    rows = len(lines) - 3
    if rows != len(x) * len(q):
        state = "is cut short" if rows < len(x) * len(q) else "is damaged"
        raise NotReadable(
            f"{where} {state}: {rows} rows for {len(x)} knots in x times {len(q)} in Q"
        )
    try:
        values = np.array(" ".join(lines[3:]).split(), np.float64)
    except ValueError as error:
        raise NotReadable(f"{where} is damaged: {error}") from None
    if values.size != rows * len(flavours):
        raise NotReadable(
            f"{where} is cut short or damaged: {values.size} numbers for {rows} rows of "
            f"{len(flavours)} flavours"
        )
    values = values.reshape(len(x), len(q), len(flavours))
    if not np.isfinite(values).all():
        i, j, k = np.argwhere(~np.isfinite(values))[0]
        raise NotReadable(
            f"{where}: x f is {values[i, j, k]} for flavour {flavours[k]} at x = {x[i]}, "
            f"Q = {q[j]} GeV"
        )
    return x, q, flavours, values
