"""What the example Par04 of Geant4 takes and gives: its cells, and their order.

Its readout is a cylinder about the direction of the particle, divided in r, phi and z. Cells are
numbered with z fastest, then phi, then r (Par04InferenceSetup::GetPositions), and phi begins at
-pi, as here (Par04SensitiveDetector::RetrieveAndSetupHit). Up to Geant4 11.3 its usual readout is
that of the CaloChallenge's data set 3, 18 x 50 x 45 cells; later full simulation has that of data
set 2, 9 x 16 x 45.

Geant4, examples/extended/parameterisations/Par04.

Shapes: V voxels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.challenge_geometries import named_geometry
from hepgen.calorimeter.errors import GeometryError
from hepgen.calorimeter.geometry import Geometry

__all__ = ["par04_geometry", "par04_mesh", "par04_order"]


def par04_geometry(cells: Mapping[str, NDArray[Any]], where: str) -> Geometry:
    """The usual readout that holds some cells.

    Args:
        cells: "ring", "sector" and "layer" of cells of some showers, each of shape (N,).
        where: the tree, for the message.

    Returns:
        The geometry of ds2 if all cells are in it, else that of ds3, for any particle.

    Raises:
        GeometryError: the cells are beyond both.
    """
    greatest = {name: int(values.max(initial=0)) for name, values in cells.items()}
    for name in ("ds2", "ds3"):
        one = named_geometry(name)
        assert one.shape is not None
        layers, sectors, rings = one.shape
        # The example keeps cells one beyond the last layer and the last ring.
        if (
            greatest["layer"] <= layers
            and greatest["sector"] < sectors
            and greatest["ring"] <= rings
        ):
            return Geometry(one.layers, name, None, one.threshold, one.symmetric)
    raise GeometryError(
        f"{where} has cells up to number {greatest['ring']} in r, {greatest['sector']} in phi, "
        f"{greatest['layer']} in z: neither 18 x 50 x 45 nor 9 x 16 x 45; give the geometry"
    )


def par04_mesh(geometry: Geometry) -> tuple[float, float]:
    """Sizes of the cells in r and in z, in mm.

    Args:
        geometry: whose cells are alike.

    Raises:
        GeometryError: they are not all of one size, as those of Par04 are, or the first ring or
            layer does not begin at 0.
    """
    edges = np.array(geometry.layers[0].r_edges)
    radial = edges[-1] / (len(edges) - 1)
    depths = np.array([np.nan if layer.z is None else layer.z for layer in geometry.layers])
    pitch = 2 * depths[0]
    alike = (
        geometry.shape is not None
        and all(layer.r_edges == geometry.layers[0].r_edges for layer in geometry.layers)
        and np.allclose(edges, radial * np.arange(len(edges)), rtol=0, atol=1e-6 * edges[-1])
        and np.allclose(depths, pitch * (np.arange(len(depths)) + 0.5), rtol=1e-6, atol=0)
    )
    if not alike:
        raise GeometryError(
            f"cells of Par04 are all of one size in r and in z and begin at 0; those of {geometry} "
            "are not, or their depths are not known"
        )
    return float(radial), float(pitch)


def par04_order(geometry: Geometry) -> NDArray[np.int64]:
    """The voxel of each cell of Par04, in its order; ``voxels[:, order]`` are its cells.

    Args:
        geometry: with layers that are divided alike.

    Returns:
        Shape (V,).

    Raises:
        GeometryError: the layers are not divided alike.
    """
    if geometry.shape is None:
        raise GeometryError(f"layers of Par04 are divided alike; those of {geometry} are not")
    numbers = np.arange(geometry.num_voxels).reshape(geometry.shape)
    return np.ascontiguousarray(numbers.transpose(2, 1, 0)).ravel()
