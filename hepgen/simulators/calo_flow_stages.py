r"""What CaloFlow learns one after the other: layer energies, voxels, and to draw voxels fast.

C. Krause and D. Shih, "CaloFlow II: even faster and still accurate generation of calorimeter
showers with normalizing flows", arXiv:2110.11377, section 3.

The student takes latent points z to data in one pass of each of its K networks, the teacher takes
data x to latent points. Their points :math:`x_0 = x, x_1, \ldots, x_K = z` and the parameters
:math:`\theta_k` of the splines between them should be the same. From data, teacher first and then
student, and from latent points, student first and then teacher, come

.. math:: \chi^2 = \Big\langle 2 \sum_{k=0}^{K} |x_k^t - x_k^s|^2
   + \sum_{k=1}^{K} |\theta_k^t - \theta_k^s|^2 \Big\rangle, \qquad
   L = \beta \chi^2_x + (1 - \beta) \chi^2_z .

The factor 2 is that of the authors' program, which compares points before and after permutations.
Where each voxel is first mapped given the energies alone, teacher and student share that map, and
their points are what it leaves.

Shapes: B showers, L layers, V voxels, C context, M parameters of a voxel, K transforms.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from hepgen.calorimeter import Showers
from hepgen.flows import Autoregressive, Flow
from hepgen.simulators.batches import ShowerBatch
from hepgen.simulators.calo_flow_networks import steps_of
from hepgen.simulators.preprocessing import Preprocessing

__all__ = ["EnergyStage", "LayerContext", "StudentStage", "TeacherStage", "guided_loss"]

# Energy in GeV that is added before logarithms, 1e-8 of the papers' unit of 100 GeV.
LEAST = 1e-6


class LayerContext(nn.Module):
    """What voxels are conditional on: the context of the shower and the energies of its layers.

    Args:
        num_layers: L.
    """

    mean: Tensor
    std: Tensor

    def __init__(self, num_layers: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(num_layers))
        self.register_buffer("std", torch.ones(num_layers))

    def fit(self, showers: Showers) -> None:
        """Learn means and widths of the logarithms of the energies.

        Args:
            showers: a sample.
        """
        logs = np.log10(showers.layer_energies + LEAST)
        std = logs.std(axis=0)
        self.mean.copy_(torch.from_numpy(logs.mean(axis=0)))
        self.std.copy_(torch.from_numpy(np.where(std > 1e-6, std, 1.0)))

    def forward(self, layers: Tensor, context: Tensor) -> Tensor:
        """Of energies in GeV (B, L) and the context (B, C) both, (B, C + L)."""
        logs = (torch.log10(layers + LEAST) - self.mean) / self.std
        return torch.cat([context.to(logs.dtype), logs], dim=1)


class EnergyStage(nn.Module):
    """The flow of the layer energies learns by likelihood.

    Args:
        flow: of the energy ratios u.
        preprocessing: fitted.
    """

    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType({"epochs": 60, "batch_size": 256})

    def __init__(self, flow: Flow, preprocessing: Preprocessing) -> None:
        super().__init__()
        self.flow, self.preprocessing = flow, preprocessing

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Mean of the negative log density of the ratios.

        Args:
            batch: showers.
        """
        batch = _in_type_of(self.flow, batch)
        with torch.no_grad():
            u = self.preprocessing.ratios(batch.voxels, batch.incident_energy)
        return -batch.mean(self.flow.log_prob(u, batch.context))


class TeacherStage(nn.Module):
    """The flow of the voxels learns by likelihood.

    Args:
        flow: of the voxels x, or of what ``marginal`` makes of them.
        preprocessing: fitted.
        told: what the voxels are conditional on, fitted.
        marginal: maps each voxel given the context alone, and learns with the flow.
    """

    def __init__(
        self,
        flow: Flow,
        preprocessing: Preprocessing,
        told: LayerContext,
        marginal: Flow | None = None,
    ) -> None:
        super().__init__()
        self.flow, self.preprocessing, self.told = flow, preprocessing, told
        self.marginal = marginal

    def loss(self, batch: ShowerBatch) -> Tensor:
        """Mean of the negative log density of the voxels.

        Args:
            batch: showers.
        """
        x, context = _voxels(_in_type_of(self.flow, batch), self.preprocessing, self.told)
        if self.marginal is None:
            return -batch.mean(self.flow.log_prob(x, context))
        x, log_slope = self.marginal.transform(x, context)
        return -batch.mean(log_slope + self.flow.log_prob(x, context))


class StudentStage(nn.Module):
    """The student of the voxel flow learns to do as its teacher does.

    Energy flow, teacher and marginal are not parts of it: they are not trained, and not kept with
    the run.

    Args:
        student: an inverse flow with as many transforms in the same orders; its buffer ``trained``
            tells that it has learnt.
        teacher: the trained flow of the voxels.
        energy: the trained flow of the energy ratios, which conditions are drawn from.
        preprocessing: fitted.
        told: what the voxels are conditional on, fitted.
        guided: compare all points and parameters; else the two ends alone.
        beta: share of the loss from data, the rest is that from latent points.
        marginal: what maps each voxel before the teacher does.
        from_teacher: the student begins with the weights of its teacher, where those fit it.
    """

    defaults: ClassVar[Mapping[str, Any]] = MappingProxyType(
        {"epochs": 14, "batch_size": 128, "lr": 1e-3}
    )

    def __init__(
        self,
        student: Flow,
        teacher: Flow,
        energy: Flow,
        preprocessing: Preprocessing,
        told: LayerContext,
        *,
        guided: bool = True,
        beta: float = 0.5,
        marginal: Flow | None = None,
        from_teacher: bool = False,
    ) -> None:
        super().__init__()
        self.student, self.preprocessing, self.told = student, preprocessing, told
        # In a tuple, where torch does not look for parts.
        self.others = (teacher, energy) if marginal is None else (teacher, energy, marginal)
        self.guided, self.beta, self.from_teacher = guided, beta, from_teacher
        self.begun = False

    def config(self) -> dict[str, Any]:
        """For the settings of the run."""
        return {"guided": self.guided, "beta": self.beta, "from_teacher": self.from_teacher}

    def _apply(self, fn: Callable[[Tensor], Tensor], recurse: bool = True) -> Self:
        for other in self.others:
            other._apply(fn, recurse)
        super()._apply(fn, recurse)  # type: ignore[no-untyped-call]
        return self

    def loss(self, batch: ShowerBatch) -> Tensor:
        """The guided loss, half of it on data, half on latent points.

        Args:
            batch: showers.
        """
        teacher, energy = self.others[:2]
        for other in self.others:
            other.eval()
        if self.training and not self.begun:
            self._begin()
        batch = _in_type_of(self.student, batch)
        x, told = _voxels(batch, self.preprocessing, self.told)
        with torch.no_grad():
            for marginal in self.others[2:]:
                x, _ = marginal.transform(x, told)
            u = torch.randn(len(batch), energy.dimension, dtype=x.dtype, device=x.device)
            u, _ = energy.transform.inverse(u, batch.context)
            layers = self.preprocessing.layers(u, batch.incident_energy)
            drawn = self.told(layers, batch.context)
        z = torch.randn_like(x)
        with _still(teacher):
            of_data, of_latent = guided_loss(
                steps_of(teacher), steps_of(self.student), x, told, z, drawn, guided=self.guided
            )
        return self.beta * batch.mean(of_data) + (1 - self.beta) * batch.mean(of_latent)

    @torch.no_grad()
    def _begin(self) -> None:
        """Take the teacher's weights before the first step; not where a run is taken up."""
        self.begun = True
        if self.from_teacher and not bool(self.student.trained):
            pairs = [*zip(steps_of(self.student), steps_of(self.others[0]), strict=True)]
            if all(_alike(own.made, its.made) for own, its in pairs):
                for own, its in pairs:
                    own.made.load_state_dict(its.made.state_dict())
        self.student.trained.fill_(True)


def guided_loss(
    teacher: Sequence[Autoregressive],
    student: Sequence[Autoregressive],
    x: Tensor,
    context: Tensor,
    z: Tensor,
    latent_context: Tensor,
    *,
    guided: bool = True,
) -> tuple[Tensor, Tensor]:
    """How far a student is from its teacher.

    Args:
        teacher: transforms from data to the latent space.
        student: transforms, in the same order, from the latent space to data.
        x: data, shape (B, V).
        context: of the data, shape (B, C).
        z: latent points, shape (B, V).
        latent_context: likewise.
        guided: compare all points and parameters; else the two ends alone.

    Returns:
        The sums of squares on data and on latent points, each (B,).
    """
    back = student[::-1]
    with torch.no_grad():
        taught = _walk(teacher, x, context)
    done = _walk(back, taught[0][-1], context)
    of_data = _difference(taught, done, guided)
    done = _walk(back, z, latent_context)
    return of_data, _difference(_walk(teacher, done[0][-1], latent_context), done, guided)


def _walk(
    steps: Sequence[Autoregressive], x: Tensor, context: Tensor
) -> tuple[list[Tensor], list[Tensor]]:
    """K + 1 points (B, V) and K sets of parameters (B, V, M) on the way through some transforms."""
    points, given = [x], []
    for step in steps:
        parameters = step.made(x, context)
        x, _ = step.elements[0](x, parameters)
        points.append(x)
        given.append(parameters)
    return points, given


def _difference(
    there: tuple[list[Tensor], list[Tensor]], back: tuple[list[Tensor], list[Tensor]], guided: bool
) -> Tensor:
    """Sum of squares, (B,), between a way there and one back."""
    points = [*zip(there[0], back[0][::-1], strict=True)]
    if not guided:
        # What one of them began with, the other one as well.
        return _squares(*points[0]) + _squares(*points[-1])
    total = 2 * torch.stack([_squares(a, b) for a, b in points]).sum(0)
    parameters = zip(there[1], back[1][::-1], strict=True)
    return total + torch.stack([_squares(a, b) for a, b in parameters]).sum(0)


def _alike(one: nn.Module, other: nn.Module) -> bool:
    """Whether weights have the same names and shapes."""
    shapes = [{name: t.shape for name, t in each.state_dict().items()} for each in (one, other)]
    return shapes[0] == shapes[1]


def _squares(a: Tensor, b: Tensor) -> Tensor:
    return (a - b).square().flatten(1).sum(1)


def _voxels(
    batch: ShowerBatch, preprocessing: Preprocessing, told: LayerContext
) -> tuple[Tensor, Tensor]:
    """What the flow of the voxels learns (B, V), and on what it is conditional (B, C + L)."""
    with torch.no_grad():
        u, x = preprocessing(batch.voxels, batch.incident_energy)
        layers = preprocessing.layers(u, batch.incident_energy)
        return x, told(layers, batch.context)


def _in_type_of(flow: Flow, batch: ShowerBatch) -> ShowerBatch:
    """Batches come in single precision; networks may be in another."""
    dtype = flow.base.origin.dtype
    return ShowerBatch(
        batch.voxels.to(dtype),
        batch.incident_energy.to(dtype),
        batch.context.to(dtype),
        batch.weight,
        batch.number,
    )


@contextmanager
def _still(model: nn.Module) -> Iterator[None]:
    """Gradients go through a model and not into it."""
    own = [parameter for parameter in model.parameters() if parameter.requires_grad]
    for parameter in own:
        parameter.requires_grad_(False)
    try:
        yield
    finally:
        for parameter in own:
            parameter.requires_grad_(True)
