"""Hits of a shower, as lists of energies and places, made voxels of a geometry and back.

Shapes: B showers, N hits of all of them end to end, V voxels; offsets (B + 1), from 0 to N.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.errors import GeometryError, ShowerError
from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.showers import Showers

__all__ = ["PLACES", "Hits", "hits_of", "place_names", "voxels_of"]

Array = NDArray[Any]

# What may tell where a hit is: lengths in mm from where the particle enters, z along the shower
# axis, angles in radians, numbers from 0; layers by their ids.
PLACES = ("index", "layer", "sector", "ring", "x", "y", "z", "r", "phi")
ACROSS = (("sector", "ring"), ("x", "y"), ("r", "phi"))


@dataclass(frozen=True)
class Hits:
    """The voxels of some showers that have energy.

    Attributes:
        offsets: int64, shape (B + 1,).
        index: of the voxels, rising in each shower, int32, shape (N,).
        energy: in GeV, shape (N,).
    """

    offsets: NDArray[np.int64]
    index: NDArray[np.int32]
    energy: Array


def hits_of(showers: Showers) -> Hits:
    """The voxels that are not empty.

    Args:
        showers: B of them.
    """
    rows, index = np.nonzero(showers.voxels)
    offsets = np.zeros(len(showers) + 1, dtype=np.int64)
    np.cumsum(np.bincount(rows, minlength=len(showers)), out=offsets[1:])
    return Hits(offsets, index.astype(np.int32), showers.voxels[rows, index])


def place_names(known: Collection[str], geometry: Geometry) -> tuple[str, ...]:
    """Which of the things known of hits tell their voxels.

    Args:
        known: some of `PLACES`.
        geometry: of the voxels.

    Returns:
        Names that are enough: the index; else a layer or a depth, and a sector and a ring, or x and
        y, or r and phi (r alone where there is one sector).

    Raises:
        GeometryError: they are not enough, or depths are known of the hits only.
    """
    if "index" in known:
        return ("index",)
    told = ", ".join(known) or "nothing"
    along = next((name for name in ("layer", "z") if name in known), None)
    across: tuple[str, ...] | None = next((n for n in ACROSS if set(n) <= set(known)), None)
    if across is None and all(layer.num_alpha == 1 for layer in geometry.layers):
        across = next(((name,) for name in ("ring", "r") if name in known), None)
    if along is None or across is None:
        raise GeometryError(
            f"of hits is known {told}; wanted index, or layer or z with sector and ring, with x "
            "and y, or with r and phi"
        )
    if along == "z":
        _depth_edges(geometry)
    return (along, *across)


def voxels_of(
    offsets: NDArray[np.int64], energy: Array, places: Mapping[str, Array], geometry: Geometry
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Energies of hits summed over voxels.

    Args:
        offsets: of the showers, shape (B + 1,).
        energy: of the hits, shape (N,).
        places: what `place_names` wants, each of shape (N,).
        geometry: of the voxels.

    Returns:
        Sums over voxels, shape (B, V), and over the hits that are in none, shape (B,), in the unit
        of the hits.

    Raises:
        GeometryError: see `place_names`.
        ShowerError: an index or place that is no number.
    """
    names = place_names(places, geometry)
    for name in names:
        if not np.isfinite(places[name]).all():
            raise ShowerError(f"{name} of a hit is no number")
    if names == ("index",):
        voxel = places["index"].astype(np.int64)
    else:
        layer = _layers(names[0], places[names[0]], geometry)
        voxel = _in_layers(layer, names[1:], places, geometry)
    inside = (voxel >= 0) & (voxel < geometry.num_voxels)
    number = len(offsets) - 1
    row = np.repeat(np.arange(number), np.diff(offsets))
    flat = row[inside] * geometry.num_voxels + voxel[inside]
    weights = energy.astype(np.float64)
    sums = np.bincount(flat, weights[inside], number * geometry.num_voxels).astype(np.float64)
    lost = np.bincount(row[~inside], weights[~inside], number).astype(np.float64)
    return sums.reshape(number, geometry.num_voxels), lost


def _depth_edges(geometry: Geometry) -> NDArray[np.float64]:
    """Depths between layers, half-way between their middles, and of the ends."""
    depths = [layer.z for layer in geometry.layers]
    known = [depth for depth in depths if depth is not None]
    if len(known) < len(depths) or len(known) < 2 or any(np.diff(known) <= 0):
        raise GeometryError(
            f"layers by depth need two layers or more whose depths are known and rise; {geometry} "
            "has not: tell z of its layers, or the layer of each hit"
        )
    middles = np.array(known)
    between = (middles[1:] + middles[:-1]) / 2
    ends = (2 * middles[0] - between[0], 2 * middles[-1] - between[-1])
    return np.concatenate([[ends[0]], between, [ends[1]]])


def _layers(name: str, values: Array, geometry: Geometry) -> NDArray[np.int64]:
    """Numbers of layers, -1 outside."""
    if name == "z":
        edges = _depth_edges(geometry)
        found = np.searchsorted(edges, values, side="right") - 1
        return np.where((found >= 0) & (found < geometry.num_layers), found, -1)
    ids = np.array([layer.id for layer in geometry.layers])
    order = np.argsort(ids, kind="stable")
    place = np.minimum(np.searchsorted(ids[order], values), len(ids) - 1)
    found = order[place]
    return np.where(ids[found] == values, found, -1)


def _in_layers(
    layer: NDArray[np.int64],
    names: tuple[str, ...],
    places: Mapping[str, Array],
    geometry: Geometry,
) -> NDArray[np.int64]:
    """Voxels of hits whose layers are known, -1 outside."""
    radius, angle, ring, sector = _across(names, places)
    found = np.full(len(layer), -1, dtype=np.int64)
    for i, one in enumerate(geometry.layers):
        here = np.flatnonzero(layer == i)
        if radius is not None:
            r = np.searchsorted(one.r_edges, radius[here], side="right") - 1
        else:
            assert ring is not None
            r = ring[here].astype(np.int64)
        if angle is not None:
            a = np.floor((angle[here] + np.pi) / (2 * np.pi) * one.num_alpha).astype(np.int64)
            # An angle is one all the way round.
            a %= one.num_alpha
        elif sector is not None:
            a = sector[here].astype(np.int64)
        else:
            a = np.zeros(len(here), dtype=np.int64)
        inside = (r >= 0) & (r < one.num_r) & (a >= 0) & (a < one.num_alpha)
        index = geometry.starts[i] + a * one.num_r + r
        found[here] = np.where(inside, index, -1)
    return found


def _across(
    names: tuple[str, ...], places: Mapping[str, Array]
) -> tuple[Array | None, Array | None, Array | None, Array | None]:
    """Radius, angle, ring and sector, as far as they are known."""
    if names == ("x", "y"):
        x, y = (places[name].astype(np.float64) for name in names)
        return np.hypot(x, y), np.arctan2(y, x), None, None
    radius, angle = places.get("r"), places.get("phi")
    ring, sector = places.get("ring"), places.get("sector")
    return (
        radius if "r" in names else None,
        angle if "phi" in names else None,
        ring if "ring" in names else None,
        sector if "sector" in names else None,
    )
