"""CaloFlow: its student against its teacher, its published sizes, and runs that were killed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from nflows.transforms import MaskedPiecewiseRationalQuadraticAutoregressiveTransform
from torch import Tensor, nn

import hepgen
from hepgen.calorimeter import EnergyRangeWarning, Geometry, Layer, Showers
from hepgen.flows import RationalQuadraticSpline
from hepgen.simulators import Conditions
from hepgen.simulators.calo_flow import CaloFlow
from hepgen.simulators.calo_flow_networks import (
    Backwards,
    autoregressive_flow,
    marginal_flow,
    orders,
    steps_of,
)
from hepgen.simulators.calo_flow_recipes import (
    CaloFlowRecipe,
    caloflow_recipe,
)
from hepgen.simulators.calo_flow_stages import (
    EnergyStage,
    LayerContext,
    StudentStage,
    TeacherStage,
    guided_loss,
)
from tests.simulators.samples import IRREGULAR, REGULAR, made

SMALL: dict[str, Any] = {
    "num_transforms": 3,
    "hidden": 40,
    "energy_transforms": 2,
    "energy_hidden": 16,
    "energy_layers": 2,
}
QUIET: dict[str, Any] = {"progress": False, "accelerator": "cpu"}


def small(showers: Showers, **arguments: Any) -> CaloFlow:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return CaloFlow.of(showers, **SMALL, **arguments)


def rough(model: nn.Module, size: float = 0.5) -> None:
    """Weights of an ordinary size everywhere, as flows begin as the identity."""
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for p in model.parameters():
            noise = torch.randn(p.shape, generator=generator, dtype=p.dtype)
            p += size * noise / p.shape[-1] ** 0.5


def pair(dimension: int = 6, count: int = 3) -> tuple[Any, Any]:
    """A teacher and a student of the same size, double precision, with a context of 2."""
    order = orders([2, dimension - 2], count, reverse=True, to_and_fro=True)
    options: dict[str, Any] = {"hidden": 24, "layers": 2, "num_bins": 5, "tail_bound": 4.0}
    torch.manual_seed(0)
    teacher = autoregressive_flow(order, 2, min_bin=1e-3, **options).double()
    student = autoregressive_flow(order, 2, min_bin=1e-3, inverse=True, **options).double()
    rough(teacher)
    return teacher, student


@pytest.fixture(scope="module")
def trained() -> CaloFlow:
    showers = made(400)
    model = small(showers)
    model.fit(showers, epochs=2, batch_size=64, **QUIET)
    return model


def test_a_spline_backwards_maps_as_its_inverse() -> None:
    spline = RationalQuadraticSpline(4, 3.0)
    x, parameters = torch.randn(20, 2).double(), torch.randn(20, 2, 11).double()
    back = Backwards(spline)
    assert back.num_parameters == spline.num_parameters
    for inverse in (False, True):
        mapped, slope = back(x, parameters, inverse=inverse)
        expected = spline(x, parameters, inverse=not inverse)
        torch.testing.assert_close((mapped, slope), expected, rtol=0, atol=0)


def test_where_networks_see_the_context_alone_a_student_with_its_teachers_weights_is_it() -> None:
    teacher, student = pair()
    with torch.no_grad():
        for step in steps_of(teacher):
            step.made.layers[0].weight.zero_()
    for mine, its in zip(steps_of(student), steps_of(teacher), strict=True):
        mine.load_state_dict(its.state_dict())
    z, context = torch.randn(30, 6).double(), torch.randn(30, 2).double()
    slow, fast = teacher.transform.inverse(z, context), student.transform.inverse(z, context)
    assert (slow[0] - z).abs().max() > 0.1
    torch.testing.assert_close(fast, slow, rtol=1e-9, atol=1e-9)
    x = torch.randn(30, 6).double()
    losses = guided_loss(steps_of(teacher), steps_of(student), x, context, z, context)
    assert max(float(loss.detach().abs().max()) for loss in losses) < 1e-16


def test_a_student_is_the_inverse_of_what_it_draws_with() -> None:
    _, student = pair()
    rough(student)
    z, context = torch.randn(30, 6).double(), torch.randn(30, 2).double()
    x, logabsdet = student.transform.inverse(z, context)
    back, other = student.transform(x, context)
    torch.testing.assert_close(back, z, rtol=0, atol=1e-9)
    torch.testing.assert_close(other, -logabsdet, rtol=0, atol=1e-9)
    # The Jacobian of the fast direction, by autograd.
    matrix = torch.autograd.functional.jacobian(
        lambda one: student.transform.inverse(one[None], context[:1])[0][0], z[0]
    )
    torch.testing.assert_close(matrix.det().abs().log(), logabsdet[0], rtol=0, atol=1e-9)


def test_a_flow_that_scales_first_given_the_context_has_the_density_that_autograd_finds() -> None:
    torch.manual_seed(0)
    scaled = autoregressive_flow(
        orders([4], 1), 2, hidden=8, layers=2, num_bins=5, tail_bound=4.0, min_bin=1e-3,
        scale_hidden=6,
    )  # fmt: skip
    alone = marginal_flow(4, 2, hidden=6, num_bins=7, tail_bound=5.0)
    for flow in (scaled.double(), alone.double()):
        rough(flow)
        x, context = torch.randn(4).double(), torch.randn(1, 2).double()

        def latent(one: Tensor, flow: Any = flow, context: Tensor = context) -> Tensor:
            z: Tensor = flow.transform(one[None], context)[0][0]
            return z

        matrix = torch.autograd.functional.jacobian(latent, x)
        z = latent(x)
        wanted = -0.5 * (z @ z + 4 * np.log(2 * np.pi)) + matrix.det().abs().log()
        torch.testing.assert_close(flow.log_prob(x[None], context)[0], wanted)
        back = flow.transform.inverse(z[None], context)[0][0]
        torch.testing.assert_close(back, x, rtol=0, atol=1e-9)
    # No voxel sees another one: the last flow, whose matrix this is.
    assert float((matrix - matrix.diag().diag()).abs().max()) == 0
    assert float(matrix.diag().min()) > 0


def test_teacher_and_student_share_the_splines_that_see_no_other_voxel() -> None:
    showers = made(64)
    model = small(showers)
    model.prepare(showers)
    assert model.marginal is not None
    rough(model.marginal)
    batch = next(model.batches(showers, batch_size=64).epoch(0))
    teacher, student = model.stages()["teacher"], model.stages()["student"]
    assert isinstance(teacher, TeacherStage)
    assert isinstance(student, StudentStage)
    # The other flows are the identity still, so that the splines are all there is.
    torch.manual_seed(0)
    found = teacher.loss(batch)
    torch.manual_seed(0)
    u, x = model.prepared(batch.voxels, batch.incident_energy)
    told = model.told(model.prepared.layers(u, batch.incident_energy), batch.context)
    torch.testing.assert_close(found, -model.marginal.log_prob(x, told).mean())
    found.backward()
    assert all(p.grad is not None for p in model.marginal.parameters())
    model.zero_grad()
    loss = student.train().loss(batch)
    assert float(loss.detach()) < 1e-6
    loss.backward()
    assert all(p.grad is None for p in model.marginal.parameters())
    assert not any("marginal" in name for name in student.state_dict())
    model.draw_from = "teacher"
    slow = model.sample(30, 10.0, seed=1, block=30).voxels
    model.draw_from = "student"
    np.testing.assert_allclose(model.sample(30, 10.0, seed=1, block=30).voxels, slow, rtol=1e-3)


@pytest.mark.parametrize(("width", "begins"), [(None, True), (20, False)])
def test_a_student_begins_as_its_teacher_but_not_where_it_goes_on(
    width: int | None, begins: bool
) -> None:
    showers = made(64)
    batch = next(small(showers).batches(showers, batch_size=64).epoch(0))
    for from_teacher in (True, False):
        model = small(showers, student_hidden=width, from_teacher=from_teacher)
        model.prepare(showers)
        assert model.student_flow is not None
        rough(model.teacher_flow)
        own, its = model.student_flow.state_dict(), model.teacher_flow.state_dict()
        weight = next(name for name in its if name.endswith("last.weight"))
        mine = weight.replace("_transforms.0.", "_transforms.0._transform.")
        model.stages()["student"].eval().loss(batch)  # type: ignore[operator]
        assert not model.distilled
        assert float(own[mine].abs().max()) == 0
        stage = model.stages()["student"].train()
        stage.loss(batch)  # type: ignore[operator]
        assert model.distilled
        assert (own[mine].shape == its[weight].shape and torch.equal(own[mine], its[weight])) == (
            begins and from_teacher
        )
        with torch.no_grad():
            own[mine].fill_(0.5)
        for again in (stage, model.stages()["student"].train()):
            again.loss(batch)  # type: ignore[operator]
            assert bool((own[mine] == 0.5).all())


def test_models_of_before_there_were_shared_splines_are_what_they_were() -> None:
    showers = made(64)
    # Their files say preprocessing=None and nothing of what came later.
    old = small(showers, preprocessing=None)
    assert old.marginal is None
    assert old.marginal_bins == 0
    assert old.prepared.normalise == "layer"
    assert not any("marginal" in name for name in old.state_dict())
    new = small(showers)
    assert new.marginal_bins == 16
    assert new.config()["preprocessing"] == {
        "noise": 0.2,
        "normalise": "GeV",
        "empty_layers": "apart",
    }
    assert CaloFlow(**new.config()).config() == new.config()
    assert CaloFlow(**old.config()).marginal is None
    assert small(showers, preprocessing=None, marginal_bins=4).marginal is not None


def test_how_many_are_drawn_at_a_time_does_not_matter(
    trained: CaloFlow, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = trained.sample(20, 10.0, seed=1, block=20).voxels
    monkeypatch.setattr("hepgen.simulators.calo_flow.ROWS", 7)
    parts = trained.sample(20, 10.0, seed=1, block=20).voxels
    # Sums of matrices may differ in the last bit, which splines carry on.
    np.testing.assert_allclose(parts, whole, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("guided", [True, False])
def test_the_guided_loss_is_the_sum_of_squares_over_all_points_and_parameters(guided: bool) -> None:
    teacher, student = pair(count=2)
    rough(student)
    (t1, t2), (s1, s2) = steps_of(teacher), steps_of(student)
    x, z = torch.randn(7, 6).double(), torch.randn(7, 6).double()
    c = torch.randn(7, 2).double()
    found = guided_loss([t1, t2], [s1, s2], x, c, z, c, guided=guided)

    def far(a: Tensor, b: Tensor) -> Tensor:
        return ((a - b) ** 2).reshape(7, -1).sum(1)

    def both(x0: Tensor, x1: Tensor, x2: Tensor, y0: Tensor, y1: Tensor, y2: Tensor) -> Tensor:
        points = far(x0, y0) + far(x1, y1) + far(x2, y2)
        parameters = far(t2.made(x1, c), s2.made(y2, c)) + far(t1.made(x0, c), s1.made(y1, c))
        return 2 * points + parameters if guided else far(x0, y0) + far(x2, y2)

    x1 = t1(x, c)[0]
    x2 = t2(x1, c)[0]
    y1 = s2(x2, c)[0]
    torch.testing.assert_close(found[0], both(x, x1, x2, s1(y1, c)[0], y1, x2))
    y1 = s2(z, c)[0]
    y0 = s1(y1, c)[0]
    x1 = t1(y0, c)[0]
    torch.testing.assert_close(found[1], both(y0, x1, t2(x1, c)[0], y0, y1, z))


def test_a_student_learns_to_draw_what_its_teacher_draws(trained: CaloFlow) -> None:
    # One that begins far from its teacher, as the papers' do.
    model = small(made(400), from_teacher=False)
    known = {k: v for k, v in trained.state_dict().items() if not k.startswith("student_flow")}
    model.load_state_dict(known, strict=False)
    assert model.student_flow is not None
    with torch.no_grad():
        for step in steps_of(model.teacher_flow):
            step.made.last.weight += 0.1 * torch.randn_like(step.made.last.weight)
    stage = model.stages()["student"]
    assert isinstance(stage, StudentStage)
    z = torch.randn(200, 48, generator=torch.Generator().manual_seed(0))
    context = torch.randn(200, 5, generator=torch.Generator().manual_seed(1))

    def apart() -> float:
        with torch.no_grad():
            slow = model.teacher_flow.transform.inverse(z, context)[0]
            return float(
                (model.student_flow.transform.inverse(z, context)[0] - slow).square().mean()
            )

    before = apart()
    kept = {name: t.clone() for name, t in model.teacher_flow.state_dict().items()}
    history = hepgen.fit(
        stage,
        model.batches(made(400), batch_size=50, shuffle=True),
        validation=model.batches(made(100, seed=1), batch_size=50),
        epochs=8,
        lr=5e-3,
        weight_decay=0.0,
        **QUIET,
    )
    losses = [row["validation_loss"] for row in history.rows]
    assert losses[-1] < 0.5 * losses[0]
    assert apart() < 0.5 * before
    for name, tensor in model.teacher_flow.state_dict().items():
        torch.testing.assert_close(tensor, kept[name], rtol=0, atol=0)


def test_the_student_learns_from_a_teacher_that_drops_no_units_and_gets_no_gradients() -> None:
    showers = made(64)
    model = small(showers, dropout=0.5)
    model.prepare(showers)
    rough(model, 0.3)
    stage = model.stages()["student"].train()
    batch = next(model.batches(showers, batch_size=64).epoch(0))
    stage.loss(batch).backward()
    assert not model.teacher_flow.training
    for flow in (model.teacher_flow, model.energy_flow):
        assert all(p.requires_grad and p.grad is None for p in flow.parameters())
    assert model.student_flow is not None
    assert all(p.grad is not None for p in model.student_flow.parameters())
    # It goes where the student goes, though it is none of its parts.
    stage.double()
    assert model.teacher_flow.base.origin.dtype == torch.float64
    assert not any("teacher" in name or "others" in name for name in stage.state_dict())


def test_showers_come_from_the_student_once_it_is_trained(trained: CaloFlow) -> None:
    showers = made(64)
    model = small(showers)
    assert not model.distilled
    assert model.teacher_flow is not None
    stages = model.stages()
    assert list(stages) == ["energy", "teacher", "student"]
    assert isinstance(stages["energy"], EnergyStage)
    assert isinstance(stages["teacher"], TeacherStage)
    assert trained.distilled
    auto = trained.sample(9, seed=1).voxels
    try:
        trained.draw_from = "student"
        np.testing.assert_array_equal(trained.sample(9, seed=1).voxels, auto)
        trained.draw_from = "teacher"
        assert not np.array_equal(trained.sample(9, seed=1).voxels, auto)
    finally:
        trained.draw_from = "auto"
    alone = small(showers, student=False)
    assert list(alone.stages()) == ["energy", "teacher"]
    assert not alone.distilled
    assert not any("student" in name for name in alone.state_dict())


@pytest.mark.parametrize("draw_from", ["auto", "teacher"])
def test_a_saved_model_draws_the_same_showers(
    trained: CaloFlow, tmp_path: Any, draw_from: Any
) -> None:
    try:
        trained.draw_from = draw_from
        trained.save(tmp_path / "model.safetensors")
        found = trained.sample(20, "2:50", seed=5)
    finally:
        trained.draw_from = "auto"
    again = CaloFlow.load(tmp_path / "model.safetensors")
    assert again.draw_from == draw_from
    assert again.distilled
    there = again.sample(20, "2:50", seed=5)
    np.testing.assert_array_equal(there.voxels, found.voxels)
    other = again.sample(20, "2:50", seed=6)
    assert not np.array_equal(other.voxels, found.voxels)


class Killed(RuntimeError):
    """Stands for a power cut."""


def test_a_run_that_is_killed_in_the_student_goes_on_bit_for_bit(
    tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    showers = made(200)
    settings: dict[str, Any] = {"batch_size": 40, "epochs": 2, "seed": 3, **QUIET}
    whole = small(showers, dropout=0.1)
    whole.fit(showers, output=tmp_path / "whole", **settings)
    loss, calls = StudentStage.loss, []

    def killing(self: StudentStage, batch: Any) -> Tensor:
        calls.append(1)
        if len(calls) == 8:
            raise Killed
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(StudentStage, "loss", killing)
        with pytest.raises(Killed):
            small(showers, dropout=0.1).fit(showers, output=tmp_path / "cut", **settings)
    assert not (tmp_path / "cut" / "model.safetensors").exists()
    again = small(showers, dropout=0.1)
    histories = again.fit(showers, output=tmp_path / "cut", **settings)
    assert [len(h.rows) for h in histories.values()] == [2, 2, 2]
    for name, tensor in whole.state_dict().items():
        torch.testing.assert_close(again.state_dict()[name], tensor, rtol=0, atol=0)
    kept = CaloFlow.load(tmp_path / "cut" / "model.safetensors")
    np.testing.assert_array_equal(kept.sample(9).voxels, whole.sample(9).voxels)


def test_energies_kinds_and_angles_are_learnt() -> None:
    showers = made(3000, conditions=True)
    model = small(showers, student=False)
    model.fit(
        showers,
        validation=None,
        batch_size=100,
        lr=3e-3,
        stages={"energy": {"epochs": 12}, "teacher": {"epochs": 1}},
        **QUIET,
    )

    def mean(energy: float, theta: float, pdg: int) -> tuple[float, float]:
        """Response, and depth in layers."""
        found = model.sample(400, energy, conditions={"theta": theta, "pdg": pdg}, block=400)
        layers = found.layer_energies.mean(axis=0)
        return float(found.response.mean()), float(layers @ np.arange(4) / layers.sum())

    # What the sample was made with: 0.9 (1 - 0.3 theta), times 0.7 for photons; its spread over
    # 400 showers is below 0.002, the rest is what the network has not learnt.
    for theta, pdg, wanted in ((0.1, 11, 0.873), (0.4, 11, 0.792), (0.4, 22, 0.5544)):
        assert mean(20.0, theta, pdg)[0] == pytest.approx(wanted, rel=0.06)
    true = made(2000, low=39, high=41, seed=1).layer_energies.mean(axis=0)
    deep, shallow = mean(40.0, 0.2, 11)[1], mean(3.0, 0.2, 11)[1]
    assert deep == pytest.approx(float(true @ np.arange(4) / true.sum()), abs=0.12)
    assert deep - shallow > 0.2


def test_showers_without_energy_and_energies_beyond_the_sample() -> None:
    showers = made(100)
    voxels = showers.voxels.copy()
    voxels[:30] = 0
    voxels[30:50, 12:] = 0
    model = small(showers)
    histories = model.fit(
        Showers(REGULAR, showers.incident_energy, voxels), epochs=1, batch_size=32, **QUIET
    )
    assert all(np.isfinite(h.rows[-1]["validation_loss"]) for h in histories.values())
    assert all(bool(t.isfinite().all()) for t in model.state_dict().values())
    found = model.sample(50)
    assert ((found.voxels == 0) | (found.voxels >= REGULAR.threshold * (1 - 1e-5))).all()
    with pytest.warns(EnergyRangeWarning, match="outside the trained range"):
        model.sample(2, 1000.0)


# Rings and sectors of layers 0, 1, 2, 3, 12, and 13, 14 for pions.
DS1 = {
    "photons": [(8, 1), (16, 10), (19, 10), (5, 1), (5, 1)],
    "pions": [(8, 1), (10, 10), (10, 10), (5, 1), (15, 10), (16, 10), (10, 1)],
}


@pytest.mark.parametrize(
    ("particle", "teacher", "student", "whole"),
    [("photons", "28.0", "56.6", "84.5"), ("pions", "57.1", "53.4", "110.4")],
)
def test_it_is_as_large_as_it_was_published(
    particle: Any, teacher: str, student: str, whole: str
) -> None:
    layers = [Layer(tuple(range(r + 1)), a, i) for i, (r, a) in enumerate(DS1[particle])]
    recipe = caloflow_recipe(particle)
    assert isinstance(recipe, CaloFlowRecipe)
    conditions = Conditions((0.256, 4194.304))
    with torch.device("meta"):
        model = CaloFlow(Geometry(tuple(layers)), conditions, **recipe.arguments)
    sizes = {}
    for name in ("energy_flow", "teacher_flow", "student_flow"):
        sizes[name] = sum(p.numel() for p in getattr(model, name).parameters())
    energy = sizes["energy_flow"]
    # The challenge counts what generates, energy flow and teacher or student, and what is trained.
    assert f"{(energy + sizes['teacher_flow']) / 1e6:.1f}" == teacher
    assert f"{(energy + sizes['student_flow']) / 1e6:.1f}" == student
    assert f"{sum(sizes.values()) / 1e6:.1f}" == whole
    # One block of each network of the authors' program, which is made of nflows.
    voxels, context = model.geometry.num_voxels, 1 + len(layers)
    hidden, thinner = recipe.arguments["hidden"], recipe.arguments["student_hidden"]
    for flow, (dimension, width, given, blocks, count) in {
        "energy_flow": (len(layers), 64, 1, 2, 6),
        "teacher_flow": (voxels, hidden, context, 1, 8),
        "student_flow": (voxels, thinner, context, 1, 8),
    }.items():
        with torch.device("meta"):
            theirs = MaskedPiecewiseRationalQuadraticAutoregressiveTransform(
                features=dimension,
                hidden_features=width,
                context_features=given,
                num_blocks=blocks,
                use_residual_blocks=False,
                num_bins=8,
                tails="linear",
                tail_bound=14.0,
            )
        assert sizes[flow] == count * sum(p.numel() for p in theirs.parameters())


def test_the_published_recipe_runs_in_double_precision(tmp_path: Any) -> None:
    showers = made(120, IRREGULAR)
    recipe = caloflow_recipe("photons")
    torch.manual_seed(0)
    narrow = {"hidden": 12, "student_hidden": 10, "num_transforms": 3}
    model = CaloFlow.of(showers, **{**recipe.arguments, **narrow})
    histories = model.fit(showers, **{**recipe.training, "epochs": 1}, **QUIET)
    assert [len(h.rows) for h in histories.values()] == [1, 1, 1]
    assert {p.dtype for p in model.parameters()} == {torch.float64}
    assert model.prepared.standardise is False
    assert model.prepared.total_scale == 2.42
    model.save(tmp_path / "model.safetensors")
    again = CaloFlow.load(tmp_path / "model.safetensors")
    found = again.sample(20, seed=2)
    np.testing.assert_array_equal(found.voxels, model.sample(20, seed=2).voxels)
    assert ((found.voxels == 0) | (found.voxels >= IRREGULAR.threshold * (1 - 1e-5))).all()


def test_pions_differ_as_their_recipe_says() -> None:
    photons, pions = caloflow_recipe("photons"), caloflow_recipe("pions")
    differ = {k for k, v in pions.arguments.items() if v != photons.arguments[k]}
    assert differ == {"hidden", "student_hidden", "guided"}
    assert pions.training["stages"]["student"] == {"epochs": 150, "batch_size": 175}
    with pytest.raises(ValueError, match="particle='kaons'"):
        caloflow_recipe("kaons")  # type: ignore[arg-type]


def test_orders_keep_the_layers_together() -> None:
    found = orders([3, 4], 5, seed=1, reverse=True)
    assert found[0] == list(range(7))
    assert found[1] == [2, 1, 0, 6, 5, 4, 3]
    for order in found:
        assert sorted(order[:3]) == [0, 1, 2]
        assert sorted(order[3:]) == [3, 4, 5, 6]
    # Turned round after each random one.
    assert found[3] == found[2][:3][::-1] + found[2][3:][::-1]
    assert found[2] != found[1] != found[4]
    there_and_back = orders([3, 4], 5, seed=1, reverse=True, to_and_fro=True)
    assert there_and_back[1::2] == [order[::-1] for order in found[1::2]]
    assert there_and_back[::2] == found[::2]
    # Kept with a model by its seed alone, so that it may never change.
    assert orders([6], 3, seed=1) == [
        [0, 1, 2, 3, 4, 5],
        [0, 3, 5, 4, 2, 1],
        [4, 5, 1, 0, 3, 2],
    ]
    assert orders([6], 2, seed=2)[1] != orders([6], 2, seed=1)[1]


def test_layers_are_told_by_logarithms_of_mean_0_and_width_1() -> None:
    showers = made(500)
    told = LayerContext(4)
    told.fit(showers)
    layers = torch.from_numpy(showers.layer_energies).float()
    context = torch.rand(500, 2)
    found = told(layers, context)
    assert found.shape == (500, 6)
    torch.testing.assert_close(found[:, :2], context)
    torch.testing.assert_close(found[:, 2:].mean(0), torch.zeros(4), rtol=0, atol=1e-4)
    torch.testing.assert_close(found[:, 2:].std(0), torch.ones(4), rtol=0, atol=1e-2)
    nothing = Showers(REGULAR, np.ones(5), np.zeros((5, 48), dtype=np.float32))
    told.fit(nothing)
    assert bool(told(torch.zeros(2, 4), context[:2]).isfinite().all())


def test_stages_have_defaults_of_their_own_and_are_told_what_they_are_told() -> None:
    showers = made(40)
    model = small(showers, student=False)
    histories = model.fit(showers, batch_size=40, stages={"teacher": {"epochs": 1}}, **QUIET)
    assert len(histories["energy"].rows) == EnergyStage.defaults["epochs"]
    assert len(histories["teacher"].rows) == 1
    histories = model.fit(showers, batch_size=40, epochs=2, **QUIET)
    assert [len(h.rows) for h in histories.values()] == [2, 2]


def test_the_loss_is_that_of_both_flows(trained: CaloFlow) -> None:
    batch = next(trained.batches(made(50), batch_size=50).epoch(0))
    stages = trained.stages()
    torch.manual_seed(0)
    expected = stages["energy"].loss(batch) + stages["teacher"].loss(batch)  # type: ignore[operator]
    torch.manual_seed(0)
    torch.testing.assert_close(trained.loss(batch), expected, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"draw_from": "both"}, "draw_from='both': wanted 'auto', 'teacher' or 'student'"),
        ({"draw_from": "student", "student": False}, "needs a student"),
        ({"beta": 1.5}, "beta=1.5: wanted a share"),
        ({"num_transforms": 0}, "num_transforms=0"),
        ({"marginal_bins": -1}, "marginal_bins=-1"),
        ({"preprocessing": {"noise": -1.0}}, "noise=-1.0"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CaloFlow.of(made(10), **arguments)
