r"""A simulator as an ONNX file that the example Par04 of Geant4 runs in place of full simulation.

What the example does with the file (Par04InferenceSetup.cc and Par04OnnxInference.cc of Geant4 11.0
to 11.4, ``/Par04/inference/setModelType VAE`` where there is that command):

- one input, float32 (1, S + 4): S standard normal numbers (``setSizeLatentVector S``), then the
  kinetic energy over 1 024 000 MeV, the polar angle of the particle over 90 degrees, 0 and 1;
- the first output, float32, one number a cell: z fastest, then phi, then r, where phi begins at
  -pi (`hepgen.calorimeter.par04.par04_order`);
- each number times the kinetic energy is what the cell gets.

Graphs are written as torch computes them, without what the exporter calls optimisation, and with
sigmoids that keep their digits where they are small: onnxruntime then differs from torch as much as
torch in float32 differs from torch in float64.

Shapes: B showers, V cells, S noise, C context.
"""

from __future__ import annotations

import json
import math
import statistics
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol, cast, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from hepgen import __version__
from hepgen.atomic import replacing
from hepgen.calorimeter.errors import ShowerError
from hepgen.calorimeter.par04 import par04_mesh, par04_order
from hepgen.flows.rational_quadratic import Knots, bins_and_slopes, rational_quadratic
from hepgen.io.errors import MissingPackage
from hepgen.simulators.simulator import Simulator

__all__ = ["Par04Model", "export_par04", "macro"]

# Of the example: fMaxEnergy in MeV, fMaxAngle in degrees, and energy, angle and two of geometry.
MAX_ENERGY = 1_024_000.0
MAX_ANGLE = 90.0
CONDITIONS = 4
# Read by onnxruntime 1.14 and later; the exporter writes none below.
OPSET = 18
# Showers with which a file is checked, and how much of the energy may be in other cells. Where a
# number is next to a threshold one shower may be another altogether, but not most of them.
CHECKED = 5
SLACK = 1e-4


@runtime_checkable
class _FromNoise(Protocol):
    noise_width: int

    def from_noise(self, noise: Tensor, incident_energy: Tensor, context: Tensor) -> Tensor: ...


class Par04Model(nn.Module):
    """What the example runs: its input vector to its cells.

    Args:
        simulator: with ``noise_width`` and ``from_noise(noise, incident_energy, context)``, as
            `CaloINN`, `CaloVAE` and `CaloMatching` have them; its cells are all of one size.
        conditions: values of conditions that the example does not tell, such as ``pdg``; "theta"
            is the example's angle.

    Attributes:
        num_latent: S.

    Raises:
        ShowerError: the simulator is no function of Gaussian noise, or a condition is missing or
            not known.
        GeometryError: the cells are not those of a Par04 readout.
    """

    order: Tensor
    template: Tensor

    def __init__(
        self, simulator: Simulator, conditions: Mapping[str, float | int] | None = None
    ) -> None:
        super().__init__()
        name = type(simulator).__name__
        if not isinstance(simulator, _FromNoise):
            raise ShowerError(
                f"{name} cannot run in Par04, which gives Gaussian numbers: it has no from_noise; "
                "CaloINN, CaloVAE and CaloMatching have"
            )
        self.mesh = par04_mesh(simulator.geometry)
        self.simulator, self.num_latent = simulator, simulator.noise_width
        known = simulator.conditions
        given = dict(conditions or {})
        self.low, self.high = known.energy_range
        self.theta: tuple[int, float, float] | None = None
        if "theta" in known.ranges and "theta" not in given:
            low, high = known.ranges["theta"]
            before = list(known.ranges)[: list(known.ranges).index("theta")]
            column = 1 + sum(2 if n == "phi" else 1 for n in before)
            self.theta, given["theta"] = (column, low, high), low
        context = known.encode(np.array([self.low]), known.complete(given, 1))
        self.register_buffer("order", torch.from_numpy(par04_order(simulator.geometry)))
        self.register_buffer("template", torch.from_numpy(context))

    def forward(self, inputs: Tensor) -> Tensor:
        """Cells as shares of the incident energy.

        Args:
            inputs: shape (B, S + 4).

        Returns:
            Shape (B, V).
        """
        noise = inputs[:, : self.num_latent]
        energy = inputs[:, self.num_latent] * (MAX_ENERGY / 1000)  # GeV, (B,)
        angle = inputs[:, self.num_latent + 1] * math.radians(MAX_ANGLE)
        columns = [self._scaled(energy.log(), math.log(self.low), math.log(self.high))[:, None]]
        rest = self.template.expand(inputs.shape[0], -1)[:, 1:]
        if self.theta is not None:
            column, low, high = self.theta
            scaled = self._scaled(angle, low, high)[:, None]
            columns += [rest[:, : column - 1], scaled, rest[:, column:]]
        else:
            columns.append(rest)
        simulator = cast(_FromNoise, self.simulator)
        voxels = simulator.from_noise(noise, energy, torch.cat(columns, dim=1))
        return voxels.index_select(1, self.order) / energy[:, None]

    def _scaled(self, values: Tensor, low: float, high: float) -> Tensor:
        """As `Conditions.encode` scales."""
        if high <= low:
            return torch.zeros_like(values)
        return (2 * values - low - high) / (high - low)


def export_par04(
    simulator: Simulator,
    path: str | Path,
    *,
    conditions: Mapping[str, float | int] | None = None,
    dynamic: bool = False,
    opset: int = OPSET,
) -> Par04Model:
    """Write a simulator for the example Par04, whole or not at all.

    The file tells the macro commands that go with it (in its metadata, ``macro``). Before it gets
    its name onnxruntime runs it on some showers, and cells have to be those of torch.

    Args:
        simulator: trained; see `Par04Model`.
        path: the file to write or replace, ``*.onnx``.
        conditions: see `Par04Model`.
        dynamic: whether it takes any number of showers at a time; the example takes one.
        opset: version of the operators of ONNX, 18 at least.

    Returns:
        The same in torch.

    Raises:
        ShowerError: the simulator cannot be exported, see `Par04Model`; the name does not end in
            ``.onnx``; there is no such version; or onnxruntime gives other showers than torch.
        GeometryError: see `Par04Model`.
        MissingPackage: onnx or onnxscript is not there.
        OSError: the file cannot be written.

    Warns:
        UserWarning: onnxruntime is not there, so the file was not checked.
    """
    if Path(path).suffix != ".onnx":
        raise ShowerError(f"a simulator becomes an ONNX file, *.onnx; got {Path(path).name!r}")
    if opset < OPSET:
        raise ShowerError(f"opset {opset} cannot be written; wanted {OPSET} at least")
    model = Par04Model(simulator, conditions)
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise MissingPackage("Par04 files need ONNX: pip install 'hepgen[onnx]'") from error
    with _evaluating(model):
        with warnings.catch_warnings():
            # torch 2.13 warns of what it does itself when it copies programs.
            warnings.filterwarnings("ignore", ".*treespec, LeafSpec", FutureWarning)
            # Not optimised here: onnxscript takes constants within 1e-5 of one for one, and within
            # 1e-8 of zero for zero, and leaves out the quotients and sums with them.
            found = torch.onnx.export(
                _program(model, dynamic),
                opset_version=opset,
                input_names=["input"],
                output_names=["cells"],
                external_data=False,
                verbose=False,
                optimize=False,
            )
        assert found is not None
        if found.model.opset_imports.get("") != opset:
            raise ShowerError(f"opset {opset} cannot be written; take {OPSET}")
        _simplify(found.model, opset)
        found.model.metadata_props.update(_about(model))
        with replacing(path) as temporary:
            found.save(temporary)
            _check(model, temporary, str(path))
    return model


def macro(model: Par04Model, path: str | Path) -> str:
    """Commands of the example that go with a file.

    ``setModelType`` is known from Geant4 11.4 on; leave the line out before.

    Args:
        model: what was exported.
        path: of the file; Geant4 looks for it from where it was started.
    """
    name = f'"{path}"' if any(c.isspace() for c in str(path)) else str(path)
    shape = model.simulator.geometry.shape
    assert shape is not None
    layers, sectors, rings = shape
    size_r, size_z = model.mesh
    lines = [
        f"/Par04/inference/setSizeLatentVector {model.num_latent}",
        f"/Par04/inference/setSizeConditionVector {CONDITIONS}",
        f"/Par04/inference/setModelPathName {name}",
        "/Par04/inference/setModelType VAE",
        "/Par04/inference/setInferenceLibrary ONNX",
    ]
    for prefix in ("inference", "mesh"):
        lines += [
            f"/Par04/{prefix}/setSizeOfRhoCells {size_r:.9g} mm",
            f"/Par04/{prefix}/setSizeOfZCells {size_z:.9g} mm",
            f"/Par04/{prefix}/setNbOfRhoCells {rings}",
            f"/Par04/{prefix}/setNbOfPhiCells {sectors}",
            f"/Par04/{prefix}/setNbOfZCells {layers}",
        ]
    return "\n".join(lines) + "\n"


def _about(model: Par04Model) -> dict[str, str]:
    simulator = model.simulator
    return {
        "hepgen": __version__,
        "model": type(simulator).__name__,
        "geometry": str(simulator.geometry),
        "energy_range_gev": json.dumps([model.low, model.high]),
        "conditions": json.dumps(simulator.conditions.to_dict()),
        "macro": macro(model, "MODEL.onnx"),
    }


@contextmanager
def _evaluating(model: nn.Module) -> Iterator[None]:
    """In evaluation mode, without gradients, and afterwards as it was."""
    modes = {module: module.training for module in model.modules()}
    try:
        model.eval()
        with torch.no_grad():
            yield
    finally:
        for module, mode in modes.items():
            module.training = mode


def _program(model: Par04Model, dynamic: bool) -> torch.export.ExportedProgram:
    # Two showers, as sizes of one are taken for constants.
    example = _inputs(model, 2 if dynamic else 1).zero_()
    example[:, model.num_latent] = 1000 * (model.low * model.high) ** 0.5 / MAX_ENERGY
    example[:, -1] = 1
    shapes = ({0: torch.export.Dim.DYNAMIC},) if dynamic else None
    program = torch.export.export(model, (example,), dynamic_shapes=shapes, strict=False)
    plain: torch.export.ExportedProgram = program.run_decompositions(
        {
            torch.ops.hepgen.spline.default: _plain_spline,
            torch.ops.aten.cumprod.default: _plain_cumprod,
            torch.ops.aten.sigmoid.default: _plain_sigmoid,
            torch.ops.aten.silu.default: _plain_silu,
        }
    )
    return plain


def _inputs(model: Par04Model, showers: int) -> Tensor:
    """Vectors as the example makes them, straight in, energies all over the range: (B, S + 4)."""
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(showers, model.num_latent + CONDITIONS, generator=generator)
    share = (torch.arange(showers) + 0.5) / showers
    energy = model.low * (model.high / model.low) ** share  # GeV
    vectors[:, -4:] = torch.stack(
        [1000 * energy / MAX_ENERGY, *torch.tensor([1.0, 0.0, 1.0]).expand(showers, 3).T], dim=1
    )
    return vectors.to(model.order.device)


def _check(model: Par04Model, written: Path, name: str) -> None:
    """Run a file as the example does, and compare."""
    try:
        import onnxruntime  # type: ignore[import-untyped]
    except ImportError:
        warnings.warn(
            f"{name} was not checked, as onnxruntime is not there: pip install 'hepgen[onnx]'",
            UserWarning,
            stacklevel=3,
        )
        return
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(written), options, ["CPUExecutionProvider"])
    differences = []
    for vector in torch.split(_inputs(model, CHECKED), 1):
        wanted = model(vector).cpu().double()
        got = torch.from_numpy(session.run(None, {"input": vector.cpu().numpy()})[0]).double()
        tiny = torch.finfo(torch.float32).tiny
        differences.append(float((got - wanted).abs().sum() / wanted.abs().sum().clamp(min=tiny)))
    worst = statistics.median(math.inf if math.isnan(d) else d for d in differences)
    if worst > SLACK:
        raise ShowerError(
            f"{name} was not written: onnxruntime puts {worst:.1e} of the energy of a shower "
            f"elsewhere than torch (median of {CHECKED}); wanted {SLACK:.0e} at most"
        )


def _simplify(written: Any, opset: int) -> None:
    """Constants computed, what nothing reads left out, and no paths of this machine."""
    from onnx import helper
    from onnxscript.optimizer import fold_constants, remove_unused_nodes

    fold_constants(written)
    remove_unused_nodes(written)
    # The exporter says 10, which onnxruntime reads from 1.18 on; nothing of it is used.
    written.ir_version = helper.find_min_ir_version_for([helper.make_opsetid("", opset)])
    for node in written.graph.all_nodes():
        node.metadata_props.clear()
        node.doc_string = None
        for value in node.outputs:
            value.metadata_props.clear()
    for value in (*written.graph.inputs, *written.graph.initializers.values()):
        value.metadata_props.clear()


def _plain_spline(x: Tensor, raw: Tensor, *settings: Any) -> tuple[Tensor, Tensor]:
    """Splines in operators that ONNX has."""
    *knots, inverse = settings
    where = Knots(*knots)
    bins = bins_and_slopes(raw, where)
    return rational_quadratic(x, *bins, low=where.low, high=where.high, inverse=inverse)


def _plain_cumprod(x: Tensor, dim: int, dtype: torch.dtype | None = None) -> Tensor:
    """Products one after the other, which ONNX has no operator for."""
    parts = [*(x if dtype is None else x.to(dtype)).unbind(dim)]
    for i in range(1, len(parts)):
        parts[i] = parts[i - 1] * parts[i]
    return torch.stack(parts, dim)


def _plain_sigmoid(x: Tensor) -> Tensor:
    """Sigmoids to one unit in the last place where they are small as well.

    onnxruntime's own are quotients of polynomials that are right to 1e-7 of one: at x = -8.4 that
    is 1.3e-4 of what they are, and each layer's energy is what such ratios left of it.
    """
    return 1 / (1 + torch.exp(-x))


def _plain_silu(x: Tensor) -> Tensor:
    return x * _plain_sigmoid(x)
