"""The algebra G(1,3): products, norms and maps of lgatr, and Lorentz symmetry by determinants."""

from __future__ import annotations

import itertools

import pytest
import torch
from lgatr.primitives import equi_linear
from lgatr.primitives import geometric_product as lgatr_product
from lgatr.primitives.config import PrimitivesConfig
from lgatr.primitives.invariants import abs_squared_norm, inner_product
from lgatr.primitives.linear import grade_project
from torch import Tensor
from torch.nn.functional import linear

from hepgen.taggers.geometric_algebra import (
    BLADES,
    SIGNS,
    SQUARES,
    TARGETS,
    Parts,
    blade_product,
    from_parts,
    geometric_product,
    pair_matrices,
    plain_product,
    squared_norms,
    to_parts,
)
from tests.taggers.lorentz_transformations import random_lorentz

LGATR = PrimitivesConfig()


def random(count: int, channels: int, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, channels, 16, generator=generator, dtype=torch.float64)


def joined(left: Tensor, right: Tensor) -> Parts:
    """Left and right factors, (N, C, 16) each, as `geometric_product` takes them."""
    sides = ((part.unflatten(-1, (2, -1)) for part in to_parts(one)) for one in (left, right))
    return Parts(*(torch.stack(pair, dim=-3) for pair in zip(*sides, strict=True)))


def mapped(weight: Tensor, x: Tensor) -> Tensor:
    matrices = pair_matrices(weight).flatten(3).flatten(1, 2)
    return from_parts(Parts(*map(linear, to_parts(x), matrices)))


def outermorphism(matrix: Tensor) -> Tensor:
    """A transformation of vectors on all blades: minors of its matrix, (16, 16)."""
    out = torch.zeros(16, 16, dtype=matrix.dtype)
    out[0, 0] = 1
    for (i, a), (j, b) in itertools.product(enumerate(BLADES), enumerate(BLADES)):
        if len(a) == len(b) > 0:
            out[i, j] = torch.det(matrix[list(a)][:, list(b)])
    return out


def test_parts_hold_what_multivectors_do() -> None:
    x = random(7, 3)
    torch.testing.assert_close(from_parts(to_parts(x)), x, rtol=0, atol=0)


def test_a_vector_times_itself_is_its_square_of_minkowski() -> None:
    assert [blade_product((i,), (i,)) for i in range(4)] == [(1, ()), *[(-1, ())] * 3]
    assert blade_product((1,), (0,)) == (-1, (0, 1))
    assert blade_product((0, 1), (1, 2)) == (-1, (0, 2))


def test_blades_multiply_associatively() -> None:
    for a, b, c in itertools.product(BLADES, repeat=3):
        sign_ab, ab = blade_product(a, b)
        sign_bc, bc = blade_product(b, c)
        left, right = blade_product(ab, c), blade_product(a, bc)
        assert (sign_ab * left[0], left[1]) == (sign_bc * right[0], right[1])


def test_every_slot_times_every_other_is_some_slot() -> None:
    assert SIGNS.shape == TARGETS.shape == (16, 16)
    assert set(SIGNS.flatten().tolist()) == {-1, 1}
    assert all(set(row.tolist()) == set(range(16)) for row in (*TARGETS, *TARGETS.T))


@pytest.mark.parametrize("product", [geometric_product, plain_product])
def test_products_and_their_gradients_are_those_of_lgatr(product) -> None:
    x, y, weight = random(9, 5, 1), random(9, 5, 2), random(9, 5, 3)
    results = []
    for call in (
        lambda x, y: from_parts(product(joined(x, y))),
        lambda x, y: lgatr_product(x, y, config=LGATR),
    ):
        a, b = x.clone().requires_grad_(), y.clone().requires_grad_()
        out = call(a, b)
        (out * weight).sum().backward()
        results.append((out.detach(), a.grad, b.grad))
    for ours, theirs in zip(*results, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)


def test_products_of_none_and_of_many_are_products() -> None:
    assert from_parts(geometric_product(joined(random(0, 2), random(0, 2)))).shape == (0, 2, 16)
    x, y = random(9000, 1, 1), random(9000, 1, 2)
    expected = lgatr_product(x, y, config=LGATR)
    got = from_parts(geometric_product(joined(x, y)))
    torch.testing.assert_close(got, expected, rtol=1e-12, atol=1e-12)


def test_the_operator_of_the_product_keeps_the_rules_of_torch() -> None:
    parts = [part.requires_grad_() for part in joined(random(5, 2, 1), random(5, 2, 2))]
    torch.library.opcheck(torch.ops.hepgen.geometric_product.default, parts)


def test_equivariant_maps_are_those_of_lgatr_and_ten_for_two_channels() -> None:
    x, weight = random(9, 5), torch.randn(4, 5, 10, dtype=torch.float64)
    expected = equi_linear(x, weight, config=LGATR)
    torch.testing.assert_close(mapped(weight, x), expected, rtol=1e-12, atol=1e-12)
    # Ten maps, none of which is a sum of others.
    maps = torch.eye(10, dtype=torch.float64)[:, None, None]
    images = torch.stack([mapped(one, torch.eye(16).double()[:, None])[:, 0] for one in maps])
    assert torch.linalg.matrix_rank(images.flatten(1)) == 10


def test_there_are_no_other_equivariant_maps() -> None:
    # Dimension of the space of matrices that commute with some transformations, counted by ranks.
    conditions = []
    for seed in range(3):
        action = outermorphism(random_lorentz(seed))
        identity = torch.eye(16, dtype=torch.float64)
        conditions.append(
            torch.kron(action, identity) - torch.kron(identity, action.T.contiguous())
        )
    assert 256 - torch.linalg.matrix_rank(torch.cat(conditions), rtol=1e-9) == 10


def test_products_maps_and_norms_keep_lorentz_symmetry() -> None:
    x, y, weight = random(9, 5, 1), random(9, 5, 2), torch.randn(4, 5, 10, dtype=torch.float64)
    for seed in range(5):
        action = outermorphism(random_lorentz(seed))
        moved = [one @ action.T for one in (x, y)]
        for got, expected in (
            (from_parts(geometric_product(joined(*moved))), lgatr_product(x, y, config=LGATR)),
            (mapped(weight, moved[0]), mapped(weight, x)),
        ):
            assert (got - expected @ action.T).abs().max() < 1e-10
        norms = zip(
            squared_norms(to_parts(moved[0]), 5), squared_norms(to_parts(x), 5), strict=True
        )
        assert all((got - expected).abs().max() < 1e-10 for got, expected in norms)


def test_norms_and_inner_products_are_those_of_lgatr() -> None:
    x, y = random(9, 5, 1), random(9, 5, 2)
    scalar, vector, bivector = squared_norms(to_parts(x), 5)
    total = (scalar + vector).unflatten(1, (2, 5)).sum(1) + bivector
    torch.testing.assert_close(total, abs_squared_norm(x)[..., 0], rtol=1e-12, atol=1e-12)
    signs = torch.tensor(SQUARES, dtype=torch.float64).unflatten(0, (8, 2, 1))
    a, b = (
        torch.cat([p.invariant[None], p.vector, p.bivector]).unflatten(2, (2, 5)).transpose(0, 1)
        for p in map(to_parts, (x, y))
    )  # (N, 8, 2, C)
    expected = inner_product(x, y)[..., 0]
    torch.testing.assert_close((a * b * signs).sum((1, 2)), expected, rtol=1e-12, atol=1e-12)
    squares = inner_product(grade_project(x), grade_project(x))[..., 0].abs()
    torch.testing.assert_close(bivector, squares[..., 2], rtol=1e-12, atol=1e-12)
