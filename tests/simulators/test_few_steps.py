"""Few steps: jumps that are two smaller ones, and what distillation is good for."""

from __future__ import annotations

import pytest
import torch

from hepgen.simulators import CaloMatching
from hepgen.simulators.few_steps import SIZES, jumps, learn_from, shortcut_losses
from hepgen.simulators.patches import Patches
from hepgen.simulators.shower_transformer import ShowerTransformer
from tests.simulators.samples import REGULAR, made


class Steady:
    """A velocity of which jumps are known: dx/dt = a + b t, whatever the place."""

    def __init__(self, a: float, b: float) -> None:
        self.a, self.b, self.asked = a, b, []

    def __call__(self, t, x, condition, span=None):
        t = t.expand(len(x))
        self.asked.append((t, span.expand(len(x))))
        return (self.a + self.b * t)[:, None].expand_as(x)


class Jumping(Steady):
    """The mean of that velocity over a step."""

    def __call__(self, t, x, condition, span=None):
        return super().__call__(t + span / 2, x, condition, span)


def test_jumps_end_where_their_mean_velocities_lead():
    x, condition = torch.zeros(3, 2), torch.zeros(3, 1)
    for steps in (1, 2, 5):
        torch.testing.assert_close(
            jumps(Jumping(1.0, 3.0), x, condition, steps), torch.full((3, 2), 2.5)
        )
    # Followed from the beginning of each step, which is Euler's method, it lags behind.
    euler = jumps(Steady(1.0, 3.0), x, condition, 2)
    torch.testing.assert_close(euler, torch.full((3, 2), 1.75))


def test_a_student_that_knows_the_jumps_of_its_teacher_has_nothing_to_learn():
    torch.manual_seed(0)
    x, condition = torch.randn(64, 5), torch.zeros(64, 1)
    student, teacher = Jumping(0.5, 2.0), Steady(0.5, 2.0)
    assert shortcut_losses(student, teacher, x, condition).max() < 1e-12
    # Steps begin at multiples of their size, all sizes alike, the smallest with the teacher.
    t, span = student.asked[-1]
    assert sorted(set((1 / span).long().tolist())) == list(SIZES)
    assert all(((1 / span) == size).sum() == 16 for size in SIZES)
    begin = t - span / 2
    torch.testing.assert_close(begin / span, (begin / span).round())
    assert [len(a[0]) for a in teacher.asked] == [16, 16]
    wrong = Jumping(0.5, 2.2)
    assert shortcut_losses(wrong, teacher, x, condition)[48:].min() > 1e-6


@pytest.mark.parametrize("number", [0, 1, 3, 6, 9])
def test_batches_of_any_size_have_losses(number):
    torch.manual_seed(0)
    patches = Patches(REGULAR)
    student = ShowerTransformer(patches, 3, width=8, heads=2, depth=1, spans=True)
    teacher = ShowerTransformer(patches, 3, width=8, heads=2, depth=1)
    x = torch.randn(number, 48)
    losses = shortcut_losses(student, teacher, x, torch.zeros(number, 3))
    assert losses.shape == (number,)
    losses.sum().backward()
    assert all(p.grad is None for p in teacher.parameters())


def test_a_student_begins_as_its_teacher():
    torch.manual_seed(0)
    patches = Patches(REGULAR)
    student = ShowerTransformer(patches, 3, width=8, heads=2, depth=1, spans=True)
    teacher = ShowerTransformer(patches, 3, width=8, heads=2, depth=1)
    for parameter in teacher.parameters():
        torch.nn.init.normal_(parameter)
    learn_from(student, teacher)
    x, t, condition = torch.randn(4, 48), torch.rand(4), torch.randn(4, 3)
    expected = teacher(t, x, condition)
    for span in (0.125, 1.0):
        torch.testing.assert_close(student(t, x, condition, torch.tensor(span)), expected)


@pytest.mark.slow
def test_distilled_the_first_step_leads_nearer_to_where_many_lead():
    showers = made(1000)
    torch.manual_seed(1)
    simulator = CaloMatching.of(showers, width=32, depth=2, heads=2, distil=True)
    simulator.fit(
        showers,
        epochs=12,
        validation=None,
        progress=False,
        stages={"energy": {"epochs": 1}},
        seed=1,
    )
    generator = torch.Generator().manual_seed(2)
    noise = torch.randn(500, 48, generator=generator)
    batch = next(iter(simulator.batches(showers, batch_size=500).epoch(0)))
    condition = simulator.scales(batch)[1]

    def moved(method: str, steps: int) -> torch.Tensor:
        simulator.method, simulator.steps = method, steps
        with torch.inference_mode():
            return simulator.move(noise, condition)

    end = moved("midpoint", 32)
    away = {
        (method, steps): float((moved(method, steps) - end).square().mean().sqrt())
        for method in ("euler", "jumps")
        for steps in (1, 2, 4)
    }
    # 0.14 to 0.23 against 0.97 to 0.99 with three seeds.
    assert away["jumps", 1] < 0.5 * away["euler", 1]
    assert away["jumps", 2] < away["euler", 2]
    assert away["jumps", 4] < away["jumps", 1]
