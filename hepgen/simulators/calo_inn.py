r"""CaloINN: showers from a flow of couplings, in one step.

F. Ernst, L. Favaro, C. Krause, T. Plehn and D. Shih, "Normalizing flows for high-dimensional
detector simulations", arXiv:2312.09290.

A shower is the ratios u of its layer energies and its voxels x, as `Preprocessing` has them. The
paper's flow is one of both together, `CaloINN.published`. Ours is

.. math:: p(u, x | E) = p(u | E)\, p(x | u, E)

in which u, from which response and resolution come, is autoregressive, a spline for each layer
given those before it; and x is mapped by couplings of splines. The likelihood is exact in both.

Three things did most for the showers of Geant4 electrons. Empty layers are apart from all others:
with noise below the threshold and couplings, a classifier of layer energies had an area of 0.71,
and has 0.54. Voxels are in GeV instead of shares of their layers, so that what is empty is at one
place in all showers, below a gap; and the couplings are told the logarithms of the layer energies:
of all high-level features the area fell from 0.74 to 0.59, and to 0.56 with a longer training.

Shapes: B showers, L layers, V voxels, C context, D dimensions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self, final

import numpy as np
import torch
from nflows.transforms import CompositeTransform, Transform
from numpy.typing import NDArray
from torch import Tensor, nn

from hepgen.calorimeter import Geometry, Showers
from hepgen.flows import (
    MADE,
    Affine,
    Autoregressive,
    Conditioner,
    Coupling,
    Element,
    Flow,
    RationalQuadraticSpline,
    StandardNormal,
)
from hepgen.paper import Paper
from hepgen.simulators.batches import ShowerBatch
from hepgen.simulators.calo_inn_networks import (
    LayerCoupling,
    alike,
    checkerboard,
    halves,
    halves_of_layers,
)
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.preprocessing import RECIPES, Preprocessing
from hepgen.simulators.simulator import Simulator

__all__ = ["CaloINN"]

# Showers that are made at a time on a CPU.
ROWS = 128
# Splines of the ratios: 16 bins between 8 standard deviations.
RATIO_BINS, RATIO_BOUND = 16, 8.0
# Logarithms of layer energies over the threshold are from 0 to 14 or so; networks take -1 to 1.3.
LOG_SCALE = 6.0
# Stands for the threshold where there is none, in GeV.
LEAST = 1e-6
OURS: Mapping[str, Any] = {"noise": 0.2, "normalise": "GeV", "empty_layers": "apart"}
PUBLISHED: Mapping[str, Any] = {
    "joint": True,
    "num_blocks": 12,
    "num_bins": 10,
    "tail_bound": 18.0,
    "hidden": 256,
    "layers": 3,
    "preprocessing": RECIPES["CaloINN"],
}


@final
class CaloINN(Simulator):
    r"""Showers from couplings of rational-quadratic splines, as fast to draw as to evaluate.

    Args:
        geometry: of the voxels.
        conditions: what the showers depend on.
        joint: one flow of x and u together with random halves as masks and networks that are
            connected fully, as in the paper; else the two flows that the module describes.
        num_blocks: couplings of voxels; without ``joint`` one more comes first, which maps all
            voxels given the layer energies alone.
        num_bins: of their splines.
        tail_bound: where these end, in standard deviations.
        hidden: width of the hidden layers of the couplings' networks.
        layers: how many of these.
        width: hidden numbers of each layer of the calorimeter, see `LayerCoupling`. Only for
            layers divided alike into an even number of voxels; elsewhere, and with ``joint``,
            networks are connected fully.
        energy_hidden: width of the two hidden layers of the network of u; not used with ``joint``.
        preprocessing: arguments of `Preprocessing`; ours if not given.
        mask_seed: of the random masks.

    Raises:
        ValueError: arguments that make no flow.
    """

    paper: ClassVar[Paper | None] = Paper(
        "F. Ernst, L. Favaro, C. Krause, T. Plehn and D. Shih",
        "Normalizing flows for high-dimensional detector simulations",
        "SciPost Phys. 18 (2025) 081",
        "2312.09290",
    )
    block: ClassVar[int] = 128
    defaults: ClassVar[Mapping[str, Any]] = {
        "epochs": 60,
        "batch_size": 256,
        "lr": 3e-3,
        "schedule": "cosine",
        "schedule_options": {"warmup": 0.05},
        "ema": 0.998,
        "clip": 10.0,
    }

    def __init__(
        self,
        geometry: Geometry | Mapping[str, Any],
        conditions: Conditions | Mapping[str, Any],
        *,
        joint: bool = False,
        num_blocks: int = 6,
        num_bins: int = 8,
        tail_bound: float = 10.0,
        hidden: int = 128,
        layers: int = 2,
        width: int = 32,
        energy_hidden: int = 256,
        preprocessing: Mapping[str, Any] | None = None,
        mask_seed: int = 0,
    ) -> None:
        super().__init__(geometry, conditions)
        if num_blocks < 1:
            raise ValueError(f"num_blocks={num_blocks}: wanted one coupling at least")
        self.joint, self.num_blocks, self.num_bins = joint, num_blocks, num_bins
        self.tail_bound, self.hidden, self.layers = tail_bound, hidden, layers
        self.width, self.energy_hidden, self.mask_seed = width, energy_hidden, mask_seed
        self.preprocessing = None if preprocessing is None else dict(preprocessing)
        self.numbers = Preprocessing(
            self.geometry, **(OURS if preprocessing is None else preprocessing)
        )
        self.energies = None if joint else self._energy_flow()
        self.shapes = self._joint_flow() if joint else self._shape_flow()

    @classmethod
    def published(
        cls,
        geometry: Geometry | Mapping[str, Any],
        conditions: Conditions | Mapping[str, Any],
        **changes: Any,
    ) -> Self:
        """The paper's flow, which has 18.8 million parameters for the photons of data set 1.

        These are 18 794 712; 26 562 312 for its pions, of which 26.6 million are published.
        Twelve couplings of ten bins each map half of the V + L dimensions, of 29 parameters each,
        by networks of four linear layers. It was trained with
        ``fit(lr=1e-4, schedule="one_cycle", batch_size=512, weight_decay=0.01, ema=None)``.

        Args:
            geometry: of the voxels.
            conditions: what the showers depend on. The paper's is log2 of the energy; ours is as
                linear in the logarithm.
            **changes: arguments of the constructor that are to be others.
        """
        return cls(geometry, conditions, **{**PUBLISHED, **changes})

    def _energy_flow(self) -> Flow:
        """Of u given the context: a scale for each, then one spline after the other."""
        size, context = self.geometry.num_layers, self.conditions.width
        spline = RationalQuadraticSpline(RATIO_BINS, RATIO_BOUND)
        # Widths fall as the square root of the energy, tenfold from 1 to 100 GeV.
        affine = Affine()
        network = Conditioner(0, size * affine.num_parameters, context=context, hidden=32)
        made = MADE(
            size, spline.num_parameters, context=context, hidden=self.energy_hidden, narrow=True
        )
        steps = [Coupling([True] * size, affine, network), Autoregressive(made, spline)]
        return Flow(CompositeTransform(steps), StandardNormal(size), context)

    def _shape_flow(self) -> Flow:
        """Of x given the context and the layer energies."""
        size, layers = self.geometry.num_voxels, self.geometry.num_layers
        board = checkerboard(self.geometry)
        number = max(self.num_blocks - 2, 0)
        masks = [np.ones(size, np.bool_), board, ~board]
        masks += halves_of_layers(self.geometry.layer_of, number, self.mask_seed)
        return self._couplings(masks[: self.num_blocks + 1], self.conditions.width + layers)

    def _joint_flow(self) -> Flow:
        """Of x and u given the context."""
        size = self.geometry.num_voxels + self.geometry.num_layers
        masks = halves(size, self.num_blocks, self.mask_seed)
        return self._couplings(masks, self.conditions.width)

    def _couplings(self, masks: Sequence[NDArray[np.bool_]], context: int) -> Flow:
        spline = RationalQuadraticSpline(self.num_bins, self.tail_bound)
        steps: list[Transform] = []
        for mask in masks:
            # One that maps nothing, as in a calorimeter of one voxel.
            if not mask.any():
                continue
            steps.append(self._coupling(mask, spline, context))
        return Flow(CompositeTransform(steps), StandardNormal(len(masks[0])), context)

    def _coupling(self, mask: NDArray[np.bool_], spline: Element, context: int) -> Transform:
        if not self.joint and alike(self.geometry, mask):
            return LayerCoupling(
                self.geometry,
                mask,
                spline,
                context=context,
                hidden=self.hidden,
                depth=self.layers,
                width=self.width,
            )
        network = Conditioner(
            int((~mask).sum()),
            int(mask.sum()) * spline.num_parameters,
            context=context,
            hidden=self.hidden,
            layers=self.layers,
        )
        return Coupling(mask.tolist(), spline, network)

    def prepare(self, showers: Showers) -> None:
        """Fit the preprocessing.

        Args:
            showers: of the training sample.
        """
        self.numbers.fit(showers)

    def stages(self) -> Mapping[str, nn.Module]:
        """The flow of energies, then that of shapes; one stage with ``joint``.

        Neither needs the other, so a longer training of one is no harm to the other.
        """
        if self.energies is None:
            return {"model": self}
        return {"energies": _Stage(self, shapes=False), "shapes": _Stage(self, shapes=True)}

    def log_prob(self, batch: ShowerBatch) -> Tensor:
        """Logarithm of the density of u and x, with fresh noise in empty voxels.

        Args:
            batch: showers.

        Returns:
            Shape (B,).
        """
        u, x = self.numbers(batch.voxels, batch.incident_energy)
        if self.energies is None:
            joint: Tensor = self.shapes.log_prob(torch.cat([x, u], dim=1), batch.context)
            return joint
        told = _told(batch.context, self.numbers.sums(batch.voxels), self.numbers.floor)
        log_prob: Tensor = self.energies.log_prob(u, batch.context) + self.shapes.log_prob(x, told)
        return log_prob

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Minus the mean of the log density.

        Args:
            batch: showers.
        """
        return -batch.mean(self.log_prob(batch))

    @property
    def noise_width(self) -> int:
        """V + L: Gaussian numbers that a shower is made of, for its voxels and its ratios."""
        return self.geometry.num_voxels + self.geometry.num_layers

    def generate(
        self, incident_energy: Tensor, context: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Voxels of some showers.

        Args:
            incident_energy: see `Simulator.generate`.
            context: likewise.
            generator: likewise.
        """
        noise = torch.randn(len(context), self.noise_width, generator=generator).to(context)
        # Spline parameters of more showers would not stay in the cache of a CPU.
        rows = ROWS if noise.device.type == "cpu" else max(len(noise), 1)
        pieces = zip(
            *(torch.split(t, rows) for t in (noise, incident_energy, context)), strict=True
        )
        return torch.cat([self.from_noise(*piece) for piece in pieces])

    def from_noise(self, noise: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor:
        """Voxels as a function of Gaussian numbers: operations of torch, no randomness.

        Args:
            noise: standard normal, shape (B, ``noise_width``): for each voxel, then for each ratio.
            incident_energy: in GeV, shape (B,).
            context: shape (B, C).

        Returns:
            Energies in GeV, shape (B, V).
        """
        voxels = self.geometry.num_voxels
        if self.energies is None:
            both = self.shapes.transform.inverse(noise, context)[0]
            x, u = both[:, :voxels], both[:, voxels:]
        else:
            u = self.energies.transform.inverse(noise[:, voxels:].contiguous(), context)[0]
            told = _told(context, self.numbers.layers(u, incident_energy), self.numbers.floor)
            x = self.shapes.transform.inverse(noise[:, :voxels].contiguous(), told)[0]
        return self.numbers.inverse(u, x, incident_energy)


class _Stage(nn.Module):
    """One of the two flows, to be trained."""

    def __init__(self, simulator: CaloINN, *, shapes: bool) -> None:
        super().__init__()
        flow = simulator.shapes if shapes else simulator.energies
        assert flow is not None
        self.shapes, self.flow, self.numbers = shapes, flow, simulator.numbers

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Minus the mean log density, of a dimension."""
        if self.shapes:
            x = self.numbers(batch.voxels, batch.incident_energy)[1]
            told = _told(batch.context, self.numbers.sums(batch.voxels), self.numbers.floor)
        else:
            x, told = self.numbers.ratios(batch.voxels, batch.incident_energy), batch.context
        loss: Tensor = -batch.mean(self.flow.log_prob(x, told)) / x.shape[1]
        return loss


def _told(context: Tensor, layers: Tensor, threshold: float) -> Tensor:
    """What the flow of shapes is told (B, C + L), of layers' energies (B, L) in GeV."""
    logs: Tensor = torch.log1p(layers / max(threshold, LEAST)) / LOG_SCALE - 1
    return torch.cat([context, logs.to(context.dtype)], dim=1)
