"""The networks of the package lgatr on the tokens of packed batches, for comparison."""

from __future__ import annotations

from collections.abc import Sequence

import lgatr
import torch
from torch import Tensor, nn

from hepgen.data import Batch, Features, make_batch
from tests.taggers.jets import make

FEATURES = Features(["log_pt", "charge"])


class LgatrTagger(nn.Module):
    """A network of lgatr as its authors use it for tagging, written jet by jet.

    Args:
        net: LGATr with a multivector for each class, or LGATrSlim with a scalar for each.
        scalars: columns of the features that enter.
        spurions: 16 components each, see `lgatr.get_spurions`.
        token: whether there is a global token; else the mean is taken.
    """

    def __init__(
        self, net: nn.Module, scalars: Sequence[int], spurions: Tensor, token: bool
    ) -> None:
        super().__init__()
        self.net, self.scalars, self.spurions, self.token = net, list(scalars), spurions, token

    def tokens(self, batch: Batch, jet: int) -> tuple[Tensor, Tensor]:
        """Multivectors (P, 16) and scalars (P, S) of one jet."""
        rows = slice(int(batch.ptr[jet]), int(batch.ptr[jet + 1]))
        momenta = lgatr.embed_vector(batch.p4[rows] / 20)
        fixed = self.spurions.to(momenta.dtype)
        first = momenta.new_zeros(int(self.token), 16)
        multivectors = torch.cat([first, fixed, momenta])
        scalars = momenta.new_zeros(len(multivectors), len(self.scalars))
        scalars[len(first) + len(fixed) :] = batch.x[rows][:, self.scalars]
        if self.token:
            flag = torch.zeros(len(scalars), 1, dtype=scalars.dtype)
            flag[0] = 1
            scalars = torch.cat([scalars, flag], dim=1)
        elif not self.scalars:
            scalars = torch.ones(len(scalars), 1, dtype=scalars.dtype)
        return multivectors, scalars

    def forward(self, batch: Batch, length: int | None = None) -> Tensor:
        """Logits (B, K), with all jets padded to some length or each alone."""
        jets = [self.tokens(batch, jet) for jet in range(len(batch.ptr) - 1)]
        if length is None:
            return torch.cat([self.padded([jet], len(jet[0])) for jet in jets])
        return self.padded(jets, length)

    def padded(self, jets: list[tuple[Tensor, Tensor]], length: int) -> Tensor:
        counts = torch.tensor([len(multivectors) for multivectors, _ in jets])
        mask = torch.arange(length) < counts[:, None]  # (B, P)
        multivectors, scalars = (torch.cat(parts) for parts in zip(*jets, strict=True))
        multivectors, scalars = (
            parts.new_zeros(*mask.shape, parts.shape[1]).masked_scatter(mask[..., None], parts)
            for parts in (multivectors, scalars)
        )
        attention = {"attn_mask": mask[:, None, None]}
        if isinstance(self.net, lgatr.LGATr):
            out = self.net(multivectors[:, :, None], scalars, **attention)[0][..., 0]
        else:
            vectors = lgatr.extract_vector(multivectors)[:, :, None]
            out = self.net(vectors, scalars, **attention)[1]
        if self.token:
            return out[:, 0]
        return (out * mask[..., None]).sum(1) / counts[:, None]


def randomise(module: nn.Module) -> nn.Module:
    """Weights as after some training: norms not 1, biases not 0."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 0.1 * torch.randn(parameter.shape, generator=generator)
    return module


def massive(counts: list[int], dtype: torch.dtype = torch.float64, seed: int = 0) -> Batch:
    """Jets whose constituents have masses up to 1 GeV; the features are log pt and charge."""
    batch = make(counts, seed, torch.float64)
    generator = torch.Generator().manual_seed(seed)
    mass = torch.rand(len(batch.x), generator=generator, dtype=torch.float64) + 0.01
    p4 = batch.p4.clone()
    p4[:, 0] = (p4[:, 1:].square().sum(1) + mass.square()).sqrt()
    charge = torch.randint(-1, 2, (len(p4), 1), generator=generator).double()
    x = torch.cat([p4[:, 1:3].norm(dim=1, keepdim=True).log(), charge], dim=1)
    return make_batch(
        x.to(dtype), batch.ptr, p4=p4.to(dtype), pos=batch.pos, y=batch.y, weight=batch.weight
    )
