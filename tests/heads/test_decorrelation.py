"""Penalties on what the scores tell of the mass, against slow definitions and the package dcor."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hepgen.heads import Adversarial, Classification, DistanceCorrelation, distance_correlation
from hepgen.heads.decorrelation import check_penalty, weights_of
from tests.heads.heads import Sums, batch_for, jets_with_masses, tagger_with
from tests.reference.distance_correlation import sample
from tests.taggers.jets import CLASSES

REFERENCE = Path(__file__).parents[1] / "reference" / "distance_correlation.json"


def slow(x, y, w) -> float:
    """The definition, pair by pair."""
    n, total = len(w), sum(w)

    def centred(v):
        a = [[float(np.linalg.norm(v[i] - v[j])) for j in range(n)] for i in range(n)]
        mean = [sum(w[j] * a[i][j] for j in range(n)) / total for i in range(n)]
        grand = sum(w[i] * mean[i] for i in range(n)) / total
        return [[a[i][j] - mean[i] - mean[j] + grand for j in range(n)] for i in range(n)]

    a, b = centred(x), centred(y)
    sums = [
        sum(w[i] * w[j] * p[i][j] * q[i][j] for i in range(n) for j in range(n))
        for p, q in ((a, b), (a, a), (b, b))
    ]
    return sums[0] / (sums[1] * sums[2]) ** 0.5


@pytest.mark.parametrize("width", [1, 3])
def test_distance_correlation_is_its_definition_pair_by_pair(width: int) -> None:
    rng = np.random.default_rng(width)
    x, w = rng.normal(size=(25, width)), rng.uniform(0, 2, 25)
    y = x[:, :1] ** 2 + 0.1 * rng.normal(size=(25, 1))
    got = distance_correlation(*map(torch.as_tensor, (x, y[:, 0], w)))
    assert float(got) == pytest.approx(slow(x, y, w), rel=1e-10)


def test_distance_correlation_is_that_of_the_package_dcor() -> None:
    stored = json.loads(REFERENCE.read_text())
    for case, value in zip(stored["cases"], stored["values"], strict=True):
        x, y = map(torch.as_tensor, sample(*case))
        assert float(distance_correlation(x, y)) == pytest.approx(value, rel=1e-9)


def test_a_weight_of_two_is_the_jet_twice_and_of_none_no_jet() -> None:
    x, y = torch.randn(2, 20, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    w = torch.ones(20, dtype=torch.float64)
    w[3], w[7] = 2, 0
    rows = [i for i in (*range(20), 3) if i != 7]
    expected = distance_correlation(x[rows], y[rows])
    torch.testing.assert_close(distance_correlation(x, y, w), expected)


def test_distance_correlation_is_one_for_lines_and_small_for_strangers() -> None:
    x, y = torch.randn(2, 2000, generator=torch.Generator().manual_seed(0))
    assert float(distance_correlation(x, 3 - 2 * x)) == pytest.approx(1, abs=1e-4)
    assert float(distance_correlation(x, y)) < 0.005


@pytest.mark.parametrize("x", [[], [1.0], [1.0, 1.0], [1.0, 2.0]])
def test_few_or_equal_values_have_a_finite_gradient(x: list[float]) -> None:
    values = torch.tensor(x, requires_grad=True)
    distance_correlation(values, torch.ones(len(x))).backward()
    assert values.grad is not None
    assert values.grad.isfinite().all()
    with pytest.raises(ValueError, match="as many x, y and weights"):
        distance_correlation(values, torch.ones(len(x) + 1))


def test_the_gradient_of_distance_correlation_is_right() -> None:
    x, y, w = torch.rand(3, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    x.requires_grad_()
    assert torch.autograd.gradcheck(lambda x: distance_correlation(x, y, w), [x])


def test_disco_adds_the_correlation_of_the_scores_of_one_class() -> None:
    jets = jets_with_masses([5] * 40)
    head = DistanceCorrelation(Classification(CLASSES), "mass", 7.0, "qcd")
    batch, outputs = batch_for(head, jets), torch.randn(40, 2)
    qcd = batch.y == 1
    expected = distance_correlation(outputs.softmax(1)[qcd, 0], batch.targets[qcd, 0])
    got = head.loss(outputs, batch) - head.head.loss(outputs, batch)
    torch.testing.assert_close(got, 7 * expected, rtol=1e-4, atol=1e-6)


def test_what_a_jet_counts_in_a_penalty() -> None:
    head = DistanceCorrelation(Classification(CLASSES), "mass", for_class="qcd")
    batch = batch_for(head, jets_with_masses([5] * 10))
    batch.weight = torch.linspace(-1, 1, 10)
    expected = batch.weight.abs() * (batch.y == 1)
    torch.testing.assert_close(weights_of("qcd", head.classes, batch), expected)
    del batch.weight
    assert weights_of(None, head.classes, batch).tolist() == [1] * 10
    with pytest.raises(ValueError, match="no class 'x' in Classification, which has top, qcd"):
        check_penalty(head.head, 1.0, "x")


@pytest.mark.parametrize("kind", ["bins", "mixture"])
def test_the_adversary_and_the_tagger_get_opposite_gradients(kind: str) -> None:
    jets = jets_with_masses([5] * 60)
    torch.manual_seed(0)
    head = Adversarial(Classification(CLASSES), "mass", 3.0, "qcd", kind, 4, (8,)).fit(jets)
    batch = batch_for(head, jets)
    outputs = torch.randn(60, 2, requires_grad=True)
    head.loss(outputs, batch).backward()
    got = [outputs.grad, *(p.grad.clone() for p in head.adversary.parameters())]
    # By hand: scores to the adversary, its loss to both.
    head.zero_grad()
    again = outputs.detach().requires_grad_()
    found = head.adversary(again.softmax(dim=1))[batch.y == 1]
    mass = batch.targets[batch.y == 1, 0]
    if kind == "bins":
        against = nn.functional.cross_entropy(found, torch.bucketize(mass, head.edges))
    else:
        from hepgen.heads.densities import mixture_loss

        z = (mass - head.centre) / head.scale
        against = mixture_loss(found.reshape(-1, 4, 3), z).mean()
    task = head.head.loss(again, batch)
    (gradient,) = torch.autograd.grad(task - 3 * against, again, retain_graph=True)
    torch.testing.assert_close(got[0], gradient, rtol=1e-4, atol=1e-7)
    own = torch.autograd.grad(against, list(head.adversary.parameters()))
    for one, two in zip(got[1:], own, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-4, atol=1e-7)
    value = head.loss(outputs, batch)
    # Of the mixture of two a single normal density is a guess.
    guess = math.log(4) if kind == "bins" else (1 + math.log(2 * math.pi)) / 2
    told = min(guess, float(head.adversary_loss(outputs, batch).detach()))
    assert float(value.detach()) == pytest.approx(float(task.detach()) - 3 * told, rel=1e-5)


def test_bins_of_the_adversary_hold_equally_many_jets_of_its_class() -> None:
    jets = jets_with_masses([5] * 400)
    head = Adversarial(Classification(CLASSES), "mass", for_class="qcd", number=5).fit(jets)
    masses = torch.as_tensor(jets.mass[jets.label_qcd].to_numpy())
    counts = torch.bucketize(masses, head.edges.double()).bincount(minlength=5)
    assert counts.max() - counts.min() <= 2
    with pytest.raises(ValueError, match="no adversary of kind 'bins' with 1"):
        Adversarial(Classification(CLASSES), number=1)
    with pytest.raises(ValueError, match="no jets of class 'qcd'"):
        head.fit(jets[jets.label_top])


@pytest.mark.parametrize("name", ["DistanceCorrelation", "Adversarial"])
def test_a_penalty_makes_scores_tell_less_of_the_mass(name: str) -> None:
    """The mass is a function of the number of constituents, which also tells the classes."""
    rng = np.random.default_rng(5)
    jets = jets_with_masses(rng.integers(1, 40, 400).tolist())
    jets["mass"] = np.diff(jets.constituents.layout.offsets.data).astype(float)
    jets["label_top"] = rng.uniform(size=400) < jets.mass / 40
    jets["label_qcd"] = ~jets.label_top
    told = []
    for strength in (0.0, 10.0):
        kind = {"DistanceCorrelation": DistanceCorrelation, "Adversarial": Adversarial}[name]
        head = kind(Classification(CLASSES), "mass", strength)
        tagger = tagger_with(head, jets, kind=Sums)
        batch = batch_for(head, jets)
        optimizer = torch.optim.Adam(tagger.parameters(), lr=0.01)
        for _ in range(150):
            optimizer.zero_grad()
            tagger.loss(batch).backward()
            optimizer.step()
        scores = torch.as_tensor(tagger.predict(jets))
        told.append(float(distance_correlation(scores[:, 0], batch.targets[:, 0])))
    assert told[1] < told[0] / 3
