"""Losses and predictions of regression against torch's and scikit-learn's own."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.metrics import mean_pinball_loss
from torch.distributions import Categorical, LogNormal, MixtureSameFamily, Normal

from hepgen.data import Features, make_batch
from hepgen.heads import Regression
from hepgen.heads.densities import (
    Moments,
    mixture_loss,
    mixture_parts,
    normal_loss,
    normal_moments,
    ordered,
    pinball_loss,
)
from tests.heads.heads import Sums, jets_with_masses

CENTRE, SCALE = torch.tensor(3.0, dtype=torch.float64), torch.tensor(0.7, dtype=torch.float64)


@pytest.fixture
def outputs() -> torch.Tensor:
    return torch.randn(50, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


@pytest.fixture
def z() -> torch.Tensor:
    return torch.randn(50, generator=torch.Generator().manual_seed(1), dtype=torch.float64)


def spread(raw: torch.Tensor) -> torch.Tensor:
    return (5 * torch.tanh(raw / 5) / 2).exp()


def test_the_normal_loss_is_minus_the_logarithm_of_the_density(outputs, z) -> None:
    expected = -Normal(outputs[:, 0], spread(outputs[:, 1])).log_prob(z)
    torch.testing.assert_close(normal_loss(outputs[:, :2], z), expected, rtol=1e-12, atol=1e-12)


def test_the_mixture_loss_is_minus_the_logarithm_of_the_density(outputs, z) -> None:
    parts = outputs.reshape(50, 4, 3)
    density = MixtureSameFamily(
        Categorical(logits=parts[..., 0]), Normal(parts[..., 1], spread(parts[..., 2]))
    )
    torch.testing.assert_close(mixture_loss(parts, z), -density.log_prob(z), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("log", [False, True])
def test_moments_are_those_of_the_target_in_its_own_units(outputs, log) -> None:
    kind = LogNormal if log else Normal
    mean, sigma = CENTRE + SCALE * outputs[:, 0], SCALE * spread(outputs[:, 1])
    got = normal_moments(outputs[:, :2], CENTRE, SCALE, log=log)
    assert isinstance(got, Moments)
    torch.testing.assert_close(got.mean, kind(mean, sigma).mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(got.sigma, kind(mean, sigma).stddev, rtol=1e-10, atol=1e-12)


def test_moments_of_a_mixture_are_those_of_torch(outputs) -> None:
    parts = outputs.reshape(50, 4, 3)
    whole, share, each = mixture_parts(parts, CENTRE, SCALE, log=False)
    density = MixtureSameFamily(Categorical(share), Normal(each.mean, each.sigma))
    torch.testing.assert_close(whole.mean, density.mean, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(whole.sigma, density.stddev, rtol=1e-10, atol=1e-12)


def test_the_pinball_loss_is_that_of_scikit_learn(outputs, z) -> None:
    levels = (0.1, 0.5, 0.9)
    got = pinball_loss(outputs[:, :3], z, levels).mean()
    columns = zip(ordered(outputs[:, :3]).T, levels, strict=True)
    expected = np.mean([mean_pinball_loss(z, q, alpha=level) for q, level in columns])
    assert float(got) == pytest.approx(expected, rel=1e-12)


def test_quantiles_never_cross(outputs) -> None:
    assert (ordered(100 * outputs).diff(dim=1) >= 0).all()


@pytest.mark.parametrize("space", ["linear", "log"])
@pytest.mark.parametrize("kind", ["gaussian", "quantile", "mixture"])
def test_a_constant_network_learns_what_the_sample_is(kind, space) -> None:
    rng = np.random.default_rng(0)
    truth = rng.gamma(9.0, 10.0, 4000) if space == "linear" else np.exp(rng.normal(4, 0.5, 4000))
    head = Regression(["mass"], kind, space, components=2)
    head.fit_targets(truth[:, None], None)
    raw = torch.zeros(head.width, requires_grad=True)
    with torch.no_grad():
        raw += 0.1 * torch.randn(head.width, generator=torch.Generator().manual_seed(0))
    jets = make_batch(torch.zeros(0, 1), torch.zeros(4001, dtype=torch.int64))
    jets.targets = torch.as_tensor(truth[:, None], dtype=torch.float32)
    optimizer = torch.optim.Adam([raw], lr=0.05)
    for _ in range(400):
        optimizer.zero_grad()
        head.loss(raw.expand(4000, -1), jets).backward()
        optimizer.step()
    found = dict(zip(head.names, head.scores(raw[None]).detach()[0].tolist(), strict=True))
    if kind == "quantile":
        assert list(found) == ["mass_q16", "mass_q50", "mass_q84"]
        expected = np.quantile(truth, [0.16, 0.5, 0.84])
        np.testing.assert_allclose(list(found.values()), expected, rtol=0.02)
    else:
        # 4000 values: 0.8 % of the mean's error, 1.6 % of the width's, more for heavy tails.
        assert found["mass_mean"] == pytest.approx(truth.mean(), rel=0.03)
        assert found["mass_sigma"] == pytest.approx(truth.std(), rel=0.1)


def test_the_scale_of_the_targets_is_that_of_the_training_jets() -> None:
    jets = jets_with_masses([5] * 30)
    head = Regression(["mass", "log(pt)"]).fit(jets)
    assert head.targets == ("mass", "log(pt)")
    assert head.names == ("mass_mean", "mass_sigma", "log_pt_mean", "log_pt_sigma")
    np.testing.assert_allclose(head.centre, [np.mean(jets.mass), np.mean(np.log(jets.pt))], 1e-5)
    np.testing.assert_allclose(head.scale, [np.std(jets.mass), np.std(np.log(jets.pt))], 1e-4)
    logarithmic = Regression({"m": "mass"}, space="log").fit(jets)
    assert float(logarithmic.centre) == pytest.approx(np.mean(np.log(jets.mass)), rel=1e-5)


def test_its_scale_moves_and_is_saved_with_the_tagger() -> None:
    tagger = Sums(Features(), Regression(["mass"]).fit(jets_with_masses([5] * 30)))
    assert {"head.centre", "head.scale"} <= set(tagger.state_dict())
    assert tagger.double().head.centre.dtype == torch.float64


def test_logarithms_need_positive_targets() -> None:
    with pytest.raises(ValueError, match=r"'mass - 100' in log units should be above 0; .* of 20"):
        Regression(["mass - 100"], space="log").fit(jets_with_masses([5] * 20))


@pytest.mark.parametrize(
    ("arguments", "error", "told"),
    [
        ({"targets": []}, ValueError, "one or more"),
        ({"targets": ["m", "m"]}, ValueError, "different names"),
        ({"targets": "mass"}, TypeError, "sequence of expressions"),
        (
            {"targets": ["m"], "space": "logarithm"},
            ValueError,
            "space should be one of",
        ),
        ({"targets": ["m"], "levels": (0.5, 0.1)}, ValueError, "levels should ascend"),
        ({"targets": ["m"], "levels": ()}, ValueError, "levels should ascend"),
        ({"targets": ["m"], "levels": (0, 1)}, ValueError, "levels should ascend"),
        ({"targets": ["m"], "components": 0}, ValueError, "components should be at least 1"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments, error, told) -> None:
    with pytest.raises(error, match=told):
        Regression(**arguments)


def test_quantiles_are_named_by_percent() -> None:
    head = Regression(["mass"], "quantile", levels=(0.025, 0.5))
    assert head.names == ("mass_q2_5", "mass_q50")
