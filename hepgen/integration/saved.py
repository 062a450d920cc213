"""States on disk: plain values and numpy arrays in one safetensors file, read without running code.

The header's metadata holds the tree of values as JSON, in which an array stands as its name.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hepgen.atomic import replacing

__all__ = ["SavedStateError", "load_state", "save_state"]

FORMAT = 1
ARRAY = "$array"


class SavedStateError(ValueError):
    """A file that holds no saved integration, not the whole of it, or one of another run."""


def save_state(path: str | Path, tree: Mapping[str, Any]) -> None:
    """Write a tree of mappings, lists, plain values and arrays, whole or not at all.

    Args:
        path: the file to write or replace.
        tree: what to keep.

    Raises:
        OSError: the file cannot be written; one that was there before is left.
        TypeError: something that is neither JSON-able nor an array.
    """
    from safetensors.numpy import save_file

    arrays: dict[str, Any] = {}
    text = json.dumps({"format": FORMAT, "tree": _without_arrays(tree, arrays)})
    with replacing(path) as temporary:
        temporary.touch()
        save_file(arrays, temporary, metadata={"hepgen_integration": text})


def load_state(path: str | Path) -> dict[str, Any]:
    """Read what `save_state` wrote.

    Args:
        path: the file.

    Returns:
        The tree with its arrays.

    Raises:
        FileNotFoundError: there is no such file.
        SavedStateError: the file is damaged or something else.
    """
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}")
    try:
        with safe_open(path, "numpy") as file:
            metadata = file.metadata() or {}
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        ours = json.loads(metadata["hepgen_integration"])
    except (SafetensorError, KeyError, ValueError) as error:
        raise SavedStateError(f"{path} holds no saved integration: {error}") from error
    if ours["format"] > FORMAT:
        raise SavedStateError(f"{path} was written by a newer hepgen, in format {ours['format']}")
    return dict(_with_arrays(ours["tree"], arrays))


def _without_arrays(value: Any, arrays: dict[str, Any]) -> Any:
    if isinstance(value, np.ndarray):
        name = f"{len(arrays)}"
        arrays[name] = np.ascontiguousarray(value)
        return {ARRAY: name}
    if isinstance(value, np.generic):
        return value.item()
    if isinstance(value, Mapping):
        return {str(key): _without_arrays(each, arrays) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_arrays(each, arrays) for each in value]
    return value


def _with_arrays(value: Any, arrays: Mapping[str, Any]) -> Any:
    if isinstance(value, dict):
        if value.keys() == {ARRAY}:
            return arrays[value[ARRAY]]
        return {key: _with_arrays(each, arrays) for key, each in value.items()}
    if isinstance(value, list):
        return [_with_arrays(each, arrays) for each in value]
    return value
