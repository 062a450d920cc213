"""The interaction network against torch_geometric's message passing and a plain loop."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from torch import Tensor
from torch_geometric.nn import MessagePassing, global_add_pool

from hepgen.data import Batch, Features, all_pairs
from hepgen.taggers.interaction_network import InteractionNetwork
from tests.taggers.jets import CLASSES, make

COUNTS = [0, 1, 2, 3, 17, 60, 200, 0]


def count(features: int, **arguments) -> int:
    names = Features("full").names[:features]
    tagger = InteractionNetwork(Features(names), CLASSES, **arguments)
    return sum(p.numel() for p in tagger.parameters())


def test_it_has_as_many_parameters_as_its_widths_make() -> None:
    def layers(*widths: int) -> int:
        return sum((before + 1) * after for before, after in pairwise(widths))

    def expected(features: int, vertices: int = 0) -> int:
        effects = 20 * (1 + bool(vertices))
        relations = layers(2 * features, 60, 30, 20)
        relations += layers(features + vertices, 60, 30, 20) if vertices else 0
        return relations + layers(features + effects, 60, 30, 24) + layers(24, 2)

    assert count(7) == expected(7) == 7654
    assert count(3) == expected(3)
    # As published, with 30 features of tracks and 14 of secondary vertices.
    assert expected(30, 14) == 18_144


class Geometric(MessagePassing):
    """The same network on torch_geometric's engine."""

    def __init__(self, tagger: InteractionNetwork) -> None:
        super().__init__(aggr="add")
        self.tagger = tagger

    def forward(self, jets: Batch) -> Tensor:
        effects = self.propagate(all_pairs(jets.ptr), x=jets.x, size=(len(jets.x),) * 2)
        objects = self.tagger.f_o(torch.cat([jets.x, effects], dim=1))
        pooled = global_add_pool(objects, jets.batch, size=len(jets.ptr) - 1)
        return self.tagger.out(self.tagger.phi_c(pooled))

    def message(self, x_i: Tensor, x_j: Tensor) -> Tensor:
        return self.tagger.f_r(torch.cat([x_i, x_j], dim=1))


@pytest.mark.parametrize("classifier", [(), (16, 8)])
def test_logits_and_gradients_are_those_of_torch_geometric(classifier) -> None:
    torch.manual_seed(2)
    ours = InteractionNetwork(Features(), CLASSES, classifier_channels=classifier).double()
    batch = make(COUNTS, dtype=torch.float64)
    got, expected = ours(batch), Geometric(ours)(batch)
    scale = float(expected.detach().abs().max())
    assert (got - expected).abs().max() < 1e-10 * scale
    gradients = [torch.autograd.grad(out.sin().sum(), ours.parameters()) for out in (got, expected)]
    for one, other in zip(*gradients, strict=True):
        assert (one - other).abs().max() <= 1e-10 * other.abs().max()


def test_logits_are_those_of_the_equation_pair_by_pair() -> None:
    torch.manual_seed(2)
    tagger = InteractionNetwork(Features(), CLASSES, (9, 4), (8, 5), (6,)).double()
    batch = make([0, 1, 2, 6], dtype=torch.float64)
    with torch.no_grad():
        got = tagger(batch)
        for number in range(4):
            x = batch.x[batch.ptr[number] : batch.ptr[number + 1]]
            total = torch.zeros(5, dtype=torch.float64)
            for i in range(len(x)):
                effect = torch.zeros(4, dtype=torch.float64)
                for j in range(len(x)):
                    effect += tagger.f_r(torch.cat([x[i], x[j]])) if i != j else 0
                total += tagger.f_o(torch.cat([x[i], effect]))
            expected = tagger.out(tagger.phi_c(total))
            assert (got[number] - expected).abs().max() < 1e-10


def test_memory_grows_with_the_real_pairs_alone() -> None:
    class Largest(torch.utils._python_dispatch.TorchDispatchMode):
        rows = 0

        def __torch_dispatch__(self, function, types, args=(), kwargs=None):
            out = function(*args, **(kwargs or {}))
            if isinstance(out, Tensor) and out.ndim == 2 and out.shape[0] > 2:
                self.rows = max(self.rows, out.shape[0])
            return out

    counts = [2, 3, 100, 0, 5]
    with Largest() as largest, torch.no_grad():
        InteractionNetwork(Features(), CLASSES)(make(counts))
    assert largest.rows == sum(n * (n - 1) for n in counts)


def test_latent_vectors_are_those_of_the_constituents() -> None:
    tagger, batch = InteractionNetwork(Features(), CLASSES), make([4, 0, 7])
    latents = tagger.latents(batch)
    assert latents.shape == (11, tagger.latent_width)
    torch.testing.assert_close(tagger.pooled(latents, batch), tagger(batch), rtol=0, atol=0)


@pytest.mark.parametrize("wrong", [{"relation_channels": ()}, {"object_channels": ()}])
def test_networks_without_layers_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="needs layers of relations and objects"):
        InteractionNetwork(Features(), CLASSES, **wrong)
