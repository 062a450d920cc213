"""Showers of a finer layout beside those of a coarser one, in which a simulator was trained."""

from __future__ import annotations

import os
from dataclasses import replace

from hepgen import calorimeter
from hepgen.calorimeter import Geometry, GeometryError, Showers

__all__ = ["in_layout", "read_like"]


def in_layout(showers: Showers, geometry: Geometry) -> Showers:
    """Showers with their voxels joined to those of a coarser layout, where they are finer.

    Args:
        showers: of the same calorimeter; voxels below their threshold are emptied before they are
            joined, as in training, and the threshold stays.
        geometry: the layout that is wanted.

    Raises:
        GeometryError: their voxels are not parts of those that are wanted; both are named.
    """
    own = showers.geometry
    if own.same_voxels(geometry):
        return showers
    wanted = replace(geometry, threshold=own.threshold)
    try:
        own.voxels_in(wanted)
    except GeometryError as error:
        raise GeometryError(
            f"{own} cannot be compared to {geometry}: neither the same voxels nor finer ones"
        ) from error
    return showers.above().into(wanted)


def read_like(files: str | os.PathLike[str], geometry: Geometry) -> Showers:
    """Showers of files in the layout of a simulator, or in one that can be joined to it.

    Args:
        files: as of `hepgen.calorimeter.read`.
        geometry: of the simulator, which files that tell none are taken to be in.

    Returns:
        The showers in that layout.

    Raises:
        GeometryError: the showers are in another layout.
        InputError: the files cannot be read.
    """
    try:
        return calorimeter.read(files, geometry=geometry)
    except GeometryError as error:
        try:
            found = calorimeter.read(files)
        except GeometryError:
            raise error from None
    return in_layout(found, geometry)
