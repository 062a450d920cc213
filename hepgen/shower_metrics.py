"""The numbers of an evaluation of showers, each from two samples.

Shapes: B showers, F features, M bins, N observables.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from hepgen.calorimeter import (
    Geometry,
    Showers,
    fpd_features,
    high_level_features,
    layer_labels,
    observable_names,
    observables,
)
from hepgen.metrics import EnergyBins, Estimate, energy_edges, generative, response_in_bins
from hepgen.shower_summary import ClassifierResult, ShowerSpectrum
from hepgen.simulators import classifier_test

__all__ = [
    "classifier_tests",
    "correlated_names",
    "correlations",
    "distances",
    "energy_bins",
    "memorised",
    "separations",
    "spectra",
]

Floats = NDArray[np.float64]

# What is drawn, where the calorimeter has it.
DRAWN = {
    "response": "Response $E_{vis}/E_{inc}$",
    "depth": "Mean layer",
    "depth_spread": "Spread of layers",
    "width_r": "Radial width [mm]",
    "radius_90": "Radius of 90 % of the energy [mm]",
    "core_share": "Share of the innermost rings",
    "num_hits": "Hit voxels",
    "largest_share": "Share of the largest voxel",
    "peak_layer": "Layer of the maximum",
}
LAYERS_DRAWN = 4
# Whose means over the layers the CaloChallenge tells.
KINDS = ("energy", "centre_x", "centre_y", "width_x", "width_y", "centre_r", "width_r", "sparsity")
BINS = 40
# All pairs of so many showers are looked at, where voxels are compared.
NEIGHBOURS = 4000


def spectra(reference: Showers, generated: Showers) -> dict[str, ShowerSpectrum]:
    """Histograms of what is drawn: the whole shower, some of the layers, and the voxels.

    Args:
        reference: true showers.
        generated: of a simulator.

    Returns:
        Observable -> histograms of both, whose edges hold all but 0.2 % of the reference.
    """
    labels = _drawn(reference)
    names = [name for name in labels if name != "voxels"]
    truth, model = observables(reference, names), observables(generated, names)
    found = {}
    for name in names:
        log = name.startswith("energy_layer")
        edges = _edges(truth[name], log)
        pair = (truth[name], model[name])
        found[name] = _spectrum(labels[name], edges, pair, (None, generated.weight), log)
    filled = [some.voxels[some.voxels > 0].astype(np.float64) for some in (reference, generated)]
    weight = None
    if generated.weight is not None:
        weight = np.broadcast_to(generated.weight[:, None], generated.voxels.shape)
        weight = weight[generated.voxels > 0]
    edges = _edges(filled[0], True)
    pair = (1e3 * filled[0], 1e3 * filled[1])
    found["voxels"] = _spectrum("Voxel energy [MeV]", 1e3 * edges, pair, (None, weight), True)
    return found


def separations(
    reference: Showers, generated: Showers, other: Showers | None = None, *, seed: int = 0
) -> dict[str, Estimate]:
    """Separation power of each observable, in 50 bins that hold as many true showers.

    Args:
        reference: true showers.
        generated: of a simulator.
        other: more true showers, for the floors.
        seed: of the splits for the floors.

    Returns:
        Observable -> separation power; those of one kind in all layers as one mean.
    """
    names = [n for n in observable_names(reference.geometry) if n != "incident_energy"]
    tables = [
        observables(s, names) if s is not None else None for s in (reference, generated, other)
    ]
    truth, model, more = tables
    assert truth is not None
    assert model is not None
    found: dict[str, Estimate] = {}
    for name in names:
        edges = np.unique(np.quantile(truth[name], np.linspace(0.01, 0.99, 51)))
        if len(edges) < 3:
            continue
        found[name] = generative.separation_power(
            truth[name],
            model[name],
            edges,
            weights=generated.weight,
            other=None if more is None else more[name],
            seed=seed,
        )
    whole = {n: e for n, e in found.items() if "_layer_" not in n}
    return whole | _means(found, layer_labels(reference.geometry))


def distances(
    reference: Showers, generated: Showers, other: Showers | None = None, *, seed: int = 0
) -> dict[str, Estimate]:
    """Distances of the challenge's high-level features, and of voxels.

    Args:
        reference: true showers.
        generated: of a simulator.
        other: more true showers, for the floors.
        seed: of whatever is random.

    Returns:
        Name -> estimate, see ``hepgen.shower_summary.TITLES``.
    """
    x, y = fpd_features(reference), fpd_features(generated)
    # Such as the centre of a layer that is always empty: no distance can be scaled by it.
    varies = x.std(axis=0) > 0
    x, y = x[:, varies], y[:, varies]
    z = None if other is None else fpd_features(other)[:, varies]
    weighted: dict[str, Any] = {"weights": generated.weight, "other": z, "seed": seed}
    measures: dict[str, Callable[..., Estimate]] = {
        "fpd": generative.fpd,
        "kpd": generative.kpd,
        "mean_ks": generative.mean_kolmogorov,
        "sliced_ks": generative.sliced_kolmogorov,
        "sliced_wasserstein": generative.sliced_wasserstein,
    }
    found = {name: measure(x, y, **weighted) for name, measure in measures.items()}
    found["frechet"] = generative.frechet_gaussian_distance(x, y, scale="max", **weighted)
    if generated.weight is None:
        # At random: files of the field are sorted by energy.
        few, many = (_at_random(len(some), seed, i) for i, some in enumerate((x, y)))
        test = generative.permutation_test(x[few], y[many], seed=seed)
        found["p_value"] = Estimate(test.p_value, test.error)
        balls = generative.precision_recall(
            _log_voxels(reference[few]),
            _log_voxels(generated[many]),
            other=None if other is None else _log_voxels(other[_at_random(len(other), seed, 2)]),
            seed=seed,
        )
        for name in ("precision", "recall", "density", "coverage"):
            found[name] = getattr(balls, name)
    worth = generative.equivalent_events(x, y, **weighted)
    found["equivalent_events"] = worth.events
    found["support"] = generative.support_ratio(x, y, **weighted).ratio
    return found


def memorised(
    train: Showers, reference: Showers, generated: Showers, *, seed: int = 0
) -> dict[str, Estimate]:
    """Whether generated showers are nearer to the training showers than true ones are.

    Args:
        train: what the simulator was trained on.
        reference: true showers that it was not trained on.
        generated: of the simulator.
        seed: of the choice, where there are many.

    Returns:
        The probability that a generated shower is the nearer of the two, 0.5 for none that is
        remembered.
    """
    rng = np.random.default_rng([seed, 7])
    tables = []
    for showers in (train, reference, generated):
        size = 2 * NEIGHBOURS
        few = len(showers) > size
        rows = np.sort(rng.choice(len(showers), size, replace=False)) if few else slice(None)
        tables.append(high_level_features(showers[rows]))
    varies = tables[0].std(axis=0) > 0
    found = generative.memorisation(*(table[:, varies] for table in tables))
    return {"memorisation": found.closer}


def classifier_tests(
    reference: Showers,
    generated: Showers,
    level: Literal["high", "low", "low-normalised", "resnet"],
    *,
    seeds: int,
    recipe: str | None,
    seed: int,
) -> dict[str, ClassifierResult]:
    """A classifier test.

    Args:
        reference: true showers.
        generated: of a simulator.
        level: of the features.
        seeds: number of trainings.
        recipe: of the training; the quick one if not given.
        seed: of everything random.

    Returns:
        Level -> result.
    """
    found = classifier_test(
        reference, generated, level=level, seeds=seeds, recipe=recipe, floor=True, seed=seed
    )
    curve, taken = found.roc, np.linspace(0, 1, 201)
    kept = np.interp(taken, curve.background_efficiency, curve.signal_efficiency)
    return {level: ClassifierResult(found.auc, found.jsd, found.sizes, taken, kept)}


def energy_bins(
    reference: Showers, generated: Showers, edges: Floats | None = None
) -> dict[str, EnergyBins]:
    """Response and resolution of both samples, in the same bins.

    Args:
        reference: true showers.
        generated: of a simulator.
        edges: in GeV; about four in the range of the reference if not given.

    Returns:
        "reference" and "generated" -> bins.
    """
    bounds = energy_edges(reference.incident_energy) if edges is None else edges
    return {
        name: response_in_bins(s.incident_energy, s.response, bounds, weights=s.weight)
        for name, s in (("reference", reference), ("generated", generated))
    }


def correlations(reference: Showers, generated: Showers) -> dict[str, Floats]:
    """Correlations of the layer energies, as shares of the total, and of what is drawn.

    Args:
        reference: true showers.
        generated: of a simulator.

    Returns:
        "reference" and "generated" -> (N, N), in the order of `correlated_names`.
    """
    names = correlated_names(reference.geometry)
    found = {}
    for key, showers in (("reference", reference), ("generated", generated)):
        table = np.stack(list(observables(showers, names).values()))
        covariance = np.atleast_2d(np.cov(table, aweights=showers.weight))
        spread = np.sqrt(np.diag(covariance))
        product = np.outer(spread, spread)
        known = product > 0
        found[key] = np.divide(covariance, product, out=np.zeros_like(covariance), where=known)
    return found


def correlated_names(geometry: Geometry) -> list[str]:
    """Names of the observables whose correlations are told.

    Args:
        geometry: of the showers.
    """
    labels = layer_labels(geometry)
    step = max(1, len(labels) // 15)
    shares = [f"share_layer_{label}" for label in labels[::step]]
    return ["response", "depth", "width_r", "num_hits", *shares]


def _drawn(showers: Showers) -> dict[str, str]:
    """Observable -> label of its axis."""
    known = set(observable_names(showers.geometry))
    found = {name: text for name, text in DRAWN.items() if name in known}
    energies = showers.layer_energies.mean(axis=0)
    strongest = np.sort(np.argsort(-energies)[: 2 * LAYERS_DRAWN : 2])
    labels = layer_labels(showers.geometry)
    return found | {
        f"energy_layer_{labels[i]}": f"Energy of layer {labels[i]} [GeV]" for i in strongest
    }


def _edges(values: Floats, log: bool) -> Floats:
    """Edges that hold all but 0.2 % of the values; whole numbers are not cut in two."""
    some = values[values > 0] if log else values
    if not len(some):
        return np.array([0.0, 1.0]) if not log else np.array([1e-3, 1.0])
    low, high = np.quantile(some, [0.001, 0.999])
    if not high > low:
        return np.array([low * 0.9, low * 1.1]) if low > 0 else np.array([low - 0.5, low + 0.5])
    if log:
        return np.geomspace(low, high, BINS + 1)
    if np.all(values == np.round(values)):
        step = max(1, int(np.ceil((high - low + 1) / BINS)))
        return np.arange(low, high + step + 0.5, step) - 0.5
    return np.linspace(low, high, BINS + 1)


def _spectrum(
    label: str,
    edges: Floats,
    pair: tuple[Floats, Floats],
    weights: tuple[Floats | None, Floats | None],
    log: bool,
) -> ShowerSpectrum:
    first, second = (generative.histogram(v, edges, w) for v, w in zip(pair, weights, strict=True))
    return ShowerSpectrum(
        label, edges, first.contents, first.variances, second.contents, second.variances, log
    )


def _means(found: dict[str, Estimate], labels: list[str]) -> dict[str, Estimate]:
    """Mean over the layers of each kind of observable."""
    means = {}
    for kind in KINDS:
        names = [f"{kind}_layer_{label}" for label in labels]
        some = [found[name] for name in names if name in found]
        if some:
            error = float(np.sqrt(np.sum([one.error**2 for one in some])) / len(some))
            floors = [one.floor for one in some if one.floor is not None]
            floor = float(np.mean(floors)) if floors else None
            value = float(np.mean([one.value for one in some]))
            means[f"{kind} of the layers"] = Estimate(value, error, floor=floor)
    return means


def _at_random(total: int, seed: int, stream: int) -> NDArray[np.int64]:
    """Rising numbers of showers whose voxels are compared."""
    if total <= NEIGHBOURS:
        return np.arange(total)
    rng = np.random.default_rng([seed, 11, stream])
    return np.sort(rng.choice(total, NEIGHBOURS, replace=False))


def _log_voxels(showers: Showers) -> NDArray[np.float64]:
    """What the challenge takes neighbours by: log10 of MeV, 0.1 MeV for empty voxels."""
    voxels = 1e3 * showers.voxels.astype(np.float64)
    return np.log10(np.where(voxels > 0, voxels, 0.1))
