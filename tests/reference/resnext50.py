"""Logits of torchvision's ResNeXt on images, for tests/taggers/test_resnext50.py.

``python -m tests.reference.resnext50`` with torchvision (0.28 made the stored ones) writes
resnext50.npz. Weights are those of `seeded_weights` for our network; its kernels for one channel
stand in the first of torchvision's three, the other two of which are zero.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torchvision.models.resnet import Bottleneck, ResNet

from hepgen.data import Features
from hepgen.taggers import ResNeXt50
from tests.reference.seeded_weights import seeded_weights
from tests.taggers.jets import CLASSES

SIZES = {"full": (3, 4, 6, 3), "short": (1, 1, 1, 1)}


def main() -> None:
    images = np.random.RandomState(0).exponential(size=(6, 64, 64)).astype(np.float32)
    images *= np.random.RandomState(1).uniform(size=images.shape) < 0.02
    kept = {"images": images}
    for name, blocks in SIZES.items():
        ours = ResNeXt50(Features(), CLASSES, blocks=blocks, group_width=4, channels=256)
        state = seeded_weights(ours)
        first = torch.zeros(64, 3, 7, 7, dtype=torch.float64)
        first[:, :1] = state["conv1.weight"]
        theirs = ResNet(Bottleneck, list(blocks), num_classes=2, groups=32, width_per_group=4)
        theirs.double().load_state_dict(state | {"conv1.weight": first})
        with torch.no_grad():
            inputs = torch.from_numpy(images).double()[:, None].expand(-1, 3, -1, -1)
            kept[name] = theirs.eval()(inputs).numpy()
    np.savez_compressed(Path(__file__).with_suffix(".npz"), **kept)


if __name__ == "__main__":
    main()
