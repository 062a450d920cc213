"""Reference sets that keep a fixed number of constituents a jet, padded with zeros.

Top tagging: G. Kasieczka, T. Plehn, J. Thompson and M. Russell, "Top quark tagging reference
dataset", Zenodo 2603256; 200 four-momenta (E, px, py, pz) in GeV.
Quark and gluon jets: P. Komiske, E. Metodiev and J. Thaler, "Pythia8 quark and gluon jets for
energy flow", Zenodo 3164691; (pt in GeV, rapidity, azimuth, PDG number).
JetNet: R. Kansal et al., "JetNet", Zenodo 6975118; (eta, phi, pt relative to the jet, mask).

Shapes: J jets, P constituents a jet with the padding, N constituents end to end.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping

import numpy as np

from hepgen.io.columns import Column, Values, describe
from hepgen.io.errors import WrongType
from hepgen.io.jets import JetTable, jet_momenta, sum_momenta
from hepgen.io.nested import unpad
from hepgen.io.schema import Plan, Schema, Source, choose_fields

__all__ = ["JET_NET", "QUARK_GLUON", "TOP_TAGGING", "JetNet", "QuarkGluon", "TopTagging"]

# GeV; Particle Data Group 2024. The particles that the quark-gluon set keeps.
_MASSES = {
    11: 0.000511,
    13: 0.105658,
    22: 0.0,
    130: 0.497611,
    211: 0.139570,
    310: 0.497611,
    321: 0.493677,
    2112: 0.939565,
    2212: 0.938272,
}


class TopTagging(Schema):
    """Columns ``E_0``, ``PX_0``, ... of the constituents and ``is_signal_new``; jets are sums."""

    name = "top tagging"

    def missing(self, names: Collection[str]) -> list[str]:
        """See `Schema.missing`."""
        wanted = ("E_0", "PX_0", "PY_0", "PZ_0", "is_signal_new")
        return [name for name in wanted if name not in names]

    def labels(self, names: Collection[str]) -> dict[str, str]:
        """See `Schema.labels`."""
        del names
        return {"top": "is_signal_new == 1", "qcd": "is_signal_new == 0"}

    def plan(
        self, source: Source, *, collection: str | None, fields: Collection[str] | None
    ) -> Plan:
        """See `Schema.plan`."""
        del collection
        choose_fields(fields, {}, where=source.where)
        count = sum(re.fullmatch(r"E_\d+", name) is not None for name in source.names)
        columns = {
            std: [f"{letters}_{i}" for i in range(count)]
            for std, letters in (("px", "PX"), ("py", "PY"), ("pz", "PZ"), ("energy", "E"))
        }

        def build(values: Mapping[str, Column]) -> JetTable:
            padded = {
                std: np.stack([values[name] for name in names], axis=1)
                for std, names in columns.items()
            }
            real = np.any([array != 0 for array in padded.values()], axis=0)
            offsets, flat = unpad(real, padded)
            return JetTable.one_per_entry(sum_momenta(offsets, flat), offsets, flat)

        return Plan(tuple(name for names in columns.values() for name in names), build)


class QuarkGluon(Schema):
    """``X`` (J, P, 4) or (J, P, 3), and ``y``, 1 for a quark; jets are sums.

    Energies follow from the masses of the particles, which the numbers in the fourth place give;
    without them constituents are massless.
    """

    name = "quark-gluon"

    def missing(self, names: Collection[str]) -> list[str]:
        """See `Schema.missing`."""
        return [name for name in ("X", "y") if name not in names]

    def labels(self, names: Collection[str]) -> dict[str, str]:
        """See `Schema.labels`."""
        del names
        return {"quark": "y == 1", "gluon": "y == 0"}

    def plan(
        self, source: Source, *, collection: str | None, fields: Collection[str] | None
    ) -> Plan:
        """See `Schema.plan`."""
        del collection
        read = choose_fields(fields, {"pid": "X"}, where=source.where)

        def build(values: Mapping[str, Column]) -> JetTable:
            padded = _array(values["X"], (3, 4), "X", source)
            pt, rapidity, phi = (padded[..., i] for i in range(3))
            numbers = padded[..., 3] if padded.shape[2] == 4 else np.zeros_like(pt)
            offsets, flat = unpad(pt != 0, {"pt": pt, "y": rapidity, "phi": phi, "pid": numbers})
            pid = flat["pid"].astype(np.int32)
            transverse = np.hypot(flat["pt"], _masses(pid, source))
            momenta = {
                "px": flat["pt"] * np.cos(flat["phi"]),
                "py": flat["pt"] * np.sin(flat["phi"]),
                "pz": transverse * np.sinh(flat["y"]),
                "energy": transverse * np.cosh(flat["y"]),
            }
            jets = sum_momenta(offsets, momenta)
            if "pid" in read and padded.shape[2] == 4:
                momenta["pid"] = pid
            return JetTable.one_per_entry(jets, offsets, momenta)

        return Plan(("X",), build)


class JetNet(Schema):
    """``particle_features`` (J, P, 4) and ``jet_features`` (J, 4) = pt, eta, mass, number.

    The set does not keep the azimuth of the jets, which is 0 here. Constituents are massless.
    """

    name = "JetNet"

    def missing(self, names: Collection[str]) -> list[str]:
        """See `Schema.missing`."""
        return [name for name in ("particle_features", "jet_features") if name not in names]

    def plan(
        self, source: Source, *, collection: str | None, fields: Collection[str] | None
    ) -> Plan:
        """See `Schema.plan`."""
        del collection
        choose_fields(fields, {}, where=source.where)

        def build(values: Mapping[str, Column]) -> JetTable:
            padded = _array(values["particle_features"], (4,), "particle_features", source)
            jets = values["jet_features"]
            if not isinstance(jets, np.ndarray) or jets.ndim != 2 or jets.shape[1] < 3:
                raise WrongType(
                    f"dataset 'jet_features' of {source.where} holds {describe(jets)}, "
                    "wanted (pt, eta, mass, number) an entry"
                )
            pt, eta, mass = (np.ascontiguousarray(jets[:, i]) for i in range(3))
            momenta = {"pt": pt, "eta": eta, "phi": np.zeros_like(pt), "mass": mass}
            names = ("delta_eta", "delta_phi", "pt")
            relative = {name: padded[..., i] for i, name in enumerate(names)}
            offsets, flat = unpad(padded[..., 3] > 0.5, relative)
            counts = np.diff(offsets)
            # The standard field points away from the centre of the detector; see `hepgen.io.flat`.
            signs = np.where(eta < 0, -1, 1).astype(eta.dtype)
            parts = {
                "pt": flat["pt"] * np.repeat(pt, counts),
                "eta": flat["delta_eta"] + np.repeat(eta, counts),
                "phi": flat["delta_phi"],
                "mass": np.zeros_like(flat["pt"]),
                "delta_eta": flat["delta_eta"] * np.repeat(signs, counts),
                "delta_phi": flat["delta_phi"],
            }
            return JetTable.one_per_entry(jet_momenta(momenta), offsets, parts)

        return Plan(("particle_features", "jet_features"), build)


def _array(column: Column, widths: tuple[int, ...], name: str, source: Source) -> Values:
    if isinstance(column, np.ndarray) and column.ndim == 3 and column.shape[2] in widths:
        return column
    wanted = " or ".join(f"(P, {width})" for width in widths)
    raise WrongType(
        f"{source.kind} {name!r} of {source.where} holds {describe(column)}, "
        f"wanted {wanted} an entry"
    )


def _masses(pid: Values, source: Source) -> Values:
    masses = np.zeros(len(pid))
    size = np.abs(pid)
    for number in np.unique(size):
        if number != 0 and int(number) not in _MASSES:
            raise WrongType(f"no mass is known for the PDG number {number} in {source.where}")
        masses[size == number] = _MASSES.get(int(number), 0.0)
    return masses


TOP_TAGGING = TopTagging()
QUARK_GLUON = QuarkGluon()
JET_NET = JetNet()
