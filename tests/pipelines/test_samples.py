"""The samples of this project: what the bundled files hold, and the programs that made them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import awkward as ak
import numpy as np
import pytest
import uproot
from hypothesis import given
from hypothesis import strategies as st

from pipelines.samples import events as generator
from pipelines.samples.__main__ import main
from pipelines.samples.detector import Calorimeter, Detector, impact_parameters, reconstruct
from pipelines.samples.events import Events, GeneratorError, Process, generate, need
from pipelines.samples.jets import JetCuts, Jets, leading_jets, round_mantissa
from pipelines.samples.make import Recipe, make, make_chunk
from pipelines.samples.output import writing
from pipelines.samples.softdrop import soft_drop_mass
from pipelines.samples.truth import is_top, leaves

REPOSITORY = Path(__file__).resolve().parents[2]
BUNDLED = REPOSITORY / "data_samples"
KINDS = ("ChargedHadron", "NeutralHadron", "Photon", "Electron", "Muon")
FILES = [
    ("top_qcd.root", ("top", "QCD"), (550.0, 650.0), 2.0),
    ("top_qcd_rntuple.root", ("top", "QCD"), (550.0, 650.0), 2.0),
    ("quark_gluon.root", ("quark", "gluon"), (500.0, 550.0), 1.7),
]
HADRONIC = ["24:onMode = off", "24:onIfAny = 1 2 3 4 5"]
FAST = ["Beams:eCM = 14000.", "PartonLevel:MPI = off"]
TOP = Process(
    ["Top:gg2ttbar = on", "Top:qqbar2ttbar = on", "PhaseSpace:pTHatMin = 550.", *HADRONIC], "top"
)
QCD = Process(["HardQCD:all = on", "PhaseSpace:pTHatMin = 550."])
CUTS = JetCuts(0.8, (550.0, 650.0), 2.0)


def tree(name: str) -> Any:
    """All of a bundled file."""
    return uproot.open(BUNDLED / name)["tree"].arrays()


@pytest.fixture(scope="module")
def top_qcd() -> Any:
    return tree("top_qcd.root")


@pytest.fixture(scope="module")
def quark_gluon() -> Any:
    return tree("quark_gluon.root")


def recipe(**changes: Any) -> Recipe:
    """A quick sample: hard enough that most events hold a jet."""
    values: dict[str, Any] = {
        "classes": {"top": TOP, "QCD": QCD},
        "common": FAST,
        "cuts": CUTS,
        "detector": Detector(),
        "seed": 5,
    }
    return Recipe(**(values | changes))


def momenta(jets: Any) -> Any:
    """Constituents for FastJet."""
    columns = {axis: jets[f"part_{axis}"] for axis in ("px", "py", "pz")}
    doubles = {axis: ak.values_astype(values, np.float64) for axis, values in columns.items()}
    energy = np.sqrt(sum(values**2 for values in doubles.values()))
    return ak.zip({**doubles, "E": energy}, with_name="Momentum4D")


@pytest.mark.parametrize(("name", "classes", "window", "eta_max"), FILES)
def test_bundled_files_hold_consistent_jets(
    name: str, classes: tuple[str, str], window: tuple[float, float], eta_max: float
) -> None:
    jets = tree(name)
    labels = np.stack([ak.to_numpy(jets[f"label_{label}"]) for label in classes])
    assert (labels.sum(axis=0) == 1).all()
    assert labels.sum(axis=1).tolist() == [len(jets) // 2] * 2
    assert len(np.unique(ak.to_numpy(jets.event))) == len(jets)
    assert ak.all((jets.jet_pt > window[0]) & (jets.jet_pt < window[1]))
    assert ak.all(np.abs(jets.jet_eta) < eta_max)

    assert ak.all(ak.num(jets.part_px) == jets.jet_nparticles)
    assert ak.max(jets.jet_nparticles) <= 200
    pt = np.hypot(momenta(jets).px, momenta(jets).py)
    assert ak.all(pt[:, 1:] <= pt[:, :-1])
    energy, px, py = (ak.sum(momenta(jets)[axis], axis=1) for axis in ("E", "px", "py"))
    assert np.allclose(energy, jets.jet_energy, rtol=1e-6)
    assert np.allclose(np.hypot(px, py), jets.jet_pt, rtol=1e-6)
    assert np.allclose(ak.flatten(momenta(jets).E), ak.flatten(jets.part_energy), rtol=1e-7)

    flags = np.stack([ak.to_numpy(ak.flatten(jets[f"part_is{kind}"])) for kind in KINDS])
    charge = ak.to_numpy(ak.flatten(jets.part_charge))
    assert (flags.sum(axis=0) == 1).all()
    assert ((charge != 0) == (flags[0] | flags[3] | flags[4])).all()
    for column in ("d0val", "d0err", "dzval", "dzerr"):
        values = ak.to_numpy(ak.flatten(jets[f"part_{column}"]))
        assert (values[charge == 0] == 0).all()
        assert (values[charge != 0] != 0).mean() > 0.999


@pytest.mark.parametrize(("name", "classes", "window", "eta_max"), FILES)
def test_directions_follow_jetclass(
    name: str, classes: tuple[str, str], window: tuple[float, float], eta_max: float
) -> None:
    jets = tree(name)
    eta = np.arcsinh(jets.part_pz / np.hypot(jets.part_px, jets.part_py))
    sign = ak.where(jets.jet_eta < 0, -1.0, 1.0)
    delta_eta = ak.flatten((eta - jets.jet_eta) * sign)
    phi = np.arctan2(jets.part_py, jets.part_px) - jets.jet_phi
    delta_phi = ak.flatten((phi + np.pi) % (2 * np.pi) - np.pi)
    assert np.allclose(ak.flatten(jets.part_deta), delta_eta, rtol=2**-9, atol=2e-6)
    assert np.allclose(ak.flatten(jets.part_dphi), delta_phi, rtol=2**-9, atol=2e-6)


def test_top_jets_peak_at_the_top_mass_and_qcd_jets_do_not(top_qcd: Any) -> None:
    top, qcd = (ak.to_numpy(top_qcd.jet_mass[top_qcd[f"label_{c}"]]) for c in ("top", "QCD"))
    counts, edges = np.histogram(top, bins=np.arange(100, 250, 5))
    # The jet loses what falls out of the cone and the neutrinos of b decays, so a little below 173.
    assert 165 <= edges[counts.argmax()] <= 175
    assert np.mean(np.abs(top - 172) < 25) > 0.7
    assert np.mean(np.abs(qcd - 172) < 25) < 0.15
    falling, _ = np.histogram(qcd, bins=[60, 100, 140, 180, 220])
    assert (np.diff(falling) < 0).all()


# FastJet compares its definition with a number and so warns about every one of them.
@pytest.mark.filterwarnings("ignore:dcut and exclusive jets")
def test_a_pair_of_subjets_of_top_jets_has_the_w_mass(top_qcd: Any) -> None:
    fastjet = pytest.importorskip("fastjet")
    jets = top_qcd[top_qcd.label_top & (top_qcd.jet_nparticles > 20)][:1500]
    definition = fastjet.JetDefinition(fastjet.kt_algorithm, 0.8)
    subjets = fastjet.ClusterSequence(momenta(jets), definition).exclusive_jets(n_jets=3)
    first, second = ak.unzip(ak.combinations(subjets, 2))
    square = (first.E + second.E) ** 2 - sum(
        (first[axis] + second[axis]) ** 2 for axis in ("px", "py", "pz")
    )
    pairs = np.sqrt(ak.to_numpy(np.maximum(square, 0)))
    nearest = pairs[np.arange(len(pairs)), np.abs(pairs - 80.4).argmin(axis=1)]
    counts, edges = np.histogram(pairs.min(axis=1), bins=np.arange(30, 150, 8))
    assert 70 <= edges[counts.argmax()] + 4 <= 86
    assert np.mean(np.abs(nearest - 80.4) < 12) > 0.6


def test_top_jets_are_three_pronged_and_carry_displaced_tracks(top_qcd: Any) -> None:
    ratio = top_qcd.jet_tau3 / top_qcd.jet_tau2
    significance = np.abs(top_qcd.part_d0val / ak.where(top_qcd.part_charge, top_qcd.part_d0err, 1))
    displaced = ak.sum(significance > 5, axis=1)
    assert np.median(ratio[top_qcd.label_top]) < 0.5 < 0.7 < np.median(ratio[top_qcd.label_QCD])
    assert ak.mean(displaced[top_qcd.label_top]) > 4 * ak.mean(displaced[top_qcd.label_QCD])
    core = ak.to_numpy(ak.flatten(significance[top_qcd.label_QCD]))
    core = core[core > 0]
    # Most tracks of light jets come from the collision: 68.3 % within one error, a tail of decays.
    assert abs(np.mean(core < 1) - 0.65) < 0.04


def test_gluon_jets_have_more_constituents_than_quark_jets_as_in_energyflow(
    quark_gluon: Any, real_data: Path
) -> None:
    source = uproot.open(real_data / "root" / "timlegge_quarkgluon_2000.root")["tree"].arrays()
    theirs = [ak.to_numpy(source.jet_nparticles[source.label == label]) for label in (1, 0)]
    ours = [
        ak.to_numpy(quark_gluon.jet_nparticles[quark_gluon[f"label_{c}"]])
        for c in ("quark", "gluon")
    ]
    ratios, errors = [], []
    for quark, gluon in (theirs, ours):
        ratios.append(gluon.mean() / quark.mean())
        relative = [sample.std() / sample.mean() / len(sample) ** 0.5 for sample in (quark, gluon)]
        errors.append(ratios[-1] * np.hypot(*relative))
    # 4 sigma, and 5 % for the tracks and cells that the detector loses: 1 false alarm in 16 000.
    assert abs(ratios[0] - ratios[1]) < 4 * np.hypot(*errors) + 0.05 * ratios[0]


# FastJet compares its definition with a number and so warns about every one of them.
@pytest.mark.filterwarnings("ignore:dcut and exclusive jets")
def test_soft_drop_agrees_with_fastjet(top_qcd: Any) -> None:
    fastjet = pytest.importorskip("fastjet")
    jets = top_qcd[:60]
    definition = fastjet.JetDefinition(fastjet.cambridge_algorithm, 0.8)
    cluster = fastjet.ClusterSequence(momenta(jets), definition)
    groomed = cluster.exclusive_jets_softdrop_grooming(njets=1, beta=0.0, symmetry_cut=0.1, R0=0.8)
    assert np.allclose(
        ak.flatten(groomed.msoftdrop, axis=None), jets.jet_sdmass, rtol=1e-4, atol=0.05
    )
    p3 = np.stack([ak.to_numpy(ak.flatten(momenta(jets)[axis])) for axis in ("px", "py", "pz")], 1)
    offsets = np.concatenate([[0], np.cumsum(jets.jet_nparticles)])
    angular = cluster.exclusive_jets_softdrop_grooming(njets=1, beta=1.0, symmetry_cut=0.2, R0=0.8)
    masses = soft_drop_mass(p3, offsets, 0.2, 1.0, 0.8)
    assert np.allclose(ak.flatten(angular.msoftdrop, axis=None), masses, rtol=1e-6, atol=1e-3)


def test_jets_of_no_or_one_constituent_have_no_soft_drop_mass() -> None:
    p3 = np.array([[100.0, 0.0, 0.0], [50.0, 1.0, 0.0], [50.0, -1.0, 0.0]])
    masses = soft_drop_mass(p3, np.array([0, 0, 1, 3]), 0.1, 0.0, 0.8)
    assert masses[:2].tolist() == [0.0, 0.0]
    assert masses[2] == pytest.approx(2.0, rel=1e-3)


@given(st.floats(1e-30, 1e30), st.sampled_from([-1.0, 1.0]), st.integers(1, 23))
def test_rounding_stays_within_its_bound_and_drops_the_other_bits(
    size: float, sign: float, bits: int
) -> None:
    value = np.float32(sign * size)
    rounded = round_mantissa([value], bits)[0]
    assert abs(float(rounded) - float(value)) <= abs(float(value)) * 2.0 ** -(bits + 1)
    assert int(rounded.view(np.uint32)) % 2 ** (23 - bits) == 0


def shot(pid: int, p3: list[float], mass: float, charge: float, count: int) -> Events:
    """Events of one particle each, all the same."""
    energy = float(np.sqrt(np.sum(np.square(p3)) + mass**2))
    return Events(
        offsets=np.arange(count + 1),
        pid=np.full(count, pid),
        status=np.full(count, 1),
        daughters=np.zeros((count, 2), np.int64),
        p4=np.tile([energy, *p3], (count, 1)),
        vertex=np.zeros((count, 3)),
        charge=np.full(count, charge),
        pt_hat=np.zeros(count),
    )


@pytest.mark.parametrize(
    ("pid", "charge", "kind", "width"),
    [
        (211, 1.0, 0, np.hypot(0.01, 1.5e-4 * 40)),
        (130, 0.0, 1, np.hypot(1.0 / 40**0.5, 0.05)),
        (22, 0.0, 2, np.hypot(0.05 / 40**0.5, 0.01)),
        (-11, 1.0, 3, np.hypot(0.01, 1.5e-4 * 40)),
        (13, -1.0, 4, np.hypot(0.01, 1.5e-4 * 40)),
    ],
)
def test_the_detector_has_the_resolution_it_states(
    pid: int, charge: float, kind: int, width: float
) -> None:
    count = 20_000
    beam = shot(pid, [32.0, 24.0, 0.0], 0.0, charge, count)
    seen = reconstruct(beam, Detector(), np.random.default_rng(4))
    energy = np.linalg.norm(seen.p3, axis=1)[seen.kind == kind]
    assert np.unique(seen.charge[seen.kind == kind]).tolist() == [charge]
    # 5 sigma of the mean; the spread is that of a log-normal, whose tails make it less certain.
    assert abs(energy.mean() / 40 - 1) < 5 * width / len(energy) ** 0.5
    assert energy.std() / 40 == pytest.approx(width, rel=0.05)
    if charge:
        found = len(energy) / count
        assert abs(found - 0.95) < 5 * (0.95 * 0.05 / count) ** 0.5
        d0, error = seen.track[seen.kind == kind, :2].T
        assert error == pytest.approx(np.hypot(0.012, 0.08 / 40))
        assert (d0 / error).std() == pytest.approx(1, abs=5 / (2 * len(d0)) ** 0.5)


def test_cells_add_what_hits_them_and_drop_what_is_soft() -> None:
    perfect = Calorimeter(360, (0.0, 0.0), 0.5)
    beam = shot(22, [5.0, 0.003, 0.003], 0.0, 0.0, 3)
    together = Events(**(vars(beam) | {"offsets": np.array([0, 2, 2, 3])}))
    seen = reconstruct(together, Detector(ecal=perfect), np.random.default_rng(1))
    assert np.diff(seen.offsets).tolist() == [1, 0, 1]
    assert np.linalg.norm(seen.p3, axis=1) == pytest.approx([10.0, 5.0], rel=1e-4)
    soft = shot(22, [0.4, 0.0, 0.0], 0.0, 0.0, 50)
    assert len(reconstruct(soft, Detector(ecal=perfect), np.random.default_rng(1)).p3) == 0
    curled = shot(211, [0.7, 0.0, 0.0], 0.14, 1.0, 50)
    assert len(reconstruct(curled, Detector(), np.random.default_rng(1)).p3) == 0
    neutrinos = shot(14, [50.0, 0.0, 0.0], 0.0, 0.0, 50)
    assert len(reconstruct(neutrinos, None, np.random.default_rng(1)).p3) == 0


def test_impact_parameters_are_those_of_the_nearest_point_of_the_line() -> None:
    rng = np.random.default_rng(3)
    p3, vertex = rng.normal(size=(50, 3)), rng.normal(size=(50, 3))
    steps = np.linspace(-30, 30, 60_001)
    for direction, start, (d0, dz) in zip(p3, vertex, impact_parameters(p3, vertex), strict=True):
        direction = direction / np.hypot(direction[0], direction[1])
        points = start + steps[:, None] * direction
        nearest = np.hypot(points[:, 0], points[:, 1]).argmin()
        assert abs(d0) == pytest.approx(np.hypot(*points[nearest, :2]), abs=1e-3)
        assert dz == pytest.approx(points[nearest, 2], abs=2e-3 * (1 + abs(direction[2])))


def test_only_jets_around_a_top_and_its_three_quarks_match() -> None:
    #        beam  t     t'    b     W     u     dbar
    pid = np.array([90, 6, 6, 5, 24, 2, -1])
    daughters = np.array([[0, 0], [2, 2], [3, 4], [0, 0], [5, 6], [0, 0], [0, 0]])
    p4 = np.array([[1.0, np.cos(phi), np.sin(phi), 0.0] for phi in (0, 0, 0, 0.3, -0.2, 0.3, -0.6)])
    event = Events(
        offsets=np.array([0, 7]),
        pid=pid,
        status=np.array([-11, -23, -62, 23, -22, 23, 23]),
        daughters=daughters,
        p4=p4,
        vertex=np.zeros((7, 3)),
        charge=np.zeros(7),
        pt_hat=np.zeros(1),
    )
    axes = np.array([[0.0, 0.0], [0.0, 0.3], [0.0, np.pi], [0.7, 0.0]])
    which = np.zeros(4, np.int64)
    assert is_top(event, which, axes, 0.8).tolist() == [True, False, False, False]
    leptonic = Events(**(vars(event) | {"pid": np.array([90, 6, 6, 5, 24, -11, 12])}))
    assert not is_top(leptonic, which, axes, 0.8).any()
    assert leaves(event, [5]).tolist() == [True]
    assert leaves(event, [4]).tolist() == [False]


def test_top_jets_of_pythia_hold_a_top_quark_each() -> None:
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    events = next(generate(TOP, FAST, seed=8, batch=100))
    seen = reconstruct(events, Detector(), np.random.default_rng(1))
    matched = leading_jets(events, seen, CUTS, TOP)
    every = leading_jets(events, seen, CUTS, Process(TOP.pythia))
    assert 10 < len(matched) < len(every)
    assert np.isin(matched.columns["event"], every.columns["event"]).all()
    assert np.median(matched.columns["jet_mass"].astype(float)) == pytest.approx(172, abs=8)


def test_truth_jets_conserve_momentum_against_fastjet() -> None:
    pytest.importorskip("pythia8mc")
    fastjet = pytest.importorskip("fastjet")
    events = next(generate(QCD, FAST, seed=9, batch=30))
    seen = reconstruct(events, None, np.random.default_rng(1))
    ours = leading_jets(events, seen, JetCuts(0.8, (550.0, 650.0), 2.0, momentum_bits=23), QCD)
    definition = fastjet.JetDefinition(fastjet.antikt_algorithm, 0.8)
    for number, pt in zip(ours.columns["event"], ours.columns["jet_pt"], strict=True):
        rows = slice(*events.offsets[number : number + 2])
        final = (events.status[rows] > 0) & ~np.isin(np.abs(events.pid[rows]), (12, 14, 16))
        momenta = events.p4[rows][final][:, 1:]
        particles = [fastjet.PseudoJet(*p3, float(np.linalg.norm(p3))) for p3 in momenta.tolist()]
        cluster = fastjet._swig.ClusterSequence(particles, definition)
        assert max(jet.pt() for jet in cluster.inclusive_jets()) == pytest.approx(pt, rel=1e-6)


def test_events_without_jets_give_none() -> None:
    pytest.importorskip("fastjet")
    beam = shot(22, [5.0, 0.0, 0.0], 0.0, 0.0, 3)
    made = leading_jets(beam, reconstruct(beam, None, np.random.default_rng(1)), CUTS, QCD)
    assert len(made) == 0
    assert "jet_tau4" in made.columns


def test_the_sample_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    fixed: dict[str, Any] = {"classes": {"top": TOP, "QCD": QCD}, "common": FAST, "cuts": CUTS}
    for workers in (1, 2):
        output = tmp_path / f"{workers}.root"
        make(output, **fixed, detector=Detector(), jets=14, chunk=10, seed=3, workers=workers)
    make(
        tmp_path / "other.root",
        **fixed,
        detector=Detector(),
        jets=8,
        chunk=8,
        seed=4,
        kind="rntuple",
    )
    one, two, other = (
        uproot.open(tmp_path / f"{n}.root")["tree"].arrays() for n in ("1", "2", "other")
    )
    assert ak.array_equal(one, two)
    assert ak.sum(one.label_top) == 7
    assert set(one.fields) - {"npart"} == set(other.fields)
    assert not ak.any(one.jet_pt[:8] == other.jet_pt)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["1.root", "2.root", "other.root"]


def test_jets_can_be_joined_and_taken() -> None:
    columns = {"jet_pt": np.array([1.0, 2.0]), "part_px": np.array([1.0, 2.0, 3.0])}
    jets = Jets(np.array([0, 2, 3]), columns)
    turned = Jets.joined([jets, jets]).taken(np.array([3, 0]))
    assert turned.columns["jet_pt"].tolist() == [2.0, 1.0]
    assert turned.columns["part_px"].tolist() == [3.0, 1.0, 2.0]
    assert turned.offsets.tolist() == [0, 1, 3]


class Fatal:
    """Kills the process that unpickles it."""

    def __reduce__(self) -> tuple[Any, tuple[int]]:
        return os._exit, (1,)


def test_a_dead_worker_is_an_error_and_leaves_no_file(tmp_path: Path) -> None:
    output = tmp_path / "jets.root"
    with pytest.raises(RuntimeError, match="terminated abruptly"):
        make(output, {"a": QCD}, [Fatal()], CUTS, jets=4, chunk=2, workers=2)  # type: ignore[list-item]
    assert list(tmp_path.iterdir()) == []


def test_what_cannot_be_made_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("pythia8mc")
    output = tmp_path / "jets.root"
    two = {"top": TOP, "QCD": QCD}
    with pytest.raises(ValueError, match="jets = 3 cannot be shared equally by 2 classes"):
        make(output, two, FAST, CUTS, jets=3)
    with pytest.raises(ValueError, match="workers must be positive, got 0"):
        make(output, two, FAST, CUTS, workers=0)
    with pytest.raises(ValueError, match="kind must be 'ttree' or 'rntuple', got 'hdf5'"):
        make(output, two, FAST, CUTS, kind="hdf5")
    with pytest.raises(ValueError, match="match must be 'top' or 'none', got 'tops'"):
        Process([], match="tops")
    with pytest.raises(GeneratorError, match="no setting 'HardQC:all = on'"):
        next(generate(Process(["HardQC:all = on"]), FAST, seed=1, batch=1))
    assert list(tmp_path.iterdir()) == []
    output.touch()
    with pytest.raises(FileExistsError, match=re.escape(f"{output} exists; --overwrite true")):
        make(output, two, FAST, CUTS)
    with pytest.raises(FileNotFoundError, match=r"no folder .*nowhere for the output jets.root"):
        make(tmp_path / "nowhere" / "jets.root", two, FAST, CUTS)


def test_cuts_that_no_jet_passes_are_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    monkeypatch.setattr("pipelines.samples.make.EVENTS_WITHOUT_JETS", 200)
    with pytest.raises(GeneratorError, match=r"no jet of class top passes .* in 200 events"):
        make_chunk(recipe(cuts=JetCuts(0.8, (6000.0, 6100.0), 2.0)), 0, 2)


def test_a_missing_generator_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> None:
        raise ModuleNotFoundError(name)

    monkeypatch.setattr(generator, "import_module", missing)
    with pytest.raises(ModuleNotFoundError, match=r"pip install 'hepgen\[pythia\]'"):
        need("pythia8mc")


def test_a_failed_write_leaves_no_file(tmp_path: Path) -> None:
    with pytest.raises(KeyError), writing(tmp_path / "jets.root", "ttree"):
        raise KeyError
    assert list(tmp_path.iterdir()) == []


def test_the_command_makes_what_the_pipeline_says(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    pipeline = REPOSITORY / "pipelines" / "samples" / "top_qcd.yaml"
    output = tmp_path / "jets.root"
    main([str(pipeline), "--jets", "4", "--output", str(output), "--cuts.pt", "[400, 800]"])
    jets = uproot.open(output)["tree"].arrays()
    assert len(jets) == 4
    assert {"label_top", "label_QCD"} < set(jets.fields)
    with pytest.raises(SystemExit):
        main([str(pipeline), "--cuts.radios", "0.4"])
    assert "radios" in capsys.readouterr().err
    with pytest.raises(SystemExit) as end:
        main([str(pipeline), "--output", str(output)])
    assert end.value.code == 1
    assert capsys.readouterr().err == f"error: {output} exists; --overwrite true replaces it\n"


@pytest.mark.slow
def test_the_bundled_file_can_be_made_again(tmp_path: Path, top_qcd: Any) -> None:
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    pipeline, output = REPOSITORY / "pipelines" / "samples" / "top_qcd.yaml", tmp_path / "jets.root"
    main([str(pipeline), "--jets", "1000", "--output", str(output)])
    again, first = uproot.open(output)["tree"].arrays(), top_qcd[:1000]
    assert again.event.tolist() == first.event.tolist()
    assert again.jet_nparticles.tolist() == first.jet_nparticles.tolist()
    # Other processors round exp and log differently in the last bit.
    assert np.allclose(again.jet_pt, first.jet_pt, rtol=1e-3)


@pytest.mark.slow
def test_true_quark_and_gluon_jets_look_like_those_of_energyflow(real_data: Path) -> None:
    pytest.importorskip("pythia8mc")
    pytest.importorskip("fastjet")
    source = uproot.open(real_data / "root" / "timlegge_quarkgluon_2000.root")["tree"].arrays()
    common = ["Beams:eCM = 14000.", "WeakZ0:gmZmode = 2", "PhaseSpace:pTHatMin = 450."]
    common += ["23:onMode = off", "23:onIfAny = 12 14 16"]
    classes = {
        "quark": Process(["WeakBosonAndParton:qg2gmZq = on"], outgoing=[1, 2, 3]),
        "gluon": Process(["WeakBosonAndParton:qqbar2gmZg = on"]),
    }
    cuts = JetCuts(0.4, (500.0, 550.0), 1.7)
    ours = make_chunk(recipe(classes=classes, common=common, cuts=cuts, detector=None), 0, 600)
    for label, name in ((1, "quark"), (0, "gluon")):
        for column in ("jet_nparticles", "jet_mass"):
            mine = ours.columns[column][ours.columns[f"label_{name}"].astype(bool)].astype(float)
            theirs = ak.to_numpy(source[column][source.label == label]).astype(float)
            error = np.hypot(mine.std() / len(mine) ** 0.5, theirs.std() / len(theirs) ** 0.5)
            # 4 sigma each: 1 false alarm in 4000 for the four of them, and 2 % for the version.
            assert abs(mine.mean() - theirs.mean()) < 4 * error + 0.02 * theirs.mean()
