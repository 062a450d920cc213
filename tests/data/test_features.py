"""Features: sets, order, constants, fits, what is refused."""

from __future__ import annotations

import json

import awkward as ak
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.preprocessing import RobustScaler

from hepgen.data import Constituents, Features, NonFinite, definitions
from hepgen.data.features import ANGLES, MOMENTUM, SETS
from hepgen.data.finite import non_finite_error
from hepgen.io.errors import EmptyInput, MissingName, WrongType
from tests.data.jet_samples import some_jets

numbers = st.lists(st.integers(0, 40), min_size=1, max_size=6)


def softness(c: Constituents) -> NDArray[np.float64]:
    return 1 / c.pt.astype(np.float64)


@pytest.mark.parametrize(
    ("name", "count"), [("kinematics", 7), ("kinematics+pid", 13), ("full", 17)]
)
def test_a_set_has_its_published_number_of_features(name: str, count: int) -> None:
    features = Features(name)
    assert len(features) == len(features.names) == count
    assert features.transform(some_jets([3, 2])).shape == (5, count)
    assert features.names == SETS[name]
    assert name in repr(features)


@pytest.mark.parametrize("function", definitions.KNOWN, ids=lambda function: function.__name__)
def test_each_feature_gives_one_number_a_constituent(function: definitions.Feature) -> None:
    columns = Constituents.of(some_jets([4, 0, 7]))
    assert function(columns).shape == (11,)
    assert function.__doc__
    assert function.__name__ in definitions.__all__


def test_published_constants_are_those_of_the_reference() -> None:
    assert definitions.KNOWN[definitions.log_pt] == definitions.Definition(1.7, 0.7)
    assert definitions.KNOWN[definitions.delta_r][:4] == (0.2, 4.0, -5.0, 5.0)
    assert Features([softness]).scale.tolist() == [definitions.UNKNOWN.scale]


def test_a_batch_has_energy_first_and_eta_before_phi() -> None:
    assert list(MOMENTUM) == ["energy", "px", "py", "pz"]
    assert list(ANGLES) == ["delta_eta", "delta_phi"]


def test_features_are_what_their_names_say() -> None:
    jets = some_jets([20])
    columns = Constituents.of(jets)
    parts = jets.constituents[0]
    expected = {
        "log_pt": np.log(parts.pt),
        "log_energy": np.log(parts.E),
        "log_pt_fraction": np.log(parts.pt / jets.pt[0]),
        "log_energy_fraction": np.log(parts.E / jets.E[0]),
        "delta_r": parts.deltaR(jets[0]),
        "tanh_d0": np.tanh(parts.d0),
        "tanh_dz": np.tanh(parts.dz),
        "d0_significance": parts.d0 / parts.d0_error,
        "dz_significance": parts.dz / parts.dz_error,
    }
    for name, values in expected.items():
        computed = getattr(definitions, name)(columns)
        np.testing.assert_allclose(
            computed, ak.to_numpy(values), rtol=1e-5, atol=1e-5, err_msg=name
        )


def test_a_significance_without_a_track_is_zero() -> None:
    jets = some_jets([3])
    none = ak.zeros_like(jets.constituents.d0)
    jets["constituents", "d0"] = none
    jets["constituents", "d0_error"] = none
    assert definitions.d0_significance(Constituents.of(jets)).tolist() == [0, 0, 0]


@given(numbers, st.randoms(use_true_random=False))
def test_permuting_constituents_permutes_rows(counts: list[int], random: object) -> None:
    jets = some_jets(counts)
    orders = [list(range(count)) for count in counts]
    for order in orders:
        random.shuffle(order)  # type: ignore[attr-defined]
    permuted = ak.with_field(jets, jets.constituents[ak.Array(orders)], "constituents")
    rows = np.concatenate(
        [np.array(o, int) + s for o, s in zip(orders, np.cumsum([0, *counts]), strict=False)]
    )
    features = Features("full")
    assert np.array_equal(features.transform(permuted), features.transform(jets)[rows])


@given(numbers, st.integers(1, 45))
def test_the_hardest_constituents_are_kept_in_their_order(counts: list[int], most: int) -> None:
    jets = some_jets(counts)
    pt = jets.constituents.pt
    rank = ak.argsort(ak.argsort(pt, ascending=False))
    kept = ak.with_field(jets, jets.constituents[rank < most], "constituents")
    features = Features("kinematics", max_constituents=most)
    assert np.array_equal(features.transform(jets), Features().transform(kept))


def test_jets_without_constituents_have_no_rows() -> None:
    for counts in ([], [0], [0, 0, 0]):
        assert Features("full").transform(some_jets(counts)).shape == (0, 17)
    with pytest.raises(EmptyInput, match="no constituents"):
        Features().fit(some_jets([0, 0]))


def test_a_fit_centres_on_the_median_and_scales_by_the_wider_side() -> None:
    jets = some_jets([500, 300])
    features = Features(["log_pt", "delta_r", softness, "charge"])
    assert features.fit(jets) is features
    raw = definitions.log_pt(Constituents.of(jets))
    low, middle, high = np.percentile(raw, (16, 50, 84))
    assert features.centre[0] == pytest.approx(middle)
    assert features.scale[0] == pytest.approx(1 / max(high - middle, middle - low))
    scaler = RobustScaler(quantile_range=(16, 84), unit_variance=False)
    scaler.fit(definitions.delta_r(Constituents.of(jets))[:, None])
    assert features.centre[1] == pytest.approx(scaler.center_[0], rel=1e-5)
    assert (features.centre[3], features.scale[3]) == (0, 1)
    x = features.transform(jets)
    np.testing.assert_allclose(np.median(x[:, :3], axis=0), 0, atol=1e-4)
    assert np.abs(x[:, :3]).max() <= 5


def test_a_constant_column_is_not_divided_by_zero() -> None:
    def seven(c: Constituents) -> NDArray[np.float32]:
        return np.full(len(c), 7, np.float32)

    features = Features([seven]).fit(some_jets([5]))
    assert features.scale.tolist() == [1]
    assert features.transform(some_jets([5])).tolist() == [[0]] * 5


def test_a_function_of_ones_own_is_a_feature() -> None:
    jets = some_jets([3, 4])
    x = Features(["charge", softness]).transform(jets)
    expected = 1 / ak.to_numpy(ak.flatten(jets.constituents.pt))
    np.testing.assert_allclose(x[:, 1], expected, rtol=1e-5)
    assert Features([softness]).fields is None
    assert (
        Features("kinematics").fields == Features(["log_pt"]).fields == ("delta_eta", "delta_phi")
    )
    assert set(Features("full").fields or ()) > {"d0", "is_muon", "charge"}


def test_features_come_back_from_json() -> None:
    features = Features(["log_pt", "d0_error", "charge", softness], max_constituents=3)
    features.fit(some_jets([50]))
    text = json.dumps(features.to_dict(), allow_nan=False)
    again = Features.from_dict(json.loads(text), functions=[softness])
    jets = some_jets([9, 1], seed=3)
    assert np.array_equal(again.transform(jets), features.transform(jets))
    assert again.to_dict() == features.to_dict()


def test_a_feature_of_unknown_name_comes_not_back() -> None:
    values = Features([softness]).to_dict()
    with pytest.raises(MissingName, match=r"no feature 'softness'.*functions="):
        Features.from_dict(values)
    with pytest.raises(MissingName, match=r"no key 'centr'.*nearest: centre"):
        Features.from_dict({**values, "centr": 1}, functions=[softness])
    with pytest.raises(MissingName, match="no key 'max_constituents'"):
        Features.from_dict({"names": ["log_pt"]})
    with pytest.raises(WrongType, match="2 values of 'centre'"):
        Features.from_dict({**values, "centre": [1.0, 2.0]}, functions=[softness])


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(MissingName, match=r"no set of features 'kinematic'.*nearest: kinematics"):
        Features("kinematic")
    with pytest.raises(MissingName, match=r"no feature 'log_ptt'.*nearest: log_pt"):
        Features(["log_ptt"])
    with pytest.raises(ValueError, match="different names"):
        Features(["charge", "charge"])
    with pytest.raises(ValueError, match="one or more"):
        Features([])
    with pytest.raises(ValueError, match="lambda"):
        Features([lambda c: c.pt])
    with pytest.raises(ValueError, match="max_constituents"):
        Features(max_constituents=0)
    with pytest.raises(ValueError, match="non_finite"):
        Features(non_finite="zero")  # type: ignore[arg-type]


def test_a_feature_of_wrong_shape_is_named() -> None:
    def per_jet(c: Constituents) -> NDArray[np.float32]:
        return c.jet_pt

    with pytest.raises(WrongType, match=r"'per_jet'.*each of 5 constituents.*\(2,\)"):
        Features([per_jet]).transform(some_jets([2, 3]))


def test_a_lacking_field_is_named_with_the_feature() -> None:
    with pytest.raises(MissingName, match=r"'charge' needs.*no field 'charge'.*px, py, pz, energy"):
        Features("full").transform(some_jets([2], full=False))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_not_finite_is_counted_and_told(value: float) -> None:
    jets = some_jets([4, 0, 3])
    d0 = ak.to_numpy(ak.flatten(jets.constituents.d0_error)).copy()
    d0[[5, 6]] = value
    jets["constituents", "d0_error"] = ak.unflatten(d0, ak.num(jets.constituents))
    message = r"'d0_error' in 2 of 7 constituents, first in jet 2\."
    with pytest.raises(NonFinite, match=message):
        Features("full").transform(jets)
    with pytest.raises(NonFinite, match="'d0_error' in 2 of 7"):
        Features(["log_pt", "d0_error"]).transform(jets)
    dropping = Features("full", non_finite="drop")
    with pytest.warns(UserWarning, match="2 of 7 constituents are left out, in 1 of 3 jets"):
        assert len(dropping.transform(jets)) == 5
    assert Features("kinematics").transform(jets).shape == (7, 7)


def test_a_fit_refuses_what_is_not_finite() -> None:
    jets = some_jets([3])
    jets["constituents", "energy"] = jets.constituents.energy * np.nan
    with pytest.raises(NonFinite, match=r"'log_energy' in 3 of 3.*'log_energy_fraction' in 3 of 3"):
        Features().fit(jets)


def test_the_count_of_what_is_not_finite_covers_all_blocks() -> None:
    columns = Constituents.of(some_jets([30_000, 30_000, 5]))

    def nothing(c: Constituents) -> NDArray[np.float64]:
        return c.spread(np.where(c.counts == 5, np.nan, 1))

    error = non_finite_error(columns, {"nothing": nothing, "pt": lambda c: c.pt})
    assert "'nothing' in 5 of 60005 constituents, first in jet 2." in str(error)


def test_a_constituent_without_momentum_is_no_silent_zero() -> None:
    jets = some_jets([3, 2])
    for name in ("px", "py"):
        values = ak.to_numpy(ak.flatten(jets.constituents[name])).copy()
        values[4] = 0
        jets["constituents", name] = ak.unflatten(values, ak.num(jets.constituents))
    with pytest.raises(NonFinite, match=r"'log_pt' in 1 of 5 constituents, first in jet 1;"):
        Features().transform(jets)
