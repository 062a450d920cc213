r"""Particle flow network: a sum over constituents, blind to their order.

P. T. Komiske, E. M. Metodiev and J. Thaler, "Energy flow networks: deep sets for particle jets",
JHEP 01 (2019) 121, arXiv:1810.05165.

Shapes: B jets, N constituents of all jets end to end, F features, D latent, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, final

from torch import Tensor, nn

from hepgen.data import Batch, Features
from hepgen.heads import Head
from hepgen.taggers.mlp import mlp
from hepgen.taggers.segments import segment_sum
from hepgen.taggers.tagger import Paper, Tagger

__all__ = ["ParticleFlowNetwork"]


@final
class ParticleFlowNetwork(Tagger):
    r"""Logits :math:`F\big(\sum_{i \in \mathrm{jet}} \Phi(x_i)\big)`.

    With the published widths and two classes it has 82 458 parameters for 3 features and 82 858
    for 7. Weights begin as usual in torch: those of the paper (He et al.) are for momenta divided
    by the jet's, and sums over standardised features would begin with a loss of 30.

    Args:
        features: what enters of each constituent; it has F names.
        classes: names of the K classes, in the order of the logits; or a head.
        phi_channels: widths of the layers of :math:`\Phi`; the last is D.
        f_channels: widths of the hidden layers of F.

    Attributes:
        latent_width: D.
    """

    paper: ClassVar[Paper | None] = Paper(
        "P. T. Komiske, E. M. Metodiev and J. Thaler",
        "Energy flow networks: deep sets for particle jets",
        "JHEP 01 (2019) 121",
        "1810.05165",
    )
    chunk: ClassVar[int] = 64

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        phi_channels: Sequence[int] = (100, 100, 256),
        f_channels: Sequence[int] = (100, 100, 100),
    ) -> None:
        super().__init__(features, classes)
        self.phi_channels, self.f_channels = tuple(phi_channels), tuple(f_channels)
        self.latent_width = latent = self.phi_channels[-1]
        self.phi = mlp(len(features), self.phi_channels)
        self.f = mlp(latent, self.f_channels)
        self.out = nn.Linear(self.f_channels[-1] if self.f_channels else latent, self.width)

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        return self.pooled(self.latents(jets), jets)

    def latents(self, jets: Batch) -> Tensor:
        """The vector of each constituent, (N, D)."""
        latents: Tensor = self.phi(jets.x)
        return latents

    def pooled(self, latents: Tensor, jets: Batch) -> Tensor:
        """Logits (B, K) of the sum of the vectors (N, D)."""
        # A sum, not a mean: the number of constituents itself tells quarks from gluons.
        logits: Tensor = self.out(self.f(segment_sum(latents, jets.ptr)))  # (B, K)
        return logits
