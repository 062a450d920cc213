"""Shares, centres and axes of jets against numpy, one jet at a time."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.data import Batch
from hepgen.taggers.jet_plane import along_axis, centred, pt_shares
from tests.taggers.jets import make

COUNTS = [3, 0, 1, 2, 40, 200]


@pytest.fixture
def batch() -> Batch:
    return make(COUNTS, dtype=torch.float64)


def turned(angles: Tensor, by: float) -> Tensor:
    cos, sin = np.cos(by), np.sin(by)
    return angles @ torch.tensor([[cos, sin], [-sin, cos]], dtype=angles.dtype)


def upright(batch: Batch) -> Tensor:
    shares = pt_shares(batch.p4, batch.ptr)
    return along_axis(centred(batch.pos, shares, batch.ptr), shares, batch.ptr)


def test_shares_centres_and_axes_are_those_of_numpy(batch: Batch) -> None:
    shares = pt_shares(batch.p4, batch.ptr)
    angles = centred(batch.pos, shares, batch.ptr)
    got = along_axis(angles, shares, batch.ptr).numpy()
    for jet in range(len(COUNTS)):
        rows = slice(int(batch.ptr[jet]), int(batch.ptr[jet + 1]))
        r, p4 = batch.pos[rows].numpy(), batch.p4[rows].numpy()
        if len(r) == 0:
            continue
        z = np.hypot(p4[:, 1], p4[:, 2])
        z = z / z.sum()
        np.testing.assert_allclose(shares[rows, 0], z, rtol=1e-13)
        r = r - np.average(r, axis=0, weights=z)
        np.testing.assert_allclose(angles[rows], r, atol=1e-13)
        if len(r) == 1:
            np.testing.assert_allclose(got[rows], r, atol=1e-13)
            continue
        axis = np.linalg.eigh((r.T * z) @ r)[1][:, 1]
        axis = axis if z @ (r @ axis) ** 3 > 0 else -axis
        expected = np.stack([r @ [axis[1], -axis[0]], r @ axis], axis=1)
        np.testing.assert_allclose(got[rows], expected, atol=1e-12)


@pytest.mark.parametrize("by", [0.3, np.pi / 2, 2.0, np.pi, 5.0])
def test_upright_jets_do_not_depend_on_how_they_were_turned_or_shifted(batch, by) -> None:
    several = (batch.ptr.diff() > 1)[batch.batch]
    expected = upright(batch)
    batch.pos = turned(batch.pos, by) + torch.tensor([0.2, -0.1], dtype=torch.float64)
    assert float((upright(batch) - expected)[several].abs().max()) < 1e-10


def test_upright_jets_are_mirrored_with_the_jet(batch: Batch) -> None:
    expected = upright(batch)
    batch.pos = batch.pos * torch.tensor([-1.0, 1.0], dtype=torch.float64)
    got = upright(batch) * torch.tensor([-1.0, 1.0], dtype=torch.float64)
    assert float((got - expected).abs().max()) < 1e-10


def test_a_jet_without_momentum_has_shares_of_zero(batch: Batch) -> None:
    batch.p4 = torch.zeros_like(batch.p4)
    assert (pt_shares(batch.p4, batch.ptr) == 0).all()
    torch.testing.assert_close(upright(batch), batch.pos, rtol=0, atol=1e-15)
