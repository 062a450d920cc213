"""The energy flow network against its description in the paper, and what makes it safe."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.data import Batch, Features, make_batch
from hepgen.taggers import EnergyFlowNetwork
from tests.taggers.jets import CLASSES, make

COUNTS = [1, 2, 0, 40, 200]


@pytest.fixture
def tagger() -> EnergyFlowNetwork:
    torch.manual_seed(0)
    return EnergyFlowNetwork(Features(), CLASSES).double().eval()


def logits(tagger: EnergyFlowNetwork, batch: Batch) -> Tensor:
    with torch.no_grad():
        result: Tensor = tagger(batch)
    return result


def repeated(batch: Batch, times: Tensor, factors: Tensor) -> Batch:
    """Each constituent some times in its place, its momentum shared out by the factors."""
    rows = torch.arange(len(times)).repeat_interleave(times)
    counts = torch.zeros(batch.num_graphs, dtype=torch.int64).index_add(0, batch.batch, times)
    ptr = torch.nn.functional.pad(counts.cumsum(0), (1, 0))
    return make_batch(batch.x[rows], ptr, p4=batch.p4[rows] * factors[:, None], pos=batch.pos[rows])


def test_it_has_as_many_parameters_as_its_layers_should() -> None:
    tagger = EnergyFlowNetwork(Features(), CLASSES)
    # Published as 82k: 2-100-100-256 and 256-100-100-100-2, with biases.
    widths = [(2, 100), (100, 100), (100, 256), (256, 100), (100, 100), (100, 100), (100, 2)]
    assert sum(p.numel() for p in tagger.parameters()) == sum((i + 1) * o for i, o in widths)
    assert sum(p.numel() for p in tagger.parameters()) == 82_358


def test_its_logits_are_those_of_matrix_products_in_numpy(tagger: EnergyFlowNetwork) -> None:
    batch = make(COUNTS, dtype=torch.float64)
    state = {name: tensor.numpy() for name, tensor in tagger.state_dict().items()}

    def layer(x, name):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    expected = []
    for jet in range(len(COUNTS)):
        rows = slice(batch.ptr[jet], batch.ptr[jet + 1])
        r, p4 = batch.pos[rows].numpy(), batch.p4[rows].numpy()
        z = np.hypot(p4[:, 1], p4[:, 2])
        z = z / z.sum() if len(z) else z
        hidden = r - np.einsum("i,ij->j", z, r)
        for name in ("phi.0", "phi.2", "phi.4"):
            hidden = np.maximum(layer(hidden, name), 0)
        hidden = z @ hidden
        for name in ("f.0", "f.2", "f.4"):
            hidden = np.maximum(layer(hidden, name), 0)
        expected.append(layer(hidden, "out"))
    np.testing.assert_allclose(logits(tagger, batch), expected, rtol=1e-11, atol=1e-11)


def test_constituents_without_energy_change_nothing(tagger: EnergyFlowNetwork) -> None:
    batch = make([1, 2, 40, 200], dtype=torch.float64)
    times = torch.full((len(batch.x),), 3)
    factors = torch.tensor([0.0, 1.0, 0.0], dtype=torch.float64).repeat(len(batch.x))
    softer = repeated(batch, times, factors)
    # Anywhere in the plane.
    soft = factors == 0
    softer.pos[soft] = torch.rand_like(softer.pos[soft]) - 0.5
    difference = logits(tagger, softer) - logits(tagger, batch)
    assert float(difference.abs().max()) < 1e-10


def test_what_is_left_of_soft_constituents_shrinks_with_their_energy(
    tagger: EnergyFlowNetwork,
) -> None:
    batch = make([40, 200], dtype=torch.float64)
    changes = []
    for energy in (1e-3, 1e-6):
        times = torch.full((len(batch.x),), 2)
        factors = torch.tensor([1.0, energy], dtype=torch.float64).repeat(len(batch.x))
        softer = repeated(batch, times, factors)
        softer.pos[1::2] += 0.3
        changes.append(float((logits(tagger, softer) - logits(tagger, batch)).abs().max()))
    assert changes[1] < 1.1e-3 * changes[0]


def test_splitting_constituents_into_parallel_ones_changes_nothing(
    tagger: EnergyFlowNetwork,
) -> None:
    batch = make(COUNTS, dtype=torch.float64)
    generator = torch.Generator().manual_seed(0)
    share = torch.rand(len(batch.x), generator=generator, dtype=torch.float64)
    split = repeated(
        batch, torch.full((len(share),), 2), torch.stack([share, 1 - share], dim=1).flatten()
    )
    difference = logits(tagger, split) - logits(tagger, batch)
    assert float(difference.abs().max()) < 1e-10


def test_its_logits_do_not_depend_on_features_or_on_where_the_axis_is(
    tagger: EnergyFlowNetwork,
) -> None:
    batch = make(COUNTS, dtype=torch.float64)
    expected = logits(tagger, batch)
    batch.x, batch.pos, batch.p4 = 2 * batch.x, batch.pos + 0.1, 3 * batch.p4
    assert float((logits(tagger, batch) - expected).abs().max()) < 1e-10


def test_its_logits_come_from_the_latent_vector_of_each_constituent(
    tagger: EnergyFlowNetwork,
) -> None:
    batch = make(COUNTS, dtype=torch.float64)
    latents = tagger.latents(batch)
    assert latents.shape == (sum(COUNTS), tagger.latent_width)
    torch.testing.assert_close(tagger.pooled(latents, batch), tagger(batch), rtol=0, atol=0)


def test_without_a_layer_of_phi_it_is_refused() -> None:
    with pytest.raises(ValueError, match="one layer of phi"):
        EnergyFlowNetwork(Features(), CLASSES, phi_channels=())
