"""What every element-wise map is: one number to one number, with parameters that a network gives.

Coupling and autoregressive transforms differ in which network sees what; the map that they apply
to each dimension is one of these.

Shapes: D dimensions that are mapped, M parameters of one of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from torch import Tensor

__all__ = ["Element"]


class Element(ABC):
    """A strictly increasing map of the line (or of an interval onto itself), element by element.

    Final subclasses are plain objects whose arguments are kept as attributes of the same names.

    Attributes:
        num_parameters: M, how many numbers the network gives for each element.
    """

    num_parameters: int

    @abstractmethod
    def __call__(
        self, x: Tensor, parameters: Tensor, *, inverse: bool = False
    ) -> tuple[Tensor, Tensor]:
        """Map each element, or map it back.

        Args:
            x: what to map, shape (..., D).
            parameters: as the network gives them, any real numbers, shape (..., D, M).
            inverse: map back.

        Returns:
            What it is mapped to and the logarithm of the slope of the map that was applied, both of
            shape (..., D), dtype and device of ``x``. Parameters of zero give the identity.
        """
