r"""N-subjettiness in a dense network.

L. Moore, K. Nordström, S. Varma and M. Fairbairn, "Reports of my demise are greatly exaggerated:
N-subjettiness taggers take on jet images", SciPost Phys. 7 (2019) 036, arXiv:1807.04769. Written
from the paper.

Shapes: B jets, N constituents of all jets end to end, D observables, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, ClassVar, final

import torch
from torch import Tensor, nn

from hepgen.data import Batch, Features, n_subjettiness_basis
from hepgen.kinematics import mass, pt
from hepgen.taggers.edge_conv import batch_norm
from hepgen.taggers.segments import segment_sum
from hepgen.taggers.tagger import Paper, Tagger

if TYPE_CHECKING:
    from hepgen.heads import Head

__all__ = ["NSubjettiness"]


@final
class NSubjettiness(Tagger):
    r"""Dense layers on the 3 M - 4 observables of M-body phase space, mass and transverse momentum.

    The observables are :math:`\tau_n^{(1/2)}, \tau_n^{(1)}, \tau_n^{(2)}` for n up to M - 2 and
    :math:`\tau_{M-1}^{(1)}, \tau_{M-1}^{(2)}` (K. Datta and A. Larkoski, arXiv:1704.08249): 20 for
    M = 8. Mass and transverse momentum are those of the sum of the constituents. Features do not
    enter.

    With the published settings and two classes it has 57 546 parameters, 57 502 without those of
    the batch normalisation that standardises the D = 22 inputs here. On the top-tagging reference
    set (arXiv:1902.09914): accuracy 0.929, AUC 0.981, 1/eB 867 +- 15 at a signal efficiency of
    30 %, 58k parameters. Widths, dropout and the choice of axes (exclusive kT in the E-scheme, no
    minimisation) are from memory; the number of parameters agrees.

    Args:
        features: kept with the model; none of them enters.
        classes: names of the K classes, in the order of the logits, or a head.
        bodies: M, at least 2.
        channels: widths of the hidden layers.
        dropout: share of each of them that is dropped in training.

    Raises:
        ValueError: ``bodies`` < 2, or not as many shares as layers.
    """

    inputs: ClassVar[tuple[str, ...]] = ("p4",)
    paper: ClassVar[Paper | None] = Paper(
        "L. Moore, K. Nordström, S. Varma and M. Fairbairn",
        "Reports of my demise are greatly exaggerated: N-subjettiness taggers take on jet images",
        "SciPost Phys. 7 (2019) 036",
        "1807.04769",
    )
    chunk: ClassVar[int] = 64

    def __init__(
        self,
        features: Features,
        classes: Sequence[str] | Head,
        bodies: int = 8,
        channels: Sequence[int] = (200, 200, 50, 50),
        dropout: Sequence[float] = (0.2, 0.2, 0.1, 0.1),
    ) -> None:
        super().__init__(features, classes)
        if bodies < 2 or len(dropout) != len(channels):
            raise ValueError(
                "NSubjettiness needs bodies >= 2 and a share to drop for each layer, not "
                f"{bodies=}, {channels=}, {dropout=}"
            )
        self.bodies, self.channels, self.dropout = bodies, tuple(channels), tuple(dropout)
        width = 3 * bodies - 4 + 2
        self.norm = nn.BatchNorm1d(width)
        layers: list[nn.Module] = []
        for channel, share in zip(channels, dropout, strict=True):
            layers += [nn.Linear(width, channel), nn.ReLU(), nn.Dropout(share)]
            width = channel
        self.hidden = nn.Sequential(*layers)
        self.out = nn.Linear(width, self.width)

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        # Devices of Apple have no float64.
        exact = torch.float32 if jets.p4.device.type == "mps" else torch.float64
        total = segment_sum(jets.p4.detach().to(exact), jets.ptr)  # (B, 4)
        taus = _basis(jets.p4.detach(), jets.ptr, self.bodies)  # (B, D - 2)
        x = torch.cat([taus, mass(total)[:, None], pt(total)[:, None]], dim=1)  # (B, D)
        x = batch_norm(self.norm, x.to(self.out.weight.dtype))
        logits: Tensor = self.out(self.hidden(x))  # (B, K)
        return logits


@torch.library.custom_op("hepgen::n_subjettiness_basis", mutates_args=())
def _basis(p4: Tensor, ptr: Tensor, bodies: int) -> Tensor:
    exact = torch.float32 if p4.device.type == "mps" else torch.float64
    momenta = p4.to("cpu", torch.float64).numpy()
    basis = n_subjettiness_basis(momenta, ptr.cpu().numpy(), bodies)
    return torch.from_numpy(basis).to(p4.device, exact)


@_basis.register_fake
def _(p4: Tensor, ptr: Tensor, bodies: int) -> Tensor:
    exact = torch.float32 if p4.device.type == "mps" else torch.float64
    return p4.new_empty((ptr.shape[0] - 1, 3 * bodies - 4), dtype=exact)
