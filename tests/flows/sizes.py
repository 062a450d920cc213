"""What the contract tests build of each named flow, and how exact its two directions are.

A line is ``"Name": Case({...})`` with small arguments, so that the tests are quick; one without a
line is tested with its defaults. ``"Name anything"`` is another case of the same class. Dimension
and context come from the tests. A flow whose inverse is no closed form says how far round trips may
be off; one that torch.compile cannot take whole says why.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch

__all__ = ["CASES", "Case"]


@dataclass(frozen=True)
class Case:
    """One way to build a flow.

    Attributes:
        arguments: of the constructor, besides dimension and context.
        unit: its points are of the unit cube; else of the whole space.
        angles: dimensions that are angles, of period 1 in the unit cube, in [-pi, pi] else.
        rough: how far the tests throw the weights from where they begin; at 0.3 the densities of
            most flows span a factor of 1e3 or more. Inverses of much rougher ones are
            ill-conditioned, whoever computes them.
        float32: how far a round trip may be off, in units of max(1, |x|).
        float64: likewise.
        steps: of training with Adam, for the test that it learns.
        lr: learning rate of these.
        not_compiled: why torch.compile is not tried; None where it has to work.
    """

    arguments: dict[str, Any] = field(default_factory=dict)
    unit: bool = False
    angles: tuple[int, ...] = ()
    rough: float = 0.3
    float32: float = 1e-5
    float64: float = 1e-12
    steps: int = 150
    lr: float = 1e-2
    not_compiled: str | None = None

    def tolerance(self, dtype: torch.dtype) -> float:
        return self.float32 if dtype == torch.float32 else self.float64


NET: dict[str, Any] = {"hidden": 16}
SPLINE: dict[str, Any] = {"hidden": 16, "num_bins": 5}

CASES: dict[str, Case] = {
    # Two steps only, as the compiler unrolls them, and so a velocity that changes little.
    "ContinuousFlow": Case(
        {**NET, "solver": "rk4", "steps": 2}, rough=0.04, float32=1e-4, float64=1e-4, steps=300
    ),
    "ContinuousFlow adaptive": Case(
        {"hidden": 8, "domain": "unit", "tolerance": 1e-7},
        unit=True,
        rough=0.1,
        float32=5e-4,
        float64=1e-5,
        steps=300,
        not_compiled="how many steps there are depends on the points",
    ),
    "Glow": Case({**NET, "num_transforms": 4}),
    "NICE": Case({**NET, "num_transforms": 4}),
    "NeuralSplineFlow": Case(SPLINE, unit=True),
    "NeuralSplineFlow real": Case({**SPLINE, "domain": "real"}),
    "NeuralSplineFlow angle": Case({**SPLINE, "periodic": (1,)}, unit=True, angles=(1,)),
    "NeuralSplineFlow real angle": Case(
        {**SPLINE, "domain": "real", "periodic": (0,)}, angles=(0,)
    ),
    "InverseAutoregressiveFlow": Case({**NET, "num_transforms": 3}),
    "InverseAutoregressiveFlow spline": Case(
        {**SPLINE, "num_transforms": 2, "element": "spline", "domain": "unit"}, unit=True
    ),
    "MaskedAutoregressiveFlow": Case({**NET, "num_transforms": 3}),
    "MaskedAutoregressiveFlow angle": Case(
        {**SPLINE, "num_transforms": 2, "periodic": (0,)}, angles=(0,)
    ),
    "MaskedAutoregressiveFlow cubic": Case(
        {**SPLINE, "num_transforms": 2, "element": "cubic", "domain": "unit"}, unit=True
    ),
    "MaskedAutoregressiveFlow real cubic": Case(
        {**SPLINE, "num_transforms": 2, "element": "cubic", "residual": True}
    ),
    "MaskedAutoregressiveFlow spline": Case({**SPLINE, "num_transforms": 2, "element": "spline"}),
    "PlanarFlow": Case({**NET, "num_transforms": 4}),
    "RadialFlow": Case({**NET, "num_transforms": 4}),
    "RealNVP": Case({**NET, "num_transforms": 4}),
}
