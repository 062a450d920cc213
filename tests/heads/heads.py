"""Heads of every kind, jets for them, and a small tagger to put them on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import awkward as ak
import numpy as np
import torch
from torch import nn

from hepgen.data import Batch, Features, PackedJets
from hepgen.heads import (
    Adversarial,
    AuxiliaryLabels,
    Classification,
    DistanceCorrelation,
    Head,
    Joint,
    Regression,
)
from hepgen.taggers import Tagger
from hepgen.taggers.segments import segment_sum
from tests.taggers.jets import CLASSES, make_jets

LABELS = "abs(charge) + 0 * energy"

HEADS: dict[str, Callable[[], Head]] = {
    "Classification": lambda: Classification(CLASSES),
    "Regression": lambda: Regression(["mass", "pt"]),
    "Regression log": lambda: Regression({"m": "mass"}, space="log"),
    "Regression quantile": lambda: Regression(["mass", "log(pt)"], "quantile"),
    "Regression mixture": lambda: Regression(["mass", "pt"], "mixture", "log", components=2),
    "AuxiliaryLabels": lambda: AuxiliaryLabels(
        Classification(CLASSES), LABELS, ("neutral", "charged")
    ),
    "Joint": lambda: Joint(
        {
            "mass": Regression(["mass"]),
            "tag": AuxiliaryLabels(Classification(CLASSES), LABELS, ("neutral", "charged")),
            "pt": Regression(["pt"], "quantile"),
        },
        {"mass": 0.3},
    ),
    "DistanceCorrelation": lambda: DistanceCorrelation(
        Classification(CLASSES), "mass", for_class="qcd"
    ),
    "Adversarial": lambda: Adversarial(Classification(CLASSES), "mass", for_class="qcd"),
    "Adversarial mixture": lambda: Adversarial(
        Joint({"pt": Regression(["pt"]), "tag": Classification(CLASSES)}), kind="mixture", number=2
    ),
}


class Sums(Tagger):
    """A tagger with latent vectors."""

    def __init__(self, features, classes, channels=8):
        super().__init__(features, classes)
        self.channels = self.latent_width = channels
        self.inside = nn.Sequential(nn.Linear(len(features), channels), nn.ReLU())
        self.last = nn.Linear(channels, self.width)

    def forward(self, jets):
        return self.pooled(self.latents(jets), jets)

    def latents(self, jets):
        return self.inside(jets.x)

    def pooled(self, latents, jets):
        return self.last(segment_sum(latents, jets.ptr) / 10)


def jets_with_masses(counts: Sequence[int], seed: int = 0) -> ak.Array:
    """Random jets whose mass tells their class and number of constituents."""
    jets = make_jets(counts, seed)
    rng = np.random.default_rng(seed)
    mass = np.where(jets.label_top, 170.0, 60.0) * np.exp(0.2 * rng.normal(size=len(jets)))
    return ak.with_field(jets, mass + np.asarray(counts), "mass")


def tagger_with(head: Head, jets: ak.Array, *, kind: type[Tagger] = Sums) -> Tagger:
    """A tagger, its head fitted to some jets."""
    torch.manual_seed(1)
    return kind(Features(), head.fit(jets))


def packed_for(head: Head, jets: ak.Array) -> PackedJets:
    """Jets with all that a head learns."""
    return PackedJets.pack(
        jets,
        Features(),
        head.classes or None,
        targets=head.targets,
        constituent_labels=head.constituent_labels,
    )


def batch_for(head: Head, jets: ak.Array) -> Batch:
    """One batch of all jets."""
    return packed_for(head, jets).batch(slice(None))
