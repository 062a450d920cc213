"""The MLP of pairs, folded and in blocks, against torch's own layers."""

from __future__ import annotations

import pytest
import torch

from hepgen.taggers.pair_embedding import PairEmbedding


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("pairs", [0, 1, 5000])
def test_folded_blocks_give_what_the_layers_give(last, pairs) -> None:
    torch.manual_seed(0)
    embedding = PairEmbedding(4, (16, 8, 3), last_activation=last).double()
    for _ in range(5):
        embedding(torch.randn(200, 4, dtype=torch.float64) * 3 + 1)
    embedding.eval()
    x = torch.randn(pairs, 4, dtype=torch.float64)
    expected = embedding.embed(x)
    assert type(embedding.embed[-1]) is (torch.nn.GELU if last else torch.nn.BatchNorm1d)
    with torch.no_grad():
        torch.testing.assert_close(embedding(x), expected)
    torch.testing.assert_close(embedding(x), expected)
