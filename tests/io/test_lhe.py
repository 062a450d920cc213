"""Les Houches events: round trips, what Pythia makes of them, files of other programs."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest

from hepgen.integration.alpha_s import AlphaS
from hepgen.integration.pdf import ToyPDF
from hepgen.integration.process import Process
from hepgen.integration.processes import (
    DrellYan,
    ElectronPositronToMuons,
    ElectronPositronToQuarksGluon,
    GluonScattering,
    TopPair,
)
from hepgen.io.errors import InputError, MissingFile, MissingName, NotReadable
from hepgen.io.lhe import LHEInfo, LHEProcess, write_lhe
from hepgen.io.lhe_reader import iterate_lhe, read_lhe

PROCESSES: dict[str, Process] = {
    "top": TopPair(ToyPDF(), 13000.0, alpha_s=AlphaS(0.13)),
    "Drell-Yan": DrellYan(ToyPDF()),
    "gluons": GluonScattering(ToyPDF(), pt_min=50.0),
    "muons": ElectronPositronToMuons(200.0),
    "three partons": ElectronPositronToQuarksGluon(200.0),
}


def unweighted(process: Process, count: int, seed: int = 1) -> ak.Array:
    """Events of weight 1 by hit and miss."""
    rng = np.random.default_rng(seed)
    u = rng.random((60 * count, process.dimension))
    values = process(u)
    kept = u[values > rng.random(len(u)) * values.max()][:count]
    assert len(kept) == count
    return process.events(kept, rng).to_awkward()


def info_of(process: Process, **changes: Any) -> LHEInfo:
    arguments: dict[str, Any] = {
        "beams": process.beams,
        "energies": process.beam_energies,
        "processes": (LHEProcess(1234.5, 0.5),),
        **changes,
    }
    return LHEInfo(**arguments)


def same(ours: ak.Array, other: ak.Array) -> bool:
    fields = [name for name in ak.fields(other) if name not in ("particles", "weights")]
    particles = ak.fields(other.particles)
    return all(ak.all(ours[name] == other[name]) for name in fields) and all(
        ak.all(ours.particles[name] == other.particles[name]) for name in particles
    )


@pytest.mark.parametrize("suffix", [".lhe", ".lhe.gz"])
@pytest.mark.parametrize("name", PROCESSES)
def test_events_come_back_bit_by_bit(name: str, suffix: str, tmp_path: Path) -> None:
    process = PROCESSES[name]
    events = unweighted(process, 40)
    info = info_of(process, header="m_t < 173 & more", version='1.0 "a"', pdf_sets=(0, 27))
    path = tmp_path / f"events{suffix}"
    assert write_lhe(path, events, info) == 40
    back, found = read_lhe(path)
    assert same(events, back)
    assert found == info
    assert ak.all(back.particles.mass < 1.0001 * back.particles.energy)
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_parts_and_weights_are_streamed(tmp_path: Path) -> None:
    process = PROCESSES["top"]
    events = unweighted(process, 30)
    weights = np.linspace(-2, 2, 30)
    events["weight"] = weights
    events["weights"] = ak.zip({"mu=0.5": weights * 1.1, 'a"b<c': weights * 0.9})
    info = info_of(process, strategy=-4, weight_names=("mu=0.5", 'a"b<c'))
    path = tmp_path / "events.lhe"
    assert write_lhe(path, (events[i : i + 7] for i in range(0, 30, 7)), info) == 30
    parts = list(iterate_lhe(path, step=12))
    assert [len(part) for part, _ in parts] == [12, 12, 6]
    back, found = read_lhe(path)
    assert same(events, back)
    assert found == info
    np.testing.assert_array_equal(back.weights["mu=0.5"], weights * 1.1)
    np.testing.assert_array_equal(back.weights['a"b<c'], weights * 0.9)


def test_a_file_without_events_is_a_file(tmp_path: Path) -> None:
    process = PROCESSES["muons"]
    for number, none in enumerate(([], unweighted(process, 3)[:0])):
        path = tmp_path / f"{number}.lhe"
        assert write_lhe(path, none, info_of(process)) == 0
        back, info = read_lhe(path)
        assert len(back) == 0
        assert info.beams == (11, -11)


def pythia_on(path: Path, *settings: str) -> Any:
    pythia8 = pytest.importorskip("pythia8mc")
    pythia = pythia8.Pythia("", False)
    for line in ("Print:quiet = on", "Beams:frameType = 4", f"Beams:LHEF = {path}", *settings):
        assert pythia.readString(line), line
    assert pythia.init()
    return pythia


@pytest.mark.parametrize("name", ["top", "Drell-Yan", "gluons", "three partons"])
def test_pythia_showers_what_we_write(name: str, tmp_path: Path) -> None:
    process = PROCESSES[name]
    path = tmp_path / "events.lhe"
    write_lhe(path, unweighted(process, 100), info_of(process))
    pythia = pythia_on(path)
    shown = 0
    while pythia.next():
        shown += 1
        assert pythia.event.size() > 20
    info = pythia.infoPython()
    assert info.atEndOfFile()
    # Not one refused: momenta, masses, colours and mothers fit each other.
    assert shown == 100
    assert info.sigmaGen() * 1e9 == pytest.approx(1234.5, rel=1e-9)


def test_pythia_takes_the_cross_section_of_weighted_events(tmp_path: Path) -> None:
    process = PROCESSES["Drell-Yan"]
    rng = np.random.default_rng(4)
    u = rng.random((400, 3))
    weight = process(u)
    events = process.events(u, rng).to_awkward(weight)
    path = tmp_path / "events.lhe"
    sigma = LHEProcess(float(weight.mean()), 1.0, float(weight.max()))
    write_lhe(path, events, info_of(process, strategy=4, processes=(sigma,)))
    pythia = pythia_on(path, "PartonLevel:all = off")
    weights = []
    while pythia.next():
        weights.append(pythia.infoPython().weight())
    np.testing.assert_allclose(weights, weight, rtol=1e-9)
    known = pythia.infoPython().sigmaGen() * 1e9
    assert known == pytest.approx(float(weight.mean()), rel=1e-9)


def test_events_written_by_pythia_are_read(tmp_path: Path) -> None:
    pythia8 = pytest.importorskip("pythia8mc")
    pythia = pythia8.Pythia("", False)
    for line in ("Print:quiet = on", "Top:all = on", "PartonLevel:all = off", "Beams:eCM = 13000"):
        assert pythia.readString(line)
    assert pythia.init()
    writer = pythia8.LHAupFromPYTHIA8(pythia.process, pythia.infoPython())
    path = tmp_path / "theirs.lhe"
    writer.openLHEF(str(path))
    writer.setInit()
    writer.initLHEF()
    momenta = []
    for _ in range(20):
        assert pythia.next()
        writer.setEvent()
        writer.eventLHEF()
        momenta.append(pythia.process[3].e())
    writer.updateSigma()
    writer.closeLHEF(True)
    events, info = read_lhe(path)
    assert len(events) == 20
    assert info.beams == (2212, 2212)
    np.testing.assert_allclose(events.particles.energy[:, 0], momenta, rtol=1e-9)
    assert ak.all(ak.sum(events.particles.status == -1, axis=1) == 2)


OTHER = """<?xml version="1.0"?>
<LesHouchesEvents version='3.0'>
<header>
<initrwgt><weightgroup name='scales'>
<weight id='1001'> mu = 2 </weight>
<weight id='1002'> mu = 1/2 </weight>
</weightgroup></initrwgt>
</header>
<init>
 2212 2212 0.65000000D+04 0.65D+04 -1 -1 260000 260000 -4 1
 0.1E+03 0.2E+01 0.3E+01 17
</init>
<event npLO=" -1 " npNLO=" 1 ">
 3 17 -0.5D+01 0.9D+02 0.75D-02 0.12D+00
 2 -1 0 0 501 0 0.0D+00 0. 0.1D+03 0.1D+03 0. 0. 9.
 -2 -1 0 0 0 501 0. 0. -0.1D+03 0.1D+03 0. 0. 9.
 23 1 1 2 0 0 0. 0. 0. 0.2D+03 0.2D+03 0. 9.
# comments and whatever other programs put here
<rwgt>
<wgt id='1001'> -0.4E+01 </wgt>
<wgt id='1002'> -0.6E+01 </wgt>
</rwgt>
<scales muf='90.0' mur='90.0'></scales>
</event>
</LesHouchesEvents>
"""


def test_the_ways_of_other_programs_are_understood(tmp_path: Path) -> None:
    path = tmp_path / "other.lhe"
    path.write_text(OTHER)
    events, info = read_lhe(path)
    assert (info.energies, info.strategy, info.pdf_sets) == ((6500, 6500), -4, (260000, 260000))
    assert info.processes == (LHEProcess(100.0, 2.0, 3.0, 17),)
    assert info.weight_names == ("1001", "1002")
    assert events.weight.tolist() == [-5]
    assert events.weights["1002"].tolist() == [-6]
    assert events.particles.mass.tolist() == [[0, 0, 200]]
    path.write_text(OTHER.replace("<rwgt>", "<weights> 7 8 </weights>").replace("<wgt", "#"))
    assert read_lhe(path)[0].weights["1001"].tolist() == [7]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("</LesHouchesEvents>", ""), "line 25, after 1 events: the file is cut short, no </Les"),
        (
            ("<LesHouchesEvents version='3.0'>", "momenta"),
            "line 2, .*no file of Les Houches events",
        ),
        (("<init>", "<start>"), "line 13, after 0 events: an event before <init>"),
        (("0.65D+04", "E"), "line 10, .*wanted 10 numbers for the beams, got '2212 2212"),
        (("260000 -4 1", "260000 7 1"), "wanted a strategy of 1 to 4 or -1 to -4, got 7"),
        ((" 3 17", " three 17"), "line 14, .*wanted the numbers of an event, got 'three 17"),
        (("0.2D+03 0. 9.", "0.2D+03 0. 9. 1"), "wanted 13 numbers for each of the particles"),
        (
            ("501 0 0.0D+00", "x 0 0.0D+00"),
            "wanted 13 numbers for each of the particles .* number 0",
        ),
        (("23 1 1 2 0", "23 1 1.5 2 0"), "wanted 6 integers first for the particles"),
        (("<rwgt>", "<weights> 7 </weights>"), "line 19, .*wanted 2 weights, got 1"),
        (("> -0.4E+01 <", "> four <"), "line 20, .*wanted 1 numbers for a weight, got ' four '"),
    ],
)
def test_damaged_files_are_refused_with_the_line(
    change: tuple[str, str], message: str, tmp_path: Path
) -> None:
    path = tmp_path / "bad.lhe"
    assert change[0] in OTHER
    path.write_text(OTHER.replace(*change, 1))
    with pytest.raises(NotReadable, match=message):
        read_lhe(path)


def test_a_file_cut_anywhere_is_refused(tmp_path: Path) -> None:
    process = PROCESSES["muons"]
    whole = tmp_path / "whole.lhe.gz"
    write_lhe(whole, unweighted(process, 5), info_of(process))
    packed, plain = whole.read_bytes(), gzip.decompress(whole.read_bytes())
    path = tmp_path / "cut.lhe"
    for content in (packed, plain):
        for length in range(3, len(content) - 2, 23):
            path.write_bytes(content[:length])
            with pytest.raises(NotReadable, match=r"cut|wanted"):
                read_lhe(path)
    path.write_bytes(b"\xff\xfe\x00\x01")
    with pytest.raises(NotReadable, match="no file of Les Houches events"):
        read_lhe(path)
    with pytest.raises(MissingFile, match="no file"):
        read_lhe(tmp_path / "absent.lhe")


def test_what_cannot_be_written_leaves_the_old_file(tmp_path: Path) -> None:
    process = PROCESSES["muons"]
    events = unweighted(process, 5)
    path = tmp_path / "events.lhe"
    path.write_text("old")
    wrong: dict[str, tuple[ak.Array, LHEInfo]] = {
        "wanted weights of 1 .* with strategy 3, got 2.0 in event 1": (
            ak.with_field(events, np.array([1.0, 2, 1, 1, 1]), "weight"),
            info_of(process),
        ),
        r"no negative weights \(these take -4\) with strategy 4, got -1.0 in event 2": (
            ak.with_field(events, np.array([1.0, 1, -1, 1, 1]), "weight"),
            info_of(process, strategy=4),
        ),
        "wanted finite weights with strategy -4, got nan in event 0": (
            ak.with_field(events, np.array([np.nan, 1, -1, 1, 1]), "weight"),
            info_of(process, strategy=-4),
        ),
        "event 4 is of process 2, which the file does not announce; it does 1": (
            ak.with_field(events, np.array([1, 1, 1, 1, 2]), "process_id"),
            info_of(process),
        ),
        "event 0 has momenta that are not finite": (
            ak.with_field(events, events.particles.energy * np.inf, ("particles", "pz")),
            info_of(process),
        ),
    }
    for message, (bad, info) in wrong.items():
        with pytest.raises(InputError, match=message):
            write_lhe(path, [events, bad][1:], info)
    with pytest.raises(MissingName, match="no field 'scale' in the events; nearest: "):
        write_lhe(path, ak.without_field(events, "scale"), info_of(process))
    bare = ak.with_field(events, ak.zip({"pid": events.particles.pid}), "particles")
    with pytest.raises(MissingName, match=r"no field 'status' in the particles of events"):
        write_lhe(path, bare, info_of(process))
    further = ak.with_field(events, ak.zip({"a": np.ones(5)}), "weights")
    with pytest.raises(
        InputError, match=r"wanted weights \[\] as in the first events, got \['a'\]"
    ):
        write_lhe(path, [events, further], info_of(process))
    assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["events.lhe"]


def test_information_without_sense_is_refused() -> None:
    one = LHEProcess(1.0, 0.1)
    with pytest.raises(InputError, match="wanted a strategy of 1 to 4 or -1 to -4, got 5"):
        LHEInfo((11, -11), (1.0, 1.0), (one,), strategy=5)
    with pytest.raises(InputError, match="wanted one process at least, got none"):
        LHEInfo((11, -11), (1.0, 1.0), ())
    with pytest.raises(InputError, match=r"wanted different process ids, got \[1, 1\]"):
        LHEInfo((11, -11), (1.0, 1.0), (one, one))
