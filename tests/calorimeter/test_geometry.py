"""Geometries: the numbering of voxels, coarser ones, and what they are made of in files."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hepgen.calorimeter import Geometry, GeometryError, Layer
from hepgen.calorimeter.description import described, layers_of, plain_fields

EDGES = (0.0, 4.65, 9.3, 13.95, 18.6)


def irregular() -> Geometry:
    return Geometry(
        (Layer((0, 5, 10), 1, 0, 1.0), Layer((0, 2, 4, 8), 10, 1, 4.0), Layer((1, 3), 4, 12)),
        "three layers",
        "photon",
        1e-3,
    )


def regular(layers: int = 6, sectors: int = 4, symmetric: bool = True) -> Geometry:
    return Geometry(
        tuple(Layer(EDGES, sectors, i, round(3.4 * (i + 0.5), 9)) for i in range(layers)),
        symmetric=symmetric,
    )


@st.composite
def geometries(draw: Any) -> Geometry:
    layers = []
    for i in range(draw(st.integers(1, 5))):
        widths = draw(st.lists(st.floats(0.1, 100), min_size=1, max_size=6))
        edges = np.cumsum([draw(st.floats(0, 10)), *widths])
        depth = draw(st.none() | st.floats(-1e3, 1e3))
        layers.append(Layer(tuple(edges.tolist()), draw(st.integers(1, 20)), 2 * i, depth))
    return Geometry(tuple(layers), "drawn", draw(st.none() | st.just("pion")), 1e-6, True)


@given(geometries())
def test_voxels_are_numbered_ring_by_ring_sector_by_sector_layer_by_layer(one: Geometry) -> None:
    number = 0
    for place, layer in enumerate(one.layers):
        assert one.starts[place] == number
        for i_alpha in range(layer.num_alpha):
            for i_r in range(layer.num_r):
                middle = (layer.r_edges[i_r] + layer.r_edges[i_r + 1]) / 2
                angle = -math.pi + 2 * math.pi * (i_alpha + 0.5) / layer.num_alpha
                assert one.layer_of[number] == place
                assert one.r[number] == pytest.approx(middle, rel=1e-12)
                assert one.alpha[number] == pytest.approx(angle, abs=1e-12)
                assert one.x[number] == pytest.approx(middle * math.cos(angle), abs=1e-9)
                assert one.y[number] == pytest.approx(middle * math.sin(angle), abs=1e-9)
                assert math.isnan(one.z[number]) == (layer.z is None)
                number += 1
    assert one.num_voxels == number == one.starts[-1]
    assert one.num_layers == len(one.layers)


def test_the_axes_of_a_regular_geometry_are_layers_sectors_and_rings() -> None:
    one = regular()
    assert one.shape == (6, 4, 4)
    assert np.array_equal(one.r.reshape(one.shape)[2, 1], (np.array(EDGES)[1:] + EDGES[:-1]) / 2)
    assert np.ptp(one.alpha.reshape(one.shape), axis=(0, 2)).max() == 0
    assert str(one) == "calorimeter (6 x 4 x 4 = 96 voxels)"
    assert irregular().shape is None
    assert "36 voxels" in str(irregular())
    assert "12: 4x1" in str(irregular())


@given(geometries())
def test_a_geometry_comes_back_from_json_and_from_yaml(one: Geometry) -> None:
    assert Geometry.from_dict(json.loads(json.dumps(one.to_dict()))) == one
    short = described(one)
    assert Geometry.from_dict(yaml.safe_load(yaml.safe_dump(short))) == one
    assert len(short["layers"]) <= one.num_layers


def test_layers_that_are_alike_are_told_once() -> None:
    told = described(regular())
    assert told["layers"] == [
        {"id": 0, "r_edges": list(EDGES), "num_alpha": 4, "z": 1.7, "repeat": 6, "pitch": 3.4}
    ]
    assert Geometry.from_dict(told) == regular()


def test_a_description_may_repeat_layers_and_leave_out_what_is_usual() -> None:
    text = """
    name: mine
    threshold: 1e-5
    layers:
      - {r_edges: [0, 1, 2], num_alpha: 3, repeat: 2, z: 1, pitch: 2.5}
      - {r_edges: [0, 9]}
    """
    one = Geometry.from_dict(yaml.safe_load(text))
    assert [(e.id, e.num_alpha, e.num_r, e.z) for e in one.layers] == [
        (0, 3, 2, 1.0),
        (1, 3, 2, 3.5),
        (2, 1, 1, None),
    ]
    assert (one.name, one.threshold, one.particle, one.symmetric) == ("mine", 1e-5, None, False)
    content = yaml.safe_load(text)
    assert layers_of(content) == one.layers
    assert plain_fields(content) == {"name": "mine", "threshold": 1e-5}


LAYERS: list[dict[str, Any]] = [{"r_edges": [0, 1]}]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({}, "needs a list of layers, got None"),
        ({"layers": []}, "needs a list of layers"),
        ({"layers": LAYERS, "treshold": 1}, "no key 'treshold'; nearest: threshold"),
        ({"layers": LAYERS, "threshold": "low"}, "threshold of a geometry: wanted float"),
        ({"layers": LAYERS, "threshold": True}, "threshold of a geometry: wanted float"),
        ({"layers": LAYERS, "threshold": -1}, "threshold=-1.0 GeV"),
        ({"layers": LAYERS, "symmetric": "no"}, "symmetric of a geometry: wanted bool, got 'no'"),
        ({"layers": [{"num_alpha": 3}]}, "layer 0 of a geometry has no r_edges"),
        ({"layers": [3]}, "layer 0 of a geometry: wanted keys, got 3"),
        ({"layers": [*LAYERS, {"r_edges": [0, 1], "n_alpha": 2}]}, "layer 1 .*nearest: num_alpha"),
        ({"layers": [{"r_edges": ["a", "b"]}]}, "layer 0 of a geometry: could not convert"),
        ({"layers": [{"r_edges": 3}]}, "layer 0 of a geometry"),
        ({"layers": [{"r_edges": [0, 1], "num_alpha": 1.5}]}, "num_alpha of a layer: .*got 1.5"),
        ({"layers": [{"r_edges": [0, 1], "repeat": 0}]}, "repeat of a layer: .*got 0"),
        ({"layers": [{"r_edges": [0, 1], "repeat": 2, "pitch": 3}]}, "a pitch, but no z"),
    ],
)
def test_descriptions_that_make_no_sense_are_refused(content: Any, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        Geometry.from_dict(content)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (((0,),), "layer 7: wanted two radii or more"),
        (((-1, 2),), "layer 7: wanted two radii or more from 0 on"),
        (((0, math.nan),), "wanted two radii or more"),
        (((0, 2, 2),), "layer 7: radii should grow"),
        (((0, 2), 0), "wanted one sector at least, got 0"),
        (((0, 2), 1, 7, math.inf), "wanted a depth in mm"),
    ],
)
def test_layers_that_make_no_sense_are_refused(arguments: Any, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        Layer(
            **{"id": 7, **dict(zip(("r_edges", "num_alpha", "id", "z"), arguments, strict=False))}
        )


def test_a_geometry_has_layers_and_a_threshold_that_is_a_number() -> None:
    with pytest.raises(GeometryError, match="no layers with voxels"):
        Geometry(())
    with pytest.raises(GeometryError, match="threshold=nan"):
        Geometry((Layer((0, 1)),), threshold=math.nan)


@pytest.mark.parametrize("steps", [(1, 1, 1), (3, 2, 2), (2, 4, (1, 3)), (6, 1, (1, 1, 2))])
def test_each_voxel_lies_within_the_one_that_it_becomes_part_of(steps: Any) -> None:
    layers, sectors, rings = steps
    fine = regular()
    coarse = fine.merged(layers=layers, sectors=sectors, rings=rings)
    target = fine.voxels_in(coarse)
    assert np.array_equal(np.unique(target), np.arange(coarse.num_voxels))
    for voxel, into in enumerate(target.tolist()):
        layer = coarse.layers[coarse.layer_of[into]]
        assert coarse.layer_of[into] == fine.layer_of[voxel] // layers
        ring = (into - coarse.starts[coarse.layer_of[into]]) % layer.num_r
        assert layer.r_edges[ring] < fine.r[voxel] < layer.r_edges[ring + 1]
        assert abs(coarse.alpha[into] - fine.alpha[voxel]) < math.pi / layer.num_alpha
    depths = fine.z.reshape(fine.shape)[:, 0, 0].reshape(-1, layers).mean(axis=1)
    assert coarse.z.reshape(coarse.shape)[:, 0, 0] == pytest.approx(depths)
    assert (coarse.threshold, coarse.symmetric) == (fine.threshold, fine.symmetric)


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ({"layers": 4}, "6 layers cannot be joined by 4"),
        ({"layers": 0}, "6 layers cannot be joined by 0"),
        ({"sectors": 3}, "4 sectors cannot be joined by 3"),
        ({"rings": 3}, "4 rings cannot be joined by 3"),
        ({"rings": (1, 2)}, r"4 rings cannot become rings of \[1, 2\]"),
        ({"rings": (5, -1)}, "4 rings cannot become"),
        ({"rings": ()}, "4 rings cannot become"),
    ],
)
def test_what_does_not_divide_is_not_merged(steps: Any, message: str) -> None:
    with pytest.raises(GeometryError, match=message):
        regular().merged(**steps)


def test_layers_divided_differently_are_not_merged() -> None:
    one = irregular()
    with pytest.raises(GeometryError, match="layers 0, 1, 12 are divided differently"):
        one.merged(layers=3)
    assert one.merged().same_voxels(one)


def test_only_finer_voxels_are_in_coarser_ones() -> None:
    fine, coarse = regular(), regular().merged(sectors=2)
    with pytest.raises(GeometryError, match="no finer division"):
        coarse.voxels_in(fine)
    with pytest.raises(GeometryError, match="no finer division"):
        fine.voxels_in(regular(4))
    wide = Geometry(tuple(Layer((0, 4.65, 30), 4, i) for i in range(6)))
    with pytest.raises(GeometryError, match="no finer division"):
        fine.voxels_in(wide)
    narrow = Geometry(tuple(Layer((0, 4.65), 4, i) for i in range(6)))
    with pytest.raises(GeometryError, match="reaches beyond"):
        fine.voxels_in(narrow)


def test_geometries_with_the_same_voxels_may_differ_in_name_and_depth() -> None:
    one = regular()
    other = Geometry(tuple(Layer(EDGES, 4, 9 - i) for i in range(6)), "other", "pion", 1.0)
    assert one.same_voxels(other)
    assert not one.same_voxels(regular(5))
    assert not one.same_voxels(regular(6, 8))
    shifted = Geometry(tuple(Layer((0, 4.65, 9.3, 13.95, 18.7), 4, i) for i in range(6)))
    assert not one.same_voxels(shifted)
