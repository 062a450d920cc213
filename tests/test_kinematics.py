"""Kinematics against the package vector, on numpy arrays and torch tensors."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import vector
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from hepgen import kinematics

SCALARS = {
    "pt": "pt",
    "eta": "eta",
    "phi": "phi",
    "rapidity": "rapidity",
    "mass": "mass",
    "mass_squared": "tau2",
}
TOLERANCE = {np.float32: 1e-6, np.float64: 1e-12}

momentum = st.floats(-1e4, 1e4).map(lambda value: 0.0 if abs(value) < 1e-3 else value)
masses = st.floats(0.01, 500)


@st.composite
def massive(draw: st.DrawFn, count: int = 5) -> np.ndarray:
    """Physical four-momenta (count, 4) with some transverse momentum."""
    p3 = draw(arrays(np.float64, (count, 3), elements=momentum))
    p3[:, 0] = np.where(np.hypot(p3[:, 0], p3[:, 1]) < 1, 1.0, p3[:, 0])
    m = draw(arrays(np.float64, (count,), elements=masses))
    return np.column_stack([np.sqrt((p3**2).sum(1) + m**2), p3])


def as_vector(p4: np.ndarray) -> vector.MomentumNumpy4D:
    return vector.arr({"E": p4[..., 0], "px": p4[..., 1], "py": p4[..., 2], "pz": p4[..., 3]})


def both_kinds(p4: np.ndarray, dtype: type) -> list[np.ndarray | torch.Tensor]:
    return [p4.astype(dtype), torch.from_numpy(p4.astype(dtype))]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("name", SCALARS)
@given(p4=massive())
def test_each_quantity_equals_that_of_vector(name: str, dtype: type, p4: np.ndarray) -> None:
    rounded = p4.astype(dtype).astype(np.float64)
    reference = as_vector(rounded)
    # Rounding can leave E < |p|, where the rapidity of vector is nan.
    kept = reference.tau2 > 0 if name == "rapidity" else np.full(len(p4), True)
    expected = getattr(reference[kept], SCALARS[name])
    cancelled = 1e-14 * rounded[kept, 0] ** 2
    cancelled /= {"mass_squared": 1, "rapidity": reference.mt2[kept]}.get(name, np.inf)
    for kind in both_kinds(p4, dtype):
        got = getattr(kinematics, name)(kind)
        assert type(got) is type(kind)
        assert got.dtype == kind.dtype
        if name == "mass":
            expected, cancelled = reference.tau2, 1e-14 * rounded[:, 0] ** 2
            got = got.double() if isinstance(got, torch.Tensor) else got.astype(np.float64)
            got = got * abs(got)
        error = np.abs(np.asarray(got, np.float64)[kept] - expected)
        assert np.all(error <= TOLERANCE[dtype] * (1e-3 + np.abs(expected)) + cancelled)


@given(a=massive(), b=massive())
def test_the_product_equals_that_of_vector(a: np.ndarray, b: np.ndarray) -> None:
    expected = as_vector(a).dot(as_vector(b))
    np.testing.assert_allclose(
        kinematics.minkowski_dot(a, b), expected, atol=1e-14 * (a[:, 0] * b[:, 0]).max()
    )
    got = kinematics.minkowski_dot(torch.from_numpy(a), torch.from_numpy(b))
    np.testing.assert_allclose(got, expected, atol=1e-14 * (a[:, 0] * b[:, 0]).max())


@given(a=massive(), b=massive())
def test_angular_distances_equal_those_of_vector(a: np.ndarray, b: np.ndarray) -> None:
    angles = [kinematics.eta(a), kinematics.phi(a), kinematics.eta(b), kinematics.phi(b)]
    left, right = as_vector(a), as_vector(b)
    np.testing.assert_allclose(
        np.cos(kinematics.delta_phi(angles[1], angles[3])), np.cos(left.deltaphi(right)), atol=1e-12
    )
    np.testing.assert_allclose(kinematics.delta_r(*angles), left.deltaR(right), atol=1e-9)
    tensors = [torch.from_numpy(angle) for angle in angles]
    np.testing.assert_allclose(kinematics.delta_r(*tensors), left.deltaR(right), atol=1e-9)


@given(a=arrays(np.float64, 8, elements=st.floats(-20, 20)), dtype=st.sampled_from(list(TOLERANCE)))
def test_delta_phi_lies_in_its_half_open_interval(a: np.ndarray, dtype: type) -> None:
    a = np.append(a, [np.pi, -np.pi, 3 * np.pi, np.nextafter(np.pi, 4)]).astype(dtype)
    for angles in both_kinds(a, dtype):
        turned = np.asarray(kinematics.delta_phi(angles, angles * 0))
        assert np.all((turned >= dtype(-np.pi)) & (turned < dtype(np.pi)))
        np.testing.assert_allclose(np.exp(1j * turned), np.exp(1j * a), atol=20 * TOLERANCE[dtype])


@given(
    pt=arrays(np.float64, 4, elements=st.floats(1e-3, 1e4)),
    eta=arrays(np.float64, 4, elements=st.floats(-5, 5)),
    phi=arrays(np.float64, 4, elements=st.floats(-3.1, 3.1)),
    mass=arrays(np.float64, 4, elements=st.floats(0, 500)),
)
def test_momenta_from_collider_coordinates_equal_those_of_vector(
    pt: np.ndarray, eta: np.ndarray, phi: np.ndarray, mass: np.ndarray
) -> None:
    reference = vector.arr({"pt": pt, "eta": eta, "phi": phi, "mass": mass})
    expected = np.stack([reference.E, reference.px, reference.py, reference.pz], -1)
    got = kinematics.from_pt_eta_phi_mass(pt, eta, phi, mass)
    np.testing.assert_allclose(got, expected, rtol=1e-12, atol=1e-12)
    tensors = (torch.from_numpy(coordinate) for coordinate in (pt, eta, phi, mass))
    np.testing.assert_allclose(
        kinematics.from_pt_eta_phi_mass(*tensors), expected, rtol=1e-12, atol=1e-12
    )
    again = kinematics.from_px_py_pz_mass(got[:, 1], got[:, 2], got[:, 3], mass)
    np.testing.assert_allclose(again, expected, rtol=1e-12)


def test_one_mass_serves_all_momenta() -> None:
    px = np.array([3.0, 0.0])
    got = kinematics.from_px_py_pz_mass(px, px * 0, px * 0, np.array(4.0))
    np.testing.assert_allclose(got, [[5, 3, 0, 0], [4, 0, 0, 0]])


@given(p4=massive(), beta=arrays(np.float64, (5, 3), elements=st.floats(-0.57, 0.57)))
def test_a_boost_equals_that_of_vector(p4: np.ndarray, beta: np.ndarray) -> None:
    # A subnormal velocity squares to 0, where vector divides by it.
    beta = np.where(np.abs(beta) < 1e-6, 0.1, beta)
    moved = as_vector(p4).boost_beta3(
        vector.arr({"x": beta[:, 0], "y": beta[:, 1], "z": beta[:, 2]})
    )
    expected = np.stack([moved.E, moved.px, moved.py, moved.pz], -1)
    tolerance = 1e-11 * p4[:, 0].max()
    np.testing.assert_allclose(kinematics.boost(p4, beta), expected, atol=tolerance)
    got = kinematics.boost(torch.from_numpy(p4), torch.from_numpy(beta))
    np.testing.assert_allclose(got, expected, atol=tolerance)


@given(p4=massive())
def test_a_boost_by_minus_the_velocity_leads_to_the_rest_frame(p4: np.ndarray) -> None:
    p4[:, 0] = np.sqrt((p4[:, 1:] ** 2).sum(1) + 173.0**2)
    at_rest = kinematics.boost(p4, -kinematics.velocity(p4))
    tolerance = 1e-13 * p4[:, 0].max() ** 3 / 173.0**2
    np.testing.assert_allclose(at_rest[:, 1:], 0, atol=tolerance)
    np.testing.assert_allclose(at_rest[:, 0], 173.0, atol=tolerance)


def test_no_boost_changes_nothing() -> None:
    p4 = np.array([[5.0, 1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(kinematics.boost(p4, np.zeros((1, 3))), p4)


def test_mass_in_float32_is_right_for_hard_light_particles() -> None:
    p4 = kinematics.from_pt_eta_phi_mass(*np.array([[900.0], [1.0], [0.3], [50.0]])).astype(
        np.float32
    )
    exact = as_vector(p4.astype(np.float64)).mass
    np.testing.assert_allclose(kinematics.mass(p4), exact, rtol=1e-6)
    np.testing.assert_allclose(kinematics.mass(torch.from_numpy(p4)), exact, rtol=1e-6)


@pytest.mark.parametrize(
    ("name", "p4", "expected"),
    [
        ("eta", [5, 0, 0, 5], np.inf),
        ("eta", [5, 0, 0, -5], -np.inf),
        ("eta", [0, 0, 0, 0], 0),
        ("rapidity", [5, 0, 0, 5], np.inf),
        ("rapidity", [0, 0, 0, 0], 0),
        ("rapidity", [4.9, 3, 0, 4], np.arcsinh(4 / 3)),
        ("phi", [5, 0, 0, 5], 0),
        ("mass", [4, 3, 0, 4], -3),
        ("mass", [5, 3, 0, 4], 0),
        ("pt", [0, 0, 0, 0], 0),
    ],
)
def test_edge_cases_have_the_stated_values(name: str, p4: list[float], expected: float) -> None:
    for kind in both_kinds(np.array([p4], np.float64), np.float64):
        np.testing.assert_allclose(getattr(kinematics, name)(kind), [expected], rtol=1e-14)


@pytest.mark.parametrize("name", SCALARS)
@pytest.mark.parametrize("p4", [[50, 30, 0, 40], [50, 0, 0, 50], [0, 0, 0, 0], [60, 10, 20, -30]])
def test_gradients_are_finite_everywhere(name: str, p4: list[float]) -> None:
    tensor = torch.tensor([p4], dtype=torch.float64, requires_grad=True)
    getattr(kinematics, name)(tensor).sum().backward()
    assert torch.isfinite(tensor.grad).all()


@pytest.mark.parametrize("name", [*SCALARS, "velocity"])
def test_gradients_are_those_of_finite_differences(name: str) -> None:
    p4 = torch.tensor([[60, 10, 20, -30], [7, 1, 2, 3]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(getattr(kinematics, name), p4)


def test_a_boost_has_gradients_in_momenta_and_velocity() -> None:
    p4 = torch.tensor([[60.0, 10, 20, -30]], dtype=torch.float64, requires_grad=True)
    beta = torch.tensor([[0.1, -0.2, 0.3]], dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(kinematics.boost, (p4, beta))
    assert torch.autograd.gradcheck(kinematics.boost, (p4, beta * 0))


@pytest.mark.parametrize("name", SCALARS)
def test_torch_compile_takes_each_quantity_as_one_graph(name: str) -> None:
    p4 = torch.tensor([[60.0, 10, 20, -30], [0, 0, 0, 0]])
    function = getattr(kinematics, name)
    compiled = torch.compile(function, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(p4), function(p4))


def test_nan_stays_nan() -> None:
    p4 = np.array([[np.nan, 1.0, np.nan, 2.0]])
    assert np.isnan(kinematics.pt(p4)).all()
    assert np.isnan(kinematics.mass(p4)).all()


def test_wrong_shapes_and_kinds_are_named() -> None:
    with pytest.raises(ValueError, match=r"\(\.\.\., 4\).*got shape \(2, 3\)"):
        kinematics.pt(np.zeros((2, 3)))
    with pytest.raises(ValueError, match=r"\(\.\.\., 3\), got shape \(4,\)"):
        kinematics.boost(np.zeros(4), np.zeros(4))
    with pytest.raises(ValueError, match=r"below 1 .* got up to 1\.0"):
        kinematics.boost(np.ones(4), np.array([0.0, 0.0, 1.0]))
    with pytest.raises(TypeError, match=r"got builtins\.list; for awkward arrays"):
        kinematics.pt([[1.0, 2.0, 3.0, 4.0]])


def test_kinematics_imports_no_torch() -> None:
    script = "import sys, hepgen.kinematics; sys.exit('torch' in sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True)
