"""TopoDNN: its size, and its standard position against one found jet by jet."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.data import Batch, Features
from hepgen.taggers import TopoDNN
from hepgen.taggers.dense import to_dense
from hepgen.taggers.hardest import hardest_places
from hepgen.taggers.topo_dnn import standard_position
from tests.taggers.jets import CLASSES, make

COUNTS = [1, 2, 0, 3, 29, 30, 31, 200]


def positions(batch: Batch, places: int = 30) -> Tensor:
    rows = hardest_places(batch, places)
    return standard_position(to_dense(batch.pos, rows), rows >= 0)


def slowly(batch: Batch, jet: int, places: int = 30) -> tuple[np.ndarray, np.ndarray]:
    """Momenta and angles of one jet with complex numbers, of the constituents that it has."""
    rows = slice(int(batch.ptr[jet]), int(batch.ptr[jet + 1]))
    momentum = np.hypot(*batch.p4[rows, 1:3].numpy().T)
    order = np.argsort(-momentum)[:places]
    z = (batch.pos[rows, 0].numpy() + 1j * batch.pos[rows, 1].numpy())[order]
    z = z - z[:1]
    if len(z) > 1:
        z = z * np.exp(1j * (-np.pi / 2 - np.angle(z[1])))
    if len(z) > 2 and z[2].real < 0:
        z = -z.conj()
    return momentum[order], np.stack([z.real, z.imag], axis=1)


def test_it_has_as_many_parameters_as_published() -> None:
    # 59k with one output; hepgen has one for each class.
    tagger = TopoDNN(Features(), CLASSES)
    assert sum(p.numel() for p in tagger.parameters()) == 59_323 + 7


def test_places_hold_the_hardest_constituents() -> None:
    batch = make(COUNTS)
    rows = hardest_places(batch, 30)
    assert rows.shape == (len(COUNTS), 30)
    momentum = np.hypot(*batch.p4[:, 1:3].numpy().T)
    for jet, count in enumerate(COUNTS):
        assert (rows[jet] >= 0).sum() == min(count, 30)
        mine = np.arange(int(batch.ptr[jet]), int(batch.ptr[jet + 1]))
        expected = mine[np.argsort(-momentum[mine])][:30]
        np.testing.assert_array_equal(rows[jet][: len(expected)], expected)


def test_standard_position_is_that_of_complex_numbers() -> None:
    batch = make(COUNTS, dtype=torch.float64)
    got = positions(batch).numpy()
    for jet in range(len(COUNTS)):
        _, expected = slowly(batch, jet)
        np.testing.assert_allclose(got[jet, : len(expected)], expected, atol=1e-14)
        assert (got[jet, len(expected) :] == 0).all()


def test_the_three_hardest_are_where_they_should_be() -> None:
    got = positions(make([3, 40, 200], dtype=torch.float64))
    assert (got[:, 0] == 0).all()
    assert got[:, 1, 0].abs().max() < 1e-15
    assert (got[:, 1, 1] < 0).all()
    assert (got[:, 2, 0] > 0).all()


@pytest.mark.parametrize("by", [0.4, np.pi / 2, 3.0, 5.5])
@pytest.mark.parametrize("mirror", [1.0, -1.0])
def test_logits_do_not_depend_on_how_the_jet_lies(by, mirror) -> None:
    torch.manual_seed(0)
    tagger = TopoDNN(Features(), CLASSES).double()
    batch = make(COUNTS, dtype=torch.float64)
    expected = tagger(batch)
    cos, sin = np.cos(by), np.sin(by)
    turn = torch.tensor([[cos, sin], [-sin, cos]], dtype=torch.float64)
    mirrored = batch.pos * torch.tensor([mirror, 1.0], dtype=torch.float64)
    batch.pos = mirrored @ turn + torch.tensor([0.3, -0.2], dtype=torch.float64)
    assert float((tagger(batch) - expected).detach().abs().max()) < 1e-10


def test_its_logits_are_those_of_matrix_products_in_numpy() -> None:
    tagger = TopoDNN(Features(), CLASSES).double()
    batch = make(COUNTS, dtype=torch.float64)
    state = {name: tensor.numpy() for name, tensor in tagger.state_dict().items()}
    expected = []
    for jet in range(len(COUNTS)):
        momentum, angles = slowly(batch, jet)
        x = np.zeros((30, 3))
        x[: len(momentum)] = np.column_stack([momentum / 1700, angles])
        x = x.ravel()
        for name in ("layers.0", "layers.2", "layers.4", "layers.6"):
            x = np.maximum(state[f"{name}.weight"] @ x + state[f"{name}.bias"], 0)
        expected.append(state["out.weight"] @ x + state["out.bias"])
    with torch.no_grad():
        np.testing.assert_allclose(tagger(batch), expected, rtol=1e-12)


def test_constituents_in_the_same_place_turn_nothing() -> None:
    angles = torch.tensor([[[0.1, 0.2], [0.1, 0.2], [0.0, 0.5], [0.4, 0.2]]], dtype=torch.float64)
    got = standard_position(angles, torch.ones(1, 4, dtype=torch.bool))
    expected = torch.tensor([[[0, 0], [0, 0], [0.1, 0.3], [-0.3, 0]]], dtype=torch.float64)
    torch.testing.assert_close(got, expected, rtol=0, atol=1e-15)


@pytest.mark.parametrize("wrong", [{"constituents": 2}, {"pt_scale": 0.0}])
def test_arrangements_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="needs constituents >= 3"):
        TopoDNN(Features(), CLASSES, **wrong)
