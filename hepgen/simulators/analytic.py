"""Showers by formulas alone, for where there is no time, or no sample, to train anything.

G. Grindhammer and S. Peters, hep-ex/0001020, as `hepgen.calorimeter.simulate_showers` has it.

Shapes: B showers, V voxels, C context, P factors.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from hepgen.calorimeter import Geometry, ShowerError, Showers
from hepgen.calorimeter.shower_parameters import ShowerTuning
from hepgen.calorimeter.shower_profile import PARTICLES, layer_edges, simulate_voxels
from hepgen.calorimeter.shower_tuning import tune_showers
from hepgen.calorimeter.stack import Calorimeter, calorimeter_from_dict
from hepgen.io.errors import nearest_names
from hepgen.paper import Paper
from hepgen.simulators.batches import ShowerBatch
from hepgen.simulators.conditions import Conditions
from hepgen.simulators.simulator import Simulator

__all__ = ["ParametrisedShowers"]

NAMES = [field.name for field in fields(ShowerTuning)]
# Tungsten and silicon of CaloChallenge's data sets 2 and 3; resolution as Geant4 gives it.
CHALLENGE = {"layers": [["W", 1.4], ["Si", 0.3]], "sampling_term": 0.135, "active": "Si"}


class ParametrisedShowers(Simulator):
    """Parametrised electromagnetic showers, with factors that make them like a sample's.

    ``fit`` has no epochs: it makes mean and width of depth, length, radius, response and number of
    voxels in bins of the energy those of the sample, and returns no history. Without it the
    formulas stand as they were published, with a response of 1.

    Particles come along the axis of the voxels: of the conditions only ``pdg`` (11, -11, 22)
    changes anything. One set of factors serves all particles.

    Args:
        geometry: of the voxels; its layers need depths, if ``z_edges`` are not given.
        conditions: what the showers depend on.
        calorimeter: what it is made of: ``{"material": "PbWO4"}``, or layers as of the default,
            pairs of material and thickness in mm, with the sampling term and what is active.
        particle: "electron", "positron" or "photon", where the conditions have no ``pdg``.
        z_edges: depths in mm where layers begin and end.
        number: showers that are made at each step of the fit, at most.

    Raises:
        GeometryError: layers without depths.
        ShowerError: another particle.
        MissingName: a material that is not known.
        MaterialError: a calorimeter that makes no sense.
    """

    paper: ClassVar[Paper | None] = Paper(
        "G. Grindhammer and S. Peters",
        "The parameterized simulation of electromagnetic showers in homogeneous and sampling "
        "calorimeters",
        "Int. Conf. on Monte Carlo Simulation in High Energy and Nuclear Physics (1993)",
        "hep-ex/0001020",
    )

    def __init__(
        self,
        geometry: Geometry | Mapping[str, Any],
        conditions: Conditions | Mapping[str, Any],
        *,
        calorimeter: Calorimeter | Mapping[str, Any] = CHALLENGE,
        particle: str = "electron",
        z_edges: list[float] | None = None,
        number: int = 3000,
    ) -> None:
        super().__init__(geometry, conditions)
        self.stack = calorimeter_from_dict(calorimeter)
        self.calorimeter = self.stack.to_dict()
        self.particle, self.z_edges, self.number = particle, z_edges, number
        if particle not in PARTICLES:
            near = ", ".join(nearest_names(particle, PARTICLES))
            raise ShowerError(f"particle={particle!r} has no parametrised shower; nearest: {near}")
        layer_edges(self.geometry, z_edges)
        for pdg in self.conditions.categories.get("pdg", ()):
            if pdg not in PARTICLES.values():
                raise ShowerError(f"particle {pdg} has no parametrised shower; 11, -11, 22 have")
        start = ShowerTuning(sampling_term=self.stack.sampling_term)
        values = torch.tensor([getattr(start, name) for name in NAMES], dtype=torch.float64)
        self.register_buffer("factors", values)
        self.factors: Tensor

    @property
    def tuning(self) -> ShowerTuning:
        """The factors by name."""
        return ShowerTuning(**dict(zip(NAMES, self.factors.double().tolist(), strict=True)))

    def stages(self) -> Mapping[str, nn.Module]:
        """None: nothing here is learnt by gradients."""
        return {}

    def prepare(self, showers: Showers) -> None:
        """Tune the factors to a sample.

        Args:
            showers: the sample.

        Raises:
            ShowerError: too few showers, or energies below the reach of the formulas.
        """
        tuned = tune_showers(
            showers,
            self.stack,
            self._photons(showers.conditions.get("pdg"), len(showers)),
            number=self.number,
            z_edges=self.z_edges,
        )
        values = [getattr(tuned, name) for name in NAMES]
        self.factors.copy_(torch.tensor(values, dtype=torch.float64))

    def loss(self, batch: ShowerBatch) -> Tensor:
        """There is none.

        Args:
            batch: showers.

        Raises:
            TypeError: always.
        """
        raise TypeError("ParametrisedShowers has no loss: its fit compares moments, not showers")

    def generate(
        self, incident_energy: Tensor, context: Tensor, generator: torch.Generator
    ) -> Tensor:
        """Voxels of some showers; see `Simulator.generate`.

        Args:
            incident_energy: in GeV, shape (B,).
            context: shape (B, C).
            generator: of all random numbers.

        Returns:
            Energies in GeV, shape (B, V).

        Raises:
            ShowerError: energies below the reach of the formulas.
        """
        keys = torch.randint(2**63 - 1, incident_energy.shape, generator=generator)
        voxels = simulate_voxels(
            self.geometry,
            self.stack,
            incident_energy.double().cpu().numpy(),
            self._photons(self._pdg(context), len(incident_energy)),
            keys.numpy().astype(np.uint64),
            tuning=self.tuning,
            z_edges=self.z_edges,
        )
        return torch.from_numpy(voxels).to(incident_energy.device)

    def _photons(self, pdg: NDArray[Any] | None, number: int) -> NDArray[np.bool_]:
        """Which particles are photons, shape (B,)."""
        if pdg is None:
            return np.full(number, self.particle == "photon")
        found: NDArray[np.bool_] = np.asarray(pdg) == PARTICLES["photon"]
        return found

    def _pdg(self, context: Tensor) -> NDArray[np.int64] | None:
        """The particles that the context tells of, shape (B,); None where it tells nothing."""
        labels = self.conditions.categories.get("pdg")
        if labels is None:
            return None
        if len(labels) == 1:
            return np.full(len(context), labels[0])
        # Labels stand at the end, in the order of the conditions.
        end = context.shape[1]
        for name, values in reversed(list(self.conditions.categories.items())):
            width = len(values) if len(values) > 1 else 0
            if name == "pdg":
                chosen = context[:, end - width : end].argmax(dim=1).cpu().numpy()
                found: NDArray[np.int64] = np.array(labels, dtype=np.int64)[chosen]
                return found
            end -= width
        return None
