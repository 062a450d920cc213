"""Squared distance correlations by the package dcor 0.7 (MIT), of the numbers that follow.

pip install dcor==0.7
python tests/reference/distance_correlation.py > tests/reference/distance_correlation.json
"""

import json

import numpy as np


def sample(seed: int, size: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """Related numbers x (size, width) and y (size,)."""
    rng = np.random.default_rng(seed)
    x = rng.normal(size=(size, width))
    return x, x[:, 0] ** 2 + 0.3 * rng.normal(size=size) + 0.5 * x[:, -1]


if __name__ == "__main__":
    import dcor

    cases = [(0, 20, 1), (1, 100, 1), (2, 60, 3), (3, 300, 2)]
    found = [dcor.distance_correlation_sqr(*sample(*case)) for case in cases]
    print(json.dumps({"cases": cases, "dcor": dcor.__version__, "values": found}))
