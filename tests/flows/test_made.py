"""Masked networks: what sees what, and the networks of nflows and zuko with the same weights."""

from __future__ import annotations

import pytest
import torch
from nflows.transforms.made import MADE as NflowsMADE
from torch import Tensor
from zuko.nn import MaskedMLP

from hepgen.flows.made import MADE, MaskedLinear, Recursion

PRECISIONS = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["f32", "f64"]
)


def rough(made: MADE) -> MADE:
    """The same network with weights of an ordinary size in the last layer too."""
    torch.nn.init.normal_(made.last.weight, std=0.3)
    torch.nn.init.normal_(made.last.bias, std=0.3)
    return made


def carry(own: MADE, theirs: list[torch.nn.Linear], degrees: list[list[int]]) -> None:
    """Weights of a network whose units stand in another order, given their degrees."""
    layers = [*own.layers, own.last]
    columns = list(range(theirs[0].in_features))
    for mine, linear, of in zip(layers, theirs, degrees, strict=True):
        rows = sorted(range(len(of)), key=of.__getitem__)
        if mine is own.last:
            rows = list(range(len(of)))
        mine.weight.data.copy_(linear.weight.data[rows][:, columns])
        mine.bias.data.copy_(linear.bias.data[rows])
        columns = rows


@PRECISIONS
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(("dimension", "width"), [(2, 5), (5, 32), (6, 37)])
def test_it_equals_that_of_nflows_with_the_same_weights(
    dtype: torch.dtype, tolerance: float, residual: bool, dimension: int, width: int
) -> None:
    torch.manual_seed(1)
    theirs = NflowsMADE(
        dimension, width, num_blocks=2, output_multiplier=3, use_residual_blocks=residual
    ).to(dtype)
    own = MADE(dimension, 3, hidden=width, layers=3, residual=residual).to(dtype)
    linears = [theirs.initial_layer]
    for block in theirs.blocks:
        linears += list(block.linear_layers) if residual else [block.linear]
    linears.append(theirs.final_layer)
    carry(own, linears, [linear.degrees.tolist() for linear in linears])
    x = torch.randn(50, dimension, dtype=dtype)
    expected = theirs(x).view(50, dimension, 3)
    torch.testing.assert_close(own(x), expected, rtol=tolerance, atol=tolerance)


@PRECISIONS
@pytest.mark.parametrize("order", [[0, 1, 2, 3], [2, 0, 3, 1]])
def test_it_equals_that_of_zuko_with_context_and_the_same_weights(
    dtype: torch.dtype, tolerance: float, order: list[int]
) -> None:
    torch.manual_seed(1)
    place = torch.tensor([order.index(d) for d in range(4)])
    adjacency = torch.cat([place[:, None] > place, torch.ones(4, 3, dtype=torch.bool)], 1)
    adjacency = adjacency.repeat_interleave(2, dim=0)
    theirs = MaskedMLP(adjacency, hidden_features=(32, 32)).to(dtype)
    own = MADE(4, 2, context=3, hidden=32, order=order).to(dtype)
    linears = [theirs[0], theirs[2], theirs[4]]
    # What a unit sees tells its degree; of the data, which zuko puts before the context.
    first = linears[0].mask[:, :4].sum(1).tolist()
    degrees = [first]
    by_unit = torch.tensor(first)
    for linear in linears[1:]:
        seen = torch.where(linear.mask, by_unit, -1).max(1).values
        degrees.append(seen.tolist())
        by_unit = seen
    assert sorted(first) == list(own.layers[0].out_degrees)
    linears[0].weight.data = linears[0].weight.data[:, [4, 5, 6, 0, 1, 2, 3]]
    carry(own, linears, degrees)
    linears[0].weight.data = linears[0].weight.data[:, [3, 4, 5, 6, 0, 1, 2]]
    x, context = torch.randn(50, 4, dtype=dtype), torch.randn(50, 3, dtype=dtype)
    expected = theirs(torch.cat([x, context], 1)).view(50, 4, 2)
    torch.testing.assert_close(own(x, context), expected, rtol=tolerance, atol=tolerance)


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("periodic", [(), (1, 3)])
def test_each_dimension_sees_all_before_it_and_the_context_and_nothing_else(
    residual: bool, periodic: tuple[int, ...]
) -> None:
    torch.manual_seed(0)
    order = [3, 1, 0, 4, 2]
    made = rough(
        MADE(
            5,
            2,
            context=2,
            hidden=40,
            order=order,
            residual=residual,
            activation="tanh",
            periodic=periodic,
        )
    ).double()
    x, context = torch.randn(5).double(), torch.randn(2).double()

    def parameters(x: Tensor, context: Tensor) -> Tensor:
        return made(x[None], context[None])[0]

    of_x, of_context = torch.autograd.functional.jacobian(parameters, (x, context))
    sees = of_x.abs().amax(1) > 0  # (D, D)
    for later, dimension in enumerate(order):
        assert {d for d in range(5) if sees[dimension, d]} == set(order[:later])
    assert (of_context.abs() > 0).all()


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("context", [0, 3])
@pytest.mark.parametrize("periodic", [(), (1,)])
@pytest.mark.parametrize("unit", [False, True])
@pytest.mark.parametrize("grad", [False, True])
def test_the_recursion_gives_the_parameters_of_the_whole_pass(
    residual: bool, context: int, unit: bool, periodic: tuple[int, ...], grad: bool
) -> None:
    torch.manual_seed(0)
    for dimension in (2, 3, 7):
        order = torch.randperm(dimension).tolist()
        made = rough(
            MADE(
                dimension,
                4,
                context=context,
                hidden=19,
                layers=3,
                unit=unit,
                order=order,
                residual=residual,
                periodic=periodic,
            )
        ).double()
        x = torch.randn(11, dimension).double()
        given = torch.randn(11, context).double() if context else None
        with torch.set_grad_enabled(grad):
            expected = made(x, given)
            recursion = made.recursion(x, given)
            assert isinstance(recursion, Recursion)
            for d in order:
                torch.testing.assert_close(
                    recursion.parameters(), expected[:, d], rtol=0, atol=1e-14
                )
                recursion.append(x[:, d : d + 1])


@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize("grad", [False, True])
@pytest.mark.parametrize("hidden", [5, 12])
@pytest.mark.parametrize("context_layer", [False, True])
def test_so_does_that_of_a_narrow_network_and_of_one_with_a_layer_for_the_context(
    residual: bool, grad: bool, hidden: int, context_layer: bool
) -> None:
    torch.manual_seed(0)
    order = torch.randperm(9).tolist()
    made = MADE(
        9,
        4,
        context=2,
        hidden=hidden,
        residual=residual,
        order=order,
        narrow=True,
        context_layer=context_layer,
    )
    assert made.last.in_degrees[-1] == (7 if hidden == 5 else 8)
    made = rough(made).double()
    x, context = torch.randn(11, 9).double(), torch.randn(11, 2).double()
    with torch.set_grad_enabled(grad):
        expected, recursion = made(x, context), made.recursion(x, context)
        for d in order:
            torch.testing.assert_close(recursion.parameters(), expected[:, d], rtol=0, atol=1e-14)
            recursion.append(x[:, d : d + 1])


def test_a_layer_for_the_context_is_that_of_nflows_with_the_same_weights() -> None:
    torch.manual_seed(1)
    theirs = NflowsMADE(
        5, 32, context_features=3, num_blocks=1, output_multiplier=2, use_residual_blocks=False
    ).double()
    own = MADE(5, 2, context=3, hidden=32, layers=2, context_layer=True).double()
    assert sum(p.numel() for p in own.parameters()) == sum(p.numel() for p in theirs.parameters())
    # In nflows the first dimension does not see the context, so that no unit has degree zero. With
    # its masks the networks are the same function.
    linears = [theirs.initial_layer, theirs.blocks[0].linear, theirs.final_layer]
    for mine, linear in zip([*own.layers, own.last], linears, strict=True):
        mine.weight.data.copy_(linear.weight.data)
        mine.bias.data.copy_(linear.bias.data)
        mine.factor = linear.mask.double()
    assert own.beside is not None
    own.beside.load_state_dict(theirs.context_layer.state_dict())
    x, context = torch.randn(50, 5).double(), torch.randn(50, 3).double()
    expected = theirs(x, context).view(50, 5, 2)
    torch.testing.assert_close(own(x, context), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("residual", [False, True])
def test_dropout_changes_training_alone_and_nothing_on_the_mean(residual: bool) -> None:
    torch.manual_seed(0)
    made = rough(MADE(3, 2, context=1, hidden=64, dropout=0.2, residual=residual))
    x, context = torch.randn(1, 3).expand(20_000, 3), torch.ones(20_000, 1)
    several = made(x, context)
    made.eval()
    one = made(x[:1], context[:1])
    torch.testing.assert_close(made(x[:1], context[:1]), one, rtol=0, atol=0)
    # What follows the units that are dropped is linear. 4.5 sigma: beyond in 4e-5 of all seeds.
    sigma = several.std(0) / 20_000**0.5
    assert (sigma[2] > 0).all()
    assert ((several.mean(0) - one[0]).abs() <= 4.5 * sigma + 1e-6).all()


def test_one_dimension_sees_the_context_alone() -> None:
    torch.manual_seed(0)
    made = rough(MADE(1, 2, context=2, hidden=8))
    context = torch.randn(4, 2)
    one, two = made(torch.zeros(4, 1), context), made(torch.ones(4, 1), context)
    torch.testing.assert_close(one, two, rtol=0, atol=0)
    assert (one[0] != one[1]).all()
    alone = rough(MADE(1, 2, hidden=8))
    torch.testing.assert_close(alone(torch.zeros(1, 1)), alone(torch.ones(1, 1)), rtol=0, atol=0)


def test_all_parameters_begin_at_zero_and_all_weights_but_masked_ones_learn() -> None:
    torch.manual_seed(0)
    made = MADE(3, 2, context=1, hidden=12, activation="tanh")
    x, context = torch.randn(64, 3), torch.randn(64, 1)
    assert (made(x, context) == 0).all()
    rough(made)(x, context).square().sum().backward()
    for layer in [*made.layers, made.last]:
        assert isinstance(layer, MaskedLinear)
        assert layer.weight.grad is not None
        assert (layer.weight.grad[~layer.mask] == 0).all()
        assert (layer.weight.grad[layer.mask] != 0).all()


def test_masks_follow_the_device_and_stay_out_of_the_state() -> None:
    made = MADE(3, 2)
    assert all("mask" not in name for name in made.state_dict())
    assert made.to("meta").last.mask.device.type == "meta"


def test_no_rows_give_no_parameters() -> None:
    assert MADE(3, 2)(torch.empty(0, 3)).shape == (0, 3, 2)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"order": [0, 1, 1]}, r"order=\[0, 1, 1\] does not have each of the 3 dimensions once"),
        ({"hidden": 1}, "2 layers of width 1 cannot carry 3 dimensions; .* width 2 at least"),
        ({"hidden": 2, "context": 1}, "3 dimensions and a context; .* width 3 at least"),
        ({"hidden": 0, "narrow": True}, "2 layers of width 0 .* width 1 at least"),
        ({"dropout": 1.0}, "dropout=1.0: wanted a share from 0"),
        ({"layers": 0}, "0 layers of width 64 .* at least one layer"),
        ({"activation": "rely"}, "no activation 'rely'; nearest: relu"),
        ({"periodic": [3]}, r"periodic=\[3\]: the dimensions are 0 to 2"),
    ],
)
def test_what_cannot_be_is_told(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(ValueError, match="one dimension at least, not 2 of 0"):
        MADE(0, 2)
    with pytest.raises(ValueError, match=message):
        MADE(3, 2, **arguments)  # type: ignore[arg-type]


def test_a_missing_or_wrong_context_is_told() -> None:
    made = MADE(3, 2, context=2)
    with pytest.raises(ValueError, match=r"wants a context of shape \(5, 2\), got none"):
        made(torch.zeros(5, 3))
    with pytest.raises(ValueError, match=r"got one of shape \(4, 2\)"):
        made.recursion(torch.zeros(5, 3), torch.zeros(4, 2))
    with pytest.raises(ValueError, match=r"wants no context, got one of shape"):
        MADE(3, 2)(torch.zeros(5, 3), torch.zeros(5, 2))
