"""ONNX files for the example Par04 of Geant4, run as the example runs them."""

from __future__ import annotations

import copy
import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen import cli
from hepgen.calorimeter import Geometry, GeometryError, Layer, ShowerError, Showers
from hepgen.calorimeter.challenge_geometries import named_geometry
from hepgen.simulators import Conditions, ShowerBatch, Simulator
from hepgen.simulators.calo_inn import CaloINN
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
        ShowerError, match=r"Silent cannot run in Par04, .*CaloINN, CaloVAE and CaloMatching"
    ):
        export_par04(Silent(GEOMETRY, CONDITIONS), path)
    with pytest.raises(ShowerError, match=r"needs conditions besides the energy: \['phi', 'pdg'\]"):
        export_par04(Noise(GEOMETRY, CONDITIONS), path)
    with pytest.raises(ShowerError, match="no condition 'spin'"):
        export_par04(Noise(GEOMETRY, CONDITIONS), path, conditions={"spin": 1})
    with pytest.raises(GeometryError, match="all of one size in r and in z"):
        export_par04(Noise(named_geometry("ds1-photons"), Conditions((1.0, 2.0))), path)
    fixed = {"phi": 0.5, "pdg": 22}
    with pytest.raises(ShowerError, match=r"becomes an ONNX file, \*\.onnx; got 'a\.pt2'"):
        export_par04(Noise(GEOMETRY, CONDITIONS), tmp_path / "a.pt2", conditions=fixed)
    with pytest.raises(ShowerError, match="opset 16 cannot be written; wanted 18 at least"):
        export_par04(Noise(GEOMETRY, CONDITIONS), path, conditions=fixed, opset=16)
    assert list(tmp_path.iterdir()) == []


class Delicate(Noise):
    """Quotients and sums with numbers next to one and to zero, and sigmoids that are small."""

    def from_noise(self, noise: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor:
        near = (1.0 + noise[:, :1].tanh() * 1e-3) / (1 - 5e-6) * (1 + 4e-6)
        small = torch.sigmoid(noise[:, 1:] - self.voxels) + 5e-9
        return incident_energy[:, None] * torch.where(self.voxels > 12, small, near)


def relative(found: Any, truth: Any) -> Any:
    """Differences of the cells that have energy in both, over what they should be."""
    hit = (found > 0) & (truth > 0)
    return np.abs(found[hit] / truth[hit] - 1)


def test_numbers_near_one_and_zero_and_small_sigmoids_keep_their_digits(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs hepgen[onnx]")
    simulator = Delicate(GEOMETRY, Conditions((1.0, 100.0)))
    model = export_par04(simulator, tmp_path / "a.onnx").eval()
    truth = copy.deepcopy(model).double()
    for seed in range(5):
        vector = inputs(model, [4000.0], seed=seed)
        cells, _ = run(tmp_path / "a.onnx", vector)
        with torch.no_grad():
            wanted = truth(torch.from_numpy(vector).double()).numpy()
        # Sigmoids down to e^-26: 26 and one more roundings of 6e-8 in the argument of exp.
        assert relative(cells, wanted).max() < 2e-6


def test_files_are_read_by_old_libraries_and_tell_no_paths(
    simple: tuple[Path, Par04Model],
) -> None:
    path, _ = simple
    onnx = pytest.importorskip("onnx", reason="needs hepgen[onnx]")
    content = onnx.load(path)
    onnx.checker.check_model(content, full_check=True)
    # Those of ONNX 1.13, which onnxruntime 1.14 came with.
    assert content.ir_version == 8
    assert [(one.domain, one.version) for one in content.opset_import] == [("", 18)]
    assert [one.name for one in content.graph.input] == ["input"]
    assert [one.name for one in content.graph.output] == ["cells"]
    assert not [n.name for n in content.graph.node if len(n.metadata_props) or n.doc_string]
    written = path.read_bytes()
    assert b".py" not in written
    assert str(Path(__file__).parent).encode() not in written


def test_a_file_that_onnxruntime_computes_otherwise_gets_no_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript", reason="needs hepgen[onnx]")
    path = tmp_path / "a.onnx"
    path.write_text("old")
    wrong = "hepgen.simulators.par04_export._plain_sigmoid"
    monkeypatch.setattr(wrong, lambda x: 1.001 / (1 + torch.exp(-x)))
    simulator = Delicate(GEOMETRY, Conditions((1.0, 100.0)))
    simulator.voxels.fill_(13.0)
    with pytest.raises(ShowerError, match=r"a\.onnx was not written: onnxruntime puts 1\.0e-03"):
        export_par04(simulator, path)
    assert (path.read_text(), list(tmp_path.iterdir())) == ("old", [path])


def test_without_onnxruntime_the_file_is_written_and_said_to_be_unchecked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("onnxscript", reason="needs hepgen[onnx]")
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.warns(UserWarning, match=r"a\.onnx was not checked, as onnxruntime is not there"):
        export_par04(Noise(GEOMETRY, Conditions((1.0, 100.0))), tmp_path / "a.onnx")
    assert (tmp_path / "a.onnx").is_file()


@pytest.mark.slow
def test_the_command_line_writes_the_file_and_prints_the_commands(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript", reason="needs hepgen[onnx]")
    simulator = CaloVAE.of(sample(), latent=2, width=4, trunk=4, flow_hidden=4, flow_transforms=1)
    simulator.prepare(sample())
    kept, path = str(tmp_path / "model.safetensors"), str(tmp_path / "a b.onnx")
    simulator.save(kept)
    assert cli.main(["export", kept, "-o", str(tmp_path / "a.pt2")]) == 1
    assert "becomes an ONNX file" in capsys.readouterr().err
    assert cli.main(["export", kept, "-o", path]) == 0
    printed = capsys.readouterr().out
    assert f'/Par04/inference/setModelPathName "{path}"\n' in printed
    assert printed.splitlines()[-1] == path


@pytest.mark.slow
@pytest.mark.parametrize(
    "simulator",
    [
        CaloINN.of(sample(), hidden=16),
        CaloVAE.of(sample(), latent=4, width=8, trunk=16, flow_hidden=8, flow_transforms=2),
        CaloMatching.of(sample(), width=8, depth=1, heads=2, distil=True, steps=1, method="jumps"),
    ],
    ids=["CaloINN", "CaloVAE", "CaloMatching"],
)
def test_simulators_run_as_in_torch(simulator: Simulator, tmp_path: Path) -> None:
    pytest.importorskip("onnxscript", reason="needs hepgen[onnx]")
    torch.manual_seed(0)
    simulator.prepare(sample())
    model = export_par04(simulator, tmp_path / "a.onnx").eval()
    truth = copy.deepcopy(model).double()
    errors: dict[str, list[Any]] = {"onnxruntime": [], "torch": []}
    for seed in range(40):
        vector = inputs(model, [1500.0 * 1.1**seed], seed=seed)
        with torch.no_grad():
            exact = truth(torch.from_numpy(vector).double()).numpy()
            wanted = model(torch.from_numpy(vector)).numpy()
        cells, _ = run(tmp_path / "a.onnx", vector)
        errors["onnxruntime"].append(relative(cells, exact))
        errors["torch"].append(relative(wanted, exact))
        assert cells.sum() == pytest.approx(float(exact.sum()), rel=1e-5)
    # What float32 costs depends on the model: quantiles of one minus a small number, thresholds.
    # So the measure is torch in float32, which is no nearer to float64.
    ours, theirs = (np.concatenate(errors[name]) for name in ("onnxruntime", "torch"))
    assert len(ours) > 100
    assert np.median(ours) < 1e-6
    for level in (0.5, 0.9, 0.99):
        assert np.quantile(ours, level) < 3 * np.quantile(theirs, level) + 2e-7
