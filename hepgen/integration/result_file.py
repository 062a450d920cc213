"""A finished integral in one file: figures, points, histograms, and the sampler to draw more.

Reading runs no code of the file: the sampler's class is looked up by name among those of hepgen.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

import hist
from boost_histogram.serialization import from_uhi, to_uhi

from hepgen.integration.domain import Discrete, Domain
from hepgen.integration.evaluator import Evaluator
from hepgen.integration.integral import Batch, Integral
from hepgen.integration.sampler import Sampler
from hepgen.integration.saved import SavedStateError, load_state, save_state

__all__ = ["load_integral", "save_integral"]

# Fields of an integral that are plain values.
PLAIN = ("scalar", "seconds", "integrand_seconds", "non_finite_points", "choice", "sampler_name")


def save_integral(result: Integral, path: str | Path) -> None:
    """Write an integral with its points, histograms and sampler, whole or not at all.

    Args:
        result: of `integrate`.
        path: the file to write or replace.

    Raises:
        SavedStateError: the sampler is none of hepgen's, so that no reading could make it again.
        OSError: the file cannot be written; one that was there before is left.
    """
    kind = type(result.sampler).__name__
    if _samplers().get(kind) is not type(result.sampler):
        raise SavedStateError(
            f"{kind} is no sampler of hepgen; keep its state() yourself, and the points and weights"
        )
    tree = {name: getattr(result, name) for name in PLAIN}
    tree |= {
        "batches": [vars(batch) for batch in result.batches],
        "bounds": result.domain.to_list(),
        "scale": list(result.domain.scale),
        "sampler": {"class": kind, "state": result.sampler.state()},
        "x": result.x,
        "point_weights": result.point_weights,
        "names": result.names,
        "observables": dict(result.observables),
        "histograms": {name: to_uhi(h) for name, h in result.histograms.items()},
    }
    save_state(path, {"integral": tree})


def load_integral(path: str | Path, integrand: Callable[[Any], Any] | None = None) -> Integral:
    """Read what `save_integral` wrote.

    Args:
        path: the file.
        integrand: the function that was integrated, to draw further points from its sampler, as
            unweighting more events than the file has points for does.

    Returns:
        The integral.

    Raises:
        FileNotFoundError: there is no such file.
        SavedStateError: the file is damaged, something else, or of a sampler that this hepgen does
            not have.
    """
    tree = load_state(path)
    if "integral" not in tree:
        raise SavedStateError(f"{path} is the state of a run, not a finished integral")
    kept = tree["integral"]
    bounds = [
        Discrete(bound["values"]) if isinstance(bound, Mapping) else tuple(map(float, bound))
        for bound in kept["bounds"]
    ]
    domain = Domain(bounds, kept["scale"])
    known = _samplers()
    kind = kept["sampler"]["class"]
    if kind not in known:
        near = get_close_matches(kind, known, n=3, cutoff=0.0)
        raise SavedStateError(f"{path}: no sampler {kind!r} in hepgen; nearest: {', '.join(near)}")
    return Integral(
        batches=tuple(Batch(**batch) for batch in kept["batches"]),
        domain=domain,
        sampler=known[kind].from_state(kept["sampler"]["state"]),
        x=kept["x"],
        point_weights=kept["point_weights"],
        names=None if kept["names"] is None else tuple(kept["names"]),
        observables=kept["observables"],
        histograms={name: hist.Hist(from_uhi(h)) for name, h in kept["histograms"].items()},
        evaluator=None if integrand is None else Evaluator(integrand, domain),
        **{name: kept[name] for name in PLAIN},
    )


def _samplers() -> dict[str, type[Sampler]]:
    """Samplers of hepgen by name."""
    package = importlib.import_module("hepgen.integration")
    found = {name: getattr(package, name) for name in package.__all__}
    return {
        name: cls
        for name, cls in found.items()
        if isinstance(cls, type) and issubclass(cls, Sampler) and cls is not Sampler
    }
