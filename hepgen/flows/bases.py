r"""What flows begin from: densities of the latent space that are known in closed form.

Those of nflows draw in the default type and, on the cube, know neither context nor devices.

Shapes: B points, D dimensions, C context, S samples.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from typing import cast, final

import torch
from nflows.distributions.base import Distribution
from torch import Tensor

__all__ = ["Base", "StandardNormal", "UnitUniform"]


class Base(Distribution, ABC):  # type: ignore[misc]
    """A density without parameters, drawn in the type and on the device that it was moved to.

    A context is only counted: with one there are as many samples for each of its rows.

    Args:
        dimension: D.

    Attributes:
        dimension: as given.
        origin: a zero that ``.to()``, ``.double()`` and model files take along.

    Raises:
        ValueError: less than one dimension.
    """

    origin: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        if dimension < 1:
            raise ValueError(f"{type(self).__name__} needs one dimension at least, not {dimension}")
        self.dimension = dimension
        self.register_buffer("origin", torch.zeros(()))

    def empty(self, count: int) -> Tensor:
        """Room for points, shape (count, D)."""
        # Filled in place, as torch.randn with a generator takes no symbolic sizes.
        return self.origin.new_empty(count, self.dimension)

    @abstractmethod
    def draw(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Independent points, shape (count, D)."""

    def sample(
        self,
        num_samples: int,
        context: Tensor | None = None,
        batch_size: int | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> Tensor:
        """Draw points.

        Args:
            num_samples: S, how many, for each row of the context if there is one.
            context: shape (B, C); its values do not matter.
            batch_size: as in nflows; drawing in parts gains nothing here, and is not done.
            generator: where the random numbers come from; torch's own if not given. It has to be
                one of the device.

        Returns:
            Shape (S, D), or (B, S, D) with a context.
        """
        if context is None:
            return self.draw(num_samples, generator)
        points = self.draw(context.shape[0] * num_samples, generator)
        return points.view(context.shape[0], num_samples, self.dimension)

    def sample_and_log_prob(
        self,
        num_samples: int,
        context: Tensor | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Draw points, and tell their log density.

        Args:
            num_samples: S.
            context: shape (B, C); its values do not matter.
            generator: where the random numbers come from.

        Returns:
            Points as of ``sample`` and their log densities, the same without the axis D.
        """
        points = self.sample(num_samples, context, generator=generator)
        flat = points.view(-1, self.dimension)
        return points, cast(Tensor, self._log_prob(flat, None)).view(points.shape[:-1])

    def _check(self, inputs: Tensor) -> None:
        if inputs.dim() != 2 or inputs.shape[1] != self.dimension:
            raise ValueError(
                f"{type(self).__name__} has points of shape (B, {self.dimension}), "
                f"not {tuple(inputs.shape)}"
            )


@final
class StandardNormal(Base):
    r"""Independent Gaussians of mean 0 and width 1, and angles of any value.

    Args:
        dimension: D.
        periodic: dimensions that are angles, uniform in :math:`[-\pi, \pi)`. Densities are those
            of a circle: the same at equal angles.

    Raises:
        ValueError: less than one dimension, or an angle that is not one of them.
    """

    normal: Tensor | None

    def __init__(self, dimension: int, periodic: tuple[int, ...] = ()) -> None:
        super().__init__(dimension)
        self.periodic = tuple(periodic)
        wrong = [d for d in self.periodic if not 0 <= d < dimension]
        if wrong:
            raise ValueError(f"periodic={self.periodic}: the dimensions are 0 to {dimension - 1}")
        normal = torch.ones(dimension)
        normal[list(self.periodic)] = 0
        self.register_buffer("normal", normal if self.periodic else None, persistent=False)

    def _log_prob(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        self._check(inputs)
        squares = inputs.square()
        if self.normal is not None:
            squares = squares * self.normal
        angles = len(self.periodic)
        constant = math.log(2 * math.pi) * (0.5 * (self.dimension - angles) + angles)
        return -0.5 * squares.sum(1) - constant

    def draw(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Independent points, shape (count, D)."""
        points = self.empty(count).normal_(generator=generator)
        if self.normal is None:
            return points
        turns = self.empty(count).uniform_(generator=generator)
        return torch.where(self.normal > 0, points, (2 * turns - 1) * math.pi)

    def _mean(self, context: Tensor | None) -> Tensor:
        rows = () if context is None else (context.shape[0],)
        return self.origin.expand(*rows, self.dimension)


@final
class UnitUniform(Base):
    """The unit cube, its faces included, all points alike.

    What rounding pushed over a face, by 64 units in the last place, still belongs to it: a flow
    that maps the cube onto itself would else lose points on its faces.
    """

    def _log_prob(self, inputs: Tensor, context: Tensor | None) -> Tensor:
        self._check(inputs)
        edge = 64 * torch.finfo(inputs.dtype).eps
        inside = ((inputs >= -edge) & (inputs <= 1 + edge)).all(1)
        return torch.where(inside, 0.0, -math.inf).to(inputs.dtype)

    def draw(self, count: int, generator: torch.Generator | None) -> Tensor:
        """Independent points, shape (count, D)."""
        return self.empty(count).uniform_(generator=generator)

    def _mean(self, context: Tensor | None) -> Tensor:
        rows = () if context is None else (context.shape[0],)
        return (self.origin + 0.5).expand(*rows, self.dimension)
