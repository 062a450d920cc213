"""LGN: equivariance of each layer, and its equations pair by pair in complex numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.data import Batch, Features
from hepgen.taggers.lgn import LGN
from hepgen.taggers.lgn_layers import Invariants, Level, Mix, ProductOf, ScalarMLP
from hepgen.taggers.lorentz_representations import (
    Irrep,
    decompose,
    dimension,
    projector,
    representation_matrix,
    spinor_matrix,
    vector_components,
)
from hepgen.taggers.momentum_rounding import rounded_mass_squared
from hepgen.taggers.pair_blocks import Pairs
from tests.taggers.jets import CLASSES, make
from tests.taggers.test_lorentz_net import batch_of, random_lorentz, transformed

FEATURES = Features(["log_pt", "charge"])
IRREPS: list[Irrep] = [(0, 0), (1, 1), (0, 2), (2, 0), (2, 2)]
COUNTS = [0, 1, 2, 5, 20, 40]


def build(**arguments) -> LGN:
    torch.manual_seed(5)
    return LGN(FEATURES, CLASSES, **arguments).double().eval()


def state_of(nodes: int, channels: int, irreps: list[Irrep], seed: int) -> dict[Irrep, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        r: torch.randn(nodes, channels, 2, dimension(r), generator=generator, dtype=torch.float64)
        for r in irreps
    }


def moved(state: dict[Irrep, Tensor], a: np.ndarray) -> dict[Irrep, Tensor]:
    """The state after a transformation of the Lorentz group."""
    result = {}
    for irrep, h in state.items():
        matrix = torch.from_numpy(representation_matrix(a, irrep))
        after = torch.complex(h[..., 0, :], h[..., 1, :]) @ matrix.T
        result[irrep] = torch.stack([after.real, after.imag], dim=-2)
    return result


def some_transformations() -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    return [spinor_matrix(rng.normal(size=3), 0.5 * rng.normal(size=3)) for _ in range(4)]


def assert_same(got: dict[Irrep, Tensor], expected: dict[Irrep, Tensor]) -> None:
    assert got.keys() == expected.keys()
    for irrep, values in expected.items():
        scale = max(1.0, float(values.abs().max()))
        assert (got[irrep] - values).abs().max() < 1e-10 * scale, irrep


def test_it_has_as_many_parameters_as_the_published_checkpoint() -> None:
    assert sum(p.numel() for p in LGN(Features(), CLASSES).parameters()) == 6014
    narrow = LGN(Features(), CLASSES, spurions=())
    # Without beams one scalar less enters the mixing to two complex channels.
    assert sum(p.numel() for p in narrow.parameters()) == 6014 - 4


def test_mixing_and_products_are_equivariant() -> None:
    torch.manual_seed(0)
    mix = Mix(dict.fromkeys(IRREPS, 3), 4).double()
    product = ProductOf(IRREPS, IRREPS, 2)
    one, two = state_of(6, 3, IRREPS, 1), state_of(6, 3, IRREPS, 2)
    with torch.no_grad():
        for a in some_transformations():
            assert_same(mix(moved(one, a)), moved(mix(one), a))
            parts = product(moved(one, a), moved(two, a))
            expected = {r: torch.cat(found, 1) for r, found in product(one, two).items()}
            assert_same({r: torch.cat(found, 1) for r, found in parts.items()}, moved(expected, a))
    assert product.counts == {r: len(found) for r, found in product(one, two).items()}
    assert isinstance(build().levels[0].mlp, ScalarMLP)


@pytest.mark.parametrize("irreps", [IRREPS[:2], IRREPS])
def test_a_level_is_equivariant_and_its_invariants_are_invariant(irreps: list[Irrep]) -> None:
    torch.manual_seed(0)
    level = Level(irreps, 3, 2, 2, 10, 2, 2).double()
    pairs = Pairs.of(torch.tensor([0, 4, 4, 5, 12]), 12)
    h = state_of(12, 3, irreps, 1)
    invariants = Invariants(level.irreps_out)
    squares = torch.rand(len(pairs.first), dtype=torch.float64)
    p4 = torch.randn(12, 4, dtype=torch.float64)
    p = vector_components(p4)[:, None]
    with torch.no_grad():
        expected = level(pairs, squares, p, h)
        for a in some_transformations():
            got = level(pairs, squares, moved({(1, 1): p}, a)[1, 1], moved(h, a))
            assert_same(got, moved(expected, a))
            scale = float(invariants(expected).abs().max())
            assert (invariants(got) - invariants(expected)).abs().max() < 1e-10 * scale
    assert list(expected) == level.irreps_out


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
    tagger, batch = build(), batch_of(COUNTS)
    with torch.no_grad():
        expected = tagger(batch)
        for angle in (0.3, 2.0, -1.0):
            turned = tagger(transformed(batch, lambda p, angle=angle: p.rotateZ(angle)))
            assert (turned - expected).abs().max() < 1e-10
        for boost in ("boostX", "boostZ"):
            after = tagger(transformed(batch, lambda p, boost=boost: getattr(p, boost)(beta=0.5)))
            assert (after - expected).abs().max() > 1e-6


def slowly(tagger: LGN, batch: Batch) -> Tensor:
    """Pair by pair, with the products taken inside the sums, in complex numbers."""
    state = tagger.state_dict()
    beams = [[2**0.5, 0, 0, 1], [2**0.5, 0, 0, -1]] if tagger.spurions else []
    metric = torch.tensor([1.0, -1, -1, -1]).double()
    logits = []
    for start, stop in zip(batch.ptr[:-1], batch.ptr[1:], strict=True):
        p4 = torch.cat([torch.tensor(beams).double().reshape(-1, 4), batch.p4[start:stop]])
        p4 = p4 * tagger.scale
        found = torch.zeros(tagger.out.in_features).double()
        for_each_node = []
        for row, p in enumerate(p4):
            mass = (p * p * metric).sum().abs().sqrt().item()
            scalars = [0.0, mass] if row < len(beams) else [mass, 0.0]
            scalars = scalars if beams else scalars[:1]
            charge = 0.0 if row < len(beams) else float(batch.x[start + row - len(beams), 1])
            scalars += [charge] * len(tagger.scalars)
            h = {(0, 0): torch.tensor(scalars).to(torch.complex128)[:, None], (1, 1): vec(p)[None]}
            for_each_node.append(mixed(state, "mix.", tagger.mix, h))
        seen = [squares_of(h) for h in for_each_node]
        for number, level in enumerate(tagger.levels):
            name = f"levels.{number}."
            for_each_node = [
                one_node(state, name, level, tagger, p4, for_each_node, i) for i in range(len(p4))
            ]
            news = [squares_of(h) for h in for_each_node]
            seen = [torch.cat([old, new]) for old, new in zip(seen, news, strict=True)]
        for one in seen:
            found = found + torch.view_as_real(one).flatten()
        logits.append(state["out.weight"] @ found + state["out.bias"])
    return torch.stack(logits)


def vec(p: Tensor) -> Tensor:
    real, imaginary = vector_components(p)
    return torch.complex(real, imaginary)


def mixed(state, name: str, mix: Mix, h):
    weights = [state[f"{name}weights.{i}"] for i in range(len(mix.irreps))]
    return {r: torch.complex(*w) @ h[r] for r, w in zip(mix.irreps, weights, strict=True)}


def squares_of(h) -> Tensor:
    found = [h[0, 0][:, 0]]
    for irrep, values in h.items():
        if irrep != (0, 0):
            matrix = projector(irrep, irrep, (0, 0)).to(values) * dimension(irrep) ** 0.5
            found.append(torch.stack([matrix[0] @ torch.outer(v, v).flatten() for v in values]))
    return torch.cat(found)


def times(first, second, result) -> None:
    for a, u in first.items():
        for b, v in second.items():
            for c in decompose(a, b, 2):
                matrix = projector(a, b, c).to(u)
                parts = [matrix @ torch.outer(x, y).flatten() for x, y in zip(u, v, strict=True)]
                result.setdefault(c, []).append(torch.stack(parts))


def one_node(state, name: str, level: Level, tagger: LGN, p4, nodes, i: int):
    channels, metric = level.channels, torch.tensor([1.0, -1, -1, -1]).double()
    a, b, c = state[name + "bells"]
    total: dict[Irrep, Tensor] = {}
    for j, h in enumerate(nodes):
        difference = p4[i] - p4[j]
        x = (difference * difference * metric).sum().abs()
        radial = a + b / (1 + c**2 * x) if i != j else torch.zeros_like(a)
        filters = []
        for number in (0, 1):
            weight, bias = (state[f"{name}filters.{number}.{w}"] for w in ("weight", "bias"))
            filters.append(torch.view_as_complex((weight @ radial + bias).view(channels, 2)))
        edge = {(0, 0): filters[0][:, None], (1, 1): filters[1][:, None] * vec(difference)}
        # One filter after the other, as their products are counted apart.
        parts: dict[Irrep, list[Tensor]] = {}
        for irrep, values in edge.items():
            times(h, {irrep: values}, parts)
        for irrep, found in parts.items():
            total[irrep] = total.get(irrep, 0) + torch.cat(found)
    own: dict[Irrep, list[Tensor]] = {}
    times(nodes[i], nodes[i], own)
    joined = {
        r: torch.cat([total[r], *([nodes[i][r]] if r in nodes[i] else []), *own[r]]) for r in total
    }
    h = mixed(state, name + "mix.", level.mix, joined)
    x = torch.view_as_real(h[0, 0][:, 0]).flatten()
    for number in range(len(level.mlp.linear)):
        x = torch.nn.functional.leaky_relu(x, 0.01) if number else x
        weight, bias = (state[f"{name}mlp.linear.{number}.{w}"] for w in ("weight", "bias"))
        x = weight @ x + bias
    h[0, 0] = torch.view_as_complex(x.view(-1, 2))[:, None]
    return h


@pytest.mark.parametrize("spurions", [(), ("massive_beams",)])
@pytest.mark.parametrize("scalars", [(), ("charge",)])
def test_logits_are_those_of_the_equations_pair_by_pair(spurions, scalars) -> None:
    tagger = build(spurions=spurions, scalars=scalars, channels=(2, 3, 2), radial=6)
    batch = batch_of([0, 1, 2, 6])
    with torch.no_grad():
        torch.testing.assert_close(tagger(batch), slowly(tagger, batch), rtol=1e-10, atol=1e-10)


def test_training_keeps_one_number_a_pair() -> None:
    tagger = LGN(Features(), CLASSES, spurions=()).train()

    def kept_bytes(counts: list[int]) -> int:
        kept = {}

        def note(tensor: Tensor) -> Tensor:
            storage = tensor.untyped_storage()
            kept[storage.data_ptr()] = storage.nbytes()
            return tensor

        with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
            loss = tagger.loss(make(counts))
        del loss
        return sum(kept.values())

    even, uneven, other = (kept_bytes(counts) for counts in ([40] * 3, [10, 10, 100], [30, 30, 60]))
    per_pair = (uneven - even) / (10_080 - 4680)
    assert per_pair == pytest.approx(4, abs=0.5)
    assert other == pytest.approx(even + per_pair * (5280 - 4680), rel=1e-3)


def test_a_mass_that_rounding_could_have_made_counts_as_none() -> None:
    exact = batch_of([30], massless=True).p4
    for p4, given in ((exact, torch.float64), (exact.float().double(), torch.float32)):
        assert not rounded_mass_squared(p4, given).any()
    heavy = torch.tensor([[5.0, 0, 0, 3]], dtype=torch.float64)
    assert rounded_mass_squared(heavy, torch.float32).tolist() == [16]


def test_wrong_arguments_are_refused() -> None:
    with pytest.raises(ValueError, match=r"among the features \(log_pt, charge\), .* chrage"):
        LGN(FEATURES, CLASSES, scalars=["chrage"])
    with pytest.raises(ValueError, match="two channels or more"):
        LGN(FEATURES, CLASSES, channels=(2,))
    with pytest.raises(ValueError, match="no spurion 'beam'; nearest: beams"):
        LGN(FEATURES, CLASSES, spurions=["beam"])
