"""What a head learns besides classes: numbers of the jets, and labels of their constituents.

Both are expressions over what the file has, such as ``log(gen_mass)``, read by an evaluator that
runs no code (`hepgen.io.expressions`).

Shapes: B jets, N constituents of all jets end to end, T targets.
"""

from __future__ import annotations

from collections.abc import Sequence

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.data.constituents import Constituents
from hepgen.data.finite import NonFinite
from hepgen.io import expressions
from hepgen.io.errors import InputError, MissingName, WrongType
from hepgen.io.schema import FIELDS

__all__ = [
    "constituent_fields",
    "constituent_labels",
    "kept_columns",
    "target_values",
    "with_label_columns",
]

# What each jet has whatever is kept of the file.
_MOMENTA = ("px", "py", "pz", "energy", "pt", "eta", "phi", "mass")
_OF_EVERY_JET = ("pt", "eta", "phi", "mass", "weight", "entry", "jet_index", "num_constituents")


def kept_columns(targets: Sequence[str], labels: str | None = None) -> list[str]:
    """Columns of the file that ``keep`` has to name, for `hepgen.io.read` to read them.

    Args:
        targets: expressions over jets.
        labels: an expression over constituents.

    Returns:
        Names, each once.

    Raises:
        ExpressionError: an expression is none.
    """
    names = [name for text in targets for name in expressions.names(text)]
    kept = [name for name in names if name not in _OF_EVERY_JET and not name.startswith("label_")]
    if labels is not None:
        kept += [name for name in expressions.names(labels) if name not in (*FIELDS, *_MOMENTA)]
    return list(dict.fromkeys(kept))


def constituent_fields(labels: str | None) -> list[str]:
    """Standard fields of constituents that an expression needs, for ``fields`` of `hepgen.io.read`.

    Args:
        labels: an expression over constituents; None needs nothing.

    Raises:
        ExpressionError: the expression is none.
    """
    return [] if labels is None else [n for n in expressions.names(labels) if n in FIELDS]


def target_values(jets: ak.Array, targets: Sequence[str]) -> NDArray[np.float32]:
    """The targets of some jets.

    Args:
        jets: as `hepgen.io.read` gives them.
        targets: T expressions over their fields and ``num_constituents``.

    Returns:
        Shape (B, T).

    Raises:
        MissingName: the jets lack a field.
        ExpressionError: an expression is none.
        WrongType: it does not give one number a jet.
        NonFinite: NaN or infinities, as float32.
    """
    columns = {name: jets[name] for name in ak.fields(jets) if name != "constituents"}
    if "constituents" in ak.fields(jets) and "num_constituents" not in columns:
        columns["num_constituents"] = ak.num(jets["constituents"])
    table = np.empty((len(jets), len(targets)), np.float32)
    for t, text in enumerate(targets):
        wanted = {name.split(".")[0] for name in expressions.names(text)}
        used = {n: _double(c) if n in wanted else c for n, c in columns.items()}
        try:
            values = expressions.evaluate(text, used)
        except MissingName as error:
            raise MissingName(f"target {text!r} of the jets: {error}") from error
        if isinstance(values, ak.Array) and values.ndim == 1:
            values = ak.to_numpy(values)
        if not isinstance(values, np.ndarray) or values.shape != (len(jets),):
            raise WrongType(f"target {text!r} should give one number for each jet")
        with np.errstate(over="ignore"):
            table[:, t] = values
        bad = np.flatnonzero(~np.isfinite(table[:, t]))
        if len(bad):
            raise NonFinite(
                f"target {text!r} is NaN or infinite in {len(bad)} of {len(jets)} jets, first jet "
                f"{bad[0]}; where= selects jets"
            )
    return table


def with_label_columns(jets: ak.Array, labels: str | None) -> ak.Array:
    """The jets with those of their fields among the constituents that labels are made of.

    Args:
        jets: as `hepgen.io.read` gives them; a column of the file with one value a constituent
            that was kept is a field of the jets there.
        labels: an expression over constituents; None needs nothing.

    Raises:
        WrongType: a field has not as many values as the jets have constituents.
    """
    for name in expressions.names(labels) if labels is not None else ():
        if name in ak.fields(jets) and name not in ak.fields(jets["constituents"]):
            values = jets[name]
            counts = ak.num(jets["constituents"])
            if values.ndim != 2 or not np.array_equal(ak.num(values), counts):
                raise WrongType(f"label column {name!r} should have one value for each constituent")
            jets = ak.with_field(jets, values, ["constituents", name])
    return jets


def constituent_labels(constituents: Constituents, labels: str) -> NDArray[np.int64]:
    """A whole number for each constituent.

    Args:
        constituents: those that enter.
        labels: an expression over their fields, such as ``is_electron + 2 * is_muon``.

    Returns:
        Shape (N,).

    Raises:
        MissingName: the constituents lack a field.
        ExpressionError: the expression is none.
        InputError: values that are no whole numbers.
    """
    columns = {}
    for name in expressions.names(labels):
        try:
            columns[name] = np.asarray(getattr(constituents, name))
        except MissingName as error:
            raise MissingName(f"labels of constituents {labels!r}: {error}") from error
    values = np.asarray(expressions.evaluate(labels, columns))
    values = np.broadcast_to(values, len(constituents))
    whole = values.astype(np.int64) if np.isfinite(values).all() else np.full(len(values), -1)
    wrong = np.flatnonzero(whole != values)
    if len(wrong):
        raise InputError(
            f"labels of constituents {labels!r} should be whole numbers; {len(wrong)} of "
            f"{len(values)} are not, the first is {values[wrong[0]]}"
        )
    return whole


def _double(values: ak.Array) -> ak.Array:
    return ak.values_astype(values, np.float64) if values.ndim == 1 else values
