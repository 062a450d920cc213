r"""CaloMatching: noise flows into showers along a velocity that a transformer has learnt.

First the energies of the layers are drawn, as ratios u given the incident energy, then the voxels
given both: a differential equation carries Gaussian noise at t = 0 to voxels at t = 1 along the
velocity v that was matched to straight paths (Y. Lipman et al., arXiv:2210.02747, eq. 23),

.. math:: L = \langle | v(t, (1 - t) z + t x; E, u) - (x - z) |^2 \rangle,

and the voxels of a layer get its energy. L. Favaro, A. Ore, S. Palacios Schweitzer and T. Plehn,
"CaloDREAM", SciPost Phys. 18 (2025) 088, arXiv:2405.09629; `RECIPES` has what they published.

Electrons of 1 to 100 GeV in 480 voxels, learnt from 8550 of Geant4 in 36 minutes on a busy core,
are told from Geant4's by high-level features with an area under the ROC curve of 0.524(10) with 4
steps of "midpoint" and 0.606(10) with 2; distilled in 9 minutes more, with 0.565(10) after one jump
and 0.545(10) after two.

Shapes: B showers, L layers, V voxels, C context, D noise.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from hepgen.calorimeter import Geometry, Showers
from hepgen.flows.flow_matching import spread_times
from hepgen.flows.solvers import fixed_steps
from hepgen.paper import Paper
from hepgen.simulators.batches import ShowerBatch
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.few_steps import jumps, learn_from, shortcut_losses
from hepgen.simulators.patches import Grouping, Patches, grouping_of
from hepgen.simulators.ratio_networks import MatchedRatios, RatioNetwork, SplineRatios
from hepgen.simulators.shower_scales import LogScales, ShareScales, ShowerScales
from hepgen.simulators.shower_transformer import ShowerTransformer
from hepgen.simulators.simulator import Simulator

__all__ = ["METHODS", "RECIPES", "CaloMatching"]

METHODS = ("euler", "midpoint", "rk4", "jumps")

# Arguments of CaloMatching, and of its ``fit``, as published for data set 2 of the CaloChallenge:
# 28.4 million weights, 2.38 of them for the energies.
RECIPES: Mapping[str, Mapping[str, Any]] = {
    "CaloDREAM ds2": {
        "model": {
            "grouping": [3, 16, 1],
            "width": 480,
            "depth": 6,
            "heads": 6,
            "ratio": 4.0,
            "voxels": "logit",
            "energy": "matching",
            "precondition": False,
            "steps": 50,
            "method": "rk4",
        },
        "fit": {
            "batch_size": 250,
            "lr": 1e-3,
            "epochs": 1000,
            "schedule": "cosine",
            "schedule_options": {},
            "augment": False,
            "stages": {
                "energy": {
                    "batch_size": 4000,
                    "lr": 2e-3,
                    "epochs": 500,
                    "ema": None,
                    "clip": None,
                },
                "shape": {"ema": None, "clip": None},
            },
        },
    }
}


@final
class CaloMatching(Simulator):
    """Conditional flow matching for layers and voxels, the quality class.

    Trained in the stages "energy", "shape" and, with ``distil``, "few_steps".

    Args:
        geometry: of the voxels.
        conditions: what the showers depend on.
        grouping: voxels of a token, see `hepgen.simulators.patches.Patches`.
        width: of the transformer.
        depth: number of its blocks.
        heads: of its attention.
        ratio: width of a block's network over ``width``.
        voxels: how the network sees voxels: "log" for `LogScales`, "logit" for shares of the layer
            as the paper has them.
        energy: how ratios are drawn: by a "spline" flow or by "matching", as the paper has it.
        precondition: see `ShowerTransformer`.
        distil: whether a network that jumps is learnt as well.
        steps: from noise to voxels. This and the next may be changed at any time.
        method: "euler", "midpoint" or "rk4" follow the velocity with 1, 2 or 4 evaluations a step,
            "jumps" takes the distilled network with one.

    Raises:
        ValueError: there is no such method, scale or energy network, or no step.
        GeometryError: the calorimeter cannot be grouped so.
    """

    paper: ClassVar[Paper | None] = Paper(
        "L. Favaro, A. Ore, S. Palacios Schweitzer and T. Plehn",
        "CaloDREAM: Detector response emulation via attentive flow matching",
        "SciPost Phys. 18 (2025) 088",
        "2405.09629",
    )
    defaults: ClassVar[Mapping[str, Any]] = {
        "epochs": 100,
        "batch_size": 64,
        "lr": 2e-3,
        "schedule": "cosine",
        "schedule_options": {"warmup": 0.02},
        "weight_decay": 1e-3,
        "ema": 0.999,
        "clip": 1.0,
    }

    def __init__(
        self,
        geometry: Geometry | Mapping[str, Any],
        conditions: Conditions | Mapping[str, Any],
        *,
        grouping: Grouping = "auto",
        width: int = 128,
        depth: int = 4,
        heads: int = 4,
        ratio: float = 4.0,
        voxels: Literal["log", "logit"] = "log",
        energy: Literal["spline", "matching"] = "spline",
        precondition: bool = True,
        distil: bool = False,
        steps: int = 8,
        method: Literal["euler", "midpoint", "rk4", "jumps"] = "midpoint",
    ) -> None:
        super().__init__(geometry, conditions)
        _check("voxels", voxels, ("log", "logit"))
        _check("energy", energy, ("spline", "matching"))
        self.grouping = grouping if isinstance(grouping, str) else list(grouping)
        self.width, self.depth, self.heads, self.ratio = width, depth, heads, ratio
        self.voxels, self.energy, self.precondition = voxels, energy, precondition
        self.distil, self.steps, self.method = distil, steps, method
        self._check_steps()
        scales = LogScales if voxels == "log" else ShareScales
        self.scales: ShowerScales = scales(self.geometry)
        ratios: RatioNetwork = (SplineRatios if energy == "spline" else MatchedRatios)(
            self.scales.num_energies, self.conditions.width
        )
        self.energy_stage = EnergyStage(self.scales, ratios)
        teacher = self._network(spans=False)
        self.shape_stage = ShapeStage(self.scales, teacher)
        self.few_steps_stage = (
            FewStepsStage(self.scales, self._network(spans=True), teacher) if distil else None
        )

    def _network(self, *, spans: bool) -> ShowerTransformer:
        plain = self.grouping if isinstance(self.grouping, str) else "blocks"
        grouping = grouping_of(self.geometry) if plain == "auto" else plain
        sectors = grouping == "sectors"
        # An angle of the particle singles out sectors, and only those that know where they are see.
        aimed = any(name in self.conditions.names for name in ("theta", "phi", "eta"))
        alike = sectors and self.geometry.symmetric and not aimed
        positions = "none" if alike else "learned"
        return ShowerTransformer(
            Patches(self.geometry, self.grouping),
            self.conditions.width + self.scales.num_conditions,
            width=self.width,
            depth=self.depth,
            heads=self.heads,
            ratio=self.ratio,
            positions="waves" if grouping == "blocks" else positions,
            relative=sectors,
            precondition=self.precondition,
            spans=spans,
        )

    def _check_steps(self) -> None:
        _check("method", self.method, METHODS)
        if self.method == "jumps" and not self.distil:
            raise ValueError("method='jumps' needs a distilled network: distil=True, and a fit")
        if self.steps < 1:
            raise ValueError(f"steps={self.steps}: wanted at least 1")

    def prepare(self, showers: Showers) -> None:
        """Take means and widths.

        Args:
            showers: the training sample.
        """
        self.scales.fit(showers)

    def stages(self) -> Mapping[str, nn.Module]:
        """The networks that are trained one after the other."""
        stages: dict[str, nn.Module] = {"energy": self.energy_stage, "shape": self.shape_stage}
        if self.few_steps_stage is not None:
            stages["few_steps"] = self.few_steps_stage
        return stages

    def loss(self, batch: ShowerBatch) -> Tensor:
        """The losses of energies and shapes together.

        Args:
            batch: showers.
        """
        return self.energy_stage.loss(batch) + self.shape_stage.loss(batch)

    @property
    def noise_width(self) -> int:
        """D: Gaussian numbers that a shower is made of, for energies and voxels."""
        return self.scales.num_energies + self.geometry.num_voxels

    def generate(
        self, incident_energy: Tensor, context: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Voxels of some showers, see `Simulator.generate`.

        Args:
            incident_energy: in GeV, shape (B,).
            context: shape (B, C).
            generator: of all random numbers, on the CPU.

        Returns:
            Energies in GeV, shape (B, V).

        Raises:
            ValueError: ``steps`` or ``method`` were changed to what there is not.
        """
        noise = torch.randn(len(context), self.noise_width, generator=generator)
        return self.from_noise(noise.to(context.device), incident_energy, context)

    def from_noise(self, noise: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor:
        """Voxels as a function of Gaussian numbers: plain operations of torch, no randomness.

        Args:
            noise: shape (B, D).
            incident_energy: in GeV, shape (B,).
            context: shape (B, C).

        Returns:
            Energies in GeV, shape (B, V).

        Raises:
            ValueError: ``steps`` or ``method`` were changed to what there is not.
        """
        self._check_steps()
        first = self.scales.num_energies
        energies = self.energy_stage.ratios.draw(noise[:, :first], context)
        condition = self.scales.condition(energies, incident_energy, context)
        x = self.move(noise[:, first:], condition)
        return self.scales.inverse(energies, x, incident_energy)

    def move(self, noise: Tensor, condition: Tensor) -> Tensor:
        """Carry noise along the velocity.

        Args:
            noise: shape (B, V).
            condition: what `ShowerScales.condition` gives.

        Returns:
            Voxels as the network knows them, shape (B, V).
        """
        if self.method == "jumps" and self.few_steps_stage is not None:
            return jumps(self.few_steps_stage.network, noise, condition, self.steps)
        network = self.shape_stage.network
        if self.method == "euler":
            return jumps(network, noise, condition, self.steps)
        return fixed_steps(
            network, noise, 0.0, 1.0, steps=self.steps, method=self.method, constants=(condition,)
        )


class EnergyStage(nn.Module):
    """Ratios of layer energies.

    Args:
        scales: of the simulator.
        ratios: what is trained.
    """

    def __init__(self, scales: ShowerScales, ratios: RatioNetwork) -> None:
        super().__init__()
        self.scales, self.ratios = scales, ratios

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Of the ratio network.

        Args:
            batch: showers.
        """
        return batch.mean(self.ratios.losses(self.scales.energies(batch), batch.context))


class ShapeStage(nn.Module):
    """The velocity of voxels.

    Args:
        scales: of the simulator.
        network: what is trained.
    """

    def __init__(self, scales: ShowerScales, network: ShowerTransformer) -> None:
        super().__init__()
        self.scales, self.network = scales, network

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Mean square error of velocities at random times on straight paths.

        Args:
            batch: showers.
        """
        x, condition = self.scales(batch)
        t, z = spread_times(x), torch.randn_like(x)
        place = (1 - t)[:, None] * z + t[:, None] * x
        error = self.network(t, place, condition) - (x - z)
        return batch.mean(error.square().mean(1))


class FewStepsStage(nn.Module):
    """The network that jumps.

    Args:
        scales: of the simulator.
        network: what is trained.
        teacher: of the stage before; it is not trained here.
    """

    begun: Tensor

    def __init__(
        self, scales: ShowerScales, network: ShowerTransformer, teacher: ShowerTransformer
    ) -> None:
        super().__init__()
        self.scales, self.network = scales, network
        # In a tuple, as it is no part of what this stage learns and keeps.
        self.teacher = (teacher,)
        self.register_buffer("begun", torch.tensor(0))

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Mean square error of jumps; the first call takes over the weights of the teacher.

        Args:
            batch: showers.
        """
        if not self.begun:
            learn_from(self.network, self.teacher[0])
            self.begun.fill_(1)
        x, condition = self.scales(batch)
        return batch.mean(shortcut_losses(self.network, self.teacher[0], x, condition))


def _check(name: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        near = get_close_matches(str(value), known, n=1, cutoff=0.0)[0]
        raise ValueError(f"{name}={value!r}; nearest: {near}; there are {', '.join(known)}")
