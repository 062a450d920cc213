"""The showers of a training run: which files, which voxels, and how they are divided."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter import Geometry, ShowerFiles, Showers
from hepgen.io.errors import InputError
from hepgen.simulators import Conditions
from hepgen.simulators.batches import ShowerSource
from hepgen.simulators.stages import Part
from hepgen.training.randomness import seed_of

__all__ = ["Merge", "ShowerParts", "ShowerSample"]

# JSON has no type for either.
GeometrySpec = str | dict[str, Any]


class ShowerParts(NamedTuple):
    """Showers to train on, to choose the best epoch by, and to judge the result by."""

    train: ShowerSource
    validation: ShowerSource | None
    test: Showers | None


@dataclass
class Merge:
    """How many neighbours become one voxel.

    Args:
        layers: consecutive layers.
        sectors: neighbouring sectors of a ring.
        rings: rings, or how many each new ring takes, from the axis.
    """

    layers: int = 1
    sectors: int = 1
    rings: int | list[int] = 1

    def __bool__(self) -> bool:
        return (self.layers, self.sectors, self.rings) != (1, 1, 1)


@dataclass
class ShowerSample:
    """The showers of a training run and how they are divided.

    Args:
        files: path, glob, or a list of them: HDF5 in the layout of the CaloChallenge, or ROOT.
        geometry: of the calorimeter: a name (ds1-photons, ds1-pions, ds2, ds3), an XML or YAML
            file, or its description; known from the file, or from the number of voxels, if not
            given.
        merge: neighbours that become one voxel.
        test_files: files of the test showers, in place of a share of ``files``.
        fractions: shares of training, validation and test showers in ``files``; what is left of
            them is not used.
        start: leave out so many showers at the beginning of ``files``.
        entries: use so many at most.
        threshold: energy in GeV below which voxels are emptied; that of the geometry if not given.
        stream: leave the showers in their files, for samples larger than memory.
        conditions: names of the conditions to use besides the energy; all that the files tell if
            not given.
        labels: conditions of whole numbers that are labels. Up to 32 different values are labels
            unasked; more have to be listed here, or under ``numbers``.
        numbers: conditions of whole numbers that are numbers, with what is between them.
    """

    files: str | list[str]
    geometry: GeometrySpec | None = None
    merge: Merge = field(default_factory=Merge)
    test_files: str | list[str] | None = None
    fractions: tuple[float, float, float] = (0.8, 0.1, 0.1)
    start: int = 0
    entries: int | None = None
    threshold: float | None = None
    stream: bool = False
    conditions: list[str] | None = None
    labels: list[str] | None = None
    numbers: list[str] | None = None

    def parts(self, *, seed: int = 0) -> ShowerParts:
        """Read the showers and divide them.

        Args:
            seed: of the division.

        Raises:
            InputError: the showers cannot be read, there are none, or the shares make no sense.
        """
        shares = np.array(self.fractions, dtype=float)
        if (
            shares.shape != (3,)
            or (shares < 0).any()
            or not 0 < shares[0] <= shares.sum() < 1 + 1e-9
        ):
            raise InputError(f"fractions={self.fractions}: wanted shares of 1, the first above 0")
        source = self._source(self.files)
        first, last = self.start, len(source)
        if self.entries is not None:
            last = min(last, first + self.entries)
        if first >= last:
            raise InputError(f"start={first}: {self.files} holds {len(source)} showers")
        rows = np.arange(first, last)
        rng = np.random.default_rng(seed_of("division", seed))
        rng.shuffle(rows)
        ends = np.round(np.cumsum(shares) * len(rows)).astype(int)
        pieces = [np.sort(p) for p in np.split(rows, ends)[:3]]
        train, validation, test = pieces
        if self.test_files is not None:
            train, test = np.sort(np.concatenate([train, test])), rows[:0]
            judged: Showers | None = self._source(self.test_files)[:]
        else:
            judged = source[test] if len(test) else None
        held_out = _part(source, validation) if len(validation) else None
        return ShowerParts(_part(source, train), held_out, judged)

    def law(self, pieces: Sequence[ShowerSource]) -> Conditions:
        """What a simulator of these showers is conditional on, and the bounds.

        Args:
            pieces: of the sample; those in files are read piece by piece.

        Raises:
            ShowerError: see `Conditions.of`.
        """
        told = {"labels": self.labels or (), "numbers": self.numbers or ()}
        found = []
        for piece in pieces:
            step = len(piece) if isinstance(piece, Showers) else 8192
            firsts = range(0, len(piece), step)
            found += [Conditions.of(piece[a : a + step], **told) for a in firsts]
        return Conditions.joined(found, labels=told["labels"])

    def _source(self, files: str | list[str]) -> ShowerSource:
        source = ShowerFiles(files, self._geometry(), conditions=self.conditions)
        seen = _Seen(source, self.merge, self.threshold)
        return seen if self.stream else seen[:]

    def _geometry(self) -> Geometry | str | None:
        if isinstance(self.geometry, Mapping):
            return Geometry.from_dict(self.geometry)
        return self.geometry


class _Seen:
    """Showers in files as they shall be seen: emptied below a threshold, and merged."""

    def __init__(self, source: ShowerFiles, merge: Merge, threshold: float | None) -> None:
        self._source, self._threshold = source, threshold
        self.geometry = source.geometry
        if threshold is not None:
            # So that the simulator empties its voxels below it too.
            self.geometry = replace(source.geometry, threshold=threshold)
        if merge:
            self.geometry = self.geometry.merged(**vars(merge))

    def __len__(self) -> int:
        return len(self._source)

    def __getitem__(self, which: Any) -> Showers:
        return self._source[which].above(self._threshold).into(self.geometry)


def _part(source: ShowerSource, rows: NDArray[np.int64]) -> ShowerSource:
    return source[rows] if isinstance(source, Showers) else Part(source, rows)
