"""Calibrations and spreads against scipy, scikit-learn, torch.func and definitions."""

from __future__ import annotations

from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import torch
import uproot
from scipy.optimize import minimize_scalar
from sklearn.isotonic import IsotonicRegression
from sklearn.metrics import log_loss
from torch import nn

import hepgen
from hepgen import certainty, checkpoint
from hepgen.certainty import (
    BayesianLastLayer,
    Certain,
    Ensemble,
    Isotonic,
    MonteCarloDropout,
    Prediction,
    Temperature,
    isotonic_regression,
)
from hepgen.certainty.certain import Moments, entropy, labelled
from hepgen.data import Features, PackedJets
from hepgen.heads import Classification, DistanceCorrelation, Joint, Regression
from hepgen.metrics import expected_calibration_error
from hepgen.taggers import ParticleFlowNetwork, ParticleNetLite, Tagger
from tests.heads.heads import jets_with_masses
from tests.taggers.jets import CLASSES, make_jets

COUNTS = np.random.default_rng(0).integers(1, 30, 300).tolist()


def tagger(seed: int = 0, classes=CLASSES) -> Tagger:
    torch.manual_seed(seed)
    made = ParticleFlowNetwork(Features(), classes, (8,), (6,)).eval()
    with torch.no_grad():
        made.out.weight *= 2
    return made


@pytest.fixture(scope="module")
def jets() -> ak.Array:
    return jets_with_masses(COUNTS)


@pytest.fixture(scope="module")
def dropping() -> Tagger:
    torch.manual_seed(0)
    small = {"conv_channels": ((8, 8, 8),), "fc_channels": (8,), "k": 3}
    return ParticleNetLite(Features(), CLASSES, **small, dropout=0.4).eval()


def made(kind: str, jets: ak.Array, dropping: Tagger) -> Certain:
    if kind == "Ensemble":
        return Ensemble([tagger(0), tagger(1), dropping])
    if kind == "MonteCarloDropout":
        return MonteCarloDropout(dropping, samples=5)
    if kind == "BayesianLastLayer":
        return BayesianLastLayer(tagger()).fit(jets)
    if kind == "Isotonic":
        return Isotonic(Ensemble([tagger(0), tagger(1)])).fit(jets)
    return Temperature(tagger()).fit(jets)


KINDS = [name for name in certainty.__all__ if name[0].isupper()]
KINDS = [name for name in KINDS if name not in ("Certain", "Prediction")]


@pytest.mark.parametrize("kind", KINDS)
class TestEveryKind:
    def test_gives_probabilities_and_what_its_columns_say(self, kind, jets, dropping) -> None:
        model = made(kind, jets, dropping)
        scores = model.predict(jets)
        assert scores.dtype == np.float32
        assert scores.shape == (len(jets), 2)
        np.testing.assert_allclose(scores.sum(axis=1), 1, rtol=1e-5)
        columns = model.predict_columns(jets)
        assert columns.shape == (len(jets), len(model.column_names))
        np.testing.assert_array_equal(columns[:, :2], scores)
        assert model.column_names[:2] == model.classes == CLASSES
        found = model.prediction(jets)
        assert isinstance(found, Prediction)
        if model.tells_spread:
            mean, spread = model.predict_with_spread(jets)
            np.testing.assert_array_equal(mean, scores)
            assert (spread > 0).all()
        else:
            with pytest.raises(ValueError, match="tells no spread"):
                model.predict_with_spread(jets)

    def test_is_saved_in_one_file_with_what_is_inside(self, kind, jets, dropping, tmp_path) -> None:
        model = made(kind, jets, dropping)
        model.save(tmp_path / "model.safetensors")
        loaded = hepgen.load(tmp_path / "model.safetensors")
        assert type(loaded) is type(model)
        assert loaded.config() == model.config()
        np.testing.assert_array_equal(loaded.predict_columns(jets), model.predict_columns(jets))
        described = checkpoint.describe(tmp_path / "model.safetensors")
        assert (described.package, described.format) == ("certainty", 2)
        assert set(described.parts) == set(model.parts())

    def test_scores_no_jets(self, kind, jets, dropping) -> None:
        assert made(kind, jets, dropping).predict(make_jets([])).shape == (0, 2)

    def test_scores_packed_jets_as_the_others(self, kind, jets, dropping) -> None:
        model = made(kind, jets, dropping)
        packed = PackedJets.pack(jets, Features(), CLASSES)
        np.testing.assert_array_equal(model.predict(packed), model.predict(jets))

    def test_writes_its_columns_beside_a_file(self, kind, jets, dropping, tmp_path) -> None:
        model = made(kind, jets, dropping)
        sample = Path(__file__).parents[2] / "data_samples" / "top_qcd.root"
        with uproot.open(sample) as file:
            rows = file["tree"].arrays(entry_stop=40)
        hepgen.write(tmp_path / "in.root", {n: rows[n] for n in rows.fields if n != "npart"})
        (friend,) = hepgen.predict_files(
            model, tmp_path / "in.root", tmp_path / "out.root", progress=False
        )
        with uproot.open(friend) as file:
            names = set(file["hepgen"].keys())
        spreads = {"spread_top", "spread_qcd"} if model.tells_spread else set()
        told = {"mutual_information"} if model.tells_information else set()
        assert names - {"event"} == {"score_top", "score_qcd"} | spreads | told


def test_the_temperature_is_that_of_scipy(jets) -> None:
    model = tagger()
    label = ak.to_numpy(jets.label_qcd).astype(int)
    logarithm = np.log(model.predict(jets).astype(np.float64))

    def loss(log_t: float) -> float:
        scaled = logarithm / np.exp(log_t)
        scaled -= np.log(np.exp(scaled).sum(axis=1, keepdims=True))
        return -scaled[np.arange(len(label)), label].mean()

    expected = minimize_scalar(loss, bounds=(-5, 9), method="bounded", options={"xatol": 1e-10})
    fitted = Temperature(model).fit(jets)
    assert float(fitted.temperature) == pytest.approx(np.exp(expected.x), rel=1e-5)
    scores = fitted.predict(jets)
    assert log_loss(label, scores) == pytest.approx(expected.fun, rel=1e-6)
    assert log_loss(label, scores) < log_loss(label, model.predict(jets))
    softer = np.exp(logarithm / float(fitted.temperature))
    np.testing.assert_allclose(scores, softer / softer.sum(axis=1, keepdims=True), rtol=1e-5)


def test_a_tagger_that_is_too_sure_is_made_as_sure_as_it_is_right() -> None:
    rng = np.random.default_rng(1)
    jets = make_jets([3] * 6000)
    model = tagger()
    logit = torch.logit(torch.from_numpy(model.predict(jets)[:, 0].astype(np.float64)))
    # Labels drawn at four times the temperature of the scores.
    top = rng.uniform(size=6000) < torch.sigmoid(logit / 4).numpy()
    jets["label_top"], jets["label_qcd"] = top, ~top
    for kind in (Temperature, Isotonic):
        fitted = kind(model).fit(jets[:4000])
        before, after = (
            expected_calibration_error(~top[4000:], m.predict(jets[4000:])[:, 1])
            for m in (model, fitted)
        )
        assert after.value < before.value
        # The error of 2000 jets in ten bins, and of a fit to 4000.
        assert after.value < 2.5 * after.floor
    assert float(Temperature(model).fit(jets).temperature) == pytest.approx(4, rel=0.3)


@pytest.mark.parametrize("seed", range(4))
def test_isotonic_regression_is_that_of_scikit_learn(seed: int) -> None:
    rng = np.random.default_rng(seed)
    x = np.round(rng.normal(size=400), 1 + seed)
    y = (rng.uniform(size=400) < 1 / (1 + np.exp(-x))).astype(float)
    weights = rng.uniform(0.1, 2, 400)
    knots, values = isotonic_regression(x, y, weights)
    theirs = IsotonicRegression(out_of_bounds="clip").fit(x, y, sample_weight=weights)
    points = np.concatenate([rng.uniform(-4, 4, 500), x])
    got = np.interp(points, knots, values)
    np.testing.assert_allclose(got, theirs.predict(points), atol=1e-10)
    assert (np.diff(values) >= 0).all()


def test_isotonic_regression_of_few_values() -> None:
    assert [a.tolist() for a in isotonic_regression([2.0], [0.5])] == [[2.0], [0.5]]
    assert isotonic_regression([1, 2], [1, 0])[1].tolist() == [0.5, 0.5]
    assert isotonic_regression([1, 1], [1, 0])[1].tolist() == [0.5]
    for wrong, told in (
        (([], []), "equally many"),
        (([1, 2], [1]), "equally many"),
        (([1, 2], [1, 2], [1, 0]), "weights should be positive"),
    ):
        with pytest.raises(ValueError, match=told):
            isotonic_regression(*wrong)


def test_isotonic_calibration_is_one_function_a_class_scaled_to_one(jets) -> None:
    model = tagger()
    scores, label = model.predict(jets), ak.to_numpy(jets.label_qcd).astype(int)
    each = np.stack(
        [
            IsotonicRegression(out_of_bounds="clip").fit(scores[:, k], label == k)
            .predict(scores[:, k])
            for k in (0, 1)
        ],
        axis=1,
    )  # fmt: skip
    got = Isotonic(model).fit(jets).predict(jets)
    np.testing.assert_allclose(got, each / each.sum(axis=1, keepdims=True), atol=1e-6)
    with pytest.raises(ValueError, match="Isotonic is not fitted yet"):
        Isotonic(model).predict(jets)
    with pytest.raises(ValueError, match="3 sizes for the classes top, qcd"):
        Isotonic(model, [1, 2, 3])


def test_an_ensemble_is_mean_spread_and_mutual_information(jets) -> None:
    members = [tagger(0), tagger(1), tagger(2)]
    each = np.stack([member.predict(jets) for member in members]).astype(np.float64)
    found = Ensemble(members).prediction(jets)
    np.testing.assert_allclose(found.mean, each.mean(axis=0), rtol=1e-6)
    np.testing.assert_allclose(found.spread, each.std(axis=0, ddof=1), rtol=1e-4, atol=1e-7)
    of_mean = -(each.mean(0) * np.log(each.mean(0))).sum(axis=1)
    mean_of = -(each * np.log(each)).sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(found.information, of_mean - mean_of, rtol=1e-4, atol=1e-7)


def test_entropy_and_moments_of_certain_scores() -> None:
    assert entropy(np.array([[1.0, 0.0], [0.5, 0.5]])) == pytest.approx([0, np.log(2)])
    moments = Moments([0, 1])
    moments.add(np.array([[1.0, 0.0]]))
    once = moments.prediction()
    assert once.spread is not None
    assert once.spread.tolist() == [[0, 0]]
    moments.add(np.array([[0.0, 1.0]]))
    twice = moments.prediction()
    assert twice.information == pytest.approx([np.log(2)])


def test_an_ensemble_of_regressions_tells_the_spread_of_each_number(jets) -> None:
    head = Joint({"tag": Classification(CLASSES), "m": Regression(["mass"])}).fit(jets)
    other = Joint({"tag": Classification(CLASSES), "m": Regression(["mass"])}).fit(jets)
    both = Ensemble([tagger(0, head), tagger(1, other)])
    assert both.column_names[4:] == (
        *("spread_top", "spread_qcd", "spread_mass_mean", "spread_mass_sigma"),
        "mutual_information",
    )
    scaled = Temperature(both).fit(jets)
    np.testing.assert_array_equal(scaled.predict(jets)[:, 2:], both.predict(jets)[:, 2:])
    alone = Ensemble([tagger(s, Regression(["mass"]).fit(jets)) for s in (0, 1)])
    assert alone.column_names[-1] == "spread_mass_sigma"
    with pytest.raises(ValueError, match="for probabilities of classes"):
        Temperature(alone).fit(jets)


def test_features_of_members_are_read_together(jets) -> None:
    two = Ensemble([tagger(0), tagger(1)])
    assert two.features.names == Features().names
    torch.manual_seed(0)
    other = ParticleFlowNetwork(Features(["log_pt", "is_muon"]), CLASSES)
    assert {"charge", "is_muon"} & set(Ensemble([tagger(0), other]).features.fields) >= {"is_muon"}

    def own(c):
        return c.pt

    foreign = ParticleFlowNetwork(Features([own]), CLASSES)
    assert Ensemble([tagger(0), foreign]).features.fields is None


def test_dropout_is_on_and_all_else_as_in_evaluation(jets, dropping) -> None:
    model = MonteCarloDropout(dropping, samples=400, seed=3)
    few = jets[:4]
    state = {n: t.clone() for n, t in dropping.state_dict().items()}
    first = model.predict_with_spread(few)
    random = torch.get_rng_state()
    np.testing.assert_array_equal(model.predict_with_spread(few), first)
    assert torch.equal(torch.get_rng_state(), random)
    assert not dropping.training
    for name, tensor in dropping.state_dict().items():
        assert torch.equal(tensor, state[name])
    assert not np.array_equal(MonteCarloDropout(dropping, 400, 4).predict(few), first[0])
    # By hand, with other random numbers: 400 samples each, four sigma.
    batch = PackedJets.pack(few, Features()).batch(slice(None))
    for layer in dropping.modules():
        if isinstance(layer, nn.Dropout):
            layer.train()
    torch.manual_seed(0)
    with torch.no_grad():
        drawn = torch.stack([dropping(batch).softmax(dim=1) for _ in range(400)]).numpy()
    dropping.eval()
    error = drawn.std(axis=0) / np.sqrt(400)
    assert (np.abs(first[0] - drawn.mean(axis=0)) < 4 * 2**0.5 * error).all()
    np.testing.assert_allclose(first[1], drawn.std(axis=0), rtol=0.25)


def test_a_posterior_of_the_last_layer_is_the_slow_hessian(jets) -> None:
    model = tagger()
    fitted = BayesianLastLayer(model, prior_precision=0.5).fit(jets)
    phi, logits = zip(*fitted._passes(jets, 256, None), strict=True)
    inputs = torch.cat(phi)
    y = torch.from_numpy(ak.to_numpy(jets.label_qcd).astype(np.int64))

    def loss(weights: torch.Tensor) -> torch.Tensor:
        return nn.functional.cross_entropy(inputs @ weights.T, y, reduction="sum")

    weights = torch.cat([model.out.weight, model.out.bias[:, None]], dim=1).detach().double()
    torch.testing.assert_close(inputs @ weights.T, torch.cat(logits), rtol=1e-5, atol=1e-5)
    hessian = torch.func.hessian(loss)(weights).reshape(14, 14)
    torch.testing.assert_close(fitted.precision, hessian, rtol=1e-6, atol=1e-6)
    inverse = torch.linalg.inv(hessian + 0.5 * torch.eye(14).double())
    slopes = torch.func.vmap(lambda p: torch.kron(torch.eye(2).double(), p[None]))(inputs[:9])
    expected = slopes @ inverse @ slopes.mT
    torch.testing.assert_close(fitted.covariances(inputs[:9]), expected, rtol=1e-6, atol=1e-9)


def test_two_classes_have_mackays_probability_and_it_is_near_the_true_mean(jets) -> None:
    fitted = BayesianLastLayer(tagger(), prior_precision=0.05).fit(jets[:60])
    mean, spread = fitted.predict_with_spread(jets)
    ((phi, logits),) = fitted._passes(jets, 1000, None)
    covariance = fitted.covariances(phi)
    variance = covariance[:, 0, 0] + covariance[:, 1, 1] - 2 * covariance[:, 0, 1]
    difference = logits[:, 0] - logits[:, 1]
    expected = torch.sigmoid(difference / (1 + torch.pi * variance / 8).sqrt())
    np.testing.assert_allclose(mean[:, 0], expected, rtol=1e-5)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(4000, len(jets), generator=generator, dtype=torch.float64)
    drawn = torch.sigmoid(difference + variance.sqrt() * noise)
    assert np.abs(drawn.mean(dim=0).numpy() - mean[:, 0]).max() < 0.02
    # The spread is to first order: right where it is small.
    fitted = BayesianLastLayer(tagger(), prior_precision=20.0).fit(jets)
    mean, spread = fitted.predict_with_spread(jets)
    covariance = fitted.covariances(phi)
    variance = covariance[:, 0, 0] + covariance[:, 1, 1] - 2 * covariance[:, 0, 1]
    drawn = torch.sigmoid(difference + variance.sqrt() * noise)
    small = (variance < 0.1).numpy()
    assert small.any()
    np.testing.assert_allclose(spread[small, 0], drawn.std(dim=0).numpy()[small], rtol=0.1)


def test_a_kronecker_product_is_the_whole_matrix_where_all_jets_are_alike() -> None:
    jets = make_jets([0] * 50)
    jets["label_top"] = np.arange(50) % 2 == 0
    jets["label_qcd"] = ~jets.label_top
    whole, product = (
        BayesianLastLayer(tagger(), kind, 1.0).fit(jets) for kind in ("full", "kronecker")
    )
    found = torch.kron(product.outer, product.inner)
    torch.testing.assert_close(found, whole.precision, rtol=1e-8, atol=1e-10)
    for one, two in zip(*(m.predict_with_spread(jets) for m in (whole, product)), strict=True):
        np.testing.assert_allclose(one, two, rtol=1e-5)


def test_the_prior_of_largest_evidence_is_that_of_a_scan(jets) -> None:
    model = tagger()
    fitted = BayesianLastLayer(model).fit(jets)
    label = ak.to_numpy(jets.label_qcd).astype(int)
    likelihood = -log_loss(label, model.predict(jets), normalize=False)
    weights = np.concatenate([model.out.weight.detach().numpy().ravel(), model.out.bias.detach()])
    identity = np.eye(14)

    def evidence(prior: float) -> float:
        _, logarithm = np.linalg.slogdet(fitted.precision.numpy() + prior * identity)
        square = float((weights.astype(np.float64) ** 2).sum())
        return likelihood - prior * square / 2 + 7 * np.log(prior) - logarithm / 2

    best = float(fitted.prior)
    assert evidence(best) >= max(evidence(best * 1.3), evidence(best / 1.3))


def test_a_penalty_on_the_scores_leaves_a_posterior_of_the_last_layer(jets) -> None:
    disco = DistanceCorrelation(Classification(CLASSES), "mass")
    one, two = (BayesianLastLayer(tagger(0, h)).fit(jets) for h in (CLASSES, disco))
    torch.testing.assert_close(one.precision, two.precision)
    regression = tagger(0, Regression(["mass"]).fit(jets))
    with pytest.raises(TypeError, match="gives classes and nothing else"):
        BayesianLastLayer(regression)


def test_what_cannot_be_wrapped_is_refused(jets) -> None:
    model = tagger()
    with pytest.raises(ValueError, match="two members at least, not 1"):
        Ensemble([model])
    with pytest.raises(ValueError, match="Ensemble needs a model at least"):
        Ensemble([])
    with pytest.raises(TypeError, match="is around taggers; Linear is none"):
        Ensemble([model, nn.Linear(1, 1)])
    with pytest.raises(ValueError, match="model 1 of Ensemble gives a, b, the first top, qcd"):
        Ensemble([model, tagger(0, ["a", "b"])])
    with pytest.raises(ValueError, match="no layer with dropout above 0"):
        MonteCarloDropout(model)
    with pytest.raises(TypeError, match="for a tagger, not Ensemble"):
        MonteCarloDropout(Ensemble([model, model]))
    with pytest.raises(ValueError, match="structure should be full or kronecker"):
        BayesianLastLayer(model, "diagonal")
    with pytest.raises(ValueError, match="prior_precision should be above 0"):
        BayesianLastLayer(model, prior_precision=0)
    with pytest.raises(TypeError, match="gives classes and nothing else"):
        BayesianLastLayer(Ensemble([model, model]))
    with pytest.raises(ValueError, match="not fitted yet"):
        BayesianLastLayer(model).predict(jets)
    large = ParticleFlowNetwork(Features(), CLASSES, (8,), (3000,))
    with pytest.raises(ValueError, match="2 x 3001 weights is too large; structure='kronecker'"):
        BayesianLastLayer(large)
    BayesianLastLayer(large, "kronecker")


def test_dropout_needs_two_samples(dropping, jets) -> None:
    with pytest.raises(ValueError, match="samples should be at least 2"):
        MonteCarloDropout(dropping, samples=1)
    with pytest.raises(ValueError, match="batch_size should be at least 1"):
        MonteCarloDropout(dropping).predict(jets, batch_size=0)
    with pytest.raises(ValueError, match="batch_size should be at least 1"):
        BayesianLastLayer(tagger()).fit(jets, batch_size=0)


def test_calibration_needs_labels_of_each_class(jets) -> None:
    with pytest.raises(ValueError, match="there are none of qcd"):
        Temperature(tagger()).fit(jets[jets.label_top])
    with pytest.raises(ValueError, match="needs jets packed with classes"):
        Temperature(tagger()).fit(PackedJets.pack(jets, Features()))
    assert labelled(jets, CLASSES, "x").tolist() == ak.to_numpy(jets.label_qcd).tolist()
