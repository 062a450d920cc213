"""The constituents of many jets as flat columns, which is what a feature is a function of.

Columns that the file has are used as they are, without a copy; the others are computed when asked
for and kept. The signs follow JetClass: delta_eta = (eta - eta of
the jet) x sign(eta of the jet), so that jets of both hemispheres of the
detector look alike, and delta_phi in [-pi, pi). The quark-gluon and top sets of the field
have the same sign, and the columns of these files and ours agree to float32 rounding.

Shapes: B jets, N constituents of all jets end to end; offsets have B + 1 entries, from 0 to N. GeV,
radians, mm.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import cached_property
from typing import Any

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.data.pdg import KINDS, charge
from hepgen.io.errors import MissingName, WrongType

__all__ = ["BLOCK", "Constituents"]

Column = NDArray[Any]
Floats = NDArray[np.float32]
Offsets = NDArray[np.int64]

# Constituents in a block; a jet of more is a block of its own.
BLOCK = 24_000


class Constituents:
    """Flat columns of the constituents of B jets.

    ``c.pt`` and its kin are (N,) arrays, ``c.jet_pt`` and its kin (B,). A field of the file that
    has no property here, ``c.d0`` or one of the user's own, is an attribute too. Momenta, energies
    and angles that are computed are float32; fields of the file keep their type.

    Args:
        fields: names of the columns that ``column`` gives.
        column: gives the (N,) column of one of these names.
        offsets: first constituent of each jet and, last, N: shape (B + 1,).
        jet_fields: names of the columns that ``jet_column`` gives.
        jet_column: gives the (B,) column of one of these names.
    """

    def __init__(
        self,
        fields: Iterable[str],
        column: Callable[[str], Column],
        offsets: Offsets,
        jet_fields: Iterable[str],
        jet_column: Callable[[str], Column],
    ) -> None:
        self.fields = tuple(fields)
        self.jet_fields = tuple(jet_fields)
        self.offsets = offsets
        self._load = column
        self._load_jet = jet_column
        self._columns: dict[str, Column] = {}
        self._jet_columns: dict[str, Column] = {}

    @classmethod
    def of(cls, jets: ak.Array) -> Constituents:
        """The constituents of an array of jets; nothing is copied yet.

        Args:
            jets: as `hepgen.io.read` gives them.

        Raises:
            MissingName: the jets have no field ``constituents``.
            WrongType: the constituents are no lists of records, or some of them are missing.
        """
        if "constituents" not in ak.fields(jets):
            raise MissingName.among(
                "constituents", ak.fields(jets), kind="field", where="these jets"
            )
        offsets, records = _flat(jets["constituents"].layout)

        def column(name: str) -> Column:
            return _numpy(records[name], f"constituents.{name}")

        def jet_column(name: str) -> Column:
            return _numpy(jets[name].layout, name)

        jet_fields = [name for name in ak.fields(jets) if name != "constituents"]
        return cls(records.fields, column, offsets, jet_fields, jet_column)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    @property
    def num_jets(self) -> int:
        """Number of jets, B."""
        return len(self.offsets) - 1

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """Constituents of each jet, shape (B,)."""
        return np.diff(self.offsets)

    def column(self, name: str) -> Column:
        """The (N,) column of the file called ``name``.

        Raises:
            MissingName: the file has none of this name; it is a KeyError too.
        """
        if name not in self._columns:
            if name not in self.fields:
                raise MissingName.among(
                    name, self.fields, kind="field", where="the constituents of these jets"
                )
            self._columns[name] = self._load(name)
        return self._columns[name]

    def jet_column(self, name: str) -> Column:
        """The (B,) column of the jets called ``name``; MissingName where there is none."""
        if name not in self._jet_columns:
            if name not in self.jet_fields:
                raise MissingName.among(name, self.jet_fields, kind="field", where="these jets")
            self._jet_columns[name] = self._load_jet(name)
        return self._jet_columns[name]

    def __getattr__(self, name: str) -> Column:
        if name.startswith("_") or name == "fields":
            raise AttributeError(name)
        if name.startswith("jet_"):
            return self.jet_column(name.removeprefix("jet_"))
        return self.column(name)

    def spread(self, per_jet: Column) -> Column:
        """The value of its jet for each constituent: (B,) -> (N,)."""
        return np.repeat(per_jet, self.counts)

    def jets(self, start: int, stop: int) -> Constituents:
        """Those of jets ``start`` to ``stop``, as views.

        What was computed already is not carried over.
        """
        low, high = int(self.offsets[start]), int(self.offsets[stop])
        return Constituents(
            self.fields,
            lambda name: self.column(name)[low:high],
            self.offsets[start : stop + 1] - low,
            self.jet_fields,
            lambda name: self.jet_column(name)[start:stop],
        )

    def blocks(self) -> Iterator[tuple[int, Constituents]]:
        """All jets, a few at a time, each time with the number of jets before them.

        The columns of a block fit in the second-level cache together, so that computing on blocks
        is several times faster than on whole columns.
        """
        start = 0
        while start < self.num_jets:
            reach = np.searchsorted(self.offsets, self.offsets[start] + BLOCK, "right") - 1
            stop = max(int(reach), start + 1)
            yield start, self.jets(start, stop)
            start = stop

    def take(self, rows: NDArray[np.int64], offsets: Offsets) -> Constituents:
        """Some of these: the rows (M,) to take, and the offsets (B + 1,) of the same jets in M."""
        return Constituents(
            self.fields,
            lambda name: self.column(name)[rows],
            offsets,
            self.jet_fields,
            self.jet_column,
        )

    @cached_property
    def px(self) -> Floats:
        """GeV."""
        return self._stored_or("px", lambda: self.pt * np.cos(self.phi))

    @cached_property
    def py(self) -> Floats:
        """GeV."""
        return self._stored_or("py", lambda: self.pt * np.sin(self.phi))

    @cached_property
    def pz(self) -> Floats:
        """GeV."""
        return self._stored_or("pz", lambda: self.pt * np.sinh(self.eta.astype(np.float64)))

    @cached_property
    def energy(self) -> Floats:
        """GeV.

        From the mass where the file has no energy, with a negative mass for a spacelike momentum.
        """
        return self._stored_or("energy", lambda: _energy(self.pt, self.eta, self.column("mass")))

    @cached_property
    def pt(self) -> Floats:
        """GeV."""
        return self._stored_or("pt", lambda: np.sqrt(np.square(self.px) + np.square(self.py)))

    @cached_property
    def eta(self) -> Floats:
        """Pseudorapidity."""
        return self._stored_or("eta", lambda: self._eta)

    @cached_property
    def phi(self) -> Floats:
        """Azimuth in [-pi, pi]."""
        return self._stored_or("phi", lambda: self._phi)

    @cached_property
    def delta_eta(self) -> Floats:
        """Pseudorapidity from the jet axis, positive towards larger |eta| (the sign of JetClass).

        Seudorapidity from the jet axis, positive towards larger |eta| (the sign of JetClass).
        """
        return self._stored_or("delta_eta", self._delta_eta)

    @cached_property
    def delta_phi(self) -> Floats:
        """Azimuth from the jet axis, in [-pi, pi)."""
        return self._stored_or("delta_phi", self._delta_phi)

    @cached_property
    def charge(self) -> Column:
        """Electric charge in units of e; from the PDG id where the file has no charge."""
        if "charge" in self.fields or "pid" not in self.fields:
            return self.column("charge")
        return charge(self.column("pid"))

    @cached_property
    def is_charged_hadron(self) -> Column:
        """0 or 1; from the PDG id where the file has no flag."""
        return self._flag("is_charged_hadron")

    @cached_property
    def is_neutral_hadron(self) -> Column:
        """0 or 1; from the PDG id where the file has no flag."""
        return self._flag("is_neutral_hadron")

    @cached_property
    def is_photon(self) -> Column:
        """0 or 1; from the PDG id where the file has no flag."""
        return self._flag("is_photon")

    @cached_property
    def is_electron(self) -> Column:
        """0 or 1; from the PDG id where the file has no flag."""
        return self._flag("is_electron")

    @cached_property
    def is_muon(self) -> Column:
        """0 or 1; from the PDG id where the file has no flag."""
        return self._flag("is_muon")

    @cached_property
    def jet_energy(self) -> Column:
        """Energy of the jets in GeV, shape (B,), in float64."""
        if "energy" in self._jet_columns:
            return self._jet_columns["energy"]
        return _energy(self.jet_column("pt"), self.jet_column("eta"), self.jet_column("mass"))

    # A difference of two angles of size 3 loses four digits of float32, hence float64 up to the
    # difference.
    @cached_property
    def _eta(self) -> NDArray[np.float64]:
        if "eta" in self.fields:
            return self.column("eta").astype(np.float64)
        transverse = np.sqrt(
            np.square(self.px, dtype=np.float64) + np.square(self.py, dtype=np.float64)
        )
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.asarray(np.arcsinh(self.pz / transverse))

    @cached_property
    def _phi(self) -> NDArray[np.float64]:
        if "phi" in self.fields:
            return self.column("phi").astype(np.float64)
        return np.arctan2(self.py, self.px, dtype=np.float64)

    def _delta_eta(self) -> NDArray[np.float64]:
        jet_eta = self.jet_column("eta").astype(np.float64)
        sign = np.where(jet_eta < 0, -1.0, 1.0)
        return self._eta * self.spread(sign) - self.spread(jet_eta * sign)

    def _delta_phi(self) -> NDArray[np.float32]:
        delta = self._phi - self.spread(self.jet_column("phi").astype(np.float64))
        delta -= 2 * np.pi * np.floor((delta + np.pi) / (2 * np.pi))
        narrow = delta.astype(np.float32)
        # The largest doubles below pi round to the float pi, which the half-open interval excludes.
        narrow[narrow >= np.float32(np.pi)] = -np.float32(np.pi)
        return narrow

    def _stored_or(self, name: str, compute: Callable[[], Column]) -> Floats:
        values = self.column(name) if name in self.fields else compute()
        return values.astype(np.float32, copy=False)

    def _flag(self, name: str) -> Column:
        if name in self.fields or "pid" not in self.fields:
            return self.column(name)
        return KINDS[name](self.column("pid"), self.charge)


def _energy(pt: Column, eta: Column, mass: Column) -> NDArray[np.float64]:
    momentum = pt.astype(np.float64) * np.cosh(eta.astype(np.float64))
    signed_square = np.multiply(mass, np.abs(mass), dtype=np.float64)
    return np.asarray(np.sqrt(np.maximum(np.square(momentum) + signed_square, 0.0)))


def _flat(layout: ak.contents.Content) -> tuple[Offsets, ak.contents.Content]:
    """Offsets from 0 to N, and N records, of an awkward array of lists of records."""
    if layout.is_indexed and not layout.is_option:
        layout = layout.project()
    if not layout.is_list:
        raise WrongType(f"constituents should be lists of records, not {layout.form.type}")
    lists = layout.to_ListOffsetArray64(False)
    offsets = np.asarray(lists.offsets.data)
    records = lists.content[int(offsets[0]) : int(offsets[-1])]
    if not records.is_record and not (records.is_indexed and records.content.is_record):
        raise WrongType(f"constituents should be lists of records, not {layout.form.type}")
    return (offsets - offsets[0] if offsets[0] != 0 else offsets), records


def _numpy(layout: ak.contents.Content, name: str) -> Column:
    if layout.is_indexed and not layout.is_option:
        layout = layout.project()
    if layout.is_unknown:
        return np.empty(0, np.float32)
    if not layout.is_numpy:
        raise WrongType(f"field {name!r} should hold one number each, not {layout.form.type}")
    return np.asarray(layout.data)
