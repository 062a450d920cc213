"""What a model was made with, kept on it as scikit-learn does: each argument under its own name."""

from __future__ import annotations

import inspect
import json
from collections.abc import Collection
from typing import Any

__all__ = ["kept_arguments"]


def kept_arguments(model: object, without: Collection[str] = ()) -> dict[str, Any]:
    """Arguments of a model's constructor, as JSON can hold them.

    Args:
        model: an object that keeps each argument as an attribute of its name.
        without: arguments that are left out.

    Returns:
        Name -> value, sequences as lists: ``type(model)(**kept)`` is the same architecture.

    Raises:
        TypeError: the model does not keep an argument, JSON cannot hold it, or the constructor
            takes any number of arguments.
    """
    values = {}
    for name, parameter in inspect.signature(type(model)).parameters.items():
        if name in without:
            continue
        told = f"argument {name!r} of {type(model).__name__}"
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise TypeError(f"{told} should be a named one, to be kept with the model")
        if not hasattr(model, name):
            raise TypeError(f"{told} should be kept as self.{name}, to be kept with the model")
        try:
            values[name] = json.loads(json.dumps(getattr(model, name)))
        except TypeError as error:
            raise TypeError(f"{told} should be what JSON can hold: {error}") from error
    return values
