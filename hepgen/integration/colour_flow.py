r"""Lines of colour through gluons, at leading colour.

A colour-ordered amplitude of gluons 1 to m joins the colour of each to the anticolour of its
neighbour in the order. Shapes: B events, m gluons, of which the first two come in.
"""

from __future__ import annotations

from itertools import permutations

import numpy as np
from numpy.typing import NDArray

__all__ = ["colours_of_order", "gluon_orders", "order_shares"]

Array = NDArray[np.float64]
Integers = NDArray[np.int64]

_FIRST_LINE = 501


def gluon_orders(count: int) -> Integers:
    """Orders of m gluons that differ by more than turns and reflections, shape ((m-1)!/2, m)."""
    rows = [(0, *rest) for rest in permutations(range(1, count)) if rest[0] < rest[-1]]
    return np.array(rows, np.int64)


def order_shares(p4: Array, orders: Integers) -> Array:
    r"""Colour-ordered squares of amplitudes that violate helicity maximally, up to a factor.

    :math:`1 / s_{12} s_{23} \cdots s_{m1}` for each order; S. J. Parke and T. R. Taylor, Phys. Rev.
    Lett. 56 (1986) 2459.

    Args:
        p4: momenta of incoming and outgoing gluons in GeV, shape (B, m, 4).
        orders: shape (P, m).

    Returns:
        Shares, shape (B, P), the largest of each event 1.
    """
    metric = np.array([1.0, -1.0, -1.0, -1.0])
    products = np.abs(np.einsum("bic,bjc,c->bij", p4, p4, metric))
    log = np.log(products + np.finfo(np.float64).tiny)
    after = np.roll(orders, -1, 1)
    total = np.zeros((len(p4), len(orders)))
    for place in range(orders.shape[1]):
        total -= log[:, orders[:, place], after[:, place]]
    result: Array = np.exp(total - total.max(1, keepdims=True))
    return result


def colours_of_order(orders: Integers, rng: np.random.Generator) -> Integers:
    """Colour and anticolour of gluons in a given order.

    Args:
        orders: the order of each event, shape (B, m).
        rng: chooses the direction, as both are equally likely.

    Returns:
        Numbers of lines from 501 on, shape (B, m, 2).
    """
    events, count = orders.shape
    backwards = rng.random((events, 1)) < 0.5
    orders = np.where(backwards, orders[:, ::-1], orders)
    lines = _FIRST_LINE + np.arange(count)
    rows = np.arange(events)[:, None]
    colours = np.empty((events, count, 2), np.int64)
    # As if all went out: the colour of each is the anticolour of the next.
    colours[rows, orders, 0] = lines
    colours[rows, orders, 1] = np.roll(lines, 1)
    # What comes in carries the opposite of what would go out.
    colours[:, :2] = colours[:, :2, ::-1]
    return colours
