"""Distillation, where the divergences are known in closed form or by another estimate."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.distributions import MultivariateNormal, kl_divergence

import hepgen
from hepgen.flows.continuous import ContinuousFlow
from hepgen.flows.distillation import Distilled, Divergence, Teacher, distil
from hepgen.flows.masked_autoregressive_flow import MaskedAutoregressiveFlow
from hepgen.flows.neural_spline_flow import NeuralSplineFlow

FEW: dict[str, Any] = {
    "samples": 4000,
    "held_out": 4000,
    "epochs": 12,
    "batch_size": 200,
    "lr": 5e-3,
    "progress": False,
    "accelerator": "cpu",
}


class Gaussian:
    """A teacher that is no flow; its mean is the context, if it has one."""

    def __init__(self) -> None:
        factor = torch.tensor([[0.8, 0.0], [0.6, 0.7]], dtype=torch.float64)
        self.normal = MultivariateNormal(torch.zeros(2, dtype=torch.float64), factor @ factor.mT)

    def sample(self, num_samples: int, context: Tensor | None = None) -> Tensor:
        if context is None:
            return self.normal.sample((num_samples,))
        return context[:, None] + self.normal.sample((len(context), num_samples))

    def log_prob(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        return self.normal.log_prob(inputs if context is None else inputs - context)


def student(seed: int = 0, **options: Any) -> NeuralSplineFlow:
    torch.manual_seed(seed)
    return NeuralSplineFlow(2, domain="real", hidden=24, **options)


def continuous() -> ContinuousFlow:
    """A teacher that is slow, and no Gaussian."""
    torch.manual_seed(1)
    flow = ContinuousFlow(2, hidden=16, tolerance=1e-5)
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.4 * torch.randn_like(parameter) / parameter.shape[-1] ** 0.5
    return flow


def test_divergences_are_those_of_two_gaussians_before_and_nothing_after() -> None:
    teacher: Teacher = Gaussian()
    found = distil(teacher, student(), **FEW)
    assert isinstance(found, Distilled)
    unit = MultivariateNormal(torch.zeros(2, dtype=torch.float64), torch.eye(2).double())
    # A spline flow begins as the standard Gaussian. 4 sigma: beyond in 6e-5 of all seeds.
    exact = float(kl_divergence(teacher.normal, unit))  # type: ignore[attr-defined]
    assert abs(found.before.value - exact) < 4 * found.before.error
    assert found.after.value < 0.02 + 4 * found.after.error
    assert -4 * found.back.error < found.back.value < 0.02 + 4 * found.back.error
    assert 0.9 < found.efficiency <= 1
    assert len(found.history) == 12
    assert f"{found.after}" in str(found)


@pytest.mark.parametrize("more", [{}, {"transport": 1.0}, {"density": 0.1}], ids=str)
def test_a_coupling_flow_learns_a_continuous_one_and_draws_faster(more) -> None:
    found = distil(continuous(), student(), **{**FEW, **more})
    assert found.before.value > found.after.value + 4 * found.before.error
    assert found.after.value < 0.02 + 4 * found.after.error
    assert found.efficiency > 0.9
    # 20 to 140 times have been seen.
    assert found.speed > 2


def test_transport_draws_the_maps_together() -> None:
    teacher, z = continuous(), torch.randn(500, 2, generator=torch.Generator().manual_seed(5))
    apart = []
    for transport in (0.0, 10.0):
        pupil = student()
        distil(teacher, pupil, transport=transport, **FEW)
        with torch.no_grad():
            difference = pupil.transform.inverse(z)[0] - teacher.carried.carry(z)
        apart.append(float(difference.square().sum(1).mean()))
    assert apart[1] < apart[0] / 2


def test_the_student_knows_the_context() -> None:
    torch.manual_seed(3)
    context = torch.rand(500, 2) * 4 - 2
    pupil = student(context=2)
    found = distil(Gaussian(), pupil, context=context, **{**FEW, "epochs": 20})
    assert found.after.value < 0.05 + 4 * found.after.error
    assert found.before.value > 1
    drawn = pupil.sample(2000, torch.tensor([[1.5, -1.0]]))[0].mean(0)
    assert drawn.tolist() == pytest.approx([1.5, -1.0], abs=0.15)


def test_a_run_in_a_folder_leaves_the_student_there(tmp_path) -> None:
    pupil = student()
    torch.manual_seed(9)
    before = torch.random.get_rng_state()
    options = {**FEW, "epochs": 2, "output": tmp_path}
    found = distil(MaskedAutoregressiveFlow(2, num_transforms=2, hidden=8), pupil, **options)
    loaded = hepgen.load(tmp_path / "model.safetensors")
    assert type(loaded) is NeuralSplineFlow
    x = torch.randn(20, 2)
    assert torch.equal(loaded.log_prob(x), pupil.log_prob(x))
    # The same call finds the run finished, with the same draws.
    torch.manual_seed(9)
    teacher = MaskedAutoregressiveFlow(2, num_transforms=2, hidden=8)
    again = distil(teacher, student(), **options)
    assert again.after == found.after
    torch.manual_seed(9)
    assert torch.equal(before, torch.random.get_rng_state())


class Broken(Gaussian):
    def log_prob(self, inputs: Tensor, context: Tensor | None = None) -> Tensor:
        return torch.full((len(inputs),), math.nan)


@pytest.mark.parametrize(
    ("teacher", "options", "told"),
    [
        (Gaussian(), {"transport": 1.0}, "transport=1.0 needs a Flow; Gaussian is none"),
        (Gaussian(), {"density": -1.0}, "density=-1.0: wanted a number, 0 at least"),
        (Gaussian(), {"samples": 3}, "samples=3, held_out=4000: wanted 20 at least"),
        (Gaussian(), {"context": torch.ones(3, 2)}, r"context=0; one of \(3, 2\) is given"),
        (Broken(), {}, "4000 of 4000 numbers of the teacher's log_density are not finite"),
        (ContinuousFlow(3, hidden=4), {}, "draws 3 dimensions, the student has 2"),
        (
            ContinuousFlow(2, hidden=4, domain="unit"),
            {"transport": 1.0},
            "that of the teacher is UnitUniform, that of the student StandardNormal",
        ),
    ],
)
def test_what_does_not_fit_together_is_told(teacher, options, told) -> None:
    with pytest.raises(ValueError, match=told):
        distil(teacher, student(), **{**FEW, **options})


def test_no_flows_are_told() -> None:
    with pytest.raises(TypeError, match="the student is Linear"):
        distil(Gaussian(), nn.Linear(2, 2), **FEW)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="the teacher is Linear, which has no sample"):
        distil(nn.Linear(2, 2), student(), **FEW)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="no argument 'epoch'"):
        distil(Gaussian(), student(), **FEW, epoch=1)
    assert str(Divergence(0.12345, 0.01)) == "0.1235 +- 0.0100"
