from __future__ import annotations

import numpy as np
import pytest
import torch
import vector

from hepgen.data import Features
from hepgen.taggers.local_features import LEAST, LOCAL, LocalJets, check_scalars, in_local_frames
from hepgen.taggers.local_frames import Framed, LocalFrames
from tests.taggers.jets import make


def framed_jets(counts: list[int]):
    batch = make(counts, dtype=torch.float64)
    torch.manual_seed(0)
    with torch.no_grad():
        return batch, LocalFrames(0).double()(batch.p4, batch.x[:, :0], batch.ptr)


def of_numpy(p4: torch.Tensor):
    columns = dict(zip(("E", "px", "py", "pz"), p4.numpy().T, strict=True))
    return vector.array(columns)


def test_features_are_those_of_momentum_and_jet_in_the_local_frame() -> None:
    batch, framed = framed_jets([3, 20, 40])
    features = Features([*LOCAL, "charge"])
    jets = in_local_frames(
        type("Jets", (), {**batch.to_dict(), "x": torch.ones(63, 8).double()}),  # type: ignore[arg-type]
        framed,
        features,
        ["charge"],
    )
    local = torch.einsum("nij,nj->ni", framed.frame, framed.p4)
    axis = torch.einsum("nij,nj->ni", framed.frame, framed.jet)
    p, jet = of_numpy(local), of_numpy(axis)
    d_eta, d_phi = p.eta - jet.eta, p.deltaphi(jet)
    expected = {
        "log_pt": np.log(p.pt),
        "log_energy": np.log(p.E),
        "log_pt_fraction": np.log(p.pt / jet.pt),
        "log_energy_fraction": np.log(p.E / jet.E),
        "delta_r": np.hypot(d_eta, d_phi),
        "delta_eta": d_eta,
        "delta_phi": np.sin(d_phi),
    }
    for column, (name, values) in enumerate(expected.items()):
        centre, scale = LOCAL[name]
        got = jets.x[:, column].numpy() / scale + centre
        np.testing.assert_allclose(got, values, rtol=1e-9, atol=1e-9, err_msg=name)
    assert (jets.x[:, 7] == 1).all()
    np.testing.assert_allclose(jets.pos, np.stack([d_eta, np.sin(d_phi)], 1), rtol=0, atol=1e-9)
    torch.testing.assert_close(jets.p4, local)
    assert jets.get("x") is jets.x
    assert jets.get("y") is None
    assert isinstance(jets, LocalJets)


def test_momenta_along_the_axis_have_finite_features_and_gradients() -> None:
    p4 = torch.tensor([[1.0, 0, 0, 1], [0, 0, 0, 0], [2, 0, 0, -2], [3, 1, 2, 2]]).double()
    batch = make([4], dtype=torch.float64)
    frame = torch.eye(4).double().expand(4, 4, 4).clone().requires_grad_()
    jets = in_local_frames(
        batch, Framed(frame, p4, p4.sum(0).expand(4, 4), frame), Features("kinematics"), []
    )
    assert jets.x.isfinite().all()
    assert float(jets.x[1, 0].detach()) == pytest.approx(np.log(LEAST) + 1)
    jets.x.sum().backward()
    assert frame.grad is not None
    assert frame.grad.isfinite().all()


def test_what_is_not_of_momenta_is_a_scalar() -> None:
    assert check_scalars(None, Features("kinematics")) == ()
    full = check_scalars(None, Features("full"))
    assert full == tuple(name for name in Features("full").names if name not in LOCAL)
    assert check_scalars(["log_pt"], Features("kinematics")) == ("log_pt",)


def test_features_that_nobody_can_compute_in_a_frame_are_refused() -> None:
    def rank(c):
        return np.arange(len(c))

    with pytest.raises(ValueError, match=r"not 'charg'; nearest: charge"):
        check_scalars(["charg"], Features("full"))
    with pytest.raises(ValueError, match=r"feature 'rank' cannot be computed in local frames"):
        check_scalars(None, Features(["log_pt", rank]))
    assert check_scalars(["rank"], Features(["log_pt", rank])) == ("rank",)
