"""A learning rate for a pipeline: ``hepgen find-rate PIPELINE.yaml``."""

from __future__ import annotations

import argparse
import inspect
from collections.abc import Sequence
from pathlib import Path

from hepgen.atomic import replacing
from hepgen.io.errors import MissingFile, MissingName
from hepgen.pipeline import fit_to, make_tagger, read_pipeline
from hepgen.pipeline_head import head_for, parts_for, sample_for
from hepgen.training import RateSearch, find_rate

__all__ = ["draw_search", "find_rate_from_words"]

# Of find_rate's arguments, those that are the user's here; others are keys of the pipeline.
SEARCH = {"lowest": float, "highest": float, "steps": int}


def find_rate_from_words(words: Sequence[str]) -> RateSearch:
    """Search a learning rate as a pipeline and its overrides say.

    What decides one step has a part in it: batch size, optimiser, weight decay, clip, factors,
    frozen parts, class weights, precision. ``fit.lr``, ``fit.schedule``, ``fit.epochs``,
    ``fit.accumulate``, ``fit.sharpness`` and ``fit.ema`` of the pipeline have none.

    Args:
        words: a YAML file and options that override its keys; ``--lowest``, ``--highest``,
            ``--steps`` of the search, and ``--plot FILE``.

    Returns:
        The search; its text is the answer.

    Raises:
        InputError: the pipeline cannot be understood, or the jets cannot be read.
        ValueError: what `hepgen.find_rate` raises.
    """
    parser = argparse.ArgumentParser(
        prog="hepgen find-rate",
        usage="hepgen find-rate PIPELINE.yaml [--plot rate.png] [--fit.optimizer lion ...]",
        description="Train briefly with a growing learning rate and tell a good one. "
        "Options of the pipeline are those of hepgen train.",
        allow_abbrev=False,
    )
    signature = inspect.signature(find_rate).parameters
    for name, kind in SEARCH.items():
        parser.add_argument(
            f"--{name}", type=kind, default=signature[name].default, help="%(default)s"
        )
    parser.add_argument("--plot", type=Path, help="picture to write, such as rate.png")
    search, rest = parser.parse_known_args(list(words))
    if search.plot is not None:
        _check_picture(search.plot)
    chosen = read_pipeline(rest)
    features = chosen.start.features(chosen.features)
    sample = sample_for(chosen.sample, chosen.head)
    parts = parts_for(sample, features, chosen.head, seed=chosen.seed, progress=True)
    if chosen.fit_features:
        fit_to(features, parts.train, chosen.start)
    learnt = head_for(chosen.head, sample, parts.train, seed=chosen.seed)
    tagger = make_tagger(
        chosen.model, features, learnt, chosen.arguments, seed=chosen.seed, start=chosen.start
    )
    own = {n: v for n, v in chosen.options.items() if n in signature}
    limits = {name: getattr(search, name) for name in SEARCH}
    found = find_rate(tagger, parts.train, seed=chosen.seed, **{**own, **limits})
    if search.plot is not None:
        draw_search(found, search.plot)
    return found


def _check_picture(path: Path) -> None:
    """See that a picture can be written, before minutes are spent on what it shows."""
    from matplotlib.backend_bases import FigureCanvasBase

    formats = FigureCanvasBase.get_supported_filetypes()
    ending = path.suffix.removeprefix(".").lower() or "png"
    if ending not in formats:
        raise MissingName.among(ending, formats, kind="format of pictures", where=str(path))
    if not path.parent.is_dir():
        raise MissingFile(f"no folder {path.parent} for the picture {path.name}")


def draw_search(found: RateSearch, path: Path) -> None:
    """Draw a search into a picture, whole or not at all.

    Args:
        found: what `hepgen.find_rate` gave.
        path: the picture to write or replace; its ending tells the format.
    """
    from matplotlib.figure import Figure

    from hepgen.plots import rate_search

    figure = Figure(layout="constrained")
    rate_search(figure.subplots(), found.lr, found.loss, found.smooth, suggestion=found.suggestion)
    with replacing(path) as temporary:
        figure.savefig(temporary, format=path.suffix.removeprefix(".") or "png")
