"""The recurrence against torch.nn.LSTM, jet by jet and on packed sequences."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence, unpack_sequence

from hepgen.taggers.recurrence import lstm

COUNTS = [3, 0, 1, 17, 200, 1, 17, 0]


def problem(
    counts: list[int], dtype: torch.dtype = torch.float64
) -> tuple[nn.LSTM, Tensor, Tensor]:
    torch.manual_seed(0)
    theirs = nn.LSTM(5, 12).to(dtype)
    ptr = torch.tensor([0, *counts]).cumsum(0)
    return theirs, torch.randn(int(ptr[-1]), 5, dtype=dtype), ptr


def ours(theirs: nn.LSTM, x: Tensor, ptr: Tensor) -> Tensor:
    gates = x @ theirs.weight_ih_l0.T + theirs.bias_ih_l0 + theirs.bias_hh_l0
    return lstm(gates, theirs.weight_hh_l0, ptr)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-6), (torch.float64, 1e-13)], ids=["f32", "f64"]
)
def test_hidden_states_are_those_of_torch_jet_by_jet(dtype, tolerance) -> None:
    theirs, x, ptr = problem(COUNTS, dtype)
    with torch.no_grad():
        got = ours(theirs, x, ptr)
        jets = [theirs(jet)[0] for jet in x.split(COUNTS) if len(jet)]
    torch.testing.assert_close(got, torch.cat(jets), rtol=tolerance, atol=tolerance)


def test_gradients_are_those_of_torch_on_packed_sequences() -> None:
    theirs, x, ptr = problem(COUNTS)
    x.requires_grad_()
    wanted = [x, *theirs.parameters()]
    upstream = torch.randn(len(x), 12, dtype=x.dtype)
    packed = pack_sequence([jet for jet in x.split(COUNTS) if len(jet)], enforce_sorted=False)
    expected = torch.cat(unpack_sequence(theirs(packed)[0]))
    expected_gradients = torch.autograd.grad((expected * upstream).sum(), wanted)
    got = ours(theirs, x, ptr)
    torch.testing.assert_close(got, expected, rtol=1e-13, atol=1e-13)
    for gradient, right in zip(
        torch.autograd.grad((got * upstream).sum(), wanted), expected_gradients, strict=True
    ):
        torch.testing.assert_close(gradient, right, rtol=1e-11, atol=1e-11)


@pytest.mark.parametrize("counts", [[], [0], [0, 0], [1], [1, 1]])
def test_few_constituents_have_states_and_gradients(counts) -> None:
    theirs, x, ptr = problem(counts)
    states = ours(theirs, x, ptr)
    assert states.shape == (sum(counts), 12)
    states.sum().backward()
    assert theirs.weight_hh_l0.grad is not None
    assert theirs.weight_hh_l0.grad.isfinite().all()


def test_the_operator_keeps_what_torch_asks_of_one() -> None:
    theirs, x, ptr = problem([3, 0, 5])
    gates = (x @ theirs.weight_ih_l0.T).detach().requires_grad_()
    weight = theirs.weight_hh_l0.detach().requires_grad_()
    torch.library.opcheck(torch.ops.hepgen.lstm.default, (gates, weight, ptr))
    torch.autograd.gradcheck(lambda g, w: lstm(g, w, ptr), (gates, weight))
