"""The search for a learning rate."""

from __future__ import annotations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import torch
from torch import Tensor, nn

from hepgen import find_rate, plots
from hepgen.training import RateSearch
from tests import small_training as small


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
