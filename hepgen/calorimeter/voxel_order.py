"""Files whose voxels are not in our order: other axes first, or one axis for each direction.

Shapes: V voxels.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import permutations

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.errors import GeometryError
from hepgen.calorimeter.geometry import Geometry

__all__ = ["AXES", "flat_order"]

AXES = ("z", "alpha", "r")


def flat_order(
    shape: Sequence[int], axes: str | None, geometry: Geometry, where: str
) -> NDArray[np.int64] | None:
    """How to bring the voxels of a file into the order of a geometry.

    Args:
        shape: of one shower in the file: (V,) or one number for each axis.
        axes: what those axes are, slowest first, such as "z alpha r" (our order) or "r alpha z";
            axes along which there is only one voxel may be left out.
        geometry: of V voxels.
        where: the file, for the message.

    Returns:
        ``order`` such that ``flattened[:, order]`` is in our order, shape (V,); None if it is.

    Raises:
        GeometryError: the axes are not known, or of other lengths than those of the geometry.
    """
    if axes is None:
        if len(shape) == 1 or _essential(shape) == _essential(geometry.shape or ()):
            return None
        raise _wrong_shape(shape, geometry, where)
    named = axes.replace(",", " ").split()
    if not set(named) <= set(AXES) or len(set(named)) != len(named) or not named:
        raise GeometryError(f"axes={axes!r}: wanted some of {', '.join(AXES)}, each once")
    if geometry.shape is None:
        raise GeometryError(f"axes={axes!r} need layers that are divided alike; {geometry} has not")
    sizes = dict(zip(AXES, geometry.shape, strict=True))
    lengths = tuple(sizes[name] for name in named)
    if math.prod(lengths) != geometry.num_voxels or len(shape) not in (1, len(lengths)):
        raise GeometryError(
            f"axes={axes!r} do not describe voxels of shape {tuple(shape)} in {geometry}"
        )
    if len(shape) > 1 and tuple(shape) != lengths:
        raise _wrong_shape(shape, geometry, where)
    rest = [name for name in AXES if name not in named]
    numbers = np.arange(geometry.num_voxels).reshape(*lengths, *(1 for _ in rest))
    order = numbers.transpose([[*named, *rest].index(name) for name in AXES]).ravel()
    return None if np.array_equal(order, np.arange(len(order))) else order


def _essential(shape: Sequence[int]) -> list[int]:
    return [size for size in shape if size > 1]


def _wrong_shape(shape: Sequence[int], geometry: Geometry, where: str) -> GeometryError:
    told = f"showers of {where} have shape {tuple(shape)}, wanted {geometry}"
    if geometry.shape is not None and len(shape) == len(AXES):
        sizes = dict(zip(AXES, geometry.shape, strict=True))
        fitting = [
            " ".join(names)
            for names in permutations(AXES)
            if tuple(sizes[name] for name in names) == tuple(shape)
        ]
        if fitting:
            return GeometryError(f"{told}; if their axes are others, say so: axes={fitting[0]!r}")
    return GeometryError(told)
