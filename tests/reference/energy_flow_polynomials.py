"""Writes energy_flow_polynomials.npz: what the authors' package gives for a few jets.

EnergyFlow is GPL-licensed and does not import beside NumPy 2, so it runs in an environment of its
own, and only its numbers are kept:

    python3 -m venv /tmp/energyflow
    /tmp/energyflow/bin/pip install "numpy<2" energyflow==1.4.0
    /tmp/energyflow/bin/python tests/reference/energy_flow_polynomials.py
"""

from __future__ import annotations

from pathlib import Path

import energyflow
import numpy as np

COUNTS = [1, 2, 5, 30, 100, 200]
MEASURES = [(0.5, 1.0), (1.0, 1.0), (2.0, 2.0)]  # beta, kappa


def jets(seed: int = 0) -> list[np.ndarray]:
    """Jets (E, px, py, pz) around phi = pi, so that some azimuths are above and some below."""
    rng = np.random.default_rng(seed)
    made = []
    for count in COUNTS:
        pt, mass = rng.exponential(10, count) + 0.5, rng.uniform(0, 1, count)
        y, phi = rng.normal(0.4, 0.3, count), rng.normal(np.pi, 0.3, count)
        transverse = np.hypot(pt, mass)
        columns = [
            transverse * np.cosh(y),
            pt * np.cos(phi),
            pt * np.sin(phi),
            transverse * np.sinh(y),
        ]
        made.append(np.stack(columns, axis=1))
    return made


def main() -> None:
    """All polynomials for beta = 0.5; of the other measures those with up to 4 edges."""
    arrays = {"p4": np.concatenate(jets()), "offsets": np.cumsum([0, *COUNTS])}
    for number, (beta, kappa) in enumerate(MEASURES):
        degree = 7 if number == 0 else 4
        polynomials = energyflow.EFPSet(
            f"d<={degree}", measure="hadr", beta=beta, kappa=kappa, normed=True, coords="epxpypz"
        )
        edges = [np.array(graph, np.int8).reshape(-1, 2) for graph in polynomials.graphs()]
        arrays[f"measure_{number}"] = np.array([beta, kappa])
        arrays[f"edges_{number}"] = np.concatenate(edges)
        arrays[f"graphs_{number}"] = np.cumsum([0, *map(len, edges)])
        arrays[f"polynomials_{number}"] = np.stack([polynomials.compute(jet) for jet in jets()])
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **arrays)


if __name__ == "__main__":
    main()
