r"""Light couplings of CaloINN: splines of voxels given the layers, and shifts by neighbours.

What is expensive in a coupling of splines is that each shower needs splines of its own for each
voxel. Here only `LayerMap`, which is told the energies of the layers and no voxel, has splines. In
a calorimeter that looks the same from all sides they are the same in all sectors of a ring, so that
of 6480 voxels 405 splines are needed; and in sampling only voxels above the threshold need theirs
(`hepgen.simulators.calo_inn_kernels`). It leaves Gaussian numbers that depend on each other, and
`NeighbourCoupling` takes this away: a shift and a slope for each voxel of a checkerboard, from its
six neighbours and from a few numbers of its layer.

Shapes: B showers, L layers, A sectors, R rings, V = L A R voxels, C context, H hidden, W hidden
numbers of a layer, M parameters of a spline.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import final

import numpy as np
import torch
from nflows.transforms import Transform
from torch import Tensor, nn
from torch.nn.functional import softsign

from hepgen.calorimeter import Geometry
from hepgen.flows import RationalQuadraticSpline
from hepgen.simulators.calo_inn_kernels import draw_voxels
from hepgen.simulators.calo_inn_neighbours import (
    neighbours,
    neighbours_by_kernels,
    undo_coupling,
)
from hepgen.simulators.calo_inn_networks import Mask, checkerboard
from hepgen.simulators.preprocessing import ROUNDING, Preprocessing

__all__ = [
    "LayerMap",
    "NeighbourCoupling",
    "draw",
    "grid_of",
    "kernels_suit",
    "light_couplings",
]

# Slopes are within exp(-3) and exp(3), as those of `hepgen.flows.Affine`.
STEEPEST = 3.0
# From so many standard deviations on a neighbour counts once more: where voxels begin to be hit.
HIT = 1.0


def grid_of(geometry: Geometry) -> tuple[int, int, int] | None:
    """Layers, sectors and rings, if layers are divided alike; None if they are not.

    Sectors are even in number, so that a checkerboard closes, or there is one.

    Args:
        geometry: of the voxels.
    """
    divisions = {(layer.num_alpha, layer.num_r) for layer in geometry.layers}
    if len(divisions) > 1:
        return None
    sectors, rings = divisions.pop()
    even = sectors == 1 or sectors % 2 == 0
    return (geometry.num_layers, sectors, rings) if even and sectors * rings > 1 else None


@final
class LayerMap(Transform):  # type: ignore[misc] # nflows has no annotations
    r"""A spline for each voxel whose parameters depend on the context alone.

    .. math:: g = \mathrm{MLP}(c), \qquad \theta_l = B_l (\sigma(g_l), 1)

    Args:
        geometry: of the voxels; layers are divided alike.
        spline: the map.
        context: C.
        hidden: H.
        depth: how many hidden layers.
        width: W.

    Attributes:
        shared: whether all sectors of a ring have the same spline, as in a symmetric geometry.
    """

    def __init__(
        self,
        geometry: Geometry,
        spline: RationalQuadraticSpline,
        *,
        context: int,
        hidden: int,
        depth: int,
        width: int,
    ) -> None:
        super().__init__()
        grid = grid_of(geometry)
        assert grid is not None
        self.grid, self.spline, self.width = grid, spline, width
        self.shared = geometry.symmetric
        layers, sectors, rings = grid
        steps: list[nn.Module] = []
        inputs = context
        for _ in range(depth):
            steps += [nn.Linear(inputs, hidden), nn.ReLU()]
            inputs = hidden
        self.network = nn.Sequential(*steps, nn.Linear(inputs, layers * width))
        outputs = (1 if self.shared else sectors) * rings * spline.num_parameters
        self.out = nn.Parameter(torch.zeros(layers, width + 1, outputs))

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the latent space.

        Args:
            inputs: points, shape (B, V).
            context: shape (B, C).

        Returns:
            Points (B, V) and the logarithm of the determinant of the Jacobian (B,).
        """
        return self._map(inputs, context, inverse=False)

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Back to data; arguments and results as those of ``forward``."""
        return self._map(inputs, context, inverse=True)

    def parameters_of(self, context: Tensor) -> Tensor:
        """Of the splines, (L, B, 1 or A, R, M).

        Args:
            context: shape (B, C).
        """
        layers, _, rings = self.grid
        rows = context.shape[0]
        told = self.network(context).relu().view(rows, layers, self.width).transpose(0, 1)
        told = torch.cat([told, torch.ones_like(told[..., :1])], dim=2)  # (L, B, W + 1)
        return torch.bmm(told, self.out).view(layers, rows, -1, rings, self.spline.num_parameters)

    def _map(self, x: Tensor, context: Tensor, inverse: bool) -> tuple[Tensor, Tensor]:
        grid = x.view(x.shape[0], *self.grid).transpose(0, 1)  # (L, B, A, R)
        parameters = self.parameters_of(context).expand(-1, -1, self.grid[1], -1, -1)
        y, log_slope = self.spline(grid, parameters.to(x.dtype), inverse=inverse)
        return y.transpose(0, 1).reshape(x.shape), log_slope.sum((0, 2, 3))


@final
class NeighbourCoupling(Transform):  # type: ignore[misc] # nflows has no annotations
    r"""A shift and a slope for the voxels of one colour, from those of the other.

    With :math:`x_n` the six neighbours of voxel v in depth, angle and radius, all of the other
    colour, :math:`s_n = \max(x_n - t_n, 0)`, and :math:`p_v, q_v` numbers of the layer,

    .. math:: y_v = e^{b(q_v + \sum_n c_n s_n)} x_v + p_v + \sum_n (a_n x_n + b_n s_n)

    Weights are the same in all sectors. The numbers of layers come, as in `LayerCoupling`, from all
    voxels that stay, through W numbers of each layer and a network between layers.

    Args:
        geometry: of the voxels; see `grid_of`.
        mask: True where a voxel is mapped: a checkerboard or its complement, shape (V,).
        context: C, L at least, of which the last L are of the layers.
        hidden: H.
        width: W.
    """

    board: Tensor

    def __init__(
        self, geometry: Geometry, mask: Mask, *, context: int, hidden: int, width: int
    ) -> None:
        super().__init__()
        grid = grid_of(geometry)
        assert grid is not None
        self.grid, self.width = grid, width
        layers, _, rings = grid
        # Not kept in files: the geometry and the masks tell it.
        board = torch.from_numpy(mask.astype("float32"))
        self.register_buffer("board", board.view(grid), persistent=False)
        voxels = geometry.num_voxels // layers
        self.into = nn.Parameter(torch.empty(layers, voxels, width).uniform_(-1, 1) / voxels**0.5)
        self.first = nn.Linear(layers * width + context, hidden)
        self.between = nn.Linear(hidden, layers * width)
        self.out = nn.Parameter(torch.zeros(layers, width + 1, 2 * voxels))
        # Of neighbours before and behind, on both sides, inside and outside.
        self.near = nn.Parameter(torch.zeros(6, 3, layers, 1, rings))
        self.begin = nn.Parameter(torch.full((layers, 1, rings), HIT))

    def forward(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Towards the latent space.

        Args:
            inputs: points, shape (B, V).
            context: shape (B, C).

        Returns:
            Points (B, V) and the logarithm of the determinant of the Jacobian (B,).
        """
        x = inputs.view(-1, *self.grid)
        shift, log_slope = self._shift_and_slope(x, context)
        y = x * log_slope.exp() + shift
        return y.view(inputs.shape), log_slope.sum((1, 2, 3))

    def inverse(self, inputs: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Back to data; arguments and results as those of ``forward``."""
        y = inputs.view(-1, *self.grid)
        shift, log_slope = self._shift_and_slope(y, context)
        x = (y - shift) * (-log_slope).exp()
        return x.view(inputs.shape), -log_slope.sum((1, 2, 3))

    def layer_terms(self, voxels: Tensor, context: Tensor) -> Tensor:
        """What layers tell of all their voxels, p and q, (L, B, 2, A R).

        Args:
            voxels: shape (L, B, A R).
            context: shape (B, C).
        """
        layers, rows = voxels.shape[:2]
        into = self.into * (1 - self.board.view(layers, -1, 1))
        first = torch.bmm(voxels, into)  # (L, B, W)
        told = first.relu().transpose(0, 1).reshape(rows, -1)
        between = self.between(self.first(torch.cat([told, context], dim=1)).relu())
        second = (first + between.view(rows, layers, -1).transpose(0, 1)).relu()
        second = torch.cat([second, torch.ones_like(second[..., :1])], dim=2)
        return torch.bmm(second, self.out).view(layers, rows, 2, -1)

    def undo(self, voxels: Tensor, context: Tensor) -> None:
        """``inverse`` in place, on a CPU and without gradients.

        Args:
            voxels: float32, showers last, shape (L, A R, B).
            context: shape (B, C).
        """
        layers, size, rows = voxels.shape
        board = self.board.view(layers, size)
        # The places of mapped voxels, in each layer as many as in that which has most.
        order = torch.where(board > 0, torch.arange(size), size).sort(dim=1)[0]
        places = order[:, : int(board.sum(1).max())]  # (L, T)
        first = torch.bmm((self.into * (1 - board[..., None])).transpose(1, 2), voxels)
        told = torch.cat([first.relu().view(-1, rows).t(), context], dim=1)
        between = self.between(self.first(told).relu()).t().reshape(first.shape)
        second = torch.cat([(first + between).relu(), torch.ones(layers, 1, rows)], dim=1)
        chosen = places.clamp(max=size - 1)[:, None, None].expand(-1, self.width + 1, 2, -1)
        out = self.out.view(layers, self.width + 1, 2, size).gather(3, chosen).flatten(2)
        terms = torch.bmm(out.transpose(1, 2), second)  # (L, 2 T, B)
        given = (terms, self._weights(), self._begin(), places.contiguous())
        undo_coupling(voxels.numpy(), *(t.numpy() for t in given), self.grid[2])

    def _weights(self) -> Tensor:
        """Of neighbours, (L, 6, 3, A R): each for all sectors, none where there is no neighbour."""
        layers, sectors, rings = self.grid
        near = self.near.permute(2, 0, 1, 3, 4)  # (L, 6, 3, 1, R)
        there = torch.ones(6, 1, 1, rings).to(near)
        there[4, ..., 0] = there[5, ..., -1] = 0
        if sectors == 1:
            there[2:4] = 0
        return (near * there).expand(-1, -1, -1, sectors, -1).reshape(layers, 6, 3, -1)

    def _begin(self) -> Tensor:
        """(L, A R)."""
        return self.begin.expand(self.grid).reshape(self.grid[0], -1)

    def _shift_and_slope(self, x: Tensor, context: Tensor) -> tuple[Tensor, Tensor]:
        """Both (B, L, A, R), zero where a voxel stays."""
        flat = x.reshape(x.shape[0], self.grid[0], -1)  # (B, L, A R)
        terms = self.layer_terms(flat.transpose(0, 1), context).transpose(0, 1).to(x.dtype)
        kept = flat * (1 - self.board.view(self.grid[0], -1))
        given = (kept, self._weights(), self._begin())
        plain = torch.compiler.is_compiling() or type(x) is not Tensor
        if plain or x.device.type != "cpu" or x.dtype != torch.float32:
            terms = terms + neighbours(*given, self.grid)
        else:
            terms = terms + neighbours_by_kernels(*given, self.grid[2])
        shift, slope = (terms[:, :, i].reshape(x.shape) * self.board for i in (0, 1))
        return shift, STEEPEST * softsign(slope / STEEPEST)


def light_couplings(
    geometry: Geometry,
    spline: RationalQuadraticSpline,
    number: int,
    *,
    context: int,
    hidden: int,
    width: int,
) -> list[Transform]:
    """A `LayerMap`, then couplings of the black fields and the white ones in turn.

    Args:
        geometry: of the voxels; see `grid_of`.
        spline: of the first.
        number: of couplings.
        context: C.
        hidden: H of the couplings; the first has twice as many, twice.
        width: W.
    """
    board = checkerboard(geometry)
    first = LayerMap(geometry, spline, context=context, hidden=2 * hidden, depth=2, width=width)
    sizes = {"context": context, "hidden": hidden, "width": width}
    masks = [~board if i % 2 else board for i in range(number)]
    return [first, *(NeighbourCoupling(geometry, mask, **sizes) for mask in masks)]


def kernels_suit(numbers: Preprocessing) -> bool:
    """Whether `draw` has the way back of a preprocessing.

    Args:
        numbers: of logarithms of energies, standardised, with noise in empty voxels and a
            threshold; on a CPU in float32.
    """
    logarithms = numbers.normalise == "GeV" and numbers.logit and numbers.standardise
    known = logarithms and numbers.noise_in == "empty" and numbers.floor > 0
    return known and numbers.x_mean.device.type == "cpu" and numbers.x_mean.dtype == torch.float32


def draw(
    transforms: Sequence[Transform],
    numbers: Preprocessing,
    noise: Tensor,
    context: Tensor,
    energies: Tensor,
) -> Tensor:
    """Voxels of Gaussian numbers by kernels, on a CPU and without gradients.

    Args:
        transforms: a `LayerMap`, then instances of `NeighbourCoupling`.
        numbers: the preprocessing; see `kernels_suit`.
        noise: float32, shape (B, V).
        context: shape (B, C).
        energies: of the layers in GeV, shape (B, L).

    Returns:
        In GeV, shape (B, V).
    """
    first, *couplings = transforms
    assert isinstance(first, LayerMap)
    layers, rows = first.grid[0], noise.shape[0]
    # A copy, which the couplings write to.
    voxels = noise.t().contiguous().view(layers, -1, rows)
    for coupling in reversed(couplings):
        coupling.undo(voxels, context)
    knots = first.spline.knots
    scale = [knots.low, knots.high, knots.min_bin, knots.min_slope, knots.shift]
    least = numbers.floor * (1 - ROUNDING)
    out = torch.empty(rows, layers, voxels.shape[1])
    draw_voxels(
        voxels.view(-1, rows).t().contiguous().view(out.shape).numpy(),
        first.parameters_of(context).contiguous().numpy(),
        energies.float().contiguous().numpy(),
        np.array([numbers.floor, least, np.log(least)], np.float32),
        np.array(scale, np.float32),
        numbers.x_mean.view(layers, -1).numpy(),
        numbers.x_std.view(layers, -1).numpy(),
        out.numpy(),
    )
    return out.view(rows, -1)
