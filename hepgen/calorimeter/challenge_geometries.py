"""The calorimeters of the CaloChallenge, by name.

Radii and numbers of sectors are those of the challenge's binning files (github.com/CaloChallenge/
homepage), thresholds those of its evaluation, depths those of the stack that was simulated.

C. Krause et al., "CaloChallenge 2022", arXiv:2410.21611, section 2.

Shapes: V voxels.
"""

from __future__ import annotations

from functools import cache

from hepgen.calorimeter.errors import GeometryError
from hepgen.calorimeter.geometry import Geometry, Layer
from hepgen.io.errors import nearest_names

__all__ = ["GEOMETRY_NAMES", "geometry_of_size", "named_geometry"]

# Layer -> radii in mm and sectors, of the ATLAS calorimeter for 0.2 < |eta| < 0.25.
PHOTONS = {
    0: ((0, 5, 10, 30, 50, 100, 200, 400, 600), 1),
    1: ((0, 2, 4, 6, 8, 10, 12, 15, 20, 30, 40, 50, 70, 90, 120, 150, 200), 10),
    2: (
        (*(0, 2, 5, 10, 15, 20, 25, 30, 40, 50, 60, 80, 100), 130, 160, 200, 250, 300, 350, 400),
        10,
    ),
    3: ((0, 50, 100, 200, 400, 600), 1),
    12: ((0, 100, 200, 400, 1000, 2000), 1),
}
TILES = (0, 10, 20, 30, 50, 80, 100, 130, 160, 200, 250, 300, 350, 400)
PIONS = {
    0: ((0, 5, 10, 30, 50, 100, 200, 400, 600), 1),
    1: ((0, 1, 4, 7, 10, 15, 30, 50, 90, 150, 200), 10),
    2: ((0, 5, 10, 20, 30, 50, 80, 130, 200, 300, 400), 10),
    3: ((0, 50, 100, 200, 400, 600), 1),
    12: ((*TILES, 1000, 2000), 10),
    13: ((*TILES, 600, 1000, 2000), 10),
    14: ((0, 50, 100, 150, 200, 250, 300, 400, 600, 1000, 2000), 1),
}
# 90 plates of 1.4 mm tungsten, each with 0.3 mm silicon behind it; two make a layer.
STACK = {"ds2": (9, 4.65, 16), "ds3": (18, 2.325, 50)}
NUM_LAYERS = 45
PITCH = 3.4

# 1 MeV for the first data set; half a keV in silicon, 3.3 % of what is deposited, for the others.
THRESHOLDS = {"ds1": 1e-3, "ds2": 15.15e-6, "ds3": 15.15e-6}

GEOMETRY_NAMES = ("ds1-photons", "ds1-pions", "ds2", "ds3")


def named_geometry(name: str) -> Geometry:
    """A calorimeter of the CaloChallenge.

    Args:
        name: "ds1-photons" (368 voxels), "ds1-pions" (533), "ds2" (6480) or "ds3" (40 500).

    Returns:
        The geometry. Those of ds2 and ds3 are hit along their axis and so are symmetric, and tell
        depths; those of ds1 do neither.

    Raises:
        GeometryError: there is none of that name; the nearest is named.
    """
    if name not in GEOMETRY_NAMES:
        near = ", ".join(nearest_names(str(name), GEOMETRY_NAMES))
        raise GeometryError(f"no geometry is called {name!r}; nearest: {near}")
    return _made(name)


def geometry_of_size(num_voxels: int) -> Geometry | None:
    """The calorimeter of the CaloChallenge with so many voxels, for any particle.

    Args:
        num_voxels: V.

    Returns:
        The geometry, None if none has that many.
    """
    for name in GEOMETRY_NAMES:
        found = named_geometry(name)
        if found.num_voxels == num_voxels:
            return Geometry(found.layers, name, None, found.threshold, found.symmetric)
    return None


@cache
def _made(name: str) -> Geometry:
    threshold = THRESHOLDS[name[:3]]
    if name in STACK:
        num_r, width, num_alpha = STACK[name]
        # Nine digits, as multiples of 2.325 are not those of the file in the last bit.
        edges = tuple(round(i * width, 9) for i in range(num_r + 1))
        layers = tuple(
            Layer(edges, num_alpha, i, round(PITCH * (i + 0.5), 9)) for i in range(NUM_LAYERS)
        )
        return Geometry(layers, name, "electron", threshold, symmetric=True)
    bins = PHOTONS if name == "ds1-photons" else PIONS
    layers = tuple(Layer(tuple(edges), sectors, i) for i, (edges, sectors) in bins.items())
    return Geometry(layers, name, "photon" if bins is PHOTONS else "pion", threshold)
