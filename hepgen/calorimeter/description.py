"""A geometry as YAML and JSON hold it."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from hepgen.calorimeter.errors import GeometryError
from hepgen.calorimeter.geometry import Layer
from hepgen.io.errors import nearest_names

__all__ = ["layers_of", "plain_fields"]

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
        if kind is float and isinstance(value, int) and not isinstance(value, bool):
            value = float(value)
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
        try:
            for i in range(int(one.get("repeat", 1))):
                depth = None if z is None else float(z) + i * float(pitch or 0)
                edges = tuple(map(float, one["r_edges"]))
                found.append(Layer(edges, int(one.get("num_alpha", 1)), int(first) + i, depth))
        except (TypeError, ValueError) as error:
            if isinstance(error, GeometryError):
                raise
            raise GeometryError(f"layer {number} of a geometry: {error}") from error
    return tuple(found)


def _check_names(content: Mapping[str, Any], known: Collection[str], what: str) -> None:
    for name in content:
        if name not in known:
            near = ", ".join(nearest_names(str(name), known))
            raise GeometryError(f"{what} has no key {name!r}; nearest: {near}")
