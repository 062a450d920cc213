"""Features of momenta that each stand in a frame of their own.

The definitions are those of `hepgen.data.definitions`, as in the programs of arXiv:2505.20280, with
components in the local frame of the constituent, and with the jet's momentum in that frame for its
axis. The axes of a learned frame are not those of a detector: "transverse" is to its last axis. One
differs: ``delta_phi`` is the sine of the difference. In their frames constituents and jet stand
nearly back to back, so that the difference itself would jump between -pi and pi all the time. Its
absolute value is in ``delta_r``.

Shapes: N constituents of all jets end to end.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from difflib import get_close_matches
from typing import NamedTuple

import torch
from torch import Tensor

from hepgen.data import Batch, Features
from hepgen.data.definitions import KNOWN
from hepgen.kinematics import delta_phi
from hepgen.taggers.local_frames import Framed
from hepgen.taggers.lorentz_frames import apply_frame

__all__ = ["LEAST", "LOCAL", "LocalJets", "check_scalars", "in_local_frames"]

LOCAL: Mapping[str, tuple[float, float]] = {
    "log_pt": (-1.0, 1.0),
    "log_energy": (-1.0, 1.0),
    "log_pt_fraction": (-6.0, 1.0),
    "log_energy_fraction": (-6.0, 1.0),
    "delta_r": (3.0, 1.0),
    "delta_eta": (0.0, 2.0),
    "delta_phi": (0.0, 2.0),
}
"""Features that are computed anew in the local frames -> centre and scale there.

About mean and inverse standard deviation in frames that have not learned yet, of the jets in
``data_samples/top_qcd.root``.
"""

LEAST = 1e-3
"""Energies and transverse momenta in GeV below this count as this, and have no azimuth."""


class LocalJets(NamedTuple):
    """What a tagger reads of a `hepgen.data.Batch`, in the local frames.

    Attributes:
        x: features, shape (N, F).
        ptr: offsets of the jets in N, shape (B + 1,).
        batch: jet of each constituent, shape (N,).
        pos: (delta_eta, sin(delta_phi)) to the jet axis, shape (N, 2).
        p4: (E, px, py, pz) in GeV, shape (N, 4).
    """

    x: Tensor
    ptr: Tensor
    batch: Tensor
    pos: Tensor
    p4: Tensor

    def get(self, name: str) -> Tensor | None:
        """A tensor, or None, as a Batch answers."""
        value: Tensor | None = getattr(self, name, None)
        return value


def check_scalars(scalars: Sequence[str] | None, features: Features) -> tuple[str, ...]:
    """Names of the features that pass as they are.

    Args:
        scalars: names of features; None for all that hepgen knows not to depend on momenta.
        features: of the tagger.

    Raises:
        ValueError: a name that is no feature, or a feature that is neither a scalar nor in `LOCAL`.
    """
    if scalars is None:
        known = {function.__name__ for function in KNOWN} - LOCAL.keys()
        scalars = [name for name in features.names if name in known]
    for name in scalars:
        if name not in features.names:
            near = get_close_matches(str(name), features.names, n=1, cutoff=0.0)[0]
            raise ValueError(
                f"scalars should be features, not {name!r}; nearest: {near}; there are "
                f"{', '.join(features.names)}"
            )
    for name in features.names:
        if name not in scalars and name not in LOCAL:
            raise ValueError(
                f"feature {name!r} cannot be computed in local frames, as {', '.join(LOCAL)} can; "
                f"if no transformation of the jet changes it, name it in scalars"
            )
    return tuple(scalars)


def in_local_frames(
    jets: Batch, framed: Framed, features: Features, scalars: Sequence[str]
) -> LocalJets:
    """The jets, each constituent as it looks in its frame.

    Args:
        jets: packed jets.
        framed: their frames.
        features: names of the columns of ``jets.x``.
        scalars: columns to pass as they are; the others are computed anew.
    """
    p4, jet = apply_frame(framed.frame, framed.p4), apply_frame(framed.frame, framed.jet)
    values = _kinematics(p4, jet)
    columns = [
        jets.x[:, i]
        if name in scalars
        else ((values[name] - LOCAL[name][0]) * LOCAL[name][1]).to(jets.x.dtype)
        for i, name in enumerate(features.names)
    ]
    pos = torch.stack([values["delta_eta"], values["delta_phi"]], dim=1)
    dtype = jets.p4.dtype
    return LocalJets(torch.stack(columns, dim=1), jets.ptr, jets.batch, pos.to(dtype), p4.to(dtype))


def _kinematics(p4: Tensor, jet: Tensor) -> dict[str, Tensor]:
    """Features (N,) of momenta (N, 4) relative to jets (N, 4)."""
    (pt, energy, eta, phi), (jet_pt, jet_energy, jet_eta, jet_phi) = map(_polar, (p4, jet))
    d_eta, d_phi = eta - jet_eta, delta_phi(phi, jet_phi)
    square = d_eta.square() + d_phi.square()
    return {
        "log_pt": pt,
        "log_energy": energy,
        "log_pt_fraction": pt - jet_pt,
        "log_energy_fraction": energy - jet_energy,
        "delta_r": torch.where(square > 0, torch.where(square > 0, square, 1).sqrt(), 0),
        "delta_eta": d_eta,
        "delta_phi": d_phi.sin(),
    }


def _polar(p4: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Logarithms of transverse momentum and energy, pseudorapidity and azimuth."""
    energy, px, py, pz = p4.unbind(1)
    pt2 = px.square() + py.square()
    across = pt2 > LEAST**2
    pt = torch.where(across, pt2, LEAST**2).sqrt()
    phi = torch.atan2(torch.where(across, py, 0), torch.where(across, px, 1))
    return pt.log(), energy.clamp(min=LEAST).log(), (pz / pt).asinh(), phi
