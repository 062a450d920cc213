r"""Parton densities x f(x, Q^2): from grid files of LHAPDF6, and a toy in closed form.

Densities stand as x f, momentum densities, without units. Flavours are PDG ids, the gluon is 21.

Shapes: B points, F flavours.
"""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.pdf_grid import find_grid, read_grid
from hepgen.integration.pdf_kernels import axis, interpolate
from hepgen.io.errors import InputError, MissingName, NotReadable

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["PDF", "PartonDensities", "ToyPDF"]

Array = NDArray[np.float64]


class PartonDensities(ABC):
    """What a hadron is made of, by flavour, momentum fraction x and scale Q^2.

    Attributes:
        flavours: PDG ids of what there is.
        x_min: smallest x that is known.
        x_max: largest x that is known.
        q2_min: smallest Q^2 that is known, in GeV^2.
        q2_max: largest Q^2 that is known, in GeV^2.
        outside: what happens beyond these: "freeze" takes the value at the nearest edge (as Pythia
            does by default), "error" raises. x <= 0 and x > 1 raise in any case.
    """

    flavours: tuple[int, ...]
    x_min: float
    x_max: float
    q2_min: float
    q2_max: float
    outside: Literal["freeze", "error"]

    @abstractmethod
    def _evaluate(self, flavours: tuple[int, ...], x: Array, q2: Array) -> Array:
        """X f at points within the known range, shape (B, F)."""

    @overload
    def xfx(self, flavours: Sequence[int], x: Tensor, q2: Tensor | float) -> Tensor: ...
    @overload
    def xfx(self, flavours: Sequence[int], x: ArrayLike, q2: ArrayLike) -> Array: ...
    def xfx(self, flavours: Sequence[int], x: Any, q2: Any) -> Any:
        """Momentum densities x f(x, Q^2).

        Args:
            flavours: PDG ids, F of them.
            x: momentum fractions in (0, 1], shape (B,).
            q2: squares of the factorisation scale in GeV^2, shape (B,) or a number.

        Returns:
            x f, float64, shape (B, F), in the order of ``flavours``. Torch tensors in give a
            tensor on the same device out, without gradient.

        Raises:
            MissingName: a flavour that these densities do not have.
            ValueError: x not in (0, 1], Q^2 not positive, or, with ``outside="error"``, a point
                beyond the known range.
        """
        chosen = tuple(int(flavour) for flavour in flavours)
        for flavour in chosen:
            if flavour not in self.flavours:
                there = ", ".join(map(str, self.flavours))
                raise MissingName(f"no flavour {flavour} in {self}; there are {there}")
        if type(x).__module__ == "torch":
            other = q2.cpu().numpy() if hasattr(q2, "cpu") else q2
            return x.new_tensor(self.xfx(chosen, x.detach().cpu().numpy(), other))
        x = np.atleast_1d(np.asarray(x, np.float64))
        q2 = np.ascontiguousarray(np.broadcast_to(np.asarray(q2, np.float64), x.shape))
        self._check("x", x, 0.0, 1.0, (self.x_min, self.x_max), "")
        self._check("Q^2", q2, 0.0, np.inf, (self.q2_min, self.q2_max), " GeV^2")
        inside = np.clip(x, self.x_min, self.x_max), np.clip(q2, self.q2_min, self.q2_max)
        return self._evaluate(chosen, *inside)

    def _check(
        self,
        name: str,
        values: Array,
        low: float,
        high: float,
        known: tuple[float, float],
        unit: str,
    ) -> None:
        if values.ndim != 1:
            raise ValueError(f"wanted {name} of shape (B,), got shape {values.shape}")
        if not len(values):
            return
        smallest, largest = values.min(), values.max()  # nan if there is one
        if not (smallest > low and largest <= high):
            wrong = ~((values > low) & (values <= high))
            first = int(wrong.argmax())
            raise ValueError(
                f"wanted {name} in ({low:g}, {high:g}]{unit}, got {values[first]} at point {first} "
                f"({int(wrong.sum())} of {len(values)} points are outside)"
            )
        if self.outside == "error" and (smallest < known[0] or largest > known[1]):
            wrong = (values < known[0]) | (values > known[1])
            first = int(wrong.argmax())
            raise ValueError(
                f"{self} is known for {name} from {known[0]:g} to {known[1]:g}{unit}, got "
                f"{values[first]} at point {first} ({int(wrong.sum())} of {len(values)} points are "
                "outside); outside='freeze' takes the value at the edge"
            )


class PDF(PartonDensities):
    r"""Densities from a grid file of LHAPDF6, interpolated as LHAPDF6 does by default.

    Cubics in :math:`\ln x` and :math:`\ln Q^2` (arXiv:1412.7420, section 4.1; the kernel is in
    `hepgen.integration.pdf_kernels`), never across the boundary of two subgrids, where flavours
    begin. On a boundary the subgrid above is taken. Values are those of the file at its knots.

    Args:
        path: the grid file (.dat), or the name of a set, as `hepgen.integration.pdf_grid.find_grid`
            takes it; what the .info beside the file says is read too.
        member: which member of a set given by name.
        outside: beyond the grid, "freeze" the value at its edge or raise an "error".

    Raises:
        MissingFile: there is no such grid.
        NotReadable: the file is of another format, cut short or damaged.
        InputError: ``outside`` is neither.

    Attributes:
        info: what the file and its set say, by LHAPDF's names.
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        member: int = 0,
        outside: Literal["freeze", "error"] = "freeze",
    ) -> None:
        if outside not in ("freeze", "error"):
            raise InputError(f"outside must be 'freeze' or 'error', got {outside!r}")
        self.path = str(path)
        self.member = member
        self.outside = outside
        grid = read_grid(find_grid(path, member))
        if len(grid.q) < 4:
            raise NotReadable(f"wanted at least 4 knots in Q in {grid.path}, got {len(grid.q)}")
        self.file = Path(grid.path)
        self.info = dict(grid.info)
        self.flavours = grid.flavours
        self.x_min, self.x_max = float(grid.x[0]), float(grid.x[-1])
        self.q2_min, self.q2_max = float(grid.q[0]) ** 2, float(grid.q[-1]) ** 2
        self._x_axis, self._q2_axis = axis(np.log(grid.x)), axis(2 * np.log(grid.q))
        self._values = grid.values
        # Densities below zero may be meant; LHAPDF forbids them where the set says so.
        forced = int(self.info.get("ForcePositive", 0))
        self._floor = {0: None, 1: 0.0}.get(forced, 1e-10)
        self._tables: dict[tuple[int, ...], Array] = {}

    def __repr__(self) -> str:
        return f"PDF({self.file.name!r})"

    def _evaluate(self, flavours: tuple[int, ...], x: Array, q2: Array) -> Array:
        table = self._tables.get(flavours)
        if table is None:
            columns = [self.flavours.index(flavour) for flavour in flavours]
            table = self._tables[flavours] = np.ascontiguousarray(self._values[:, :, columns])
        out = np.empty((len(x), len(flavours)))
        interpolate(table, self._x_axis, self._q2_axis, np.log(x), np.log(q2), out)
        return out if self._floor is None else np.maximum(out, self._floor)


class ToyPDF(PartonDensities):
    r"""The densities of the Les Houches benchmark at its starting scale, at any scale.

    .. math::
        x u_v &= 5.1072\, x^{0.8} (1-x)^3, & x d_v &= 3.06432\, x^{0.8} (1-x)^4, \\
        x g &= 1.7\, x^{-0.1} (1-x)^5, & x \bar d &= 0.1939875\, x^{-0.1} (1-x)^6, \\
        x \bar u &= (1-x)\, x \bar d, & x s &= x \bar s = 0.2\, x (\bar u + \bar d)

    W. Giele et al., "The QCD/SM working group: summary report", hep-ph/0204316, section 1.3. They
    obey the sum rules of the proton and do not evolve: for tests and examples without a grid file.

    Args:
        outside: for x below 1e-9, "freeze" the value there or raise an "error".
    """

    def __init__(self, outside: Literal["freeze", "error"] = "freeze") -> None:
        if outside not in ("freeze", "error"):
            raise InputError(f"outside must be 'freeze' or 'error', got {outside!r}")
        self.outside = outside
        self.flavours = (-5, -4, -3, -2, -1, 21, 1, 2, 3, 4, 5)
        self.x_min, self.x_max = 1e-9, 1.0
        self.q2_min, self.q2_max = 1e-6, np.inf

    def __repr__(self) -> str:
        return "ToyPDF()"

    def _evaluate(self, flavours: tuple[int, ...], x: Array, q2: Array) -> Array:
        rest, sea = 1 - x, x**-0.1
        d_bar = 0.1939875 * sea * rest**6
        u_bar = rest * d_bar
        s = 0.2 * (u_bar + d_bar)
        valence = x**0.8 * rest**3
        known = {
            21: 1.7 * sea * rest**5,
            1: 3.06432 * valence * rest + d_bar,
            2: 5.1072 * valence + u_bar,
            -1: d_bar,
            -2: u_bar,
            3: s,
            -3: s,
        }
        none = np.zeros_like(x)
        return np.stack([known.get(flavour, none) for flavour in flavours], 1)
