"""Features written as text: ``Features(["log_pt", "log(hypot(px, py) / jet_pt)"])``.

Shapes: N constituents of all jets end to end.
"""

from __future__ import annotations

import ast
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.data.constituents import Constituents
from hepgen.data.definitions import KNOWN, Feature
from hepgen.io.expressions import evaluate, names

__all__ = ["Formula", "recognise"]

# What every jet has, whatever its file.
ALWAYS = ("px", "py", "pz", "energy", "pt", "eta", "phi")
SAMPLE = 64


class Formula:
    """A feature that is an expression over columns of the constituents and their jets.

    Names are those that a feature function may ask for: ``px``, ``pt``, ``delta_eta``, ``charge``,
    ``d0`` and so on of the constituents, ``jet_pt``, ``jet_energy`` of their jets. Allowed is what
    `hepgen.io.evaluate` allows; the text is never run as code.

    Args:
        text: the expression.

    Attributes:
        text: as given; also the name of the feature.
        names: the columns that it needs.

    Raises:
        ExpressionError: the text is no such expression.
    """

    def __init__(self, text: str) -> None:
        self.text = self.__name__ = text
        self.names = tuple(names(text))

    def __call__(self, c: Constituents) -> NDArray[Any]:
        """Values (N,) for some constituents; MissingName where they lack a column."""
        columns = {name: _column(c, name) for name in self.names}
        values = np.asarray(evaluate(self.text, columns))
        return np.broadcast_to(values, (len(c),)) if values.ndim == 0 else values

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Formula) and other.text == self.text

    def __hash__(self) -> int:
        return hash(self.text)

    @property
    def needs(self) -> tuple[str, ...]:
        """Standard fields of the constituents, besides momenta, to read for it."""
        return tuple(n for n in self.names if n not in ALWAYS and not n.startswith("jet_"))


def recognise(text: str) -> str | None:
    """The feature of hepgen that an expression is another spelling of.

    Both are computed for random constituents; they are the same if no value differs by more than
    rounding.

    Args:
        text: an expression.

    Returns:
        The name of the feature; None if it is none of them.

    Raises:
        ExpressionError: the text is no expression.
    """
    formula = Formula(text)
    sample = _sample(formula.names)
    with np.errstate(all="ignore"):
        values = np.asarray(formula(sample), np.float64)
        for function in KNOWN:
            if _same(function, sample, values):
                return function.__name__
    return None


def is_formula(name: str) -> bool:
    """Whether a text is more than a name."""
    try:
        return not isinstance(ast.parse(name, mode="eval").body, ast.Name)
    except (SyntaxError, ValueError):
        return False


def _same(function: Feature, sample: Constituents, values: NDArray[np.float64]) -> bool:
    known = np.asarray(function(sample), np.float64)
    return bool(np.allclose(known, values, rtol=1e-5, atol=1e-6))


def _column(c: Constituents, name: str) -> NDArray[Any]:
    values = np.asarray(getattr(c, name))
    return c.spread(values) if name.startswith("jet_") else values


def _sample(wanted: Sequence[str]) -> Constituents:
    """Random constituents of a few jets, with every standard field and those that are wanted."""
    import awkward as ak

    rng = np.random.default_rng(0)
    p3 = rng.normal(0, 20, (SAMPLE, 3)).astype(np.float32)
    mass = rng.uniform(0.1, 1, SAMPLE)
    fields = {f"{axis}": p3[:, i] for i, axis in enumerate(("px", "py", "pz"))}
    fields["energy"] = np.sqrt((p3**2).sum(1) + mass**2).astype(np.float32)
    known = [need for definition in KNOWN.values() for need in definition.needs]
    more = [n for n in wanted if n not in ALWAYS and not n.startswith("jet_")]
    for name in dict.fromkeys([*known, *more]):
        fields[name] = rng.uniform(0.01, 0.9, SAMPLE).astype(np.float32)
    counts = [SAMPLE // 4] * 4
    constituents = ak.unflatten(ak.zip(fields, with_name="Momentum4D"), counts)
    jets = {"pt": rng.uniform(100, 900, 4), "eta": rng.normal(0, 1, 4), "phi": rng.normal(0, 1, 4)}
    jets["mass"] = rng.uniform(10, 200, 4)
    own = [n.removeprefix("jet_") for n in wanted if n.startswith("jet_")]
    jets |= {n: rng.uniform(1, 2, 4) for n in own if n not in (*jets, "energy")}
    zipped = ak.zip({**jets, "constituents": constituents}, depth_limit=1, with_name="Momentum4D")
    return Constituents.of(zipped)
