"""Which jets are top jets: walks through Pythia's event record, compiled.

Axes: N particles of all events end to end; daughters are counted inside their event.
"""

from __future__ import annotations

import numba
import numpy as np
import numpy.typing as npt

from pipelines.samples.events import Events

TOP, W_BOSON = 6, 24
HARD_OUTGOING = 23


def is_top(
    events: Events, which: npt.NDArray[np.int64], eta_phi: npt.NDArray[np.float64], radius: float
) -> npt.NDArray[np.bool_]:
    """Whether a top quark and its three decay quarks lie within `radius` of the jet axis.

    The top quark is its last copy before decay, the quarks are those of the decay t -> b q q'
    before they radiate; distances are in (eta, phi). Leptonic tops never match.

    Args:
        events: whole event records.
        which: (B,) event of each jet.
        eta_phi: (B, 2) jet axes.
        radius: largest distance.

    Returns:
        (B,) bool.
    """
    matched: npt.NDArray[np.bool_] = _matched(
        events.offsets, events.pid, events.daughters, events.p4, which, eta_phi, radius
    )
    return matched


def leaves(events: Events, kinds: list[int]) -> npt.NDArray[np.bool_]:
    """Whether one of the given particles leaves the hard process of each event.

    Args:
        events: whole event records.
        kinds: absolute PDG ids.

    Returns:
        (events,) bool.
    """
    chosen = (np.abs(events.status) == HARD_OUTGOING) & np.isin(np.abs(events.pid), kinds)
    return np.add.reduceat(chosen, events.offsets[:-1]) > 0


@numba.njit(cache=True)
def _matched(offsets, pid, daughters, p4, which, eta_phi, radius):  # type: ignore[no-untyped-def]
    found = np.zeros(len(which), np.bool_)
    for jet in range(len(which)):
        start, stop = offsets[which[jet]], offsets[which[jet] + 1]
        for row in range(start, stop):
            if abs(pid[row]) != TOP or abs(pid[start + daughters[row, 0]]) == TOP:
                continue
            quarks = 0
            inside = _near(p4[row], eta_phi[jet], radius)
            for branch in daughters[row]:
                node = start + branch
                if abs(pid[node]) != W_BOSON:
                    quarks += 1
                    inside = inside and _near(p4[node], eta_phi[jet], radius)
                    continue
                while abs(pid[start + daughters[node, 0]]) == W_BOSON:
                    node = start + daughters[node, 0]
                for leaf in daughters[node]:
                    if abs(pid[start + leaf]) < TOP:
                        quarks += 1
                        inside = inside and _near(p4[start + leaf], eta_phi[jet], radius)
            if inside and quarks == 3:
                found[jet] = True
    return found


@numba.njit(cache=True)
def _near(p4, eta_phi, radius):  # type: ignore[no-untyped-def]
    pt = max(np.hypot(p4[1], p4[2]), 1e-9)
    delta_eta = np.arcsinh(p4[3] / pt) - eta_phi[0]
    delta_phi = abs(np.arctan2(p4[2], p4[1]) - eta_phi[1])
    delta_phi = min(delta_phi, 2 * np.pi - delta_phi)
    return delta_eta**2 + delta_phi**2 < radius**2
