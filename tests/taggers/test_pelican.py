"""PELICAN: its symmetry, its equations in dense form, and pelican-lite's maps."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from pelican.layers import Aggregator1to2, Aggregator2to0, Aggregator2to2
from torch import Tensor
from torch.nn.functional import leaky_relu

from hepgen.data import Batch, Features, make_batch
from hepgen.taggers import pair_blocks
from hepgen.taggers.pair_blocks import Pairs
from hepgen.taggers.pair_norm import Moments, scale_and_shift
from hepgen.taggers.pelican import PELICAN
from hepgen.taggers.pelican_layers import (
    Aggregate1to2,
    Aggregate2to0,
    Aggregate2to2,
    Pooled,
    mix,
    pool,
    spread,
)
from hepgen.taggers.spurion_nodes import SpurionNodes
from tests.taggers.jets import CLASSES, make
from tests.taggers.test_lorentz_net import batch_of, random_lorentz, transformed

FEATURES = Features(["log_pt", "charge"])
COUNTS = [0, 1, 2, 5, 20, 40]


def build(**arguments) -> PELICAN:
    torch.manual_seed(5)
    tagger = PELICAN(FEATURES, CLASSES, **arguments).double()
    for seed in range(20):
        tagger(batch_of([20, 30], seed=20 + seed))
    return tagger.eval()


@pytest.mark.parametrize(("widths", "published"), [((132, 78), 208), ((60, 35), 48)])
def test_it_has_as_many_parameters_as_published(widths, published) -> None:
    hidden, message = widths
    tagger = PELICAN(Features(), CLASSES, hidden=hidden, message=message)
    count = sum(p.numel() for p in tagger.parameters())
    assert count // 1000 == published
    # Counted by hand from the recipe: message layers, maps to pairs, those to the jet, the encoder,
    # labels and the last layer.
    messages = 6 * (hidden * message + message + 2 * message)
    maps = 5 * (15 * (message + hidden) + 2 * message * hidden + 2 * hidden + 10 * message)
    to_jet = 2 * message * hidden + hidden + 2 * message
    labels = 5 * (2 + 10) + 2 * 2 * 10 + 10 + 5 * 2
    assert count == messages + maps + to_jet + 3 * (hidden - 10) + labels + 2 * hidden + 2


@pytest.mark.parametrize("massless", [False, True])
def test_without_spurions_scores_are_lorentz_invariant(massless: bool) -> None:
    tagger = build(spurions=(), scalars=["charge"])
    batch = batch_of(COUNTS, massless=massless)
    rng = np.random.default_rng(1)
    with torch.no_grad():
        expected = tagger(batch)
        for _ in range(5):
            got = tagger(transformed(batch, random_lorentz(rng), massless))
            assert (got - expected).abs().max() < 1e-10


def test_with_beams_scores_are_invariant_under_rotations_about_them() -> None:
    tagger = build(hidden=30, message=20, blocks=2)
    batch = batch_of(COUNTS)
    with torch.no_grad():
        expected = tagger(batch)
        for angle in (0.3, 2.0, -1.0):
            turned = tagger(transformed(batch, lambda p, angle=angle: p.rotateZ(angle)))
            assert (turned - expected).abs().max() < 1e-10
        for boost in ("boostX", "boostZ"):
            moved = tagger(transformed(batch, lambda p, boost=boost: getattr(p, boost)(beta=0.5)))
            assert (moved - expected).abs().max() > 1e-6


def densely(tagger: PELICAN, batch: Batch) -> Tensor:
    """Logits jet by jet, every map written as an n x n matrix, as section 3 of the paper has it."""
    state = tagger.state_dict()
    vectors = {"beams": [[1, 0, 0, 1], [1, 0, 0, -1]], "time": [[1, 0, 0, 0]]}
    extra = [(v, k) for k, name in enumerate(tagger.spurions) for v in vectors[name]]
    logits = []
    for start, stop in zip(batch.ptr[:-1], batch.ptr[1:], strict=True):
        p4 = torch.cat(
            [torch.tensor([v for v, _ in extra]).double().reshape(-1, 4), batch.p4[start:stop]]
        )
        n = len(p4)
        labels = torch.zeros(
            n, bool(extra) * (1 + len(tagger.spurions)) + len(tagger.scalars)
        ).double()
        for row in range(n):
            if extra:
                labels[row, 1 + extra[row][1] if row < len(extra) else 0] = 1
            if tagger.scalars and row >= len(extra):
                labels[row, -1] = batch.x[start + row - len(extra), 1]
        if n == 0:
            jet = torch.zeros(2, tagger.message).double()
            logits.append(head(state, jet, 1, tagger.average))
            continue
        metric = torch.diag(torch.tensor([1.0, -1, -1, -1]).double())
        v = (p4 @ metric @ p4.T)[..., None] * state["expand.weight"][:, 0] + state["expand.bias"]
        power = state["alphas"] ** 2 + 1e-6
        t = torch.sign(v) * ((1 + v.abs()) ** power - 1) / power
        if labels.shape[1]:
            mean = labels.mean(0).expand(n, -1)
            eye, ones = torch.eye(n).double(), torch.ones(n, n).double()
            maps = [
                torch.einsum("ij,ic->ijc", eye, labels),
                torch.einsum("ij,jc->ijc", ones, labels),
                torch.einsum("ij,ic->ijc", ones, labels),
                torch.einsum("ij,ic->ijc", eye, mean),
                torch.einsum("ij,ic->ijc", ones, mean),
            ]
            k = factorised(state, "labels.")
            scale = (n / tagger.average) ** state["labels.alphas"]
            spreads = sum(
                m * s @ k[..., b] for b, (m, s) in enumerate(zip(maps, scale, strict=True))
            )
            t = torch.cat([t, leaky_relu(spreads + state["labels.bias"])], dim=-1)
        for block in range(tagger.blocks):
            t = normal(state, block, message(state, block, t))
            k, name = factorised(state, f"aggregates.{block}."), f"aggregates.{block}."
            new = (
                state[name + "bias"]
                + torch.eye(n).double()[..., None] * state[name + "diagonal_bias"]
            )
            for b, made in enumerate(fifteen(t)):
                scale = (n / tagger.average) ** state[name + "alphas"][b - 5] if b >= 5 else 1
                new = new + (made * scale) @ k[..., b]
            t = leaky_relu(new)
        t = normal(state, tagger.blocks, message(state, tagger.blocks, t))
        jet = torch.stack([t.mean((0, 1)), torch.einsum("iic->c", t) / n])
        logits.append(head(state, jet, n, tagger.average))
    return torch.stack(logits)


def factorised(state, name: str) -> Tensor:
    a, b, c, d = (state[f"{name}coefs{digits}"] for digits in ("00", "10", "01", "11"))
    return torch.einsum("db,ds->dsb", a, b) + torch.einsum("sb,ds->dsb", c, d)


def message(state, block: int, t: Tensor) -> Tensor:
    return leaky_relu(t @ state[f"messages.{block}.weight"].T + state[f"messages.{block}.bias"])


def normal(state, block: int, t: Tensor) -> Tensor:
    name = f"norms.{block}."
    deviation = (state[name + "running_var"] + 1e-5).sqrt()
    return (t - state[name + "running_mean"]) / deviation * state[name + "weight"] + state[
        name + "bias"
    ]


def head(state, jet: Tensor, n: int, average: float) -> Tensor:
    jet = leaky_relu(jet * (n / average) ** state["to_jet.alphas"])
    latent = torch.einsum("bd,bds->s", jet, state["to_jet.coefs"]) + state["to_jet.bias"]
    return state["out.weight"] @ latent + state["out.bias"]


def fifteen(t: Tensor) -> list[Tensor]:
    """The maps of (n, n, C), in the order of the published program."""
    n = len(t)
    eye, ones = torch.eye(n).to(t), torch.ones(n, n).to(t)
    diagonal, row, column = torch.einsum("iic->ic", t), t.mean(1), t.mean(0)
    trace, total = diagonal.mean(0).expand(n, -1), t.mean((0, 1)).expand(n, -1)

    def at(where: str, values: Tensor) -> Tensor:
        return torch.einsum(
            {"diagonal": "ij,ic->ijc", "first": "ij,ic->ijc", "second": "ij,jc->ijc"}[where],
            eye if where == "diagonal" else ones,
            values,
        )

    return [
        t,
        t.transpose(0, 1),
        at("diagonal", diagonal),
        at("second", diagonal),
        at("first", diagonal),
        at("diagonal", column),
        at("second", column),
        at("first", column),
        at("diagonal", row),
        at("second", row),
        at("first", row),
        at("first", trace),
        at("diagonal", trace),
        at("first", total),
        at("diagonal", total),
    ]


@pytest.mark.parametrize("spurions", [(), ("beams",), ("beams", "time")])
@pytest.mark.parametrize("scalars", [(), ("charge",)])
def test_logits_are_those_of_the_equations_in_dense_form(spurions, scalars) -> None:
    tagger = build(
        spurions=spurions, scalars=scalars, hidden=14, message=9, blocks=3, scalar_channels=4
    )
    with torch.no_grad():
        for module in (tagger.labels, *tagger.aggregates):
            if module is not None:
                module.bias.normal_()
                module.alphas.uniform_()
        for aggregate in tagger.aggregates:
            aggregate.diagonal_bias.normal_()
        batch = batch_of([0, 1, 2, 5, 8, 200])
        torch.testing.assert_close(tagger(batch), densely(tagger, batch), rtol=1e-10, atol=1e-10)


def pairs_of(counts: list[int]) -> tuple[Pairs, Tensor]:
    pairs = Pairs.of(torch.tensor([0, *np.cumsum(counts)]), sum(counts), loops=True)
    jet = torch.repeat_interleave(torch.tensor(counts))
    return pairs, jet


# Our maps in the order of pelican-lite. Its mean of the trace runs over all pairs, ours over nodes.
ORDER = [0, 1, 2, 4, 3, 5, 8, 7, 6, 10, 9, 11, 12, 13, 14]


def lite_layer(cls, coefficients: Tensor):
    """A layer of pelican-lite with coefficients (in, out, maps)."""
    made = cls(
        *coefficients.shape[:2], map_multipliers=False, factorize=False, aggr="mean"
    ).double()
    with torch.no_grad():
        # It reads its parameter (in, out, maps) as if it were (out, in, maps).
        made.coeffs_direct.copy_(coefficients.transpose(0, 1).reshape(coefficients.shape))
    return made


def test_the_maps_between_pairs_are_those_of_pelican_lite() -> None:
    counts = [1, 2, 7, 30, 200]
    pairs, jet = pairs_of(counts)
    torch.manual_seed(0)
    ours = Aggregate2to2(6, 5, average=1.0).double()
    z = torch.randn(len(pairs.first), 6).double()
    with torch.no_grad():
        ours.alphas.zero_()
        k = ours.coefficients()  # (15, C, S)
        p, q, d = ours(pairs, pool(pairs, pairs.diagonal(), z))
        edges = torch.stack([pairs.first, pairs.second])
        a = leaky_relu(z)
        rest = spread(*edges, pairs.diagonal(), p, q, d)
        got = a @ k[0] + a[pairs.flip()] @ k[1] + rest
        expected = torch.zeros_like(got)
        n = pairs.counts[pairs.first, None]
        for place, number in enumerate(ORDER):
            alone = torch.zeros(6, 5, 15).double()
            alone[:, :, place] = k[number]
            result = lite_layer(Aggregator2to2, alone)(a, edges, jet)
            expected += result * n if number in (11, 12) else result
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_the_maps_to_the_jet_and_from_labels_are_those_of_pelican_lite() -> None:
    counts = [1, 2, 7, 30]
    pairs, jet = pairs_of(counts)
    edges = torch.stack([pairs.first, pairs.second])
    torch.manual_seed(0)
    z, labels = torch.randn(len(pairs.first), 6).double(), torch.randn(pairs.nodes, 3).double()
    to_jet, from_labels = Aggregate2to0(6, 5, 1.0).double(), Aggregate1to2(3, 4, 1.0).double()
    with torch.no_grad():
        to_jet.alphas.zero_()
        # What goes through the activation first has to be positive, for layers without it.
        z = z.abs()
        got = to_jet(pairs, pool(pairs, pairs.diagonal(), z))
        expected = to_jet.bias.expand_as(got)
        for place in (0, 1):
            alone = torch.zeros(6, 5, 2).double()
            alone[:, :, place] = to_jet.coefs[place]
            result = lite_layer(Aggregator2to0, alone)(z, edges, jet, G=len(counts))
            expected = expected + (result * torch.tensor(counts)[:, None] if place else result)
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)

        got = spread(*edges, pairs.diagonal(), *from_labels(pairs, labels))
        order = [0, 2, 1, 3, 4]
        k = from_labels.coefficients()[order].permute(1, 2, 0)
        # It gathers means of jets, stored in as many rows as there are pairs.
        expected = lite_layer(Aggregator1to2, k)(labels, edges, jet)
        torch.testing.assert_close(got, expected, rtol=1e-10, atol=1e-10)


def test_the_normalisation_is_that_of_torch_over_real_pairs() -> None:
    pairs, _ = pairs_of([3, 0, 20, 9])
    torch.manual_seed(0)
    z = (torch.randn(len(pairs.first), 4) * 3 + 50).double()
    ours, theirs = torch.nn.BatchNorm1d(4).double(), torch.nn.BatchNorm1d(4).double()
    pooled = pool(pairs, pairs.diagonal(), z)
    assert isinstance(pooled, Pooled)
    assert isinstance(pooled.moments, Moments)
    for _ in range(2):
        scale, shift = scale_and_shift(ours, pooled.moments)
        expected = theirs(leaky_relu(z))
        torch.testing.assert_close(leaky_relu(z) * scale + shift, expected, rtol=1e-10, atol=1e-10)
    for name, value in theirs.state_dict().items():
        torch.testing.assert_close(ours.state_dict()[name], value)


def test_gradients_do_not_depend_on_the_blocks(monkeypatch) -> None:
    tagger = build(hidden=14, message=9, blocks=2, scalar_channels=4, dropout=0.2).train()
    batch = batch_of([5, 0, 9, 20, 1, 14])
    found = []
    for size in (1, 200, 10**9):
        monkeypatch.setattr(pair_blocks, "BLOCK", size)
        torch.manual_seed(0)
        tagger.zero_grad()
        tagger(batch).square().sum().backward()
        found.append([p.grad.clone() for p in tagger.parameters()])
    for other in found[1:]:
        for one, two in zip(found[0], other, strict=True):
            torch.testing.assert_close(one, two, rtol=1e-9, atol=1e-9)


def test_dropout_takes_whole_channels_of_a_jet() -> None:
    pairs, _ = pairs_of([3, 4])
    z, nothing = torch.ones(25, 6), torch.zeros(7, 5)
    keep = torch.ones(7, 6)
    keep[:3, :2] = 0
    edges = (pairs.first, pairs.second)
    weight = torch.randn(6, 5)
    rest = (torch.zeros(6, 5), torch.eye(5), torch.zeros(5))
    (got,) = mix(*edges, z, pairs.flip(), pairs.diagonal(), *(nothing,) * 3, keep, weight, *rest)
    expected = leaky_relu((keep[pairs.first] * z) @ weight)
    torch.testing.assert_close(got, expected)


def kept_bytes(tagger: PELICAN, counts: list[int]) -> int:
    """Bytes of all storages that are kept for the backward pass."""
    kept = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    batch = make(counts)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        loss = tagger.loss(batch)
    del loss
    return sum(kept.values())


def test_memory_in_training_grows_with_the_real_pairs_alone() -> None:
    tagger = PELICAN(Features(), CLASSES, spurions=()).train()
    # 120 nodes each time, and three jets: 4800, 10040 and 5400 pairs.
    even, uneven, other = (kept_bytes(tagger, c) for c in ([40] * 3, [10, 10, 100], [30, 30, 60]))
    per_pair = (uneven - even) / (10_200 - 4800)
    # One value of each channel of six message layers, and the row of the transposed pair.
    assert per_pair == pytest.approx(6 * 78 * 4 + 8, abs=1)
    assert other == pytest.approx(even + per_pair * (5400 - 4800), rel=1e-3)


def test_spurions_stand_in_front_of_each_jet() -> None:
    batch = make([2, 0, 1])
    nodes = SpurionNodes(("time", "beams"), batch.ptr, batch.batch)
    assert nodes.ptr.tolist() == [0, 5, 8, 12]
    assert nodes.count == 12
    momenta, kinds = nodes.momenta(batch.p4), nodes.kinds(batch.p4)
    torch.testing.assert_close(momenta[[3, 4, 11]], batch.p4)
    for first in (0, 5, 8):
        assert momenta[first : first + 3, 3].tolist() == [0, 1, -1]
        assert kinds[first : first + 3].argmax(1).tolist() == [1, 2, 2]
    assert kinds[[3, 4, 11], 0].tolist() == [1, 1, 1]
    assert kinds.sum() == 12


def test_the_shift_of_massless_constituents_by_rounding_counts_as_none() -> None:
    batch = batch_of([30, 60], massless=True)
    single = make_batch(batch.x.float(), batch.ptr, p4=batch.p4.float(), y=batch.y)
    tagger = build()
    with torch.no_grad():
        torch.testing.assert_close(
            tagger.float()(single).double(), tagger.double()(batch), rtol=0, atol=1e-3
        )


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"among the features \(log_pt, charge\), .* chrage"):
        PELICAN(FEATURES, CLASSES, scalars=["chrage"])
    with pytest.raises(ValueError, match="blocks=0"):
        PELICAN(FEATURES, CLASSES, blocks=0)
    with pytest.raises(ValueError, match="no spurion 'beam'; nearest: beams"):
        PELICAN(FEATURES, CLASSES, spurions=["beam"])
