"""Heads from plain names and numbers, as pipelines and model files hold them.

Only the heads of hepgen can be named: nothing is imported by what stands in a file.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from hepgen.heads.adversarial import Adversarial
from hepgen.heads.auxiliary import AuxiliaryLabels
from hepgen.heads.classification import Classification
from hepgen.heads.decorrelation import DistanceCorrelation
from hepgen.heads.head import Head
from hepgen.heads.joint import Joint
from hepgen.heads.regression import Regression
from hepgen.io.errors import InputError, MissingName, WrongType

__all__ = ["build_head", "head_from_dict"]

_HEADS: dict[str, type[Head]] = {
    cls.__name__: cls
    for cls in (
        Adversarial,
        AuxiliaryLabels,
        Classification,
        DistanceCorrelation,
        Joint,
        Regression,
    )
}
_SPELLINGS = {re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower(): name for name in _HEADS}


def build_head(
    spec: str | Mapping[str, Any], classes: Sequence[str] | Callable[[], Sequence[str]] = ()
) -> Head:
    """The head that a pipeline describes.

    Args:
        spec: a name, such as "classification", or {name: arguments}, such as
            ``{"regression": {"targets": ["mass"], "kind": "gaussian"}}``. Heads within heads are
            described alike; where ``head`` is left out it is classification.
        classes: names of the classes of the jets, or a function that gives them, which is asked if
            there is a classification.

    Returns:
        The head.

    Raises:
        MissingName: there is no such head or argument, or no class of a name.
        WrongType: the description is none.
        InputError: arguments that make no sense.
    """
    if not isinstance(spec, Mapping):
        spec = {str(spec): {}}
    if len(spec) != 1:
        raise WrongType(f"head should be a name, or one name with its arguments, not {spec!r:.80}")
    ((name, arguments),) = spec.items()
    if name not in _SPELLINGS and name not in _HEADS:
        raise MissingName.among(str(name), _SPELLINGS, kind="head", where="hepgen.heads")
    cls = _HEADS[_SPELLINGS.get(name, name)]
    if arguments is not None and not isinstance(arguments, Mapping):
        raise WrongType(f"head.{name} should hold arguments, not {arguments!r:.80}")
    given = dict(arguments or {})
    known = list(inspect.signature(cls).parameters)
    for key in given:
        if key not in known:
            raise MissingName.among(key, known, kind="argument", where=f"head.{name}")
    if cls is Classification:
        known_classes = classes() if callable(classes) and "classes" not in given else classes
        given.setdefault("classes", known_classes)
    if "head" in known:
        given["head"] = build_head(given.get("head", "classification"), classes)
    if "heads" in given:
        if not isinstance(given["heads"], Mapping):
            raise WrongType(f"head.{name}.heads should hold heads, not {given['heads']!r:.80}")
        given["heads"] = {key: build_head(one, classes) for key, one in given["heads"].items()}
    return _made(cls, given, f"head.{name}")


def head_from_dict(values: Mapping[str, Any]) -> Head:
    """The head that ``to_dict`` described.

    Args:
        values: what ``to_dict`` gave; its buffers and parameters are in the model's weights.

    Raises:
        MissingName: there is no such head.
        InputError: arguments that it does not take.
    """
    given = dict(values)
    name = given.pop("class", None)
    if not isinstance(name, str) or name not in _HEADS:
        raise MissingName.among(str(name), _HEADS, kind="head", where="hepgen.heads")
    return _made(_HEADS[name], {key: _restored(one) for key, one in given.items()}, name)


def _restored(value: Any) -> Any:
    if isinstance(value, Mapping):
        if isinstance(value.get("class"), str) and value["class"] in _HEADS:
            return head_from_dict(value)
        return {key: _restored(one) for key, one in value.items()}
    return value


def _made(cls: type[Head], arguments: dict[str, Any], where: str) -> Head:
    try:
        return cls(**arguments)
    except InputError:
        raise
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{where}: {error}") from error
