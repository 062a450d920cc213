"""The class of each jet as a number, and its weight in the loss.

Shapes: B jets, K classes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import awkward as ak
import numpy as np
from numpy.typing import NDArray

from hepgen.data.finite import NonFinite
from hepgen.io.errors import EmptyInput, InputError, LabelError, MissingName

__all__ = ["class_index", "class_sums", "jet_weights", "normalisation"]

Weights = NDArray[np.float64]
ClassWeights = Literal["balanced"] | Mapping[str, float] | None


def class_index(jets: ak.Array, classes: Sequence[str]) -> NDArray[np.int64]:
    """The class of each jet from its fields ``label_<class>``.

    Args:
        jets: as `hepgen.io.read` gives them.
        classes: names of the K classes.

    Returns:
        Indices into ``classes``, shape (B,).

    Raises:
        MissingName: a class has no field ``label_<class>``.
        LabelError: a jet belongs to none of the classes, or to several.
    """
    index = np.zeros(len(jets), np.int64)
    memberships = np.zeros(len(jets), np.int64)
    for k, name in enumerate(classes):
        field = f"label_{name}"
        if field not in ak.fields(jets):
            labels = [name for name in ak.fields(jets) if name.startswith("label_")]
            raise MissingName.among(
                field, labels or ak.fields(jets), kind="field", where="the jets"
            )
        member = ak.to_numpy(jets[field]).astype(np.bool_)
        index[member] = k
        memberships += member
    if (memberships != 1).any():
        raise LabelError(_clash(jets, classes, memberships))
    return index


def _clash(jets: ak.Array, classes: Sequence[str], memberships: NDArray[np.int64]) -> str:
    told = []
    for what, wrong in (("none", memberships == 0), ("several", memberships > 1)):
        if wrong.any():
            first = int(np.flatnonzero(wrong)[0])
            here = [name for name in classes if jets[f"label_{name}"][first]]
            which = f" ({', '.join(here)})" if here else ""
            told.append(f"{np.count_nonzero(wrong)} to {what}, first jet {first}{which}")
    return (
        f"each jet should belong to one of the classes {', '.join(classes)}; of {len(jets)} jets"
        f" {'; '.join(told)}"
    )


def jet_weights(jets: ak.Array) -> Weights:
    """The weights that jets have from their file, 1 where it has none, shape (B,).

    Raises:
        NonFinite: NaN or infinite weights.
    """
    if "weight" not in ak.fields(jets):
        return np.ones(len(jets))
    weight = np.array(ak.to_numpy(jets["weight"]), np.float64)
    bad = np.flatnonzero(~np.isfinite(weight))
    if len(bad):
        raise NonFinite(
            f"NaN or infinite weights: {len(bad)} of {len(jets)} jets, first jet {bad[0]}"
        )
    return weight


def class_sums(
    weight: Weights, index: NDArray[np.int64], num_classes: int
) -> tuple[NDArray[np.int64], Weights]:
    """Number of jets and sum of absolute weights of each class, what `normalisation` needs.

    Args:
        weight: (B,) weights.
        index: (B,) classes.
        num_classes: K.

    Returns:
        Two arrays of shape (K,); those of several samples can be added.
    """
    counts = np.bincount(index, minlength=num_classes).astype(np.int64)
    return counts, np.bincount(index, np.abs(weight), num_classes).astype(np.float64)


def normalisation(
    counts: NDArray[np.int64],
    sums: Weights,
    classes: Sequence[str],
    class_weights: ClassWeights,
) -> Weights:
    """What the weights of each class are multiplied by, for a mean absolute weight of 1.

    Args:
        counts: (K,) jets of each class, from `class_sums`.
        sums: (K,) sums of absolute weights, from `class_sums`.
        classes: names of the K classes.
        class_weights: "balanced" gives each class the same sum of absolute weights; a mapping
            multiplies the weights of the classes that it names; None leaves them as they are.

    Returns:
        Factors, shape (K,).

    Raises:
        MissingName: a name in ``class_weights`` is no class.
        EmptyInput: no jets, or "balanced" and a class without jets.
        InputError: all weights are zero.
    """
    if counts.sum() == 0:
        raise EmptyInput("there are no jets to train on")
    factors = np.ones(len(counts))
    if class_weights == "balanced":
        if not sums.all():
            empty = [name for name, total in zip(classes, sums, strict=True) if total == 0]
            raise EmptyInput(f"no jets to balance, or all of weight 0, in: {', '.join(empty)}")
        factors = 1 / sums
    elif class_weights is not None:
        for name, factor in class_weights.items():
            if name not in classes:
                raise MissingName.among(name, classes, kind="class", where="this sample")
            factors[list(classes).index(name)] = factor
    total = np.abs(factors) @ sums
    if total == 0:
        raise InputError("the weights of all jets are 0")
    return np.asarray(factors * (counts.sum() / total))
