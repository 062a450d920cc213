"""Writes jetnet_distances.json: FPD and KPD by jetnet 0.2.5 (MIT) of the numbers that follow.

jetnet does not import beside NumPy 2, so it runs in an environment of its own, and only its numbers
are kept:

    python3.11 -m venv /tmp/jetnet
    /tmp/jetnet/bin/pip install "numpy<2" "scipy==1.17.1" "pyarrow<21" jetnet==0.2.5
    /tmp/jetnet/bin/python tests/reference/generative/jetnet_distances.py
"""

from __future__ import annotations

import json
import warnings
from pathlib import Path

import numpy as np

# name: rows of the reference, rows generated, columns, shift, smallest and largest batch of FPD,
# batch of KPD
CASES = {
    "shifted": (6000, 5000, 12, 0.2, 2000, 5000, 1000),
    "the same law": (5000, 5000, 8, 0.0, 1000, 4000, 500),
    "many columns": (4000, 4000, 60, 0.05, 1500, 4000, 800),
    "challenge": (21000, 20500, 6, 0.03, 10000, 20000, 2000),
}


def sample(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Correlated features of very different sizes, the last one always zero."""
    rows, generated, columns, shift, *_ = CASES[name]
    rng = np.random.default_rng(sum(map(ord, name)))
    mixing = rng.normal(size=(columns, columns)) / np.sqrt(columns)
    tables = []
    for count, off in ((rows, 0.0), (generated, shift)):
        table = (rng.normal(size=(count, columns)) * (1 + off)) @ mixing + off
        table[:, 0] = np.exp(table[:, 0])
        table *= np.geomspace(1e-2, 1e3, columns)
        table[:, -1] = 0.0
        tables.append(table)
    return tables[0], tables[1]


def main() -> None:
    """Values and errors of every case, and the versions that gave them."""
    warnings.simplefilter("ignore")
    import jetnet
    import scipy
    from jetnet.evaluation import gen_metrics

    seen: list[np.ndarray] = []
    fit = gen_metrics.curve_fit

    def watched(line, x, y, **keywords):
        seen.append(np.array(y))
        return fit(line, x, y, **keywords)

    gen_metrics.curve_fit = watched
    found = {}
    for name, (*_, smallest, largest, batch) in CASES.items():
        x, y = sample(name)
        found[name] = {
            "fpd": gen_metrics.fpd(x, y, min_samples=smallest, max_samples=largest),
            # Before the fit, which stops short of the least squares that it looks for.
            "means": seen[-1].tolist(),
            "kpd": gen_metrics.kpd(x, y, batch_size=batch),
            # One pair of moments: no fit and no drawing.
            "frechet": float(
                gen_metrics._calculate_frechet_distance(
                    x.mean(axis=0), np.cov(x, rowvar=False), y.mean(axis=0), np.cov(y, rowvar=False)
                )
            ),
            # That both sides have the same numbers before them.
            "sums": [float(x.sum()), float(y.sum())],
        }
    # jetnet's generator has no seed; with one its draws can be repeated.
    x, y = sample("shifted")
    gen_metrics.rng = np.random.default_rng(7)
    found["w1p"] = np.array(
        gen_metrics.w1p(x[:, None, :3], y[:, None, :3], num_eval_samples=3000)
    ).tolist()
    versions = {"jetnet": "0.2.5", "numpy": np.__version__, "scipy": scipy.__version__}
    assert jetnet.__version__ == versions["jetnet"]
    text = json.dumps({"versions": versions, "values": found}, indent=1)
    Path(__file__).with_suffix(".json").write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
