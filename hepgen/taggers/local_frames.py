r"""Local frames of the constituents of jets, predicted so that they turn with the jet.

J. Spinner, L. Favaro, P. Lippmann, S. Pitz, G. Gerhartz, T. Plehn and F. A. Hamprecht, "Lorentz
local canonicalization: how to make any network Lorentz-equivariant", arXiv:2505.20280.

Shapes: B jets, N constituents of all jets end to end, S spurions, M = N + B S nodes, E ordered
pairs (constituent, other node) of the same jet, F scalars, V vectors, H hidden.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.data import all_pairs
from hepgen.kinematics import mass_squared, minkowski_dot
from hepgen.taggers.lorentz_frames import apply_frame, make_frame, rest_frame
from hepgen.taggers.segments import segment_sum
from hepgen.taggers.spurions import check_spurions, spurion_vectors

__all__ = ["EquivariantVectors", "Framed", "LocalFrames"]


class Framed(NamedTuple):
    """Jets in their rest frames, and a frame for each constituent; all float64.

    Attributes:
        boost: from the frame of the detector to that of the constituent's jet, shape (N, 4, 4).
        p4: momenta of the constituents in the rest frames of their jets, GeV, shape (N, 4).
        jet: momentum of the constituent's jet there, the sum of constituents, shape (N, 4).
        frame: from the rest frame of the jet to that of the constituent, shape (N, 4, 4).
    """

    boost: Tensor
    p4: Tensor
    jet: Tensor
    frame: Tensor


class EquivariantVectors(nn.Module):
    r"""A few vectors for each node, weighted sums over the others of its jet.

    .. math::
        v_{ik} = \frac{1}{\sqrt{|\sum_k u_{ik}^2|}} u_{ik}, \qquad u_{ik} = \sum_{j \ne i}
        \operatorname{softmax}_j\big(\mathrm{MLP}(s_i, s_j, e_{ij})_k\big)
        \frac{p_i + p_j}{\sqrt{|(p_i + p_j)^2|}}

    with :math:`e_{ij} = \ln (p_i + p_j)^2`, standardised by mean and standard deviation of the
    first batch of more than one pair that is seen in training. They are buffers: kept with the
    weights, 0 and 1 before. As all weights are positive, so that sums of time-like vectors stay
    time-like, what comes out is in the span of the sums: with three nodes it has two dimensions.

    Args:
        scalars: number F of invariants of each node.
        vectors: number V of vectors.
        hidden: width H of the layers.
        layers: number of hidden layers.
        least_mass: of a pair in GeV; less counts as this.

    Raises:
        ValueError: layers < 1.
    """

    mean: Tensor
    deviation: Tensor
    seen: Tensor

    def __init__(
        self,
        scalars: int,
        vectors: int = 3,
        hidden: int = 128,
        layers: int = 2,
        least_mass: float = 5e-3,
    ) -> None:
        super().__init__()
        if layers < 1:
            raise ValueError(f"vectors need a hidden layer at least, not {layers=}")
        self.scalars, self.vectors, self.least_mass = scalars, vectors, least_mass
        self.first = nn.Linear(2 * scalars + 1, hidden)
        inner = [nn.Sequential(nn.GELU(), nn.Linear(hidden, hidden)) for _ in range(layers - 1)]
        # A bias of the last layer would be the same for all j, which softmax does not see.
        self.rest = nn.Sequential(*inner, nn.GELU(), nn.Linear(hidden, vectors, bias=False))
        self.register_buffer("mean", torch.tensor(0.0))
        self.register_buffer("deviation", torch.tensor(1.0))
        self.register_buffer("seen", torch.tensor(False))

    def forward(self, p4: Tensor, s: Tensor, pairs: Tensor, size: int) -> Tensor:
        """Vectors of the first nodes.

        Args:
            p4: momenta of the nodes, shape (M, 4), float64: digits of collinear ones cancel.
            s: invariants of the nodes, shape (M, F), in the type of the weights.
            pairs: rows of i < N and j, shape (2, E).
            size: N.

        Returns:
            Shape (N, V, 4), in the type of the momenta; zeros for a node without others.
        """
        first, second = pairs
        total = p4.index_select(0, first) + p4.index_select(0, second)  # (E, 4)
        square = mass_squared(total)
        edge = self._standardised(square.clamp(min=self.least_mass**2).log()).to(s.dtype)
        weights = _softmax(self._mlp(s, edge, first, second), first, size).to(p4.dtype)  # (E, V)
        unit = total / square.abs().clamp(min=self.least_mass**2).sqrt()[:, None]
        parts = weights[:, :, None] * unit[:, None]  # (E, V, 4)
        u = p4.new_zeros(size, self.vectors * 4).index_add(0, first, parts.flatten(1))
        u = u.view(-1, self.vectors, 4)
        length2 = mass_squared(u).sum(dim=1).abs()
        normal: Tensor = u / length2.clamp(min=1e-10).sqrt()[:, None, None]
        return normal

    def _mlp(self, s: Tensor, edge: Tensor, first: Tensor, second: Tensor) -> Tensor:
        # The scalars are few: one matrix product is less work than sums of three (E, H).
        inputs = [s.index_select(0, first), s.index_select(0, second), edge[:, None]]
        logits: Tensor = self.rest(self.first(torch.cat(inputs, dim=1)))  # (E, V)
        return logits

    def _standardised(self, edge: Tensor) -> Tensor:
        # Copies, as the buffers may change before the backward pass.
        mean, deviation = self.mean.clone(), self.deviation.clone()
        if self.training:
            # No branches on numbers, so that it compiles.
            values = edge.detach()
            count = torch.ones_like(values).sum()
            fresh = values.sum() / count.clamp(min=1)
            spread = ((values - fresh).square().sum() / (count - 1).clamp(min=1)).sqrt()
            take = (count > 1) & ~self.seen
            mean = torch.where(take, fresh.to(mean.dtype), mean)
            deviation = torch.where(take, spread.clamp(min=1e-5).to(mean.dtype), deviation)
            with torch.no_grad():
                self.mean.copy_(mean)
                self.deviation.copy_(deviation)
                self.seen.logical_or_(take)
        return (edge - mean) / deviation


class LocalFrames(nn.Module):
    r"""A frame for each constituent, :math:`L_i \to L_i \Lambda^{-1}` where the jet turns.

    Jets are first brought to their rest frames, which keeps boosts small. `EquivariantVectors`
    gives three vectors for each constituent, and `make_frame` makes frames of them. Besides the
    scalars that are given, the product of constituent and jet enters: its energy in that frame.

    Spurions are further nodes of each jet, which have no frames, and the products of each
    constituent with them are further scalars: frames then know directions of the detector, as far
    as the spurions do. What is left of the symmetry is the transformations that leave all of them
    as they are: for "beams", "massive_beams", or any of them with "time", rotations about the beam;
    for "time" alone, rotations.

    Frames do not exist for a jet of one constituent, nor rotations for one of two, as
    nothing marks a second direction, and none is needed; `make_frame` says what is done. Where a
    jet of more constituents is lighter than ``least_jet_mass`` or its constituents are collinear to
    better than 1e-3, rounding of the momenta given begins to count: the digits lost are those of
    the square of energy over mass.

    Args:
        scalars: number F of invariants of each constituent that are given.
        spurions: names of `hepgen.taggers.spurions.SPURIONS`.
        hidden: width of the layers.
        layers: number of hidden layers.
        least_jet_mass: in GeV, below which a jet counts as light-like.

    Raises:
        ValueError: layers < 1, or there is no such spurion.
    """

    def __init__(
        self,
        scalars: int = 0,
        spurions: Sequence[str] = (),
        hidden: int = 128,
        layers: int = 2,
        least_jet_mass: float = 1e-2,
    ) -> None:
        super().__init__()
        self.spurions = check_spurions(spurions)
        self.least_jet_mass = least_jet_mass
        self.count = spurion_vectors(self.spurions, torch.empty(0)).shape[0]
        # The energy; products with spurions; which spurion a node is.
        self.vectors = EquivariantVectors(scalars + 1 + 2 * self.count, 3, hidden, layers)

    def forward(self, p4: Tensor, s: Tensor, ptr: Tensor) -> Framed:
        """Jets in their rest frames with frames of their constituents.

        Args:
            p4: momenta of the constituents in GeV, shape (N, 4), of any type.
            s: invariants of the constituents, shape (N, F), in the type of the weights.
            ptr: offsets of the jets in N, shape (B + 1,).
        """
        # Devices of Apple have no float64.
        given = p4.to(torch.float32 if p4.device.type == "mps" else torch.float64)
        size = given.shape[0]
        jet_of = torch.repeat_interleave(ptr.diff(), output_size=size)
        to_rest = rest_frame(segment_sum(given, ptr), self.least_jet_mass)  # (B, 4, 4)
        boost = to_rest.index_select(0, jet_of)
        momenta = apply_frame(boost, given)
        jet = segment_sum(momenta, ptr).index_select(0, jet_of)
        energy = _log(minkowski_dot(momenta, jet)[:, None])
        pairs = all_pairs(ptr)
        nodes, scalars = momenta, torch.cat([s, energy.to(s.dtype)], dim=1)
        if self.count:
            marks = spurion_vectors(self.spurions, given)  # (S, 4)
            products = _log(minkowski_dot(given[:, None], marks)).to(s.dtype)  # (N, S)
            scalars = functional.pad(torch.cat([scalars, products], dim=1), (0, self.count))
            moved = apply_frame(to_rest[:, None], marks).flatten(0, 1)  # (B S, 4)
            nodes = torch.cat([momenta, moved])
            which = torch.eye(self.count, dtype=s.dtype, device=s.device)
            which = functional.pad(which, (scalars.shape[1] - self.count, 0))
            scalars = torch.cat([scalars, which.repeat(ptr.shape[0] - 1, 1)])
            pairs = torch.cat([pairs, self._with_spurions(jet_of, size)], dim=1)
        vectors = self.vectors(nodes, scalars, pairs, size)
        # A constituent that is alone has no vectors; its jet's rest frame is its own.
        at_rest = vectors.new_tensor([1.0, 0.0, 0.0, 0.0])
        first = torch.where(vectors[:, :1, :1] > 0, vectors[:, :1], at_rest)
        frame = make_frame(torch.cat([first, vectors[:, 1:]], dim=1), momenta)
        return Framed(boost, momenta, jet, frame)

    def _with_spurions(self, jet_of: Tensor, size: int) -> Tensor:
        """Pairs (2, N S) of each constituent and the spurions of its jet."""
        which = torch.arange(self.count, device=jet_of.device)
        spurion = (size + jet_of[:, None] * self.count + which).flatten()
        constituent = torch.arange(size, device=jet_of.device).repeat_interleave(self.count)
        return torch.stack([constituent, spurion])


def _softmax(logits: Tensor, group: Tensor, size: int) -> Tensor:
    """Softmax (E, V) among the rows of the same group; at least float32."""
    if logits.dtype in (torch.float16, torch.bfloat16):
        logits = logits.float()
    rows = group[:, None].expand_as(logits)
    highest = logits.new_zeros(size, logits.shape[1])
    highest = highest.scatter_reduce(0, rows, logits.detach(), "amax", include_self=False)
    raised = (logits - highest.index_select(0, group)).exp()
    sums = raised.new_zeros(highest.shape).index_add(0, group, raised)
    return raised / sums.index_select(0, group)


def _log(value: Tensor) -> Tensor:
    """Logarithm of energies, on a scale of about one."""
    return 0.5 * value.clamp(min=1e-6).log()
