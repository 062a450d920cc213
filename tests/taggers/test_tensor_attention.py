from __future__ import annotations

import pytest
import torch

from hepgen.taggers.attention import key_bias
from hepgen.taggers.dense import places
from hepgen.taggers.local_frames import Framed, LocalFrames
from hepgen.taggers.lorentz_frames import invert_frame
from hepgen.taggers.tensor_attention import TensorAttention, Ways
from tests.taggers.jets import make
from tests.taggers.lorentz import massive


def framed_jets(counts: list[int]) -> tuple[Framed, torch.Tensor]:
    batch = massive(make(counts, dtype=torch.float64))
    torch.manual_seed(0)
    with torch.no_grad():
        return LocalFrames(0).double()(batch.p4, batch.x[:, :0], batch.ptr), batch.ptr


@pytest.mark.parametrize("vectors", [0, 1, 2])
@pytest.mark.parametrize("steady", [False, True])
def test_attention_is_what_loops_over_pairs_of_frames_give(vectors: int, steady: bool) -> None:
    framed, ptr = framed_jets([5, 0, 1, 7])
    ways = Ways.of(framed, torch.float64, steady)
    attention = TensorAttention(12, heads=2, scalars=3, vectors=vectors).double()
    x = torch.randn(13, 12, dtype=torch.float64)
    rows = places(ptr)
    got = attention(x, ways, rows, ptr, key_bias(rows, torch.float64))
    size = 3 + 4 * vectors
    q, k, v = attention.in_proj(x).view(13, 3, 2, size).unbind(1)
    metric = torch.tensor([1.0, -1, -1, -1], dtype=torch.float64)

    def carried(values: torch.Tensor, j: int, i: int) -> torch.Tensor:
        """Scalars, and vectors from the frame of j to that of i."""
        way = framed.frame[i] @ invert_frame(framed.frame[j])
        parts = values[3:].view(vectors, 4) @ way.T
        return torch.cat([values[:3], parts.flatten()])

    gamma = (framed.frame @ framed.jet[:, :, None])[:, 0, 0] / (
        framed.jet @ torch.diag(metric) * framed.jet
    ).sum(1).add(1e-4).sqrt()
    factor = gamma if steady else torch.ones_like(gamma)
    down = torch.cat([torch.ones(3).double(), metric.repeat(vectors)])
    for start, stop in ((0, 5), (5, 6), (6, 13)):
        for i in range(start, stop):
            out = []
            for h in range(2):
                scores, values = [], []
                for j in range(start, stop):
                    shrink = torch.ones(size).double()
                    shrink[3:] /= factor[i] * factor[j]
                    scores.append((q[i, h] * down * carried(k[j, h], j, i) * shrink).sum())
                    values.append(carried(v[j, h], j, i) * shrink)
                weights = (torch.stack(scores) / size**0.5).softmax(0)
                out.append(weights @ torch.stack(values))
            expected = attention.out_proj(torch.cat(out))
            torch.testing.assert_close(got[i], expected, rtol=1e-9, atol=1e-9)


def test_steady_ways_are_divided_by_the_boost_from_the_jet() -> None:
    framed, _ = framed_jets([6])
    plain, steady = (Ways.of(framed, torch.float64, on) for on in (False, True))
    ratio = plain.out / steady.out
    gamma = framed.frame[:, 0, 0]  # the jet is at rest
    torch.testing.assert_close(ratio[:, 0, 0], gamma, rtol=1e-4, atol=0)
    torch.testing.assert_close(plain.back / steady.back, ratio, rtol=1e-9, atol=0)
    assert Ways.of(framed, torch.float32).out.dtype == torch.float32


def test_heads_without_channels_are_refused() -> None:
    with pytest.raises(ValueError, match="scalars=0, vectors=0"):
        TensorAttention(12, 2, 0, 0)
