"""Top against QCD: our taggers beside weaver's ParticleNet on the same jets, batches and epochs.

    python -m benchmarks.top_physics data_samples/top_qcd.root --epochs 8 --seeds 1 2 3

weaver's network (weaver-core, extra ``bench``) is given to the same ``hepgen.fit``: the same jets
in the same order, optimiser, schedule and number of epochs, so that what differs is the network's
own code. Test jets are the same for all. Prints a table and writes it as CSV.
"""

from __future__ import annotations

import argparse
import csv
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy
from torch_geometric.utils import to_dense_batch

import hepgen
from hepgen.data import Batch, Features
from hepgen.metrics import accuracy, auc, background_rejection
from hepgen.sample import JetSample

CLASSES = ("top", "QCD")
PEAK_LR = {"ParticleFlowNetwork": 2e-3, "LorentzNet": 1e-3}


class WeaverParticleNetLite(nn.Module):
    """weaver's ParticleNet with the published settings of ParticleNet-Lite, on packed batches."""

    def __init__(self, features: Features, classes: tuple[str, ...]) -> None:
        from weaver.nn.model.ParticleNet import ParticleNet

        super().__init__()
        self.features, self.classes = features, classes
        self.net = ParticleNet(
            len(features),
            len(classes),
            conv_params=[(7, (32, 32, 32)), (7, (64, 64, 64))],
            fc_params=[(128, 0.1)],
            use_fusion=False,
            trim=False,
        )

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K) from padded tensors, trimmed to the longest jet as weaver does."""
        # At least k + 1 points, below which weaver's search for neighbours fails.
        length = max(int(jets.ptr.diff().max()), 8)
        x, mask = to_dense_batch(jets.x, jets.batch, max_num_nodes=length, batch_size=len(jets.y))
        pos, _ = to_dense_batch(jets.pos, jets.batch, max_num_nodes=length, batch_size=len(jets.y))
        return self.net(pos.transpose(1, 2), x.transpose(1, 2), mask.unsqueeze(1))

    def loss(self, jets: Batch) -> Tensor:
        """Mean cross-entropy."""
        return cross_entropy(self(jets), jets.y)


def main() -> None:
    """Train every network with every seed and tell how good each is."""
    options = _options()
    parts = JetSample(options.file).parts(Features("kinematics"), seed=0, progress=False)
    rows = []
    for name in options.taggers:
        for seed in options.seeds:
            rows.append(_row(name, seed, parts, options.epochs))
            print(rows[-1], flush=True)
    with open(options.output, "w", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    _summary(rows)


def _row(name: str, seed: int, parts: Any, epochs: int) -> dict[str, Any]:
    torch.manual_seed(seed)
    features = Features("kinematics")
    make: Callable[..., Any] = globals().get(name) or getattr(hepgen.taggers, name)
    model = make(features, CLASSES)
    packed = [hepgen.PackedJets.pack(part, features, CLASSES) for part in parts]
    batches = [hepgen.Batches(p, 256, shuffle=i == 0, seed=seed) for i, p in enumerate(packed)]
    began = time.perf_counter()
    hepgen.fit(
        model,
        batches[0],
        validation=batches[1],
        epochs=epochs,
        lr=PEAK_LR.get(name, 5e-3),
        seed=seed,
        progress=False,
    )
    seconds = time.perf_counter() - began
    with torch.inference_mode():
        logits = torch.cat([model(batch) for batch in batches[2].epoch(0)])
    score = logits.double().softmax(1)[:, 0].numpy()
    top = ak.to_numpy(parts.test["label_top"])
    found = {
        "accuracy": accuracy(top, score),
        "auc": auc(top, score),
        "rejection_50": background_rejection(top, score, signal_efficiency=0.5),
        "rejection_30": background_rejection(top, score, signal_efficiency=0.3),
    }
    row: dict[str, Any] = {"tagger": name, "seed": seed, "epochs": epochs}
    row["parameters"] = sum(p.numel() for p in model.parameters())
    for key, estimate in found.items():
        row[key], row[f"{key}_error"] = round(estimate.value, 5), round(estimate.error, 5)
    return {**row, "test_jets": len(score), "seconds": round(seconds, 1)}


def _summary(rows: list[dict[str, Any]]) -> None:
    print(f"\n{'tagger':24} {'accuracy':>16} {'AUC':>18} {'1/eB at 50 %':>16} {'1/eB at 30 %':>16}")
    for name in dict.fromkeys(row["tagger"] for row in rows):
        cells = []
        for key in ("accuracy", "auc", "rejection_50", "rejection_30"):
            values = [row[key] for row in rows if row["tagger"] == name]
            sampling = np.mean([row[f"{key}_error"] for row in rows if row["tagger"] == name])
            spread = np.std(values, ddof=1) if len(values) > 1 else np.nan
            cells.append(f"{np.mean(values):.4g} ± {sampling:.2g} ({spread:.2g})")
        print(f"{name:24} " + "  ".join(cells))
    print("value ± error of the test sample (spread over seeds)")


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("file", help="jets with label_top and label_QCD")
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    ours = ["ParticleFlowNetwork", "ParticleNetLite", "LorentzNet"]
    parser.add_argument("--taggers", nargs="+", default=[*ours, "WeaverParticleNetLite"])
    parser.add_argument("--output", type=Path, default=Path("benchmarks/results/top_physics.csv"))
    return parser.parse_args()


if __name__ == "__main__":
    main()
