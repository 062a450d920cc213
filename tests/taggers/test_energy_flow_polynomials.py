"""The linear tagger of energy flow polynomials: Fisher's discriminant, parameters, what it sees."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from hepgen import checkpoint
from hepgen.data import Features, PackedJets, energy_flow_polynomials, make_batch
from hepgen.taggers import EnergyFlowPolynomials
from tests.taggers.jets import CLASSES, make, make_jets, make_packed

COUNTS = np.random.default_rng(5).integers(2, 60, 600).tolist()


def polynomials(packed: PackedJets, max_degree: int) -> np.ndarray:
    return energy_flow_polynomials(packed.p4, packed.offsets, max_degree)[:, 1:]


def decision(tagger: EnergyFlowPolynomials, packed: PackedJets) -> np.ndarray:
    with torch.no_grad():
        logits = tagger.eval()(packed.batch(slice(None)))
    return (logits[:, 1] - logits[:, 0]).double().numpy()


def test_it_has_the_published_number_of_parameters() -> None:
    tagger = EnergyFlowPolynomials(Features(), CLASSES)
    # 1000 of each logit, of which softmax knows the difference only.
    assert sum(p.numel() for p in tagger.parameters()) == 2 * 1000


@pytest.mark.parametrize("max_degree", [1, 2, 3, 4])
@pytest.mark.parametrize("solver", ["svd", "lsqr"])
def test_fisher_is_that_of_sklearn(max_degree, solver) -> None:
    train, test = make_packed(COUNTS), make_packed(COUNTS[:100], seed=1)
    inputs = polynomials(train, max_degree)
    deviation = inputs.std(axis=0)
    reference = LinearDiscriminantAnalysis(solver=solver).fit(inputs / deviation, train.y)
    expected = reference.decision_function(polynomials(test, max_degree) / deviation)
    tagger = EnergyFlowPolynomials(Features(), CLASSES, max_degree=max_degree).double()
    tagger.fit_fisher(train, tolerance=1e-4 if solver == "svd" else 1e-12)
    np.testing.assert_allclose(decision(tagger, test), expected, rtol=1e-6, atol=1e-6)


def test_fisher_of_three_classes_is_that_of_sklearn_too() -> None:
    packed = make_packed(COUNTS)
    three = PackedJets(
        packed.x, packed.pos, packed.p4, packed.offsets,
        np.minimum(packed.y + (np.diff(packed.offsets) > 40), 2), packed.weight,
    )  # fmt: skip
    inputs = polynomials(packed, 3)
    expected = LinearDiscriminantAnalysis().fit(inputs, three.y).predict_proba(inputs)
    tagger = EnergyFlowPolynomials(Features(), ["a", "b", "c"], max_degree=3)
    tagger.fit_fisher(three)
    np.testing.assert_allclose(tagger.predict(three), expected, rtol=1e-4, atol=1e-6)


def test_fisher_of_all_polynomials_tells_two_cores_from_one() -> None:
    tagger = EnergyFlowPolynomials(Features(), CLASSES)
    tagger.fit_fisher(make_jets(COUNTS))
    test = make_packed(COUNTS, seed=1)
    assert float(tagger.eval().accuracy(test.batch(slice(None)))) > 0.95


def test_weights_of_jets_count_in_fisher() -> None:
    packed = make_packed(COUNTS)
    twice = np.concatenate([np.arange(len(packed)), np.flatnonzero(packed.y == 0)])
    copies = packed.batch(twice)
    repeated = PackedJets(
        copies.x.numpy(), copies.pos.numpy(), copies.p4.numpy(), copies.ptr.numpy(),
        copies.y.numpy(), copies.weight.numpy(),
    )  # fmt: skip
    weighted = PackedJets(
        packed.x, packed.pos, packed.p4, packed.offsets, packed.y,
        np.where(packed.y == 0, 2, 1).astype(np.float32),
    )  # fmt: skip
    results = []
    for jets in (repeated, weighted):
        tagger = EnergyFlowPolynomials(Features(), CLASSES, max_degree=3)
        tagger.fit_fisher(jets)
        results.append(decision(tagger, packed))
    np.testing.assert_allclose(*results, rtol=1e-4, atol=1e-4)


def test_training_may_go_on_from_fisher() -> None:
    torch.manual_seed(0)
    train = make_packed(COUNTS)
    tagger = EnergyFlowPolynomials(Features(), CLASSES, max_degree=4)
    tagger.fit_fisher(train)
    before = decision(tagger, train)
    loss = float(tagger.loss(train.batch(slice(None))).detach())
    optimizer = torch.optim.Adam(tagger.train().parameters(), lr=1e-4)
    for batch in tagger.batches(train, batch_size=60).epoch(0):
        optimizer.zero_grad()
        tagger.loss(batch).backward()
        optimizer.step()
    after = decision(tagger, train)
    assert np.corrcoef(before, after)[0, 1] > 0.99
    assert float(tagger.loss(train.batch(slice(None))).detach()) < loss


def test_a_saved_fisher_gives_the_same_scores(tmp_path) -> None:
    packed = make_packed(COUNTS)
    tagger = EnergyFlowPolynomials(Features(), CLASSES, max_degree=4)
    tagger.fit_fisher(packed)
    tagger.save(tmp_path / "model.safetensors")
    loaded = checkpoint.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.predict(packed), tagger.predict(packed))


def test_features_do_not_enter() -> None:
    tagger = EnergyFlowPolynomials(Features(), CLASSES, max_degree=4).eval()
    batch = make([20, 30])
    other = make_batch(batch.x + 1, batch.ptr, p4=batch.p4, y=batch.y)
    assert torch.equal(tagger(other), tagger(batch))


def test_scores_are_infrared_and_collinear_safe() -> None:
    tagger = EnergyFlowPolynomials(Features(), CLASSES).double()
    tagger.fit_fisher(make_packed(COUNTS))
    p4 = make([30], dtype=torch.float64).p4
    soft = torch.tensor([[1e-12, 1e-12, 0, 0]])
    half = p4[:1] / 2
    results = [
        tagger.eval()(make_batch(torch.zeros(len(x), 7), torch.tensor([0, len(x)]), p4=x))
        for x in (p4, torch.cat([p4, soft]), torch.cat([half, p4[1:], half]))
    ]
    for changed in results[1:]:
        torch.testing.assert_close(changed, results[0], rtol=1e-6, atol=1e-6)


@pytest.mark.parametrize("arguments", [{"max_degree": 0}, {"max_degree": 8}, {"beta": 0}])
def test_arguments_without_meaning_are_refused(arguments) -> None:
    with pytest.raises(ValueError, match="EnergyFlowPolynomials needs max_degree of 1 to 7"):
        EnergyFlowPolynomials(Features(), CLASSES, **arguments)


def test_fisher_needs_jets_of_each_class() -> None:
    jets = make_jets(COUNTS[:50])
    tagger = EnergyFlowPolynomials(Features(), CLASSES, max_degree=2)
    with pytest.raises(ValueError, match=r"there are none of \['top'\]"):
        tagger.fit_fisher(jets[~jets.label_top])
    negative = PackedJets.pack(jets, Features(), CLASSES)
    negative.weight[0] = -1
    with pytest.raises(ValueError, match="weights of jets that are not negative"):
        tagger.fit_fisher(negative)
    with pytest.raises(ValueError, match="needs y of a batch"):
        tagger.fit_fisher(make_packed(COUNTS[:50], labels=False))
