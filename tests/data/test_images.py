"""Images of jets against numpy.histogram2d."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from hepgen.data.images import _images_by_index, fill_images, jet_images

COUNTS = [0, 1, 2, 50, 0, 200]


def some_jets(dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    ptr = torch.tensor([0, *COUNTS]).cumsum(0)
    size = int(ptr[-1])
    pos = 0.5 * torch.randn(size, 2, generator=generator, dtype=dtype)
    return pos, torch.rand(size, generator=generator, dtype=dtype), ptr


def histograms(pos: Tensor, weight: Tensor, ptr: Tensor, pixels: int, half: float) -> np.ndarray:
    edges = np.linspace(-half, half, pixels + 1)
    return np.stack(
        [
            np.histogram2d(*r.numpy().T, bins=(edges, edges), weights=w.numpy())[0]
            for r, w in zip(pos.split(COUNTS), weight.split(COUNTS), strict=True)
        ]
    )


@pytest.mark.parametrize(("pixels", "half"), [(64, 0.8), (7, 0.3), (1, 1.0)])
@pytest.mark.parametrize("function", [jet_images, _images_by_index])
def test_pixels_are_those_of_numpy(function, pixels, half) -> None:
    pos, weight, ptr = some_jets()
    assert (pos.abs() > half).any()
    got = function(pos, weight, ptr, pixels, half)
    expected = histograms(pos, weight, ptr, pixels, half)
    np.testing.assert_allclose(got, expected, rtol=1e-13, atol=1e-15)


def test_float32_gives_the_same_in_fewer_digits() -> None:
    pos, weight, ptr = some_jets(torch.float32)
    got = jet_images(pos, weight, ptr)
    assert got.dtype == torch.float32
    np.testing.assert_allclose(
        got, histograms(pos.double(), weight.double(), ptr, 64, 0.8), rtol=1e-6
    )


@pytest.mark.parametrize("function", [jet_images, _images_by_index])
def test_an_edge_belongs_to_the_pixel_above_it(function) -> None:
    # In the middle, just below it by rounding, at the lowest edge, at the highest.
    x = torch.tensor([0.0, -1e-16, -0.8, 0.8], dtype=torch.float64)
    pos = torch.stack([x, torch.zeros_like(x)], dim=1)
    images = function(pos, torch.ones(4, dtype=torch.float64), torch.tensor([0, 4]), 64, 0.8)
    assert images.nonzero().tolist() == [[0, 0, 32], [0, 32, 32]]
    assert images[0, 32, 32] == 2


def test_the_kernel_adds_to_what_is_there() -> None:
    images = np.ones((1, 2, 2))
    pos, weight = np.array([[0.1, -0.1], [0.1, -0.2]]), np.array([2.0, 3.0])
    fill_images(pos, weight, np.array([0, 2]), 0.5, images)
    np.testing.assert_array_equal(images, [[[1, 1], [6, 1]]])


def test_no_jets_have_no_images() -> None:
    nothing = torch.empty(0)
    assert jet_images(torch.empty(0, 2), nothing, torch.tensor([0])).shape == (0, 64, 64)
    empty = jet_images(torch.empty(0, 2), nothing, torch.tensor([0, 0]), pixels=3)
    torch.testing.assert_close(empty, torch.zeros(1, 3, 3))


def test_the_operator_keeps_what_torch_asks_of_one() -> None:
    torch.library.opcheck(torch.ops.hepgen.jet_images.default, (*some_jets(), 8, 0.8))


@pytest.mark.parametrize("wrong", [{"pixels": 0}, {"half_width": 0.0}])
def test_images_that_cannot_be_are_refused(wrong) -> None:
    with pytest.raises(ValueError, match="images need pixels >= 1"):
        jet_images(*some_jets(), **wrong)
