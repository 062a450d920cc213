"""The search for a learning rate."""

from __future__ import annotations

from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hepgen import find_rate, plots
from hepgen.data import Features
from hepgen.io.errors import MissingFile, MissingName
from hepgen.rate import find_rate_from_words
from hepgen.taggers import ParticleFlowNetwork
from hepgen.training import RateSearch
from tests import small_training as small
from tests.taggers.jets import CLASSES, make_jets


class Bowl(nn.Module):
    """A quadratic loss whose steps of plain gradient descent diverge above a rate of 2 / 8."""

    def __init__(self) -> None:
        super().__init__()
        self.w = nn.Parameter(torch.tensor([1.0, 1.0], dtype=torch.float64))

    def loss(self, batch: Tensor) -> Tensor:
        return 4 * self.w[0] ** 2 + 0.5 * self.w[1] ** 2 + 0 * batch.sum() + 0.1


def search(**options) -> tuple[Bowl, RateSearch]:
    model = Bowl()
    defaults = {"lowest": 1e-3, "highest": 10.0, "optimizer": "sgd", "weight_decay": 0.0}
    found = find_rate(model, [torch.zeros(1)] * 7, progress=False, **(defaults | options))
    return model, found


def test_the_search_ends_where_plain_descent_diverges() -> None:
    model, found = search(steps=400)
    assert len(found.lr) == len(found.loss) == len(found.smooth) < 400
    # Momentum of 0.9 shifts the edge to (2 + 2 * 0.9) / 8; a growing rate passes it a little.
    assert 0.3 < found.lr[-1] < 1.0
    assert 1e-3 < found.suggestion < found.highest < 0.5
    torch.testing.assert_close(model.w.detach(), torch.ones(2).double(), rtol=0, atol=0)
    assert "steepest fall" in str(found)


def test_the_rates_grow_by_a_constant_factor_and_the_first_loss_is_that_of_the_model() -> None:
    _, found = search(highest=1e-2, steps=30)
    np.testing.assert_allclose(found.lr, np.geomspace(1e-3, 1e-2, 30))
    assert found.loss[0] == pytest.approx(4.6)
    assert found.smooth[0] == pytest.approx(4.6)


class Noisy(Bowl):
    """A loss that differs from batch to batch, and is near 0 at first."""

    def loss(self, batch: Tensor) -> Tensor:
        return super().loss(batch) - 4.6 + batch.sum()


def test_losses_around_zero_do_not_end_the_search() -> None:
    data = [torch.full((1,), value) for value in (0.01, 0.3, 0.1, 0.2, 0.25, 0.05, 0.15)]
    found = find_rate(
        Noisy(), data, lowest=1e-6, highest=1e-2, steps=60, optimizer="sgd", progress=False
    )
    assert len(found.lr) == 60
    # And one that explodes still ends it.
    options = {"optimizer": "sgd", "lowest": 1e-3, "highest": 10.0, "weight_decay": 0.0}
    found = find_rate(Noisy(), data, steps=400, progress=False, **options)
    assert 0.3 < found.lr[-1] < 1.0


def test_clipped_gradients_stand_higher_rates() -> None:
    assert len(search(steps=100)[1].lr) < len(search(steps=100, clip=1e-3)[1].lr) == 100
    with pytest.raises(ValueError, match="clip=0: wanted a number above 0"):
        search(clip=0)


def test_classes_have_their_weights_in_the_search() -> None:
    torch.manual_seed(0)
    tagger = ParticleFlowNetwork(Features(), CLASSES, phi_channels=(8, 8))
    jets = make_jets([5] * 40)
    options = {"batch_size": 20, "steps": 12, "progress": False}
    plain = find_rate(tagger, jets, **options)
    weighted = find_rate(tagger, jets, class_weights={CLASSES[0]: 5.0}, **options)
    assert plain.loss[0] != weighted.loss[0]


def test_a_picture_that_cannot_be_written_is_told_before_the_search(tmp_path: Path) -> None:
    with pytest.raises(MissingName, match=r"no format of pictures 'pngg'.*nearest: png"):
        find_rate_from_words(["none.yaml", "--plot", str(tmp_path / "a.pngg")])
    with pytest.raises(MissingFile, match=r"no folder .*none for the picture a\.png"):
        find_rate_from_words(["none.yaml", "--plot", str(tmp_path / "none" / "a.png")])


def test_a_tagger_like_model_is_left_as_it_was() -> None:
    torch.manual_seed(0)
    model, jets = small.Net().eval(), small.jets(300, seed=0)
    before = {n: t.clone() for n, t in model.state_dict().items()}
    first = find_rate(model, jets, batch_size=50, steps=40, freeze=["layers.0"], progress=False)
    again = find_rate(model, jets, batch_size=50, steps=40, freeze=["layers.0"], progress=False)
    torch.testing.assert_close(model.state_dict(), before, rtol=0, atol=0)
    assert not model.training
    np.testing.assert_array_equal(first.loss, again.loss)
    assert 1e-5 < first.suggestion <= 1.0


def test_rates_that_make_no_sense_are_refused() -> None:
    with pytest.raises(ValueError, match="wanted 0 < lowest < highest"):
        search(lowest=1.0, highest=0.1)
    with pytest.raises(ValueError, match="at least 10 steps"):
        search(steps=3)
    with pytest.raises(ValueError, match="no longer finite after"):
        search(lowest=1e100, highest=1e300)


def test_the_plot_marks_the_suggestion() -> None:
    _, found = search(steps=100)
    figure, ax = plt.subplots()
    artists = plots.rate_search(ax, found.lr, found.loss, found.smooth, suggestion=found.suggestion)
    assert len(artists) == 3
    assert ax.get_xscale() == "log"
    np.testing.assert_allclose(artists[2].get_xdata(), [found.suggestion] * 2)
    plt.close(figure)
