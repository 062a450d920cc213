r"""CaloFlow: a flow of the layer energies, one of the voxels, and a student that draws fast.

C. Krause and D. Shih, "CaloFlow: fast and accurate generation of calorimeter showers with
normalizing flows", arXiv:2106.05285, and "CaloFlow II", arXiv:2110.11377. With the recipes of
C. Krause, I. Pang and D. Shih, "CaloFlow for CaloChallenge dataset 1", arXiv:2210.14245.

.. math:: p(E_v | E_\mathrm{inc}) = p_1(u | E_\mathrm{inc}) \; p_2(x | E_l, E_\mathrm{inc})

with u the energy ratios and x the shares of voxels of `hepgen.simulators.preprocessing`. Both
densities are masked autoregressive flows, of which :math:`p_2` costs one pass to know and V steps
to draw from; an inverse autoregressive flow, the student, is trained to draw the same in one.

Shapes: B showers, L layers, V voxels, C context.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, ClassVar, Literal, final

import torch
from torch import Tensor, nn

from hepgen.calorimeter import Geometry, Showers
from hepgen.flows import Flow
from hepgen.paper import Paper
from hepgen.simulators.batches import ShowerBatch
from hepgen.simulators.calo_flow_networks import autoregressive_flow, orders
from hepgen.simulators.calo_flow_stages import (
    EnergyStage,
    LayerContext,
    StudentStage,
    TeacherStage,
)
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.preprocessing import Preprocessing
from hepgen.simulators.simulator import Simulator

__all__ = ["CaloFlow"]


@final
class CaloFlow(Simulator):
    """An energy flow, a voxel flow as teacher, and a student that draws in one pass.

    Training has three stages, "energy", "teacher" and "student"; ``fit(..., stages={"student":
    {"epochs": 20}})`` tells one of them something of its own. Showers are drawn from the student as
    soon as it has been trained, from the teacher before.

    A step of the student's training costs three to four times one of the teacher's, and it needs as
    many of them at least: after 5 epochs of 8100 showers a classifier told them from Geant4's
    with an AUC of 0.97, its teacher's, after 14, with 0.83. As the teacher computes
    each unit of its networks once on the way through the voxels, it is slow only for few showers:
    480 voxels take 220, 2.9 and 0.6 ms a shower at batch 1, 100 and 1000 on one thread of a busy
    CPU, the student 24, 0.5 and 0.3 ms.

    The recipes of the papers are in `hepgen.simulators.calo_flow_recipes`.

    Args:
        geometry: of the voxels.
        conditions: what showers depend on.
        student: whether there is a student.
        draw_from: "teacher" or "student"; "auto" takes the student once it is trained. The
            attribute may be changed.
        energy_transforms: splines of the energy flow, each with a network.
        energy_hidden: width of these networks.
        energy_layers: their hidden layers.
        num_transforms: splines of the voxel flow and of its student.
        hidden: width of the teacher's networks; fewer units than voxels are allowed.
        student_hidden: width of the student's; ``hidden`` if not given.
        layers: hidden layers of both.
        num_bins: of all splines.
        tail_bound: where these end; beyond, they are the identity.
        min_bin: least width and height of a bin, as a share of the interval.
        dropout: share of the units of teacher and student that are left out of a training step.
        to_and_fro: every other transform begins with the last voxel of the last layer.
        order_seed: of the orders of voxels and ratios.
        guided: the student learns all intermediate points and parameters of its teacher, else the
            two ends alone.
        beta: share of the student's loss that is from data, the rest is from latent points.
        preprocessing: arguments of `Preprocessing`, such as ``RECIPES["CaloFlow"]``.

    Raises:
        ValueError: an argument is out of its range.
    """

    paper: ClassVar[Paper | None] = Paper(
        "C. Krause and D. Shih",
        "CaloFlow: fast and accurate generation of calorimeter showers with normalizing flows",
        "Phys. Rev. D 107 (2023) 113003",
        "2106.05285",
    )
    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {
            "epochs": 25,
            "batch_size": 128,
            "lr": 1e-3,
            "optimizer": "adam",
            "weight_decay": 0.0,
            "schedule": "cosine",
        }
    )

    def __init__(
        self,
        geometry: Geometry | Mapping[str, Any],
        conditions: Conditions | Mapping[str, Any],
        *,
        student: bool = True,
        draw_from: Literal["auto", "teacher", "student"] = "auto",
        energy_transforms: int = 6,
        energy_hidden: int = 64,
        energy_layers: int = 3,
        num_transforms: int = 4,
        hidden: int = 128,
        student_hidden: int | None = None,
        layers: int = 2,
        num_bins: int = 8,
        tail_bound: float = 6.0,
        min_bin: float = 1e-3,
        dropout: float = 0.0,
        to_and_fro: bool = True,
        order_seed: int = 0,
        guided: bool = True,
        beta: float = 0.5,
        preprocessing: Mapping[str, Any] | None = None,
    ) -> None:
        super().__init__(geometry, conditions)
        if draw_from not in ("auto", "teacher", "student"):
            raise ValueError(f"draw_from={draw_from!r}: wanted 'auto', 'teacher' or 'student'")
        if draw_from == "student" and not student:
            raise ValueError("draw_from='student' needs a student; student=False leaves it out")
        if not 0 <= beta <= 1:
            raise ValueError(f"beta={beta}: wanted a share from 0 to 1")
        if min(num_transforms, energy_transforms) < 1:
            raise ValueError(
                f"num_transforms={num_transforms}, energy_transforms={energy_transforms}: "
                "wanted 1 at least"
            )
        self.student, self.draw_from = student, draw_from
        self.energy_transforms, self.energy_hidden = energy_transforms, energy_hidden
        self.energy_layers, self.num_transforms = energy_layers, num_transforms
        self.hidden, self.student_hidden, self.layers = hidden, student_hidden, layers
        self.num_bins, self.tail_bound, self.min_bin = num_bins, tail_bound, min_bin
        self.dropout, self.to_and_fro, self.order_seed = dropout, to_and_fro, order_seed
        self.guided, self.beta = guided, beta
        self.preprocessing = None if preprocessing is None else dict(preprocessing)

        num_layers = self.geometry.num_layers
        self.prepared = Preprocessing(self.geometry, **(self.preprocessing or {}))
        self.told = LayerContext(num_layers)
        spline: dict[str, Any] = {
            "num_bins": num_bins,
            "tail_bound": tail_bound,
            "min_bin": min_bin,
        }
        self.energy_flow = autoregressive_flow(
            orders([num_layers], energy_transforms, seed=order_seed + 1),
            self.conditions.width,
            hidden=energy_hidden,
            layers=energy_layers,
            **spline,
        )
        order = orders(
            [layer.num_voxels for layer in self.geometry.layers],
            num_transforms,
            seed=order_seed,
            reverse=True,
            to_and_fro=to_and_fro,
        )
        spline |= {"layers": layers, "dropout": dropout}
        context = self.conditions.width + num_layers
        self.teacher_flow = autoregressive_flow(order, context, hidden=hidden, **spline)
        self.student_flow: Flow | None = None
        if student:
            self.student_flow = autoregressive_flow(
                order, context, hidden=student_hidden or hidden, inverse=True, **spline
            )
            # Part of the flow, so that a run that is taken up knows it.
            self.student_flow.register_buffer("trained", torch.tensor(False))

    def prepare(self, showers: Showers) -> None:
        """Learn means and widths of the numbers that the networks see.

        Args:
            showers: the training sample, or the first of a long one.
        """
        self.prepared.fit(showers)
        self.told.fit(showers)

    def stages(self) -> dict[str, nn.Module]:
        """Energy flow, teacher and, if there is one, student."""
        energy, teacher = self.energy_flow, self.teacher_flow
        found: dict[str, nn.Module] = {
            "energy": EnergyStage(energy, self.prepared),
            "teacher": TeacherStage(teacher, self.prepared, self.told),
        }
        if self.student_flow is not None:
            found["student"] = StudentStage(
                self.student_flow,
                teacher,
                energy,
                self.prepared,
                self.told,
                guided=self.guided,
                beta=self.beta,
            )
        return found

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Mean negative log density of energy ratios and voxels together.

        Args:
            batch: showers.
        """
        energy = EnergyStage(self.energy_flow, self.prepared)
        teacher = TeacherStage(self.teacher_flow, self.prepared, self.told)
        return energy.loss(batch) + teacher.loss(batch)

    @property
    def distilled(self) -> bool:
        """Whether there is a student that has been trained."""
        return self.student_flow is not None and bool(self.student_flow.trained)

    def generate(
        self, incident_energy: Tensor, context: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Voxels of some showers.

        Args:
            incident_energy: in GeV, shape (B,).
            context: as `Conditions.encode` gives it, shape (B, C).
            generator: of all random numbers, on the CPU.

        Returns:
            Energies in GeV, 0 or at least the threshold of the geometry, shape (B, V).
        """
        fast = self.draw_from == "student" or (self.draw_from == "auto" and self.distilled)
        voxel_flow = self.student_flow if fast else self.teacher_flow
        assert voxel_flow is not None
        u = _drawn(self.energy_flow, context, generator)  # (B, L)
        layers = self.prepared.layers(u, incident_energy)
        x = _drawn(voxel_flow, self.told(layers, context), generator)  # (B, V)
        return self.prepared.inverse(u, x, incident_energy)


def _drawn(flow: Flow, context: Tensor, generator: torch.Generator) -> Tensor:
    """One point of a flow for each row of a context; random numbers come from the CPU."""
    like = flow.base.origin
    z = torch.randn(len(context), flow.dimension, generator=generator, dtype=like.dtype)
    x: Tensor = flow.transform.inverse(z.to(like.device), context.to(like.dtype))[0]
    return x
