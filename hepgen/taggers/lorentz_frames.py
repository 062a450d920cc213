r"""Reference frames as Lorentz transformations: made from vectors, applied, inverted, composed.

A frame is a matrix :math:`L` with :math:`L g L^T = g`, of determinant 1 and forward in time, that
takes a vector to its components in that frame. Where the vectors that it is made from turn as
:math:`v \to \Lambda v`, it turns as :math:`L \to L \Lambda^{-1}`, and what it makes of them stays.
The construction is that of arXiv:2505.20280, section 3.

Shapes: ... any axes in front; a vector is (E, px, py, pz), a frame (4, 4) with its axes as rows.
"""

from __future__ import annotations

import torch
from torch import Tensor

from hepgen.kinematics import mass_squared

__all__ = ["apply_frame", "invert_frame", "make_frame", "rest_frame", "transport"]


def rest_frame(p4: Tensor, least_mass: float) -> Tensor:
    r"""Boosts without rotation into the rest frames of some vectors.

    In terms of :math:`u = \mathbf p/m` the boost is exact at any u, also at 0. A vector of less
    than ``least_mass``, which may be light-like, has no rest frame, or one that is too far away for
    the digits of a number: it is brought along its direction to :math:`E + |\mathbf p| = 1`. Two
    such vectors that differ by a transformation look the same then, but for a rotation.

    Args:
        p4: vectors with E > 0, shape (..., 4); float64, as digits are lost with the square of E/m.
        least_mass: in the unit of the vectors, above 0.

    Returns:
        Shape (..., 4, 4), symmetric; the identity for a vector of zeros.
    """
    energy, momentum = p4[..., :1], p4[..., 1:]
    square = mass_squared(p4)[..., None]
    massive = square >= least_mass**2
    length2 = momentum.square().sum(-1, keepdim=True)
    length = torch.where(length2 > 0, length2, 1).sqrt()
    # exp(rapidity) for those without a rest frame
    stretch = torch.where(length2 > 0, energy + length, 1)
    per_momentum = torch.where(
        massive,
        torch.where(massive, square, 1).rsqrt(),
        (stretch - 1 / stretch) / (2 * length),
    )
    u = momentum * per_momentum  # (..., 3)
    gamma = (1 + u.square().sum(-1, keepdim=True)).sqrt()
    space = torch.eye(3, dtype=p4.dtype, device=p4.device)
    space = space + u[..., :, None] * (u / (1 + gamma))[..., None, :]
    first = torch.cat([gamma, -u], dim=-1)[..., None, :]
    return torch.cat([first, torch.cat([-u[..., :, None], space], dim=-1)], dim=-2)


def make_frame(
    vectors: Tensor, spare: Tensor, least_mass: float = 1e-3, least_sine: float = 1e-6
) -> Tensor:
    r"""Frames from three vectors each.

    A boost into the rest frame of the first, then the rotation whose first two axes are the other
    two, made orthogonal by Gram and Schmidt, and whose third is their cross product. What is
    degenerate is replaced, in this order:

    * a vector without spatial part in that rest frame, or without one across the axis before, by
      ``spare``, which should turn as the others do; so the frame still does;
    * where that is degenerate too, by an axis of the rest frame: nothing that turns is left to hold
      on to. Components along what did decide are the same all the same.

    The first vector, if it is light-like or zero, has no rest frame; see `rest_frame`.

    Args:
        vectors: shape (..., 3, 4), float64; the first should be time-like.
        spare: shape (..., 4).
        least_mass: for the boost, see `rest_frame`.
        least_sine: least spatial part (for the third vector: across the axis before) of what
            makes an axis, as a fraction of :math:`\sqrt{E^2 + |\mathbf p|^2}`.

    Returns:
        Shape (..., 4, 4). Rounding grows as :math:`10^{-16}\gamma^2` with the boost.
    """
    boost = rest_frame(vectors[..., 0, :], least_mass)
    # The components of the last three vectors in the rest frame of the first.
    others = torch.cat([vectors[..., 1:, :], spare[..., None, :]], dim=-2) @ boost.mT
    second, third, own = others.unbind(-2)
    axes = torch.eye(3, dtype=boost.dtype, device=boost.device)
    e0 = _direction([second, own], None, axes, least_sine)
    e1 = _direction([third, own], e0, axes, least_sine)
    e2 = torch.linalg.cross(e0, e1)
    rows = torch.stack([e0, e1, e2], dim=-2) @ boost[..., 1:, :]
    return torch.cat([boost[..., :1, :], rows], dim=-2)


def apply_frame(frame: Tensor, vectors: Tensor) -> Tensor:
    """Components of vectors in their frames.

    Written as products and sums, not as matrix products, so that autocasting leaves the type.

    Args:
        frame: shape (..., 4, 4).
        vectors: shape (..., 4), or of several vectors a frame (..., V, 4) with a frame of shape
            (..., 1, 4, 4).

    Returns:
        The shape of the vectors.
    """
    return (frame * vectors[..., None, :]).sum(-1)


def invert_frame(frame: Tensor) -> Tensor:
    r"""The way back, :math:`L^{-1} = g L^T g`, without loss of digits.

    Args:
        frame: shape (..., 4, 4).

    Returns:
        Shape (..., 4, 4).
    """
    sign = frame.new_tensor([1.0, -1.0, -1.0, -1.0])
    return frame.mT * sign * sign[:, None]


def transport(start: Tensor, end: Tensor) -> Tensor:
    r"""From one frame to another, :math:`L_\mathrm{end} L_\mathrm{start}^{-1}`.

    Args:
        start: frames that components are given in, shape (..., 4, 4).
        end: frames that they are wanted in, of a shape that fits.

    Returns:
        Shape (..., 4, 4); it is the same whatever transforms both.
    """
    return end @ invert_frame(start)


def _direction(
    candidates: list[Tensor], before: Tensor | None, axes: Tensor, least_sine: float
) -> Tensor:
    """The unit vector of the first candidate (E, px, py, pz) that has a direction.

    Orthogonal to the axis before. Of the axes the one that is least along it has always one.
    """
    chosen = axes[0] if before is None else axes[before.abs().argmin(-1)]
    rest = [(chosen, torch.ones_like(chosen[..., :1]))]
    parts = [(vector[..., 1:], vector[..., :1]) for vector in candidates]
    result = None
    for space, time in [*rest, *reversed(parts)]:
        scale = time.square() + space.square().sum(-1, keepdim=True)
        if before is not None:
            # Twice, as once leaves rounding where the two are nearly collinear.
            for _ in range(2):
                space = space - (space * before).sum(-1, keepdim=True) * before
        length2 = space.square().sum(-1, keepdim=True)
        good = length2 > scale * least_sine**2
        unit = space * torch.where(good, length2, 1).rsqrt()
        result = unit if result is None else torch.where(good, unit, result)
    assert result is not None
    return result
