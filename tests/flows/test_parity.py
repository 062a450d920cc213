"""Our flows beside those of nflows and zuko with the same weights.

Tolerances: 1e-5 in float32, 1e-10 in float64.
"""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
import zuko
from nflows import distributions, transforms
from nflows.flows import Flow as PeerFlow
from torch import Tensor, nn
from torch.nn import functional

from hepgen.flows import (
    NICE,
    ActNorm,
    Coupling,
    Flow,
    LULinear,
    NeuralSplineFlow,
    RealNVP,
)

DTYPES = pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-5), (torch.float64, 1e-10)], ids=["f32", "f64"]
)


def some(count: int, width: int, dtype: torch.dtype, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, width, generator=generator, dtype=torch.float64).to(dtype)


def roughened(flow: Flow, size: float = 0.3) -> Flow:
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in flow.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += size * noise / math.sqrt(parameter.shape[-1])
    return flow


class Rearranged(nn.Module):
    """Our network, its outputs as nflows wants them."""

    # nflows divides by its root, and warns of networks without.
    hidden_features = 1

    def __init__(self, coupling: Coupling) -> None:
        super().__init__()
        self.network = coupling.conditioner
        self.element, self.count = coupling.groups[0]

    def forward(self, x: Tensor, context: Tensor | None = None) -> Tensor:
        numbers = self.network(x, context).view(len(x), self.count, -1)
        if hasattr(self.element, "num_bins"):
            # Ours of zero are the identity; those of nflows are zero before the softplus.
            bins = self.element.num_bins
            one = math.log(math.expm1(1 - 1e-3))
            slopes = numbers[..., 2 * bins :] + one
            return torch.cat([numbers[..., : 2 * bins], slopes], -1).flatten(1)
        return numbers.transpose(1, 2).flatten(1)


class PeerAffine(transforms.AffineCouplingTransform):
    """The coupling of nflows with our bound on slopes, which its own does not have."""

    bound = 3.0

    def _scale_and_shift(self, numbers: Tensor) -> tuple[Tensor, Tensor]:
        shift, slope = numbers.chunk(2, dim=1)
        return torch.exp(self.bound * functional.softsign(slope / self.bound)), shift


def peer_coupling(coupling: Coupling, kind: Any, **more: Any) -> Any:
    mask = torch.zeros(coupling.dimension)
    mask[coupling.mapped] = 1
    return kind(mask, lambda inputs, outputs: Rearranged(coupling), **more)


def compare(
    flow: Flow, peer: Any, x: Tensor, context: Tensor | None, z: Tensor, tolerance: float
) -> None:
    """Both directions and both determinants."""
    for ours, theirs, at in (
        (flow.transform, peer, x),
        (flow.transform.inverse, peer.inverse, z),
    ):
        for got, expected in zip(ours(at, context), theirs(at, context), strict=True):
            torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)


@DTYPES
@pytest.mark.parametrize("kind", ["RealNVP", "NICE", "cube", "line"])
@torch.no_grad()
def test_couplings_of_nflows_give_the_same(kind: str, dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    sizes: dict[str, Any] = {"context": 2, "hidden": 16}
    tails: dict[str, Any] = {"num_bins": 6}
    if kind == "RealNVP":
        flow, peer_kind, more = RealNVP(5, num_transforms=4, **sizes), PeerAffine, {}
    elif kind == "NICE":
        flow, more = NICE(5, num_transforms=4, **sizes), {}
        peer_kind = transforms.AdditiveCouplingTransform
    else:
        flow = NeuralSplineFlow(5, **sizes, **tails, domain="unit" if kind == "cube" else "real")
        peer_kind = transforms.PiecewiseRationalQuadraticCouplingTransform
        more = tails if kind == "cube" else {**tails, "tails": "linear", "tail_bound": 5.0}
    flow = roughened(flow).to(dtype)
    steps = []
    for step in flow.transform._transforms:
        if isinstance(step, ActNorm):
            steps.append(transforms.ActNorm(5).to(dtype).eval())
            steps[-1].load_state_dict(
                {**step.state_dict(), "initialized": torch.tensor(True)}, strict=True
            )
        else:
            steps.append(peer_coupling(step, peer_kind, **more))
    peer = transforms.CompositeTransform(steps)
    x, context, z = some(300, 5, dtype), some(300, 2, dtype, 1), some(300, 5, dtype, 2)
    if kind == "cube":
        # Of points outside of the cube, or by rounding past its faces, nflows has none.
        x, z = (0.98 * torch.special.ndtr(at) + 0.01 for at in (x, z))
    elif kind == "line":
        x[:20] *= 4  # into the tails
    compare(flow, peer, x, context, z, tolerance)
    if kind != "cube":
        whole = PeerFlow(peer, distributions.StandardNormal([5]))
        expected = whole.log_prob(x, context)
        torch.testing.assert_close(
            flow.log_prob(x, context), expected.to(dtype), rtol=tolerance, atol=tolerance
        )


@DTYPES
@torch.no_grad()
def test_real_nvp_of_zuko_gives_the_same(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    # The slopes of zuko are 1e-3 at least.
    flow = RealNVP(5, 2, num_transforms=4, hidden=16, max_log_slope=-math.log(1e-3))
    flow = roughened(flow).to(dtype)
    peer = zuko.flows.RealNVP(5, 2, transforms=4, hidden_features=(16, 16)).to(dtype)
    state = {
        name.replace("_transform._transforms", "transform.transforms").replace(
            "conditioner.network", "hyper"
        ): tensor
        for name, tensor in flow.state_dict().items()
        if "conditioner" in name
    }
    kept = {name: tensor for name, tensor in peer.state_dict().items() if "hyper" not in name}
    peer.load_state_dict({**state, **kept}, strict=True)
    x, context = some(300, 5, dtype), some(300, 2, dtype, 1)
    torch.testing.assert_close(
        flow.log_prob(x, context), peer(context).log_prob(x), rtol=tolerance, atol=tolerance
    )
    z = flow.transform_to_noise(x, context)
    expected = peer(context).transform(x)
    torch.testing.assert_close(z, expected, rtol=tolerance, atol=tolerance)


@DTYPES
@torch.no_grad()
def test_the_matrix_of_nflows_gives_the_same(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    peer = transforms.LULinear(6, identity_init=False)
    peer.bias.normal_()
    peer = peer.to(dtype)
    ours = LULinear(6).to(dtype)
    lower, upper = peer._create_lower_upper()
    entries = lower.tril(-1) + upper.triu(1) + upper.diagonal().log().diag()
    ours.load_state_dict({"entries": entries, "shift": peer.bias})
    x = some(100, 6, dtype)
    for got, expected in zip(ours(x), peer(x), strict=True):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    # Its own inverse calls what torch no longer has; this is that of LAPACK.
    back, minus = ours.inverse(x)
    expected = torch.linalg.solve(peer.weight(), (x - peer.bias).T).T
    torch.testing.assert_close(back, expected, rtol=tolerance, atol=tolerance)
    torch.testing.assert_close(minus, -peer(x)[1], rtol=tolerance, atol=tolerance)


@DTYPES
@torch.no_grad()
def test_the_normalisation_of_nflows_begins_alike(dtype: torch.dtype, tolerance: float) -> None:
    ours, peer = ActNorm(4).to(dtype), transforms.ActNorm(4).to(dtype).train()
    x = 3 * some(500, 4, dtype) + 2
    ours.initialize(x)
    for got, expected in zip(ours(x), peer(x), strict=True):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
    for got, expected in zip(ours.inverse(x), peer.inverse(x), strict=True):
        torch.testing.assert_close(got, expected, rtol=tolerance, atol=tolerance)
