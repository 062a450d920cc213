"""Sums and means over the constituents of each jet."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from hepgen.taggers.segments import segment_mean, segment_sum

PTR = torch.tensor([0, 0, 3, 4, 4, 9, 9])


def test_sums_and_means_are_those_of_numpy_and_zero_for_empty_jets() -> None:
    values = torch.randn(9, 5, dtype=torch.float64)
    jets = np.split(values.numpy(), PTR[1:-1])
    sums = np.stack([jet.sum(axis=0) for jet in jets])
    counts = np.array([max(1, len(jet)) for jet in jets])
    np.testing.assert_allclose(segment_sum(values, PTR), sums, atol=1e-14)
    np.testing.assert_allclose(segment_mean(values, PTR), sums / counts[:, None], atol=1e-14)


@pytest.mark.parametrize("segment", [segment_sum, segment_mean])
def test_gradients_agree_with_finite_differences(segment) -> None:
    values = torch.randn(9, 5, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda v: segment(v, PTR), values)


@pytest.mark.parametrize("segment", [segment_sum, segment_mean])
def test_no_jets_and_no_constituents_give_empty_results(segment) -> None:
    assert segment(torch.empty(0, 5), torch.tensor([0])).shape == (0, 5)
    assert segment(torch.empty(0, 5), torch.tensor([0, 0])).tolist() == [[0] * 5]


def test_half_precision_is_summed_in_float32() -> None:
    values = torch.ones(1000, 1, dtype=torch.bfloat16)
    # In bfloat16 the sum would stop at 256.
    assert segment_sum(values, torch.tensor([0, 1000])).item() == 1000


def test_sums_compile_in_one_graph() -> None:
    compiled = torch.compile(segment_mean, fullgraph=True, backend="eager")
    values = torch.randn(9, 5)
    torch.testing.assert_close(compiled(values, PTR), segment_mean(values, PTR))
