"""Spurions as further nodes of each jet, in front of its constituents.

Shapes: B jets, N constituents of all jets end to end, S spurions, D values of each; ``ptr`` has
B + 1 entries.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional

from hepgen.taggers.spurions import SPURIONS, spurion_vectors

__all__ = ["SpurionNodes"]


class SpurionNodes:
    """Where the nodes of packed jets stand once each jet has its spurions.

    Args:
        names: of `hepgen.taggers.spurions.SPURIONS`; with none everything stays as it is.
        ptr: offsets of the jets in N, shape (B + 1,), int64.
        jet: jet of each constituent, shape (N,), int64.

    Attributes:
        ptr: offsets of the jets in the N + S B nodes, shape (B + 1,), int64.
        count: number of nodes.

    Raises:
        ValueError: there is no such name.
    """

    def __init__(self, names: Sequence[str], ptr: Tensor, jet: Tensor) -> None:
        self.names = tuple(names)
        self.each = [len(SPURIONS[name]) for name in self.names]
        jets = ptr.shape[0] - 1
        self.ptr = ptr + sum(self.each) * torch.arange(jets + 1, device=ptr.device)
        self.count = jet.shape[0] + sum(self.each) * jets
        self._jets = jets
        of_spurions = torch.arange(jets, device=jet.device).repeat_interleave(sum(self.each))
        self._order = torch.cat([of_spurions, jet]).argsort(stable=True)

    def momenta(self, p4: Tensor) -> Tensor:
        """Momenta of all nodes, shape (N + S B, 4).

        Args:
            p4: of the constituents, shape (N, 4).
        """
        return self.join(spurion_vectors(self.names, p4), p4)

    def kinds(self, like: Tensor) -> Tensor:
        """1 in the column of the kind of each node, else 0: constituents, then the names.

        Args:
            like: gives type and device.

        Returns:
            Shape (N + S B, 1 + number of names).
        """
        which = torch.arange(1, len(self.names) + 1, device=like.device).repeat_interleave(
            torch.tensor(self.each, dtype=torch.int64, device=like.device),
            output_size=sum(self.each),
        )
        kind = which.new_zeros(self.count - which.shape[0] * self._jets)
        kind = self.join(which[:, None], kind[:, None])[:, 0]
        return functional.one_hot(kind, len(self.names) + 1).to(like.dtype)

    def join(self, spurions: Tensor, constituents: Tensor) -> Tensor:
        """Values of all nodes, shape (N + S B, D).

        Args:
            spurions: values of the spurions, the same for each jet, shape (S, D).
            constituents: values of the constituents, shape (N, D).
        """
        if not self.names:
            return constituents
        return torch.cat([spurions.repeat(self._jets, 1), constituents])[self._order]
