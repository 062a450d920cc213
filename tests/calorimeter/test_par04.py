"""The cells of the example Par04 of Geant4, and their order."""

from __future__ import annotations

import math

import numpy as np
import pytest

from hepgen.calorimeter import Geometry, GeometryError, Layer
from hepgen.calorimeter.challenge_geometries import named_geometry
from hepgen.calorimeter.par04 import par04_geometry, par04_mesh, par04_order


@pytest.mark.parametrize("name", ["ds2", "ds3"])
def test_cells_in_their_order_stand_where_the_example_puts_them(name: str) -> None:
    """Its loops over r, phi and z (Par04InferenceSetup::GetPositions), z the innermost."""
    geometry = named_geometry(name)
    assert geometry.shape is not None
    layers, sectors, rings = geometry.shape
    size_r, size_z = par04_mesh(geometry)
    assert (size_r, size_z) == pytest.approx((4.65 if name == "ds2" else 2.325, 3.4))
    order = par04_order(geometry)
    x, y, z = geometry.x[order], geometry.y[order], geometry.z[order]
    cell = 0
    for i_r in range(rings):
        for i_phi in range(sectors):
            angle = (i_phi + 0.5) * 2 * math.pi / sectors - math.pi
            for i_z in range(layers):
                if cell % 17 == 0:
                    assert x[cell] == pytest.approx((i_r + 0.5) * size_r * math.cos(angle))
                    assert y[cell] == pytest.approx((i_r + 0.5) * size_r * math.sin(angle))
                    assert z[cell] == pytest.approx((i_z + 0.5) * size_z)
                cell += 1
    assert cell == len(order)


def test_only_meshes_of_equal_cells_are_those_of_par04() -> None:
    with pytest.raises(GeometryError, match="layers of Par04 are divided alike; those of ds1"):
        par04_order(named_geometry("ds1-photons"))
    for geometry in (
        named_geometry("ds1-photons"),
        named_geometry("ds2").merged(rings=(1, 1, 2, 5)),
        Geometry(tuple(Layer((0, 1, 2), 4, i) for i in range(3))),
        Geometry(tuple(Layer((0, 1, 2), 4, i, 2.0 * i) for i in range(3))),
        Geometry(tuple(Layer((1, 2, 3), 4, i, i + 0.5) for i in range(3))),
    ):
        with pytest.raises(GeometryError, match=r"all of one size in r and in z and begin at 0"):
            par04_mesh(geometry)
    assert par04_mesh(named_geometry("ds2").merged(layers=3, sectors=2, rings=3)) == pytest.approx(
        (13.95, 10.2)
    )


def test_the_mesh_is_told_by_the_cells_that_are_in_it() -> None:
    def found(layer: int, sector: int, ring: int) -> str:
        cells = {"layer": [0, layer], "sector": [0, sector], "ring": [0, ring]}
        return par04_geometry({n: np.array(v) for n, v in cells.items()}, "here").name

    assert found(44, 15, 8) == found(0, 0, 0) == "ds2"
    assert found(45, 15, 9) == "ds2"
    assert found(44, 16, 8) == found(44, 49, 17) == found(3, 3, 10) == "ds3"
    with pytest.raises(GeometryError, match="here has cells up to number 30 in r"):
        found(44, 15, 30)
