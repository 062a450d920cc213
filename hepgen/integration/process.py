r"""What every process is: a cross section over the unit cube, and the events that its points are.

A process maps the D numbers of a point u to momentum fractions and momenta. Called, it gives
:math:`d\sigma/du` in pb, of which the integral is the cross section; `Process.events` gives the
same points as events. What the cross section does not depend on is not among the D dimensions (the
azimuth of two particles) or is summed over (flavours, colours): events choose it at random, by the
share of each in the sum, so that events of points distributed as dσ/du are distributed as they
should in every respect.

Shapes: B points, D dimensions, n particles.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = ["INCOMING", "INTERMEDIATE", "OUTGOING", "Events", "Process", "choose"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

# Points whose intermediate results stay in the cache: a third of the time for many points.
_BLOCK = 8192

INCOMING, INTERMEDIATE, OUTGOING = -1, 2, 1
"""Status of particles, as in files of the Les Houches accord (hep-ph/0609017)."""


@dataclass(frozen=True)
class Events:
    """Events of one process, all of the same number of particles, in the laboratory.

    Attributes:
        p4: four-momenta (E, px, py, pz) in GeV, shape (B, n, 4); the beams run along +z and -z.
        pid: PDG ids, shape (B, n).
        status: -1 incoming, 2 intermediate, 1 outgoing, shape (n,).
        mothers: first and last mother of each, counted from 1, 0 for none, shape (n, 2).
        colours: colour and anticolour line of each, 0 for none, shape (B, n, 2).
        scale: factorisation scale in GeV, shape (B,).
        alpha_s: strong coupling, shape (B,).
        alpha_em: electromagnetic coupling, shape (B,).
        x1: momentum fraction of the first incoming particle, shape (B,).
        x2: that of the second.
    """

    p4: Array
    pid: Integers
    status: Integers
    mothers: Integers
    colours: Integers
    scale: Array
    alpha_s: Array
    alpha_em: Array
    x1: Array
    x2: Array

    def __len__(self) -> int:
        return len(self.p4)

    def __getitem__(self, rows: Any) -> Events:
        """Some of the events: a slice, a mask or indices."""
        same = {"status", "mothers"}
        parts = {f.name: getattr(self, f.name) for f in fields(self)}
        return Events(**{name: a if name in same else a[rows] for name, a in parts.items()})

    def to_awkward(self, weight: ArrayLike = 1.0) -> Any:
        """Records as `hepgen.io.lhe.read_lhe` gives them.

        Args:
            weight: of the events, shape (B,) or one for all.

        Returns:
            An awkward array with ``particles`` (Momentum4D: px, py, pz, energy; pid, status,
            mother1, mother2, colour1, colour2, rest_mass, lifetime, helicity), ``weight``,
            ``scale``, ``alpha_s``, ``alpha_em``, ``process_id``, ``x1`` and ``x2``.
        """
        import awkward as ak

        from hepgen.kinematics import mass

        shape = self.pid.shape
        energy, px, py, pz = np.moveaxis(self.p4, -1, 0)
        columns = {
            "px": px,
            "py": py,
            "pz": pz,
            "energy": energy,
            "pid": self.pid,
            "status": np.broadcast_to(self.status, shape),
            "mother1": np.broadcast_to(self.mothers[:, 0], shape),
            "mother2": np.broadcast_to(self.mothers[:, 1], shape),
            "colour1": self.colours[..., 0],
            "colour2": self.colours[..., 1],
            # Rounding of E^2 - p^2, which means nothing.
            "rest_mass": np.where(abs(mass(self.p4)) < 1e-6 * energy, 0.0, mass(self.p4)),
            "lifetime": np.zeros(shape),
            "helicity": np.full(shape, 9.0),
        }
        offsets = ak.index.Index64(np.arange(len(self) + 1) * shape[1])
        contents = [
            ak.contents.NumpyArray(np.ascontiguousarray(a).ravel()) for a in columns.values()
        ]
        record = ak.contents.RecordArray(
            contents, list(columns), parameters={"__record__": "Momentum4D"}
        )
        particles = ak.Array(ak.contents.ListOffsetArray(offsets, record))
        return ak.zip(
            {
                "particles": particles,
                "weight": np.broadcast_to(np.asarray(weight, np.float64), len(self)),
                "scale": self.scale,
                "alpha_s": self.alpha_s,
                "alpha_em": self.alpha_em,
                "process_id": np.ones(len(self), np.int64),
                "x1": self.x1,
                "x2": self.x2,
            },
            depth_limit=1,
        )


class Process(ABC):
    """A cross section that can be integrated over the unit cube.

    Attributes:
        dimension: D.
        beams: PDG ids of the two beams.
        beam_energies: of each in GeV.
    """

    dimension: int
    beams: tuple[int, int]
    beam_energies: tuple[float, float]

    def __call__(self, u: ArrayLike) -> Array:
        r"""The integrand.

        Args:
            u: points in the unit cube, shape (B, D).

        Returns:
            :math:`d\sigma/du` in pb, shape (B,); zero where the cuts fail.

        Raises:
            ValueError: points of another shape, or outside the cube.
        """
        points = self._points(u)
        values = np.empty(len(points))
        for start in range(0, len(points), _BLOCK):
            rows = slice(start, start + _BLOCK)
            values[rows] = self._cross_section(points[rows])
        return values

    @abstractmethod
    def _cross_section(self, u: Array) -> Array:
        """The integrand at points that are known to be good."""

    def events(self, u: ArrayLike, rng: np.random.Generator) -> Events:
        """The events that points are.

        Args:
            u: points in the unit cube, shape (B, D), all of a cross section above zero.
            rng: chooses the azimuth, flavours and colours.

        Returns:
            Events in the order of the points.

        Raises:
            ValueError: points of another shape, outside the cube, or where the cross section
                vanishes; the message tells which.
        """
        points = self._points(u)
        empty = ~(self(points) > 0)
        if empty.any():
            row = int(empty.argmax())
            raise ValueError(
                f"{type(self).__name__} has no event at point {row}, {points[row].tolist()}, where "
                f"its cross section is zero ({int(empty.sum())} of {len(points)} points)"
            )
        return self._events(points, rng)

    @abstractmethod
    def _events(self, u: Array, rng: np.random.Generator) -> Events:
        """The events at points that are known to be good."""

    @abstractmethod
    def observables(self, u: ArrayLike) -> Mapping[str, Array]:
        """Quantities to fill histograms with.

        Args:
            u: points in the unit cube, shape (B, D).

        Returns:
            Arrays of shape (B,) by name: masses, energies and momenta in GeV.
        """

    def _points(self, u: ArrayLike) -> Array:
        points = np.ascontiguousarray(u, np.float64)
        if points.ndim != 2 or points.shape[1] != self.dimension:
            raise ValueError(
                f"{type(self).__name__} takes points of shape (B, {self.dimension}), "
                f"got {points.shape}"
            )
        if len(points) and not (points.min() >= 0 and points.max() <= 1):
            row = int((~((points >= 0) & (points <= 1))).any(1).argmax())
            raise ValueError(
                f"{type(self).__name__} takes points of the unit cube, got {points[row].tolist()} "
                f"at point {row}"
            )
        return points


def choose(shares: Array, rng: np.random.Generator) -> Integers:
    """Choose one of K for each point, by its share.

    Args:
        shares: not negative, of any sum above zero, shape (B, K).
        rng: where the B random numbers come from.

    Returns:
        Numbers from 0 to K - 1, shape (B,).

    Raises:
        ValueError: a share is negative or all of a point are zero; the message tells where.
    """
    sums = np.cumsum(shares, 1)
    bad = (shares < 0).any(1) | ~(sums[:, -1] > 0)
    if bad.any():
        row = int(bad.argmax())
        raise ValueError(
            f"nothing to choose from at point {row}: its shares are {shares[row].tolist()}"
            " (cross section zero there, or below)"
        )
    picked = rng.random(len(shares)) * sums[:, -1]
    # Never one of no share, also where the random number is 0 or rounds up to the sum.
    last = (sums < sums[:, -1:]).sum(1)
    chosen: Integers = np.minimum((sums <= picked[:, None]).sum(1), last)
    return chosen
