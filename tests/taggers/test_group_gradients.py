"""Gradients of groups in threads against autograd without them."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from hepgen.taggers.dropout import Dropout
from hepgen.taggers.group_gradients import map_with_gradients

SIZES = (3, 1, 0, 5)


class Net(nn.Module):
    """Two inputs, parameters, and if wanted chance."""

    def __init__(self, share: float = 0.0) -> None:
        super().__init__()
        self.one, self.other = nn.Linear(4, 6), nn.Linear(2, 6)
        self.unused = nn.Linear(2, 2)
        self.dropout = Dropout(share)

    def forward(self, x: Tensor, y: Tensor, ptr: Tensor) -> Tensor:
        return self.dropout(self.one(x).tanh() * self.other(y)) * len(ptr)


def inputs() -> tuple[Tensor, Tensor, list[Tensor]]:
    x, y = torch.randn(9, 4, dtype=torch.float64), torch.randn(9, 2, dtype=torch.float64)
    return x.requires_grad_(), y, [torch.arange(size) for size in SIZES]


def run(net: Net, x: Tensor, y: Tensor, offsets: list[Tensor]) -> list[Tensor]:
    parts = (torch.split(x, SIZES), torch.split(y, SIZES))
    return map_with_gradients(net, parts, offsets, list(net.parameters()))


@pytest.fixture(params=[1, 2], ids=["one thread", "two threads"])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield int(request.param)
    torch.set_num_threads(before)


def test_they_are_those_of_autograd(threads: int) -> None:
    torch.manual_seed(threads)
    net = Net().double()
    net.other.bias.requires_grad_(False)
    x, y, offsets = inputs()
    wanted = [x, *(p for p in net.parameters() if p.requires_grad)]
    pieces = zip(torch.split(x, SIZES), torch.split(y, SIZES), offsets, strict=True)
    expected = torch.cat([net(*piece) for piece in pieces])
    got = torch.cat(run(net, x, y, offsets))
    torch.testing.assert_close(got, expected, rtol=0, atol=0)
    for gradient, right in zip(
        torch.autograd.grad(got.square().sum(), wanted, allow_unused=True),
        torch.autograd.grad(expected.square().sum(), wanted, allow_unused=True),
        strict=True,
    ):
        assert (gradient is None) == (right is None)
        if gradient is not None:
            torch.testing.assert_close(gradient, right, rtol=1e-12, atol=1e-13)


def test_chance_does_not_depend_on_the_number_of_threads(threads: int) -> None:
    results = []
    for number in (threads, 1):
        torch.set_num_threads(number)
        torch.manual_seed(3)
        net = Net(0.5).double()
        x, y, offsets = inputs()
        out = torch.cat(run(net, x, y, offsets))
        out.sum().backward()
        results.append([out.detach(), x.grad, net.one.weight.grad])
    assert (results[0][0] == 0).any()
    for one, other in zip(*results, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=0)


def test_a_second_time_is_refused() -> None:
    net = Net().double()
    out = torch.cat(run(net, *inputs())).sum()
    out.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="once only"):
        out.backward()


def test_autocast_reaches_the_groups() -> None:
    net = Net()
    x, y, offsets = torch.randn(9, 4), torch.randn(9, 2), [torch.arange(size) for size in SIZES]
    with torch.autocast("cpu", torch.bfloat16):
        assert run(net, x, y, offsets)[0].dtype == torch.bfloat16
