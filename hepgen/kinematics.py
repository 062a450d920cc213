r"""Four-momentum arithmetic on numpy arrays and torch tensors alike.

A four-momentum is the last axis of an array: (E, px, py, pz) in GeV, metric (+, -, -, -).
Angles are in radians. What comes back is of the kind, type and device of what came in, and
gradients of tensors are finite, also where a root or an angle has none (they are 0 there).
Conventions and edge cases are those of ROOT and of the package vector, unless stated.

Shapes: ... any axes in front, broadcast against each other where a function takes two arrays.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from torch import Tensor

    Array = TypeVar("Array", NDArray[Any], Tensor)
else:
    Array = TypeVar("Array")

__all__ = [
    "boost",
    "delta_phi",
    "delta_r",
    "eta",
    "from_pt_eta_phi_mass",
    "from_px_py_pz_mass",
    "mass",
    "mass_squared",
    "minkowski_dot",
    "phi",
    "pt",
    "rapidity",
    "velocity",
]


def pt(p4: Array) -> Array:
    r"""Transverse momentum :math:`\sqrt{p_x^2 + p_y^2}` in GeV.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (..., 4).

    Returns:
        Transverse momenta, shape (...).

    Raises:
        ValueError: the last axis does not hold four components.
        TypeError: neither a numpy array nor a torch tensor.
    """
    xp, _, px, py, _ = _components(p4)
    result: Array = _sqrt(xp, px * px + py * py)
    return result


def eta(p4: Array) -> Array:
    r"""Pseudorapidity :math:`\operatorname{arsinh}(p_z / p_\mathrm{T})`.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (..., 4).

    Returns:
        Pseudorapidities, shape (...): +-inf along the beam, 0 for a vanishing momentum.

    Raises:
        ValueError: the last axis does not hold four components.
        TypeError: neither a numpy array nor a torch tensor.
    """
    xp, _, px, py, pz = _components(p4)
    transverse = _sqrt(xp, px * px + py * py)
    result: Array = _arcsinh_ratio(xp, pz, transverse)
    return result


def phi(p4: Array) -> Array:
    r"""Azimuth :math:`\operatorname{atan2}(p_y, p_x)` in radians, in [-pi, pi].

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (..., 4).

    Returns:
        Azimuths, shape (...); 0 where the transverse momentum vanishes.

    Raises:
        ValueError: the last axis does not hold four components.
        TypeError: neither a numpy array nor a torch tensor.
    """
    xp, _, px, py, _ = _components(p4)
    moves = (px != 0) | (py != 0)
    angle = xp.arctan2(py, xp.where(moves, px, xp.ones_like(px)))
    result: Array = xp.where(moves, angle, xp.zeros_like(angle))
    return result


def rapidity(p4: Array) -> Array:
    r"""Rapidity :math:`\frac12 \ln\frac{E + p_z}{E - p_z}`.

    Computed as :math:`\operatorname{arsinh}(p_z / \sqrt{p_\mathrm{T}^2 + \max(m^2, 0)})`: it stays
    finite where rounding leaves E below |p|, momenta that count as massless, as in FastJet and
    unlike in ROOT.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (..., 4).

    Returns:
        Rapidities, shape (...): +-inf along the beam without mass, 0 for a vanishing momentum.

    Raises:
        ValueError: the last axis does not hold four components.
        TypeError: neither a numpy array nor a torch tensor.
    """
    xp, _, px, py, pz = _components(p4)
    squared = mass_squared(p4)
    squared = xp.where(squared > 0, squared, xp.zeros_like(squared))
    result: Array = _arcsinh_ratio(xp, pz, _sqrt(xp, px * px + py * py + squared))
    return result


def mass_squared(p4: Array) -> Array:
    r"""Invariant mass squared :math:`E^2 - |\mathbf p|^2` in GeV^2.

    Computed in float64 whatever the type of the input, so that the difference of the two squares
    adds nothing to the rounding of E and p themselves.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (..., 4).

    Returns:
        Squared masses, shape (...), in the type of the input; negative for space-like momenta.

    Raises:
        ValueError: the last axis does not hold four components.
        TypeError: neither a numpy array nor a torch tensor.
    """
    xp, energy, px, py, pz = _components(p4)
    dtype = energy.dtype
    energy, px, py, pz = (_astype(component, xp.float64) for component in (energy, px, py, pz))
    momentum = _sqrt(xp, px * px + py * py + pz * pz)
    result: Array = _astype((energy - momentum) * (energy + momentum), dtype)
    return result


def mass(p4: Array) -> Array:
    r"""Invariant mass :math:`\sqrt{E^2 - |\mathbf p|^2}` in GeV.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (..., 4).

    Returns:
        Masses, shape (...). Where rounding leaves E < |p| the mass is negative, as in ROOT and
        vector.

    Raises:
        ValueError: the last axis does not hold four components.
        TypeError: neither a numpy array nor a torch tensor.
    """
    squared = mass_squared(p4)
    xp = _namespace(squared)
    result: Array = xp.sign(squared) * _sqrt(xp, xp.abs(squared))
    return result


def minkowski_dot(a: Array, b: Array) -> Array:
    r"""Product :math:`E_a E_b - \mathbf p_a \cdot \mathbf p_b` in GeV^2.

    In the type of the input; for collinear momenta most digits cancel, so pass float64 there.

    Args:
        a: four-momenta (E, px, py, pz) in GeV, shape (..., 4).
        b: four-momenta (E, px, py, pz) in GeV, shape (..., 4).

    Returns:
        Products, of the broadcast shape (...).

    Raises:
        ValueError: a last axis does not hold four components.
        TypeError: neither numpy arrays nor torch tensors.
    """
    _, energy_a, px_a, py_a, pz_a = _components(a)
    _, energy_b, px_b, py_b, pz_b = _components(b)
    result: Array = energy_a * energy_b - px_a * px_b - py_a * py_b - pz_a * pz_b
    return result


def delta_phi(phi_a: Array, phi_b: Array) -> Array:
    """Difference of two azimuths, brought into [-pi, pi).

    Args:
        phi_a: azimuths in radians, shape (...).
        phi_b: azimuths in radians, shape (...).

    Returns:
        phi_a - phi_b in radians, of the broadcast shape, in [-pi, pi).

    Raises:
        TypeError: neither numpy arrays nor torch tensors.
    """
    xp = _namespace(phi_a - phi_b)
    turned = (phi_a - phi_b + np.pi) % (2 * np.pi) - np.pi
    # In float32 the remainder can round up to the whole turn, or -pi to just below itself.
    result: Array = xp.where((turned >= np.pi) | (turned < -np.pi), turned * 0 - np.pi, turned)
    return result


def delta_r(eta_a: Array, phi_a: Array, eta_b: Array, phi_b: Array) -> Array:
    r"""Distance :math:`\sqrt{\Delta\eta^2 + \Delta\phi^2}`; jet algorithms put rapidities for eta.

    Args:
        eta_a: (pseudo)rapidities, shape (...).
        phi_a: azimuths in radians, shape (...).
        eta_b: (pseudo)rapidities, shape (...).
        phi_b: azimuths in radians, shape (...).

    Returns:
        Distances, of the broadcast shape.

    Raises:
        TypeError: neither numpy arrays nor torch tensors.
    """
    d_eta, d_phi = eta_a - eta_b, delta_phi(phi_a, phi_b)
    result: Array = _sqrt(_namespace(d_eta), d_eta * d_eta + d_phi * d_phi)
    return result


def from_pt_eta_phi_mass(pt: Array, eta: Array, phi: Array, mass: Array) -> Array:
    """Four-momenta from transverse momentum, pseudorapidity, azimuth and mass.

    Args:
        pt: transverse momenta in GeV, shape (...).
        eta: pseudorapidities, shape (...).
        phi: azimuths in radians, shape (...).
        mass: masses in GeV, shape (...); a negative one, as `mass` returns it, enters as -m^2.

    Returns:
        (E, px, py, pz) in GeV, shape (..., 4).

    Raises:
        TypeError: neither numpy arrays nor torch tensors.
    """
    xp = _namespace(pt)
    px, py, pz = pt * xp.cos(phi), pt * xp.sin(phi), pt * xp.sinh(eta)
    result: Array = from_px_py_pz_mass(px, py, pz, mass)
    return result


def from_px_py_pz_mass(px: Array, py: Array, pz: Array, mass: Array) -> Array:
    r"""Four-momenta on their mass shell, :math:`E = \sqrt{|\mathbf p|^2 + m^2}`.

    Args:
        px: momenta along x in GeV, shape (...).
        py: momenta along y in GeV, shape (...).
        pz: momenta along the beam in GeV, shape (...).
        mass: masses in GeV, shape (...); a negative one, as `mass` returns it, enters as -m^2.

    Returns:
        (E, px, py, pz) in GeV, of the broadcast shape (..., 4).

    Raises:
        TypeError: neither numpy arrays nor torch tensors.
    """
    xp = _namespace(px)
    energy = _sqrt(xp, px * px + py * py + pz * pz + mass * abs(mass))
    spatial: list[Any] = [xp.broadcast_to(component, energy.shape) for component in (px, py, pz)]
    result: Array = xp.stack([energy, *spatial], -1)
    return result


def velocity(p4: Array) -> Array:
    r"""Velocity :math:`\mathbf p / E` in units of c.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (..., 4), with E > 0.

    Returns:
        Velocities (x, y, z), shape (..., 3). ``boost(p4, -velocity(total))`` goes to the rest
        frame of total.

    Raises:
        ValueError: the last axis does not hold four components.
        TypeError: neither a numpy array nor a torch tensor.
    """
    _components(p4)
    result: Array = p4[..., 1:] / p4[..., :1]
    return result


def boost(p4: Array, beta: Array) -> Array:
    r"""Active Lorentz boost: what was at rest moves with velocity beta afterwards.

    :math:`E' = \gamma (E + \boldsymbol\beta\cdot\mathbf p)` and
    :math:`\mathbf p' = \mathbf p + \boldsymbol\beta\big(\gamma E + \tfrac{\gamma^2}{1+\gamma}
    \boldsymbol\beta\cdot\mathbf p\big)`: no division by beta, so that beta = 0 is no special case.

    Args:
        p4: four-momenta (E, px, py, pz) in GeV, shape (..., 4).
        beta: velocities (x, y, z) in units of c, shape (..., 3).

    Returns:
        Boosted four-momenta in GeV, of the broadcast shape (..., 4).

    Raises:
        ValueError: a last axis has the wrong length, or a velocity is not below that of light.
        TypeError: neither numpy arrays nor torch tensors.
    """
    xp, energy, *_ = _components(p4)
    if beta.shape[-1:] != (3,):
        raise ValueError(f"wanted velocities of shape (..., 3), got shape {tuple(beta.shape)}")
    beta_squared = (beta * beta).sum(-1)
    if not bool((beta_squared < 1).all()):
        fastest = float(beta_squared.max()) ** 0.5
        raise ValueError(f"wanted velocities below 1 (that of light), got up to {fastest}")
    gamma = 1 / xp.sqrt(1 - beta_squared)
    along = (beta * p4[..., 1:]).sum(-1)
    momentum = (
        p4[..., 1:] + beta * (gamma * energy + gamma * gamma / (1 + gamma) * along)[..., None]
    )
    result: Array = xp.concatenate([(gamma * (energy + along))[..., None], momentum], -1)
    return result


def _namespace(array: Any) -> Any:
    """Numpy or torch, whichever the array is of; torch is never imported for this."""
    if isinstance(array, (np.ndarray, np.generic)):
        return np
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(array, torch.Tensor):
        return torch
    got = f"{type(array).__module__}.{type(array).__name__}"
    raise TypeError(
        f"wanted a numpy array or a torch tensor, got {got}; "
        "for awkward arrays the package vector has the same quantities"
    )


def _components(p4: Any) -> tuple[Any, Any, Any, Any, Any]:
    """The array's namespace, and its four components, each of shape (...)."""
    xp = _namespace(p4)
    if p4.shape[-1:] != (4,):
        raise ValueError(
            f"wanted four-momenta (E, px, py, pz) of shape (..., 4), got shape {tuple(p4.shape)}"
        )
    return xp, p4[..., 0], p4[..., 1], p4[..., 2], p4[..., 3]


def _astype(array: Any, dtype: Any) -> Any:
    """The array in another type."""
    return array.astype(dtype) if isinstance(array, (np.ndarray, np.generic)) else array.to(dtype)


def _sqrt(xp: Any, square: Any) -> Any:
    """Square root whose gradient at 0 is 0, not inf."""
    # The inner where keeps inf out of the backward pass; an outer one alone would give 0 * inf.
    positive = square > 0
    root = xp.sqrt(xp.where(positive, square, xp.ones_like(square)))
    return xp.where(positive, root, square * 0)


def _arcsinh_ratio(xp: Any, above: Any, below: Any) -> Any:
    """arcsinh(above / below) for below >= 0: +-inf where only below vanishes, 0 where both do."""
    regular = below > 0
    inside = xp.arcsinh(above / xp.where(regular, below, xp.ones_like(below)))
    edge = xp.where(
        above == 0, xp.zeros_like(above), xp.copysign(xp.full_like(above, np.inf), above)
    )
    return xp.where(regular, inside, edge)
