"""The layers of L-GATr: those of the package lgatr with the same weights."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from lgatr.layers.attention.config import SelfAttentionConfig
from lgatr.layers.attention.self_attention import SelfAttention
from lgatr.layers.layer_norm import EquiLayerNorm
from lgatr.layers.linear import EquiLinear as LgatrLinear
from lgatr.layers.mlp.geometric_bilinears import GeometricBilinear as LgatrBilinear
from lgatr.layers.mlp.nonlinearities import ScalarGatedNonlinearity
from lgatr.primitives.config import PrimitivesConfig
from torch import Tensor, nn

from hepgen.taggers.equivariant_transformer import JetAttention
from hepgen.taggers.geometric_algebra import Parts, from_parts, to_parts
from hepgen.taggers.multivector_layers import (
    EquiLinear,
    EquiNorm,
    GeometricAttention,
    GeometricBilinear,
    gated,
    normalised,
)
from tests.taggers.lgatr_nets import randomise

LGATR = PrimitivesConfig()
MV, S = 6, 8


def inputs(count: int = 11) -> tuple[Tensor, Tensor]:
    """Multivectors (N, C, 16), some of them small, and scalars (N, S)."""
    generator = torch.Generator().manual_seed(0)
    size = torch.logspace(-3, 1, count, dtype=torch.float64)[:, None]
    x = torch.randn(count, MV, 16, generator=generator, dtype=torch.float64) * size[..., None]
    return x, torch.randn(count, S, generator=generator, dtype=torch.float64) * size


def parts_of(x: Tensor, s: Tensor) -> Parts:
    parts = to_parts(x)
    return parts._replace(invariant=torch.cat([parts.invariant, s], dim=1))


def assert_parts(got: Parts, expected: tuple[Tensor, Tensor | None]) -> None:
    components = got.vector.shape[2]
    multivectors = from_parts(got._replace(invariant=got.invariant[:, :components]))
    torch.testing.assert_close(multivectors, expected[0], rtol=1e-10, atol=1e-10)
    if expected[1] is None:
        assert got.invariant.shape[1] == components
    else:
        scalars = got.invariant[:, components:]
        torch.testing.assert_close(scalars, expected[1], rtol=1e-10, atol=1e-10)


def exact(theirs: nn.Module) -> nn.Module:
    """In float64, also the least norm, which lgatr rounds to float32 before."""
    theirs.double()
    for name, buffer in theirs.named_buffers():
        if name.endswith("epsilon"):
            buffer.fill_(0.01)
    return theirs


def same(ours: nn.Module, theirs: nn.Module) -> None:
    ours.double().load_state_dict(randomise(exact(theirs)).state_dict())


@pytest.mark.parametrize("s_out", [0, 5])
@pytest.mark.parametrize("bias", [False, True])
def test_the_linear_map_is_that_of_lgatr(s_out: int, bias: bool) -> None:
    ours = EquiLinear(MV, 4, S, s_out, bias=bias)
    theirs = LgatrLinear(MV, 4, LGATR, in_s_channels=S, out_s_channels=s_out, bias=bias)
    same(ours, theirs)
    x, s = inputs()
    assert_parts(ours(parts_of(x, s)), theirs(x, s))


@pytest.mark.parametrize("scheme", ["default", "small", "almost_unit_scalar"])
def test_weights_begin_as_those_of_lgatr(scheme: str) -> None:
    arguments = {"default": {}, "small": {"scale": 0.1}}
    torch.manual_seed(0)
    ours = EquiLinear(
        64,
        64,
        64,
        0 if "unit" in scheme else 64,
        **arguments.get(scheme, {"scale": 0.5, "shift": 1.0}),
    )
    theirs = LgatrLinear(
        64,
        64,
        LGATR,
        in_s_channels=64,
        out_s_channels=0 if "unit" in scheme else 64,
        initialization=scheme,
    )
    expected = dict(theirs.named_parameters())
    for name, parameter in ours.named_parameters():
        for basis_map in range(10) if name == "weight" else [...]:
            first = parameter[..., basis_map].detach()
            second = expected[name][..., basis_map].detach()
            # Uniform distributions: their ends tell which. Of 64 numbers or more.
            rough = 0.02 if first.numel() > 1000 else 0.2
            width = float(second.max() - second.min())
            assert abs(float(first.max() - second.max())) < rough * width, name
            assert abs(float(first.min() - second.min())) < rough * width, name


def test_the_norm_is_that_of_lgatr() -> None:
    ours, theirs = EquiNorm(MV, S), EquiLayerNorm(MV, S, elementwise_affine=True)
    same(ours, theirs)
    x, s = inputs()
    assert_parts(ours(parts_of(x, s)), theirs(x, s))
    assert_parts(normalised(parts_of(x, s), MV), exact(EquiLayerNorm())(x, s))


def test_the_gated_nonlinearity_is_that_of_lgatr() -> None:
    x, s = inputs()
    assert_parts(gated(parts_of(x, s), MV), ScalarGatedNonlinearity("gelu")(x, s))


def test_the_geometric_bilinear_is_that_of_lgatr() -> None:
    ours = GeometricBilinear(MV, 5, S, 7)
    theirs = LgatrBilinear(MV, 5, LGATR, in_s_channels=S, out_s_channels=7)
    same(ours, theirs)
    x, s = inputs()
    assert_parts(ours(parts_of(x, s)), theirs(x, s))


@pytest.mark.parametrize("heads", [1, 2, 3])
@pytest.mark.parametrize("head_scale", [False, True])
def test_attention_is_that_of_lgatr(heads: int, head_scale: bool) -> None:
    ours = GeometricAttention(MV, S, heads, 2, head_scale)
    config = SelfAttentionConfig(
        in_mv_channels=MV,
        out_mv_channels=MV,
        in_s_channels=S,
        out_s_channels=S,
        num_heads=heads,
        attn_ratio=2,
        head_scale=head_scale,
    )
    theirs = SelfAttention(config, LGATR)
    same(ours, theirs)
    x, s = inputs()
    ptr = torch.tensor([0, 4, 4, 5, 11])
    got = ours(parts_of(x, s), JetAttention(ptr, torch.float64))
    jets = [slice(*ends) for ends in pairwise(ptr) if ends[0] < ends[1]]
    expected = [theirs(x[jet], s[jet]) for jet in jets]
    multivectors, scalars = (torch.cat(each) for each in zip(*expected, strict=True))
    assert_parts(got, (multivectors, scalars))
