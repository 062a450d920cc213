"""Evaluations of scores in ROOT files: joined by entry, whatever the layout, loud when wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import sklearn.metrics
import uproot

import hepgen
from hepgen import evaluation, metrics
from hepgen.evaluation import compare, evaluate, load_evaluation
from hepgen.io.errors import (
    EmptyInput,
    InputError,
    LabelError,
    MissingFile,
    MissingName,
    NotReadable,
    OutputExists,
    WrongType,
)

RNG = np.random.default_rng(33)
NUMBER = 600
TOP = RNG.random(NUMBER) < 0.5
SCORE = (1 / (1 + np.exp(-RNG.normal(2.0 * TOP - 1.0)))).astype(np.float32)
PT = RNG.uniform(550, 650, NUMBER)
MASS = RNG.gamma(3, 40, NUMBER)
WEIGHT = RNG.exponential(size=NUMBER)
AUC = sklearn.metrics.roc_auc_score(TOP, SCORE)
FEW = {"resamples": 0}


def write(path, kind="ttree", **columns):
    with uproot.recreate(path) as file:
        if kind == "rntuple":
            file["tree"] = columns
        else:
            file.mktree(
                "tree", {name: ak.Array(values).type.content for name, values in columns.items()}
            )
            file["tree"].extend(columns)
    return path


def bare_file(path, **further):
    """Scores and labels side by side."""
    columns = {"score_top": SCORE, "score_qcd": 1 - SCORE, "label_top": TOP, "label_qcd": ~TOP}
    return write(path, **(columns | further))


def one_file(path, **further):
    """The same with observables, which take time where plots are drawn."""
    return bare_file(path, **({"jet_pt": PT, "jet_mass": MASS} | further))


def auc_of(found):
    return found.headline[0].auc.value


@pytest.mark.parametrize("kind", ["ttree", "rntuple"])
def test_scores_and_labels_in_one_file(tmp_path, kind):
    found = evaluate(one_file(tmp_path / "a.root", kind=kind), signal="top", **FEW)
    assert auc_of(found) == pytest.approx(AUC, abs=1e-7)
    assert set(found.classes) == {"top", "qcd"}
    assert found.jets == {"top": int(TOP.sum()), "qcd": int((~TOP).sum())}
    assert {metric.observable for metric in found.binned} == {"pt", "mass"}
    assert found.name == "a"
    assert found.provenance["not_scored"] == 0


def test_a_friend_is_joined_to_its_input_by_entry(tmp_path):
    friend = write(tmp_path / "f.root", score_top=SCORE, score_qcd=1 - SCORE)
    source = write(tmp_path / "in.root", label_top=TOP, label_qcd=~TOP, jet_pt=PT)
    assert auc_of(evaluate(friend, of=source, **FEW)) == pytest.approx(AUC, abs=1e-7)
    short = write(tmp_path / "short.root", label_top=TOP[1:], label_qcd=~TOP[1:])
    with pytest.raises(InputError, match=r"has 600 entries and .* has 599: they do not belong"):
        evaluate(friend, of=short)


def test_several_files_go_together_one_by_one(tmp_path):
    half = NUMBER // 2
    parts = [slice(0, half), slice(half, None)]
    friends = [
        write(tmp_path / f"f{i}.root", score_top=SCORE[p], score_qcd=1 - SCORE[p])
        for i, p in enumerate(parts)
    ]
    sources = [
        write(tmp_path / f"s{i}.root", label_top=TOP[p], label_qcd=~TOP[p])
        for i, p in enumerate(parts)
    ]
    found = evaluate(friends, of=sources, **FEW)
    assert auc_of(found) == pytest.approx(AUC, abs=1e-7)
    assert [file["jets"] for file in found.provenance["files"]] == [half, half]
    assert auc_of(
        evaluate(str(tmp_path / "f*.root"), of=str(tmp_path / "s*.root"), **FEW)
    ) == auc_of(found)
    with pytest.raises(InputError, match="2 files of scores and 1 inputs"):
        evaluate(friends, of=sources[0])


def test_event_numbers_that_differ_tell_that_files_do_not_belong_together(tmp_path):
    numbers = np.arange(NUMBER)
    friend = write(tmp_path / "f.root", score_top=SCORE, score_qcd=1 - SCORE, event=numbers)
    source = {"label_top": TOP, "label_qcd": ~TOP}
    good = write(tmp_path / "good.root", event=numbers, **source)
    assert auc_of(evaluate(friend, of=good, **FEW)) == pytest.approx(AUC, abs=1e-7)
    bad = write(tmp_path / "bad.root", event=np.where(numbers > 500, 0, numbers), **source)
    with pytest.raises(InputError, match=r"event differs .* in 99 entries, first in entry 501"):
        evaluate(friend, of=bad)


@pytest.mark.parametrize("form", ["mapping", "texts"])
def test_classes_by_file(tmp_path, form):
    files = {
        name: write(tmp_path / f"{name}.root", score_top=SCORE[m], score_qcd=1 - SCORE[m])
        for name, m in (("top", TOP), ("qcd", ~TOP))
    }
    given = files if form == "mapping" else [f"{name}:{path}" for name, path in files.items()]
    assert auc_of(evaluate(given, **FEW)) == pytest.approx(AUC, abs=1e-7)


def test_labels_by_expression_and_a_selection(tmp_path):
    flavour = np.where(TOP, 6, 21)
    path = one_file(tmp_path / "a.root", flavour=flavour)
    labels = {"top": "flavour == 6", "qcd": "flavour == 21"}
    assert auc_of(evaluate(path, labels=labels, **FEW)) == pytest.approx(AUC, abs=1e-7)
    chosen = PT > 600
    found = evaluate(path, labels=labels, where="jet_pt > 600", **FEW)
    assert auc_of(found) == pytest.approx(
        sklearn.metrics.roc_auc_score(TOP[chosen], SCORE[chosen]), abs=1e-7
    )
    with pytest.raises(LabelError, match=r"of 600 jets .* 600 are in none"):
        evaluate(path, labels={"top": "flavour == 7", "qcd": "flavour == 8"})
    with pytest.raises(LabelError, match="in two or more"):
        evaluate(path, labels={"top": "flavour > 0", "qcd": "flavour > 0"})


def test_weights_are_taken_where_they_are_and_can_be_chosen(tmp_path):
    path = one_file(tmp_path / "a.root", weight=WEIGHT, other=WEIGHT**2)
    for weights, wanted in ((None, WEIGHT), ("1", None), ("2 * other", WEIGHT**2)):
        found = evaluate(path, weights=weights, **FEW)
        exact = sklearn.metrics.roc_auc_score(TOP, SCORE, sample_weight=wanted)
        assert auc_of(found) == pytest.approx(exact, abs=1e-7)
        assert found.provenance["weighted"]
    assert not evaluate(one_file(tmp_path / "b.root"), **FEW).provenance["weighted"]


def test_one_score_is_told_from_its_complement(tmp_path):
    path = write(tmp_path / "a.root", score_top=SCORE, label_top=TOP)
    found = evaluate(path, **FEW)
    assert found.classes == ("top", "not top")
    assert auc_of(found) == pytest.approx(AUC, abs=1e-6)
    other = write(tmp_path / "b.root", bdt=4 * SCORE - 2, is_sig=TOP.astype(np.int32))
    found = evaluate(other, score_branches={"sig": "bdt"}, labels={"sig": "is_sig == 1"}, **FEW)
    assert auc_of(found) == pytest.approx(AUC, abs=1e-6)
    assert found.log_loss is None
    assert "outside" in found.provenance["scores_are"]


def test_logits_go_through_a_softmax(tmp_path):
    logit = np.log(SCORE / (1 - SCORE)).astype(np.float64)
    path = one_file(tmp_path / "a.root", score_top=logit, score_qcd=np.zeros(NUMBER))
    found = evaluate(path, **FEW)
    assert found.provenance["scores_are"] == "logits"
    assert found.log_loss.value == pytest.approx(
        sklearn.metrics.log_loss(TOP, SCORE.astype(np.float64)), rel=1e-5
    )


def test_jets_without_a_score_are_left_out_and_counted(tmp_path):
    score = np.where(np.arange(NUMBER) < 100, np.nan, SCORE)
    path = one_file(tmp_path / "a.root", score_top=score, score_qcd=1 - score)
    found = evaluate(path, **FEW)
    assert found.provenance["not_scored"] == 100
    assert auc_of(found) == pytest.approx(
        sklearn.metrics.roc_auc_score(TOP[100:], SCORE[100:]), abs=1e-7
    )
    none = one_file(tmp_path / "b.root", score_top=np.full(NUMBER, np.nan))
    with pytest.raises(EmptyInput, match="no scored jets among 600"):
        evaluate(none)
    infinite = one_file(tmp_path / "c.root", score_top=np.full(NUMBER, np.inf))
    with pytest.raises(InputError, match=r"600 of 600 jets .* score infinity"):
        evaluate(infinite)


def jagged(values, counts):
    return ak.unflatten(values, counts)


def test_scores_for_each_jet_of_an_event_are_flattened_with_their_labels(tmp_path):
    counts = np.tile([0, 1, 2, 3], NUMBER // 6)
    event_weight = RNG.exponential(size=len(counts))
    path = write(
        tmp_path / "events.root",
        score_top=jagged(SCORE, counts),
        score_qcd=jagged(1 - SCORE, counts),
        FatJet_flavour=jagged(np.where(TOP, 6, 0), counts),
        jet_pt=jagged(PT, counts),
        weight=event_weight,
    )
    labels = {"top": "FatJet_flavour == 6", "qcd": "FatJet_flavour == 0"}
    found = evaluate(path, labels=labels, **FEW)
    wanted = sklearn.metrics.roc_auc_score(
        TOP, SCORE, sample_weight=np.repeat(event_weight, counts)
    )
    assert auc_of(found) == pytest.approx(wanted, abs=1e-7)
    assert {metric.observable for metric in found.binned} == {"pt"}


@pytest.fixture
def quark_gluon(real_data, tmp_path):
    """A real file, the friend that hepgen writes of it, and the score in it."""
    source = real_data / "root" / "timlegge_quarkgluon_2000.root"
    labels = {"quark": "label == 1", "gluon": "label == 0"}
    jets = hepgen.io.read(source, labels=labels, fields=())
    score = np.exp(-np.asarray(ak.num(jets.constituents)) / 50).astype(np.float32)
    hepgen.write_friend(
        tmp_path / "friend.root",
        np.stack([score, 1 - score], axis=1),
        of=source,
        classes=["quark", "gluon"],
        jets=jets,
        name="multiplicity",
    )
    return source, labels, tmp_path / "friend.root", np.asarray(jets.label_quark), score


def test_the_friend_of_a_known_schema_gets_its_jets_from_the_reader(quark_gluon):
    source, labels, friend, quark, score = quark_gluon
    found = evaluate(friend, of=source, labels=labels, observables={"n": "jet_nparticles"}, **FEW)
    assert auc_of(found) == pytest.approx(sklearn.metrics.roc_auc_score(quark, score), abs=1e-7)
    assert {metric.observable for metric in found.binned} == {"pt", "eta", "mass", "n"}
    assert found.name == "multiplicity"
    assert found.provenance["model"]["model"] == "multiplicity"
    selected = evaluate(friend, of=source, labels=labels, where="jet_pt > 520", **FEW)
    assert 0 < sum(selected.jets.values()) < sum(found.jets.values())


def test_the_jets_of_events_are_those_of_the_collection_that_was_scored(real_data, tmp_path):
    source = real_data / "root" / "coffea_nano_tt_v15.root"
    jets = hepgen.io.read(source, collection="FatJet", fields=())
    pt = np.asarray(jets.pt)
    score = ((pt - pt.min()) / np.ptp(pt)).astype(np.float32)
    hepgen.write_friend(
        tmp_path / "friend.root",
        np.stack([score, 1 - score], axis=1),
        of=source,
        classes=["high", "low"],
        jets=jets,
        name="pt",
    )
    middle = float(np.median(pt))
    found = evaluate(
        tmp_path / "friend.root",
        of=source,
        labels={"high": f"FatJet_pt > {middle}", "low": f"FatJet_pt <= {middle}"},
        **FEW,
    )
    assert sum(found.jets.values()) == len(jets)
    assert auc_of(found) == 1.0


def test_a_class_that_is_not_scored_names_the_nearest(tmp_path):
    path = one_file(tmp_path / "a.root")
    with pytest.raises(MissingName, match=r"no class of scores 'tpo' .*nearest: top"):
        evaluate(path, classes=["tpo", "qcd"])
    with pytest.raises(InputError, match="no class 'tau' for signal; classes: top, qcd"):
        evaluate(path, signal="tau")


def test_three_classes_can_be_cut_down_to_two(tmp_path):
    scores = RNG.dirichlet(np.ones(3), NUMBER)
    index = RNG.integers(0, 3, NUMBER)
    columns = {f"score_{n}": scores[:, i] for i, n in enumerate("abc")}
    columns |= {f"label_{n}": index == i for i, n in enumerate("abc")}
    path = write(tmp_path / "a.root", **columns)
    whole = evaluate(path, signal="b", **FEW)
    pair = evaluate(path, classes=["b", "c"], where="label_a == 0", **FEW)
    wanted = next(s for s in whole.separations if (s.signal, s.background) == ("b", "c"))
    assert auc_of(pair) == pytest.approx(wanted.auc.value, abs=1e-12)
    with pytest.raises(InputError, match="no jets of class a among"):
        evaluate(path, where="label_a == 0")


@pytest.mark.parametrize(
    ("columns", "keywords", "error", "message"),
    [
        ({"x": PT}, {}, MissingName, r"no branch 'score_<class>' .*score_branches= names"),
        ({"s": SCORE}, {"score_branches": {"a": "t"}}, MissingName, "no branch 't' .*nearest: s"),
        ({"score_a": SCORE, "score_b": SCORE}, {}, MissingName, "no label column 'label_a'"),
        (
            {"score_a": SCORE, "score_b": SCORE, "label_a": TOP, "label_b": ~TOP},
            {"where": "jet_pt > 5"},
            MissingName,
            "no branch 'jet_pt'",
        ),
        (
            {"score_a": SCORE, "score_b": SCORE, "label_a": TOP, "label_b": ~TOP},
            {"tree": "tre"},
            MissingName,
            "no tree 'tre' .*nearest: tree",
        ),
        (
            {"score_a": jagged(SCORE, [2] * 300), "score_b": jagged(SCORE, [1, 3] * 150)},
            {},
            InputError,
            "have different numbers of jets",
        ),
        (
            {"score_a": np.array(["x"] * NUMBER), "score_b": SCORE},
            {},
            WrongType,
            "branch 'score_a' .* holds",
        ),
    ],
)
def test_bad_input_is_one_clear_error(tmp_path, columns, keywords, error, message):
    path = write(tmp_path / "a.root", **columns)
    with pytest.raises(error, match=message):
        evaluate(path, **keywords)


def test_files_that_are_missing_or_cut_short_are_errors(tmp_path):
    with pytest.raises(MissingFile, match="no file"):
        evaluate(tmp_path / "none.root")
    path = one_file(tmp_path / "a.root")
    cut = tmp_path / "cut.root"
    cut.write_bytes(path.read_bytes()[:2000])
    with pytest.raises(NotReadable, match="cut short"):
        evaluate(cut)


def test_an_output_folder_is_complete_or_not_there(tmp_path):
    path = bare_file(tmp_path / "a.root")
    output = tmp_path / "out"
    with pytest.raises(InputError):
        evaluate(path, labels={"top": "no_such", "qcd": "label_qcd"}, output=output)
    assert not output.exists()
    found = evaluate(path, output=output, **FEW)
    assert {p.name for p in output.iterdir()} == {"report.html", "results.json", "plots"}
    assert load_evaluation(output).numbers() == _rounded(found)
    json.loads((output / "results.json").read_text(), parse_constant=_refuse)
    with pytest.raises(OutputExists, match="not empty"):
        evaluate(path, output=output)
    evaluate(path, output=output, overwrite=True, name="again", **FEW)
    assert load_evaluation(output / evaluation.RESULTS).name == "again"
    assert not list(tmp_path.glob(".*"))


def _refuse(constant):
    raise AssertionError(constant)


def _rounded(found):
    return metrics.Evaluation.from_dict(found.to_dict()).numbers()


def test_folders_are_compared_from_what_is_in_them(tmp_path):
    rng = np.random.default_rng(1)
    runs = []
    for name, noise in (("one", 0.0), ("two", 0.8)):
        logit = np.log(SCORE / (1 - SCORE)) + rng.normal(0, noise, NUMBER)
        score = 1 / (1 + np.exp(-logit))
        path = bare_file(tmp_path / f"{name}.root", score_top=score, score_qcd=1 - score)
        runs.append(tmp_path / name)
        evaluate(path, output=runs[-1], name=name)
    found = compare(runs, output=tmp_path / "both")
    assert (tmp_path / "both" / "report.html").is_file()
    row = next(row for row in found.rows if row.metric == "AUC")
    assert row.paired[1]
    assert row.differences[1].error < math.hypot(*(e.error for e in row.estimates))
    assert hepgen.compare([load_evaluation(run) for run in runs]).to_dict() == found.to_dict()
    with pytest.raises(InputError, match="two runs or more, of different names"):
        compare([runs[0], runs[0]])
    with pytest.raises(MissingFile, match=r"no results.json of an evaluation"):
        compare([runs[0], tmp_path])
    damaged = tmp_path / "two" / "results.json"
    damaged.write_text(damaged.read_text()[:500])
    with pytest.raises(NotReadable, match="is no evaluation, or a damaged one"):
        compare(runs)


def test_the_training_curves_come_from_the_history_beside_the_scores(tmp_path):
    path = bare_file(tmp_path / "a.root")
    Path(tmp_path / "history.csv").write_text(
        "epoch,train_loss,validation_loss,validation_accuracy\n1,3,4,0.5\n2,2,3,0.6\n"
    )
    evaluate(path, output=tmp_path / "out", **FEW)
    names = {plot.stem for plot in (tmp_path / "out" / "plots").iterdir()}
    assert {"training_loss", "training_accuracy", "roc", "scores"} <= names
