"""Grids of LHAPDF6 beside Pythia's and scipy's evaluation, and the toy densities' sum rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from hepgen.integration.pdf import PDF, PartonDensities, ToyPDF
from hepgen.integration.pdf_grid import Grid, find_grid, read_grid
from hepgen.integration.pdf_kernels import Axis, axis, interpolate
from hepgen.io.errors import InputError, MissingFile, MissingName, NotReadable

Array = NDArray[np.float64]

SET = "NNPDF31_lo_as_0130"
FLAVOURS = (-5, -4, -3, -2, -1, 21, 1, 2, 3, 4, 5)
HEADER = "PdfType: central\nFormat: lhagrid1\n---\n"


def bundled(name: str = SET, **arguments: Any) -> PDF:
    pytest.importorskip("pythia8mc")
    return PDF(name, **arguments)


@pytest.fixture(scope="module")
def theirs() -> Callable[[Array, Array], Array]:
    """Pythia's x f of all flavours; where a density is below zero Pythia gives zero."""
    pythia8 = pytest.importorskip("pythia8mc")
    pythia = pythia8.Pythia("", False)
    for line in (
        "Print:quiet = on",
        f"PDF:pSet = LHAGrid1:{SET}_0000.dat",
        "HardQCD:gg2gg = on",
        "PhaseSpace:pTHatMin = 50",
        "PartonLevel:all = off",
    ):
        assert pythia.readString(line)
    assert pythia.init()
    # The object of Pythia must outlive its densities.
    density = pythia.getPDFPtr(2212)

    def evaluate(x: Array, q2: Array, _keep: Any = pythia) -> Array:
        rows = [
            [density.xf(f, a, b) for f in FLAVOURS]
            for a, b in zip(x.tolist(), q2.tolist(), strict=True)
        ]
        return np.array(rows)

    return evaluate


def test_values_at_knots_are_those_of_pythia(theirs: Callable[[Array, Array], Array]) -> None:
    pdf, grid = bundled(), read_grid(find_grid(SET))
    rng = np.random.default_rng(1)
    # Not the last knot in x: at x = 1 Pythia gives large numbers instead of 0.
    x = rng.choice(grid.x[:-1], 2000)
    q2 = rng.choice(grid.q, 2000) ** 2
    ours = pdf.xfx(FLAVOURS, x, q2)
    np.testing.assert_allclose(np.maximum(ours, 0), theirs(x, q2), rtol=1e-6, atol=1e-9)


def test_values_between_knots_are_those_of_pythia_but_for_its_other_cubic(
    theirs: Callable[[Array, Array], Array],
) -> None:
    # Pythia interpolates by Lagrange's cubic through four knots, LHAPDF by Hermite's.
    rng = np.random.default_rng(2)
    x = np.exp(rng.uniform(np.log(1e-7), np.log(0.5), 2000))
    q2 = np.exp(rng.uniform(np.log(30), np.log(1e8), 2000))
    ours, known = np.maximum(bundled().xfx(FLAVOURS, x, q2), 0), theirs(x, q2)
    off = np.abs(ours - known) / (np.abs(known) + 1e-3)
    assert np.median(off) < 3e-5
    assert off.max() < 3e-3


def test_interpolation_is_scipys_hermite_spline_with_mean_slopes() -> None:
    interpolate_module = pytest.importorskip("scipy.interpolate")
    rng = np.random.default_rng(3)
    knots = [np.sort(rng.uniform(0, 5, n)) for n in (9, 7, 5)]
    y_knots = np.concatenate([knots[1], knots[1][-1] + knots[2] - knots[2][0]])
    values = rng.normal(size=(9, 12, 3))

    def hermite(at: float, nodes: Array, table: Array) -> Array:
        left = np.diff(table, axis=0) / np.diff(nodes).reshape(-1, *[1] * (table.ndim - 1))
        slopes = np.concatenate([left[:1], (left[1:] + left[:-1]) / 2, left[-1:]])
        result: Array = interpolate_module.CubicHermiteSpline(nodes, table, slopes)(at)
        return result

    x = rng.uniform(knots[0][0], knots[0][-1], 500)
    y = rng.uniform(y_knots[0], y_knots[-1], 500)
    known = []
    for a, b in zip(x, y, strict=True):
        piece = slice(0, 7) if b < y_knots[7] else slice(7, 12)
        known.append(hermite(b, y_knots[piece], hermite(a, knots[0], values)[piece]))
    out = np.empty((500, 3))
    ours: Axis = axis(knots[0])
    interpolate(values, ours, axis(y_knots), x, y, out)
    np.testing.assert_allclose(out, known, rtol=1e-11, atol=1e-11)


def test_a_subgrid_of_two_or_three_knots_is_interpolated_linearly() -> None:
    x_knots, y_knots = np.arange(4.0), np.array([0.0, 1.0, 1.0, 2.0, 4.0])
    values = np.broadcast_to(np.array([1.0, 3.0, 5.0, 9.0, 2.0])[:, None], (4, 5, 1)).copy()
    y = np.array([0.0, 0.25, 0.999999, 1.0, 1.5, 3.0, 4.0])
    out = np.empty((7, 1))
    interpolate(values, axis(x_knots), axis(y_knots), np.full(7, 1.3), y, out)
    np.testing.assert_allclose(out[:, 0], [1, 1.5, 2.999998, 5, 7, 5.5, 2], atol=1e-12)


@pytest.mark.parametrize(
    "name", ["toy", SET, "NNPDF31_nnlo_as_0118_luxqed", "NNPDF31_nlo_as_0118_luxqed"]
)
def test_densities_obey_the_sum_rules_of_the_proton(name: str) -> None:
    pdf: PartonDensities = ToyPDF() if name == "toy" else bundled(name)
    nodes, weights = np.polynomial.legendre.leggauss(400)
    z = (nodes + 1) / 2  # x = z^6 lets the small x count
    x, measure = z**6, 6 * z**5 * weights / 2
    x = np.maximum(x, 1e-12)
    values = pdf.xfx(pdf.flavours, x, 1e4)
    number = dict(zip(pdf.flavours, values.T, strict=True))
    assert measure @ values.sum(1) == pytest.approx(1, abs=3e-3)
    for flavour, count in ((2, 2), (1, 1), (3, 0)):
        valence = measure @ ((number[flavour] - number[-flavour]) / x)
        assert valence == pytest.approx(count, abs=2e-2)


def test_beyond_the_grid_values_freeze_or_raise() -> None:
    pdf = bundled()
    edge = pdf.xfx(FLAVOURS, [1e-9, 0.1, 0.1], [100.0, pdf.q2_min, pdf.q2_max])
    beyond = pdf.xfx(FLAVOURS, [1e-12, 0.1, 0.1], [100.0, 0.5, 1e12])
    np.testing.assert_array_equal(edge, beyond)
    strict = bundled(outside="error")
    strict.xfx([21], [0.1], [100.0])
    with pytest.raises(
        ValueError, match=r"known for x from 1e-09 to 1, got 1e-12 at point 1 \(1 of 2"
    ):
        strict.xfx([21], [0.1, 1e-12], [100.0, 100.0])
    with pytest.raises(
        ValueError, match=r"known for Q\^2 from 2.72.* to 1e\+10 GeV\^2, got 1.0 at"
    ):
        strict.xfx([21], [0.1], [1.0])
    with pytest.raises(InputError, match="outside must be 'freeze' or 'error', got 'extrapolate'"):
        ToyPDF(outside="extrapolate")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("x", "q2", "message"),
    [
        ([0.1, 0.0], 10.0, r"wanted x in \(0, 1\], got 0.0 at point 1 \(1 of 2 points"),
        ([1.1], 10.0, r"wanted x in \(0, 1\], got 1.1 at point 0"),
        ([0.1, np.nan], 10.0, r"wanted x in \(0, 1\], got nan at point 1"),
        ([0.1], -1.0, r"wanted Q\^2 in \(0, inf\] GeV\^2, got -1.0 at point 0"),
        ([[0.1]], 10.0, r"wanted x of shape \(B,\), got shape \(1, 1\)"),
    ],
)
def test_points_that_mean_nothing_are_refused(x: Any, q2: float, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        ToyPDF().xfx([21], x, q2)


def test_an_unknown_flavour_is_named_with_those_there_are() -> None:
    with pytest.raises(
        MissingName, match=r"no flavour 0 in ToyPDF\(\); there are -5, -4, .* 21, 1"
    ):
        ToyPDF().xfx([21, 0], [0.1], 10.0)


def test_tensors_come_back_as_tensors_and_no_points_as_none() -> None:
    x = torch.tensor([0.1, 0.2], dtype=torch.float64)
    ours = ToyPDF().xfx([21, 2], x, torch.tensor([10.0, 10.0]))
    assert ours.dtype == torch.float64
    np.testing.assert_array_equal(ours.numpy(), ToyPDF().xfx([21, 2], [0.1, 0.2], 10.0))
    assert ToyPDF().xfx([21, 2], [], 10.0).shape == (0, 2)


def write(
    path: Path, *, x: str = "1e-3 1e-2 1e-1 1", q: str = "1 2 4 8", flavours: str = "21 1"
) -> Path:
    rows = "\n".join(f"{number} {number / 2}" for number in range(16))
    path.write_text(f"{HEADER}{x}\n{q}\n{flavours}\n{rows}\n---\n")
    return path


def test_a_grid_is_read_with_what_its_set_says(tmp_path: Path) -> None:
    path = write(tmp_path / "mine_0003.dat")
    (tmp_path / "mine.info").write_text("SetDesc: mine\nForcePositive: 2\nQMax: 8\n")
    grid: Grid = read_grid(path)
    assert (grid.flavours, grid.values.shape, grid.info["SetDesc"]) == ((21, 1), (4, 4, 2), "mine")
    assert grid.values[1, 2].tolist() == [6, 3]
    assert PDF(path).xfx([21], [1e-3, 1e-2], [1.0, 16.0]).tolist() == [[1e-10], [pytest.approx(6)]]
    assert repr(PDF(path)) == "PDF('mine_0003.dat')"


def test_a_set_is_found_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    path = write(tmp_path / "mine" / "mine_0003.dat")
    monkeypatch.setenv("LHAPDF_DATA_PATH", f"/nowhere:{tmp_path}")
    assert find_grid("mine", member=3) == find_grid("mine_0003.dat") == path
    with pytest.raises(
        MissingFile, match=r"no grid file mien_0003.dat in .* nearest: mine_0003.dat"
    ):
        PDF("mien", member=3)
    with pytest.raises(MissingFile, match=r"no grid file .*absent.dat"):
        PDF(tmp_path / "absent.dat")


def test_a_grid_cut_anywhere_is_refused(tmp_path: Path) -> None:
    whole = write(tmp_path / "whole.dat").read_text()
    assert PDF(tmp_path / "whole.dat").x_max == 1
    path = tmp_path / "cut.dat"
    for length in range(0, len(whole) - 8, 3):
        path.write_text(whole[:length])
        with pytest.raises(NotReadable, match="cut"):
            PDF(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("x f\n1 2\n", "wanted a grid of LHAPDF6, which begins with `key: value` lines"),
        ("Format: lhagrid2\n---\n1\n", "wanted a grid of LHAPDF6 .*, got 'lhagrid2' in"),
        (f"{HEADER}1 2 x 4\n1 2\n21\n0\n---", "could not convert string to float: 'x'"),
        (
            f"{HEADER}1 2 2 4\n1 2\n21\n0\n---",
            r"rising, positive knots in x, got 4, of which x\[1:3\]",
        ),
        (f"{HEADER}1 2 3 4\n1 2\n21 21\n0\n---", "names a flavour twice"),
        (
            f"{HEADER}1 2 3 4\n1 2\n21\n" + "0\n" * 7 + "---",
            "cut short: 7 rows for 4 knots in x times 2",
        ),
        (f"{HEADER}1 2 3 4\n1 2\n21\n" + "0\n" * 9 + "---", "damaged: 9 rows"),
        (
            f"{HEADER}1 2 3 4\n1 2\n21\n" + "0\n" * 7 + "nan\n---",
            "x f is nan for flavour 21 at x = 4",
        ),
        (
            f"{HEADER}1 2 3 4\n1 2\n21\n" + "0\n" * 7 + "0 1\n---",
            "9 numbers for 8 rows of 1 flavours",
        ),
        (f"{HEADER}1 2 3 4\n1 2\n21\n" + "0\n" * 8 + "---", "wanted at least 4 knots in Q"),
    ],
)
def test_a_damaged_grid_is_refused_with_the_place(
    content: str, message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.dat"
    path.write_text(content)
    with pytest.raises(NotReadable, match=message):
        PDF(path)


def test_subgrids_must_join_and_reach_what_the_set_says(tmp_path: Path) -> None:
    first = write(tmp_path / "first.dat").read_text()
    path = tmp_path / "set_0000.dat"
    body = first.removeprefix(HEADER)
    path.write_text(first + body.replace("1 2 4 8", "9 10 11 12"))
    with pytest.raises(
        NotReadable, match=r"subgrid 2 of .* begins at Q = 9.0 GeV, the one before ends"
    ):
        PDF(path)
    path.write_text(first + body.replace("21 1", "21 2"))
    with pytest.raises(NotReadable, match=r"subgrid 2 of .* has other flavours or knots in x"):
        PDF(path)
    path.write_text(first)
    (tmp_path / "set.info").write_text("QMax: 1000\n")
    with pytest.raises(
        NotReadable, match=r"cut short: it ends at Q = 8.0 GeV, its set says QMax: 1000"
    ):
        PDF(path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(NotReadable, match="it is no text"):
        PDF(path)
