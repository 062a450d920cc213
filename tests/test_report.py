"""The pages: one file each, well-formed, safe, readable."""

from __future__ import annotations

import io
import re
from html.parser import HTMLParser

import numpy as np
import PIL.Image
import pytest

from hepgen import metrics, plots, report
from hepgen.io.errors import MissingFile, OutputExists
from hepgen.report import drawing, page, pictures

RNG = np.random.default_rng(1)
NASTY = "</title><script>alert(1)</script> & \"x\" 'y' $\\frac"
VOID = {"meta", "br", "img", "link", "input", "hr"}


def summary(classes=("top", "qcd"), name="run", noise=0.0, observables=()):
    rng = np.random.default_rng(2)
    number = len(classes)
    labels = rng.integers(0, number, 900)
    logits = rng.normal(size=(900, number)) + 1.5 * np.eye(number)[labels]
    logits += noise * rng.normal(size=logits.shape)
    scores = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    found = metrics.summarise(
        labels,
        scores,
        classes=classes,
        observables={key: rng.gamma(3, 40, 900) for key in observables},
        resamples=10,
        name=name,
    )
    found.provenance.update(
        {
            "files": [{"scores": NASTY, "of": NASTY, "tree": "t", "entries": 9, "jets": 9}],
            "model": {"model": NASTY, "hash": NASTY},
            "versions": {"hepgen": NASTY},
            "date": "2026-01-01",
        }
    )
    return found


class Checked(HTMLParser):
    """Tags that match, ids that are there once, references that lead somewhere."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.references: set[str] = set()
        self.outside: list[str] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert not self.open, f"not closed: {self.open}"

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        self.attributes(attrs)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes(attrs)

    def attributes(self, attrs):
        for name, value in attrs:
            if name == "id":
                self.ids.append(value)
            elif name in ("href", "xlink:href", "src"):
                (self.references.add(value[1:]) if value[0] == "#" else self.outside.append(value))
            for target in re.findall(r"url\(#([^)]*)\)", value or ""):
                self.references.add(target)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text += data


@pytest.fixture(scope="module")
def pages():
    two = summary(name=NASTY, observables=("pt", "mass", NASTY))
    three = summary(("top", "W<b>", "qcd"), name="three")
    other = summary(name="other", noise=1.0)
    return {
        "two": report.of_evaluation(two),
        "three": report.of_evaluation(three),
        "comparison": report.of_comparison(metrics.compare_evaluations([two, other]), [two, other]),
    }


@pytest.mark.parametrize("name", ["two", "three", "comparison"])
def test_a_page_is_well_formed_and_needs_nothing_from_outside(pages, name):
    text = pages[name]["report.html"].decode()
    found = Checked(text)
    assert text.startswith("<!DOCTYPE html>")
    assert found.outside == []
    assert "@import" not in text
    assert not re.search(r"url\((?!#)", text)
    assert len(found.ids) == len(set(found.ids))
    assert found.references <= set(found.ids)
    assert "script" not in found.tags
    assert found.tags.count("svg") >= 4
    assert "prefers-color-scheme: dark" in text
    assert "@media print" in text


@pytest.mark.parametrize("name", ["two", "comparison"])
def test_what_comes_from_files_is_escaped(pages, name):
    text = pages[name]["report.html"].decode()
    assert "alert(1)" in text
    assert "<script>" not in text
    assert NASTY in Checked(text).text


def test_the_numbers_stand_in_the_page(pages):
    text = Checked(pages["two"]["report.html"].decode()).text
    found = summary(name=NASTY)
    best = found.headline[0]
    for estimate in (found.accuracy, best.auc, *best.background_rejection.values()):
        assert str(estimate) in text
    assert "10 bootstrap resamples" in " ".join(text.split())


def test_differences_stand_in_the_page_of_a_comparison(pages):
    text = Checked(pages["comparison"]["report.html"].decode()).text
    row = next(
        row
        for row in metrics.compare_evaluations(
            [summary(name=NASTY), summary(name="other", noise=1.0)]
        ).rows
        if row.metric == "AUC"
    )
    assert str(row.differences[1]) in text
    assert "σ" in text


def test_the_ink_of_figures_is_that_of_the_page(pages):
    text = pages["two"]["report.html"].decode()
    assert "currentColor" in text
    assert "#010203" not in text


def test_plots_stand_beside_the_page_as_png_and_pdf(pages):
    files = pages["two"]
    names = {name.removeprefix("plots/").rpartition(".")[0] for name in files} - {"report"}
    assert {"roc", "scores", "confusion", "calibration", "rejection_pt", "mass_sculpting"} <= names
    for name, content in files.items():
        if name.endswith(".png"):
            assert min(PIL.Image.open(io.BytesIO(content)).size) > 500
        elif name.endswith(".pdf"):
            assert content.startswith(b"%PDF")


def test_a_folder_is_whole_or_not_there(tmp_path, monkeypatch):
    target = tmp_path / "out"
    with pytest.raises(TypeError):
        report.write_folder(target, {"a": b"x", "b": None})
    assert list(tmp_path.iterdir()) == []
    report.write_folder(target, {"a": b"x", "deep/b": b"y"})
    assert (target / "deep" / "b").read_bytes() == b"y"
    with pytest.raises(OutputExists, match="not empty"):
        report.check_output(target)
    report.write_folder(target, {"a": b"z"}, overwrite=True)
    assert (target / "a").read_bytes() == b"z"
    assert (target / "deep" / "b").read_bytes() == b"y"
    with pytest.raises(OutputExists, match="is a file"):
        report.check_output(target / "a")
    with pytest.raises(MissingFile, match="to make 'x' in"):
        report.check_output(tmp_path / "none" / "x")
    empty = tmp_path / "empty"
    empty.mkdir()
    report.write_folder(empty, {"a": b"x"})
    assert (empty / "a").read_bytes() == b"x"


def test_the_pieces_of_a_page_escape_what_they_are_given():
    for piece in (
        page.section(NASTY, note=NASTY),
        page.cards([(NASTY, NASTY)]),
        page.table([NASTY], [[NASTY, page.number(metrics.Estimate(1.0, 0.1), NASTY)]]),
        page.figures([drawing.Picture(NASTY, NASTY, "<svg></svg>", {})]),
        page.page(NASTY, NASTY, [], NASTY).decode(),
    ):
        Checked(piece)
        assert "<script>" not in piece


def test_each_figure_is_drawn_once_for_all_formats():
    made = []

    def draw():
        figure, (ax,) = plots.figure()
        ax.set_title(drawing.plain_text("costs $5 and $6"))
        made.append(figure)
        return figure

    (picture,) = drawing.render([drawing.Drawing("a", "title", "caption", draw)])
    assert len(made) == 1
    assert set(picture.files) == {"plots/a.png", "plots/a.pdf"}
    assert picture.svg.startswith("<svg")


def test_a_report_draws_what_there_are_numbers_for(tmp_path):
    run = summary(observables=("pt",))
    names = [found.name for found in pictures.of_one(run)]
    assert names == ["roc", "scores", "rejection_pt", "efficiency_pt", "confusion", "calibration"]
    both = pictures.of_several([run, summary(name="other", observables=("pt",))])
    assert [found.name for found in both] == ["roc", "rejection_pt", "calibration"]
    assert pictures.opponent(run.headline[0]) == "qcd"
    assert pictures.opponent(summary(("a", "b", "c")).headline[0]) == "all others"
    (tmp_path / "history.csv").write_text("epoch,train_loss\n1,0.5\n")
    with_history = pictures.of_one(run, tmp_path / "history.csv")
    assert with_history[-1].name == "training_loss"
