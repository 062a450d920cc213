r"""Angles: variables whose two ends are the same point.

A flow on a circle needs maps that carry the circle onto itself (splines with equal slopes at both
ends, shifts that wrap around) and networks that see an angle as the point on the circle, so that
nothing happens where the numbers jump from one end to the other.

D. J. Rezende et al., "Normalizing flows on tori and spheres", ICML 2020, arXiv:2002.02428.

Shapes: B batch, D dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from nflows.transforms import Transform
from torch import Tensor, nn

__all__ = ["CircularShift", "angle_features"]


def angle_features(x: Tensor, period: float) -> Tensor:
    """Cosine and sine of angles, side by side.

    Args:
        x: angles in the unit of the period, shape (..., n).
        period: one turn.

    Returns:
        Cosines, then sines, shape (..., 2 n).
    """
    angle = x * (2 * math.pi / period)
    return torch.cat([angle.cos(), angle.sin()], dim=-1)


class CircularShift(Transform):  # type: ignore[misc] # nflows has no annotations
    r"""Turns angles by a constant: :math:`z = (x + \phi) \bmod` one turn; others stay.

    Splines on a circle leave the place of the cut where it is; a shift between two of them lets
    both ends move. The logarithm of the determinant is zero.

    Args:
        dimension: D.
        angles: which of the dimensions are angles.
        low: where the circle begins.
        high: where it ends, which is the same point.
        shift: how far to turn each angle at first, in the unit of the angles; one number for all,
            or one for each.
        learned: whether training changes the shift.

    Raises:
        ValueError: an angle is none of the dimensions, the circle has no length, or there are
            neither one shift nor as many as angles.
    """

    def __init__(
        self,
        dimension: int,
        angles: Sequence[int],
        low: float = 0.0,
        high: float = 1.0,
        shift: float | Sequence[float] = 0.0,
        learned: bool = True,
    ) -> None:
        super().__init__()
        angles = tuple(angles)
        wrong = [angle for angle in angles if not 0 <= angle < dimension]
        if wrong or len(set(angles)) < len(angles):
            raise ValueError(
                f"angles {list(angles)} are not dimensions of {dimension}, counted from 0, each "
                "at most once"
            )
        if not low < high:
            raise ValueError(f"the circle from {low} to {high} has no length")
        shifts = torch.as_tensor(shift, dtype=torch.get_default_dtype())
        if shifts.ndim and shifts.shape != (len(angles),):
            raise ValueError(f"{shifts.numel()} shifts for {len(angles)} angles; wanted 1 or each")
        self.dimension, self.angles, self.low, self.high = dimension, angles, low, high
        self.learned = learned
        self.shift = nn.Parameter(shifts.expand(len(angles)).clone(), requires_grad=learned)
        place = {angle: n for n, angle in enumerate(angles)}
        index = torch.tensor([place.get(d, 0) for d in range(dimension)])
        turns = torch.tensor([d in place for d in range(dimension)])
        self.register_buffer("index", index, persistent=False)
        self.register_buffer("turns", turns, persistent=False)

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Turn angles (B, D); the second result is zero, (B,)."""
        return self._turned(inputs, self.shift)

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Turn them back."""
        return self._turned(inputs, -self.shift)

    def _turned(self, x: Tensor, shift: Tensor) -> tuple[Tensor, Tensor]:
        nothing = x.new_zeros(len(x))
        if not self.angles:
            return x, nothing
        turned = torch.remainder(x - self.low + shift[self.index], self.high - self.low) + self.low
        # Of a number just below zero the remainder can be rounded to a whole turn, or past it.
        turned = turned.clamp(max=self.high)
        return torch.where(self.turns, turned, x), nothing
