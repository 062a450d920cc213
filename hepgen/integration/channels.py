r"""Channels: maps onto phase space that are as dense as the propagators of one diagram.

Two massless beams become particles that leave one after another, in s-channel decays (even in their
rest frame) or in t-channel exchanges, as in E. Byckling and K. Kajantie, "Particle kinematics"

.. math:: d\Phi_n = \prod_i \frac{ds_i}{2\pi} \prod_i d\Phi_2, \qquad
   d\Phi_2 = \frac{|p|}{16\pi^2 \sqrt s} d\cos\theta \, d\phi
           = \frac{dt \, d\phi}{32 \pi^2 \sqrt s \, |p_a|}

Many diagrams are the mixture of their channels (R. Kleiss and R. Pittau, Comput. Phys. Commun. 83
(1994) 141).

Shapes: B points, n particles, D = 3n - 4 numbers a point. Momenta are (E, px, py, pz) in GeV.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.channel_kernels import momenta_of, points_of
from hepgen.integration.invariants import Flat, InvariantMap
from hepgen.integration.phase_space import PhaseSpaceMap

__all__ = ["Channel", "ChannelMixture", "CubeChannel"]

Array = NDArray[np.float64]


class Channel(PhaseSpaceMap):
    r"""Particles that leave one after another, by decay or by exchange.

    At each of the n - 1 steps the system splits into one particle and the rest. The first n - 2
    numbers of a point give the masses squared of the rest, then come two for the direction of each
    step: (1 + cos)/2, or what t is drawn from, and azimuth / 2 pi.

    Args:
        masses: of the n particles in GeV.
        order: places of the particles in the order in which they leave; None as they stand.
        invariants: how the mass squared of the rest is drawn at each step but the last, n - 2 maps;
            None is flat in all.
        exchanges: at each step the map by which :math:`|t| = -(p_a - \sum p)^2` is drawn, p_a the
            beam along +z and the sum over all that have left it; or None for an even decay, after
            which only decays follow. n - 1 of these; None is decays all the way.

    Raises:
        ValueError: an order that is none, maps in a wrong number, an exchange after a decay, or a
            power that has no integral. See also `PhaseSpaceMap`.
    """

    def __init__(
        self,
        masses: Sequence[float],
        order: Sequence[int] | None = None,
        invariants: Sequence[InvariantMap] | None = None,
        exchanges: Sequence[InvariantMap | None] | None = None,
    ) -> None:
        super().__init__(masses)
        count = len(self.masses)
        self.dimension = 3 * count - 4
        self.order = tuple(range(count)) if order is None else tuple(order)
        self.invariants = (Flat(),) * (count - 2) if invariants is None else tuple(invariants)
        self.exchanges = (None,) * (count - 1) if exchanges is None else tuple(exchanges)
        if sorted(self.order) != list(range(count)):
            raise ValueError(f"an order of {count} particles has each place once, not {self.order}")
        for maps, wanted, what in (
            (self.invariants, count - 2, "invariants"),
            (self.exchanges, count - 1, "exchanges"),
        ):
            if len(maps) != wanted:
                raise ValueError(f"{count} particles have {wanted} {what}, not {len(maps)}")
        decayed = False
        for exchange in self.exchanges:
            if exchange is None:
                decayed = True
            elif decayed:
                raise ValueError("after a decay no beam is left to exchange anything with")
            else:
                exchange.require_finite(0.0)
        ordered = self.masses[list(self.order)]
        for step, invariant in enumerate(self.invariants):
            invariant.require_finite(float(ordered[step + 1 :].sum()) ** 2)
        self._codes = _codes(self.invariants), _codes(self.exchanges)
        self._place = np.array(self.order)

    def forward(self, u: Array, energy: ArrayLike) -> tuple[Array, Array]:
        """Momenta at points of the unit cube; see `PhaseSpaceMap.forward`."""
        u, energies = self.checked(u, energy)
        return momenta_of(u, energies, self.masses, self._place, *self._codes)

    def inverse(self, p4: Array) -> tuple[Array, Array]:
        """Points of the unit cube of momenta; see `PhaseSpaceMap.inverse`."""
        return points_of(self.checked_momenta(p4), self.masses, self._place, *self._codes)


class ChannelMixture(PhaseSpaceMap):
    r"""Several channels at once, weighted by one over :math:`\sum_i \alpha_i g_i`.

    One number more than each channel takes, the first, picks the channel.

    Args:
        channels: maps onto the same phase space, of one dimension.
        shares: alpha of each, positive; None makes them equal. Their sum is set to one.

    Attributes:
        channels: the maps.
        shares: of sum one, an array.

    Raises:
        ValueError: no channels, or some that differ in masses or dimension; shares in another
            number or not positive.
    """

    def __init__(
        self, channels: Sequence[PhaseSpaceMap], shares: Sequence[float] | None = None
    ) -> None:
        if not channels:
            raise ValueError("a mixture needs one channel at least")
        super().__init__(channels[0].masses.tolist())
        for channel in channels:
            same = np.array_equal(channel.masses, self.masses)
            if not same or channel.dimension != channels[0].dimension:
                raise ValueError("the channels of a mixture differ in masses or dimension")
        self.channels = tuple(channels)
        self.dimension = channels[0].dimension + 1
        alpha = np.ones(len(channels)) if shares is None else np.array(shares, np.float64)
        if alpha.shape != (len(channels),) or not np.all((alpha > 0) & np.isfinite(alpha)):
            raise ValueError(f"wanted {len(channels)} positive shares, got {alpha.tolist()}")
        self.shares = alpha / alpha.sum()

    def forward(self, u: Array, energy: ArrayLike) -> tuple[Array, Array]:
        """Momenta at points of the unit cube; see `PhaseSpaceMap.forward`."""
        u, energies = self.checked(u, energy)
        ends = np.cumsum(self.shares)[:-1]
        chosen = np.searchsorted(ends, u[:, 0], side="right")
        p4 = np.empty((len(u), len(self.masses), 4))
        for place, channel in enumerate(self.channels):
            rows = np.flatnonzero(chosen == place)
            p4[rows] = channel.forward(u[rows, 1:], energies[rows])[0]
        return p4, 1 / self.density(p4)

    def inverse(self, p4: Array) -> tuple[Array, Array]:
        """There is none: each channel leads to the same momenta.

        Raises:
            TypeError: always.
        """
        raise TypeError("a mixture has no inverse, momenta come from each of its channels")

    def density(self, p4: Array) -> Array:
        """The weighted sum of the densities of the channels; see `PhaseSpaceMap.density`."""
        total = np.zeros(len(p4))
        for share, channel in zip(self.shares, self.channels, strict=True):
            total += share * channel.density(p4)
        return total


class CubeChannel:
    """A channel as a density on the cube of another map, which the integrand is a function of.

    Args:
        channel: where points are to be dense.
        reference: the map that turns points of the cube into momenta, one to one.
        energy: centre-of-mass energy in GeV.

    Attributes:
        dimension: D of both cubes.

    Raises:
        ValueError: the two differ in masses or dimension.
    """

    def __init__(self, channel: PhaseSpaceMap, reference: PhaseSpaceMap, energy: float) -> None:
        if channel.dimension != reference.dimension or not np.array_equal(
            channel.masses, reference.masses
        ):
            raise ValueError("channel and reference differ in masses or dimension")
        self.channel = channel
        self.reference = reference
        self.energy = float(energy)
        self.dimension = channel.dimension

    def forward(self, u: Array) -> tuple[Array, Array]:
        """Map the cube onto the cube.

        Args:
            u: points, shape (B, D).

        Returns:
            Points of the reference (B, D) and the Jacobian dx/du = 1 / density(x), shape (B,).

        Raises:
            ValueError: points of another shape.
        """
        p4, weight = self.channel.forward(u, self.energy)
        x, reference = self.reference.inverse(p4)
        return x, weight / reference

    def density(self, x: Array) -> Array:
        """Density of the channel in the cube of the reference, (B, D) to (B,).

        Raises:
            ValueError: points of another shape.
        """
        p4, weight = self.reference.forward(x, self.energy)
        return weight * self.channel.density(p4)


def _codes(maps: Sequence[InvariantMap | None]) -> Array:
    """What compiled code reads of maps, shape (number, 3); a first entry of -1 stands for None."""
    codes = np.full((len(maps), 3), -1.0)
    for row, one in enumerate(maps):
        if one is not None:
            codes[row] = one.code
    return codes
