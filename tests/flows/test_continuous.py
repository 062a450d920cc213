"""Continuous flows: fields, matching and densities against closed forms, autograd and scipy."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import torch
from scipy import stats
from scipy.integrate import quad
from scipy.linalg import expm
from scipy.optimize import linear_sum_assignment
from scipy.special import roots_legendre
from torch import Tensor, nn

from hepgen.flows.continuous import Carried, ContinuousFlow, Probit
from hepgen.flows.flow import Flow
from hepgen.flows.flow_matching import assignment, flow_matching_loss, spread_times
from hepgen.flows.velocity import VelocityField

DIMENSION, CONTEXT = 3, 2
DOUBLE = torch.float64


def make(**changes: object) -> ContinuousFlow:
    """A flow in float64 whose field is no longer zero."""
    torch.manual_seed(4)
    options = {"dimension": DIMENSION, "hidden": 16, **changes}
    flow = ContinuousFlow(**options).double()  # type: ignore[arg-type]
    with torch.no_grad():
        for parameter in flow.parameters():
            parameter += 0.1 * torch.randn_like(parameter)
    return flow


def points(number: int, seed: int = 0, width: int = DIMENSION) -> Tensor:
    return torch.randn(number, width, dtype=DOUBLE, generator=torch.Generator().manual_seed(seed))


class TestVelocityField:
    @pytest.mark.parametrize("layers", [1, 2, 3])
    @pytest.mark.parametrize("context", [0, CONTEXT])
    def test_divergence_is_the_trace_of_autograds_jacobian(self, layers, context) -> None:
        torch.manual_seed(1)
        field = VelocityField(DIMENSION, context, 8, layers).double()
        with torch.no_grad():
            field.out.weight.normal_()
        x, t = points(5), torch.linspace(0, 1, 5, dtype=DOUBLE)
        c = points(5, 1, CONTEXT) if context else None

        def alone(i: int) -> Tensor:
            of_row = None if c is None else c[i : i + 1]
            return torch.autograd.functional.jacobian(
                lambda y: field(t[i], y[None], of_row)[0], x[i]
            )

        traces = torch.stack([alone(i).trace() for i in range(5)])
        velocity, divergence = field.with_divergence(t, x, c)
        torch.testing.assert_close(velocity, field(t, x, c), rtol=0, atol=1e-13)
        torch.testing.assert_close(divergence, traces, rtol=0, atol=1e-12)
        # Unit vectors as probes give the trace over D.
        unit = torch.eye(DIMENSION, dtype=DOUBLE).expand(5, -1, -1)
        _, estimate = field.with_probes(t, x, c, unit)
        torch.testing.assert_close(DIMENSION * estimate, traces, rtol=0, atol=1e-12)

    def test_it_begins_at_rest_and_needs_a_layer(self) -> None:
        assert not VelocityField(2)(torch.tensor(0.3), torch.ones(4, 2)).any()
        with pytest.raises(ValueError, match="layers=0"):
            VelocityField(2, layers=0)


class Straight(nn.Module):
    """The linear field A y."""

    def __init__(self, matrix: Tensor) -> None:
        super().__init__()
        self.matrix = matrix

    def forward(self, t: Tensor, y: Tensor, context: Tensor | None = None) -> Tensor:
        return y @ self.matrix.mT

    def with_divergence(self, t, y, context=None) -> tuple[Tensor, Tensor]:
        return self(t, y), self.matrix.trace().expand(len(y))

    def with_probes(self, t, y, context, probes) -> tuple[Tensor, Tensor]:
        return self(t, y), ((probes @ self.matrix.mT) * probes).sum(2).mean(1)


class TestCarried:
    matrix = torch.tensor([[0.3, -1.0, 0.2], [0.8, 0.1, 0.0], [0.5, -0.3, -0.9]], dtype=DOUBLE)

    @pytest.mark.parametrize(
        ("options", "tolerance"),
        [
            ({"tolerance": 1e-10}, 1e-8),
            ({"solver": "rk4", "steps": 64}, 1e-7),
            ({"solver": "midpoint", "steps": 400}, 1e-5),
        ],
        ids=["dopri5", "rk4", "midpoint"],
    )
    def test_a_linear_field_is_the_exponential_of_its_matrix(self, options, tolerance) -> None:
        carried, z = Carried(Straight(self.matrix), **options), points(50)
        exact = z @ torch.from_numpy(expm(self.matrix.numpy())).mT
        for x, volume in (carried.inverse(z), (carried.carry(z), self.matrix.trace())):
            torch.testing.assert_close(x, exact, rtol=0, atol=tolerance)
            torch.testing.assert_close(volume, self.matrix.trace().expand_as(volume))
        back, volume = carried(exact)
        torch.testing.assert_close(back, z, rtol=0, atol=tolerance)
        torch.testing.assert_close(volume, -self.matrix.trace().expand(50))

    def test_hutchinsons_estimate_has_the_trace_as_its_mean(self) -> None:
        # 4000 points of one probe each; the spread of the mean is that of the signs, and beyond
        # 4 sigma in 6e-5 of all seeds.
        carried = Carried(Straight(self.matrix), "rk4", 4, probes=1, seed=3)
        volume = carried.inverse(points(4000))[1]
        sigma = float(volume.std()) / math.sqrt(4000)
        assert sigma > 0
        assert abs(float(volume.mean() - self.matrix.trace())) < 4 * sigma
        # The same probes in each call, and many of them agree with the trace.
        assert torch.equal(volume, carried.inverse(points(4000))[1])
        many = Carried(Straight(self.matrix), "rk4", 4, probes=4000).inverse(points(3))[1]
        assert many.tolist() == pytest.approx([float(self.matrix.trace())] * 3, abs=0.1)

    def test_arguments_without_sense_are_refused(self) -> None:
        field = VelocityField(2)
        with pytest.raises(ValueError, match="no solver 'dopri'; nearest: dopri5"):
            Carried(field, "dopri")
        for wrong in ({"steps": 0}, {"tolerance": 0.0}, {"probes": 0}):
            with pytest.raises(ValueError, match="wanted numbers above 0"):
                Carried(field, **wrong)


class TestContinuousFlow:
    @pytest.mark.parametrize("domain", ["real", "unit"])
    @pytest.mark.parametrize("context", [0, CONTEXT])
    def test_log_determinants_are_those_of_autograds_jacobian(self, domain, context) -> None:
        flow = make(domain=domain, context=context, tolerance=1e-9)
        x = points(4) if domain == "real" else torch.special.ndtr(points(4))
        c = points(4, 1, CONTEXT) if context else None
        logabsdet = flow.transform(x, c)[1].detach()
        for i in range(4):
            of_row = None if c is None else c[i : i + 1]
            jacobian = torch.autograd.functional.jacobian(
                lambda y, of_row=of_row: flow.transform(y[None], of_row)[0][0], x[i]
            )
            assert float(logabsdet[i]) == pytest.approx(float(jacobian.slogdet()[1]), abs=1e-6)

    @pytest.mark.parametrize("domain", ["real", "unit"])
    def test_the_density_integrates_to_one(self, domain) -> None:
        flow = make(dimension=1, domain=domain, tolerance=1e-8)
        # The places of the cube are dense near its faces, by x = (3 - 2 t) t^2.
        t, weights = (torch.from_numpy(part)[:, None] for part in roots_legendre(200))
        x, slope = (
            (12 * t, 12) if domain == "real" else ((2 - t) * (1 + t) ** 2 / 4, 3 * (1 - t**2) / 4)
        )
        with torch.no_grad():
            total = (flow.log_prob(x).exp()[:, None] * weights * slope).sum()
        assert float(total) == pytest.approx(1, abs=1e-5)

    @pytest.mark.parametrize("domain", ["real", "unit"])
    @pytest.mark.parametrize("context", [0, CONTEXT])
    @pytest.mark.parametrize(
        ("solver", "allowed"), [({"tolerance": 1e-8}, 1e-5), ({"solver": "rk4"}, 1e-5)]
    )
    def test_draws_have_the_density_that_comes_with_them(
        self, domain, context, solver, allowed
    ) -> None:
        flow = make(domain=domain, context=context, **solver)
        c = points(6, 1, CONTEXT) if context else None

        def seeded() -> torch.Generator:
            return torch.Generator().manual_seed(2)

        with torch.no_grad():
            x, log_prob = flow.sample_and_log_prob(50, c, generator=seeded())
            alone = flow.sample(50, c, generator=seeded())
            rows = None if c is None else c.repeat_interleave(50, 0)
            again = flow.log_prob(x.reshape(-1, DIMENSION), rows).view(log_prob.shape)
        assert alone.shape == x.shape == ((6, 50, 3) if context else (50, 3))
        torch.testing.assert_close(alone, x, rtol=0, atol=allowed)
        torch.testing.assert_close(again, log_prob, rtol=0, atol=allowed)

    def test_parts_of_a_sample_have_the_size_that_was_asked_for(self) -> None:
        flow = make(context=CONTEXT, solver="midpoint", steps=2)
        assert flow.sample(7, points(3, 1, 2), 3).shape == (3, 7, DIMENSION)
        assert flow.sample(0, points(3, 1, 2)).shape == (3, 0, DIMENSION)

    def test_arguments_without_sense_are_refused(self) -> None:
        with pytest.raises(ValueError, match="domain='cube'"):
            make(domain="cube")
        with pytest.raises(ValueError, match="sigma=1"):
            make(sigma=1)
        batch = SimpleNamespace(x=points(4), context=None, weight=torch.ones(3))
        with pytest.raises(ValueError, match=r"weight should be of shape \(4,\)"):
            make().loss(batch)


class TestProbit:
    def test_it_is_scipys_and_keeps_the_faces_of_the_cube_finite(self) -> None:
        u = torch.tensor([[1e-9, 0.3], [0.5, 0.999], [0.0, 1.0]], dtype=DOUBLE)
        y, logabsdet = Probit()(u)
        expected = torch.from_numpy(stats.norm.ppf(u[:2].numpy()))
        torch.testing.assert_close(y[:2], expected, rtol=1e-10, atol=1e-12)
        slope = -stats.norm.logpdf(y.numpy()).sum(1)
        torch.testing.assert_close(logabsdet, torch.from_numpy(slope))
        assert y.isfinite().all()
        back, inverse = Probit().inverse(y)
        torch.testing.assert_close(back, u, rtol=1e-10, atol=1e-15)
        torch.testing.assert_close(inverse, -logabsdet)


class TestFlowMatching:
    width = 0.3

    def slope(self, t: Tensor | float) -> Tensor | float:
        """Of the best field for Gaussian data of this width, which is linear in the place."""
        s = self.width**2
        return (t * s - (1 - t)) / ((1 - t) ** 2 + t**2 * s)

    def test_the_best_field_for_gaussian_data_has_the_smallest_loss_there_is(self) -> None:
        s = self.width**2
        least = quad(lambda t: 1 + s - self.slope(t) * (t * s - (1 - t)), 0, 1)[0]
        torch.manual_seed(0)
        x = self.width * torch.randn(400_000, 1, dtype=DOUBLE)
        loss = flow_matching_loss(lambda t, y: self.slope(t[:, None]) * y, x, sigma=0.0)
        # A square of about unit spread: 5 sigma are 5 * 1.2 / sqrt(4e5), beyond in 6e-7 of seeds.
        assert float(loss) == pytest.approx(least, abs=0.01)
        other = flow_matching_loss(lambda t, y: 0.9 * self.slope(t[:, None]) * y, x, sigma=0.0)
        assert other > loss

    def test_the_best_field_carries_noise_to_data(self) -> None:
        best = self

        class Best(nn.Module):
            def with_divergence(self, t, y, context=None):
                slope = best.slope(t[:, None])
                return slope * y, (slope * torch.ones_like(y)).sum(1)

        x, volume = Carried(Best(), tolerance=1e-9).inverse(points(20, width=1))
        torch.testing.assert_close(x, self.width * points(20, width=1), rtol=0, atol=1e-7)
        assert volume.tolist() == pytest.approx([math.log(self.width)] * 20, abs=1e-7)

    def test_weights_count_rows_as_often(self) -> None:
        # The same random numbers for both: the loss is linear in the weights.
        def loss(weight: Tensor | None) -> float:
            torch.manual_seed(0)
            return float(flow_matching_loss(lambda t, y: 0 * y, points(6), weight=weight))

        one, other = torch.tensor([2.0, 0, 1, 0, 0, 0]), torch.tensor([-1.0, 1, 0, 1, 1, 1])
        parts = loss(one.double()) + loss(other.double())
        assert parts == pytest.approx(loss(None), rel=1e-12)
        assert flow_matching_loss(lambda t, y: 0 * y, points(0)) == 0

    def test_times_are_spread_evenly(self) -> None:
        torch.manual_seed(0)
        t = spread_times(points(100))
        assert torch.equal((t * 100).floor().long(), torch.arange(100))
        assert spread_times(points(0)).shape == (0,)

    @pytest.mark.parametrize("number", [0, 1, 2, 7, 64, 129])
    def test_the_assignment_is_as_cheap_as_scipys(self, number) -> None:
        x, z = points(number, 1), points(number, 2)
        z[number // 2 :] = z[: number - number // 2].clone()  # with ties
        found = assignment(x, z)
        cost = torch.cdist(x, z).square().numpy()
        assert sorted(found.tolist()) == list(range(number))
        least = cost[linear_sum_assignment(cost)].sum()
        assert cost[range(number), found.numpy()].sum() == pytest.approx(least, rel=1e-12)


def test_flow_matching_learns_a_gaussian_and_so_does_likelihood() -> None:
    torch.manual_seed(0)
    flow = ContinuousFlow(2, hidden=32, solver="rk4", steps=4, transport=True)
    factor = torch.tensor([[0.5, 0.0], [0.6, 0.4]])
    x = torch.randn(4096, 2) @ factor.mT
    entropy = 1 + math.log(2 * math.pi) + math.log(0.5 * 0.4)

    def train(loss: object, steps: int, rate: float) -> None:
        optimizer = torch.optim.Adam(flow.parameters(), rate)
        for i in range(steps):
            some = x[128 * (i % 32) :][:128]
            optimizer.zero_grad()
            loss(flow, SimpleNamespace(x=some, context=None, weight=None)).backward()  # type: ignore[operator]
            optimizer.step()

    def excess() -> float:
        with torch.no_grad():
            return -float(flow.log_prob(x).mean()) - entropy

    before = excess()
    train(ContinuousFlow.loss, 300, 3e-3)
    matched = excess()
    train(Flow.loss, 30, 1e-3)  # through the solver
    # The sample's own mean differs from the entropy by 1 / sqrt(4096) = 0.016.
    assert before > 0.5
    assert matched < 0.1
    assert excess() < matched
