"""``hepgen integrate``: from YAML to a cross section, ROOT histograms, LHE and ROOT events."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import awkward as ak
import numpy as np
import pytest
import uproot
import yaml

from hepgen import cli
from hepgen.cross_section import cross_section, cross_section_from_words
from hepgen.integration.processes import DrellYan, Gluons, TopPair
from hepgen.io.errors import InputError, MissingFile, MissingName, OutputExists, WrongType
from hepgen.process_pipeline import (
    Binning,
    ProcessPipeline,
    process_parser,
    read_process_pipeline,
)

PIPELINE = Path(__file__).resolve().parents[1] / "pipelines" / "drell_yan.yaml"
QUICK = ["--integrate.precision=null", "--integrate.calls", "20000", "--events", "300"]
QUICK += ["--integrate.progress", "false"]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("integrate") / "drell_yan"
    assert cli.main(["integrate", str(PIPELINE), *QUICK, "--output", str(folder)]) == 0
    return folder


def figures(folder: Path) -> dict[str, object]:
    return json.loads((folder / "result.json").read_text())


def test_the_folder_tells_the_cross_section_with_its_error(run: Path) -> None:
    found = figures(run)
    assert found["process"] == "DrellYan"
    assert found["unit"] == "pb"
    assert found["calls"] <= 20_000
    assert 0 < found["error"] < 0.01 * found["cross_section"]
    final = [batch for batch in found["batches"] if batch["final"]]
    assert sum(batch["calls"] for batch in final) == found["final_calls"]
    for picture in ("mass", "rapidity", "pt", "cos_theta", "weights", "convergence"):
        assert (run / f"{picture}.png").read_bytes().startswith(b"\x89PNG")


def test_histograms_are_those_of_root_and_add_up(run: Path) -> None:
    found = figures(run)
    with uproot.open(run / "histograms.root") as file:
        assert set(file.classnames().values()) == {"TH1D"}
        for name in ("mass", "rapidity", "cos_theta"):
            values = file[name].values(flow=True)
            assert values.sum() == pytest.approx(found["cross_section"])
            assert (file[name].errors(flow=True)[values > 0] > 0).all()
        mass, edges = file["mass"].to_numpy()
    assert edges[np.argmax(mass)] <= 91.2 <= edges[np.argmax(mass) + 1]


def test_events_in_root_and_in_lhe_are_the_same(run: Path) -> None:
    from hepgen.io.lhe_reader import read_lhe

    events, info = read_lhe(run / "events.lhe.gz")
    assert len(events) == 300
    assert info.processes[0].cross_section == pytest.approx(figures(run)["cross_section"])
    assert ak.mean(events.weight) == pytest.approx(
        figures(run)["cross_section"] if abs(info.strategy) == 4 else 1.0
    )
    final = events.particles[events.particles.status == 1]
    total = ak.sum(final.energy, axis=1) ** 2 - sum(
        ak.sum(final[c], axis=1) ** 2 for c in ("px", "py", "pz")
    )
    mass = np.sqrt(ak.to_numpy(total))
    assert ((mass >= 60) & (mass <= 120)).all()
    with uproot.open(run / "events.root") as file:
        tree = file["events"]
        assert tree.num_entries == 300
        assert ak.to_list(tree["particles_px"].array()) == ak.to_list(events.particles.px)


def test_the_same_call_again_goes_on_and_changes_nothing(run: Path, tmp_path: Path) -> None:
    copy = tmp_path / "again"
    shutil.copytree(run, copy)
    before = figures(copy)
    cross_section_from_words([str(PIPELINE), *QUICK, "--output", str(copy)])
    assert figures(copy)["cross_section"] == before["cross_section"]
    with pytest.raises(OutputExists, match="holds a run with another process"):
        cross_section_from_words(
            [str(PIPELINE), *QUICK, "--output", str(copy), "--process.energy", "8000"]
        )


def test_threads_share_the_work(tmp_path: Path) -> None:
    words = [str(PIPELINE), *QUICK, "--events", "0", "--histograms=null"]
    alone = read_process_pipeline([*words, "--output", str(tmp_path / "one")])
    two = read_process_pipeline(
        [*words, "--output", str(tmp_path / "two"), "--integrate.workers", "2"]
    )
    assert isinstance(alone, ProcessPipeline)
    assert cross_section(two).integral == pytest.approx(cross_section(alone).integral, rel=1e-12)
    assert not (tmp_path / "two" / "events.root").exists()


def test_processes_are_built_from_their_arguments() -> None:
    cut = ["--process.cuts.min_pt", "30", "--process.cuts.min_delta_r", "0.4"]
    gluons = ["--process.name", "Gluons", "--process.count", "3", "--process.energy", "500"]
    found = read_process_pipeline([*gluons, *cut]).process
    assert isinstance(found, Gluons)
    assert (found.count, found.cuts.min_pt) == (3, 30)
    top = ["--process.name", "TopPair", "--process.pdf", "toy", "--process.mass", "173"]
    top += ["--process.alpha_s.value", "0.13", "--process.renormalisation_scale.factor", "0.5"]
    found = read_process_pipeline(top).process
    assert isinstance(found, TopPair)
    assert found.mass == 173
    assert found.alpha_s(91.188**2) == pytest.approx(0.13)
    assert found.renormalisation_scale.factor == 0.5
    again = read_process_pipeline([str(PIPELINE), "--process.mass_window", "[70, 110]"])
    assert isinstance(again.process, DrellYan)
    assert again.process.mass_window == (70, 110)
    assert "name" in process_parser("DrellYan").format_help()
    assert yaml.safe_load(again.resolved)["process"]["mass_window"] == [70, 110]


@pytest.mark.parametrize(
    ("words", "kind", "message"),
    [
        (["--process.nme", "x"], MissingName, "no key 'process.nme' .*nearest: process.name"),
        (["--process.name", "DrelYan"], MissingName, "no process 'DrelYan' .*nearest: DrellYan"),
        (["--process.energy", "much"], WrongType, "process.energy"),
        (["--process.mass_window", "[120, 60]"], InputError, "smallest < largest mass"),
        (["--process.pdf", "nowhere.dat"], MissingFile, "nowhere.dat"),
        (["--process.class_path", "os.system"], InputError, "class_path: a pipeline names"),
        (["--process.alpha_s.from_pdf", "true"], InputError, "wants a grid"),
        (["--events", "-3"], InputError, "events: wanted at least 0, got -3"),
        (["--seed", "-1"], InputError, "seed: wanted at least 0, got -1"),
        (["--overweight", "2"], InputError, "overweight: wanted at least 0 and below 1, got 2"),
    ],
)
def test_what_a_pipeline_cannot_say_is_told(
    words: list[str], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        read_process_pipeline([str(PIPELINE), *words])


def test_a_pipeline_without_a_process_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "none.yaml"
    path.write_text("events: 3\n")
    with pytest.raises(MissingName, match="no process is named; wanted one of DrellYan"):
        read_process_pipeline([str(path)])
    path.write_text("process: DrellYan\n")
    with pytest.raises(WrongType, match="wanted keys"):
        read_process_pipeline([str(path)])
    path.write_text("process: {name: DrellYan, pdf: toy, class_path: os.system}\n")
    with pytest.raises(InputError, match="class_path"):
        read_process_pipeline([str(path)])


def test_bins_must_make_sense() -> None:
    assert Binning(10, 1, 100, log=True).axis("pt").edges[5] == pytest.approx(10)
    assert Binning(edges=(0, 1, 5)).axis("pt").edges.tolist() == [0, 1, 5]
    assert Binning(label="$m$ [GeV]").axis("mass").label == "$m$ [GeV]"
    for wrong in (Binning(0), Binning(3, 2, 1), Binning(3, 0, 1, log=True), Binning(edges=(1, 0))):
        with pytest.raises(InputError, match="histogram 'pt': wanted"):
            wrong.axis("pt")
