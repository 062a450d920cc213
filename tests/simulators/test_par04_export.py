"""ONNX files for the example Par04 of Geant4, run as the example runs them."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.calorimeter import Geometry, GeometryError, Layer, ShowerError, Showers
from hepgen.calorimeter.challenge_geometries import named_geometry
from hepgen.simulators import Conditions, ShowerBatch, Simulator
from hepgen.simulators.calo_matching import CaloMatching
from hepgen.simulators.calo_vae import CaloVAE
from hepgen.simulators.par04_export import Par04Model, export_par04, macro

GEOMETRY = Geometry(
    tuple(Layer((0, 2, 4), 4, i, 3.0 * (i + 0.5)) for i in range(3)), threshold=1e-5, symmetric=True
)


class Noise(Simulator):
    """A function of noise, energy and context in which each cell can be told from the others."""

    def __init__(self, geometry: Any, conditions: Any) -> None:
        super().__init__(geometry, conditions)
        voxels = torch.arange(1.0, self.geometry.num_voxels + 1)
        self.register_buffer("voxels", voxels)
        self.dropout = torch.nn.Dropout(0.5)
        self.noise_width = 2

    voxels: Tensor

    def loss(self, batch: ShowerBatch) -> Tensor:
        return batch.voxels.sum()

    def from_noise(self, noise: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor:
        shape = self.dropout(
            self.voxels * (2 + noise[:, :1].tanh()) + context.cumprod(1).sum(1)[:, None]
        )
        return shape * incident_energy[:, None] + noise[:, 1:].square()

    def generate(
        self, incident_energy: Tensor, context: Tensor, generator: torch.Generator
    ) -> Tensor:
        noise = torch.randn(len(context), 2, generator=generator)
        return self.from_noise(noise, incident_energy, context)


class Silent(Simulator):
    """No function of noise."""

    def loss(self, batch: ShowerBatch) -> Tensor:
        return batch.voxels.sum()

    def generate(
        self, incident_energy: Tensor, context: Tensor, generator: torch.Generator
    ) -> Tensor:
        return incident_energy[:, None].expand(-1, self.geometry.num_voxels)


CONDITIONS = Conditions((1.0, 100.0), {"phi": (-3.1, 3.1), "theta": (0.9, 1.6)}, {"pdg": (11, 22)})


def sample(number: int = 300) -> Showers:
    rng = np.random.default_rng(0)
    energy = rng.uniform(1, 100, number)
    voxels = rng.dirichlet(np.full(GEOMETRY.num_voxels, 0.3), number) * energy[:, None]
    return Showers(GEOMETRY, energy, (voxels * (voxels > 1e-5)).astype(np.float32))


def inputs(model: Par04Model, energy: Any, angle: float = 90.0, seed: int = 1) -> Any:
    """The vector as Par04InferenceSetup::GetEnergies fills it; energies in MeV."""
    energy = np.atleast_1d(np.asarray(energy, np.float64))
    found = np.random.default_rng(seed).standard_normal((len(energy), model.num_latent + 4))
    found[:, -4] = energy / 1_024_000
    found[:, -3] = angle / 90
    found[:, -2:] = 0, 1
    return found.astype(np.float32)


def run(path: Path, vector: Any) -> Any:
    """As Par04OnnxInference::RunInference: the only input, the first output."""
    onnxruntime = pytest.importorskip("onnxruntime", reason="needs hepgen[onnx]")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    (name,) = [one.name for one in session.get_inputs()]
    return session.run(None, {name: vector})[0], session


@pytest.fixture(scope="module")
def simple(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Par04Model]:
    path = tmp_path_factory.mktemp("par04") / "simple.onnx"
    fixed = {"phi": 0.5, "pdg": 22}
    pytest.importorskip("onnxscript", reason="needs hepgen[onnx]")
    simulator = Noise(GEOMETRY, CONDITIONS)
    model = export_par04(simulator, path, conditions=fixed, dynamic=True)
    assert simulator.training
    assert simulator.dropout.training
    return path, model


def test_the_cells_are_those_of_the_simulator_in_the_order_of_the_example(
    simple: tuple[Path, Par04Model],
) -> None:
    path, model = simple
    vector = inputs(model, [50_000.0], angle=70.0)
    cells, session = run(path, vector)
    assert cells.shape == (1, GEOMETRY.num_voxels)
    assert [one.shape[1] for one in session.get_inputs()] == [6]
    energy, context = np.array([50.0]), {"theta": math.radians(70.0), "phi": 0.5, "pdg": 22}
    told = CONDITIONS.encode(energy, {name: np.array([value]) for name, value in context.items()})
    simulator = model.simulator.eval()
    assert isinstance(simulator, Noise)
    with torch.no_grad():
        voxels = simulator.from_noise(
            torch.from_numpy(vector[:, :2]), torch.tensor([50.0]), torch.from_numpy(told)
        )[0].numpy()
    simulator.train()
    layers, sectors, rings = 3, 4, 2
    cell = 0
    # The loops of Par04InferenceSetup::GetPositions.
    for i_r in range(rings):
        for i_phi in range(sectors):
            for i_z in range(layers):
                ours = i_z * sectors * rings + i_phi * rings + i_r
                assert cells[0, cell] * 50_000 == pytest.approx(voxels[ours] * 1000, rel=1e-5)
                cell += 1


def test_torch_and_onnxruntime_agree_for_any_number_of_showers(
    simple: tuple[Path, Par04Model],
) -> None:
    path, model = simple
    model.eval()
    for energy in ([1000.0], [1000.0, 20_000.0, 99_000.0]):
        vector = inputs(model, energy)
        with torch.no_grad():
            wanted = model(torch.from_numpy(vector)).numpy()
        cells, _ = run(path, vector)
        np.testing.assert_allclose(cells, wanted, rtol=1e-5)


def test_the_file_tells_what_it_is_and_the_commands_that_go_with_it(
    simple: tuple[Path, Par04Model],
) -> None:
    path, model = simple
    _, session = run(path, inputs(model, [5000.0]))
    about = session.get_modelmeta().custom_metadata_map
    assert (about["model"], about["energy_range_gev"]) == ("Noise", "[1.0, 100.0]")
    assert about["macro"] == macro(model, "MODEL.onnx")
    lines = macro(model, "a.onnx").splitlines()
    assert "/Par04/inference/setSizeLatentVector 2" in lines
    assert "/Par04/inference/setSizeConditionVector 4" in lines
    assert "/Par04/inference/setModelPathName a.onnx" in lines
    for prefix in ("inference", "mesh"):
        assert f"/Par04/{prefix}/setSizeOfRhoCells 2 mm" in lines
        assert f"/Par04/{prefix}/setSizeOfZCells 3 mm" in lines
        assert f"/Par04/{prefix}/setNbOfRhoCells 2" in lines
        assert f"/Par04/{prefix}/setNbOfPhiCells 4" in lines
        assert f"/Par04/{prefix}/setNbOfZCells 3" in lines


@pytest.mark.parametrize("name", ["ds2", "ds3"])
def test_meshes_of_the_example_have_its_numbers(name: str) -> None:
    text = macro(Par04Model(Noise(named_geometry(name), Conditions((1.0, 1000.0)))), "a.onnx")
    size, rings, sectors = {"ds2": (4.65, 9, 16), "ds3": (2.325, 18, 50)}[name]
    assert f"/Par04/mesh/setSizeOfRhoCells {size} mm\n" in text
    assert "/Par04/mesh/setSizeOfZCells 3.4 mm\n" in text
    assert f"setNbOfRhoCells {rings}\n" in text
    assert f"setNbOfPhiCells {sectors}\n" in text


def test_what_cannot_run_in_the_example_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.onnx"
    with pytest.raises(
        ShowerError, match=r"Silent cannot run in Par04, .*CaloVAE and CaloMatching"
    ):
        export_par04(Silent(GEOMETRY, CONDITIONS), path)
    with pytest.raises(ShowerError, match=r"needs conditions besides the energy: \['phi', 'pdg'\]"):
        export_par04(Noise(GEOMETRY, CONDITIONS), path)
    with pytest.raises(ShowerError, match="no condition 'spin'"):
        export_par04(Noise(GEOMETRY, CONDITIONS), path, conditions={"spin": 1})
    with pytest.raises(GeometryError, match="all of one size in r and in z"):
        export_par04(Noise(named_geometry("ds1-photons"), Conditions((1.0, 2.0))), path)
    assert not path.exists()


@pytest.mark.slow
@pytest.mark.parametrize(
    "simulator",
    [
        CaloVAE.of(sample(), latent=4, width=8, trunk=16, flow_hidden=8, flow_transforms=2),
        CaloMatching.of(sample(), width=8, depth=1, heads=2, distil=True, steps=1, method="jumps"),
    ],
    ids=["CaloVAE", "CaloMatching"],
)
def test_simulators_run_as_in_torch(simulator: Simulator, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs hepgen[onnx]")
    simulator.prepare(sample())
    model = export_par04(simulator, tmp_path / "a.onnx").eval()
    hits = 0
    for seed in range(20):
        vector = inputs(model, [1500.0 * 1.2**seed], seed=seed)
        with torch.no_grad():
            wanted = model(torch.from_numpy(vector)).numpy()
        cells, _ = run(tmp_path / "a.onnx", vector)
        np.testing.assert_allclose(cells, wanted, rtol=1e-3, atol=2e-5)
        hits += int((cells > 0).sum())
    assert hits > 20
