"""Edge convolutions: the blocks of edges against ordinary torch, and against finite differences."""

from __future__ import annotations

import copy
import itertools

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from hepgen.taggers import edge_blocks
from hepgen.taggers.edge_blocks import Block, Edges, fold_edges
from hepgen.taggers.edge_conv import EdgeConv, batch_norm
from hepgen.taggers.edge_training import train_edges

NODES, K = 50, 4


@pytest.fixture(params=[300, 5_000, 1 << 20], ids=["node", "blocks", "at_once"])
def _block_bytes(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_blocks, "BLOCK_BYTES", request.param)


def graph(channels: int, seed: int = 0) -> tuple[Tensor, Tensor]:
    """Features of nodes and their neighbours, some of which are the null node."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(NODES, channels, generator=generator, dtype=torch.float64)
    return x, torch.randint(0, NODES + 1, (NODES, K), generator=generator)


def plain(block: EdgeConv, x: Tensor, neighbours: Tensor) -> Tensor:
    """The equation of the paper, edge by edge, with the modules of torch."""
    null = torch.cat([x, x.new_zeros(1, x.shape[1])])
    centre = x[:, None].expand(-1, neighbours.shape[1], -1)
    h = torch.cat([centre, null[neighbours] - centre], dim=2).flatten(0, 1)
    for conv, norm in zip(block.convs, block.bns, strict=True):
        h = functional.relu(norm(conv(h)))
    mean = h.view(*neighbours.shape, -1).mean(dim=1)
    shortcut = x if block.sc is None else block.sc_bn(block.sc(x))
    return functional.relu(shortcut + mean)


@pytest.mark.usefixtures("_block_bytes")
@pytest.mark.parametrize("channels", [(6,), (8, 8), (8, 5, 7), (6, 8, 8, 5)])
def test_training_in_blocks_gives_the_gradients_of_the_equation(channels) -> None:
    ours = EdgeConv(5, channels).double()
    theirs = copy.deepcopy(ours)
    x, neighbours = graph(5)
    direction = torch.randn(NODES, channels[-1], dtype=torch.float64)
    results = []
    for call in (ours, lambda *args: plain(theirs, *args)):
        given = x.clone().requires_grad_()
        out = call(given, neighbours)
        (out * direction).sum().backward()
        results.append((out.detach(), given.grad))
    torch.testing.assert_close(results[0], results[1], rtol=1e-9, atol=1e-11)
    for (name, mine), other in zip(ours.named_parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(mine.grad, other.grad, rtol=1e-9, atol=1e-11, msg=name)
    for mine, other in zip(ours.buffers(), theirs.buffers(), strict=True):
        torch.testing.assert_close(mine, other, rtol=1e-9, atol=1e-11)


@pytest.mark.usefixtures("_block_bytes")
@pytest.mark.parametrize("channels", [(6,), (8, 5, 7), (5, 5)])
def test_evaluation_in_blocks_gives_the_values_of_the_equation(channels) -> None:
    block = EdgeConv(5, channels).double()
    x, neighbours = graph(5)
    block(*graph(5, seed=1))  # so that running statistics and biases differ from 0 and 1
    block.eval()
    expected = plain(block, x, neighbours).detach()
    with torch.no_grad():
        torch.testing.assert_close(block(x, neighbours), expected, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(block(x, neighbours).detach(), expected, rtol=1e-10, atol=1e-12)


def test_gradients_agree_with_finite_differences() -> None:
    generator = torch.Generator().manual_seed(2)

    def random(*shape: int) -> Tensor:
        values = torch.randn(*shape, generator=generator, dtype=torch.float64)
        return values.requires_grad_()

    index = torch.randint(0, 7, (6, 2), generator=generator)

    def run(own: Tensor, other: Tensor, weight: Tensor, *parameters: Tensor) -> Tensor:
        norms = [nn.BatchNorm1d(3).double(), nn.BatchNorm1d(4).double()]
        for norm, gamma, beta in zip(norms, parameters[::2], parameters[1::2], strict=True):
            del norm.weight, norm.bias
            norm.weight, norm.bias = gamma, beta
        return train_edges(own, other, index, [weight], norms)

    given = (random(6, 3), random(7, 3), random(4, 3), random(3), random(3), random(4), random(4))
    assert torch.autograd.gradcheck(run, given)


def test_folded_normalisations_take_no_gradient() -> None:
    block = EdgeConv(3, (4, 4)).double().eval()
    x, index = graph(4)
    other = torch.cat([x, x[:1] * 0])
    weights = [conv.weight for conv in list(block.convs)[1:]]
    with torch.no_grad():
        result = fold_edges(x, other, index, weights, list(block.bns))
    assert not result.requires_grad
    assert result.shape == (NODES, 4)


def test_blocks_cover_each_edge_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edge_blocks, "BLOCK_BYTES", 300)
    x, index = graph(5)
    edges = Edges(x, x, index, widest=5)

    def rows(blocks: list[Block]) -> list[int]:
        assert all(
            len(block.buffer(0, 5)) == block.edges.stop - block.edges.start for block in blocks
        )
        return [row for block in blocks for row in range(NODES * K)[block.edges]]

    covered = itertools.chain.from_iterable(edges.each_strand(rows))
    assert list(covered) == list(range(NODES * K))


def test_results_do_not_depend_on_the_number_of_threads(monkeypatch) -> None:
    monkeypatch.setattr(edge_blocks, "BLOCK_BYTES", 2_000)
    before = torch.get_num_threads()
    results = []
    try:
        for threads in (1, 2, 3):
            torch.set_num_threads(threads)
            torch.manual_seed(0)
            block = EdgeConv(5, (16, 16)).double()
            x, neighbours = graph(5)
            own, other = x @ block.convs[0].weight[:, :5].T, torch.zeros(NODES + 1, 16).double()
            weights = [conv.weight for conv in list(block.convs)[1:]]
            out = train_edges(own, other, neighbours, weights, list(block.bns))
            out.sum().backward()
            results.append([out.detach(), *(p.grad for p in block.bns.parameters())])
    finally:
        torch.set_num_threads(before)
    for other_result in results[1:]:
        torch.testing.assert_close(other_result, results[0], rtol=0, atol=0)


def test_variances_survive_a_mean_far_from_zero() -> None:
    norm = nn.BatchNorm1d(2)
    own = torch.randn(1000, 2) * 0.01 + 300
    index = torch.zeros(1000, 1, dtype=torch.int64)
    train_edges(own, torch.zeros(1, 2), index, [], [norm])
    torch.testing.assert_close(norm.running_mean, 0.1 * own.mean(0))
    expected = 0.9 + 0.1 * own.double().var(0)
    torch.testing.assert_close(norm.running_var.double(), expected, rtol=1e-5, atol=0)


def test_other_normalisations_take_the_ordinary_path() -> None:
    block = EdgeConv(5, (6, 6))
    x, neighbours = graph(5)
    x = x.float()
    reference = copy.deepcopy(block)
    block.bns = nn.ModuleList(nn.BatchNorm1d(6, momentum=None) for _ in range(2))
    torch.testing.assert_close(block(x, neighbours), reference(x, neighbours), rtol=1e-4, atol=1e-5)
    assert int(block.bns[0].num_batches_tracked) == 1


def test_a_batch_without_variance_is_normalised_by_the_running_statistics() -> None:
    norm = nn.BatchNorm1d(3)
    norm.running_mean += 2
    for rows in (0, 1):
        x = torch.randn(rows, 3)
        expected = (x - 2) / (1 + norm.eps) ** 0.5
        torch.testing.assert_close(batch_norm(norm, x), expected)
    assert int(norm.num_batches_tracked) == 0
    batch_norm(norm, torch.randn(5, 3))
    assert int(norm.num_batches_tracked) == 1
