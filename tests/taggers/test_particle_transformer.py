"""The particle transformer against weaver-core's, with the same weights."""

from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from hepgen.data import Batch, Features, PackedJets, make_batch
from hepgen.io import read
from hepgen.taggers.interaction_transformer import ConstituentEmbedding, InteractionTransformer
from hepgen.taggers.particle_transformer import ParticleTransformer, from_weaver_state
from tests.taggers.jets import CLASSES, make

TEN = [f"class{i}" for i in range(10)]
SMALL: dict[str, Any] = {"num_layers": 2, "embed_dims": (24, 48, 32), "pair_embed_dims": (16, 12)}
OURS: dict[str, Any] = {"num_blocks": 2, "embed_channels": (24, 48, 32), "pair_channels": (16, 12)}


@pytest.fixture(scope="module")
def weaver() -> Any:
    pytest.importorskip("weaver", reason="needs weaver-core: pip install 'hepgen[bench]'")
    from tests.taggers import weaver_transformer

    return weaver_transformer


def randomised(model: nn.Module, seed: int = 0) -> nn.Module:
    """Vectors of weights and running statistics as after some training."""
    generator = torch.Generator().manual_seed(seed)
    for name, tensor in model.state_dict().items():
        if name.endswith("running_var"):
            tensor.copy_(torch.rand(tensor.shape, generator=generator) + 0.5)
        elif tensor.is_floating_point() and tensor.ndim == 1:
            tensor.add_(0.3 * torch.randn(tensor.shape, generator=generator))
    return model


def both(weaver: Any, theirs: dict[str, Any], ours: dict[str, Any]) -> tuple[Any, Any]:
    torch.manual_seed(0)
    reference = randomised(weaver.WeaverTransformer(7, 2, **theirs))
    tagger = ParticleTransformer(Features(), CLASSES, **ours)
    tagger.load_state_dict(from_weaver_state(reference.state_dict()))
    return reference.eval(), tagger.eval()


def evaluated(model: nn.Module, *arguments: Any) -> Tensor:
    with torch.no_grad():
        logits: Tensor = model.eval()(*arguments)
    return logits


def assert_same(ours: nn.Module, theirs: nn.Module, batch: Batch, length: int = 0) -> None:
    """Equal within 1e-5 of the largest logit in float32 and 1e-9 in float64."""
    double = make_batch(batch.x.double(), batch.ptr, p4=batch.p4.double())
    ours64, theirs64 = copy.deepcopy(ours).double(), copy.deepcopy(theirs).double()
    for got, expected, tolerance in (
        (evaluated(ours, batch), evaluated(theirs, batch, length), 1e-5),
        (evaluated(ours64, double), evaluated(theirs64, double, length), 1e-9),
    ):
        assert expected.isfinite().all()
        assert (got - expected).abs().max() < tolerance * expected.abs().max()


@pytest.mark.parametrize(
    ("features", "classes", "parameters"),
    [("kinematics", CLASSES, 2_141_134), ("full", TEN, 2_143_486)],
)
def test_it_has_as_many_parameters_as_published(features, classes, parameters) -> None:
    tagger = ParticleTransformer(Features(features), classes)
    assert isinstance(tagger, InteractionTransformer)
    assert sum(p.numel() for p in tagger.parameters()) == parameters


def test_names_of_parameters_are_those_of_weaver(weaver) -> None:
    theirs = weaver.WeaverTransformer(7, 2).state_dict()
    ours = ParticleTransformer(Features(), CLASSES).state_dict()
    assert {"mod." + name for name in ours} == set(theirs)


@pytest.mark.parametrize("pre_activation", [False, True])
@pytest.mark.parametrize("length", [0, 230])
def test_logits_are_those_of_weaver_for_jets_of_every_multiplicity(
    pre_activation, length, weaver
) -> None:
    settings = {"use_pre_activation_pair": pre_activation}
    theirs, ours = both(weaver, SMALL | settings, OURS | settings)
    assert_same(ours, theirs, make([*range(1, 60), *range(60, 201, 7)]), length)


def test_logits_at_the_published_size_are_those_of_weaver(weaver) -> None:
    theirs, ours = both(weaver, {}, {})
    assert_same(ours, theirs, make([1, 2, 3, 30, 64, 100, 200]), 210)


@pytest.mark.parametrize(
    ("file", "count"),
    [("sophon_JetClassII_example.root", 100), ("timlegge_quarkgluon_2000.root", 100)],
)
def test_logits_of_real_jets_are_those_of_weaver(file, count, real_data, weaver) -> None:
    theirs, ours = both(weaver, SMALL, OURS)
    packed = PackedJets.pack(read(real_data / "root" / file)[:count], Features())
    assert_same(ours, theirs, packed.batch(slice(None)))


def test_weights_of_weaver_0_4_need_their_heads_transposed(weaver) -> None:
    theirs, ours = both(weaver, SMALL, OURS | {"head_transpose": True})
    batch = make([1, 5, 20, 40])
    newer = evaluated(theirs, batch)
    theirs = weaver.as_in_0_4(theirs)
    assert_same(ours, theirs, batch)
    # Nothing in the weights tells which of the two is right, and it matters.
    assert (evaluated(theirs, batch) - newer).abs().max() > 0.1


def test_names_of_weights_from_before_0_5_are_understood() -> None:
    old = {
        "module.mod.blocks.0.attn.in_proj_weight": torch.ones(3, 1),
        "mod.blocks.0.attn.in_proj_bias": torch.ones(3),
        "mod.pair_embed.embed.1.weight": torch.ones(4, 2, 1),
        "mod.cls_token": torch.ones(1, 1, 5),
    }
    new = from_weaver_state(old)
    assert {name: tuple(tensor.shape) for name, tensor in new.items()} == {
        "blocks.0.attn.in_proj.weight": (3, 1),
        "blocks.0.attn.in_proj.bias": (3,),
        "pair_embed.embed.1.weight": (4, 2),
        "cls_token": (1, 1, 5),
    }


@pytest.mark.parametrize(
    ("counts", "frozen"),
    [([40] * 6, False), ([3, 40, 1, 25, 60], True)],
    ids=["unpadded", "padded"],
)
def test_gradients_of_training_are_those_of_weaver(counts, frozen, weaver) -> None:
    # weaver's normalisation of the features counts padding as well: there it stands still.
    none = {"dropout": 0, "attn_dropout": 0, "activation_dropout": 0}
    theirs, ours = both(weaver, SMALL | {"block_params": none}, OURS | {"dropout": 0.0})
    theirs, ours = theirs.double().train(), ours.double().train()
    if frozen:
        theirs.mod.embed.input_bn.eval()
        ours.embed.input_bn.eval()
    batch = make(counts, dtype=torch.float64)
    x, momenta, mask = weaver.padded(batch)
    # Without a gradient wanted here weaver computes none at all.
    theirs.mod(x.clone().requires_grad_(), momenta, mask).square().sum().backward()
    ours(batch).square().sum().backward()
    expected = from_weaver_state({n: p.grad for n, p in theirs.named_parameters()})
    for name, parameter in ours.named_parameters():
        scale = float(expected[name].abs().max())
        # A bias before a normalisation has no effect: its gradient is rounding.
        torch.testing.assert_close(
            parameter.grad, expected[name], rtol=1e-8, atol=1e-9 * scale + 1e-9
        )
    after = from_weaver_state(theirs.state_dict())
    for name, value in ours.state_dict().items():
        torch.testing.assert_close(value, after[name], rtol=1e-9, atol=1e-9)


def test_groups_of_jets_give_what_all_at_once_give() -> None:
    torch.manual_seed(0)
    tagger = randomised(ParticleTransformer(Features(), CLASSES, **OURS)).double().eval()
    batch = make([0, 30, 2, 80, 0, 31, 64, 1] * 8, dtype=torch.float64)
    results = []
    for rows in (1, 100, 10_000):
        tagger.group_rows = rows  # type: ignore[misc]
        results.append(evaluated(tagger, batch))
    for other in results[1:]:
        torch.testing.assert_close(other, results[0], rtol=1e-10, atol=1e-12)


def test_weights_begin_as_those_of_weaver(weaver) -> None:
    torch.manual_seed(0)
    theirs = from_weaver_state(weaver.WeaverTransformer(7, 2).state_dict())
    for name, ours in ParticleTransformer(Features(), CLASSES).state_dict().items():
        if ours.is_floating_point() and ours.numel() > 500:
            assert float(ours.std()) == pytest.approx(float(theirs[name].std()), rel=0.15), name
        if name.endswith("bias") and not name.startswith("pair_embed"):
            assert (ours == theirs[name]).all(), name


def test_constituents_are_embedded_one_by_one() -> None:
    embedding = ConstituentEmbedding(3, (5, 4)).eval()
    x = torch.randn(6, 3)
    torch.testing.assert_close(embedding(x)[2:3], embedding(x[2:3]))
    assert embedding(x).shape == (6, 4)


@pytest.mark.parametrize("wrong", [{"trim": 0.0}, {"trim": 1.5}, {"heads": 3}])
def test_arrangements_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="should be"):
        ParticleTransformer(Features(), CLASSES, **wrong)


def test_trimming_changes_training_alone() -> None:
    torch.manual_seed(0)
    tagger = ParticleTransformer(Features(), CLASSES, dropout=0.0, trim=0.5, **OURS)
    batch = make([10, 20, 30, 40])
    first = tagger(batch)
    assert any((tagger(batch) - first).abs().max() > 1e-6 for _ in range(5))
    tagger.eval()
    torch.testing.assert_close(tagger(batch), tagger(batch), rtol=0, atol=0)
