"""Numbers with errors: how they are printed and kept."""

from __future__ import annotations

import json
import math

import pytest

from hepgen.metrics import Estimate


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (1262.3, 48.7, "1262 ± 49"),
        (0.984412, 0.000123, "0.98441 ± 0.00012"),
        (2195.0, 173.0, "2200 ± 170"),
        (99.96, 0.0996, "99.96 ± 0.10"),
        (3.0, 0.0, "3 ± 0"),
        (3.0, math.nan, "3 ± unknown"),
        (1.2345e9, 6.7e6, "(1.2345 ± 0.0067)e+09"),
        (0.0, 0.25, "0.00 ± 0.25"),
    ],
)
def test_the_error_has_two_significant_digits_and_the_value_ends_where_it_ends(value, error, text):
    assert str(Estimate(value, error)) == text


def test_an_infinite_rejection_says_what_it_exceeds():
    assert str(Estimate(math.inf, math.nan, lower_limit=4342.9)) == "> 4300 (90 % CL)"
    assert str(Estimate(math.inf, math.nan)) == "inf"


def test_the_floor_stands_beside_the_value():
    assert str(Estimate(0.0123, 0.0012, floor=0.0009)) == "0.0123 ± 0.0012 (floor 0.0009)"


@pytest.mark.parametrize(
    "estimate",
    [
        Estimate(1.5, 0.25),
        Estimate(math.inf, math.nan, lower_limit=12.5),
        Estimate(-math.inf, math.inf),
        Estimate(0.0, 0.0, floor=0.125),
    ],
)
def test_estimates_survive_strict_json(estimate):
    text = json.dumps(estimate.to_dict(), allow_nan=False)
    back = Estimate.from_dict(json.loads(text))
    assert repr(back) == repr(estimate)


def test_an_estimate_goes_where_a_number_goes():
    assert float(Estimate(2.0, 0.1)) == 2.0
    assert f"{float(Estimate(2.0, 0.1)):.1f}" == "2.0"
