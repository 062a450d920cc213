r"""What collides: beams head-on, hadrons with the densities of their partons.

Shapes: B points, F flavours.
"""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hepgen.integration.pdf import PDF, PartonDensities
from hepgen.io.errors import InputError

__all__ = ["PARTONS", "HadronBeams", "head_on"]

Array = NDArray[np.float64]

PARTONS = (-5, -4, -3, -2, -1, 21, 1, 2, 3, 4, 5)
"""Flavours of partons in the order of all tables of channels: the reversed order conjugates."""

_PDG = {"p": 2212, "pbar": -2212}


class HadronBeams:
    """Protons on protons, or on antiprotons.

    Args:
        pdf: densities of the proton; a path or a name stands for `PDF` of it.
        energy: of both beams together in GeV, shared equally.
        beams: "p" or "pbar", each.

    Raises:
        InputError: an energy that is not positive, or another beam.
    """

    def __init__(
        self,
        pdf: PartonDensities | str,
        energy: float,
        beams: tuple[Literal["p", "pbar"], Literal["p", "pbar"]] = ("p", "p"),
    ) -> None:
        if not 0 < energy < np.inf:
            raise InputError(f"wanted a positive energy in GeV, got {energy}")
        if not set(beams) <= _PDG.keys():
            raise InputError(f"wanted two beams of 'p' and 'pbar', got {beams!r}")
        self.pdf = PDF(pdf) if isinstance(pdf, str) else pdf
        self.energy = float(energy)
        self.pdg = (_PDG[beams[0]], _PDG[beams[1]])
        self._known = [f for f in PARTONS if f in self.pdf.flavours]
        self._columns = [PARTONS.index(f) for f in self._known]

    def densities(self, x1: Array, x2: Array, q2: Array) -> tuple[Array, Array]:
        """Momentum densities of the partons of both beams.

        Flavours that the set does not have are absent, and densities below zero count as zero, as
        in Pythia: fits at low scales have such, and events cannot.

        Args:
            x1: momentum fractions in the first beam, shape (B,).
            x2: in the second, shape (B,).
            q2: squares of the factorisation scale in GeV^2, shape (B,).

        Returns:
            x f in the order of `PARTONS`, shape (B, 11), for each beam.
        """
        found = []
        for x, pdg in zip((x1, x2), self.pdg, strict=True):
            known = self.pdf.xfx(self._known, x, q2)
            np.maximum(known, 0, out=known)
            if len(self._known) < len(PARTONS):
                whole = np.zeros((len(x), len(PARTONS)))
                whole[:, self._columns] = known
                known = whole
            found.append(known if pdg > 0 else known[:, ::-1])
        return found[0], found[1]

    def gluons(self, x1: Array, x2: Array, q2: Array) -> Array:
        """Product of the two gluon densities x1 g(x1) x2 g(x2), shape (B,)."""
        first, second = (self.pdf.xfx([21], x, q2)[:, 0] for x in (x1, x2))
        result: Array = np.maximum(first, 0) * np.maximum(second, 0)
        return result

    def conjugate_pairs(self, x1: Array, x2: Array, q2: Array) -> Array:
        """Products of densities of a flavour and of its antiflavour.

        Args:
            x1: momentum fractions in the first beam, shape (B,).
            x2: in the second, shape (B,).
            q2: squares of the factorisation scale in GeV^2, shape (B,).

        Returns:
            x1 f(x1) x2 f'(x2), shape (B, 11): column i has flavour `PARTONS[i]` in the first beam
            and its antiparticle in the second; the gluons stand in the middle.
        """
        first, second = self.densities(x1, x2, q2)
        result: Array = first * second[:, ::-1]
        return result


def head_on(energy: float) -> Array:
    """Momenta of two massless beams of equal energy along +z and -z.

    Args:
        energy: of both together in GeV.

    Returns:
        Four-momenta in GeV, shape (2, 4).
    """
    half = energy / 2
    return np.array([[half, 0.0, 0.0, half], [half, 0.0, 0.0, -half]])
