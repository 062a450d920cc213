"""``hepgen compare`` on showers: one table and one page of several simulators."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest

from hepgen import calorimeter, report
from hepgen.calorimeter import GeometryError, ShowerError
from hepgen.cli import main
from hepgen.io.errors import InputError, MissingFile, NotReadable, OutputExists
from hepgen.report import of_shower_comparison, shower_comparison
from hepgen.report.shower_pictures import counted, energy_drawings
from hepgen.report.showers import ERRORS, PUBLISHED, beside, provenance, published
from hepgen.shower_comparison import (
    ShowerComparison,
    ShowerComparisonRow,
    compare_showers,
    holds_showers,
    load_shower_evaluation,
)
from hepgen.shower_evaluation import evaluate_showers
from tests.simulators.samples import IRREGULAR, made

OPTIONS = {"progress": False, "seeds": 1, "classifiers": []}


@pytest.fixture(scope="module")
def truth():
    return made(500, seed=1)


@pytest.fixture(scope="module")
def runs(truth):
    holes = made(500, seed=3)
    holes = replace(holes, voxels=holes.voxels * np.float32(0.9))
    classified = {**OPTIONS, "classifiers": ["high"]}
    return [
        evaluate_showers(made(500, seed=2), truth, name="fair", **classified),
        evaluate_showers(holes, truth, name="soft", **OPTIONS),
    ]


def kept(run, folder):
    folder.mkdir()
    (folder / "results.json").write_bytes(run.to_json())
    return str(folder)


def test_the_table_holds_the_numbers_of_each_run(runs):
    found = compare_showers(runs)
    assert isinstance(found, ShowerComparison)
    assert found.names == ("fair", "soft")
    rows = {row.metric: row for row in found.rows}
    auc = rows["classifier AUC, high-level"]
    assert isinstance(auc, ShowerComparisonRow)
    assert auc.estimates == (runs[0].classifiers["high"].auc, None)
    assert auc.floor == runs[0].classifiers["high"].auc.floor
    frechet = runs[1].distances["frechet"]
    over = rows["  the same over its floor"].estimates[1]
    assert over.value == pytest.approx(frechet.value / frechet.floor)
    response = [row for name, row in rows.items() if name.startswith("response over the true one")]
    assert [row.estimates[1] for row in response] == runs[1].response_ratio
    # 500 showers a run: soft ones have 0.9 of the response within some per cent.
    assert all(row.estimates[1].value == pytest.approx(0.9, abs=0.05) for row in response)
    assert str(found).splitlines()[0].split() == ["fair", "soft", "floor", "perfect"]
    plain = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert plain["names"] == ["fair", "soft"]


def test_runs_on_other_truths_layouts_and_bins_are_refused(runs, truth):
    other = evaluate_showers(made(500, seed=2), made(500, seed=9), name="soft", **OPTIONS)
    with pytest.raises(ShowerError, match=r"other true showers.*fair by 500 of .* soft by 500 of"):
        compare_showers([runs[0], other])
    few = evaluate_showers(made(500, seed=2), truth[:400], name="few", **OPTIONS)
    with pytest.raises(ShowerError, match="evaluate both with one --reference"):
        compare_showers([runs[0], few])
    edges = evaluate_showers(
        made(500, seed=2), truth, name="binned", energy_edges=[1, 20, 100], **OPTIONS
    )
    with pytest.raises(ShowerError, match="the same --energy-edges"):
        compare_showers([runs[0], edges])
    irregular = evaluate_showers(
        made(300, IRREGULAR), made(300, IRREGULAR, seed=2), name="odd", **OPTIONS
    )
    with pytest.raises(GeometryError, match="only evaluations in one layout"):
        compare_showers([runs[0], irregular])
    cut = replace(truth, geometry=replace(truth.geometry, threshold=1e-4))
    cut = evaluate_showers(made(500, seed=2), cut, name="cut", **OPTIONS)
    with pytest.raises(ShowerError, match="a reference of one threshold"):
        compare_showers([runs[0], cut])


def test_what_makes_numbers_incomparable_is_told(runs, truth):
    classified = {**OPTIONS, "classifiers": ["high"]}
    few = evaluate_showers(made(300, seed=4), truth, name="few", other=made(300), **classified)
    notes = " ".join(compare_showers([runs[0], few]).notes)
    assert "high-level classifiers learned from different numbers of showers (fair" in notes
    assert "different numbers of generated showers (fair 500, few 300)" in notes
    assert "some floors are of more true showers" in notes
    timed = [
        replace(run, times=[{"batch": 1, "milliseconds": 2.0, "spread": 1.1, "repetitions": 3}])
        for run in runs
    ]
    for run, device in zip(timed, ("cpu", "cuda"), strict=True):
        run.times[0].update(device=device, threads=1)
    found = compare_showers(timed)
    assert "times are of different devices: cpu with 1 threads, cuda" in " ".join(found.notes)
    time = found.rows[-1].estimates[0]
    assert (time.value, time.error) == pytest.approx((2.0, 0.2))


@pytest.mark.slow
def test_the_page_holds_all_and_needs_nothing(runs):
    three = [*runs, replace(runs[0], name="again")]
    files = of_shower_comparison(compare_showers(three), three)
    html = files["report.html"].decode()
    assert "3 simulators in" in html
    assert "judged by the same 500 true showers" in html
    assert "http://" not in html.replace("http://www.w3.org", "")
    pictures = {name for name in files if name.endswith(".png")}
    assert {"plots/numbers.png", "plots/mean_response.png", "plots/response.png"} <= pictures
    assert html.count("<svg") == len(pictures)
    assert provenance(runs[0]) in html
    assert ERRORS in html
    assert "Beside published" not in html


def test_energies_of_several_are_drawn_over_their_ratios(runs):
    bins = {"true": runs[0].energies["reference"]}
    bins |= {run.name: run.energies["generated"] for run in runs}
    response, _ = (drawing.draw() for drawing in energy_drawings(bins))
    ratio = response.axes[1].containers[1][0].get_ydata()
    np.testing.assert_allclose(ratio, [one.value for one in runs[1].response_ratio])
    assert counted("voxels") == "Share of voxels"


def test_joined_bins_keep_all_showers():
    values = np.arange(8.0)
    np.testing.assert_array_equal(shower_comparison._halved(values), [0, 3, 7, 11, 7])


def test_published_entries_stand_below_all_runs(runs):
    challenge = [replace(run, geometry=calorimeter.named_geometry("ds2")) for run in runs]
    entries = list(published(challenge[0]))
    html = beside(challenge, entries)
    assert "first lines are of this page" in PUBLISHED
    assert html.index(">fair<") < html.index(">soft<") < html.index(">CaloDREAM<")


def test_the_verb_compares_folders_of_showers(runs, tmp_path, capsys, monkeypatch):
    # What is in the page is another test, and takes long to draw.
    monkeypatch.setattr(report, "of_shower_comparison", lambda *_: {"report.html": b"page"})
    fair, soft = (kept(run, tmp_path / run.name) for run in runs)
    assert holds_showers(fair)
    assert main(["compare", fair, soft, "-o", str(tmp_path / "both")]) == 0
    assert "equivalent number of true showers" in capsys.readouterr().out
    told = json.loads((tmp_path / "both" / "comparison.json").read_text())
    assert told["names"] == ["fair", "soft"]
    assert main(["compare", fair, soft, "-o", str(tmp_path / "both")]) == 1
    assert "not empty" in capsys.readouterr().err
    again = kept(runs[0], tmp_path / "again")
    assert compare_showers([fair, again]).names == ("fair (fair)", "fair (again)")


def test_folders_of_something_else_are_named(runs, tmp_path, capsys):
    fair = kept(runs[0], tmp_path / "fair")
    (tmp_path / "jets").mkdir()
    (tmp_path / "jets" / "results.json").write_text('{"format": 1}')
    assert not holds_showers(tmp_path / "jets")
    assert not holds_showers(tmp_path / "nowhere")
    assert main(["compare", fair, str(tmp_path / "jets")]) == 1
    assert "is an evaluation of showers," in capsys.readouterr().err
    assert main(["compare", fair, str(tmp_path / "nowhere")]) == 1
    assert "no results.json of an evaluation" in capsys.readouterr().err
    with pytest.raises(InputError, match="two runs or more, of different names; got fair"):
        compare_showers([fair])
    with pytest.raises(MissingFile):
        load_shower_evaluation(tmp_path / "nowhere")
    (tmp_path / "fair" / "results.json").write_bytes(runs[0].to_json()[:-300])
    with pytest.raises(NotReadable, match="no evaluation of showers, or a damaged one"):
        load_shower_evaluation(fair)
    with pytest.raises(OutputExists):
        compare_showers(runs, output=tmp_path)
