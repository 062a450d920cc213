"""Classes and weights of jets."""

from __future__ import annotations

import awkward as ak
import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

from hepgen.data import Features, NonFinite, PackedJets, class_index
from hepgen.data.labels import class_sums, jet_weights, normalisation
from hepgen.io.errors import EmptyInput, InputError, LabelError, MissingName
from tests.data.jet_samples import some_jets

CLASSES = ["qcd", "top"]


def labelled(top: list[int], qcd: list[int], weight: list[float] | None = None) -> ak.Array:
    jets = some_jets([2] * len(top))
    jets["label_top"], jets["label_qcd"] = np.array(top, bool), np.array(qcd, bool)
    if weight is not None:
        jets["weight"] = np.array(weight, np.float32)
    return jets


def weights_of(jets: ak.Array, class_weights: object = None) -> np.ndarray:
    packed = PackedJets.pack(jets, Features(), CLASSES, class_weights=class_weights)  # type: ignore[arg-type]
    assert packed.weight is not None
    return packed.weight


def test_a_class_is_the_place_of_its_name() -> None:
    jets = labelled([1, 0, 1], [0, 1, 0])
    assert class_index(jets, ["qcd", "top"]).tolist() == [1, 0, 1]
    assert class_index(jets, ["top", "qcd"]).tolist() == [0, 1, 0]


def test_jets_of_no_class_or_several_are_counted() -> None:
    with pytest.raises(
        LabelError,
        match=r"of 4 jets 2 to none, first jet 1;.* 1 to several, first jet 3 \(qcd, top\)",
    ):
        class_index(labelled([1, 0, 0, 1], [0, 0, 0, 1]), CLASSES)
    with pytest.raises(MissingName, match=r"no field 'label_tpo'.*nearest: label_top"):
        class_index(labelled([1], [0]), ["tpo"])


def test_weights_have_a_mean_absolute_value_of_one_and_keep_their_sign() -> None:
    weight = weights_of(labelled([1, 0, 1, 0], [0, 1, 0, 1], [2.0, -2.0, 4.0, -8.0]))
    np.testing.assert_allclose(weight, [0.5, -0.5, 1.0, -2.0])
    assert weights_of(labelled([1, 0], [0, 1])).tolist() == [1, 1]
    assert jet_weights(labelled([1, 0], [0, 1])).tolist() == [1, 1]


def test_balanced_classes_weigh_as_much_as_those_of_sklearn() -> None:
    jets = labelled([1, 0, 0, 0], [0, 1, 1, 1])
    y = class_index(jets, CLASSES)
    expected = compute_class_weight("balanced", classes=np.array([0, 1]), y=y)[y]
    np.testing.assert_allclose(weights_of(jets, "balanced"), expected)


def test_class_weights_multiply() -> None:
    jets = labelled([1, 0, 1], [0, 1, 0])
    np.testing.assert_allclose(weights_of(jets, {"top": 2}), np.array([2, 1, 2]) * 3 / 5)
    with pytest.raises(MissingName, match=r"no class 'tob'.*nearest: top"):
        weights_of(jets, {"tob": 2})


def test_sums_of_parts_are_those_of_the_whole() -> None:
    jets = labelled([1, 0, 1, 0], [0, 1, 0, 1], [1.0, -2.0, 3.0, 4.0])
    parts = [class_sums(jet_weights(p), class_index(p, CLASSES), 2) for p in (jets[:1], jets[1:])]
    counts, sums = (parts[0][i] + parts[1][i] for i in (0, 1))
    assert (counts.tolist(), sums.tolist()) == ([2, 2], [6, 4])
    np.testing.assert_allclose(normalisation(counts, sums, CLASSES, None), [0.4, 0.4])
    np.testing.assert_allclose(normalisation(counts, sums, CLASSES, "balanced"), [1 / 3, 1 / 2])


def test_unusable_weights_are_refused() -> None:
    with pytest.raises(NonFinite, match="1 of 2 jets, first jet 1"):
        weights_of(labelled([1, 0], [0, 1], [1.0, np.nan]))
    with pytest.raises(InputError, match="weights of all jets are 0"):
        weights_of(labelled([1, 0], [0, 1], [0.0, 0.0]))
    with pytest.raises(EmptyInput, match=r"balance.*: qcd"):
        weights_of(labelled([1, 1], [0, 0]), "balanced")
    with pytest.raises(EmptyInput, match="no jets"):
        normalisation(np.zeros(2, np.int64), np.zeros(2), CLASSES, None)
