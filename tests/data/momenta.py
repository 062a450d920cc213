"""Random momenta of jets, and what FastJet makes of them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]


def jet(count: int, seed: int = 0, spread: float = 0.4) -> Doubles:
    """Momenta (E, px, py, pz) of some constituents with masses around one axis."""
    rng = np.random.default_rng([seed, count])
    pt, mass = rng.exponential(10, count) + 0.1, rng.uniform(0, 0.2, count)
    y, phi = rng.normal(1, spread, count), rng.normal(3, spread, count)
    transverse = np.hypot(pt, mass)
    columns = transverse * np.cosh(y), pt * np.cos(phi), pt * np.sin(phi), transverse * np.sinh(y)
    return np.stack(columns, axis=1)


def offsets_of(jets: list[Doubles]) -> NDArray[np.int64]:
    return np.cumsum([0, *map(len, jets)], dtype=np.int64)


def fastjet_sequence(fastjet: Any, p4: Doubles, power: float, radius: float | None) -> Any:
    """FastJet's clustering; user_index is the row. Keep it while its jets are used."""
    names = {1: "kt_algorithm", 0: "cambridge_algorithm", -1: "antikt_algorithm"}
    far = 1000.0 if radius is None else radius
    if power in names:
        definition = fastjet.JetDefinition(getattr(fastjet, names[int(power)]), far)
    else:
        definition = fastjet.JetDefinition(fastjet.genkt_algorithm, far, power)
    particles = []
    for row, (energy, px, py, pz) in enumerate(p4.tolist()):
        particles.append(fastjet.PseudoJet(px, py, pz, energy))
        particles[-1].set_user_index(row)
    return fastjet.ClusterSequence(particles, definition)


def components(jet: Any) -> list[float]:
    return [jet.E(), jet.px(), jet.py(), jet.pz()]


def splittings(fastjet: Any, jets: Any) -> dict[frozenset[int], tuple[Any, Any, Any]]:
    """Rows of all constituents of a node -> (node, its harder child, its softer child)."""
    found = {}
    pending = list(jets)
    while pending:
        node = pending.pop()
        one, other = fastjet.PseudoJet(), fastjet.PseudoJet()
        if node.has_parents(one, other):
            harder, softer = (one, other) if one.pt2() > other.pt2() else (other, one)
            rows = frozenset(part.user_index() for part in node.constituents())
            found[rows] = (node, harder, softer)
            pending += [one, other]
    return found


def azimuth(value: float) -> float:
    """An angle brought into [-pi, pi)."""
    return (value + math.pi) % (2 * math.pi) - math.pi
