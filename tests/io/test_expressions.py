"""Expressions against numpy's own evaluation, and against what must never be evaluated."""

from __future__ import annotations

import time
from typing import Any

import awkward as ak
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hepgen.io.errors import MissingName
from hepgen.io.expressions import ExpressionError, evaluate, names
from hepgen.io.functions import CONSTANTS, FUNCTIONS, PREFIXES, Function

COLUMNS: dict[str, Any] = {
    "jet_pt": np.array([510.0, 620.5, 580.0], dtype=np.float32),
    "label": np.array([0, 161, 12], dtype=np.int32),
    "is_top": np.array([True, False, True]),
    "part_pt": ak.Array([[3.0, 1.5], [], [8.0]]),
    "part_pid": ak.Array([[211, -11], [], [22]]),
    "Jet": ak.Array(
        [[{"pt": 1.0, "eta": 0.5}], [], [{"pt": 2.0, "eta": 1}, {"pt": 5.0, "eta": 2}]]
    ),
    "p4": np.arange(12.0).reshape(3, 4),
}

flat = st.sampled_from(["x", "y", "n", "0.5", "2", "-3", "1e3"])
unary = ["abs", "np.sqrt", "exp", "np.log1p", "sin", "math.tanh", "arcsinh", "floor", "np.square"]
number_expressions = st.recursive(
    flat,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["+", "-", "*", "/", "//", "%"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        st.tuples(st.sampled_from(unary), inner).map(lambda t: f"{t[0]}({t[1]} + 0 * x)"),
        st.tuples(st.sampled_from(["np.hypot", "maximum", "arctan2"]), inner, inner).map(
            lambda t: f"{t[0]}({t[1]}, x + {t[2]})"
        ),
        st.tuples(inner, inner, inner).map(lambda t: f"where({t[0]} + x > {t[1]}, {t[2]}, y)"),
        inner.map(lambda t: f"-({t} * x)"),
        inner.map(lambda t: f"({t} + x) ** 2"),
    ),
    max_leaves=8,
)
comparison = st.sampled_from(["<", "<=", ">", ">=", "==", "!="])
bool_expressions = st.recursive(
    st.tuples(number_expressions, comparison, number_expressions).map(
        lambda t: f"({t[0]} + 0 * x {t[1]} {t[2]})"
    ),
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from(["&", "|", "^"]), inner).map(
            lambda t: f"({t[0]} {t[1]} {t[2]})"
        ),
        inner.map(lambda t: f"~{t}"),
    ),
    max_leaves=4,
)


def numpys_own(text: str, columns: dict[str, Any]) -> Any:
    """The value by Python's eval, which only a test may call."""
    functions = {name: getattr(np, name) for name in FUNCTIONS if hasattr(np, name)}
    with np.errstate(all="ignore"):
        return eval(text, {"np": np, "math": np, **functions}, columns)


@given(
    text=st.one_of(number_expressions, bool_expressions),
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=3, max_size=3),
)
def test_any_expression_has_the_value_that_numpy_gives_it(text: str, values: list[float]) -> None:
    columns = {"x": np.array(values), "y": np.array([0.0, -1.5, 2.0]), "n": np.array([1, 0, -4])}
    try:
        expected = numpys_own(text, columns)
    except ZeroDivisionError:
        with pytest.raises(ExpressionError, match="zero"):
            evaluate(text, columns)
        return
    result = evaluate(text, columns)
    np.testing.assert_array_equal(result, np.broadcast_to(expected, (3,)))
    assert np.ndim(expected) == 0 or result.dtype == expected.dtype


@pytest.mark.parametrize(
    "name", [n for n in FUNCTIONS if isinstance(getattr(np, n, None), np.ufunc)]
)
def test_each_function_of_numpy_is_numpys_also_in_lists(name: str) -> None:
    flat_values = np.array([0.25, 0.5, 0.75, 1.0])
    lists = ak.unflatten(flat_values, [3, 0, 1])
    arguments = ", ".join(["x"] * FUNCTIONS[name].arguments)
    with np.errstate(all="ignore"):
        expected = getattr(np, name)(*[flat_values] * FUNCTIONS[name].arguments)
    for prefix in PREFIXES:
        text = f"{prefix}.{name}({arguments})" if prefix else f"{name}({arguments})"
        result = evaluate(text, {"x": lists})
        assert ak.num(result).tolist() == [3, 0, 1]
        np.testing.assert_array_equal(ak.flatten(result), expected)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("sum(part_pt)", [4.5, 0.0, 8.0]),
        ("ak.sum(part_pt, axis=1)", [4.5, 0.0, 8.0]),
        ("ak.sum(part_pt, axis=-1)", [4.5, 0.0, 8.0]),
        ("num(part_pt) >= 1", [True, False, True]),
        ("any(abs(part_pid) == 11)", [True, False, False]),
        ("all(part_pt > 2)", [False, True, True]),
        ("firsts(part_pt) > 2", [True, False, True]),
        ("max(part_pt) > 2", [True, False, True]),
        ("part_pt[:, :1]", [[3.0], [], [8.0]]),
        ("part_pt[:, -1:]", [[1.5], [], [8.0]]),
        ("part_pt[part_pt > 2]", [[3.0], [], [8.0]]),
        ("p4[:, 0]", [0.0, 4.0, 8.0]),
        ("sum(p4[:, 1:3])", [3.0, 11.0, 19.0]),
        ("sum(p4) - p4[:, 3] * jet_pt / jet_pt", [3.0, 15.0, 27.0]),
        ("where(part_pt > 2, part_pt, 0)", [[3.0, 0.0], [], [8.0]]),
        ("clip(part_pt, 2, 4)", [[3.0, 2.0], [], [4.0]]),
        ("round(part_pt)", [[3.0, 2.0], [], [8.0]]),
        ("zeros_like(part_pid) + ones_like(part_pid)", [[1, 1], [], [1]]),
        ("part_pt * label", [[0.0, 0.0], [], [96.0]]),
        ("Jet.pt[Jet.eta < 1.5]", [[1.0], [], [2.0]]),
        ("max(Jet.pt * 2)[0:0:1]", None),
        ("0 <= label < 20", [True, False, True]),
        ("not is_top and label > 100 or jet_pt < 550", [True, True, False]),
        ("(label >> 2) & 1", [0, 0, 1]),
        ("(label & 4) == 4", [False, False, True]),
        ("2 ** 3", [8, 8, 8]),
        ("True", [True, True, True]),
        ("  \n jet_pt > 500 \n & is_top ", None),
    ],
)
def test_lists_are_reduced_indexed_and_joined_entry_by_entry(text: str, expected: Any) -> None:
    if expected is None:
        with pytest.raises(ExpressionError):
            evaluate(text, COLUMNS)
    else:
        assert ak.to_list(evaluate(text, COLUMNS)) == expected


def test_reducing_an_empty_list_gives_nan_where_there_is_no_value() -> None:
    for name in ("min", "max", "mean", "firsts"):
        assert np.isnan(evaluate(f"{name}(part_pt)", COLUMNS)).tolist() == [False, True, False]
    assert evaluate("max(part_pid)", {"part_pid": COLUMNS["part_pid"][[0, 2]]}).tolist() == [
        211,
        22,
    ]


def test_reducing_lists_of_lists_asks_for_the_axis() -> None:
    nested = {"x": ak.Array([[[1, 2], [3]], []])}
    assert evaluate("sum(x, axis=-1)", nested).tolist() == [[3, 3], []]
    assert evaluate("num(x, axis=1)", nested).tolist() == [2, 0]
    with pytest.raises(ExpressionError, match="axis=1 for the outer"):
        evaluate("sum(x)", nested)


@given(st.floats(-100, 100), st.floats(-100, 100))
def test_delta_phi_and_delta_r_are_those_of_the_circle(one: float, other: float) -> None:
    columns = {"a": np.array([one]), "b": np.array([other])}
    (delta,) = evaluate("delta_phi(a, b)", columns)
    assert -np.pi <= delta < np.pi
    assert np.exp(1j * delta) == pytest.approx(np.exp(1j * (one - other)), abs=1e-12)
    (distance,) = evaluate("delta_r(3, a, 0, b)", columns)
    assert distance == pytest.approx(np.hypot(3, delta))


def test_constants_are_those_of_the_math_module() -> None:
    assert evaluate("np.pi * jet_pt", COLUMNS).dtype == np.float32
    assert evaluate("jet_pt < np.inf", COLUMNS).all()
    assert CONSTANTS["math.pi"] == np.pi
    assert evaluate("math.pi", {}).shape == ()


def test_columns_may_be_an_awkward_record_array() -> None:
    jets = ak.Array([{"pt": 3.0, "constituents": [{"pt": 1.0}, {"pt": 2.0}]}])
    assert evaluate("sum(constituents.pt) / pt", jets).tolist() == [1.0]


def test_a_column_with_dots_in_its_own_name_comes_first() -> None:
    assert evaluate("Jet.PT + 1", {"Jet.PT": np.array([1.0])}).tolist() == [2.0]


def test_names_are_given_once_in_the_order_of_the_text() -> None:
    assert names("sqrt(Jet.pt) > met") == ["Jet.pt", "met"]
    assert names("np.hypot(b, a) + np.pi * a[:, 0] - sum(c[d > 1])") == ["b", "a", "c", "d"]
    assert names("1 + 1") == []


def test_every_expression_of_weavers_configs_is_read(real_data: Any) -> None:
    read = 0
    for path in (real_data / "weaver_configs" / "particle_transformer").rglob("*.yaml"):
        config = yaml.safe_load(path.read_text())
        for text in config["new_variables"].values():
            if isinstance(text, str):
                assert names(text)
                read += 1
    assert read >= 20


ATTACKS = [
    "__import__('os').system('true')",
    "().__class__.__bases__",
    "x.__class__",
    "x.__array_interface__",
    "np.os.system(x)",
    "np.load(x)",
    "getattr(x, 'tofile')",
    "eval(x)",
    "[i for i in x]",
    "{i: i for i in x}",
    "(i for i in x)",
    "lambda: x",
    "(y := x)",
    "x if x else x",
    "f'{x}'",
    "'text'",
    "b'text'",
    "None",
    "...",
    "1j",
    "x @ x",
    "x in x",
    "x is x",
    "sum(*x)",
    "sum(**x)",
    "sum(x, out=x)",
    "sum(x, axis=0)",
    "(sum)(x)(x)",
    "x[0]",
    "x[1:]",
    "x[()]",
    "x[0, :]",
    "x[:, x]",
    "x[:, None]",
    "x[:, ...]",
    "await x",
    "x; x",
    "x = 1",
    "x\0",
    "",
    "9**9**9",
    "9.0**9e9",
    "1 << 1 << 70",
    "2**62 * 4",
    "(-8) ** 0.5",
    "1 / 0",
    "9" * 30,
    "9" * 5000,
    "(" * 500 + "x" + ")" * 500,
    "-" * 5000 + "x",
    "x" + "+x" * 4000,
    "x" * 20_000,
]


@pytest.mark.parametrize("text", ATTACKS, ids=range(len(ATTACKS)))
def test_whatever_is_not_on_the_list_is_refused_at_once(text: str) -> None:
    # Of the processor: other programs do not count. A text that is computed takes for ever.
    started = time.thread_time()
    with pytest.raises((ExpressionError, MissingName)):
        evaluate(text, {"x": np.ones(3)})
    assert time.thread_time() - started < 1


@given(st.text(max_size=40) | st.text("xy01.+-*/%<>=&|~()[]:, '\"_lambdfor", max_size=40))
def test_any_text_gives_a_value_or_one_of_two_errors(text: str) -> None:
    try:
        result = evaluate(text, {"x": np.ones(2), "y": ak.Array([[1.0], []])})
    except (ExpressionError, MissingName):
        return
    assert len(result) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("sum(part_p)", "'part_p' at position 5 of the expression .*nearest: part_pt, part_pid"),
        ("  1 + Jet.ptt", "'Jet.ptt' at position 7 .*nearest: Jet.pt"),
        ("é + jet_ptt", "'é' at position 1"),
        ("1 + sqt(x)", "'sqt' at position 5 .*nearest: sqrt"),
        ("sqrt(1, 2)", "sqrt takes 1 argument.* got 2"),
        ("sqrt(x=1)", "sqrt takes 1 argument"),
        ("jet_pt +* 2", r"invalid syntax at position 9 \('\* 2'\)"),
        ("jet_pt > 1 & label < 2", "'1 & label' at position 10 .*need brackets"),
        ("jet_pt > 1 & jet_pt < 2", "comparisons beside & and | need brackets"),
        ("-is_top", "'-is_top' at position 1"),
        ("is_top == label | 2", "'label \\| 2' at position 11 .*need brackets"),
        ("sum(jet_pt)", "one value an entry where a list is needed"),
        ("jet_pt[:, 0]", "'jet_pt' at position 1 .*no elements to index"),
        ("part_pt[is_top]", "'is_top' at position 9 .*a list for each entry"),
        ("part_pt[:, 0]", "some entry has too few elements; firsts"),
        ("part_pt[0]", r"for the first element of each entry write x\[:, 0\]"),
        ("part_pt + Jet.pt", "'part_pt \\+ Jet.pt' at position 1"),
        ("a if b else c", r"where\(condition, a, b\)"),
        ("label in (1, 2)", r"write \(x == 1\) \| \(x == 2\)"),
    ],
)
def test_an_error_names_position_piece_and_the_nearest_name(text: str, message: str) -> None:
    with pytest.raises((ExpressionError, MissingName), match=message):
        evaluate(text, COLUMNS)


def test_a_missing_name_is_a_key_error_and_says_so_where_there_are_no_columns() -> None:
    with pytest.raises(KeyError, match="no columns at all"):
        evaluate("x", {})


def test_a_function_of_the_table_can_be_called_by_itself() -> None:
    assert Function(np.hypot, 2)(3.0, 4.0) == 5.0
