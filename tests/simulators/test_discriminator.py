"""Networks that tell samples apart: sizes, losses, training."""

from __future__ import annotations

import copy
import math
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from hepgen import checkpoint
from hepgen.simulators.discriminator import DenseDiscriminator, Discriminator, Select
from hepgen.simulators.labelled import Labelled, LabelledBatches
from hepgen.simulators.recipes import RECIPES, Recipe, recipe_of
from hepgen.simulators.residual_discriminator import ResidualDiscriminator


def sample(number: int = 400, classes: int = 2, seed: int = 0) -> Labelled:
    rng = np.random.default_rng(seed)
    label = np.arange(number) % classes
    x = rng.normal(size=(number, 4)) + label[:, None] * np.array([1.5, 0, 0, 0])
    return Labelled.of(x, label)


def parameters(network: nn.Module) -> int:
    return sum(p.numel() for p in network.parameters())


def test_the_networks_of_the_challenge_have_as_many_parameters_as_published() -> None:
    kept = RECIPES["challenge"].network
    for features in (362, 6481):
        network = DenseDiscriminator(features, **kept)
        wanted = (features + 1) * 2048 + 2 * 2049 * 2048 + 2049
        assert parameters(network) == wanted
    # Counted from the description: 3 x 3 x 3 convolutions of 32, 64, 64, 128 channels, two blocks
    # a stage, 1 x 1 x 1 ones where the size changes, norms, and a last layer of 129 inputs.
    stages = {(32, 32): False, (32, 64): True, (64, 64): True, (64, 128): True}
    wanted = 7**3 * 32 + 64 + 2 + 129 + 1
    for (before, after), changes in stages.items():
        wanted += 27 * after * (before + 3 * after) + 8 * after
        wanted += (before * after + 2 * after) if changes else 0
    network = ResidualDiscriminator(6481, shape=(45, 16, 9))
    assert parameters(network) == wanted


@pytest.mark.parametrize("classes", [2, 3])
def test_the_loss_is_the_cross_entropy_of_torch(classes: int) -> None:
    batch = sample(402, classes=classes)
    network = DenseDiscriminator(4, classes, hidden=(8,))
    logits = network(batch.x)
    if classes == 2:
        wanted = nn.functional.binary_cross_entropy_with_logits(logits[:, 0], batch.label.float())
        np.testing.assert_allclose(
            network.predict(batch.x), logits.sigmoid()[:, 0].detach(), rtol=1e-6
        )
    else:
        wanted = nn.functional.cross_entropy(logits, batch.label)
        np.testing.assert_allclose(network.predict(batch.x).sum(axis=1), 1)
    torch.testing.assert_close(network.loss(batch), wanted)


@pytest.mark.parametrize("select", ["loss", "accuracy"])
def test_the_epoch_is_chosen_by_what_was_asked_for(select: Select) -> None:
    train, validation = sample(200), sample(400, seed=1)
    network, history = DenseDiscriminator.trained(
        train, validation, network={"hidden": (16,), "select": select}, epochs=6, lr=3e-3
    )
    rows = history.rows
    if select == "accuracy":
        best = max(row["validation_accuracy"] for row in rows)
        with torch.no_grad():
            assert float(network.accuracy(validation)) == pytest.approx(best)
    else:
        best = min(row["validation_loss"] for row in rows)
        with torch.no_grad():
            assert float(network.loss(validation)) == pytest.approx(best)


def test_the_recipe_of_the_challenge_runs_in_double_precision_and_comes_back_from_its_file(
    tmp_path: Path,
) -> None:
    train, x = sample(200), sample(50, seed=2).x
    network = recipe_of("challenge").trained(train, sample(100, seed=1), epochs=1)
    assert {p.dtype for p in network.parameters()} == {torch.float64}
    checkpoint.save(network, tmp_path / "network.safetensors")
    again = checkpoint.load(tmp_path / "network.safetensors")
    assert isinstance(again, DenseDiscriminator)
    assert np.array_equal(again.predict(x), network.predict(x))


def test_a_network_finds_the_best_classifier_of_normal_samples() -> None:
    network = recipe_of("quick").trained(sample(4000), sample(1000, seed=1), epochs=10)
    test = sample(20_000, seed=2)
    right = (network.predict(test.x) > 0.5) == test.label.numpy()
    # Phi(0.75) is the best; three standard errors are 0.009.
    assert right.mean() == pytest.approx(0.7734, abs=0.012)


def test_the_same_seed_gives_the_same_network_and_leaves_the_callers_random_numbers() -> None:
    torch.manual_seed(3)
    state = torch.random.get_rng_state()
    made = [
        RECIPES["quick"].trained(sample(), sample(seed=1), seed=seed, epochs=2)
        for seed in (4, 4, 5)
    ]
    assert torch.equal(torch.random.get_rng_state(), state)
    x = sample(seed=2).x
    assert np.array_equal(made[0].predict(x), made[1].predict(x))
    assert not np.array_equal(made[0].predict(x), made[2].predict(x))


def test_features_that_never_change_count_for_nothing() -> None:
    train = sample()
    train.x[:, 3] = 1e-7
    network = DenseDiscriminator(4, hidden=(8,))
    network.prepare(train)
    other = train.x.clone()
    other[:, 3] = 1e7
    assert np.array_equal(network.predict(train.x), network.predict(other))


def test_a_residual_network_sees_pictures_and_learns() -> None:
    rng = np.random.default_rng(0)
    x = rng.exponential(size=(240, 1 + 6 * 4 * 4)).astype(np.float32)
    label = np.arange(240) % 2
    x[label == 1, 1:49] *= 2
    training = {"epochs": 10, "lr": 1e-2, "batch_size": 32}
    recipe = Recipe(ResidualDiscriminator, {"channels": (4, 4, 8, 8)}, training)
    network = recipe.trained(
        Labelled.of(x[:160], label[:160]), Labelled.of(x[160:], label[160:]), shape=(6, 4, 4)
    )
    assert isinstance(network, Discriminator)
    assert ((network.predict(x[160:]) > 0.5) == label[160:]).mean() > 0.8
    with pytest.raises(ValueError, match="are not 1 \\+ 6 x 4 x 5 voxels"):
        ResidualDiscriminator(97, shape=(6, 4, 5))


@pytest.mark.parametrize("shape", [(5, 4, 4), (5, 3, 4), (3, 1, 2), (1, 1, 1), (6, 5, 4)])
def test_small_pictures_are_seen_as_by_convolutions_without_onednn(shape: tuple[int, ...]) -> None:
    x = torch.rand(33, 1 + math.prod(shape), generator=torch.Generator().manual_seed(0))
    network = ResidualDiscriminator(x.shape[1], shape=shape).train()
    # Numbers of double precision are none of oneDNN's.
    double, y = copy.deepcopy(network).double(), x.double()
    kernel = double.get_parameter("first.0.weight")
    picture = nn.functional.conv3d(y[:, 1:].view(-1, 1, *shape), kernel, stride=2, padding=3)
    assert isinstance(double.first, nn.Sequential)
    seen = double.blocks(double.first[1:](picture)).mean((2, 3, 4))
    wanted = double.last(torch.cat([seen, double.energy_norm(y[:, :1])], 1)).float()
    torch.testing.assert_close(network(x), wanted, rtol=1e-4, atol=1e-4)
    # Convolutions with zeros of their own wrote beyond their memory in a handful of steps.
    for _ in range(10):
        network(x).square().mean().backward()
    assert all(torch.isfinite(p.grad).all() for p in network.parameters() if p.grad is not None)


def test_batches_hold_every_shower_once_on_any_number_of_ranks() -> None:
    whole = sample(103)
    for ranks in (1, 3):
        assert all(
            len(batch) <= 10
            for rank in range(ranks)
            for batch in LabelledBatches(whole, batch_size=10, rank=rank, world_size=ranks).epoch(0)
        )
        seen = [
            batch.x
            for rank in range(ranks)
            for batch in LabelledBatches(
                whole, batch_size=10, shuffle=True, rank=rank, world_size=ranks
            ).epoch(0)
        ]
        assert torch.equal(torch.cat(seen).sort(dim=0)[0], whole.x.sort(dim=0)[0])
    source = LabelledBatches(whole, batch_size=10, shuffle=True)
    assert torch.equal(list(source.epoch(2))[4].x, next(source.epoch(2, 4)).x)


def test_samples_count_alike_whatever_their_size_and_weights() -> None:
    label = np.repeat([0, 1], [30, 10])
    even = Labelled.of(np.zeros((40, 1)), label, np.arange(40.0))
    sums = [float(even.weight[even.label == k].sum()) for k in (0, 1)]
    assert sums == pytest.approx([20, 20])


def test_wrong_input_is_told() -> None:
    with pytest.raises(ValueError, match="features of 1 of 2 showers are NaN"):
        Labelled.of([[1.0], [np.nan]], [0, 1])
    with pytest.raises(ValueError, match="weights that are 0 or more"):
        Labelled.of([[1.0], [2.0]], [0, 1], [1.0, -1.0])
    with pytest.raises(ValueError, match="have shapes"):
        Labelled.of([[1.0], [2.0]], [0])
    with pytest.raises(ValueError, match="no recipe 'slow'; there are quick, challenge, resnet"):
        recipe_of("slow")
    alone = Labelled.of([[1.0], [2.0]], [0, 0])
    with pytest.raises(ValueError, match=r"the training showers are of samples \[0\], not of 2"):
        DenseDiscriminator.trained(alone, alone)
