"""Geometries by name and in files: the binning XML of the CaloChallenge, YAML and JSON."""

from __future__ import annotations

import math
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from hepgen.calorimeter import Geometry, GeometryError, Layer
from hepgen.calorimeter.binning import geometry_of, read_geometry, write_geometry
from hepgen.calorimeter.challenge_geometries import (
    GEOMETRY_NAMES,
    geometry_of_size,
    named_geometry,
)
from hepgen.io.errors import MissingFile

FILES = {
    "ds1-photons": "binning_dataset_1_photons.xml",
    "ds1-pions": "binning_dataset_1_pions.xml",
    "ds2": "binning_dataset_2.xml",
    "ds3": "binning_dataset_3.xml",
}
SIZES = {"ds1-photons": 368, "ds1-pions": 533, "ds2": 6480, "ds3": 40500}
TWO = """<Bins>
  <Bin pid="22" etaMin="0" etaMax="130" name="photon">
    <Layer id="0" r_edges="0,1,2" n_bin_alpha="3"/>
    <Layer id="1" r_edges="0" n_bin_alpha="1"/>
  </Bin>
  <Bin pid="22" etaMin="130" etaMax="200" name="photon">
    <Layer id="0" r_edges="0,1,2" n_bin_alpha="4"/>
  </Bin>
  <Bin pid="211" name="pion"><Layer id="4" r_edges="0, 5.5" n_bin_alpha="1"/></Bin>
</Bins>"""


@pytest.mark.parametrize("name", GEOMETRY_NAMES)
def test_named_geometries_are_those_of_the_challenges_files(name: str, real_data: Path) -> None:
    path = real_data / "showers" / FILES[name]
    ours, theirs = named_geometry(name), read_geometry(path)
    assert [e.r_edges for e in ours.layers] == [e.r_edges for e in theirs.layers]
    assert [e.num_alpha for e in ours.layers] == [e.num_alpha for e in theirs.layers]
    assert [e.id for e in ours.layers] == [e.id for e in theirs.layers]
    assert ours.particle == theirs.particle
    assert ours.num_voxels == SIZES[name]
    assert ours.same_voxels(theirs)


def test_named_geometries_tell_thresholds_symmetries_and_depths() -> None:
    assert named_geometry("ds1-photons").threshold == named_geometry("ds1-pions").threshold == 1e-3
    assert [e.id for e in named_geometry("ds1-photons").layers] == [0, 1, 2, 3, 12]
    assert not named_geometry("ds1-pions").symmetric
    for name in ("ds2", "ds3"):
        one = named_geometry(name)
        # Half a keV in silicon, which sees 3.3 % of the energy.
        assert one.threshold == pytest.approx(0.5e-6 / 0.033, rel=1e-4)
        assert one.symmetric
        assert one.z[0] == 1.7
        assert one.z[-1] == pytest.approx(153 - 1.7)
    assert named_geometry("ds3").shape == (45, 50, 18)


def test_a_geometry_is_known_by_its_number_of_voxels_but_not_its_particle() -> None:
    for name, size in SIZES.items():
        found = geometry_of_size(size)
        assert found is not None
        assert found.same_voxels(named_geometry(name))
        assert (found.name, found.particle) == (name, None)
    assert geometry_of_size(480) is None


def test_an_unknown_name_tells_the_nearest() -> None:
    with pytest.raises(GeometryError, match="no geometry is called 'ds4'; nearest: ds"):
        named_geometry("ds4")
    with pytest.raises(GeometryError, match="nearest: ds1-pions"):
        geometry_of("ds1_pion")


@pytest.mark.parametrize("suffix", [".xml", ".yaml", ".yml", ".json"])
@pytest.mark.parametrize("name", GEOMETRY_NAMES)
def test_a_written_geometry_comes_back(name: str, suffix: str, tmp_path: Path) -> None:
    path, one = tmp_path / f"one{suffix}", named_geometry(name)
    write_geometry(path, one)
    back = read_geometry(path)
    assert list(tmp_path.iterdir()) == [path]
    if suffix != ".xml":
        assert back == one
        return
    assert [(e.id, e.r_edges, e.num_alpha) for e in back.layers] == [
        (e.id, e.r_edges, e.num_alpha) for e in one.layers
    ]
    assert (back.name, back.particle, back.threshold) == ("one", one.particle, 0)
    told = read_geometry(path, threshold=one.threshold, symmetric=True)
    assert (told.threshold, told.symmetric) == (one.threshold, True)
    assert geometry_of(path) == back
    assert geometry_of(str(path)) == back
    assert geometry_of(one) is one


@pytest.mark.parametrize("name", GEOMETRY_NAMES)
def test_written_xml_has_the_layers_and_numbers_of_the_challenges(
    name: str, real_data: Path, tmp_path: Path
) -> None:
    write_geometry(tmp_path / "one.xml", named_geometry(name))
    ours = ElementTree.parse(tmp_path / "one.xml").getroot().findall("Bin/Layer")
    theirs = ElementTree.parse(real_data / "showers" / FILES[name]).getroot().findall("Bin/Layer")
    # Those without voxels after the last may be missing; readers go by the place of a layer.
    for mine, other in zip(ours, theirs, strict=False):
        assert mine.get("id") == other.get("id")
        assert mine.get("r_edges") == other.get("r_edges")
        assert mine.get("n_bin_alpha") == other.get("n_bin_alpha")
    assert all(e.get("r_edges") == "0" for e in theirs[len(ours) :])


def test_a_particle_is_chosen_by_name_or_number_and_by_pseudorapidity(tmp_path: Path) -> None:
    path = tmp_path / "two.xml"
    path.write_text(TWO)
    pion = read_geometry(path, "pion")
    assert [(e.id, e.r_edges) for e in pion.layers] == [(4, (0.0, 5.5))]
    assert read_geometry(path, 211) == read_geometry(path, "211") == pion
    assert read_geometry(path, "photon", eta=0.2).layers[0].num_alpha == 3
    assert read_geometry(path, "photon", eta=-1.3).layers[0].num_alpha == 4
    with pytest.raises(GeometryError, match=r"choose by particle and eta: photon \(pid 22"):
        read_geometry(path)
    with pytest.raises(GeometryError, match="several bins"):
        read_geometry(path, "photon")
    with pytest.raises(GeometryError, match=r"nothing for particle kaon; there are photon .*pion"):
        read_geometry(path, "kaon")
    with pytest.raises(GeometryError, match=r"nothing for particle photon, eta 3\.0"):
        read_geometry(path, "photon", eta=3.0)


def one_layer(text: str) -> str:
    return f'<Bins><Bin name="photon">{text}</Bin></Bins>'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.xml", "<Bins><Bin>", "a.xml is no XML: no element found"),
        ("a.xml", "<Bins/>", "has no <Bin>"),
        ("a.xml", one_layer(""), "has no layer with two radii or more for photon"),
        ("a.xml", one_layer('<Layer id="3"/>'), "layer 3 of .*a.xml has no r_edges; it has id"),
        ("a.xml", one_layer('<Layer id="3" r_edges="0,x"/>'), "layer 3 of .*could not convert"),
        ("a.xml", one_layer('<Layer id="3" r_edges="0,2,1"/>'), "layer 3 of .*radii should grow"),
        ("a.xml", one_layer('<Layer id="1" r_edges="0,2"/>' * 2), r"rise, got \[1, 1\]"),
        ("a.yaml", "layers: [", "a.yaml cannot be read: while parsing"),
        ("a.yaml", "- 3", "a.yaml: wanted keys such as name and layers"),
        ("a.json", "{", "a.json cannot be read: Expecting"),
        ("a.json", '{"layer": []}', "a.json: a geometry has no key 'layer'; nearest: layers"),
        ("a.txt", "", "a.txt: wanted a geometry in .xml, .yaml"),
    ],
)
def test_files_that_are_no_geometry_are_refused(
    name: str, content: str, message: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(GeometryError, match=message):
        read_geometry(tmp_path / name)


def test_files_that_are_not_there_or_no_text_are_told(tmp_path: Path) -> None:
    (tmp_path / "binning.xml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(MissingFile, match=r"nearest: binning\.xml"):
        read_geometry(tmp_path / "bining.xml")
    with pytest.raises(MissingFile, match="nothing is there"):
        read_geometry(tmp_path / "no" / "such.xml")
    with pytest.raises(GeometryError, match="is no text"):
        read_geometry(tmp_path / "binning.xml")
    (tmp_path / "one.yaml").write_text("layers: [{r_edges: [0, 1]}]")
    assert read_geometry(tmp_path / "one.yaml").num_voxels == 1
    with pytest.raises(GeometryError, match="choose in XML files"):
        read_geometry(tmp_path / "one.yaml", "photon")


def test_what_xml_cannot_hold_is_not_written(tmp_path: Path) -> None:
    falling = Geometry((Layer((0, 1), 1, 3), Layer((0, 1), 1, 2)))
    with pytest.raises(GeometryError, match=r"should rise from 0 on .*got \[3, 2\]"):
        write_geometry(tmp_path / "a.xml", falling)
    with pytest.raises(GeometryError, match="wanted a name that ends in"):
        write_geometry(tmp_path / "a.txt", falling)
    assert not list(tmp_path.iterdir())


def test_radii_of_xml_come_back_bit_for_bit(tmp_path: Path) -> None:
    edges = tuple(np.cumsum([0, math.pi, 1e-7, 1e9, 1 / 3]).tolist())
    write_geometry(tmp_path / "a.xml", Geometry((Layer(edges, 3),)))
    assert read_geometry(tmp_path / "a.xml").layers[0].r_edges == edges
