r"""What is plotted of showers, and what classifiers are given of them.

With :math:`e_v` the energy of voxel v in GeV, after voxels below the threshold of the geometry are
emptied, the observables of layer l are

.. math::

    E_l = \sum_{v \in l} e_v, \quad \langle x \rangle_l = \frac{1}{E_l} \sum_{v \in l} x_v e_v,
    \quad \sigma_{x,l} = \sqrt{\max(0, \langle x^2 \rangle_l - \langle x \rangle_l^2)}

and the same for y and r, all in mm and at the middle of the voxels' edges; x and y are what the
CaloChallenge calls eta and phi. The sparsity of a layer is its share of empty voxels. A layer, or a
shower, without energy has 0 for everything but its sparsity, which is 1.

The feature vectors are those of the challenge's classifiers, energies in MeV inside.

C. Krause et al., "CaloChallenge 2022", arXiv:2410.21611, section 4.

Shapes: B showers, L layers, V voxels, R radii, F features.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter.errors import ShowerError
from hepgen.calorimeter.geometry import Geometry
from hepgen.calorimeter.shower_sums import HITS, RR, XX, YY, Floats, R, ShowerSums, X, Y, ratio
from hepgen.calorimeter.showers import Showers
from hepgen.io.errors import nearest_names

__all__ = [
    "feature_names",
    "fpd_features",
    "high_level_features",
    "layer_labels",
    "low_level_features",
    "observable_names",
    "observables",
]

CONTAINED = 0.9
MEV = 1000.0


# Of the whole shower.
WHOLE: dict[str, Callable[[ShowerSums], Floats]] = {
    "incident_energy": lambda s: s.incident_energy,
    "total_energy": lambda s: s.total,
    "response": lambda s: s.total / s.incident_energy,
    "depth": lambda s: s.depth(_numbers(s.geometry)),
    "depth_spread": lambda s: s.depth_spread(_numbers(s.geometry)),
    "depth_mm": lambda s: s.depth(_depths(s.geometry)),
    "depth_spread_mm": lambda s: s.depth_spread(_depths(s.geometry)),
    "peak_layer": lambda s: s.energies.argmax(axis=1).astype(np.float64),
    "peak_share": lambda s: ratio(s.energies.max(axis=1), s.total),
    "centre_x": lambda s: s.mean(None, X),
    "centre_y": lambda s: s.mean(None, Y),
    "centre_r": lambda s: s.mean(None, R),
    "width_r": lambda s: s.width(None, R, RR),
    "radius_90": lambda s: s.radius(CONTAINED),
    "core_share": lambda s: ratio(s.others[:, 2], s.total),
    "num_hits": lambda s: s.layers[:, :, HITS].sum(axis=1),
    "effective_hits": lambda s: ratio(s.total**2, s.others[:, 0]),
    "sparsity": lambda s: s.sparsity(None),
    "largest_voxel": lambda s: s.others[:, 1],
    "largest_share": lambda s: ratio(s.others[:, 1], s.total),
}
# Of one layer.
LAYER: dict[str, Callable[[ShowerSums, int], Floats]] = {
    "energy": lambda s, i: s.energies[:, i],
    "share": lambda s, i: ratio(s.energies[:, i], s.total),
    "sparsity": lambda s, i: s.sparsity(i),
    "centre_x": lambda s, i: s.mean(i, X),
    "centre_y": lambda s, i: s.mean(i, Y),
    "width_x": lambda s, i: s.width(i, X, XX),
    "width_y": lambda s, i: s.width(i, Y, YY),
    "centre_r": lambda s, i: s.mean(i, R),
    "width_r": lambda s, i: s.width(i, R, RR),
}
# Only in layers with more than one sector.
ANGULAR = ("centre_x", "centre_y", "width_x", "width_y")
# Only where the depths of all layers are known.
IN_MM = ("depth_mm", "depth_spread_mm")
# In the order of the challenge's vector, with what they are divided by, or None for the logarithm.
HIGH: tuple[tuple[str, float | None], ...] = (
    ("incident_energy", None),
    ("energy_layer", None),
    ("centre_x_layer", 100.0),
    ("centre_y_layer", 100.0),
    ("width_x_layer", 100.0),
    ("width_y_layer", 100.0),
    ("total_energy", None),
    ("sparsity_layer", 1.0),
    ("centre_r_layer", 100.0),
    ("width_r_layer", 100.0),
)


def layer_labels(geometry: Geometry) -> list[str]:
    """What the layers are called in names of observables.

    Args:
        geometry: of the showers.

    Returns:
        The ids of the L layers; their numbers from 0 where two layers have one id.
    """
    ids = [layer.id for layer in geometry.layers]
    unique = len(set(ids)) == len(ids)
    return [str(i) for i in (ids if unique else range(geometry.num_layers))]


def observable_names(geometry: Geometry) -> list[str]:
    """Names of all observables of showers in a calorimeter.

    Args:
        geometry: of the showers. Layers of one sector have no ``centre_x`` and the like; without
            the depths of all layers there is nothing in mm along the axis.

    Returns:
        Those of the whole shower first, then ``energy_layer_0`` and so on.
    """
    known = all(layer.z is not None for layer in geometry.layers)
    whole = [name for name in WHOLE if known or name not in IN_MM]
    return whole + [name for kind in LAYER for name in _of_kind(geometry, kind)]


def observables(showers: Showers, names: Sequence[str] | None = None) -> dict[str, Floats]:
    """Observables of each shower, in GeV and mm.

    ``depth`` is the energy-weighted mean number of the layer, from 0, ``depth_mm`` the same of the
    layers' depths; ``radius_90`` holds 90 % of the energy; ``core_share`` is what the innermost
    rings got; ``effective_hits`` is (sum e)^2 / sum e^2; ``peak_share`` is that of the layer with
    most energy, ``peak_layer``.

    Args:
        showers: what to look at; voxels below the threshold of their geometry count as empty.
        names: of the observables that are wanted; all of `observable_names` if not given.

    Returns:
        Name -> float64 values of shape (B,).

    Raises:
        ShowerError: there is no such observable; the nearest are named.
    """
    known = observable_names(showers.geometry)
    wanted = known if names is None else list(names)
    for name in wanted:
        if name not in known:
            near = ", ".join(nearest_names(name, known))
            raise ShowerError(f"no observable {name!r} in {showers.geometry}; nearest: {near}")
    sums = ShowerSums(showers)
    table = _table(showers.geometry)
    return {name: table[name](sums) for name in wanted}


def feature_names(
    geometry: Geometry, level: Literal["high", "low", "low-normalised"] = "high"
) -> list[str]:
    """Names of the features of `high_level_features` and `low_level_features`.

    Args:
        geometry: of the showers.
        level: which of them.

    Returns:
        F names; of high-level features those of the observables that they are made of.
    """
    if level == "high":
        found = []
        for what, _ in HIGH:
            kind = what.removesuffix("_layer")
            found += _of_kind(geometry, kind) if kind != what else [what]
        return found
    voxels = [f"voxel_{i}" for i in range(geometry.num_voxels)]
    layers = _of_kind(geometry, "energy") if level == "low-normalised" else []
    return ["incident_energy", *voxels, *layers]


def high_level_features(showers: Showers) -> Floats:
    """The challenge's vector of high-level features.

    It is [log10 E_inc, log10(E_l + 1e-8), centres in x and y / 100, widths in x and y / 100,
    log10(E_tot + 1e-8), sparsities, centres in r / 100, widths in r / 100], energies in MeV and
    lengths in mm, each for all layers; x and y for those of several sectors.

    Args:
        showers: voxels below the threshold of their geometry count as empty.

    Returns:
        Shape (B, F), in the order of `feature_names`.
    """
    sums, table = ShowerSums(showers), _table(showers.geometry)
    divisors: dict[str, float | None] = {}
    for what, divisor in HIGH:
        kind = what.removesuffix("_layer")
        names = _of_kind(showers.geometry, kind) if kind != what else [what]
        divisors |= dict.fromkeys(names, divisor)
    columns = np.empty((len(showers), len(divisors)))
    for i, (name, divisor) in enumerate(divisors.items()):
        values = table[name](sums)
        columns[:, i] = np.log10(values * MEV + 1e-8) if divisor is None else values / divisor
    # Without the offset, which no shower's particle needs.
    columns[:, 0] = np.log10(showers.incident_energy * MEV)
    return columns


def fpd_features(showers: Showers) -> Floats:
    """What the challenge's Frechet and kernel distances compare: its high-level features.

    Args:
        showers: see `high_level_features`.

    Returns:
        Shape (B, F), the logarithm of the incident energy among them.
    """
    return high_level_features(showers)


def low_level_features(showers: Showers, normalised: bool = False) -> NDArray[np.float32]:
    """The challenge's vector of voxels.

    Args:
        showers: voxels below the threshold of their geometry count as empty.
        normalised: voxels over the energy of their layer, followed by log10(E_l + 1e-8) of the
            layers; else voxels over the incident energy. log10 E_inc is the first in both, energies
            in MeV.

    Returns:
        Shape (B, 1 + V) or (B, 1 + V + L), float32 as the files of the field.
    """
    geometry = showers.geometry
    size, voxels = len(showers), geometry.num_voxels
    width = 1 + voxels + (geometry.num_layers if normalised else 0)
    features = np.empty((size, width), dtype=np.float32)
    features[:, 0] = np.log10(showers.incident_energy * MEV)
    for begin in range(0, size, 4096):
        piece = slice(begin, begin + 4096)
        some = showers[piece].above()
        divisors = some.incident_energy[:, None]
        if normalised:
            energies = some.layer_energies
            features[piece, 1 + voxels :] = np.log10(energies * MEV + 1e-8)
            # Anything will do where there is nothing to divide.
            divisors = np.where(energies > 0, energies, 1)[:, geometry.layer_of]
        target = features[piece, 1 : 1 + voxels]
        np.divide(some.voxels, divisors, out=target, casting="same_kind", dtype=np.float32)
    return features


def _numbers(geometry: Geometry) -> Floats:
    return np.arange(geometry.num_layers, dtype=np.float64)


def _depths(geometry: Geometry) -> Floats:
    depths: Floats = geometry.z[geometry.starts[:-1]]
    return depths


def _of_kind(geometry: Geometry, kind: str) -> list[str]:
    """Names of one kind of observable in all layers that have it."""
    return [
        f"{kind}_layer_{label}"
        for layer, label in zip(geometry.layers, layer_labels(geometry), strict=True)
        if layer.num_alpha > 1 or kind not in ANGULAR
    ]


def _table(geometry: Geometry) -> dict[str, Callable[[ShowerSums], Floats]]:
    """Name -> formula of all observables."""
    found = dict(WHOLE)
    for kind, formula in LAYER.items():
        for i, label in enumerate(layer_labels(geometry)):
            found[f"{kind}_layer_{label}"] = lambda s, f=formula, i=i: f(s, i)  # type: ignore[misc]
    return found
