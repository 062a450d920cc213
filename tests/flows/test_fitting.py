"""Fitting by the common trainer: batches, maximum likelihood, resuming, bad input."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
import torch
from nflows.transforms import PointwiseAffineTransform
from sklearn.covariance import EmpiricalCovariance
from torch import Tensor

from hepgen import training
from hepgen.flows.bases import StandardNormal
from hepgen.flows.continuous import ContinuousFlow
from hepgen.flows.fitting import check_names, fit
from hepgen.flows.flow import Flow
from hepgen.flows.masked_autoregressive_flow import MaskedAutoregressiveFlow
from hepgen.flows.neural_spline_flow import NeuralSplineFlow
from hepgen.flows.rows import RowBatches, Rows
from hepgen.flows.tabular import TabularDensity

QUIET: dict[str, Any] = {"progress": False, "accelerator": "cpu"}


def gaussian(number: int, seed: int = 0) -> Tensor:
    factor = torch.tensor([[1.0, 0.0], [0.8, 0.5]])
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(number, 2, generator=generator) @ factor.mT + 0.5


def maf(seed: int = 1, **options: Any) -> MaskedAutoregressiveFlow:
    torch.manual_seed(seed)
    return MaskedAutoregressiveFlow(2, num_transforms=2, hidden=16, **options)


class TestRowBatches:
    rows = Rows(torch.arange(23.0, dtype=torch.float64)[:, None], weight=torch.ones(23))

    def batches(self, **changes: Any) -> RowBatches:
        return RowBatches(self.rows, **{"batch_size": 5, "shuffle": True, "seed": 1, **changes})

    def test_each_row_comes_once_an_epoch_in_an_order_of_seed_and_epoch(self) -> None:
        batches = self.batches()
        assert isinstance(batches, training.sources.BatchSource)
        first = [batch.x for batch in batches.epoch(0)]
        assert sorted(map(len, first)) == [4, 4, 5, 5, 5]
        assert len(batches) == 5
        assert sorted(torch.cat(first).flatten().tolist()) == list(range(23))
        assert all(torch.equal(a, b.x) for a, b in zip(first, batches.epoch(0), strict=True))
        assert not torch.equal(first[0][:4], next(batches.epoch(1)).x[:4])
        assert not torch.equal(first[0][:4], next(self.batches(seed=2).epoch(0)).x[:4])
        rest = [batch.x for batch in batches.epoch(0, 3)]
        assert all(torch.equal(a, b) for a, b in zip(first[3:], rest, strict=True))
        plain = [batch.x for batch in self.batches(shuffle=False).epoch(0)]
        assert torch.cat(plain).flatten().tolist() == list(range(23))

    def test_noise_is_a_function_of_the_place(self) -> None:
        def prepare(x: Tensor, generator: torch.Generator) -> Tensor:
            return x + torch.rand(x.shape, generator=generator, dtype=x.dtype)

        batches = self.batches(prepare=prepare, dtype=torch.float64)
        a, b = (torch.cat([batch.x for batch in batches.epoch(2)]) for _ in range(2))
        assert torch.equal(a, b)
        assert torch.equal(next(batches.epoch(2, 4)).x, a[-len(next(batches.epoch(2, 4))) :])
        assert not torch.equal(
            torch.cat([batch.x for batch in batches.epoch(3)]).sort(0)[0], a.sort(0)[0]
        )

    def test_batches_tell_their_table(self) -> None:
        mark = training.sources.fingerprint(self.batches())
        assert mark == training.sources.fingerprint(self.batches())
        other = RowBatches(
            Rows(self.rows.x + 1e-9, weight=self.rows.weight), batch_size=5, shuffle=True, seed=1
        )
        assert mark != training.sources.fingerprint(other)
        batch = next(self.batches(dtype=torch.float16).epoch(0))
        assert set(batch.to_dict()) == {"x", "weight", "origin"}
        assert (batch.x.dtype, batch.to("cpu", torch.float64).x.dtype) == (
            torch.float16,
            torch.float64,
        )
        assert batch.origin is not None
        assert batch.origin.dtype == torch.int64

    def test_nothing_to_batch_is_told(self) -> None:
        with pytest.raises(ValueError, match="batch_size=0"):
            self.batches(batch_size=0)
        with pytest.raises(ValueError, match="no rows"):
            RowBatches(self.rows.take(slice(0)), batch_size=1, shuffle=False, seed=0)


def test_maximum_likelihood_reaches_the_gaussian_of_sklearn() -> None:
    # One layer of a masked autoregressive flow is a Gaussian with any covariance.
    x = gaussian(3000)
    torch.manual_seed(0)
    flow = MaskedAutoregressiveFlow(2, num_transforms=1, hidden=16)
    history = fit(flow, x, validation=None, epochs=30, lr=1e-2, batch_size=500, **QUIET)
    best = EmpiricalCovariance().fit(x.numpy()).score(x.numpy())
    got = float(flow.log_prob(x).mean().detach())
    # A network more flexible than a line finds a little more than that.
    assert got == pytest.approx(best, abs=5e-3)
    assert len(history) == 30
    assert history["train_loss"][-1] == pytest.approx(-best, abs=2e-2)


def test_weights_make_one_sample_another() -> None:
    # Rows of weight w count as w rows; minus one takes a row away again.
    generator = np.random.default_rng(0)
    x = generator.normal(0, 1, (4000, 1))
    # Weights of exp(x) move a normal distribution by one.
    flow = Flow(Shift(), StandardNormal(1))
    fit(flow, x, weights=np.exp(x[:, 0]), epochs=20, lr=3e-2, schedule="cosine", **QUIET)
    expected = (np.exp(x) * x).sum() / np.exp(x).sum()
    assert float(flow.transform.shift.detach()) == pytest.approx(expected, abs=0.05)
    doubled = np.concatenate([x, x[:1000] + 5])
    weights = np.concatenate([np.ones(4000), np.zeros(1000)])
    weights[3000:4000], weights[4000:] = 2.0, -1e-3
    flow = Flow(Shift(), StandardNormal(1))
    fit(flow, doubled, weights=weights, epochs=20, lr=3e-2, **QUIET)
    expected = (weights @ doubled[:, 0]) / weights.sum()
    assert float(flow.transform.shift.detach()) == pytest.approx(expected, abs=0.05)


class Shift(PointwiseAffineTransform):
    """x - shift, the shift to be learnt."""

    def __init__(self) -> None:
        super().__init__()
        self.shift = torch.nn.Parameter(torch.zeros(()))

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        return inputs - self.shift, inputs.new_zeros(len(inputs))


def test_a_run_that_was_stopped_ends_with_the_same_bits(tmp_path, monkeypatch) -> None:
    table = {"a": gaussian(300)[:, 0].numpy(), "n": np.arange(300) % 4}
    columns = ["a", {"name": "n", "kind": "discrete"}]
    options = {"epochs": 4, "batch_size": 60, "checkpoint_steps": 2, "patience": 9, **QUIET}

    def run(folder: str) -> TabularDensity:
        density = TabularDensity(maf(), columns)
        fit(density, table, output=tmp_path / folder, **options)
        return density

    whole = run("whole")
    calls = iter(range(1000))
    loss = TabularDensity.loss

    def stops(self: TabularDensity, batch: Rows) -> Tensor:
        if next(calls) == 9:
            raise KeyboardInterrupt
        return loss(self, batch)

    with monkeypatch.context() as patch:
        patch.setattr(TabularDensity, "loss", stops)
        with pytest.raises(KeyboardInterrupt):
            run("stopped")
    again = run("stopped")
    for name, weights in whole.state_dict().items():
        assert torch.equal(weights, again.state_dict()[name]), name
    assert again.columns == whole.columns
    other = {**table, "a": table["a"] + 1e-3}
    with pytest.raises(training.DifferentRun):
        fit(TabularDensity(maf(), columns), other, output=tmp_path / "stopped", **options)


def test_validation_is_a_share_or_a_sample_or_none() -> None:
    x = gaussian(200)
    for validation in (0.25, {"x": gaussian(50, 2)}, (gaussian(50, 2), None, np.ones(50))):
        history = fit(maf(), x, validation=validation, epochs=2, **QUIET)
        assert len(history["validation_loss"]) == 2
    assert "validation_loss" not in fit(maf(), x, validation=None, epochs=1, **QUIET).columns
    for wrong in (0.0, 1.5, "half", {"y": x}):
        with pytest.raises(ValueError, match="validation"):
            fit(maf(), x, validation=wrong, epochs=1, **QUIET)  # type: ignore[arg-type]


def test_context_goes_with_its_rows_and_float64_is_had_by_precision() -> None:
    context = torch.linspace(-2, 2, 2000)[:, None]
    x = 2 * context + torch.randn(2000, 1, generator=torch.Generator().manual_seed(0))
    torch.manual_seed(0)
    flow = MaskedAutoregressiveFlow(1, 1, num_transforms=1, hidden=16)
    fit(flow, x, context=context, precision="64-true", epochs=15, batch_size=100, lr=1e-2, **QUIET)
    assert next(flow.parameters()).dtype == torch.float64
    with torch.no_grad():
        got = -float(flow.log_prob(x.double(), context.double()).mean())
    # Entropy of unit width; its mean over the sample is off by 0.016.
    assert got == pytest.approx(0.5 * (1 + math.log(2 * math.pi)), abs=0.05)


def test_a_continuous_flow_is_fitted_by_its_own_loss() -> None:
    torch.manual_seed(0)
    flow = ContinuousFlow(2, hidden=32, solver="rk4", steps=8)
    x = gaussian(2000)
    before = float(flow.log_prob(x).mean().detach())
    fit(flow, x, epochs=30, lr=3e-3, ema=0.99, **QUIET)
    assert float(flow.log_prob(x).mean().detach()) > before + 0.5


def nan_in_row_3() -> Tensor:
    x = gaussian(100)
    x[3, 1] = math.nan
    return x


@pytest.mark.parametrize(
    ("x", "options", "told"),
    [
        (nan_in_row_3(), {}, r"'x\[:, 1\]': 1 of 100 values are not finite; .* row 3"),
        (gaussian(5), {}, "x has 5 rows: too few for a density, wanted 10"),
        (gaussian(50)[:, :1], {}, r"x has shape \(50, 1\); wanted \(N, 2\)"),
        (gaussian(50) * torch.tensor([1.0, 0.0]), {}, r"'x\[:, 1\]' holds nothing but"),
        ({"a": np.ones(50), "b": np.arange(50.0)}, {}, "'a' holds nothing but 1.0"),
        (gaussian(50), {"context": gaussian(50)}, r"context has shape \(50, 2\); wanted \(N, 0\)"),
        (gaussian(50), {"weights": np.ones(49)}, "weight has 49 rows, x 50"),
        (gaussian(50), {"weights": -np.ones(50)}, "mean of the weights is -1.0"),
        (gaussian(50), {"weights": np.ones((50, 1))}, r"weights have shape \(50, 1\)"),
        (gaussian(50), {"weights": np.full(50, math.inf)}, "'weights': 50 of 50 values"),
    ],
)
def test_bad_samples_are_told(x, options, told) -> None:
    with pytest.raises(ValueError, match=told):
        fit(maf(), x, epochs=1, **options, **QUIET)


def test_other_bad_input_is_told() -> None:
    x = gaussian(50)
    with pytest.raises(ValueError, match="MaskedAutoregressiveFlow has context=1; none is given"):
        fit(maf(context=1), x, epochs=1, **QUIET)
    with pytest.raises(ValueError, match=r"of 50 rows of x are outside the unit cube"):
        fit(NeuralSplineFlow(2, hidden=8), x, epochs=1, **QUIET)
    with pytest.raises(TypeError, match="no argument 'epoch_size'; nearest: "):
        check_names({"epoch_size": 3})
    with pytest.raises(TypeError, match="no argument 'learning_rate'"):
        fit(maf(), x, learning_rate=1.0, **QUIET)
    with pytest.raises(TypeError, match="Linear is neither a Flow nor a TabularDensity"):
        fit(torch.nn.Linear(2, 2), x, **QUIET)  # type: ignore[arg-type]
    density = TabularDensity(maf(), ["a", "b"])
    with pytest.raises(ValueError, match="the context of a TabularDensity is columns of its table"):
        fit(density, x, context=x, **QUIET)
    with pytest.raises(ValueError, match="no column 'w'"):
        fit(density, {"a": x[:, 0], "b": x[:, 1]}, weights="w", **QUIET)
