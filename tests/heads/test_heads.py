"""What every head must keep, on a tagger."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import pytest
import torch

import hepgen
from hepgen import checkpoint, heads
from hepgen.data import Features, PackedJets
from hepgen.heads import (
    AuxiliaryLabels,
    Classification,
    Head,
    Joint,
    Regression,
    build_head,
    head_from_dict,
)
from hepgen.heads.head import column_name, in_float32, mean_over_jets, with_targets
from hepgen.io.errors import InputError, MissingName, WrongType
from hepgen.taggers import EnergyFlowNetwork
from tests.heads.heads import HEADS, LABELS, Sums, batch_for, jets_with_masses, packed_for
from tests.heads.heads import tagger_with as build
from tests.taggers.jets import CLASSES

COUNTS = [5, 0, 12, 1, 30, 7, 9, 20]


@pytest.fixture(params=HEADS)
def head(request: pytest.FixtureRequest) -> Head:
    torch.manual_seed(0)
    return HEADS[request.param]()


def test_every_head_is_tried() -> None:
    kinds = {name for name in heads.__all__ if name[0].isupper()} - {"Head"}
    assert kinds == {name.split()[0] for name in HEADS}


def test_its_scores_have_their_names_and_its_outputs_its_width(head: Head) -> None:
    jets = jets_with_masses(COUNTS)
    tagger = build(head, jets)
    batch = batch_for(head, jets)
    outputs, constituents = tagger.outputs(batch)
    assert outputs.shape == (len(COUNTS), head.width)
    assert (constituents is not None) == (head.constituent_width > 0)
    if constituents is not None:
        assert constituents.shape == (sum(COUNTS), head.constituent_width)
    scores = tagger.predict(jets)
    assert scores.shape == (len(COUNTS), len(head.names))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()
    assert tagger.score_names == head.names
    assert tagger.classes == head.classes
    np.testing.assert_array_equal(tagger.predict(packed_for(head, jets)), scores)


def test_its_loss_reaches_every_parameter(head: Head) -> None:
    jets = jets_with_masses(COUNTS)
    tagger = build(head, jets)
    tagger.loss(batch_for(head, jets)).backward()
    for name, parameter in tagger.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("counts", [[], [0], [1], [4, 4]])
def test_few_jets_have_a_finite_loss(head: Head, counts: list[int]) -> None:
    tagger = build(head, jets_with_masses(COUNTS))
    loss = tagger.loss(batch_for(head, jets_with_masses(counts)))
    loss.backward()
    assert torch.isfinite(loss)
    assert loss != 0 or not counts
    assert all(p.grad is None or p.grad.isfinite().all() for p in tagger.parameters())


def test_weights_multiply_its_loss(head: Head) -> None:
    if "Correlation" in type(head).__name__ or type(head) is AuxiliaryLabels:
        pytest.skip("its penalty is a ratio, or counts constituents")
    jets = jets_with_masses(COUNTS)
    tagger, batch = build(head, jets), batch_for(head, jets)
    once = tagger.loss(batch)
    batch.weight = 3 * batch.weight
    torch.testing.assert_close(tagger.loss(batch), 3 * once)


def test_it_can_be_described_and_made_again(head: Head) -> None:
    described = json.loads(json.dumps(head.to_dict()))
    again = head_from_dict(described)
    assert again.to_dict() == described
    assert (again.width, again.names, again.targets) == (head.width, head.names, head.targets)
    assert again.state_dict().keys() == head.state_dict().keys()


def test_a_saved_tagger_has_its_head_and_the_same_scores(head: Head, tmp_path) -> None:
    jets = jets_with_masses(COUNTS)
    tagger = EnergyFlowNetwork(Features(), head.fit(jets), (6,), (6,))
    tagger.save(tmp_path / "model.safetensors")
    loaded = hepgen.load(tmp_path / "model.safetensors")
    assert loaded.head.to_dict() == head.to_dict()
    np.testing.assert_array_equal(loaded.predict(jets), tagger.predict(jets))
    plain = type(head) is Classification
    assert checkpoint.describe(tmp_path / "model.safetensors").format == (1 if plain else 2)


def test_it_trains_on_jets_as_they_are(head: Head) -> None:
    jets = jets_with_masses([8] * 40)
    tagger = build(head, jets)
    history = hepgen.fit(tagger, jets, validation=jets, epochs=2, batch_size=20, progress=False)
    assert ("validation_accuracy" in history.rows[0]) == bool(head.classes)
    assert hasattr(tagger, "accuracy") == bool(head.classes)


def test_packed_jets_fit_it_as_jets_do(head: Head) -> None:
    jets = jets_with_masses(COUNTS)
    one, two = head_from_dict(head.to_dict()).fit(jets), head_from_dict(head.to_dict())
    two.load_state_dict(one.state_dict())
    two.fit(packed_for(head, jets))
    for name, tensor in two.state_dict().items():
        torch.testing.assert_close(tensor, one.state_dict()[name], equal_nan=True)


def test_a_head_that_was_not_fitted_says_so() -> None:
    jets = jets_with_masses(COUNTS)
    for name in ("Regression", "Adversarial"):
        tagger = Sums(Features(), HEADS[name]())
        with pytest.raises(ValueError, match=r"call tagger\.head\.fit\(training jets\)"):
            tagger.loss(batch_for(tagger.head, jets))
    with pytest.raises(ValueError, match="cannot be fitted to no jets"):
        Regression(["mass"]).fit(jets_with_masses([]))
    with pytest.raises(ValueError, match=r"jets packed with targets=\['mass'\]"):
        Regression(["mass"]).fit(PackedJets.pack(jets, Features()))


def test_a_batch_without_targets_says_how_to_get_them() -> None:
    jets = jets_with_masses(COUNTS)
    head = HEADS["Joint"]().fit(jets)
    tagger = Sums(Features(), head)
    batch = PackedJets.pack(jets, Features(), CLASSES).batch(slice(None))
    told = r"needs targets, constituent_y .*targets=\['mass', 'pt'\], constituent_labels='abs"
    with pytest.raises(ValueError, match=told):
        tagger.loss(batch)
    batch = batch_for(head, jets)
    batch.targets = batch.targets[:, :1]
    with pytest.raises(ValueError, match="learns mass, pt; the batch has 1 targets"):
        tagger.loss(batch)


def test_labels_of_constituents_need_latent_vectors() -> None:
    from hepgen import taggers

    able = [name for name in taggers.__all__ if hasattr(getattr(taggers, name), "latents")]
    assert able
    head = AuxiliaryLabels(Classification(CLASSES), LABELS, ("neutral", "charged"))
    with pytest.raises(ValueError, match=f"taggers with latents: .*{able[0]}"):
        taggers.ParticleNetLite(Features(), head)


def test_class_weights_need_classes() -> None:
    jets = jets_with_masses(COUNTS)
    tagger = Sums(Features(), Regression(["mass"]).fit(jets))
    with pytest.raises(ValueError, match="a head without classes"):
        tagger.batches(jets, class_weights="balanced")
    with pytest.raises(ValueError, match="tells no classes apart"):
        tagger.head.class_logits(torch.zeros(1, 2))


@pytest.mark.parametrize(
    ("spec", "error", "told"),
    [
        ("regresion", MissingName, "no head 'regresion' in hepgen.heads; nearest: regression"),
        ({"regression": {"target": ["m"]}}, MissingName, "'target' in head.regression; nearest: t"),
        ({"regression": ["mass"]}, WrongType, "head.regression should hold arguments"),
        ({"a": {}, "b": {}}, WrongType, "one name with its arguments"),
        ({"regression": {"targets": ["mass"], "kind": "huber"}}, InputError, "kind should be one"),
        ({"joint": {"heads": ["a"]}}, WrongType, r"head\.joint\.heads should hold heads"),
        ({"joint": {"heads": {"a": "regresion"}}}, MissingName, "nearest: regression"),
        ({"distance_correlation": {"for_class": "qd"}}, InputError, "no class 'qd' in Classif"),
        ({"adversarial": {"strength": -1}}, InputError, "strength should not be negative"),
    ],
)
def test_a_description_that_makes_no_sense_is_refused(spec, error, told) -> None:
    with pytest.raises(error, match=told):
        build_head(spec, CLASSES)


def test_heads_are_built_from_plain_names_and_arguments() -> None:
    assert build_head("classification", lambda: CLASSES).classes == CLASSES
    found = build_head(
        {
            "joint": {
                "heads": {
                    "tag": {"adversarial": {"for_class": "qcd"}},
                    "mass": {"Regression": {"targets": {"m": "mass"}}},
                },
                "weights": {"mass": 0.5},
            }
        },
        CLASSES,
    )
    assert found.names == ("top", "qcd", "m_mean", "m_sigma")

    def unasked() -> tuple[str, ...]:
        raise AssertionError("classes are not needed")

    assert build_head({"regression": {"targets": ["mass"]}}, unasked).classes == ()


def test_a_file_can_name_no_other_class() -> None:
    for name in ("Linear", "torch.nn.Linear", None, "Regresion"):
        with pytest.raises(MissingName, match="no head"):
            head_from_dict({"class": name})
    with pytest.raises(InputError, match=r"Regression: .*unexpected keyword"):
        head_from_dict({"class": "Regression", "targets": ["m"], "new": 1})


def test_a_joint_task_has_one_set_of_classes_and_no_score_twice() -> None:
    tag = Classification(CLASSES)
    with pytest.raises(ValueError, match="one task can have classes, not a, b"):
        Joint({"a": tag, "b": Classification(["x", "y"])})
    with pytest.raises(ValueError, match="two tasks give the scores mass_mean, mass_sigma"):
        Joint({"a": Regression(["mass"]), "b": Regression(["mass"])})
    with pytest.raises(ValueError, match="weights for b"):
        Joint({"a": tag}, {"b": 2})
    with pytest.raises(ValueError, match="it has none"):
        Joint({})


def test_a_joint_loss_is_the_weighted_sum_of_those_of_the_tasks() -> None:
    jets = jets_with_masses(COUNTS)
    head = Joint({"m": Regression(["mass"]), "t": Classification(CLASSES)}, {"m": 0.25}).fit(jets)
    outputs, batch = torch.randn(len(COUNTS), 4), batch_for(head, jets)
    alone = Regression(["mass"]).fit(jets).loss(outputs[:, :2], batch)
    tag = Classification(CLASSES).loss(outputs[:, 2:], batch)
    torch.testing.assert_close(head.loss(outputs, batch), 0.25 * alone + tag)


def test_labels_of_constituents_add_their_cross_entropy_but_for_those_without() -> None:
    jets = jets_with_masses(COUNTS)
    labels = "where(charge == 0, -1, where(charge > 0, 1, 0))"
    head = AuxiliaryLabels(Classification(CLASSES), labels, ("minus", "plus"), strength=2.0)
    batch = batch_for(head, jets)
    outputs, constituents = torch.randn(len(COUNTS), 2), torch.randn(sum(COUNTS), 2)
    charge = torch.as_tensor(ak.to_numpy(ak.flatten(jets.constituents.charge)))
    expected = torch.nn.functional.cross_entropy(
        constituents[charge != 0], (charge[charge != 0] > 0).long()
    )
    got = head.loss(outputs, batch, constituents) - head.head.loss(outputs, batch)
    torch.testing.assert_close(got, 2 * expected)
    batch.constituent_y[3] = 2
    with pytest.raises(ValueError, match="should be 0 to 1, or -1 for none; 1 of 84 are not"):
        head.loss(outputs, batch, constituents)
    with pytest.raises(ValueError, match="needs outputs for the constituents"):
        head.loss(outputs, batch)


@pytest.mark.parametrize(
    "arguments",
    [
        {"label_names": ("a",)},
        {"label_names": ("a", "a")},
        {"label_names": "ab"},
        {"label_names": ("a", "b"), "strength": -1},
        {"label_names": ("a", "b"), "ignore": 1},
    ],
)
def test_labels_of_constituents_that_make_no_sense_are_refused(arguments) -> None:
    with pytest.raises(ValueError, match=r"label_names should|wanted strength"):
        AuxiliaryLabels(Classification(CLASSES), "charge", **arguments)
    inner = AuxiliaryLabels(Classification(CLASSES), "charge", ("a", "b"))
    with pytest.raises(ValueError, match="labels of constituents already"):
        AuxiliaryLabels(inner, "charge", ("a", "b"))


def test_the_small_helpers_of_heads() -> None:
    assert column_name("log(gen_mass)") == "log_gen_mass"
    with pytest.raises(ValueError, match="no column"):
        column_name("()")
    assert in_float32(torch.zeros(1, dtype=torch.bfloat16)).dtype == torch.float32
    assert in_float32(torch.zeros(1, dtype=torch.float64)).dtype == torch.float64
    head = HEADS["Joint"]()
    batch = batch_for(head, jets_with_masses(COUNTS))
    part = with_targets(batch, head.targets, ["pt"])
    torch.testing.assert_close(part.targets, batch.targets[:, 1:])
    assert batch.targets.shape[1] == 2
    assert with_targets(batch, head.targets, []) is batch
    batch.weight = torch.full((len(COUNTS),), 2.0)
    assert mean_over_jets(torch.ones(len(COUNTS)), batch) == 2
