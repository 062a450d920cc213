"""The strong coupling beside Pythia's, and its tables."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hepgen.integration.alpha_s import AlphaS, StrongCoupling, TabulatedAlphaS
from hepgen.integration.pdf import PDF
from hepgen.io.errors import InputError


@pytest.mark.parametrize("order", [0, 1, 2])
@pytest.mark.parametrize("max_flavours", [5, 6])
@pytest.mark.parametrize("value", [0.118, 0.13])
def test_the_coupling_runs_as_in_pythia(order: Any, max_flavours: int, value: float) -> None:
    pythia8 = pytest.importorskip("pythia8mc")
    theirs = pythia8.AlphaStrong()
    theirs.init(value, order, max_flavours, False)
    ours: StrongCoupling = AlphaS(value, order, max_flavours=max_flavours)
    scales = np.geomspace(1.0, 1e4, 300) ** 2
    known = [theirs.alphaS(q2) for q2 in scales.tolist()]
    np.testing.assert_allclose(ours(scales), known, rtol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_the_coupling_solves_the_equation_of_its_order(order: Any) -> None:
    # d alpha / d ln Q^2 = -alpha^2 (b0 + b1 alpha), b0 = (33 - 2n)/12 pi, b1 = (153 - 19n)/24 pi^2;
    # the second order is an expansion in 1/L, right up to the next order.
    coupling = AlphaS(0.118, order)
    step = 1e-4
    for scale, flavours in ((3.0, 4), (40.0, 5), (1000.0, 6)):
        low, middle, high = coupling(scale**2 * np.exp([-step, 0, step]))
        slope = (high - low) / (2 * step)
        b0 = (33 - 2 * flavours) / (12 * np.pi)
        b1 = (153 - 19 * flavours) / (24 * np.pi**2) if order == 2 else 0.0
        tolerance = 1e-6 if order == 1 else 3 * middle**2
        assert slope == pytest.approx(-(middle**2) * (b0 + b1 * middle), rel=tolerance)


def test_the_coupling_is_continuous_where_flavours_begin() -> None:
    for order in (1, 2):
        coupling = AlphaS(0.13, order)
        for mass in coupling.thresholds:
            below, above = coupling(mass**2 * np.array([1 - 1e-9, 1 + 1e-9]))
            assert below == pytest.approx(above, rel=1e-7)


def test_scales_near_lambda_are_refused() -> None:
    with pytest.raises(ValueError, match=r"above 0.\d+ GeV, where AlphaS\(0.13, order=1\) is pert"):
        AlphaS(0.13)([100.0, 0.01])
    with pytest.raises(ValueError, match=r"wanted scales above .* got Q\^2 = nan"):
        AlphaS(0.13)(np.nan)
    assert AlphaS(0.13)([]).shape == (0,)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"value": -0.1}, "wanted alpha_s between 0 and 1, got -0.1"),
        ({"order": 3}, r"wanted order 0 \(fixed\), 1 or 2, got 3"),
        ({"max_flavours": 7}, "wanted max_flavours from 3 to 6, got 7"),
        ({"thresholds": (4.8, 1.5, 171.0)}, "wanted charm < bottom < scale < top"),
        ({"scale": 200.0}, "wanted charm < bottom < scale < top"),
    ],
)
def test_arguments_without_sense_are_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        AlphaS(**arguments)


def test_a_table_gives_back_the_coupling_that_filled_it() -> None:
    known = AlphaS(0.118, 2)
    # Thresholds stand twice, as in the files of LHAPDF.
    q = np.concatenate(
        [np.geomspace(2, 4.8, 30), np.geomspace(4.8, 171, 60), np.geomspace(171, 1e4, 30)]
    )
    table = TabulatedAlphaS(q.tolist(), known(q**2).tolist())
    np.testing.assert_allclose(table(q**2), known(q**2), rtol=1e-12)
    between = np.geomspace(2.0, 1e4, 500) ** 2
    np.testing.assert_allclose(table(between), known(between), rtol=2e-4)
    assert table(91.0**2).shape == ()
    with pytest.raises(ValueError, match=r"wanted scales from 2 to 10000 GeV, .* got Q\^2 = 1.0"):
        table([100.0, 1.0])
    assert repr(table) == "TabulatedAlphaS(2 to 10000 GeV)"


def test_a_table_is_read_with_the_densities(tmp_path: Path) -> None:
    rows = "\n".join("1" for _ in range(16))
    (tmp_path / "mine_0000.dat").write_text(
        f"Format: lhagrid1\n---\n1e-3 1e-2 1e-1 1\n1 2 4 8\n21\n{rows}\n---\n"
    )
    with pytest.raises(
        InputError, match=r"no AlphaS_Qs with .*mine_0000.dat: .* AlphaS\(value, ord"
    ):
        TabulatedAlphaS.of(PDF(tmp_path / "mine_0000.dat"))
    (tmp_path / "mine.info").write_text("AlphaS_Qs: [1, 2, 4, 8]\nAlphaS_Vals: [.4, .3, .2, .1]\n")
    table = TabulatedAlphaS.of(PDF(tmp_path / "mine_0000.dat"))
    assert table(16.0) == pytest.approx(0.2)


def test_tables_that_do_not_fit_are_refused() -> None:
    with pytest.raises(InputError, match="at least 4 scales and as many values, got 4 and 3"):
        TabulatedAlphaS([1, 2, 3, 4], [0.1, 0.2, 0.3])
    with pytest.raises(InputError, match="wanted positive, rising scales"):
        TabulatedAlphaS([1, 3, 2, 4], [0.1, 0.2, 0.3, 0.4])
