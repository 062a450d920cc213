r"""Two gluons of fixed energy to 2 to 5 gluons, at lowest order.

S. J. Parke and T. R. Taylor, Phys. Rev. Lett. 56 (1986) 2459. Shapes: B points, n gluons that go
out, D = 3n - 4 dimensions.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from hepgen.integration.beams import head_on
from hepgen.integration.colour_flow import colours_of_order, gluon_orders, order_shares
from hepgen.integration.cuts import Cuts
from hepgen.integration.matrix_elements import many_gluons
from hepgen.integration.phase_space import PB_PER_INVERSE_GEV2
from hepgen.integration.process import Events, Process, choose
from hepgen.integration.rambo import RamboOnDiet
from hepgen.io.errors import InputError
from hepgen.kinematics import eta, mass, pt

__all__ = ["Gluons"]

Array = NDArray[np.float64]


class Gluons(Process):
    r"""Two gluons to n gluons that the cuts keep apart, flat phase space by RAMBO on a diet.

    The squared amplitude is exact for two and three outgoing gluons; from four on it holds what is
    leading in colour and violates helicity maximally. Events choose the order of colours by the
    colour-ordered squares.

    Args:
        count: n, 2 to 5.
        energy: of the two incoming gluons together in GeV.
        cuts: on the outgoing gluons. They must keep these off the beams, by ``min_pt``, and from
            three on off each other.
        alpha_s: strong coupling.

    Raises:
        InputError: another count, an energy or a coupling that is not positive, or cuts that
            leave the cross section infinite.
    """

    beams = (21, 21)

    def __init__(self, count: int, energy: float, cuts: Cuts, alpha_s: float = 0.118) -> None:
        if not 2 <= count <= 5:
            raise InputError(f"wanted 2 to 5 outgoing gluons, got {count}")
        if not 0 < energy < np.inf:
            raise InputError(f"wanted a positive energy in GeV, got {energy}")
        if not alpha_s > 0:
            raise InputError(f"wanted a positive alpha_s, got {alpha_s}")
        apart = max(cuts.min_delta_r, cuts.min_angle, cuts.min_pair_mass, cuts.y_cut) > 0
        if not cuts.min_pt > 0 or not (apart or count == 2) or cuts.particles is not None:
            raise InputError(
                "the cross section is infinite: wanted cuts on all gluons, min_pt and, from three "
                f"gluons on, min_delta_r, min_angle, min_pair_mass or y_cut; got {cuts}"
            )
        self.count = count
        self.energy = float(energy)
        self.beam_energies = (self.energy / 2, self.energy / 2)
        self.cuts = cuts
        self.alpha_s = alpha_s
        self.dimension = 3 * count - 4
        self._map = RamboOnDiet([0.0] * count)

    def _cross_section(self, u: Array) -> Array:
        p4, weight = self._map.forward(u, self.energy)
        values = np.zeros(len(u))
        kept = np.flatnonzero(self.cuts(p4))
        squares = many_gluons(head_on(self.energy), p4[kept], self.alpha_s)
        factor = PB_PER_INVERSE_GEV2 / (2 * self.energy**2 * math.factorial(self.count))
        values[kept] = factor * weight[kept] * squares
        return values

    def _events(self, u: Array, rng: np.random.Generator) -> Events:
        count = len(u)
        final, _ = self._map.forward(u, self.energy)
        p4 = np.concatenate([np.broadcast_to(head_on(self.energy), (count, 2, 4)), final], 1)
        orders = gluon_orders(self.count + 2)
        chosen = choose(order_shares(p4, orders), rng)
        incoming = self.count + 2
        return Events(
            p4=p4,
            pid=np.full((count, incoming), 21),
            status=np.array([-1, -1, *[1] * self.count]),
            mothers=np.array([[0, 0], [0, 0], *[[1, 2]] * self.count]),
            colours=colours_of_order(orders[chosen], rng),
            scale=np.full(count, self.energy),
            alpha_s=np.full(count, self.alpha_s),
            alpha_em=np.full(count, 1 / 127.95),
            x1=np.ones(count),
            x2=np.ones(count),
        )

    def observables(self, u: ArrayLike) -> Mapping[str, Array]:
        """pt_1, eta_1, pt_2, ... by falling pt, ht (their sum), and mass_12 of the first two."""
        p4, _ = self._map.forward(self._points(u), self.energy)
        order = np.argsort(-pt(p4), axis=1)
        p4 = np.take_along_axis(p4, order[:, :, None], 1)
        found: dict[str, Array] = {}
        for number in range(self.count):
            found[f"pt_{number + 1}"] = pt(p4[:, number])
            found[f"eta_{number + 1}"] = eta(p4[:, number])
        found["ht"] = pt(p4).sum(1)
        found["mass_12"] = mass(p4[:, 0] + p4[:, 1])
        return found
