"""What an expression may contain: it is parsed and checked in full before any column is touched.

Python's own parser reads the text; every node that is not on the list here is refused, with its
place in the text. `hepgen.io.expressions` computes the values.
"""

from __future__ import annotations

import ast
import operator
from collections.abc import Callable
from typing import Any

import numpy as np

from hepgen.io.errors import InputError, nearest_names
from hepgen.io.functions import CONSTANTS, FUNCTIONS, PREFIXES, Function

__all__ = ["BINARY", "COMPARISON", "UNARY", "Expression", "ExpressionError"]

_LONGEST = 10_000
_DEEPEST = 100

BINARY: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
    ast.FloorDiv: operator.floordiv,
    ast.Mod: operator.mod,
    ast.Pow: operator.pow,
    ast.BitAnd: operator.and_,
    ast.BitOr: operator.or_,
    ast.BitXor: operator.xor,
    ast.LShift: operator.lshift,
    ast.RShift: operator.rshift,
}
UNARY: dict[type[ast.unaryop], Callable[[Any], Any]] = {
    ast.UAdd: operator.pos,
    ast.USub: operator.neg,
    # Not operator.invert, which takes the Python bool True to -2.
    ast.Invert: np.invert,
    ast.Not: np.logical_not,
}
COMPARISON: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
}
_ALLOWED = "only arithmetic, comparisons, & | ~, x[:, i], x[mask] and known functions are"
_INSTEAD: dict[type[ast.AST], str] = {
    ast.IfExp: "where(condition, a, b) does this",
    ast.In: "write (x == 1) | (x == 2)",
    ast.NotIn: "write (x != 1) & (x != 2)",
    ast.Is: "compare with ==",
    ast.IsNot: "compare with !=",
}


class ExpressionError(InputError):
    """An expression that cannot be read, is not allowed, or does not fit its columns."""


class Expression:
    """A text that has been parsed and checked.

    Args:
        text: the expression.

    Attributes:
        tree: the root of the syntax tree.
        names: the columns needed, in the order of the text.

    Raises:
        ExpressionError: the text is no expression of the allowed kind.
    """

    def __init__(self, text: Any) -> None:
        if not isinstance(text, str) or not text.strip():
            raise ExpressionError(f"an expression is a text such as 'jet_pt > 500'; got {text!r}")
        if len(text) > _LONGEST:
            raise ExpressionError(
                f"an expression of {len(text)} characters; at most {_LONGEST} are read"
            )
        # YAML folds long selections over lines; one blank for each such character keeps positions.
        self.text = text.translate({ord(blank): " " for blank in "\n\r\t"}).rstrip()
        self._source = self.text.lstrip()
        self._shift = len(self.text) - len(self._source)
        self.names: dict[str, None] = {}
        self.tree = self._parse()
        self._check(self.tree, 0)

    def _parse(self) -> ast.expr:
        try:
            return ast.parse(self._source, mode="eval").body
        except SyntaxError as error:
            at = self._shift + (error.offset or len(self._source) + 1)
            piece = repr(self.text[at - 1 :][:20]) if at <= len(self.text) else "the end"
            raise ExpressionError(
                f"{error.msg} at position {at} ({piece}) of the expression {self._short()}"
            ) from None
        except (ValueError, MemoryError, RecursionError) as error:
            raise ExpressionError(f"cannot read the expression {self._short()}: {error}") from None

    def _short(self) -> str:
        return repr(self.text if len(self.text) <= 200 else self.text[:200] + "...")

    def place(self, node: ast.AST) -> str:
        """Where a node stands, for messages: its text, position (from 1) and expression."""
        before = self._source.encode()[: getattr(node, "col_offset", 0)].decode()
        piece = ast.get_source_segment(self._source, node) or type(node).__name__
        if len(piece) > 60:
            piece = piece[:60] + "..."
        position = self._shift + len(before) + 1
        return f"{piece!r} at position {position} of the expression {self._short()}"

    def refusal(self, node: ast.AST, reason: str) -> ExpressionError:
        """The error to raise for a node."""
        return ExpressionError(f"{self.place(node)}: {reason}")

    def _check(self, node: ast.expr, depth: int) -> None:
        if depth > _DEEPEST:
            raise ExpressionError(
                f"more than {_DEEPEST} levels of nesting in the expression {self._short()}"
            )
        for child in self._operands(node):
            self._check(child, depth + 1)

    def _operands(self, node: ast.expr) -> list[ast.expr]:
        """What a node works on, if it is on the list; gathers the names."""
        match node:
            case ast.Constant(value=bool() | float()):
                return []
            case ast.Constant(value=int(value)):
                if value >= 2**63:
                    raise self.refusal(node, "a whole number beyond 64 bits")
                return []
            case ast.Name() | ast.Attribute():
                name = self.dotted(node)
                if name not in CONSTANTS:
                    self.names.setdefault(name)
                return []
            case ast.BinOp(op=op, left=left, right=right) if type(op) in BINARY:
                return [left, right]
            case ast.UnaryOp(operand=operand):
                return [operand]
            case ast.BoolOp(values=values):
                return values
            case ast.Compare(left=left, ops=ops, comparators=comparators):
                for comparison in ops:
                    if type(comparison) not in COMPARISON:
                        raise self.refusal(node, f"not allowed; {_INSTEAD[type(comparison)]}")
                for operand in (left, *comparators):
                    self._check_brackets(operand)
                return [left, *comparators]
            case ast.Call(args=args):
                self.function(node)
                return args
            case ast.Subscript(value=value, slice=index):
                return [value] if self.elements(node) is not None else [value, index]
        raise self.refusal(
            node, f"not allowed in an expression; {_INSTEAD.get(type(node), _ALLOWED)}"
        )

    def _check_brackets(self, node: ast.expr) -> None:
        """Refuses ``a > 1 & b < 2``, which Python reads as ``a > (1 & b) < 2``."""
        if not (isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr)):
            return
        source = self._source.encode()
        before, after = source[: node.col_offset].rstrip(), source[node.end_col_offset :].lstrip()
        if not (before.endswith(b"(") and after.startswith(b")")):
            raise self.refusal(node, "comparisons beside & and | need brackets: (a > 1) & (b < 2)")

    def dotted(self, node: ast.expr) -> str:
        """The name of a column with its dots.

        Raises:
            ExpressionError: a dot after something that is not a name.
        """
        match node:
            case ast.Name(id=name):
                return name
            case ast.Attribute(value=ast.Name() | ast.Attribute() as value, attr=attr):
                return f"{self.dotted(value)}.{attr}"
        raise self.refusal(node, "not allowed; a dot stands in names of columns only")

    def function(self, node: ast.Call) -> tuple[Function, int | None]:
        """The function that is called and the axis asked for, if any.

        Raises:
            ExpressionError: an unknown function, a wrong number of arguments, or an axis that mixes
                entries.
        """
        if not isinstance(node.func, ast.Name | ast.Attribute):
            raise self.refusal(node, "not allowed; only functions with a name can be called")
        prefix, _, name = self.dotted(node.func).rpartition(".")
        if name not in FUNCTIONS or prefix not in PREFIXES:
            nearest = ", ".join(nearest_names(name, FUNCTIONS))
            raise self.refusal(node.func, f"no such function; nearest: {nearest}")
        function, axis = FUNCTIONS[name], None
        if len(node.args) != function.arguments or any(
            isinstance(a, ast.Starred) for a in node.args
        ):
            raise self.refusal(
                node, f"{name} takes {function.arguments} argument(s); got {len(node.args)}"
            )
        for keyword in node.keywords:
            if keyword.arg != "axis" or not function.reduces:
                raise self.refusal(
                    keyword.value, f"{name} takes no argument {keyword.arg!r} by name"
                )
            axis = self._integer(keyword.value)
            if axis in (None, 0):
                # Over the entries a result would depend on the chunk that is being read.
                raise self.refusal(
                    node, "axis is a whole number other than 0, for axis 0 would mix entries"
                )
        return function, axis

    def _integer(self, node: ast.expr | None) -> int | None:
        match node:
            case ast.Constant(value=bool()):
                return None
            case ast.Constant(value=int(value)):
                return value
            case ast.UnaryOp(op=ast.USub(), operand=ast.Constant(value=int(value))):
                return -value
        return None

    def elements(self, node: ast.Subscript) -> tuple[int | slice, ...] | None:
        """The index of ``x[:, 0]`` or ``x[:, 1:3]``; None for an expression, as in ``x[mask]``.

        Raises:
            ExpressionError: an index that picks entries, or one that is no whole number or slice.
        """
        index = node.slice
        if isinstance(index, ast.Slice) or self._integer(index) is not None:
            raise self.refusal(
                node, "picks entries; for the first element of each entry write x[:, 0]"
            )
        if not isinstance(index, ast.Tuple):
            return None
        if not index.elts or ast.unparse(index.elts[0]) != ":":
            raise self.refusal(node, "the first index runs over the entries and has to be ':'")
        return (slice(None), *(self._element(node, element) for element in index.elts[1:]))

    def _element(self, node: ast.Subscript, element: ast.expr) -> int | slice:
        number = self._integer(element)
        if number is not None:
            return number
        if isinstance(element, ast.Slice):
            parts = (element.lower, element.upper, element.step)
            limits = [self._integer(part) for part in parts]
            if all(
                part is None or limit is not None for part, limit in zip(parts, limits, strict=True)
            ):
                return slice(*limits)
        raise self.refusal(node, "an index is a whole number or a slice of whole numbers")
