"""The parts of an integration by themselves: evaluator, stages, points, files of states."""

from __future__ import annotations

import numpy as np
import pytest

import hepgen
from hepgen.integration import Budget, Domain, Sampler, Stage, UnweightedEvents
from hepgen.integration.evaluator import Evaluated, Evaluator
from hepgen.integration.integral import Batch
from hepgen.integration.points import Points
from hepgen.integration.progress import Progress, make_progress
from hepgen.integration.saved import SavedStateError, load_state, save_state
from hepgen.integration.strategy import final_calls
from hepgen.integration.unweighting import unweight


def test_the_evaluator_counts_and_multiplies_with_the_jacobian() -> None:
    evaluator = Evaluator(lambda x: x[:, 0], Domain([(0, 4)]), observables=lambda x: {"a": x[:, 0]})
    u = np.array([[0.25], [0.5]])
    found = evaluator(u, with_observables=True)
    assert isinstance(found, Evaluated)
    assert found.x[:, 0].tolist() == [1, 2]
    assert found.values[:, 0].tolist() == [4, 8]
    assert found.observables["a"].tolist() == [1, 2]
    assert evaluator(u).observables == {}
    assert evaluator.calls == 4


def test_points_are_handed_over_in_batches() -> None:
    sizes = []

    def function(x: np.ndarray) -> np.ndarray:
        sizes.append(len(x))
        return x[:, 0]

    Evaluator(function, Domain([(0, 1)]), batch_size=4)(np.zeros((10, 1)))
    assert sizes == [4, 4, 2]


def test_the_final_stage_is_cut_into_equal_batches() -> None:
    budget, sizes = Budget(1000, spent=400, batches=5), []
    while (calls := final_calls(budget, len(sizes))) is not None:
        assert Stage("vegas", calls, True).final
        sizes.append(calls)
        budget.spent += calls
    assert sizes == [120] * 5
    open_end = Budget(None, spent=100_000, needed=500_000)
    assert final_calls(open_end, 2) == 100_000
    assert final_calls(open_end, 0) == 50_000


def test_thinned_points_keep_their_weights_and_their_order() -> None:
    points = Points(500, np.random.default_rng(0))
    for start in range(0, 5000, 50):
        x = np.arange(start, start + 50, dtype=float)[:, None]
        points.add(x, 2 * x, {"o": -x[:, 0]})
    x, weights, observables = points.arrays()
    assert 0 < len(x) <= 500
    assert (weights == 2 * x).all()
    assert (observables["o"] == -x[:, 0]).all()
    assert (np.diff(x[:, 0]) > 0).all()
    again = Points(500, np.random.default_rng(1))
    again.restore(points.state())
    assert (again.arrays()[0] == x).all()


def test_progress_is_shown_on_request_only() -> None:
    assert type(make_progress(False)) is Progress
    line = make_progress(True)
    batch = Batch(10, np.array([1.0]), np.array([[0.25]]), "vegas", True)
    line.show(Stage("vegas", 10, True), [batch], Budget(100, spent=10))
    line.close()


def test_states_come_back_with_their_arrays(tmp_path) -> None:
    tree = {"a": [1, 2.5, None, "text", True], "b": {"c": np.arange(6).reshape(2, 3)}, "d": (1, 2)}
    save_state(tmp_path / "s", tree)
    again = load_state(tmp_path / "s")
    assert again["a"] == tree["a"]
    assert (again["b"]["c"] == tree["b"]["c"]).all()
    assert again["d"] == [1, 2]
    with pytest.raises(FileNotFoundError, match="no file"):
        load_state(tmp_path / "none")
    hepgen.save(__import__("torch").nn.Linear(1, 1), tmp_path / "model")
    with pytest.raises(SavedStateError, match="holds no saved integration"):
        load_state(tmp_path / "model")


def test_events_of_an_integral_are_counted() -> None:
    result = hepgen.integrate(lambda x: x[:, 0], [(0, 1)], calls=5000, sampler="uniform")
    assert isinstance(result.sampler, Sampler)
    events = unweight(result, 100)
    assert isinstance(events, UnweightedEvents)
    assert len(events) == 100
    vector = hepgen.integrate(lambda x: np.stack([x[:, 0]] * 2, 1), [(0, 1)], calls=5000)
    with pytest.raises(ValueError, match="one weight a point, the integrand has 2"):
        unweight(vector)
    with pytest.raises(ValueError, match="at least one event"):
        unweight(result, 0)
