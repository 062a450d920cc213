"""Many predictions of one tagger whose dropout stays on.

Y. Gal and Z. Ghahramani, "Dropout as a Bayesian approximation: representing model uncertainty in
deep learning", ICML 2016, arXiv:1506.02142.

Shapes: B jets, M samples, S scores.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, final

import numpy as np
import torch
from torch import nn
from torch.nn.modules.dropout import _DropoutNd

from hepgen.certainty.certain import Certain, Moments, Prediction
from hepgen.data import PackedJets
from hepgen.taggers import Tagger

if TYPE_CHECKING:
    import awkward as ak

__all__ = ["MonteCarloDropout"]


@final
class MonteCarloDropout(Certain):
    """The mean of several predictions with dropout, their standard deviation, mutual information.

    All else, such as batch normalisation, is as in any prediction. The random numbers are a
    function of ``seed``, of the sample and of the place of the batch: the same jets in batches of
    the same size give the same bits.

    Args:
        tagger: a trained tagger with dropout.
        samples: number M of predictions.
        seed: of the random numbers.

    Raises:
        ValueError: a tagger without dropout, or fewer than two samples.
        TypeError: no tagger.
    """

    tells_spread = True

    def __init__(self, tagger: Tagger, samples: int = 30, seed: int = 0) -> None:
        super().__init__([tagger])
        if not isinstance(tagger, Tagger):
            raise TypeError(f"MonteCarloDropout is for a tagger, not {type(tagger).__name__}")
        if samples < 2:
            raise ValueError(f"samples should be at least 2, not {samples}")
        if not any(layer.p > 0 for layer in _dropouts(tagger)):
            raise ValueError(
                f"{type(tagger).__name__} has no layer with dropout above 0, so that all samples "
                "would be equal; train it with its argument dropout, if it has one"
            )
        self.tagger, self.samples, self.seed = tagger, samples, seed
        self.tells_information = bool(self.classes)

    def parts(self) -> dict[str, Any]:
        """The tagger."""
        return {"tagger": self.tagger}

    def prediction(
        self,
        jets: ak.Array | PackedJets,
        *,
        batch_size: int = 256,
        device: str | torch.device | None = None,
        progress: bool = False,
    ) -> Prediction:
        """Mean, spread and mutual information of the samples; there is no bar."""
        if batch_size < 1:
            raise ValueError(f"batch_size should be at least 1, not {batch_size}")
        tagger = self.tagger
        if not isinstance(jets, PackedJets):
            jets = PackedJets.pack(jets, tagger.features)
        found = Moments(self._columns)
        with _sampling(tagger, device) as place, torch.inference_mode():
            devices = [place] if place.type == "cuda" else []
            for sample in range(self.samples):
                parts = [np.empty((0, len(self.score_names)), np.float32)]
                for start in range(0, len(jets), batch_size):
                    batch = jets.batch(slice(start, start + batch_size)).to(place)
                    with torch.random.fork_rng(devices):
                        torch.manual_seed(_seed_of(self.seed, sample, start))
                        outputs = tagger(batch).float()
                    parts.append(tagger.head.scores(outputs).cpu().numpy())
                found.add(np.concatenate(parts))
        return found.prediction()


def _dropouts(model: nn.Module) -> list[_DropoutNd]:
    return [layer for layer in model.modules() if isinstance(layer, _DropoutNd)]


def _seed_of(*key: int) -> int:
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))


@contextmanager
def _sampling(tagger: Tagger, device: str | torch.device | None) -> Iterator[torch.device]:
    """Evaluation but for dropout, on some device; afterwards everything is as before."""
    modes = {module: module.training for module in tagger.modules()}
    home = next((p.device for p in tagger.parameters()), torch.device("cpu"))
    place = home if device is None else torch.device(device)
    try:
        tagger.eval().to(place)
        for layer in _dropouts(tagger):
            layer.train()
        yield place
    finally:
        for module, mode in modes.items():
            module.training = mode
        tagger.to(home)
