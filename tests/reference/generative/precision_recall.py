"""Writes precision_recall.json: the four numbers by the package prdc 0.2 (MIT).

It is what the CaloChallenge used; it runs in an environment of its own, and only its numbers are
kept:

    python3.11 -m venv /tmp/prdc
    /tmp/prdc/bin/pip install "numpy<2" scikit-learn prdc==0.2
    /tmp/prdc/bin/python tests/reference/generative/precision_recall.py
"""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

# seed, rows of the reference, rows generated, columns, shift, k
CASES = [(1, 500, 400, 3, 0.2, 5), (2, 400, 600, 20, 0.1, 5), (3, 300, 300, 100, 0.0, 3)]


def sample(
    seed: int, rows: int, generated: int, columns: int, shift: float
) -> tuple[np.ndarray, np.ndarray]:
    """Logarithms of energies of which a third is empty, as the challenge has them."""
    rng = np.random.default_rng(seed)
    tables = []
    for count, off in ((rows, 0.0), (generated, shift)):
        table = rng.normal(size=(count, columns)) * (1 + off) + off
        table[rng.random(table.shape) < 1 / 3] = -1.0
        tables.append(table)
    return tables[0], tables[1]


def main() -> None:
    """The four numbers of every case."""
    import prdc

    found = []
    for *case, k in CASES:
        numbers = prdc.compute_prdc(*sample(*case), nearest_k=k)
        found.append({name: float(value) for name, value in numbers.items()})
    text = json.dumps({"prdc": "0.2", "numpy": np.__version__, "values": found}, indent=1)
    Path(__file__).with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
