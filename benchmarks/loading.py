"""Loading speed: ROOT file -> packed batches, beside bare uproot and weaver-core, in one run.

``python -m benchmarks.loading`` writes a ROOT file of its own (TTree, LZ4, 15 jagged float32
branches) into a temporary folder and times, in turn and several times over, in one process:

uproot arrays    tree.arrays of the 15 branches, and nothing else
uproot iterate   uproot.iterate in steps of 10 000 entries, which uses less fresh memory
hepgen           an epoch of StreamedBatches: 16 features, standardised, shuffled, batches of 256
hepgen in order  the same without shuffling
weaver           an epoch of weaver-core's loader with the same features, padded to 128

It prints jets a second and how many times as many hepgen makes, medians of the rounds. "cpu" is the
processor time of the whole process in place of the time that passes: what other programs on the
machine take does not enter, and what two threads gain neither.
"""

from __future__ import annotations

import argparse
import csv
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import awkward as ak
import numpy as np
import torch
import uproot
import yaml

from hepgen.data import Features, StreamedBatches

# Field of the file, feature of hepgen, feature of weaver, its constants.
MOMENTA = ("px", "py", "pz", "energy", "deta", "dphi")
TRACKS = ("d0val", "d0err", "dzval", "dzerr")
KINDS = ("charge", "isChargedHadron", "isNeutralHadron", "isPhoton", "isElectron")
BRANCHES = [f"part_{name}" for name in (*MOMENTA, *TRACKS, *KINDS)]
FEATURES = [name for name in Features("full").names if name != "is_muon"]
CLASSES = ["QCD", "Tbqq"]
BATCH = 256
STEP = 10_000


def columns(rng: np.random.Generator, num_jets: int, mean: float) -> dict[str, ak.Array]:
    counts = rng.poisson(mean, num_jets)
    size = int(counts.sum())
    jet_pt, jet_eta = rng.uniform(500, 1000, num_jets), rng.uniform(-2, 2, num_jets)
    jet_phi = rng.uniform(-3, 3, num_jets)
    deta, dphi = rng.normal(0, 0.2, (2, size))
    pt = np.repeat(jet_pt, counts) * rng.exponential(1 / mean, size)
    eta = np.repeat(jet_eta, counts) + deta * np.repeat(np.sign(jet_eta), counts)
    phi = np.repeat(jet_phi, counts) + dphi
    kind = rng.integers(0, 4, size)
    charged = kind == 0
    part = {
        "px": pt * np.cos(phi),
        "py": pt * np.sin(phi),
        "pz": pt * np.sinh(eta),
        "energy": pt * np.cosh(eta) * 1.001,
        "deta": deta,
        "dphi": dphi,
        **{name: rng.normal(0, 1, size) * charged for name in ("d0val", "dzval")},
        **{name: rng.exponential(0.1, size) * charged for name in ("d0err", "dzerr")},
        "charge": rng.choice([-1, 1], size) * charged,
        **{name: kind == i for i, name in enumerate(KINDS[1:])},
    }
    top = rng.integers(0, 2, num_jets)
    jet = {"pt": jet_pt, "eta": jet_eta, "phi": jet_phi, "energy": jet_pt * np.cosh(jet_eta) * 1.02}
    return {
        "part": ak.zip({k: ak.unflatten(part[k].astype("f4"), counts) for k in part}),
        **{f"jet_{name}": values.astype("f4") for name, values in jet.items()},
        "label_QCD": (1 - top).astype("i4"),
        "label_Tbqq": top.astype("i4"),
    }


def write(path: Path, num_jets: int, mean: float) -> None:
    rng = np.random.default_rng(0)
    with uproot.recreate(path, compression=uproot.LZ4(4)) as file:
        tree = None
        for start in range(0, num_jets, STEP):
            values = columns(rng, min(STEP, num_jets - start), mean)
            if tree is None:
                types = {name: getattr(v, "type", None) or v.dtype for name, v in values.items()}
                types = {
                    name: v if isinstance(v, np.dtype) else v.content for name, v in types.items()
                }
                tree = file.mktree("tree", types)
            tree.extend(values)


def weaver_config(path: Path) -> Path:
    new = {
        "part_pt": "np.hypot(part_px, part_py)",
        "part_pt_log": "np.log(part_pt)",
        "part_e_log": "np.log(part_energy)",
        "part_logptrel": "np.log(part_pt/jet_pt)",
        "part_logerel": "np.log(part_energy/jet_energy)",
        "part_deltaR": "np.hypot(part_deta, part_dphi)",
        "part_d0": "np.tanh(part_d0val)",
        "part_dz": "np.tanh(part_dzval)",
        "part_mask": "ak.ones_like(part_energy)",
    }
    scaled = [
        ["part_pt_log", 1.7, 0.7],
        ["part_e_log", 2.0, 0.7],
        ["part_logptrel", -4.7, 0.7],
        ["part_logerel", -4.7, 0.7],
        ["part_deltaR", 0.2, 4.0],
        ["part_d0err", 0, 1, 0, 1],
        ["part_dzerr", 0, 1, 0, 1],
    ]
    plain = [f"part_{name}" for name in (*KINDS, "d0", "dz", "deta", "dphi")]
    momenta = [f"part_{name}" for name in ("energy", "px", "py", "pz")]

    def group(variables: list[object]) -> dict[str, object]:
        return {"length": 128, "pad_mode": "constant", "vars": variables}

    inputs = {
        "pf_points": group([["part_deta", None], ["part_dphi", None]]),
        "pf_features": group([*scaled, *([name, None] for name in plain)]),
        "pf_vectors": group([[name, None] for name in momenta]),
        "pf_mask": group([["part_mask", None]]),
    }
    labels = {"type": "simple", "value": [f"label_{name}" for name in CLASSES]}
    config = {"new_variables": new, "preprocess": {"method": "manual"}, "inputs": inputs}
    path.write_text(yaml.safe_dump({**config, "labels": labels}, sort_keys=False))
    return path


def uproot_arrays(path: Path) -> int:
    with uproot.open(f"{path}:tree") as tree:
        return len(tree.arrays(BRANCHES))


def uproot_iterate(path: Path) -> int:
    chunks = uproot.iterate(f"{path}:tree", BRANCHES, step_size=STEP)
    return sum(len(chunk) for chunk in chunks)


def hepgen_batches(stream: StreamedBatches) -> int:
    return sum(batch.num_graphs for batch in stream.epoch(0))


def weaver_batches(path: Path, config: Path) -> int:
    from weaver.utils.dataset import SimpleIterDataset

    # A tenth of the file at a time: its default of a hundredth is slower.
    data = SimpleIterDataset({"all": [str(path)]}, str(config), fetch_step=0.1, name="train")
    loader = torch.utils.data.DataLoader(data, batch_size=BATCH, num_workers=0)
    return sum(len(x["pf_features"]) for x, _, _ in loader)


def seconds(task: Callable[[], int], expected: int) -> tuple[float, float]:
    start, cpu = time.perf_counter(), time.process_time()
    count = task()
    spent = time.perf_counter() - start, time.process_time() - cpu
    if count != expected:
        raise RuntimeError(f"{count} jets were read, not {expected}")
    return spent


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--jets", type=int, default=100_000)
    parser.add_argument("--constituents", type=float, default=60, help="mean of a jet")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--output", type=Path, help="CSV file to append the rounds to")
    chosen = parser.parse_args()
    logging.disable(logging.INFO)
    warnings.simplefilter("ignore")  # weaver divides by zero where it may
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "jets.root"
        write(path, chosen.jets, chosen.constituents)
        config = weaver_config(Path(folder) / "weaver.yaml")
        streams = [
            StreamedBatches(
                path,
                Features(FEATURES),
                CLASSES,
                batch_size=BATCH,
                step=STEP,
                pool=4,
                shuffle=shuffle,
            )
            for shuffle in (True, False)
        ]
        tasks = {
            "uproot arrays": lambda: uproot_arrays(path),
            "uproot iterate": lambda: uproot_iterate(path),
            "hepgen": lambda: hepgen_batches(streams[0]),
            "hepgen in order": lambda: hepgen_batches(streams[1]),
            "weaver": lambda: weaver_batches(path, config),
        }
        for task in tasks.values():  # compiles, opens, and brings the file into the page cache
            task()
        rounds = [
            {name: seconds(task, chosen.jets) for name, task in tasks.items()}
            for _ in range(chosen.rounds)
        ]
    report(rounds, chosen.jets)
    if chosen.output:
        save(chosen.output, rounds)


def report(rounds: list[dict[str, tuple[float, float]]], jets: int) -> None:
    own = ("hepgen", "hepgen in order")
    print(f"{'':16}    jets/s" + "".join(f"{name:>24}" for name in own))
    for name in rounds[0]:
        rate = statistics.median(jets / times[name][0] for times in rounds)
        line = f"{name:16}{rate:10,.0f}"
        for mine in own:
            wall, cpu = (
                statistics.median(times[name][i] / times[mine][i] for times in rounds)
                for i in (0, 1)
            )
            line += f"{wall:10.2f} (cpu {cpu:5.2f})"
        print(line)


def save(path: Path, rounds: list[dict[str, tuple[float, float]]]) -> None:
    new = not path.exists()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["date", "round", "task", "seconds", "cpu_seconds"])
        for i, times in enumerate(rounds):
            for name, (wall, cpu) in times.items():
                writer.writerow([time.strftime("%Y-%m-%d"), i, name, f"{wall:.4f}", f"{cpu:.4f}"])


if __name__ == "__main__":
    main()
