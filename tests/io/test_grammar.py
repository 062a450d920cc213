"""The operators of expressions against Python's own, on numpy arrays."""

from __future__ import annotations

import ast

import numpy as np
import pytest

from hepgen.io.expressions import evaluate
from hepgen.io.grammar import BINARY, COMPARISON, UNARY, Expression, ExpressionError

COLUMNS = {"a": np.array([7, 12, 3]), "b": np.array([2, 5, 3])}


@pytest.mark.parametrize("operator", BINARY, ids=lambda kind: kind.__name__)
def test_each_binary_operator_is_pythons(operator: type[ast.operator]) -> None:
    text = ast.unparse(ast.BinOp(ast.Name("a"), operator(), ast.Name("b")))
    np.testing.assert_array_equal(evaluate(text, COLUMNS), eval(text, dict(COLUMNS)))


@pytest.mark.parametrize("operator", COMPARISON, ids=lambda kind: kind.__name__)
def test_each_comparison_is_pythons(operator: type[ast.cmpop]) -> None:
    text = ast.unparse(ast.Compare(ast.Name("a"), [operator()], [ast.Name("b")]))
    np.testing.assert_array_equal(evaluate(text, COLUMNS), eval(text, dict(COLUMNS)))


@pytest.mark.parametrize("operator", UNARY, ids=lambda kind: kind.__name__)
def test_each_unary_operator_is_that_of_numpy(operator: type[ast.unaryop]) -> None:
    text = ast.unparse(ast.UnaryOp(operator(), ast.Name("a")))
    expected = {ast.UAdd: +COLUMNS["a"], ast.USub: -COLUMNS["a"], ast.Invert: ~COLUMNS["a"]}
    np.testing.assert_array_equal(
        evaluate(text, COLUMNS), expected.get(operator, np.logical_not(COLUMNS["a"]))
    )


def test_an_expression_knows_its_columns_in_order() -> None:
    assert list(Expression("(sqrt(Jet.pt) > met) & (Jet.pt < 5)").names) == ["Jet.pt", "met"]
    with pytest.raises(ExpressionError, match="at position"):
        Expression("a +")
