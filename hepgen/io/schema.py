"""What a schema is: the knowledge which columns of a file are which standard fields of jets.

Standard units are GeV, radians and mm. The schemas themselves are in `hepgen.io.schemas`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from hepgen.io.columns import Column
from hepgen.io.errors import MissingName
from hepgen.io.files import FileSpec
from hepgen.io.jets import JetTable

__all__ = ["FIELDS", "Plan", "Schema", "Source", "choose_fields"]

KINDS = ("is_charged_hadron", "is_neutral_hadron", "is_photon", "is_electron", "is_muon")

FIELDS = (
    "charge",
    "pid",
    *KINDS,
    "d0",
    "d0_error",
    "dz",
    "dz_error",
    "delta_eta",
    "delta_phi",
    "puppi_weight",
)
"""Standard fields of constituents besides their four-momenta."""

# Momenta are always there, and all of these follow from them, so that no file lacks them.
_MOMENTA = ("px", "py", "pz", "energy", "pt", "eta", "phi", "mass", "delta_eta", "delta_phi")


class Source(Protocol):
    """An open file with columns: what every format gives to the schemas."""

    spec: FileSpec
    kind: str
    where: str
    num_entries: int

    @property
    def tree_name(self) -> str | None:
        """Name of the tree or group, None where the format has none."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all columns."""

    def read(self, names: Sequence[str], start: int, stop: int) -> dict[str, Column]:
        """Some columns for the entries start <= i < stop."""

    def steps(
        self, names: Sequence[str], step: str | int, start: int, stop: int
    ) -> Iterator[tuple[int, int]]:
        """Entry ranges of about one size in memory, or of a number of entries."""

    def __enter__(self) -> Any:
        """The source itself; it is closed at the end of the block."""

    def __exit__(self, *exception: object) -> None:
        """Close the file."""


@dataclass(frozen=True)
class Plan:
    """How the jets of one file are read.

    Args:
        columns: the columns to read.
        build: makes jets of these columns.
        collection: name of the collection of jets, None where each entry is a jet.
    """

    columns: tuple[str, ...]
    build: Callable[[Mapping[str, Column]], JetTable]
    collection: str | None = None


class Schema(ABC):
    """Which columns of a file are which standard fields, with their units."""

    name: str

    @abstractmethod
    def missing(self, names: Collection[str]) -> list[str]:
        """What a file with these columns lacks to be of this schema; empty where it is."""

    @abstractmethod
    def plan(
        self, source: Source, *, collection: str | None, fields: Collection[str] | None
    ) -> Plan:
        """How to read the jets of an open file.

        Args:
            source: the file; it is of this schema.
            collection: which jets, None for the usual ones.
            fields: standard fields of the constituents that are needed besides their momenta; None
                takes all that the file has.

        Returns:
            The plan.

        Raises:
            MissingName: the file has no such collection or field.
        """

    def collections(self, names: Collection[str]) -> list[str]:
        """The collections of jets in a file with these columns; none where each entry is a jet."""
        del names
        return []

    def labels(self, names: Collection[str]) -> dict[str, str]:
        """The classes that a file with these columns tells, as expressions of its columns."""
        del names
        return {}

    def possible_labels(self, names: Collection[str]) -> dict[str, str]:
        """Further classes, whose meaning in the file is a guess, for those who ask for them."""
        del names
        return {}

    def weight(self, names: Collection[str]) -> str | None:
        """The column that holds the weight of a jet."""
        del names
        return None

    def jet_column(self, name: str, collection: str | None) -> list[str]:
        """What a property of the jets may be called in the file, the likeliest first."""
        del collection
        return [name]


def choose_fields(
    fields: Collection[str] | None, available: Mapping[str, str], *, where: str
) -> dict[str, str]:
    """The columns of constituents to read besides their momenta.

    Args:
        fields: standard fields that are asked for; None for all.
        available: column of each standard field that this file has.
        where: the file, for the message.

    Returns:
        The column of each field to read. For the charge and the flags that the file does not have
        this is the PDG number, from which they follow.

    Raises:
        MissingName: something is asked for that the file does not have.
    """
    if fields is None:
        return dict(available)
    wanted = set()
    for name in fields:
        if name in available:
            wanted.add(name)
        elif name in ("charge", *KINDS) and "pid" in available:
            wanted |= {"pid", "charge"}
        elif name not in _MOMENTA:
            known = [*available, *_MOMENTA]
            raise MissingName.among(name, known, kind="field of constituents", where=where)
    return {name: column for name, column in available.items() if name in wanted}
