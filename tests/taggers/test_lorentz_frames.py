from __future__ import annotations

import numpy as np
import pytest
import torch
from lloca.utils.polar_decomposition import polar_decomposition, restframe_boost
from torch import Tensor

from hepgen.taggers.lorentz_frames import (
    apply_frame,
    invert_frame,
    make_frame,
    rest_frame,
    transport,
)
from tests.taggers.lorentz import random_lorentz

METRIC = torch.diag(torch.tensor([1.0, -1.0, -1.0, -1.0], dtype=torch.float64))


def momenta(*shape: int, mass: float = 1.0, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    space = torch.randn(*shape, 3, generator=generator, dtype=torch.float64)
    energy = (space.square().sum(-1, keepdim=True) + mass**2).sqrt()
    return torch.cat([energy, space], dim=-1)


def is_lorentz(frame: Tensor, tolerance: float = 1e-10) -> bool:
    off = (frame @ METRIC @ frame.mT - METRIC).abs().max()
    proper = (torch.linalg.det(frame) - 1).abs().max()
    return bool(max(off, proper) < tolerance) and bool((frame[..., 0, 0] >= 1).all())


def test_the_rest_frame_is_where_a_momentum_is_its_mass() -> None:
    p4 = momenta(50, mass=0.3)
    boost = rest_frame(p4, 1e-3)
    assert is_lorentz(boost)
    expected = torch.tensor([0.3, 0, 0, 0], dtype=torch.float64).expand(50, 4)
    torch.testing.assert_close(apply_frame(boost, p4), expected, rtol=0, atol=1e-12)
    torch.testing.assert_close(boost, restframe_boost(p4), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("scale", [1e-3, 1.0, 1e3])
def test_a_light_like_momentum_is_brought_to_one_energy(scale: float) -> None:
    p4 = scale * momenta(20, mass=0.0)
    boost = rest_frame(p4, 1e-3)
    assert is_lorentz(boost, 1e-8)
    got = apply_frame(boost, p4)
    # Half a unit in the last place of E, after a boost of about 2 E there and in the matrix.
    rounding = 1e-12 + 1.1e-16 * (2 * p4[:, 0]).square()
    assert ((got[:, 0] - 0.5).abs() < rounding).all()
    assert ((got[:, 1:].norm(dim=1) - 0.5).abs() < rounding).all()


def test_nothing_is_done_to_a_vector_of_zeros() -> None:
    zeros = torch.zeros(2, 4, dtype=torch.float64, requires_grad=True)
    boost = rest_frame(zeros, 1e-3)
    torch.testing.assert_close(boost, torch.eye(4, dtype=torch.float64).expand(2, 4, 4))
    boost.sum().backward()
    assert zeros.grad is not None
    assert zeros.grad.isfinite().all()


def test_frames_are_those_of_lloca() -> None:
    vectors, spare = momenta(100, 3), momenta(100, seed=1)
    frame = make_frame(vectors, spare)
    expected = polar_decomposition(vectors[:, 0], vectors[:, 1:])
    torch.testing.assert_close(frame, expected, rtol=1e-9, atol=1e-9)
    single = polar_decomposition(vectors[:, 0].float(), vectors[:, 1:].float())
    torch.testing.assert_close(frame.float(), single, rtol=1e-4, atol=1e-4)


def test_frames_are_proper_lorentz_transformations_that_turn_with_their_vectors() -> None:
    vectors, spare = momenta(100, 3), momenta(100, seed=1)
    frame = make_frame(vectors, spare)
    assert is_lorentz(frame)
    rng = np.random.default_rng(0)
    for _ in range(5):
        by = random_lorentz(rng)
        turned = make_frame(vectors @ by.T, spare @ by.T)
        assert (turned - frame @ invert_frame(by)).abs().max() < 1e-10


DEGENERATE = {
    "two alike": [0, 1, 1],
    "all but one alike": [0, 0, 1],
    "all alike": [0, 0, 0],
}


@pytest.mark.parametrize("which", DEGENERATE.values(), ids=list(DEGENERATE))
def test_a_spare_vector_steps_in_where_directions_are_degenerate(which: list[int]) -> None:
    vectors, spare = momenta(50, 3)[:, which], momenta(50, seed=1)
    frame = make_frame(vectors, spare)
    assert is_lorentz(frame)
    by = random_lorentz(np.random.default_rng(1))
    turned = make_frame(vectors @ by.T, spare @ by.T)
    # With one direction only, rotations about it are open; what makes the frame looks the same.
    for p4 in (spare, vectors[:, 0], vectors[:, 2]):
        expected = apply_frame(frame, p4)
        assert (apply_frame(turned, p4 @ by.T) - expected).abs().max() < 1e-10


def test_frames_of_what_has_no_direction_are_lorentz_transformations_with_finite_gradients() -> (
    None
):
    still = torch.tensor([1.0, 0, 0, 0], dtype=torch.float64)
    light = torch.tensor([3.0, 0, 0, 3.0], dtype=torch.float64)
    vectors = torch.stack([still.expand(3, 4), light.expand(3, 4), torch.zeros(3, 4).double()])
    vectors.requires_grad_()
    spare = torch.stack([still, light, torch.zeros(4).double()])
    frame = make_frame(vectors, spare)
    assert is_lorentz(frame)
    frame.square().sum().backward()
    assert vectors.grad is not None
    assert vectors.grad.isfinite().all()


def test_rounding_grows_with_the_square_of_the_boost() -> None:
    for boost, limit in ((1e1, 1e-12), (1e2, 1e-10), (1e4, 1e-6)):
        first = momenta(20, mass=1 / boost)
        frame = make_frame(torch.stack([first, *momenta(2, 20)], dim=1), momenta(20, seed=1))
        assert (frame @ METRIC @ frame.mT - METRIC).abs().max() < limit


def test_there_and_back_is_nothing() -> None:
    frame = make_frame(momenta(30, 3), momenta(30, seed=1))
    p4 = momenta(30, 5, seed=2)
    local = apply_frame(frame[:, None], p4)
    torch.testing.assert_close(local, p4 @ frame.mT, rtol=1e-12, atol=1e-12)
    back = apply_frame(invert_frame(frame)[:, None], local)
    torch.testing.assert_close(back, p4, rtol=1e-10, atol=1e-10)
    torch.testing.assert_close(invert_frame(frame), torch.linalg.inv(frame), rtol=1e-9, atol=1e-9)


def test_transport_takes_components_from_frame_to_frame_whatever_moves_both() -> None:
    start, end = (make_frame(momenta(30, 3, seed=s), momenta(30, seed=9)) for s in (1, 2))
    way = transport(start, end)
    p4 = momenta(30, seed=3)
    got, expected = apply_frame(way, apply_frame(start, p4)), apply_frame(end, p4)
    torch.testing.assert_close(got, expected, rtol=1e-9, atol=1e-9)
    by = random_lorentz(np.random.default_rng(2))
    torch.testing.assert_close(transport(start @ by, end @ by), way, rtol=1e-9, atol=1e-9)
