r"""CaloFlow: a flow of the layer energies, one of the voxels, and a student that draws fast.

C. Krause and D. Shih, "CaloFlow: fast and accurate generation of calorimeter showers with
normalizing flows", arXiv:2106.05285, and "CaloFlow II", arXiv:2110.11377. With the recipes of
C. Krause, I. Pang and D. Shih, "CaloFlow for CaloChallenge dataset 1", arXiv:2210.14245.

.. math:: p(E_v | E_\mathrm{inc}) = p_1(u | E_\mathrm{inc}) \; p_2(x | E_l, E_\mathrm{inc})

with u the energy ratios and x the voxels of `hepgen.simulators.preprocessing`. Both
densities are masked autoregressive flows, of which :math:`p_2` costs one pass to know and V steps
to draw from; an inverse autoregressive flow, the student, is trained to draw the same in one.

Ours differs from the papers' in the numbers that the flows see, which are those of CaloINN:
energies of voxels instead of shares, empty layers apart; in a spline of each voxel given the
energies of the layers alone, which comes before the autoregressive ones and which teacher and
student share; and in the student's start, the weights of its teacher.

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
from hepgen.simulators.calo_flow_networks import autoregressive_flow, marginal_flow, orders
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

OURS: Mapping[str, Any] = MappingProxyType(
    {"noise": 0.2, "normalise": "GeV", "empty_layers": "apart"}
)
MARGINAL_BINS, MARGINAL_BOUND, SCALE_HIDDEN = 16, 8.0, 32
# Showers that are drawn at a time on a CPU.
ROWS = 128


@final
class CaloFlow(Simulator):
    """An energy flow, a voxel flow as teacher, and a student that draws in one pass.

    Training has three stages, "energy", "teacher" and "student"; ``fit(..., stages={"student":
    {"epochs": 20}})`` tells one of them something of its own. Showers are drawn from the student as
    soon as it has been trained, from the teacher before.

    A step of the student's training costs three to four times one of the teacher's, but from its
    teacher's weights it needs few: of 480 voxels, after 70 s on a busy core, the divergence from
    student to teacher was 0.75 nats; 12.4 without this start, and 1.8 where the divergence itself
    was the loss.

    After 11 minutes of energies and teacher and 3 of the student, on 9000 showers of Geant4, areas
    under the ROC curve of high-level classifiers are 0.560 and 0.562, each +- 0.008.

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
        from_teacher: the student begins with the weights of its teacher, if it is as wide.
        preprocessing: arguments of `Preprocessing`, such as ``RECIPES["CaloFlow"]``; None for its
            defaults.
        marginal_bins: of a spline of each voxel, given the energies alone, that teacher and student
            share; 0 for none. If not given, 16 with ``preprocessing`` as it is, 0 with another.
            Energy ratios then have as many bins, and are shifted and scaled given the context.
        marginal_hidden: width of its network.

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
            "epochs": 45,
            "batch_size": 128,
            "lr": 2e-3,
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
        energy_transforms: int = 1,
        energy_hidden: int = 128,
        energy_layers: int = 2,
        num_transforms: int = 2,
        hidden: int = 256,
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
        from_teacher: bool = True,
        preprocessing: Mapping[str, Any] | None = OURS,
        marginal_bins: int | None = None,
        marginal_hidden: int = 128,
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
        if marginal_bins is not None and marginal_bins < 0:
            raise ValueError(f"marginal_bins={marginal_bins}: wanted 1 at least, or 0 for none")
        self.student, self.draw_from = student, draw_from
        self.energy_transforms, self.energy_hidden = energy_transforms, energy_hidden
        self.energy_layers, self.num_transforms = energy_layers, num_transforms
        self.hidden, self.student_hidden, self.layers = hidden, student_hidden, layers
        self.num_bins, self.tail_bound, self.min_bin = num_bins, tail_bound, min_bin
        self.dropout, self.to_and_fro, self.order_seed = dropout, to_and_fro, order_seed
        self.guided, self.beta, self.from_teacher = guided, beta, from_teacher
        self.preprocessing = None if preprocessing is None else dict(preprocessing)
        if marginal_bins is None:
            # Files of before there was one have another preprocessing.
            marginal_bins = MARGINAL_BINS if self.preprocessing == dict(OURS) else 0
        self.marginal_bins, self.marginal_hidden = marginal_bins, marginal_hidden

        self.prepared = Preprocessing(self.geometry, **(self.preprocessing or {}))
        self.told = LayerContext(self.geometry.num_layers)
        self.energy_flow = self._energy_flow()
        self.marginal = self._marginal()
        self.teacher_flow = self._voxel_flow(hidden)
        self.student_flow: Flow | None = None
        if student:
            self.student_flow = self._voxel_flow(student_hidden or hidden, inverse=True)
            # Part of the flow, so that a run that is taken up knows it.
            self.student_flow.register_buffer("trained", torch.tensor(False))

    def _energy_flow(self) -> Flow:
        """Of the ratios u, given the context."""
        more: dict[str, Any] = {"num_bins": self.num_bins, "tail_bound": self.tail_bound}
        if self.marginal_bins:
            # Widths of the ratios fall as the root of the energy, tenfold from 1 to 100 GeV.
            more = {"num_bins": self.marginal_bins, "tail_bound": MARGINAL_BOUND}
            more["scale_hidden"] = SCALE_HIDDEN
        return autoregressive_flow(
            orders([self.geometry.num_layers], self.energy_transforms, seed=self.order_seed + 1),
            self.conditions.width,
            hidden=self.energy_hidden,
            layers=self.energy_layers,
            min_bin=self.min_bin,
            **more,
        )

    def _marginal(self) -> Flow | None:
        """Of each voxel x, given the context and the energies of the layers."""
        if not self.marginal_bins:
            return None
        return marginal_flow(
            self.geometry.num_voxels,
            self.conditions.width + self.geometry.num_layers,
            hidden=self.marginal_hidden,
            num_bins=self.marginal_bins,
            tail_bound=MARGINAL_BOUND,
        )

    def _voxel_flow(self, hidden: int, *, inverse: bool = False) -> Flow:
        """Of all voxels, or of what is left of them: a teacher, or its student."""
        order = orders(
            [layer.num_voxels for layer in self.geometry.layers],
            self.num_transforms,
            seed=self.order_seed,
            reverse=True,
            to_and_fro=self.to_and_fro,
        )
        return autoregressive_flow(
            order,
            self.conditions.width + self.geometry.num_layers,
            hidden=hidden,
            layers=self.layers,
            num_bins=self.num_bins,
            tail_bound=self.tail_bound,
            min_bin=self.min_bin,
            dropout=self.dropout,
            inverse=inverse,
        )

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
            "teacher": TeacherStage(teacher, self.prepared, self.told, self.marginal),
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
                marginal=self.marginal,
                from_teacher=self.from_teacher,
            )
        return found

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Mean negative log density of energy ratios and voxels together.

        Args:
            batch: showers.
        """
        energy = EnergyStage(self.energy_flow, self.prepared)
        teacher = TeacherStage(self.teacher_flow, self.prepared, self.told, self.marginal)
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
        z = _normal(self.energy_flow, len(context), generator)  # (B, L)
        u = _back(self.energy_flow, z, context)
        told = self.told(self.prepared.layers(u, incident_energy), context)
        # The steps of a teacher are better made for all showers together; elsewhere parameters of
        # splines are many, 600 MB for a thousand showers of 6480 voxels.
        rows = ROWS if told.device.type == "cpu" else None
        z = _normal(voxel_flow, len(context), generator)  # (B, V)
        x = _back(voxel_flow, z, told, rows if fast else None)
        if self.marginal is not None:
            x = _back(self.marginal, x, told, rows)
        return self.prepared.inverse(u, x, incident_energy)


def _normal(flow: Flow, number: int, generator: torch.Generator) -> Tensor:
    """Points of the latent space of a flow; random numbers come from the CPU."""
    like = flow.base.origin
    z = torch.randn(number, flow.dimension, generator=generator, dtype=like.dtype)
    return z.to(like.device)


def _back(flow: Flow, z: Tensor, context: Tensor, rows: int | None = None) -> Tensor:
    """From the latent space of a flow to its data, so many rows at a time."""
    size = max(len(z), 1) if rows is None else rows
    pieces = zip(torch.split(z, size), torch.split(context.to(z.dtype), size), strict=True)
    return torch.cat([flow.transform.inverse(*piece)[0] for piece in pieces])
