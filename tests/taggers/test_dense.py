"""Padded tensors against torch_geometric's."""

from __future__ import annotations

import pytest
import torch
from torch_geometric.utils import to_dense_batch

from hepgen.taggers.dense import from_dense, places, to_dense


@pytest.mark.parametrize("counts", [[3, 0, 5], [1], [0, 0], [], [7, 7]])
def test_padding_is_that_of_torch_geometric_and_comes_back(counts: list[int]) -> None:
    ptr = torch.tensor([0, *counts]).cumsum(0)
    size = int(ptr[-1])
    x = torch.randn(size, 4)
    jet = torch.repeat_interleave(torch.tensor(counts, dtype=torch.int64))
    rows = places(ptr)
    assert rows.shape == (len(counts), max([2, *counts]))
    if size:
        most = rows.shape[1]
        expected, mask = to_dense_batch(x, jet, 0.5, most, batch_size=len(counts))
        torch.testing.assert_close(to_dense(x, rows, 0.5), expected, rtol=0, atol=0)
        torch.testing.assert_close(rows >= 0, mask)
    torch.testing.assert_close(from_dense(to_dense(x, rows), ptr, size), x, rtol=0, atol=0)


def test_padding_compiles_whole() -> None:
    @torch.compile(fullgraph=True, dynamic=True, backend="eager")
    def there_and_back(x: torch.Tensor, ptr: torch.Tensor) -> torch.Tensor:
        return from_dense(to_dense(x, places(ptr)) * 2, ptr, x.shape[0])

    for counts in ([3, 0, 5], [2, 9]):
        ptr = torch.tensor([0, *counts]).cumsum(0)
        x = torch.randn(int(ptr[-1]), 4)
        torch.testing.assert_close(there_and_back(x, ptr), 2 * x)
