"""Features of pairs against the package vector, and at the edges."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import vector

from hepgen.data.pairs import unordered_pairs
from hepgen.taggers.pair_features import pair_features
from tests.taggers.jets import make


def test_they_are_what_vector_computes() -> None:
    batch = make([1, 7, 20], dtype=torch.float64)
    p4 = batch.p4.clone()
    p4[:, 0] = (p4[:, 1:].square().sum(1) + 0.1).sqrt()
    pairs = unordered_pairs(batch.ptr)
    energy, px, py, pz = p4.numpy().T
    everyone = vector.array({"px": px, "py": py, "pz": pz, "E": energy})
    one, other = everyone[pairs[0].numpy()], everyone[pairs[1].numpy()]
    delta = np.hypot(one.rapidity - other.rapidity, one.deltaphi(other))
    softer = np.minimum(one.pt, other.pt)
    columns = [softer * delta, softer / (one.pt + other.pt), delta, (one + other).mass2]
    expected = np.log(np.maximum(np.stack(columns, axis=1), 1e-8))
    # Of a constituent and itself the distance is 0.
    assert (expected[(pairs[0] == pairs[1]).numpy(), 2] == np.log(1e-8)).all()
    np.testing.assert_allclose(pair_features(p4, pairs), expected, rtol=1e-9, atol=1e-9)


def test_they_are_the_same_numbers_as_weaver_computes_in_float32() -> None:
    # Also the mass of a massless constituent with itself, which is rounding alone.
    pairwise = pytest.importorskip("weaver.nn.model.ParticleTransformer").pairwise_lv_fts_pp
    batch = make([60, 40])
    pairs = unordered_pairs(batch.ptr)
    momenta = batch.p4.roll(-1, dims=1)
    expected = pairwise(momenta[pairs[0]], momenta[pairs[1]])
    torch.testing.assert_close(pair_features(batch.p4, pairs), expected, rtol=1e-6, atol=1e-6)


def test_they_are_finite_where_rapidities_of_weaver_are_not() -> None:
    weaver = pytest.importorskip("weaver.nn.model.ParticleTransformer")
    p4 = torch.tensor(
        [
            [100.0, 0.01, 0.0, -100.0],  # E + pz rounds to 0
            [100.0, 0.0, 0.0, -100.0],
            [100.0, 0.0, 0.0, 100.0],
            [0.0, 0.0, 0.0, 0.0],
            [5.0, 3.0, 0.0, 4.0],
        ]
    )
    momenta = p4.roll(-1, dims=1)
    assert not weaver.to_ptrapphim(momenta, return_mass=False).isfinite().all()
    values = pair_features(p4, unordered_pairs(torch.tensor([0, 5])))
    assert values.isfinite().all()
    # The first and the last: |y| of the first is arsinh(100 / 0.01).
    distance = np.arcsinh(1e4) + np.arctanh(0.8)
    assert float(values[10, 2]) == pytest.approx(np.log(distance), rel=1e-5)


def test_gradients_are_finite_also_for_pairs_without_distance() -> None:
    p4 = make([6]).p4.requires_grad_()
    pair_features(p4, unordered_pairs(torch.tensor([0, 6]))).sum().backward()
    assert p4.grad is not None
    assert p4.grad.isfinite().all()
