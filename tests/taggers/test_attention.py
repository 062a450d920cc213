"""Attention against torch's own module, and written out with loops."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from hepgen.data.pairs import pair_places, unordered_pairs
from hepgen.taggers.attention import Attention, attend, key_bias, pair_bias
from hepgen.taggers.dense import places

PTR = torch.tensor([0, 3, 3, 4, 9])


def test_it_is_what_the_module_of_torch_does() -> None:
    torch.manual_seed(0)
    ours = Attention(12, 3).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    state = {name.replace("in_proj.", "in_proj_"): t for name, t in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x = torch.randn(9, 12, dtype=torch.float64)
    rows = places(PTR)
    got = ours(x, rows, PTR, key_bias(rows, x.dtype))
    for start, stop in zip(PTR[:-1].tolist(), PTR[1:].tolist(), strict=True):
        jet = x[start:stop]
        if len(jet):
            torch.testing.assert_close(got[start:stop], theirs(jet, jet, jet)[0])


def test_a_token_asks_itself_and_the_constituents_of_its_jet() -> None:
    torch.manual_seed(0)
    ours = Attention(12, 3).double()
    theirs = nn.MultiheadAttention(12, 3, batch_first=True).double()
    state = {name.replace("in_proj.", "in_proj_"): t for name, t in ours.state_dict().items()}
    theirs.load_state_dict(state)
    x, token = torch.randn(9, 12, dtype=torch.float64), torch.randn(4, 12, dtype=torch.float64)
    everyone = torch.cat([x, token.tanh()])
    got = ours.of_token(token, everyone, places(PTR))
    for jet, (start, stop) in enumerate(zip(PTR[:-1].tolist(), PTR[1:].tolist(), strict=True)):
        keys = torch.cat([token[jet : jet + 1].tanh(), x[start:stop]])
        expected = theirs(token[jet : jet + 1], keys, keys)[0]
        torch.testing.assert_close(got[jet : jet + 1], expected)


def test_a_bias_of_pairs_reaches_both_orders_of_each_pair_and_no_empty_place() -> None:
    pairs = unordered_pairs(PTR)
    values = torch.randn(pairs.shape[1], 2)
    bias = pair_bias(values, pair_places(PTR, places(PTR)))
    assert bias.shape == (4, 2, 5, 5)
    assert bias.is_contiguous()
    for row, (i, j) in enumerate(pairs.T.tolist()):
        jet = int((i >= PTR).sum()) - 1
        a, b = i - int(PTR[jet]), j - int(PTR[jet])
        torch.testing.assert_close(bias[jet, :, a, b], values[row])
        torch.testing.assert_close(bias[jet, :, b, a], values[row])
    full = (places(PTR) >= 0)[:, None, :, None] & (places(PTR) >= 0)[:, None, None, :]
    assert (bias.masked_select(~full) < -1e4).all()


def test_empty_places_have_no_weight_and_empty_jets_finite_results_and_gradients() -> None:
    torch.manual_seed(0)
    values = torch.randn(len(unordered_pairs(PTR)[0]), 1, requires_grad=True)
    bias = pair_bias(values, pair_places(PTR, places(PTR)))
    query = torch.randn(4, 1, 5, 3, requires_grad=True)
    value = torch.randn(4, 1, 5, 3)
    value[places(PTR)[:, None] < 0] = 1e6
    mixed = attend(query, query, value, bias)
    real = mixed.squeeze(1)[places(PTR) >= 0]
    assert real.abs().max() < 10
    mixed.sum().backward()  # type: ignore[no-untyped-call]
    for tensor in (values, query):
        assert tensor.grad is not None
        assert tensor.grad.isfinite().all()


def test_a_width_that_heads_cannot_share_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of 5 heads, not 12"):
        Attention(12, 5)
