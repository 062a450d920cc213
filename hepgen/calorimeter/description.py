"""A geometry as YAML and JSON hold it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hepgen.calorimeter.errors import GeometryError
from hepgen.calorimeter.geometry import Geometry, Layer
from hepgen.io.errors import nearest_names

__all__ = ["described", "layers_of", "plain_fields"]

FIELDS = {"name": str, "particle": str, "threshold": float, "symmetric": bool}
LAYER = ("id", "r_edges", "num_alpha", "z", "repeat", "pitch")


def plain_fields(content: Mapping[str, Any]) -> dict[str, Any]:
    """What a description tells besides the layers.

    Args:
        content: see `Geometry.from_dict`.

    Raises:
        GeometryError: a key is not known, or a value of another type.
    """
    _check_names(content, [*FIELDS, "layers"], "a geometry")
    found = {}
    for name, kind in FIELDS.items():
        value = content.get(name)
        if value is None:
            continue
        if kind is float:
            value = _number(value)
        if not isinstance(value, kind):
            raise GeometryError(f"{name} of a geometry: wanted {kind.__name__}, got {value!r}")
        found[name] = value
    return found


def layers_of(content: Mapping[str, Any]) -> tuple[Layer, ...]:
    """The layers that a description tells, those that repeat written out.

    Args:
        content: see `Geometry.from_dict`.

    Raises:
        GeometryError: there are none, or one makes no sense.
    """
    told = content.get("layers")
    if not isinstance(told, list) or not told:
        raise GeometryError(f"a geometry needs a list of layers, got {told!r}")
    found: list[Layer] = []
    for number, one in enumerate(told):
        if not isinstance(one, Mapping):
            raise GeometryError(f"layer {number} of a geometry: wanted keys, got {one!r}")
        _check_names(one, LAYER, f"layer {number} of a geometry")
        if "r_edges" not in one:
            raise GeometryError(f"layer {number} of a geometry has no r_edges")
        first, z, pitch = one.get("id", len(found)), one.get("z"), one.get("pitch")
        if pitch is not None and z is None:
            raise GeometryError(f"layer {number} of a geometry has a pitch, but no z to begin at")
        try:
            edges = tuple(map(float, one["r_edges"]))
            sectors = _whole(one.get("num_alpha", 1), "num_alpha")
            for i in range(_whole(one.get("repeat", 1), "repeat")):
                depth = None if z is None else _depth(float(z), i, float(pitch or 0))
                found.append(Layer(edges, sectors, int(first) + i, depth))
        except (TypeError, ValueError) as error:
            if isinstance(error, GeometryError):
                raise
            raise GeometryError(f"layer {number} of a geometry: {error}") from error
    return tuple(found)


def described(geometry: Geometry) -> dict[str, Any]:
    """The same as `Geometry.to_dict`, with layers that are alike and evenly spaced told once.

    Args:
        geometry: what to describe; `Geometry.from_dict` gives it back.
    """
    layers: list[dict[str, Any]] = []
    for one in geometry.to_dict()["layers"]:
        if not (layers and _continues(layers[-1], one)):
            layers.append(one)
    return {**geometry.to_dict(), "layers": layers}


def _continues(group: dict[str, Any], one: Mapping[str, Any]) -> bool:
    """Whether a layer is the next of a group; then it is added to it."""
    count = group.get("repeat", 1)
    alike = all(group[name] == one[name] for name in ("r_edges", "num_alpha"))
    if not alike or one["id"] != group["id"] + count or (one["z"] is None) != (group["z"] is None):
        return False
    if one["z"] is not None:
        pitch = group.get("pitch", round(one["z"] - group["z"], 9))
        # Depths have to come back bit for bit.
        if _depth(group["z"], count, pitch) != one["z"]:
            return False
        group["pitch"] = pitch
    group["repeat"] = count + 1
    return True


def _depth(first: float, i: int, pitch: float) -> float:
    """Depth of one of several layers, without the last bits that multiplication leaves."""
    return round(first + i * pitch, 9) if i else first


def _number(value: Any) -> Any:
    """A float where one is meant: YAML takes 1e-5, without a point, for a text."""
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        return value
    try:
        return float(value)
    except ValueError:
        return value


def _whole(value: Any, name: str) -> int:
    if isinstance(value, bool) or int(value) != float(value) or int(value) < 1:
        raise GeometryError(f"{name} of a layer: wanted a whole number from 1 on, got {value!r}")
    return int(value)


def _check_names(content: Mapping[str, Any], known: Collection[str], what: str) -> None:
    for name in content:
        if name not in known:
            near = ", ".join(nearest_names(str(name), known))
            raise GeometryError(f"{what} has no key {name!r}; nearest: {near}")
