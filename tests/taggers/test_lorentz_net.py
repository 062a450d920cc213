"""LorentzNet: its symmetry, and its equations written out pair by pair."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import vector
from torch import Tensor

from hepgen.data import Batch, Features, make_batch
from hepgen.taggers import LorentzNet, pair_blocks
from hepgen.taggers.lorentz_messages import message, message_gradient
from hepgen.taggers.pair_blocks import Pairs
from tests.taggers.jets import CLASSES, make

FEATURES = Features(["log_pt", "charge"])


def batch_of(counts: list[int], seed: int = 0, massless: bool = False) -> Batch:
    """Jets in float64, with masses unless told otherwise; the features are log pt and charge."""
    batch = make(counts, seed, torch.float64)
    generator = torch.Generator().manual_seed(seed)
    mass = torch.rand(len(batch.x), generator=generator, dtype=torch.float64)
    p4 = batch.p4.clone()
    p4[:, 0] = (p4[:, 1:].square().sum(1) + (0 if massless else mass.square())).sqrt()
    charge = torch.randint(-1, 2, (len(p4), 1), generator=generator).double()
    x = torch.cat([p4[:, 1:3].norm(dim=1, keepdim=True).log(), charge], dim=1)
    return make_batch(x, batch.ptr, p4=p4, pos=batch.pos, y=batch.y, weight=batch.weight)


def build(**arguments) -> LorentzNet:
    torch.manual_seed(5)
    tagger = LorentzNet(FEATURES, CLASSES, **arguments).double()
    for module in tagger.modules():
        # From the published beginning, momenta would hardly move.
        if isinstance(module, torch.nn.Linear) and module.out_features == 1:
            torch.nn.init.xavier_uniform_(module.weight, gain=0.1)
    for seed in range(20):
        tagger(batch_of([20, 30], seed=20 + seed))
    return tagger.eval()


def transformed(batch: Batch, change, massless: bool = False) -> Batch:
    """The batch with its momenta changed by the package vector."""
    energy, px, py, pz = batch.p4.numpy().T
    after = change(vector.array({"px": px, "py": py, "pz": pz, "E": energy}))
    # The rounding of a boost gives a mass of 1e-8 E; what is massless stays so.
    energy = after.mag if massless else after.E
    p4 = torch.from_numpy(np.stack([energy, after.px, after.py, after.pz], axis=1))
    # What is no scalar may do as it likes.
    x = batch.x.clone()
    x[:, 0] = torch.from_numpy(np.log(after.pt))
    return make_batch(x, batch.ptr, p4=p4, pos=batch.pos, y=batch.y, weight=batch.weight)


def random_lorentz(rng: np.random.Generator):
    """A rotation, a boost and a rotation."""
    angles, beta = rng.uniform(-math.pi, math.pi, 2), math.tanh(rng.uniform(0, 1.5))
    x, y, z = beta * (direction := rng.normal(size=3)) / np.linalg.norm(direction)
    boost = vector.obj(x=x, y=y, z=z)
    return lambda p: p.rotateZ(angles[0]).boost(boost).rotateX(angles[1])


def test_it_has_as_many_parameters_as_published() -> None:
    def count(**arguments) -> int:
        return sum(p.numel() for p in LorentzNet(Features(), CLASSES, **arguments).parameters())

    assert count() == 224_072
    # A scalar less or more: in the embedding, and in phi_h of each of six blocks.
    assert count(spurions=()) == 224_072 - 7 * 72
    assert count(scalars=["log_pt"]) == 224_072 + 7 * 72


@pytest.mark.parametrize("massless", [False, True])
def test_without_beams_scores_are_lorentz_invariant(massless: bool) -> None:
    tagger = build(spurions=(), scalars=["charge"])
    batch = batch_of([0, 1, 2, 5, 20, 40], massless=massless)
    rng = np.random.default_rng(1)
    with torch.no_grad():
        expected = tagger(batch)
        for _ in range(10):
            got = tagger(transformed(batch, random_lorentz(rng), massless))
            assert (got - expected).abs().max() < 1e-10


@pytest.mark.parametrize("massless", [False, True])
def test_with_beams_scores_are_invariant_under_rotations_about_them(massless: bool) -> None:
    tagger = build()
    batch = batch_of([0, 1, 2, 5, 20, 40], massless=massless)
    with torch.no_grad():
        expected = tagger(batch)
        for angle in (0.3, 2.0, -1.0):
            turned = transformed(batch, lambda p, angle=angle: p.rotateZ(angle), massless)
            turned = tagger(turned)
            assert (turned - expected).abs().max() < 1e-10
        for boost in ("boostX", "boostZ"):
            moved = tagger(transformed(batch, lambda p, boost=boost: getattr(p, boost)(beta=0.5)))
            assert (moved - expected).abs().max() > 1e-4


def test_a_mass_that_rounding_could_have_made_counts_as_none() -> None:
    batch = batch_of([30, 60], massless=True)
    tagger = build(spurions=(), blocks=1)
    exact, rounded = batch.p4, batch.p4.float()
    scalars = []
    hook = tagger.embedding.register_forward_pre_hook(lambda _, inputs: scalars.append(inputs[0]))
    with torch.no_grad():
        for p4 in (exact, rounded):
            tagger(make_batch(batch.x, batch.ptr, p4=p4))
        assert not scalars[0].any()
        assert not scalars[1].any()
        p4 = batch_of([30, 60]).p4
        tagger(make_batch(batch.x, batch.ptr, p4=p4))
    hook.remove()
    mass = vector.array(dict(zip(("E", "px", "py", "pz"), p4.numpy().T, strict=True))).mass
    np.testing.assert_allclose(scalars[2][:, 0], np.log1p(mass), atol=1e-6)


def test_features_that_are_not_called_scalars_do_not_enter() -> None:
    tagger, batch = build(scalars=["charge"]), batch_of([10, 20])
    with torch.no_grad():
        expected = tagger(batch)
        batch.x[:, 0] += 1
        torch.testing.assert_close(tagger(batch), expected, rtol=0, atol=0)
        batch.x[:, 1] += 1
        assert (tagger(batch) - expected).abs().max() > 1e-4


def slowly(tagger: LorentzNet, batch: Batch) -> Tensor:
    """The equations (3.1) to (3.4) of the paper, pair by pair."""
    state = tagger.state_dict()

    def linear(name: str, v: Tensor) -> Tensor:
        return state[f"{name}.weight"] @ v + state.get(f"{name}.bias", 0)

    def normal(name: str, v: Tensor) -> Tensor:
        mean, var = state[f"{name}.running_mean"], state[f"{name}.running_var"]
        return (v - mean) / (var + 1e-5).sqrt() * state[f"{name}.weight"] + state[f"{name}.bias"]

    def dot(a: Tensor, b: Tensor) -> Tensor:
        return a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3]

    def psi(v: Tensor) -> Tensor:
        return torch.sign(v) * torch.log(torch.abs(v) + 1)

    def mlp(name: str, v: Tensor) -> Tensor:
        return linear(f"{name}.2", normal(f"{name}.1", linear(f"{name}.0", v)).relu())

    logits = []
    for start, stop in zip(batch.ptr[:-1], batch.ptr[1:], strict=True):
        x, s = [], []
        if tagger.spurions:
            for sign in (1, -1):
                x.append(torch.tensor([2**0.5, 0, 0, sign], dtype=torch.float64))
                s.append([0.0, *[0.0] * len(tagger.scalars), math.log(2)])
        for p, charge in zip(batch.p4[start:stop], batch.x[start:stop, 1], strict=True):
            x.append(p)
            square = float(dot(p, p))
            mass = math.copysign(math.sqrt(abs(square)), square)
            scalar = math.copysign(math.log(1 + abs(mass)), mass)
            s.append(
                [scalar, *[float(charge)] * len(tagger.scalars), *[0.0] * len(tagger.spurions)]
            )
        s = [torch.tensor(values, dtype=torch.float64) for values in s]
        h, nodes = [linear("embedding", v) for v in s], range(len(x))
        for block in range(tagger.blocks):
            name = f"layers.{block}"
            m = {}
            for i in nodes:
                for j in nodes:
                    if i != j:
                        pair = torch.stack(
                            [psi(dot(x[i] - x[j], x[i] - x[j])), psi(dot(x[i], x[j]))]
                        )
                        message = mlp(f"{name}.phi_e", torch.cat([h[i], h[j], pair])).relu()
                        m[i, j] = message * linear(f"{name}.phi_m", message).sigmoid()
            moved, updated = [], []
            for i in nodes:
                others = [j for j in nodes if j != i]
                total = sum((m[i, j] for j in others), torch.zeros(tagger.hidden).double())
                updated.append(h[i] + mlp(f"{name}.phi_h", torch.cat([h[i], total, s[i]])))
                step = torch.zeros(4, dtype=torch.float64)
                if block < tagger.blocks - 1:
                    for j in others:
                        along = linear(f"{name}.phi_x.2", linear(f"{name}.phi_x.0", m[i, j]).relu())
                        step += (x[i] - x[j]) * along.clamp(-100, 100) / len(others)
                moved.append(x[i] + tagger.coordinate_weight * step)
            x, h = moved, updated
        mean = torch.stack(h).mean(0) if h else torch.zeros(tagger.hidden).double()
        logits.append(linear("graph_dec.3", linear("graph_dec.0", mean).relu()))
    return torch.stack(logits)


@pytest.mark.parametrize("spurions", [(), ("massive_beams",)])
@pytest.mark.parametrize("scalars", [(), ("charge",)])
def test_logits_are_those_of_the_equations_pair_by_pair(spurions, scalars) -> None:
    tagger = build(spurions=spurions, scalars=scalars, hidden=12, blocks=3, coordinate_weight=0.1)
    batch = batch_of([0, 1, 2, 5, 8])
    with torch.no_grad():
        torch.testing.assert_close(tagger(batch), slowly(tagger, batch), rtol=1e-10, atol=1e-10)


def test_float32_scores_of_massless_constituents_are_near_those_of_float64() -> None:
    batch = batch_of([30, 60, 100], massless=True)
    single = make_batch(batch.x.float(), batch.ptr, p4=batch.p4.float(), y=batch.y)
    tagger = build()
    with torch.no_grad():
        expected = tagger(batch)
        got = tagger.float()(single)
    torch.testing.assert_close(got.double(), expected, rtol=0, atol=1e-3)
    tagger.train().loss(single).backward()
    assert all(p.grad.isfinite().all() for p in tagger.parameters())


def test_constituents_at_one_place_and_at_rest_have_finite_gradients() -> None:
    p4 = torch.tensor([[1.0, 0, 0, 0], [1, 0, 0, 1], [1, 0, 0, 1], [0, 0, 0, 0]])
    batch = make_batch(torch.zeros(4, 2), torch.tensor([0, 4]), p4=p4, y=torch.tensor([1]))
    tagger = LorentzNet(FEATURES, CLASSES)
    tagger.loss(batch).backward()
    assert all(p.grad.isfinite().all() for p in tagger.parameters())


def kept_bytes(tagger: LorentzNet, counts: list[int]) -> int:
    """Bytes of all storages that are kept for the backward pass."""
    kept = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = tagger.loss(make(counts))
    del loss
    return sum(kept.values())


def test_training_keeps_two_invariants_a_pair_and_block_and_nothing_else_of_pairs() -> None:
    tagger = LorentzNet(Features(), CLASSES, spurions=()).train()
    # 120 nodes each time, and three jets: 4680, 10 080 and 5280 pairs.
    even, uneven, other = (kept_bytes(tagger, c) for c in ([40] * 3, [10, 10, 100], [30, 30, 60]))
    per_pair = (uneven - even) / (10_080 - 4680)
    assert per_pair == pytest.approx(6 * 2 * 4, abs=1)
    assert other == pytest.approx(even + per_pair * (5280 - 4680), rel=1e-3)


def test_the_running_statistics_are_those_of_the_first_layer_over_all_pairs() -> None:
    tagger = LorentzNet(FEATURES, CLASSES, spurions=()).double().train()
    batch, seen = batch_of([0, 1, 2, 30, 17]), {}
    state = {name: value.clone() for name, value in tagger.state_dict().items()}
    block = tagger.layers[0]
    hook = block.register_forward_pre_hook(lambda _, inputs: seen.update(inputs=inputs))
    tagger(batch)
    hook.remove()
    pairs, x, h, _ = seen["inputs"]
    start, end = x[pairs.first], x[pairs.second]
    metric = torch.tensor([1.0, -1, -1, -1]).double()
    products = [((start - end).square() * metric).sum(1), (start * end * metric).sum(1)]
    pair = torch.stack([v.sign() * v.abs().log1p() for v in products], dim=1)
    z = (
        torch.cat([h[pairs.first], h[pairs.second], pair], dim=1)
        @ state["layers.0.phi_e.0.weight"].T
    )
    norm = torch.nn.BatchNorm1d(72).double()
    norm(z)
    for name in ("running_mean", "running_var", "num_batches_tracked"):
        got = getattr(block.phi_e[1], name)
        torch.testing.assert_close(got, getattr(norm, name), rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize("moves", [False, True])
def test_the_gradient_of_messages_is_that_of_autograd(moves: bool) -> None:
    pairs = Pairs.of(torch.tensor([0, 7, 7, 12]), 12)
    generator = torch.Generator().manual_seed(0)
    width = 5
    # Large numbers at the end, so that some movements are cut off.
    shapes = [(12, 4), (len(pairs.first), 2), (12, width), (12, width), (2, width)]
    shapes += [(width, width), (width,), (1, width), (1,)]
    shapes += [(width, width), (width,), (1, width)] * moves
    tensors = [torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes]
    if moves:
        tensors[-1] *= 100
    for tensor in tensors:
        tensor.requires_grad_()
    results = message(pairs.first, pairs.second, *tensors)
    weights = [torch.randn(r.shape, generator=generator, dtype=torch.float64) for r in results]
    used = tensors if moves else tensors[1:]
    expected = torch.autograd.grad(results[not moves :], used, weights[not moves :])
    with torch.no_grad():
        got = message_gradient(pairs.first, pairs.second, *tensors, *weights)
    if not moves:
        assert not got[0].any()
    for one, two in zip(got[-len(used) :], expected, strict=True):
        torch.testing.assert_close(one, two, rtol=1e-11, atol=1e-11)


def test_gradients_do_not_depend_on_the_blocks(monkeypatch) -> None:
    tagger = build(hidden=12, blocks=3, dropout=0.0, coordinate_weight=0.1).train()
    batch = batch_of([5, 0, 9, 20, 1, 14])
    found = []
    for size in (1, 200, 10**9):
        monkeypatch.setattr(pair_blocks, "BLOCK", size)
        tagger.zero_grad()
        tagger(batch).square().sum().backward()
        found.append([p.grad.clone() for p in tagger.parameters()])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


def test_scalars_are_features_and_blocks_one_at_least() -> None:
    with pytest.raises(ValueError, match=r"among the features \(log_pt, charge\), .* chrage"):
        LorentzNet(FEATURES, CLASSES, scalars=["chrage"])
    with pytest.raises(ValueError, match="blocks=0"):
        LorentzNet(FEATURES, CLASSES, blocks=0)
