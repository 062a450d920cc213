"""Logits of weaver's example P-CNN, for tests/taggers/test_p_cnn.py.

``python -m tests.reference.p_cnn example_PCNN.py`` writes p_cnn.npz. That file is from networks/ of
jet-universe/particle_transformer (MIT), commit 512fcd14. Inputs padded to 100 and to 128 places
give different logits; both are kept.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import torch

from tests.reference.seeded_weights import seeded_weights
from tests.taggers.jets import make

COUNTS = [0, 1, 2, 3, 17, 40, 64, 99, 100, 101, 150, 200]


def main(path: str) -> None:
    spec = importlib.util.spec_from_file_location("example_PCNN", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    net = module.ResNet(7, 2).double()
    net.load_state_dict(seeded_weights(net))
    net.eval()
    batch = make(COUNTS, seed=11)
    kept = {"x": batch.x.numpy(), "p4": batch.p4.numpy(), "ptr": batch.ptr.numpy()}
    momentum = np.hypot(kept["p4"][:, 1], kept["p4"][:, 2])
    for length in (100, 128):
        features = np.zeros((len(COUNTS), 7, length))
        mask = np.zeros((len(COUNTS), 1, length), bool)
        for jet, count in enumerate(COUNTS):
            rows = np.arange(count) + kept["ptr"][jet]
            rows = rows[np.argsort(-momentum[rows])][:length]
            features[jet, :, : len(rows)] = kept["x"][rows].T
            mask[jet, :, : len(rows)] = True
        with torch.no_grad():
            logits = net(None, torch.from_numpy(features), None, torch.from_numpy(mask))
        kept[f"logits_{length}"] = logits.numpy()
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **kept)


if __name__ == "__main__":
    main(sys.argv[1])
