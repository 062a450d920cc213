r"""LorentzNet: messages between all constituents, made of Lorentz invariants.

S. Gong et al., "An efficient Lorentz equivariant graph neural network for jet tagging",
JHEP 07 (2022) 030, arXiv:2201.08187. Written from the paper.

Shapes: B jets, N nodes (constituents and beams) of all jets end to end, E ordered pairs of nodes of
the same jet, S scalars, H hidden, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import ClassVar, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.data import Batch, Features, all_pairs
from hepgen.kinematics import mass_squared, minkowski_dot
from hepgen.taggers.edge_conv import batch_norm
from hepgen.taggers.segments import segment_mean
from hepgen.taggers.tagger import Paper, Tagger

__all__ = ["LorentzNet"]


@final
class LorentzNet(Tagger):
    r"""Lorentz-group equivariant blocks on four-momenta, the mean over nodes, and two layers.

    With :math:`\psi(v) = \operatorname{sign}(v) \ln(1 + |v|)`, a block does, for nodes i and j of a
    jet with momenta x and invariants h,

    .. math::
        m_{ij} &= \phi_e\big(h_i, h_j, \psi(|x_i - x_j|^2), \psi(\langle x_i, x_j\rangle)\big),
        \quad m_{ij} \leftarrow m_{ij}\, \phi_m(m_{ij}) \\
        x_i &\leftarrow x_i + c\,\operatorname{mean}_{j \ne i} (x_i - x_j)\, \phi_x(m_{ij}) \\
        h_i &\leftarrow h_i + \phi_h\big(h_i, \textstyle\sum_{j \ne i} m_{ij}, s_i\big)

    The scalars s are :math:`\psi(m)` of the mass and the features named in ``scalars``. Other
    features do not enter: angles and transverse momenta are no invariants. Without ``beams`` scores
    are invariant under all proper Lorentz transformations and reflections. With them two nodes
    :math:`(\sqrt 2, 0, 0, \pm 1)` GeV join each jet; what is left are rotations about z and
    reflections, as also boosts along z move massive beams. Momenta and their products are float64,
    since nearly all digits of the product of collinear momenta cancel; a mass that the rounding of
    the given momenta could have made counts as 0.

    Two things differ from the published program. The mean is over the nodes of the jet, not over
    padding as well. :math:`\phi_x` is kept within [-100, 100], where the program keeps components
    of its product with :math:`x_i - x_j` there, which no boost leaves as they are.

    With the published settings, beams and two classes it has 224 072 parameters. Time and memory
    grow with the number of real pairs, in training with 10 kB a pair. Under ``torch.compile`` a
    batch needs two pairs at least.

    Args:
        features: what enters of each constituent; only those in ``scalars`` are used.
        classes: names of the K classes, in the order of the logits.
        scalars: names of Lorentz-invariant features, such as charge or particle type.
        beams: whether the two beam nodes join each jet.
        hidden: width H.
        blocks: number of blocks.
        coordinate_weight: c; published are 5e-3 for top and 1e-3 for quark-gluon tagging.
        dropout: share of the last hidden layer that is dropped in training.

    Raises:
        ValueError: a scalar is no feature, or there is no block.
    """

    inputs: ClassVar[tuple[str, ...]] = ("x", "p4")
    paper: ClassVar[Paper | None] = Paper(
        "S. Gong, Q. Meng, J. Zhang, H. Qu, C. Li, S. Qian, W. Du, Z.-M. Ma and T.-Y. Liu",
        "An efficient Lorentz equivariant graph neural network for jet tagging",
        "JHEP 07 (2022) 030",
        "2201.08187",
    )
    chunk: ClassVar[int] = 2

    def __init__(
        self,
        features: Features,
        classes: Sequence[str],
        scalars: Sequence[str] = (),
        beams: bool = True,
        hidden: int = 72,
        blocks: int = 6,
        coordinate_weight: float = 5e-3,
        dropout: float = 0.2,
    ) -> None:
        super().__init__(features, classes)
        unknown = [name for name in scalars if name not in features.names]
        if unknown or blocks < 1:
            raise ValueError(
                f"LorentzNet needs blocks >= 1 and scalars among the features "
                f"({', '.join(features.names)}), not {blocks=} and {', '.join(unknown) or 'none'}"
            )
        self.scalars, self.beams, self.hidden, self.blocks = tuple(scalars), beams, hidden, blocks
        self.coordinate_weight, self.dropout = coordinate_weight, dropout
        self._columns = [features.names.index(name) for name in self.scalars]
        inputs = 1 + int(beams) + len(self._columns)
        self.embedding = nn.Linear(inputs, hidden)
        self.layers = nn.ModuleList(
            _Block(hidden, inputs, coordinate_weight, last=i == blocks - 1) for i in range(blocks)
        )
        self.graph_dec = nn.Sequential(
            nn.Linear(hidden, hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, self.width),
        )

    def forward(self, jets: Batch) -> Tensor:
        """Logits (B, K)."""
        # Devices of Apple have no float64.
        exact = torch.float32 if jets.p4.device.type == "mps" else torch.float64
        x = jets.p4.to(exact)  # (N, 4)
        mine = jets.x[:, self._columns]  # (N, S - 1)
        psi_mass = _psi(_mass(x, jets.p4.dtype)).to(mine.dtype)
        s, ptr = torch.cat([psi_mass[:, None], mine], dim=1), jets.ptr  # (N, S)
        if self.beams:
            x, s, ptr = _with_beams(x, s, ptr, jets.batch)
        first, second = all_pairs(ptr)  # (E,), (E,)
        if torch.compiler.is_compiling():
            # The compiler cannot know how many pairs there are.
            torch._check(first.shape[0] > 1)  # type: ignore[no-untyped-call]
        others = ptr.diff() - 1  # (B,) of each node
        others = torch.repeat_interleave(others, ptr.diff(), output_size=x.shape[0])  # (N,)
        h = self.embedding(s)  # (N, H)
        for layer in self.layers:
            x, h = layer(x, h, s, first, second, others)
        logits: Tensor = self.graph_dec(segment_mean(h, ptr))  # (B, K)
        return logits


class _Block(nn.Module):
    """One Lorentz-group equivariant block; the last one leaves the momenta alone."""

    def __init__(self, hidden: int, scalars: int, coordinate_weight: float, *, last: bool) -> None:
        super().__init__()
        self.coordinate_weight, self.hidden = coordinate_weight, hidden
        self.phi_e = nn.ModuleList(
            [
                nn.Linear(2 * hidden + 2, hidden, bias=False),
                nn.BatchNorm1d(hidden),
                nn.Linear(hidden, hidden),
            ]
        )
        self.phi_m = nn.Linear(hidden, 1)
        self.phi_h = nn.ModuleList(
            [
                nn.Linear(2 * hidden + scalars, hidden),
                nn.BatchNorm1d(hidden),
                nn.Linear(hidden, hidden),
            ]
        )
        self.phi_x: nn.Sequential | None = None
        if not last:
            to_number = nn.Linear(hidden, 1, bias=False)
            nn.init.xavier_uniform_(to_number.weight, gain=1e-3)
            self.phi_x = nn.Sequential(nn.Linear(hidden, hidden), nn.ReLU(), to_number)

    def forward(
        self, x: Tensor, h: Tensor, s: Tensor, first: Tensor, second: Tensor, others: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Momenta (N, 4) and invariants (N, H), from those before, scalars and pairs."""
        start, end = x.index_select(0, first), x.index_select(0, second)  # (E, 4)
        difference = start - end
        squares, products = minkowski_dot(difference, difference), minkowski_dot(start, end)
        pair = _psi(torch.stack([squares, products], dim=1)).to(h.dtype)  # (E, 2)
        m = self._messages(h, pair, first, second)  # (E, H)
        if self.phi_x is not None:
            along = self.phi_x(m).clamp(-100, 100).to(x.dtype)  # (E, 1)
            moved = torch.zeros_like(x).index_add(0, first, difference * along)
            x = x + self.coordinate_weight * moved / others.clamp(min=1)[:, None]
        summed = m.new_zeros(h.shape[0], self.hidden).index_add(0, first, m)  # (N, H)
        linear, norm, out = self.phi_h
        update = functional.relu(batch_norm(norm, linear(torch.cat([h, summed, s], dim=1))))
        return x, h + out(update)

    def _messages(self, h: Tensor, pair: Tensor, first: Tensor, second: Tensor) -> Tensor:
        linear, norm, out = self.phi_e
        # The part of the first layer that acts on h_i and h_j is done once a node, not once a pair.
        sizes = [self.hidden, self.hidden, 2]
        own, other, invariant = torch.split(cast(Tensor, linear.weight), sizes, dim=1)
        z = functional.linear(h, own).index_select(0, first)
        z = z + functional.linear(h, other).index_select(0, second)
        z = z + functional.linear(pair, invariant)  # (E, H)
        m = functional.relu(out(functional.relu(batch_norm(norm, z))))
        gated: Tensor = m * self.phi_m(m).sigmoid()
        return gated


def _mass(p4: Tensor, given: torch.dtype) -> Tensor:
    """Masses (N,) of momenta that were given in some type."""
    square = mass_squared(p4)
    # Half a unit in the last place of E and of |p| changes m^2 by as much.
    noise = 2 * torch.finfo(given).eps * p4[:, 0].square()
    return torch.where(square.abs() > noise, square.sign() * square.abs().sqrt(), 0)


def _psi(v: Tensor) -> Tensor:
    """sign(v) ln(1 + |v|)."""
    return v.sign() * v.abs().log1p()


def _with_beams(x: Tensor, s: Tensor, ptr: Tensor, jet: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Momenta, scalars and offsets with two beams in front of each jet.

    A scalar more tells beams by their mass, 1 GeV, and is 0 elsewhere.
    """
    jets = ptr.shape[0] - 1
    beams = x.new_tensor([[2**0.5, 0, 0, 1], [2**0.5, 0, 0, -1]]).repeat(jets, 1)  # (2 B, 4)
    of_beams = functional.pad(s.new_full((2 * jets, 1), math.log(2)), (s.shape[1], 0))
    jet_of_beams = torch.arange(jets, device=jet.device).repeat_interleave(2)
    order = torch.cat([jet_of_beams, jet]).argsort(stable=True)
    joined = torch.cat([of_beams, functional.pad(s, (0, 1))])[order]
    return (
        torch.cat([beams, x])[order],
        joined,
        ptr + 2 * torch.arange(jets + 1, device=ptr.device),
    )
