"""An exported file inside what the C++ of Geant4's example Par04 does with it, written in NumPy.

`Example` follows Par04InferenceSetup::GetEnergies and GetPositions,
Par04OnnxInference::RunInference and Par04SensitiveDetector::RetrieveAndSetupHit of Geant4 11.0 to
11.4, in MeV and mm; it sees the file and the macro alone, nothing of hepgen.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.calorimeter import Geometry, Layer
from hepgen.simulators import Conditions, ShowerBatch, Simulator
from hepgen.simulators.par04_export import export_par04, macro

LAYERS, SECTORS, RINGS = 5, 6, 3
GEOMETRY = Geometry(
    tuple(Layer((0, 4.65, 9.3, 13.95), SECTORS, i, 3.4 * (i + 0.5)) for i in range(LAYERS)),
    threshold=1e-5,
    symmetric=True,
)


class Example:
    """The example, set up by its macro."""

    def __init__(self, commands: str) -> None:
        onnxruntime = pytest.importorskip("onnxruntime", reason="needs hepgen[onnx]")
        told = dict(
            line.removeprefix("/Par04/inference/").split(" ", 1)
            for line in commands.splitlines()
            if line.startswith("/Par04/inference/")
        )
        self.latent = int(told["setSizeLatentVector"])
        self.condition = int(told["setSizeConditionVector"])
        self.cells = tuple(int(told[f"setNbOf{a}Cells"]) for a in ("Rho", "Phi", "Z"))
        sizes = []
        for axis in ("Rho", "Z"):
            value, unit = told[f"setSizeOf{axis}Cells"].split()
            assert unit == "mm"
            sizes.append(float(value))
        self.size = (sizes[0], 2 * math.pi / self.cells[1], sizes[1])
        assert (told["setModelType"], told["setInferenceLibrary"]) == ("VAE", "ONNX")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        self.session = onnxruntime.InferenceSession(
            told["setModelPathName"].strip('"'), options, ["CPUExecutionProvider"]
        )

    def energies(self, gauss: Any, energy: float, theta: float) -> Any:
        """What cells get, in the order of the output; all numbers that C++ holds as float are."""
        vector = np.zeros(self.latent + self.condition, np.float32)
        vector[: self.latent] = gauss
        vector[self.latent] = energy / np.float64(np.float32(1_024_000.0))
        vector[self.latent + 1] = np.float64(np.float32(theta)) / math.radians(1) / 90.0
        vector[self.latent + 2] = 0
        vector[self.latent + 3] = 1
        names = [one.name for one in self.session.get_inputs()]
        outputs = self.session.run(
            [one.name for one in self.session.get_outputs()], {names[-1]: vector[None]}
        )
        flat = outputs[0].ravel()
        assert flat.dtype == np.float32
        return flat[: math.prod(self.cells)].astype(np.float64) * energy

    def positions(self, entrance: Any, direction: Any) -> Any:
        """Middles of the cells."""
        rho, phi, z = self.cells
        found = np.empty((rho * phi * z, 3))
        back = rotation(direction).T
        cell = 0
        for i_rho in range(rho):
            for i_phi in range(phi):
                for i_z in range(z):
                    radius = (i_rho + 0.5) * self.size[0]
                    angle = (i_phi + 0.5) * 2 * math.pi / phi - math.pi
                    depth = (i_z + 0.5) * self.size[2]
                    local = [radius * math.cos(angle), radius * math.sin(angle), depth]
                    found[cell] = entrance + back @ local
                    cell += 1
        return found

    def hits(self, positions: Any, energies: Any, entrance: Any, direction: Any) -> Any:
        """Energies as the sensitive detector sums them, shape (rho, phi, z)."""
        found = np.zeros(self.cells)
        for position, energy in zip(positions, energies, strict=True):
            if energy == 0:
                continue
            x, y, depth = rotation(direction) @ (position - entrance)
            rho = math.floor(math.hypot(x, y) / self.size[0])
            phi = math.floor((math.pi + math.atan2(y, x)) / self.size[1])
            found[rho, phi, math.floor(depth / self.size[2])] += energy
        return found


def rotation(direction: Any) -> Any:
    """To where the particle flies along z: rotateZ(-phi), then rotateY(-theta)."""
    x, y, z = direction
    theta, phi = math.atan2(math.hypot(x, y), z), math.atan2(y, x)
    about_z = [
        [math.cos(phi), math.sin(phi), 0],
        [-math.sin(phi), math.cos(phi), 0],
        [0, 0, 1],
    ]
    about_y = [
        [math.cos(theta), 0, -math.sin(theta)],
        [0, 1, 0],
        [math.sin(theta), 0, math.cos(theta)],
    ]
    return np.array(about_y) @ np.array(about_z)


class Cells(Simulator):
    """Noise of each voxel, the energy and the angle, in which no two voxels are alike."""

    def __init__(self, geometry: Any, conditions: Any) -> None:
        super().__init__(geometry, conditions)
        self.register_buffer("voxels", torch.arange(1.0, self.geometry.num_voxels + 1))
        self.noise_width = self.geometry.num_voxels

    voxels: Tensor

    def loss(self, batch: ShowerBatch) -> Tensor:
        return batch.voxels.sum()

    def from_noise(self, noise: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor:
        hit = noise > -0.5
        share = self.voxels * (1 + 0.1 * noise.tanh()) * (2 + context[:, 1:2]) / 1000
        return torch.where(hit, share * incident_energy[:, None], 0)

    def generate(
        self, incident_energy: Tensor, context: Tensor, generator: torch.Generator
    ) -> Tensor:
        noise = torch.randn(len(context), self.noise_width, generator=generator)
        return self.from_noise(noise, incident_energy, context)


def test_the_example_puts_the_energy_of_each_voxel_where_the_voxel_is(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs hepgen[onnx]")
    path = tmp_path / "cells.onnx"
    conditions = Conditions((1.0, 100.0), {"theta": (0.9, 2.2)})
    simulator = Cells(GEOMETRY, conditions)
    model = export_par04(simulator, path)
    example = Example(macro(model, path))
    assert not re.search(r"MODEL\.onnx", macro(model, path))
    energy, direction = 20_000.0, np.array([0.3, 0.8, -0.4])
    direction = direction / np.linalg.norm(direction)
    entrance = 800.0 * np.array([direction[0], direction[1], 0]) / np.hypot(*direction[:2])
    theta = math.acos(direction[2])
    gauss = np.random.default_rng(4).standard_normal(example.latent)
    energies = example.energies(gauss, energy, theta)
    positions = example.positions(entrance, direction)
    sums = example.hits(positions, energies, entrance, direction)

    told = conditions.encode(np.array([energy / 1000]), {"theta": np.array([theta])})
    with torch.no_grad():
        voxels = simulator.from_noise(
            torch.from_numpy(gauss[None].astype(np.float32)),
            torch.tensor([energy / 1000]),
            torch.from_numpy(told),
        )[0].numpy()
    assert 0 < (voxels > 0).sum() < len(voxels)
    # Where hepgen has each voxel: layers by depth, sectors from -pi on, rings by radius.
    axis = direction
    for voxel, wanted in enumerate(voxels):
        layer, rest = divmod(voxel, SECTORS * RINGS)
        sector, ring = divmod(rest, RINGS)
        assert sums[ring, sector, layer] / 1000 == pytest.approx(float(wanted), rel=2e-6)
        cell = (ring * SECTORS + sector) * LAYERS + layer
        assert energies[cell] / 1000 == pytest.approx(float(wanted), rel=2e-6)
        away = positions[cell] - entrance
        depth = GEOMETRY.layers[layer].z
        assert away @ axis == pytest.approx(depth)
        edges = GEOMETRY.layers[layer].r_edges
        radius = (edges[ring] + edges[ring + 1]) / 2
        assert np.linalg.norm(away - depth * axis) == pytest.approx(radius)
    assert sums.sum() / 1000 == pytest.approx(float(voxels.sum()), rel=2e-6)
