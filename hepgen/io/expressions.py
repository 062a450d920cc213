"""Selections, labels and weights written as text, by an evaluator that never runs the text.

An expression is arithmetic on columns, in the spelling of weaver's YAML files: ``(Jet.pt > 20) &
(abs(Jet.eta) < 2.4)``, ``np.hypot(part_px, part_py)``, ``num(constituents.pt) >= 2``. It gives one
value, or one list, for each entry and takes each entry by itself: nothing may run over the entries,
so a result does not depend on how a file is cut into chunks.

Sources of the spellings: the data configurations of weaver-core (github.com/hqucms/weaver-core),
NumPy and Awkward Array.
"""

from __future__ import annotations

import ast
from collections.abc import Mapping
from typing import Any

import awkward as ak
import numpy as np

from hepgen.io.errors import InputError, MissingName, nearest_names
from hepgen.io.functions import CONSTANTS
from hepgen.io.grammar import BINARY, COMPARISON, UNARY, Expression, ExpressionError

__all__ = ["ExpressionError", "evaluate", "names"]


def evaluate(text: str, columns: Mapping[str, Any] | ak.Array) -> Any:
    """The value of an expression for each entry.

    Allowed are numbers; names of columns, with dots for fields of records (``Jet.pt``); ``+ - * /
    // % **``; comparisons, also chained; ``& | ^ ~ << >>`` and ``and or not`` (element by element);
    ``x[:, 0]``, ``x[:, -2:]``, ``x[mask]`` of lists; and the functions of
    `hepgen.io.functions.FUNCTIONS`, with or without ``np.``, ``ak.`` or ``math.`` before them. One
    value an entry meets a list by being used for each of its elements. Numbers keep the precision
    of the columns that they meet. Dividing by zero and the like give inf and NaN without a warning,
    as everything outside a domain does.

    Args:
        text: the expression.
        columns: arrays of equal length by name (numpy or awkward, also jagged or of records), or an
            awkward record array.

    Returns:
        A numpy array (B,) or an awkward array, of lists where the columns hold lists. A number
        alone is repeated to the length of the columns; where there is no column it stays a numpy
        array of shape ().

    Raises:
        ExpressionError: the text is no expression of this kind, or does not fit the types of the
            columns. The message gives the piece, its position (counted from 1) and the nearest
            allowed name.
        MissingName: a name that no column has (a KeyError too).
    """
    evaluation = _Evaluation(Expression(text), columns)
    with np.errstate(all="ignore"):
        value = evaluation.value(evaluation.expression.tree)
    if isinstance(value, (ak.Array, np.ndarray)):
        return value
    return np.full([len(columns[name]) for name in evaluation.known[:1]], value)


def names(text: str) -> list[str]:
    """The columns an expression needs, each once, in the order of the text, which it checks too.

    Args:
        text: the expression.

    Returns:
        Names as written, with their dots: ``names("sqrt(Jet.pt) > met")`` is ``["Jet.pt", "met"]``.

    Raises:
        ExpressionError: as for `evaluate`.
    """
    return list(Expression(text).names)


class _Evaluation:
    """One expression on one set of columns."""

    def __init__(self, expression: Expression, columns: Mapping[str, Any] | ak.Array) -> None:
        self.expression = expression
        self.columns = columns
        self.known = list(columns.fields if isinstance(columns, ak.Array) else columns)

    def value(self, node: ast.expr) -> Any:
        """The value of a node; what numpy and awkward object to is reported with its place."""
        try:
            return self._value(node)
        except InputError:
            raise
        except (TypeError, ValueError, IndexError, ArithmeticError) as error:
            raise self.expression.refusal(node, _reason(error, node)) from error

    def _value(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=number):
                return number
            case ast.Name() | ast.Attribute():
                return self._column(node)
            case ast.UnaryOp(op=op, operand=operand):
                return UNARY[type(op)](self.value(operand))
            case ast.BinOp(op=op, left=left, right=right):
                return _binary(op, self.value(left), self.value(right))
            case ast.BoolOp(op=op, values=values):
                join = np.logical_and if isinstance(op, ast.And) else np.logical_or
                result = self.value(values[0])
                for value in values[1:]:
                    result = join(result, self.value(value))
                return result
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                return self._compare([left, *comparators], ops)
            case ast.Call(args=args):
                function, axis = self.expression.function(node)
                return function(*(self.value(argument) for argument in args), axis=axis)
            case ast.Subscript():
                return self._subscript(node)
        raise AssertionError(f"{type(node).__name__} passed the check but has no value")

    def _column(self, node: ast.expr) -> Any:
        name = self.expression.dotted(node)
        parts = name.split(".")
        for count in range(len(parts), 0, -1):
            column = ".".join(parts[:count])
            if column in self.known and _has(self.columns[column], parts[count:]):
                return _as_lists(_field(self.columns[column], parts[count:]))
        if name in CONSTANTS:
            return CONSTANTS[name]
        nearest = nearest_names(name, self._all_names())
        hint = f"nearest: {', '.join(nearest)}" if nearest else "there are no columns at all"
        raise MissingName(f"no column {self.expression.place(node)}; {hint}")

    def _all_names(self) -> list[str]:
        fields = [
            f"{column}.{field}"
            for column in self.known
            for field in getattr(self.columns[column], "fields", ())
        ]
        return self.known + fields

    def _compare(self, terms: list[ast.expr], ops: list[ast.cmpop]) -> Any:
        values = [self.value(term) for term in terms]
        result = COMPARISON[type(ops[0])](values[0], values[1])
        for op, left, right in zip(ops[1:], values[1:], values[2:], strict=False):
            result = np.logical_and(result, COMPARISON[type(op)](left, right))
        return result

    def _subscript(self, node: ast.Subscript) -> Any:
        value = self.value(node.value)
        if not isinstance(value, ak.Array) or value.ndim < 2:
            raise self.expression.refusal(
                node.value, "one value an entry, which has no elements to index"
            )
        index = self.expression.elements(node)
        if index is not None:
            return value[index]
        mask = self.value(node.slice)
        if not isinstance(mask, ak.Array) or mask.ndim < 2:
            raise self.expression.refusal(
                node.slice, "has to be a list for each entry, as the values are"
            )
        return value[mask]


def _has(column: Any, parts: list[str]) -> bool:
    """Whether a column has the (nested) field; only fields, so ``x.__class__`` goes nowhere."""
    return not parts or (
        parts[0] in getattr(column, "fields", ()) and _has(column[parts[0]], parts[1:])
    )


def _field(column: Any, parts: list[str]) -> Any:
    return _field(column[parts[0]], parts[1:]) if parts else column


def _as_lists(column: Any) -> Any:
    if isinstance(column, ak.Array):
        return column
    column = np.asarray(column)
    # numpy alone would align one value an entry with the last axis rather than the first.
    return column if column.ndim < 2 else ak.from_regular(ak.from_numpy(column), axis=None)


def _binary(op: ast.operator, left: Any, right: Any) -> Any:
    """One operation; of two numbers alone within 64 bits, so that 9**9**9 costs nothing."""
    if isinstance(left, (ak.Array, np.ndarray)) or isinstance(right, (ak.Array, np.ndarray)):
        return BINARY[type(op)](left, right)
    left, right = (x.item() if isinstance(x, np.generic) else x for x in (left, right))
    if isinstance(left, int) and isinstance(right, int):
        bits = abs(left).bit_length()
        too_far = isinstance(op, ast.LShift) and right > 63
        if too_far or (isinstance(op, ast.Pow) and right * (bits - 1) > 63):
            raise OverflowError("a number beyond 64 bits")
    result = BINARY[type(op)](left, right)
    if isinstance(result, complex):
        raise ValueError("not a real number")
    if isinstance(result, int) and abs(result) >= 2**63:
        raise OverflowError("a number beyond 64 bits")
    return result


def _reason(error: Exception, node: ast.expr) -> str:
    """What numpy or awkward said, in its first line, with what to do about the usual slips."""
    if isinstance(node, ast.Subscript) and isinstance(error, IndexError):
        return (
            "some entry has too few elements; firsts(x) gives NaN there, and x[:, :1] an empty list"
        )
    return (str(error).strip() or type(error).__name__).splitlines()[0]
