"""What every tagger must keep, for all of ``hepgen.taggers.__all__``."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import log_loss
from torch import Tensor

import hepgen
from hepgen import checkpoint, taggers
from hepgen.data import Features, make_batch
from hepgen.taggers import Tagger
from tests.taggers.jets import CLASSES, make, make_jets, make_packed, one, shuffled
from tests.taggers.sizes import SMALL, TRAINING

NAMES = [name for name in taggers.__all__ if name != "Tagger"]
COUNTS = [0, 1, 2, 3, 15, 16, 17, 18, 0, 40, 100, 1]


@pytest.fixture(params=NAMES)
def tagger(request: pytest.FixtureRequest) -> Tagger:
    """Each tagger in evaluation mode, its normalisations away from where they begin."""
    return build(request.param)


def build(name: str) -> Tagger:
    torch.manual_seed(3)
    made: Tagger = getattr(taggers, name)(Features(), CLASSES, **SMALL.get(name, {}))
    batch = make([30, 50, 20, 40], seed=9)
    with torch.no_grad():
        for _ in range(3):
            made(batch)
    return made.eval()


def logits(tagger: Tagger, batch: Any) -> Tensor:
    with torch.no_grad():
        result: Tensor = tagger(batch)
    return result


def test_every_name_is_a_tagger_of_a_published_paper(tagger: Tagger) -> None:
    assert isinstance(tagger, Tagger)
    assert tagger.paper is not None
    assert tagger.paper.arxiv in str(__import__(type(tagger).__module__, fromlist=["x"]).__doc__)
    assert type(tagger).__name__ in taggers.__all__


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-12)], ids=["f32", "f64"]
)
class TestScoresDependOnTheJetAlone:
    def test_not_on_the_order_of_constituents(self, tagger, dtype, tolerance) -> None:
        tagger.to(dtype)
        batch = make(COUNTS, dtype=dtype)
        expected = logits(tagger, batch)
        for seed in range(3):
            got = logits(tagger, shuffled(batch, seed))
            torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)

    def test_not_on_the_other_jets(self, tagger, dtype, tolerance) -> None:
        tagger.to(dtype)
        batch = make(COUNTS, dtype=dtype)
        expected = logits(tagger, batch)
        got = torch.cat([logits(tagger, one(batch, jet)) for jet in range(len(COUNTS))])
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)

    def test_not_on_whether_gradients_are_wanted(self, tagger, dtype, tolerance) -> None:
        tagger.to(dtype)
        batch = make(COUNTS, dtype=dtype)
        got = tagger(batch).detach()
        torch.testing.assert_close(got, logits(tagger, batch), rtol=tolerance, atol=tolerance)


def test_equally_near_neighbours_do_not_let_the_order_decide(tagger: Tagger) -> None:
    # Constituents in the cells of a calorimeter: a quarter of all distances are equal to others.
    generator = torch.Generator().manual_seed(0)
    batch = make([40, 60])
    cells = torch.randint(-3, 4, batch.pos.shape, generator=generator) * 0.125
    batch = make_batch(batch.x, batch.ptr, p4=batch.p4, pos=cells, y=batch.y, weight=batch.weight)
    for seed in range(3):
        got = logits(tagger, shuffled(batch, seed))
        torch.testing.assert_close(got, logits(tagger, batch), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("counts", [[0], [1], [2], [16], [0, 0], [0, 1], [1, 0, 2], [17, 0]])
@pytest.mark.parametrize("training", [False, True])
def test_small_jets_have_finite_logits_and_gradients(
    tagger: Tagger, counts: list[int], training: bool
) -> None:
    tagger.train(training)
    batch = make(counts)
    assert tagger(batch).shape == (len(counts), 2)
    loss = tagger.loss(batch)
    loss.backward()
    assert torch.isfinite(loss)
    assert all(p.grad is None or p.grad.isfinite().all() for p in tagger.parameters())


def test_no_jets_give_no_logits_and_no_loss(tagger: Tagger) -> None:
    batch = make([])
    assert tagger(batch).shape == (0, 2)
    assert tagger.loss(batch) == 0
    assert tagger.predict(make_jets([])).shape == (0, 2)


def test_jets_without_constituents_share_their_scores(tagger: Tagger) -> None:
    empty = logits(tagger, make([0, 20, 0]))
    torch.testing.assert_close(empty[0], empty[2], rtol=1e-5, atol=1e-6)


def test_all_parameters_get_a_finite_gradient_in_training(tagger: Tagger) -> None:
    tagger.train().loss(make(COUNTS)).backward()
    for name, parameter in tagger.named_parameters():
        assert parameter.grad is not None, name
        assert parameter.grad.isfinite().all(), name
        assert (parameter.grad != 0).any(), name


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("name", NAMES)
def test_the_same_seed_gives_the_same_bits(
    name: str, threads: int, request: pytest.FixtureRequest
) -> None:
    request.addfinalizer(partial(torch.set_num_threads, torch.get_num_threads()))
    torch.set_num_threads(threads)
    results = []
    for _ in range(2):
        model = build(name).train()
        torch.manual_seed(0)
        loss = model.loss(make(COUNTS))
        loss.backward()
        results.append([loss.detach(), *(p.grad for p in model.parameters())])
    for first, second in zip(*results, strict=True):
        torch.testing.assert_close(first, second, rtol=0, atol=0)


@pytest.mark.parametrize("name", NAMES)
def test_a_little_training_tells_two_cores_from_one(name: str) -> None:
    torch.manual_seed(3)
    model: Tagger = getattr(taggers, name)(Features(), CLASSES, **SMALL.get(name, {}))
    optimizer = torch.optim.Adam(model.parameters(), lr=2e-3)
    steps, jets = TRAINING.get(name, (30, 48))
    batches = [make([15] * jets, seed=seed) for seed in (1, 2, 3)]
    for step in range(steps):
        optimizer.zero_grad()
        model.loss(batches[step % 3]).backward()
        optimizer.step()
    # Other jets, normalised by themselves: running statistics lag behind so few steps.
    assert float(model.loss(make([15] * 100, seed=4)).detach()) < 0.3  # of ln 2 = 0.69


# Making machine code takes minutes for most: here one for each kind of operator of our own. All
# others were tried by hand when they came.
COMPILED = ("LSTM", "ParticleFlowNetwork", "ParticleNetLite", "RecursiveNetwork")


@pytest.mark.slow
@pytest.mark.parametrize("name", COMPILED)
def test_machine_code_gives_the_same(name: str) -> None:
    compare_compiled(build(name), "inductor")


def test_it_compiles_without_a_graph_break(tagger: Tagger) -> None:
    compare_compiled(tagger, "eager")


def compare_compiled(tagger: Tagger, backend: str) -> None:
    torch.compiler.reset()
    compiled = torch.compile(tagger, fullgraph=True, dynamic=True, backend=backend)
    for counts in (COUNTS, [5, 20, 0, 33]):
        batch = make(counts)
        torch.testing.assert_close(
            logits(compiled, batch), logits(tagger, batch), rtol=1e-5, atol=1e-5
        )
    for module in tagger.modules():
        module.training = not isinstance(module, torch.nn.Dropout)
    # In float64: batch normalisation makes some gradients nearly cancel, so that in float32 what is
    # left of them is rounding.
    tagger.double()
    expected, got = (gradients(tagger, call) for call in (tagger, compiled))
    assert got.keys() == expected.keys()
    for name, gradient in expected.items():
        scale = float(gradient.abs().max())
        torch.testing.assert_close(got[name], gradient, rtol=1e-8, atol=1e-8 * scale + 1e-12)


def test_an_exported_program_gives_the_same_scores_for_any_jets(tagger: Tagger, tmp_path) -> None:
    tagger.train()
    hepgen.export(tagger, tmp_path / "model.pt2")
    assert tagger.training
    tagger.eval()
    program = hepgen.load_exported(tmp_path / "model.pt2")
    assert program.about["model"] == type(tagger).__name__
    for counts in ([5, 20, 0, 33], [1], [0], [], [100, 1]):
        batch = make(counts, seed=2)
        got = program(batch.x, batch.ptr, batch.pos, batch.p4)
        expected = logits(tagger, batch).softmax(dim=1)
        torch.testing.assert_close(got, expected, rtol=1e-5, atol=1e-6)


def gradients(tagger: Tagger, call: Any) -> dict[str, Tensor]:
    tagger.zero_grad()
    call(make(COUNTS, dtype=next(tagger.parameters()).dtype)).square().mean().backward()
    return {n: p.grad.clone() for n, p in tagger.named_parameters() if p.grad is not None}


def test_bfloat16_autocast_gives_about_the_same_and_a_loss_in_float32(tagger: Tagger) -> None:
    batch = make([40] * 20)
    expected = logits(tagger, batch)
    with torch.autocast("cpu", torch.bfloat16):
        got = tagger(batch)
        loss = tagger.train().loss(batch)
    assert loss.dtype == torch.float32
    loss.backward()
    assert all(p.grad.isfinite().all() for p in tagger.parameters())
    # Eight bits of mantissa, and other neighbours where two are about equally near.
    assert (got.float() - expected).abs().max() < 0.1 * max(1.0, float(expected.abs().max()))


def test_predict_gives_the_softmax_in_the_order_of_the_jets(tagger: Tagger) -> None:
    counts = np.random.default_rng(0).integers(0, 60, 150).tolist()
    expected = logits(tagger, make(counts)).softmax(dim=1).numpy()
    got = tagger.predict(make_jets(counts))
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-6)
    for batch_size in (1, 7, 1000):
        again = tagger.predict(make_jets(counts), batch_size=batch_size)
        np.testing.assert_allclose(again, expected, rtol=1e-4, atol=1e-6)
    np.testing.assert_array_equal(tagger.predict(make_packed(counts, labels=False)), got)


def test_predict_gives_the_same_bits_with_two_threads(tagger: Tagger) -> None:
    jets = make_jets([20, 40, 0, 70] * 40)
    alone = tagger.predict(jets)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(2)
        np.testing.assert_array_equal(tagger.predict(jets), alone)
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_predict_leaves_the_tagger_as_it_was(tagger: Tagger) -> None:
    tagger.train()
    part = next(module for module in tagger.modules() if module is not tagger)
    part.eval()
    state = {name: tensor.clone() for name, tensor in tagger.state_dict().items()}
    tagger.predict(make_jets([10, 20]))
    assert tagger.training
    assert not part.training
    for name, tensor in tagger.state_dict().items():
        torch.testing.assert_close(tensor, state[name], rtol=0, atol=0)


def test_the_loss_is_the_weighted_cross_entropy(tagger: Tagger) -> None:
    batch = make([20] * 40)
    batch.weight = torch.linspace(0.1, 2, 40)
    scores = logits(tagger, batch).double().softmax(dim=1).numpy()
    # sklearn divides by the sum of the weights, hepgen by the number of jets.
    expected = log_loss(batch.y, scores, sample_weight=batch.weight) * float(batch.weight.mean())
    assert float(tagger.loss(batch).detach()) == pytest.approx(expected, rel=1e-5)
    batch.weight = -batch.weight
    assert float(tagger.loss(batch).detach()) == pytest.approx(-expected, rel=1e-5)


def test_accuracy_is_the_share_of_jets_with_the_right_class(tagger: Tagger) -> None:
    batch = make([20] * 40)
    expected = np.mean(logits(tagger, batch).numpy().argmax(1) == batch.y.numpy())
    assert float(tagger.accuracy(batch)) == pytest.approx(expected)


def test_its_configuration_builds_it_again(tagger: Tagger) -> None:
    config = json.loads(json.dumps(tagger.config()))
    again = type(tagger)(tagger.features, tagger.classes, **config)
    again.load_state_dict(tagger.state_dict())
    assert again.config() == tagger.config()
    batch = make(COUNTS)
    torch.testing.assert_close(logits(again.eval(), batch), logits(tagger, batch), rtol=0, atol=0)


def test_a_saved_tagger_gives_the_same_scores(tagger: Tagger, tmp_path) -> None:
    tagger.save(tmp_path / "model.safetensors")
    loaded = checkpoint.load(tmp_path / "model.safetensors")
    assert loaded.classes == CLASSES
    assert loaded.features.names == tagger.features.names
    jets = make_jets(COUNTS)
    np.testing.assert_array_equal(loaded.predict(jets), tagger.predict(jets))
