r"""Linear layers: a scale and shift of each dimension, and an invertible matrix that mixes them.

D. P. Kingma and P. Dhariwal, "Glow: generative flow with invertible 1x1 convolutions",
arXiv:1807.03039, sections 3.1 and 3.2. Points are vectors, not images, so that a 1x1 convolution
is a matrix.

Shapes: B points, D dimensions.
"""

from __future__ import annotations

from typing import cast, final

import torch
from nflows.transforms import Transform
from torch import Tensor, nn

__all__ = ["ActNorm", "LULinear"]


@final
class ActNorm(Transform):  # type: ignore[misc] # nflows has no annotations
    r"""Scale and shift of each dimension, :math:`y = e^{s} x + b`, that may begin from data.

    It begins as the identity. Nothing is initialised on the way, as in nflows, which would be
    another program at the first batch: `initialize` is called before, by `Flow.initialize`.

    Args:
        dimension: D.
    """

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.zeros(dimension))
        self.shift = nn.Parameter(torch.zeros(dimension))

    @torch.no_grad()
    def initialize(self, x: Tensor) -> None:
        """Let these points come out with mean 0 and standard deviation 1.

        A layer that is no longer the identity has begun already and stays as it is.

        Args:
            x: points, shape (B, D).

        Raises:
            ValueError: fewer than two points, or a dimension in which all are equal.
        """
        if bool(self.log_scale.any()) or bool(self.shift.any()):
            return
        if len(x) < 2:
            raise ValueError(f"a scale cannot be seen in {len(x)} points; two at least")
        deviation, mean = torch.std_mean(x, dim=0)
        constant = (~(deviation > 0)).nonzero().flatten().tolist()
        if constant:
            raise ValueError(f"dimension {constant[0]} does not vary in {len(x)} points")
        self.log_scale.copy_(-deviation.log())
        self.shift.copy_(-mean / deviation)

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Scale and shift points (B, D); the logarithm of the determinant is (B,)."""
        y = inputs * torch.exp(self.log_scale) + self.shift
        return y, self.log_scale.sum().expand(len(inputs))

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Shift and scale back."""
        x = (inputs - self.shift) * torch.exp(-self.log_scale)
        return x, (-self.log_scale.sum()).expand(len(inputs))


@final
class LULinear(Transform):  # type: ignore[misc] # nflows has no annotations
    r"""An invertible matrix and a shift, :math:`y = L U x + b`.

    L has ones on its diagonal, that of U is positive. Their numbers are those of one matrix, as
    LAPACK keeps them: below its diagonal L, above it U, on it the logarithm of the diagonal of U.
    Numbers of zero are the identity, with which it begins; permutations of the paper's form are
    left to the masks of couplings.

    Args:
        dimension: D.
    """

    identity: Tensor

    def __init__(self, dimension: int) -> None:
        super().__init__()
        self.entries = nn.Parameter(torch.zeros(dimension, dimension))
        self.shift = nn.Parameter(torch.zeros(dimension))
        self.register_buffer("identity", torch.eye(dimension), persistent=False)

    def factors(self) -> tuple[Tensor, Tensor]:
        """The triangular matrices L and U, each (D, D)."""
        lower = self.entries.tril(-1) + self.identity.to(self.entries.dtype)
        return lower, self.entries.triu(1) + self.entries.diagonal().exp().diag()

    def forward(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Multiply points (B, D) by the matrix; the logarithm of the determinant is (B,)."""
        # In the type of the points, whatever networks are computed in.
        with torch.autocast(inputs.device.type, enabled=False):
            lower, upper = self.factors()
            y = inputs @ (lower @ upper).T + self.shift
        return y, self.entries.trace().expand(len(inputs))

    def inverse(self, inputs: Tensor, context: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Solve two triangular systems."""
        lower, upper = self.factors()
        # Points are rows: x Uᵀ Lᵀ = y - b, where Lᵀ is upper and Uᵀ lower.
        half = cast(
            Tensor,
            torch.linalg.solve_triangular(
                lower.T, inputs - self.shift, upper=True, left=False, unitriangular=True
            ),
        )
        x = cast(Tensor, torch.linalg.solve_triangular(upper.T, half, upper=False, left=False))
        return x, (-self.entries.trace()).expand(len(inputs))
