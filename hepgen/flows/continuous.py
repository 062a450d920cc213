r"""Continuous flows: points carried from noise to data by a velocity field.

Y. Lipman, R. T. Q. Chen, H. Ben-Hamu, M. Nickel and M. Le, "Flow matching for generative modeling",
ICLR 2023, arXiv:2210.02747. With :math:`\dot y = v(t, y; c)` from noise z at t = 0 to data x at
t = 1 (R. T. Q. Chen et al., "Neural ordinary differential equations", arXiv:1806.07366, eq. 8)

.. math:: \log p(x) = \log p_0(z) - \int_0^1 (\nabla \cdot v)(t, y_t; c)\, dt .

Training solves no equation: the field is learnt by regression (`hepgen.flows.flow_matching`).

Shapes: B points, D dimensions, C context, P probes, S samples.
"""

from __future__ import annotations

import math
from difflib import get_close_matches
from typing import Any, ClassVar, Literal, final

import torch
from nflows.transforms import CompositeTransform, InverseTransform, Transform
from torch import Tensor

from hepgen.flows.bases import Base, StandardNormal, UnitUniform
from hepgen.flows.flow import Flow
from hepgen.flows.flow_matching import flow_matching_loss
from hepgen.flows.solvers import METHODS, adaptive_steps, fixed_steps
from hepgen.flows.velocity import VelocityField
from hepgen.paper import Paper

__all__ = ["Carried", "ContinuousFlow", "Probit"]

SOLVERS = (*METHODS, "dopri5")


@final
class Probit(Transform):  # type: ignore[misc]
    """The open unit cube to all of space: quantiles of the normal distribution, one by one.

    A uniform density becomes a Gaussian. The faces of the cube are taken for the nearest points
    inside, and so are points beyond them, but with minus infinity for the logarithm.
    """

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Points of the cube to points of space.

        Args:
            inputs: shape (B, D).
            context: does not matter.

        Returns:
            Points (B, D) and the logarithm of the determinant of the Jacobian (B,).
        """
        type_ = torch.finfo(inputs.dtype)
        y = torch.special.ndtri(inputs.clamp(type_.tiny, 1 - type_.eps / 2))
        inside = ((inputs >= 0) & (inputs <= 1)).all(1)
        return y, torch.where(inside, -_log_normal(y), -math.inf)

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Back to the cube; arguments and results as those of ``forward``."""
        # As torch's ndtr, but not 0 at once where that is, from -5.4 on in float32.
        return torch.special.erfc(inputs * -math.sqrt(0.5)) / 2, _log_normal(inputs)


def _log_normal(y: Tensor) -> Tensor:
    """Logarithm of the standard normal density, (B,)."""
    return -(y.square() + math.log(2 * math.pi)).sum(1) / 2


@final
class Carried(Transform):  # type: ignore[misc]
    """Data carried back to noise along a velocity field, and noise forth to data.

    Args:
        field: the velocities.
        solver: "midpoint", "rk4" or "dopri5".
        steps: of the first two.
        tolerance: of the last, relative and absolute.
        probes: P, for an estimate of the divergence; None for the exact one.
        seed: of the probes, which are the same in each call.

    Raises:
        ValueError: there is no such solver, or a number makes no sense.
    """

    def __init__(
        self,
        field: VelocityField,
        solver: str = "dopri5",
        steps: int = 32,
        tolerance: float = 1e-6,
        probes: int | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        if solver not in SOLVERS:
            near = get_close_matches(str(solver), SOLVERS, n=1, cutoff=0.0)[0]
            raise ValueError(f"no solver {solver!r}; nearest: {near}; of {', '.join(SOLVERS)}")
        if steps < 1 or not tolerance > 0 or (probes is not None and probes < 1):
            raise ValueError(
                f"steps={steps}, tolerance={tolerance}, probes={probes}: wanted numbers above 0"
            )
        self.field = field
        self.solver, self.steps, self.tolerance = solver, steps, tolerance
        self.probes, self.seed = probes, seed

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Towards the latent space.

        Args:
            inputs: points, shape (B, D).
            context: shape (B, C).

        Returns:
            Points (B, D) and the logarithm of the determinant of the Jacobian (B,), both with the
            error of the solver.

        Raises:
            NotSolved: an adaptive solver did not arrive.
        """
        return self._with_volume(inputs, context, 1.0, 0.0)

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Back to data; arguments and results as those of ``forward``."""
        return self._with_volume(inputs, context, 0.0, 1.0)

    def carry(
        self, points: Tensor, context: Tensor | None = None, *, backward: bool = False
    ) -> Tensor:
        """The points alone, for less than with their Jacobian.

        Args:
            points: noise, or data if ``backward``, shape (B, D).
            context: shape (B, C).
            backward: from data to noise.

        Returns:
            Shape (B, D).

        Raises:
            NotSolved: an adaptive solver did not arrive.
        """
        start, end = (1.0, 0.0) if backward else (0.0, 1.0)
        return self._solve(self.field, points, start, end, (context,))

    def _with_volume(
        self, points: Tensor, context: Tensor | None, start: float, end: float
    ) -> tuple[Tensor, Tensor]:
        """The last number of the state is the logarithm of a volume that is carried along."""

        def slope(t: Tensor, y: Tensor, context: Tensor | None, probes: Tensor | None) -> Tensor:
            if probes is None:
                velocity, growth = self.field.with_divergence(t, y[:, :-1], context)
            else:
                velocity, growth = self.field.with_probes(t, y[:, :-1], context, probes)
            return torch.cat([velocity, growth[:, None]], 1)

        y = torch.cat([points, torch.zeros_like(points[:, :1])], 1)
        y = self._solve(slope, y, start, end, (context, self._probes(points)))
        return y[:, :-1], y[:, -1]

    def _probes(self, points: Tensor) -> Tensor | None:
        """Random signs, (B, P, D)."""
        if self.probes is None:
            return None
        generator = torch.Generator(points.device).manual_seed(self.seed)
        shape = (points.shape[0], self.probes, points.shape[1])
        signs = torch.randint(0, 2, shape, generator=generator, device=points.device)
        return (2 * signs - 1).to(points.dtype)

    def _solve(
        self,
        slope: Any,
        y: Tensor,
        start: float,
        end: float,
        constants: tuple[Tensor | None, ...],
    ) -> Tensor:
        if self.solver == "dopri5":
            # Finer than a few roundings no step can be.
            same = max(self.tolerance, 10 * torch.finfo(y.dtype).eps)
            return adaptive_steps(slope, y, start, end, rtol=same, atol=same, constants=constants)
        steps, method = self.steps, self.solver
        return fixed_steps(slope, y, start, end, steps=steps, method=method, constants=constants)


@final
class ContinuousFlow(Flow):
    """A velocity field learnt by flow matching; a Gaussian base, or the unit cube.

    Densities and draws have the error of the solver, and so do densities of draws: of the order of
    ``tolerance`` with "dopri5", of the inverse fourth power of ``steps`` with "rk4". Steps of fixed
    size compile without graph break. Standardise what it learns, see `TabularDensity`: the noise
    has mean 0 and width 1.

    Args:
        dimension: D.
        context: width C of what the density is conditional on; 0 for none.
        hidden: width of the hidden layers of the field.
        layers: how many. With two the exact divergence costs as much as a layer.
        domain: "real", or "unit" for data in the unit cube, as of an integrand; the latent space is
            the unit cube too then, and the flow begins as the uniform density.
        solver: "dopri5" chooses its steps for each point; "rk4" and "midpoint" take ``steps``.
        steps: of "rk4" or "midpoint".
        tolerance: relative and absolute, of each step of "dopri5"; 1e-6 at least in float32.
        probes: None for exact divergences, or over how many random directions they are estimated.
            Densities are then estimates too, whose logarithms are unbiased; they depend on the
            place of the point in its batch.
        seed: of these directions.
        sigma: width of the paths of flow matching at their end.
        transport: match noise and data by optimal transport within a batch while learning, for
            straighter paths; with a context, whose rows differ, it is biased.

    Raises:
        ValueError: there is no such solver, or a number makes no sense.
    """

    paper: ClassVar[Paper | None] = Paper(
        "Y. Lipman, R. T. Q. Chen, H. Ben-Hamu, M. Nickel and M. Le",
        "Flow matching for generative modeling",
        "ICLR 2023",
        "2210.02747",
    )

    def __init__(
        self,
        dimension: int,
        context: int = 0,
        hidden: int = 256,
        layers: int = 2,
        domain: Literal["real", "unit"] = "real",
        solver: Literal["dopri5", "rk4", "midpoint"] = "dopri5",
        steps: int = 32,
        tolerance: float = 1e-6,
        probes: int | None = None,
        seed: int = 0,
        sigma: float = 1e-4,
        transport: bool = False,
    ) -> None:
        if domain not in ("real", "unit"):
            raise ValueError(f"domain={domain!r}; wanted 'real' or 'unit'")
        if not 0 <= sigma < 1:
            raise ValueError(f"sigma={sigma}: wanted a number from 0 to below 1")
        base: Base = UnitUniform(dimension) if domain == "unit" else StandardNormal(dimension)
        field = VelocityField(dimension, context, hidden, layers)
        transform: Transform = Carried(field, solver, steps, tolerance, probes, seed)
        if domain == "unit":
            transform = CompositeTransform([Probit(), transform, InverseTransform(Probit())])
        super().__init__(transform, base, context)
        self.hidden, self.layers, self.domain = hidden, layers, domain
        self.solver, self.steps, self.tolerance = solver, steps, tolerance
        self.probes, self.seed, self.sigma, self.transport = probes, seed, sigma, transport

    @property
    def carried(self) -> Carried:
        """The part that follows the field."""
        transform = self.transform
        found: Carried = transform._transforms[1] if self.domain == "unit" else transform
        return found

    def sample(
        self,
        num_samples: int,
        context: Tensor | None = None,
        batch_size: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw points, without the cost of their density.

        Args:
            num_samples: S, how many, for each row of the context if there is one.
            context: what they are conditional on, shape (B, C).
            batch_size: carry so many (for each row) at a time, which bounds the memory.
            generator: where the random numbers come from; torch's own if not given.

        Returns:
            Shape (S, D), or (B, S, D) with a context. As ``sample_and_log_prob`` of the same random
            numbers but for the error of the solver.

        Raises:
            ValueError: as of `Flow.sample`.
            TypeError: as of `Flow.sample`.
            NotSolved: an adaptive solver did not arrive.
        """
        if batch_size is not None and batch_size < num_samples:
            return super().sample(num_samples, context, batch_size, generator=generator)
        if num_samples < 0:
            raise ValueError(f"num_samples should be 0 at least, not {num_samples}")
        self._check_context(context)
        noise = self.base.sample(num_samples, context, generator=generator)
        flat = noise.reshape(-1, self.dimension)
        if context is not None:
            context = context[:, None].expand(-1, num_samples, -1).reshape(len(flat), self.context)
        if self.domain == "unit":
            flat = Probit()(flat)[0]
        points = self.carried.carry(flat, context)
        return (Probit().inverse(points)[0] if self.domain == "unit" else points).view(noise.shape)

    def loss(self, batch: Any) -> Tensor:
        """The loss of flow matching; no likelihood: for that see `Flow.loss`.

        Args:
            batch: with attributes ``x`` (B, D), ``context`` (B, C) or None, and ``weight`` (B,) or
                None.

        Returns:
            A scalar, 0 for a batch of no points.

        Raises:
            ValueError: other dimensions, context missing or unexpected, or weights of another
                shape.
            TypeError: points or context of another type than the weights of the field.
        """
        x, context, weight = batch.x, batch.context, batch.weight
        self._check_points(x)
        self._check_context(context, len(x))
        if weight is not None and weight.shape != x.shape[:1]:
            raise ValueError(f"weight should be of shape ({len(x)},), not {tuple(weight.shape)}")
        if self.domain == "unit":
            x = Probit()(x)[0]
        field = self.carried.field
        return flow_matching_loss(
            lambda t, y: field(t, y, context),
            x,
            weight=weight,
            sigma=self.sigma,
            transport=self.transport,
        )
