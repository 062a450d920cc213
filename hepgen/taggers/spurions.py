"""Fixed four-vectors that break Lorentz symmetry as a collider does: beams and time.

A network that is equivariant under all Lorentz transformations cannot know where the beam is. Given
these vectors as further inputs, its scores may depend on angles and energies in the frame of the
detector, and it learns how much.
"""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches

import torch
from torch import Tensor

__all__ = ["SPURIONS", "check_spurions", "spurion_vectors"]

SPURIONS: dict[str, tuple[tuple[float, float, float, float], ...]] = {
    "beams": ((1.0, 0.0, 0.0, 1.0), (1.0, 0.0, 0.0, -1.0)),
    "massive_beams": ((2**0.5, 0.0, 0.0, 1.0), (2**0.5, 0.0, 0.0, -1.0)),
    "time": ((1.0, 0.0, 0.0, 0.0),),
}
"""Name -> vectors (E, px, py, pz): lightlike beams, beams of mass 1 (LorentzNet's), and time."""


def check_spurions(names: Sequence[str]) -> tuple[str, ...]:
    """The names as a tuple.

    Args:
        names: of ``SPURIONS``.

    Raises:
        ValueError: there is no such name, or a string in place of a sequence of names.
    """
    if isinstance(names, str):
        raise ValueError(f"spurions should be a sequence of names, such as [{names!r}]")
    for name in names:
        if name not in SPURIONS:
            near = get_close_matches(str(name), SPURIONS, n=1, cutoff=0.0)[0]
            raise ValueError(f"no spurion {name!r}; nearest: {near}; there are {list(SPURIONS)}")
    return tuple(names)


def spurion_vectors(names: Sequence[str], like: Tensor) -> Tensor:
    """The vectors of some spurions, end to end.

    Args:
        names: of ``SPURIONS``.
        like: gives type and device.

    Returns:
        Shape (S, 4), (E, px, py, pz).

    Raises:
        ValueError: there is no such name.
    """
    vectors = [vector for name in check_spurions(names) for vector in SPURIONS[name]]
    return torch.tensor(vectors, dtype=like.dtype, device=like.device).reshape(-1, 4)
