"""Geometries in files: the binning XML of the CaloChallenge, YAML and JSON.

A binning file has a ``Bin`` for each particle (and range of pseudorapidity), in it a ``Layer`` for
each layer with its radii in mm (``r_edges``) and its number of sectors (``n_bin_alpha``). A layer
with one radius has no voxels. It tells nothing of thresholds and depths; YAML and JSON do, see
`Geometry.from_dict`.
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import yaml

from hepgen.atomic import replacing
from hepgen.calorimeter.challenge_geometries import named_geometry
from hepgen.calorimeter.description import described
from hepgen.calorimeter.errors import GeometryError
from hepgen.calorimeter.geometry import Geometry, Layer
from hepgen.io.errors import MissingFile, nearest_names

__all__ = ["GeometryLike", "geometry_of", "read_geometry", "write_geometry"]

SUFFIXES = (".xml", ".yaml", ".yml", ".json")
# Pseudorapidities in binning files are in hundredths.
ETA_UNIT = 0.01
PIDS = {"photon": "22", "electron": "11", "positron": "-11", "pion": "211"}

GeometryLike = Geometry | str | os.PathLike[str]


def geometry_of(what: GeometryLike) -> Geometry:
    """A geometry, however it is told.

    Args:
        what: a geometry, the name of one ("ds2", see `named_geometry`), or a file of one.

    Raises:
        GeometryError: no name and no file of a geometry.
        MissingFile: there is no such file.
    """
    if isinstance(what, Geometry):
        return what
    path = Path(what)
    if path.suffix.lower() in SUFFIXES or path.is_file():
        return read_geometry(path)
    if isinstance(what, str):
        return named_geometry(what)
    raise GeometryError(f"{what}: wanted a file of {', '.join(SUFFIXES)}")


def read_geometry(
    path: str | os.PathLike[str],
    particle: str | int | None = None,
    *,
    eta: float | None = None,
    threshold: float | None = None,
    symmetric: bool | None = None,
) -> Geometry:
    """The geometry in a file.

    Args:
        path: ``*.xml`` in the layout of the CaloChallenge, ``*.yaml``, ``*.yml`` or ``*.json``.
        particle: whose geometry, as a name or a PDG number, where an XML file has several.
        eta: pseudorapidity of the particle, where an XML file has several ranges of it.
        threshold: in GeV, instead of what the file tells; XML tells none, which is 0.
        symmetric: instead of what the file tells; XML tells none, which is no.

    Raises:
        MissingFile: there is no such file; the nearest names are given.
        GeometryError: the file cannot be understood, has no such particle, or several and none was
            asked for; the message names those that there are.
    """
    path = Path(path)
    if path.suffix.lower() not in SUFFIXES:
        raise GeometryError(f"{path}: wanted a geometry in {', '.join(SUFFIXES)}")
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        there = os.listdir(path.parent) if path.parent.is_dir() else []
        near = ", ".join(nearest_names(path.name, there)) or "nothing is there"
        raise MissingFile(f"no file {str(path)!r}; nearest: {near}") from error
    except UnicodeDecodeError as error:
        raise GeometryError(f"{path} is no text: {error}") from error
    if path.suffix.lower() == ".xml":
        found = _from_xml(text, path, particle, eta)
    else:
        if particle is not None or eta is not None:
            raise GeometryError(f"{path} has one geometry; particle and eta choose in XML files")
        found = _from_plain(text, path)
    if threshold is not None:
        found = replace(found, threshold=threshold)
    return found if symmetric is None else replace(found, symmetric=symmetric)


def write_geometry(path: str | os.PathLike[str], geometry: Geometry) -> None:
    """Write a geometry, whole or not at all.

    Args:
        path: ``*.yaml``, ``*.yml`` and ``*.json`` keep everything; ``*.xml`` is the layout of the
            CaloChallenge, which has no place for threshold, symmetry and depths.
        geometry: what to write.

    Raises:
        GeometryError: another suffix, or ids of layers that XML readers would sort otherwise.
        OSError: the file cannot be written.
    """
    path = Path(path)
    suffix = path.suffix.lower()
    if suffix == ".xml":
        text = _to_xml(geometry)
    elif suffix == ".json":
        text = json.dumps(described(geometry), indent=1) + "\n"
    elif suffix in SUFFIXES:
        text = yaml.safe_dump(described(geometry), sort_keys=False, default_flow_style=None)
    else:
        raise GeometryError(f"{path}: wanted a name that ends in {', '.join(SUFFIXES)}")
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def _from_plain(text: str, path: Path) -> Geometry:
    try:
        content = json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (yaml.YAMLError, json.JSONDecodeError) as error:
        raise GeometryError(f"{path} cannot be read: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise GeometryError(f"{path}: wanted keys such as name and layers, got {content!r:.60}")
    try:
        return Geometry.from_dict(content)
    except GeometryError as error:
        raise GeometryError(f"{path}: {error}") from error


def _from_xml(text: str, path: Path, particle: str | int | None, eta: float | None) -> Geometry:
    try:
        top = ElementTree.fromstring(text)
    except ElementTree.ParseError as error:
        raise GeometryError(f"{path} is no XML: {error}") from error
    chosen = _chosen(top.findall("Bin"), path, particle, eta)
    layers = []
    for number, element in enumerate(chosen.findall("Layer")):
        layer = _layer(element, f"layer {element.get('id', number)} of {path}", number)
        if layer is not None:
            layers.append(layer)
    ids = [layer.id for layer in layers]
    if ids != sorted(set(ids)):
        raise GeometryError(f"{path}: wanted ids of layers that rise, got {ids}")
    if not layers:
        raise GeometryError(f"{path} has no layer with two radii or more for {_told(chosen)}")
    name = path.stem.removeprefix("binning_")
    return Geometry(tuple(layers), name, chosen.get("name"))


def _chosen(
    bins: Sequence[ElementTree.Element], path: Path, particle: str | int | None, eta: float | None
) -> ElementTree.Element:
    """The only ``Bin``, or the one of a particle and pseudorapidity."""
    if not bins:
        raise GeometryError(f"{path} has no <Bin>: it is no binning file of the CaloChallenge")
    found = list(bins)
    if particle is not None:
        wanted = str(particle)
        names = {wanted, PIDS.get(wanted, wanted)}
        found = [e for e in found if {e.get("name"), e.get("pid")} & names]
    if eta is not None:
        found = [e for e in found if _covers(e, eta, path)]
    if len(found) == 1:
        return found[0]
    asked = ", ".join(
        f"{what} {value}" for what, value in (("particle", particle), ("eta", eta)) if value
    )
    there = "; ".join(map(_told, bins))
    if found:
        raise GeometryError(f"{path} has several bins, choose by particle and eta: {there}")
    raise GeometryError(f"{path} has nothing for {asked}; there are {there}")


def _covers(element: ElementTree.Element, eta: float, path: Path) -> bool:
    low, high = element.get("etaMin"), element.get("etaMax")
    if low is None or high is None:
        return True
    try:
        return float(low) * ETA_UNIT <= abs(eta) < float(high) * ETA_UNIT
    except ValueError as error:
        raise GeometryError(f"{path}: {_told(element)} has no numbers as etaMin, etaMax") from error


def _told(element: ElementTree.Element) -> str:
    told = f"{element.get('name', 'no name')} (pid {element.get('pid', 'none')}"
    if element.get("etaMin") is not None:
        told += f", eta {element.get('etaMin')} to {element.get('etaMax')} hundredths"
    return told + ")"


def _layer(element: ElementTree.Element, where: str, number: int) -> Layer | None:
    """A layer, None if it has no voxels."""
    radii = element.get("r_edges")
    if radii is None:
        raise GeometryError(f"{where} has no r_edges; it has {', '.join(element.keys()) or '-'}")
    try:
        edges = tuple(map(float, radii.split(",")))
        sectors = int(element.get("n_bin_alpha", "1"))
        number = int(element.get("id", number))
    except ValueError as error:
        raise GeometryError(f"{where}: {error}") from error
    if len(edges) == 1:
        return None
    try:
        return Layer(edges, sectors, number)
    except GeometryError as error:
        raise GeometryError(f"{where}: {error}") from error


def _to_xml(geometry: Geometry) -> str:
    by_id = {layer.id: layer for layer in geometry.layers}
    ids = [layer.id for layer in geometry.layers]
    if ids != sorted(by_id) or ids[0] < 0:
        raise GeometryError(f"ids of layers should rise from 0 on to be written as XML, got {ids}")
    attributes: dict[str, Any] = {}
    if geometry.particle is not None:
        attributes["name"] = geometry.particle
        if geometry.particle in PIDS:
            attributes = {"pid": PIDS[geometry.particle], **attributes}
    top = ElementTree.Element("Bins")
    one = ElementTree.SubElement(top, "Bin", attributes)
    # Readers number layers by their place, so those without voxels stand there too.
    for i in range(ids[-1] + 1):
        layer = by_id.get(i)
        edges = "0" if layer is None else ",".join(map(_short, layer.r_edges))
        sectors = 1 if layer is None else layer.num_alpha
        told = {"id": str(i), "r_edges": edges, "n_bin_alpha": str(sectors)}
        ElementTree.SubElement(one, "Layer", told)
    ElementTree.indent(top, "   ")
    return ElementTree.tostring(top, encoding="unicode") + "\n"


def _short(radius: float) -> str:
    """The shortest decimal that is this number."""
    return repr(int(radius)) if radius == int(radius) else repr(radius)
