"""Weights to begin a training with: those of a model that was trained before."""

from __future__ import annotations

import json
import warnings
from collections.abc import Sequence
from dataclasses import dataclass

from hepgen import checkpoint
from hepgen.data import Features
from hepgen.io.errors import SchemaError
from hepgen.taggers import Tagger

__all__ = ["Start"]


@dataclass(frozen=True)
class Start:
    """Where the first weights of a training come from.

    Args:
        weights: ``model.safetensors`` of another run of the same architecture; random weights if
            not given.
        fresh: patterns of weights that begin at random all the same, such as ``["fc.*"]`` for the
            head of other classes. With ``fit.lr_factors`` the new ones may learn faster, with
            ``fit.freeze`` the old ones not at all.
    """

    weights: str | None = None
    fresh: Sequence[str] = ()

    def features(self, wanted: Features) -> Features:
        """The features of the run, standardised as the weights are used to.

        Args:
            wanted: those of the pipeline.

        Returns:
            Those in the file, if their names are the same; ``wanted`` without a file.

        Raises:
            SchemaError: the weights were trained on other features.
            CheckpointError: the file is damaged.
        """
        if self.weights is None:
            return wanted
        kept = checkpoint.describe(self.weights).features
        if kept is None:
            return wanted
        if list(kept["names"]) != list(wanted.names):
            raise SchemaError(
                f"{self.weights} was trained on {', '.join(kept['names'])}; "
                f"the pipeline has {', '.join(wanted.names)}"
            )
        return Features.from_dict({**kept, "max_constituents": wanted.max_constituents})

    def load_into(self, tagger: Tagger) -> None:
        """Give a tagger these weights, if there are any.

        Arguments that leave no trace in the shapes of weights, such as the number of neighbours,
        are warned of where they are others than those of the file.

        Args:
            tagger: of the same architecture, but for what is fresh.

        Raises:
            CheckpointError: the weights do not fit.
        """
        if self.weights is None:
            return
        checkpoint.load_weights(tagger, self.weights, fresh=self.fresh)
        kept = checkpoint.describe(self.weights).config
        here = json.loads(json.dumps(tagger.config()))
        others = [
            f"{name}={kept[name]!r}, here {value!r}"
            for name, value in here.items()
            if name in kept and kept[name] != value
        ]
        if others:
            warnings.warn(
                f"{self.weights} was trained with {'; '.join(others)}: its weights fit, but may "
                "not be used to it",
                stacklevel=2,
            )
