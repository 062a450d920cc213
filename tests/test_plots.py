"""Plots draw the numbers they are given, and leave matplotlib as they found it."""

from __future__ import annotations

import io
import subprocess
import sys

import hist
import matplotlib as mpl
import numpy as np
import pytest

from hepgen import metrics, plots
from hepgen.plots.style import AXIS_LABELS, colours
from hepgen.plots.training import read_history

RNG = np.random.default_rng(3)
LABELS = RNG.random(4000) < 0.5
SCORES = 1 / (1 + np.exp(-RNG.normal(1.5 * LABELS - 0.7)))
PT = RNG.uniform(550, 650, 4000)
MASS = RNG.gamma(2, 45, 4000)


def draw_roc(ax):
    return plots.roc(ax, {"tagger": metrics.roc(LABELS, SCORES)}, working_points=(0.3,))


def draw_scores(ax):
    return plots.scores(ax, {"top": SCORES[LABELS], "qcd": SCORES[~LABELS]}, signal="top")


def draw_efficiency(ax):
    found = metrics.in_bins(metrics.background_rejection, PT, LABELS, SCORES, bins=4)
    return plots.efficiency_vs(ax, {"tagger": found}, quantity="Background rejection", log=True)


def draw_sculpting(ax):
    edges = metrics.mass_edges(MASS, 20)
    before = plots.histogram(MASS, bins=edges)
    after = plots.histogram(MASS[SCORES > 0.5], bins=edges)
    return plots.mass_sculpting(ax, before, {"50 %": after})


def draw_confusion(ax):
    matrix = metrics.confusion_matrix(LABELS.astype(int), np.stack([1 - SCORES, SCORES], 1))
    return plots.confusion(ax, matrix, ["qcd", "top"])


def draw_calibration(ax):
    return plots.calibration(ax, {"tagger": metrics.reliability(LABELS, SCORES)}, signal="top")


def draw_training(ax):
    return plots.training_curves(
        ax, {"epoch": [1, 2, 3], "train_loss": [3, 2, 1], "validation_loss": [4, 2, 3]}
    )


def draw_distributions(ax):
    histograms = {"pt": plots.histogram(PT, title="pT [GeV]")}
    return plots.distributions(ax, histograms, log=True)


DRAW = [
    draw_roc,
    draw_scores,
    draw_efficiency,
    draw_sculpting,
    draw_confusion,
    draw_calibration,
    draw_training,
    draw_distributions,
]


@pytest.mark.parametrize("draw", DRAW, ids=lambda draw: draw.__name__)
def test_a_plot_gives_its_artists_names_its_axes_and_renders(draw):
    with plots.style():
        figure, (ax,) = plots.figure()
        artists = draw(ax)
        plots.label(ax, "Simulation", right="14 TeV")
        file = io.BytesIO()
        figure.savefig(file, format="svg")
    assert artists
    assert ax.get_xlabel()
    assert ax.get_ylabel()
    assert b"</svg>" in file.getvalue()


@pytest.mark.parametrize("draw", DRAW, ids=lambda draw: draw.__name__)
def test_a_plot_changes_no_setting_and_leaves_no_figure_open(draw):
    from matplotlib import pyplot

    before = dict(mpl.rcParams)
    with plots.style():
        _, (ax,) = plots.figure()
        draw(ax)
    assert dict(mpl.rcParams) == before
    assert pyplot.get_fignums() == []


@pytest.mark.parametrize("draw", DRAW, ids=lambda draw: draw.__name__)
def test_the_same_data_give_the_same_file(draw):
    files = []
    for _ in range(2):
        with plots.style():
            figure, (ax,) = plots.figure()
            draw(ax)
            file = io.BytesIO()
            figure.savefig(file, format="svg", metadata={"Date": None})
            files.append(file.getvalue())
    assert files[0] == files[1]


def test_a_style_takes_further_settings_and_restores_them():
    with plots.style(font__size=21):
        assert mpl.rcParams["font.size"] == 21
        assert mpl.rcParams["axes.prop_cycle"].by_key()["color"] == list(plots.COLOURS)
    assert mpl.rcParams["font.size"] != 21
    with pytest.raises(KeyError), plots.style(no__such="setting"):
        pass


def test_up_to_ten_curves_have_colours_of_their_own():
    assert colours(6) == list(plots.COLOURS)
    assert [len(set(colours(number))) for number in (1, 6, 7, 10, 13)] == [1, 6, 7, 10, 10]


def test_the_curve_is_the_rejection_of_the_metrics_and_the_ratio_is_to_the_first():
    one, other = metrics.roc(LABELS, SCORES), metrics.roc(LABELS, SCORES + RNG.normal(0, 0.2, 4000))
    _, (ax, ratio) = plots.figure("ratio")
    artists = plots.roc(ax, {"one": one, "other": other}, ratio_ax=ratio, points=20)
    lines = [artist for artist in artists if hasattr(artist, "get_xdata")]
    signal, rejection = lines[0].get_data()
    for x, y in list(zip(signal, rejection, strict=True))[8:]:
        assert y == pytest.approx(metrics.background_rejection(LABELS, SCORES, x).value)
    np.testing.assert_allclose(lines[1].get_ydata()[8:], 1)
    np.testing.assert_allclose(
        lines[3].get_ydata()[8:], (lines[2].get_ydata() / rejection)[8:], rtol=1e-12
    )
    assert ax.get_yscale() == "log"


def test_a_curve_ends_where_hardly_any_background_passes():
    _, (ax,) = plots.figure()
    (line, *_) = plots.roc(ax, {"perfect": metrics.roc(LABELS, LABELS.astype(float))})
    assert np.isnan(line.get_ydata()[:-1]).all()


def test_bars_are_the_bins_and_the_errors():
    found = metrics.efficiency_in_bins(SCORES > 0.5, PT, bins=[550, 600, 650])
    _, (ax,) = plots.figure()
    (bars,) = plots.efficiency_vs(ax, {"tagger": found}, observable="pt")
    np.testing.assert_allclose(bars.lines[0].get_ydata(), found.values)
    across, along = (np.array(part.get_segments()) for part in bars.lines[2])
    np.testing.assert_allclose(across[:, :, 0], [[550, 600], [600, 650]])
    np.testing.assert_allclose(np.diff(along[:, :, 1])[:, 0], 2 * found.errors)
    assert ax.get_xlabel() == AXIS_LABELS["pt"]
    assert "GeV" in ax.get_xlabel()


def test_histograms_keep_the_squares_of_the_weights():
    found = plots.histogram([0.5, 0.5, 1.5, np.nan], [2, 3, 1, 1], bins=2, span=(0, 2))
    assert isinstance(found, hist.Hist)
    assert found.values().tolist() == [5, 1]
    assert found.variances().tolist() == [13, 1]
    assert plots.histogram([1.0, 1.0]).sum().value == 2
    with pytest.raises(ValueError, match="finite values"):
        plots.histogram([np.nan])


def test_a_score_of_one_is_in_the_last_bin():
    _, (ax,) = plots.figure()
    plots.scores(ax, {"top": [0.0, 1.0], "qcd": [0.0, 0.0]}, bins=2)
    edges, heights = ax.get_xlim(), ax.patches
    assert edges == pytest.approx((0, 1))
    assert heights or ax.collections or ax.lines


def test_the_best_epoch_is_marked(tmp_path):
    path = tmp_path / "history.csv"
    path.write_text("epoch,train_loss,validation_loss\n1,3,4\n2,2,2\n3,1,3\n")
    assert read_history(path)["validation_loss"] == [4, 2, 3]
    _, (ax,) = plots.figure()
    plots.training_curves(ax, path)
    assert "Best: epoch 2" in [text.get_text() for text in ax.get_legend().get_texts()]
    with pytest.raises(ValueError, match="ends in 'accuracy'; columns: epoch, train_loss"):
        plots.training_curves(ax, path, quantity="accuracy")


def test_nothing_to_draw_is_an_error():
    _, (ax,) = plots.figure()
    for draw in (
        plots.roc,
        plots.distributions,
        plots.scores,
        plots.efficiency_vs,
        plots.calibration,
    ):
        with pytest.raises(ValueError, match=r"need|needs"):
            draw(ax, {})
    matrix = metrics.confusion_matrix([0, 1], np.eye(2))
    with pytest.raises(ValueError, match="3 class names for a matrix of 2 rows"):
        plots.confusion(ax, matrix, "abc")


def test_plots_need_neither_torch_nor_a_display():
    code = "import sys, hepgen.plots; assert 'torch' not in sys.modules; print('fine')"
    found = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env={"PATH": ""}
    )
    assert found.stdout == "fine\n"
